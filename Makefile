# SPDX-License-Identifier: GPL-2.0-only
# The only makefile.  `make help` says what there is; everything is built into build/.
VERSION := 0.1.0
PREFIX  ?= /usr/local
DESTDIR ?=
B       := build
# Who says nothing else builds on all CPUs.
PARALLEL = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
# V=1 shows each command.
Q       := $(if $(V),,@)
say      = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2))

CC      ?= gcc
CLANG   ?= clang
OBJCOPY ?= objcopy
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool /sbin/bpftool) bpftool)
CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Werror
ALL_CFLAGS := -std=gnu11 -D_GNU_SOURCE $(WARN) -fno-strict-aliasing -MMD -MP \
	-DCIDSTEER_VERSION='"$(VERSION)"' -Iinclude -Iuser -I$(B) $(DEFS) $(CFLAGS)
MULTIARCH := $(shell $(CC) -print-multiarch)
BPF_CFLAGS := -O2 -g -Wall -Wextra -Werror -target bpf -mcpu=v3 -MMD -MP -Iinclude -Ibpf $(BPF_DEFS) \
	-idirafter /usr/include/$(MULTIARCH)

BPF     := cidsteer explain cpu stub groups
SKELS   := $(BPF:%=$(B)/%.skel.h)
COMMON  := $(wildcard user/common/*.c)
PLANE   := $(wildcard user/dataplane/*.c)
LIB_SRC := $(wildcard user/lib/*.c) user/common/routes.c user/common/point.c
SOVER   := $(word 1,$(subst ., ,$(VERSION)))

PLANE_LIBS := -lxdp -lbpf -lelf -lz -lconfuse -lpthread
H3_PKGS    := libngtcp2 libngtcp2_crypto_gnutls libnghttp3 gnutls
H3_CFLAGS   = -Iexamples $(shell pkg-config --cflags $(H3_PKGS))
H3_LIBS     = $(shell pkg-config --libs $(H3_PKGS)) -pthread

objs     = $(patsubst %.c,$(B)/obj/%.o,$(1))
PROGRAMS := $(B)/cidsteerd $(B)/cidsteer
LIBS     := $(B)/libcidsteer.a $(B)/libcidsteer.so.$(VERSION) $(B)/libcidsteer.so \
	$(B)/libcidsteer.so.$(SOVER)
EXAMPLES := $(B)/h3server $(B)/h3client

.PHONY: all examples edition unit model prog fault fuzz fuzz-programs oracle selftest soak test demo bench check mutants test-kernels setup setup-examples install uninstall clean help
.DELETE_ON_ERROR:
.SECONDARY:

all: $(PROGRAMS) $(LIBS) $(BPF:%=$(B)/bpf/%.bpf.o) ## build programs, library and BPF objects

examples: $(EXAMPLES) ## build the example HTTP/3 server and client

# ---- BPF ------------------------------------------------------------------------------------
$(B)/bpf/%.bpf.o: bpf/%.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF,$@)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MT $@ -c $< -o $@

$(B)/%.skel.h: $(B)/bpf/%.bpf.o
	$(Q)$(BPFTOOL) gen skeleton $< name $* > $@

# ---- user space -----------------------------------------------------------------------------
$(B)/obj/%.o: %.c | $(SKELS)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -c $< -o $@

$(B)/obj/pic/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -fPIC -fvisibility=hidden -c $< -o $@

$(B)/obj/examples/%.o: ALL_CFLAGS += $(H3_CFLAGS)

$(B)/cidsteerd: $(call objs,$(wildcard user/daemon/*.c) $(COMMON) $(PLANE))
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ $(PLANE_LIBS) -lsystemd -o $@

$(B)/cidsteer: $(call objs,$(wildcard user/cli/*.c) $(COMMON) $(PLANE))
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ $(PLANE_LIBS) -ljansson -lpcap -o $@

LIB_OBJ := $(patsubst %.c,$(B)/obj/pic/%.o,$(LIB_SRC))

# One relocatable object, so that the static library hides what the shared one hides.
$(B)/libcidsteer.a: $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)$(LD) -r $^ -o $(B)/obj/libcidsteer.o
	$(Q)$(OBJCOPY) --localize-hidden $(B)/obj/libcidsteer.o
	$(Q)rm -f $@ && $(AR) rcs $@ $(B)/obj/libcidsteer.o

$(B)/libcidsteer.so.$(VERSION): $(LIB_OBJ) user/lib/libcidsteer.map
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -shared -Wl,-soname,libcidsteer.so.$(SOVER) -Wl,-z,defs \
		-Wl,--version-script=user/lib/libcidsteer.map $(LIB_OBJ) -o $@

$(B)/libcidsteer.so.$(SOVER): $(B)/libcidsteer.so.$(VERSION)
	$(Q)ln -sf libcidsteer.so.$(VERSION) $@

$(B)/libcidsteer.so: $(B)/libcidsteer.so.$(SOVER)
	$(Q)ln -sf libcidsteer.so.$(SOVER) $@

# ---- examples -------------------------------------------------------------------------------
$(B)/h3server: $(call objs,$(wildcard examples/h3server/*.c examples/common/*.c)) $(B)/libcidsteer.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ $(H3_LIBS) -o $@

$(B)/h3client: $(call objs,$(wildcard examples/h3client/*.c examples/common/*.c))
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ $(H3_LIBS) -o $@

# ---- tests ----------------------------------------------------------------------------------
# tests/*_test.c need no privilege and no kernel; tests/prog/*_test.c run the programs in the
# kernel, as root; selftests/NN-*.sh are whole systems in network namespaces, as root.
UNIT_TESTS := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/*_test.c))
PROG_TESTS := $(patsubst tests/prog/%.c,$(B)/tests/prog/%,$(wildcard tests/prog/*_test.c))
TOOLS      := $(patsubst selftests/%.c,$(B)/selftests/%,$(filter-out selftests/xsk.c,$(wildcard selftests/*.c)))
CRITERION  ?= --verbose=0

$(B)/tests/%: $(B)/obj/tests/%.o $(call objs,$(COMMON))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ $(UNIT_LIBS) -lcriterion -lpthread -o $@
$(B)/tests/aes_test $(B)/tests/lb_test: UNIT_LIBS := -lnettle

# What the example server reads off the wire.
$(B)/obj/tests/frame_test.o: ALL_CFLAGS += -Iexamples
$(B)/tests/frame_test: $(call objs,examples/common/frame.c examples/common/addr.c)

$(B)/tests/advice_test: $(B)/obj/user/dataplane/advice.o

$(B)/tests/prog/%: $(B)/obj/tests/prog/%.o $(call objs,$(wildcard tests/prog/fixture.c) $(COMMON) $(PLANE)) \
		$(B)/libcidsteer.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ $(PLANE_LIBS) -lcriterion -lpthread -o $@

$(B)/selftests/%: $(B)/obj/selftests/%.o $(B)/libcidsteer.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ $(TOOL_LIBS) -lpthread -o $@
$(B)/selftests/sums $(B)/selftests/slots: TOOL_LIBS := -lbpf
$(B)/selftests/worker: $(call objs,selftests/xsk.c)

FAULTS := $(B)/tests/fault/faults $(B)/tests/fault/shim.so $(B)/tests/fault/client

$(B)/tests/fault/shim.so: tests/fault/shim.c tests/fault/fault.h
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(filter-out -MMD -MP,$(ALL_CFLAGS)) -fPIC -shared $(LDFLAGS) $< -ldl -o $@

$(B)/tests/fault/client: $(B)/obj/tests/fault/client.o $(B)/libcidsteer.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ -o $@

$(B)/tests/fault/faults: $(call objs,$(filter-out %/shim.c %/client.c,$(wildcard tests/fault/*.c)) selftests/xsk.c $(COMMON) $(PLANE)) \
		$(B)/libcidsteer.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ $(PLANE_LIBS) -o $@

$(B)/tests/oracle/run: $(call objs,$(wildcard tests/oracle/*.c) $(COMMON) $(PLANE))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ $(PLANE_LIBS) -o $@

# The programs for user space, which tell each basic block that they come to.  The flag is for the
# compiler only: to the linker it means a library of the sanitizers.
$(B)/obj/tests/path/path.o: tests/path/path.c tests/path/ignored
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CLANG) -std=gnu11 -D_GNU_SOURCE $(WARN) -fno-strict-aliasing -MMD -MP -O1 -fno-inline -g -Iinclude \
		-Iuser -Itests/fuzz -Ibpf -fsanitize-coverage=trace-pc \
		-fsanitize-coverage-ignorelist=tests/path/ignored -c $< -o $@

$(B)/tests/path/path: $(B)/obj/tests/path/path.o $(call objs,$(COMMON))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ -o $@

unit: $(UNIT_TESTS) $(B)/tests/path/path ## unit tests of the core (Criterion), without privilege
	@set -e; for test in $(UNIT_TESTS); do echo "# $$test"; $$test $(CRITERION); done
	@echo "# $(B)/tests/path/path"; $(B)/tests/path/path tests/fuzz/corpus/frame

# Two at a time: each has its own namespaces, and most of them wait for a daemon.
prog: all $(PROG_TESTS) ## packet tests in the kernel (BPF_PROG_TEST_RUN) and the control socket, as root
	@printf '%s\n' $(PROG_TESTS) | xargs -P 2 -I{} sh -c 'said=$$({} -j1 $(CRITERION) 2>&1); code=$$?; \
		printf "# %s\n%s\n" {} "$$said"; exit $$code'

model: ## every interleaving of the CID table's protocol, with spin; its faults must be caught (2 minutes)
	@scripts/setup model
	@MODEL_DIR=$(B)/model tests/model/run

fault: all $(FAULTS) ## each call of each phase fails once, as root (an hour); FAULT_MOST=50: no more of a phase
	$(B)/tests/fault/faults

# Each tests/fuzz/NAME.c is a target of libFuzzer: NAME has the sanitizers, NAME.cov tells which lines
# were reached.  libFuzzer is clang's.
FUZZ_CC    ?= clang-14
FUZZ       := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c))
FUZZ_FLAGS := -std=gnu11 -D_GNU_SOURCE $(WARN) -fno-strict-aliasing -MMD -MP -O1 -g \
	-DCIDSTEER_VERSION='"$(VERSION)"' -Iinclude -Iuser
FUZZ_SAN   := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
	-fsanitize-coverage-ignorelist=tests/fuzz/not-guided
FUZZ_COV   := -fprofile-instr-generate -fcoverage-mapping
FUZZ_LIBS  := -lconfuse -ljansson -lpcap

fuzz_text    := user/cli/frame.c user/cli/layers.c user/cli/output.c
fuzz_capture := $(fuzz_text)
fuzz_reply   := examples/common/frame.c examples/common/addr.c
fuzz_config  := user/dataplane/config.c user/dataplane/config_lb.c user/dataplane/netns.c
fuzz_answer  := $(filter-out %/generate.c,$(wildcard user/lib/*.c))
fuzz_request := $(fuzz_config) user/dataplane/keyfile.c user/dataplane/lb.c $(patsubst \
	%,user/daemon/%.c,connection request formats server_ids workers admit devices holdings \
	generations reap loop strays targets xsks)

$(B)/fuzz/san/%.o: %.c tests/fuzz/not-guided
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link $(FUZZ_SAN) $(FUZZ_HOOKS) -c $< -o $@

$(B)/fuzz/cov/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) $(FUZZ_COV) $(FUZZ_HOOKS) -c $< -o $@

# The programs read their packets wherever those lie.
$(B)/fuzz/%/tests/fuzz/frame.o $(B)/fuzz/%/tests/fuzz/payload.o: \
	FUZZ_HOOKS = -Itests/fuzz -Ibpf -fno-sanitize=alignment
$(B)/fuzz/%/tests/fuzz/reply.o $(B)/fuzz/%/examples/common/frame.o $(B)/fuzz/%/examples/common/addr.o: \
	FUZZ_HOOKS = -Iexamples

define fuzz_target
$(B)/fuzz/$(1): $$(patsubst %.c,$(B)/fuzz/san/%.o,tests/fuzz/$(1).c $(fuzz_$(1)) $(COMMON))
	$$(call say,LD,$$@)
	$$(Q)$$(FUZZ_CC) -fsanitize=fuzzer $$(FUZZ_SAN) $$^ $$(FUZZ_LIBS) -o $$@

$(B)/fuzz/$(1).cov: $$(patsubst %.c,$(B)/fuzz/cov/%.o,tests/fuzz/$(1).c $(fuzz_$(1)) $(COMMON))
	$$(call say,LD,$$@)
	$$(Q)$$(FUZZ_CC) -fsanitize=fuzzer $$(FUZZ_COV) $$^ $$(FUZZ_LIBS) -o $$@
endef
$(foreach name,$(FUZZ),$(eval $(call fuzz_target,$(name))))

fuzz-programs: $(FUZZ:%=$(B)/fuzz/%) $(FUZZ:%=$(B)/fuzz/%.cov)

fuzz: ## parsers of foreign bytes, fuzzed with sanitizers; FUZZ_SECONDS=60 for each of them
	@scripts/setup build fuzz
	+@$(MAKE) --no-print-directory $(PARALLEL) fuzz-programs
	FUZZ_DIR=$(B)/fuzz tests/fuzz/run

oracle: all $(B)/tests/oracle/run ## ORACLE_PACKETS=1000000 through the kernel and a model of docs/packets.md, as root (2 minutes)
	tests/oracle/run

# Another edition, for tests of upgrades: programs that do the same and have another tag, processes
# that can be stopped at a point (user/common/point.h).
EDITION := $(B)/edition

edition:
	+$(Q)$(MAKE) --no-print-directory B=$(EDITION) DEFS=-DCS_POINTS BPF_DEFS=-DCS_EDITION=2 \
		$(EDITION)/cidsteerd $(EDITION)/selftests/worker

selftest: all examples $(TOOLS) $(FAULTS) $(B)/tests/oracle/run edition ## whole systems in network namespaces (TAP), as root
	scripts/selftest

soak: all examples $(TOOLS) edition ## reloads, deaths, restarts, upgrades under load, ten times what test does (10 minutes)
	TIMES=10 scripts/selftest 24

test: setup-examples ## everything: installs what is missing, then unit, prog, selftest
	@scripts/setup browser || echo "no chromium is to be had here: selftests/26-chromium.sh will be skipped"
	+$(MAKE) --no-print-directory $(PARALLEL) all examples edition $(UNIT_TESTS) $(PROG_TESTS) $(TOOLS) $(FAULTS) \
		$(B)/tests/oracle/run
	+$(MAKE) --no-print-directory unit prog selftest

demo: setup-examples ## 20 HTTP/3 transfers whose clients move, unsteered and steered (2 minutes)
	+$(MAKE) --no-print-directory $(PARALLEL) all examples
	scripts/demo

# ---- benchmarks -----------------------------------------------------------------------------
BENCH_SRC := $(filter-out %.bpf.c,$(wildcard tests/bench/*.c))

$(B)/bench/%.bpf.o: tests/bench/%.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF,$@)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MT $@ -c $< -o $@

$(B)/bench/%.skel.h: $(B)/bench/%.bpf.o
	$(Q)$(BPFTOOL) gen skeleton $< name $* > $@

$(call objs,$(BENCH_SRC)): | $(B)/bench/programs.skel.h

$(B)/bench/bench: $(call objs,$(BENCH_SRC) $(COMMON) $(PLANE)) $(B)/libcidsteer.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ $(PLANE_LIBS) -o $@

bench: ## ratios against baselines of the same run, as root; writes BENCHMARKS.md (2 minutes)
	@scripts/setup build bench
	+$(MAKE) --no-print-directory $(PARALLEL) $(B)/bench/bench $(B)/cidsteerd
	scripts/bench

# ---- other kernels, and what needs none -------------------------------------------------------
KERNELS ?= # options of scripts/kernels, for example --series 6.1,newest

mutants: ## mistakes in the programs that the tests must find (5 minutes)
	@scripts/setup build examples tests kernels
	+$(MAKE) --no-print-directory $(PARALLEL) all examples edition $(PROG_TESTS) $(TOOLS)
	scripts/mutants

test-kernels: ## the tests in guests with Debian's kernels (40 minutes; fetches them once)
	@scripts/setup build examples tests kernels
	+$(MAKE) --no-print-directory $(PARALLEL) all examples edition $(PROG_TESTS) $(TOOLS)
	scripts/kernels $(KERNELS)

check: ## what needs no kernel: compilers, sanitizers, analyzers, format, arm64, model, a minute of fuzz (8 minutes)
	@scripts/setup build examples tests checks fuzz model
	scripts/check

# ---- set-up ---------------------------------------------------------------------------------
setup: ## install what building needs
	@scripts/setup build

setup-examples: ## install what building, demo and tests need
	@scripts/setup build examples tests

BINDIR  := $(DESTDIR)$(PREFIX)/bin
SBINDIR := $(DESTDIR)$(PREFIX)/sbin
LIBDIR  := $(DESTDIR)$(PREFIX)/lib
INCDIR  := $(DESTDIR)$(PREFIX)/include/cidsteer
BPFDIR  := $(DESTDIR)$(PREFIX)/lib/cidsteer
MANDIR  := $(DESTDIR)$(PREFIX)/share/man
DOCDIR  := $(DESTDIR)$(PREFIX)/share/doc/cidsteer
MAN     := $(wildcard man/*.[0-9])
# systemd looks below /usr/local too, but not in other prefixes.
UNITDIR := $(DESTDIR)$(PREFIX)/lib/systemd/system

install: all ## install under DESTDIR and PREFIX
	install -D -m 755 -t $(SBINDIR) $(B)/cidsteerd $(B)/cidsteer
	install -D -m 644 -t $(LIBDIR) $(B)/libcidsteer.a
	install -D -m 755 -t $(LIBDIR) $(B)/libcidsteer.so.$(VERSION)
	ln -sf libcidsteer.so.$(VERSION) $(LIBDIR)/libcidsteer.so.$(SOVER)
	ln -sf libcidsteer.so.$(SOVER) $(LIBDIR)/libcidsteer.so
	mkdir -p $(LIBDIR)/pkgconfig
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' user/lib/cidsteer.pc.in \
		> $(LIBDIR)/pkgconfig/cidsteer.pc
	mkdir -p $(UNITDIR)
	sed -e 's|@PREFIX@|$(PREFIX)|' systemd/cidsteerd.service.in > $(UNITDIR)/cidsteerd.service
	install -D -m 644 -t $(INCDIR) include/cidsteer/cidsteer.h
	install -D -m 644 -t $(BPFDIR) $(B)/bpf/cidsteer.bpf.o
	install -D -m 644 -t $(DOCDIR) README.md etc/cidsteer.conf
	for page in $(MAN); do install -D -m 644 -t $(MANDIR)/man$${page##*.} $$page; done

uninstall: ## remove what install put there
	rm -f $(SBINDIR)/cidsteerd $(SBINDIR)/cidsteer $(LIBDIR)/libcidsteer.a
	rm -f $(LIBDIR)/libcidsteer.so $(LIBDIR)/libcidsteer.so.$(SOVER) $(LIBDIR)/libcidsteer.so.$(VERSION)
	rm -f $(LIBDIR)/pkgconfig/cidsteer.pc $(BPFDIR)/cidsteer.bpf.o
	rm -f $(UNITDIR)/cidsteerd.service
	rm -f $(INCDIR)/cidsteer.h $(DOCDIR)/README.md $(DOCDIR)/cidsteer.conf
	for page in $(notdir $(MAN)); do rm -f $(MANDIR)/man$${page##*.}/$$page; done
	-rmdir $(INCDIR) $(BPFDIR) $(DOCDIR)

clean: ## remove build/
	rm -rf $(B)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | \
		while IFS='|' read -r name text; do printf '  make %-15s %s\n' "$$name" "$$text"; done

-include $(shell find $(B) -name '*.d' 2>/dev/null)
