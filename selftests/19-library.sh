#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# What make install installs: a program in C and in C++ builds against it and runs, shared and
# static; the library exports what its header declares and nothing else; uninstall leaves nothing.
. "$(dirname "$0")/lib.sh"

DEST=$WORK/destination
VERSION=$(sed -n 's/^VERSION := //p' "$TOP/Makefile")
SONAME=libcidsteer.so.${VERSION%%.*}
LIBDIR=$DEST/usr/lib
HEADER=$DEST/usr/include/cidsteer/cidsteer.h

for tool in make g++ nm readelf pkg-config; do
	command -v $tool >/dev/null || bail "$tool is not installed: make setup-examples"
done

# make_in_dest TARGET: what it builds is built already.
make_in_dest()
{
	env -u MAKEFLAGS -u MAKELEVEL make -C "$TOP" --no-print-directory \
		DESTDIR="$DEST" PREFIX=/usr "$1"
}

# files: that are in the destination, links too.
files()
{
	(cd "$DEST" && find . ! -type d | sort)
}

# ---- what is installed ----------------------------------------------------------------------
mkdir "$DEST"
check "make install" make_in_dest install
is "puts these files there" "$(files)" "./usr/include/cidsteer/cidsteer.h
./usr/lib/cidsteer/cidsteer.bpf.o
./usr/lib/libcidsteer.a
./usr/lib/libcidsteer.so
./usr/lib/$SONAME
./usr/lib/libcidsteer.so.$VERSION
./usr/lib/pkgconfig/cidsteer.pc
./usr/lib/systemd/system/cidsteerd.service
./usr/sbin/cidsteer
./usr/sbin/cidsteerd
./usr/share/doc/cidsteer/README.md
./usr/share/doc/cidsteer/cidsteer.conf
./usr/share/man/man3/libcidsteer.3
./usr/share/man/man5/cidsteer.conf.5
./usr/share/man/man8/cidsteer.8
./usr/share/man/man8/cidsteerd.8"
is "the links lead to the library" \
	"$(readlink "$LIBDIR/libcidsteer.so" "$LIBDIR/$SONAME" | xargs)" \
	"$SONAME libcidsteer.so.$VERSION"
is "nobody but root may write any of it, everybody read" \
	"$(cd "$DEST" && find . ! -type l \( ! -uid 0 -o -perm /022 -o ! -perm -444 \))" ""

# ---- symbols --------------------------------------------------------------------------------
# declared: the functions of the header, as the compiler sees it.
declared()
{
	gcc -E -P -x c "$HEADER" | grep -o 'cidsteer_[a-z_]* *(' | tr -d '( ' | sort -u
}

check "the header declares functions" eval '[ "$(declared | wc -l)" -ge 14 ]'
is "the shared library exports them, in version CIDSTEER_0.1, and nothing else" \
	"$(nm -D --defined-only --with-symbol-versions "$LIBDIR/libcidsteer.so" |
		awk '$2 != "A" { print $2, $3 }' | sort)" \
	"$(declared | sed 's/.*/T &@@CIDSTEER_0.1/')"
is "the static library too" \
	"$(nm -g --defined-only "$LIBDIR/libcidsteer.a" | awk 'NF == 3 { print $2, $3 }' | sort)" \
	"$(declared | sed 's/^/T /')"
# dynamic FILE TAG: values of a dynamic section.
dynamic()
{
	readelf -d "$1" | sed -n "s/.*($2).*\[\(.*\)\]/\1/p" | xargs
}

is "its soname" "$(dynamic "$LIBDIR/libcidsteer.so" SONAME)" "$SONAME"
is "it needs the C library only" "$(dynamic "$LIBDIR/libcidsteer.so" NEEDED)" libc.so.6

# ---- pkg-config -----------------------------------------------------------------------------
export PKG_CONFIG_LIBDIR=$LIBDIR/pkgconfig PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 \
	PKG_CONFIG_ALLOW_SYSTEM_LIBS=1
is "pkg-config says the version" "$(pkg-config --modversion cidsteer)" "$VERSION"
is "and where it was installed" \
	"$(pkg-config --variable=prefix cidsteer) $(pkg-config --cflags --libs cidsteer | xargs)" \
	"/usr -I/usr/include -L/usr/lib -lcidsteer"

# flags WHAT...: as if the destination were its prefix.
flags()
{
	pkg-config --define-variable=prefix="$DEST/usr" "$@" cidsteer
}

# ---- programs -------------------------------------------------------------------------------
# In both languages.  It uses every function, and prints what the calls say.
cat >"$WORK/program.c" <<'END'
#include <cidsteer/cidsteer.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static int make_socket(void)
{
	struct sockaddr_in addr;
	int fd = socket(AF_INET, SOCK_DGRAM, 0), one = 1;

	memset(&addr, 0, sizeof(addr));
	addr.sin_family = AF_INET;
	addr.sin_port = htons(443);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		perror("bind");
	return fd;
}

int main(void)
{
	char line[256] = "";
	struct cidsteer_options options = CIDSTEER_OPTIONS_INIT;
	struct cidsteer *handle = NULL;
	uint8_t cid[CIDSTEER_CID_MAX] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	int fd = make_socket(), err;

	options.error = line;
	options.error_size = sizeof(line);
	err = cidsteer_open(&handle, "h3", &fd, 1, &options);
	printf("%s open %d %s\n", cidsteer_version(), err, line);
	if (err)
		return 0;
	printf("length %d, worker %d, notes %d, fd %d\n", (int)cidsteer_cid_length(handle),
	       cidsteer_worker_id(handle) > 0, (int)cidsteer_notes(handle),
	       cidsteer_fd(handle) >= 0);
	printf("issue %d\n", cidsteer_issue(handle, cid, cidsteer_cid_length(handle)));
	printf("provisional %d\n", cidsteer_issue_provisional(handle, cid, sizeof(cid)));
	printf("path %d\n", cidsteer_report_path_change(handle));
	printf("retire %d\n", cidsteer_retire(handle, cid, 8));
	printf("stray %d\n", cidsteer_report_stray(handle, cid, 8));
	printf("drain %d\n", cidsteer_drain(handle));
	printf("dispatch %d\n", cidsteer_dispatch(handle));
	cidsteer_close(handle);
	return 0;
}
END
C="gcc -x c -std=c11 -D_DEFAULT_SOURCE -Wall -Wextra -Werror -pedantic"
CXX="g++ -x c++ -std=c++17 -Wall -Wextra -Werror -pedantic"

# build PROGRAM COMPILER [OPTIONS...]
# shellcheck disable=SC2046,SC2086 # lists
build()
{
	local program=$1 compiler=$2
	shift 2
	$compiler $(flags --cflags) "$WORK/program.c" -x none -o "$WORK/$program" "$@"
}

# shellcheck disable=SC2046 # lists
{
	check "the header alone is C99 and C++11" eval \
		'gcc -std=c99 -Wall -Wextra -Werror -pedantic -fsyntax-only -x c "$HEADER" &&
		g++ -std=c++11 -Wall -Wextra -Werror -pedantic -fsyntax-only -x c++ "$HEADER"'
	check "a C program builds, shared" build c "$C" $(flags --libs)
	check "a C++ program builds, shared" build c++ "$CXX" $(flags --libs)
	check "both, static" eval 'build c-static "$C" -static-pie $(flags --static --libs) &&
		build c++-static "$CXX" -static-pie $(flags --static --libs)'
	check "both, with the library alone static" eval \
		'build c-a "$C" "$LIBDIR/libcidsteer.a" && build c++-a "$CXX" "$LIBDIR/libcidsteer.a"'
}
programs="c c++ c-static c++-static c-a c++-a"
needs=
for program in $programs; do
	needs="$needs$(dynamic "$WORK/$program" NEEDED | grep -c libcidsteer)"
done
is "the first two need the shared library, the others do not" "$needs" 110000

# all_say CLAIM TEXT: each program, run, prints this.
all_say()
{
	local program output

	for program in $programs; do
		output=$(LD_LIBRARY_PATH=$LIBDIR timeout 20 "$WORK/$program" 2>&1)
		[ "$output" = "$2" ] && continue
		flunk "$1" "$program: got:" "$output" "wanted:" "$2"
		return
	done
	pass "$1"
}

all_say "all run: without a daemon open is -ENOENT, and the line says where it looked" \
	"$VERSION open -2 $CONTROL: No such file or directory"
echo 'service "h3" { listen = {"127.0.0.1:443"} }' | configure
BUILD=$DEST/usr/sbin check "the installed daemon starts" start_daemon
all_say "all run with it: they register, call every function, and leave" "$VERSION open 0 
length 8, worker 1, notes 0, fd 1
issue 0
provisional 0
path 0
retire 0
stray 0
drain 0
dispatch 0"
is "the installed command has counted them" \
	"$(BUILD=$DEST/usr/sbin cidsteer status --json | python3 -c '
import json, sys
print(json.load(sys.stdin)["services"][0]["path_changes"])')" 6
stop_daemon

# ---- uninstall ------------------------------------------------------------------------------
check "make uninstall" make_in_dest uninstall
is "leaves no file" "$(files)" ""
is "and no directory of its name" "$(find "$DEST" -name '*cidsteer*')" ""
done_testing
