# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# An account of all that was ever sent: after each step the whole of all counters, and what each
# worker got, are compared with it.  Nothing is set back, so what comes late is seen in the step
# after.

# wanted["HOOK SERVICE COUNTER"], got[WORKER].  got[icmp], if there is one, counts the ICMP errors
# that the namespace "client" got; see count_icmp().
declare -A wanted got

# expect CLAIM "HOOK:SERVICE:COUNTER=N..." "WORKER=N..." COMMAND...: it sends; then just that has been
# counted, and has arrived, in addition.  $ACCOUNTED: the workers that are asked, default: all.
expect()
{
	local claim=$1 counters=$2 workers=$3 what key
	shift 3
	if ! "$@" >"$WORK/output" 2>&1; then
		flunk "$claim" "$* failed" "$(cat "$WORK/output")"
		agrees || begin_anew
		return
	fi
	for what in $counters; do
		key=${what%=*}
		key=${key//:/ }
		wanted[$key]=$((${wanted[$key]:-0} + ${what#*=}))
	done
	for what in $workers; do
		got[${what%=*}]=$((${got[${what%=*}]} + ${what#*=}))
	done
	wait_for agrees
	is "$claim" "$counted" "$due" || begin_anew
}

# What is wrong once is not wrong in each step behind it.
begin_anew()
{
	local word1 word2 word3 word4

	wanted=()
	while read -r word1 word2 word3 word4; do
		case $word4 in
		"") got[$word1]=$word2 ;;
		*) wanted["$word1 $word2 $word3"]=$word4 ;;
		esac
	done <<<"$counted"
}

agrees()
{
	counted=$(counts)
	due=$(account)
	[ "$counted" = "$due" ]
}

# What is: each counter that is not 0, without seen; then the workers.
counts()
{
	local name

	cidsteer counters | awk '($1 == "xdp" || $1 == "reuseport") && $3 != "seen" {
		gsub(",", "", $4); print $1, $2, $3, $4 }' | sort
	for name in ${ACCOUNTED:-${!got[@]}}; do
		case $name in
		icmp) echo "icmp $(count_icmp)" ;;
		*)
			tell "$name" count
			hear "$name"
			answer=${answer#packets=}
			echo "$name ${answer%% *}"
			;;
		esac
	done
}

# What should be.
account()
{
	local what

	for what in "${!wanted[@]}"; do
		[ "${wanted[$what]}" = 0 ] || echo "$what ${wanted[$what]}"
	done | sort
	for what in ${ACCOUNTED:-${!got[@]}}; do
		echo "$what ${got[$what]}"
	done
}

# mac NS DEV
mac()
{
	ip -n "$1" -o link show "$2" | sed 's/.*link\/ether \([^ ]*\).*/\1/'
}

# addresses NS DEV
addresses()
{
	ip -n "$1" -o address show dev "$2" | awk '$3 ~ /^inet/ { sub("/.*", "", $4); print $4 }'
}

# knows NS MAC DEV ADDR: it need not ask for this neighbour.
knows()
{
	ip -n "$1" neighbour replace "$4" lladdr "$2" dev "$3" nud permanent || bail "neighbour $4"
}

# quiet_cable DEV...: c0 and those upon it, to which s0 and those upon it are the peers.  Both ends
# know each other's addresses; what else the client says by itself stays there.  So XDP at the server
# sees what the test sends, and nothing else.
quiet_cable()
{
	local dev addr devices

	for dev; do
		for addr in $(addresses server "s${dev#c}"); do
			knows client "$(mac server s0)" "$dev" "$addr"
		done
		for addr in $(addresses client "$dev"); do
			knows server "$(mac client c0)" "s${dev#c}" "$addr"
		done
	done
	devices=$(printf '%s\n' "$@" | paste -sd,)
	in_ns client nft -f - <<-RULES || bail "nft"
		table netdev quiet {
			chain out {
				type filter hook egress devices = { $devices } priority 0
				meta protocol arp drop
				meta l4proto ipv6-icmp drop
			}
		}
	RULES
}

# watch_icmp: from now on errors that come to the client are counted, and the server sends all.
watch_icmp()
{
	in_ns server sysctl -q -w net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0 ||
		bail "rate of ICMP"
	in_ns client nft -f - <<-RULES || bail "nft"
		table inet errors {
			counter unreachable { }
			chain in {
				type filter hook input priority 0
				icmp type destination-unreachable counter name unreachable
				icmpv6 type destination-unreachable counter name unreachable
			}
		}
	RULES
	got[icmp]=0
}

count_icmp()
{
	in_ns client nft list counter inet errors unreachable | sed -n 's/.*packets \([0-9]*\) .*/\1/p'
}
