#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck disable=SC2317,SC1091,SC2034 # words are meant to be split; names are used by who sources this
# cs_xdp shares the hook with xdp-filter, through libxdp's dispatcher, whoever came first.
# A host under lockdown refuses the dispatcher, so this is tried in guests only.
. "$(dirname "$0")/../../selftests/lib.sh"
. "$(dirname "$0")/http3.bash"

TRANSFERS=2
topology_pair
start_h3

filter()
{
	in_ns server xdp-filter "$@"
}

at_the_hook()
{
	in_ns server xdp-loader status s0 | grep -oE 'cs_xdp|xdpfilt_[a-z_]+' | sort -u | xargs
}

# both_work CLAIM: transfers get through, cs_xdp counts them, and the filter drops what it shall.
both_work()
{
	local before

	like "$1: both are at the hook" "$(at_the_hook)" '^cs_xdp xdpfilt_'
	like "$1: status sees cs_xdp behind a dispatcher" "$(cidsteer status 2>&1)" 's0 native XDP'
	before=$(counter xdp h3 by_table)
	transfers "$1, transfers survive a rebinding"
	check "$1: cs_xdp has counted" [ "$(counter xdp h3 by_table)" -gt "$before" ]
	check "$1: the filter drops UDP to port 443" filter port -p udp -m dst 443
	check "$1: and no transfer gets through" eval \
		"! transfer 10.9.1.1 --timeout 2"
	check "$1: until it passes that again" filter port -r -p udp -m dst 443
	check "$1: then they do" transfer 10.9.1.1
}

check "xdp-filter is loaded" filter load s0 --mode native --features udp,ipv4,ipv6
like "cs_xdp comes second" "$(cidsteer attach s0 --mode native 2>&1)" '^s0: attached, native'
both_work "after xdp-filter"
check "cs_xdp comes off" cidsteer detach s0 --force
like "and xdp-filter stays" "$(at_the_hook)" '^xdpfilt_[a-z_]+$'
check "xdp-filter comes off" filter unload s0

like "cs_xdp comes first" "$(cidsteer attach s0 --mode native 2>&1)" '^s0: attached, native'
check "xdp-filter is loaded then" filter load s0 --mode native --features udp,ipv4,ipv6
both_work "before xdp-filter"
check "xdp-filter comes off" filter unload s0
is "and cs_xdp stays" "$(at_the_hook)" cs_xdp
check "cs_xdp comes off" cidsteer detach s0 --force
is "nothing is at the hook" "$(in_ns server ip link show s0 | grep -c xdp)" 0
no_strays
done_testing
