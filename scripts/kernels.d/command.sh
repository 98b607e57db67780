#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck disable=SC1091,SC2119 # words are meant to be split; names are used by who sources this
# The programs load, are described, and go away again, without and with the daemon.
. "$(dirname "$0")/../../selftests/lib.sh"

configure <<END
service "h3" {
    listen = {"[::]:443"}
}
END

check "cidsteer load" cidsteer load
like "cidsteer status says that there is no worker" "$(cidsteer status 2>&1)" "^h3 +not steering"
check "counters can be read" cidsteer counters
like "explain answers" "$(cidsteer explain --hex \
	4500002c00000000401100000a0000010a000002138801bb0018000040010203040506070800000000000000 2>&1)" \
	"reason"
check "cidsteer unload" cidsteer unload
is "nothing is pinned" "$(find /sys/fs/bpf -mindepth 1)" ""

check "the daemon starts" start_daemon
check "two workers register" eval \
	"start_worker a --service h3 --listen '[::]:443' && start_worker b --service h3 --listen '[::]:443'"
like "cidsteer status says that h3 is steered" "$(cidsteer status 2>&1)" "^h3 +steering"
like "bpftool sees the programs" "$(bpftool prog show)" "sk_reuseport  name cs_reuseport"
check "bpftool dumps a map by its BTF" bpftool map dump name cs_abi
stop_worker a
stop_worker b
stop_daemon
check "cidsteer unload" cidsteer unload
done_testing
