#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# What bpftool shows of programs and maps: names, and fields by BTF.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

configure <<END
service "h3"   { listen = {"127.0.0.1:443"} max_cids = 64 }
service "hand" { listen = {"127.0.0.1:444"} max_cids = 64 }
END
check "the daemon starts" start_daemon
start_worker a --service h3 --listen 127.0.0.1:443 --generation 7
ask a issue 0102030405060708 >/dev/null
send - --to 127.0.0.1:443 --count 5 0102030405060708 >/dev/null
arrived 5 a

# ---- names ----------------------------------------------------------------------------------
# map_name PIN, prog_name PIN
map_name()
{
	bpftool map show pinned "$BPFFS/$1" | sed -n '1s/.* name \([^ ]*\).*/\1/p'
}
maps=$(sed -n 's/^} \(cs_[a-z_]*\) SEC(".maps");/\1/p' "$TOP"/bpf/*.[ch] | sort)
for map in cs_abi cs_addrs cs_services cs_cids cs_usage cs_workers cs_sockets cs_ring cs_counters \
	cs_listeners; do
	like "there is a map $map" " $(xargs <<<"$maps") " " $map "
done
for map in $maps; do
	is "map $map has its name" "$(map_name $map)" $map
done
is "map cs_watch has the name of its section" "$(map_name cs_watch)" .data.cs_watch
is "map cs_aes has the name of its section" "$(map_name cs_aes)" .rodata.cs_aes
like "xdp is cs_xdp" "$(bpftool prog show pinned "$BPFFS/xdp")" "xdp  name cs_xdp "
like "explain is cs_explain" "$(bpftool prog show pinned "$BPFFS/explain")" "xdp  name cs_explain "
like "reuseport is an instance of cs_reuseport" "$(bpftool prog show pinned "$BPFFS/reuseport")" "sk_reuseport  name cs_reuseport "
like "cpu is cs_cpu" "$(bpftool prog show pinned "$BPFFS/cpu")" "xdp  name cs_cpu "
is "what is pinned is these maps, the inner ones, and four programs" "$(cd "$BPFFS" && echo *)" \
	"cpu $(xargs -n1 <<<"$maps cs_watch cs_aes" | sort | xargs) explain inner reuseport xdp"
is "the inner ones by the ids that the outer ones hold" "$(ls "$BPFFS/inner")" \
	"$(for map in cs_cids cs_usage; do
		bpftool -j map dump pinned "$BPFFS/$map" | "$PYTHON" -c '
import json, sys
for entry in json.load(sys.stdin):
    # Four bytes, or what BTF makes of them.
    value = entry.get("inner_map_id", entry.get("value"))
    if isinstance(value, list):
        value = int.from_bytes(bytes(int(byte, 16) for byte in value), "little")
    if value is not None:
        print(value)'
	done | sort)"
# id_in MAP KEY: the id that a map of maps or of programs holds, as four bytes or as a number.
id_in()
{
	local value byte

	value=$(bpftool map lookup pinned "$BPFFS/$1" key "$2" 0 0 0 | grep -o 'value"\?:.*')
	read -r -a byte <<<"${value#*:}"
	case ${#byte[@]} in
	4) echo $((16#${byte[3]}${byte[2]}${byte[1]}${byte[0]})) ;;
	*) echo "${byte[0]}" ;;
	esac
}
instance=$(id_in cs_listeners 0)
like "the listener's slot holds an instance of cs_reuseport" \
	"$(bpftool prog show id "$instance")" "sk_reuseport  name cs_reuseport "
listeners=$(bpftool -j map show pinned "$BPFFS/cs_listeners" | grep -o '"id":[0-9]*' | cut -d: -f2)
like "what is on the group is a cs_stub over cs_listeners" \
	"$(bpftool prog show | grep -A2 'sk_reuseport  name cs_stub')" "map_ids (.*,)?$listeners(,|\$| )"

# ---- fields ---------------------------------------------------------------------------------
table=$(bpftool map dump id "$(id_in cs_cids 1)")
like "the table of a service is cs_table, of a cache line a bucket" \
	"$(bpftool map show id "$(id_in cs_cids 1)" | xargs)" \
	"array name cs_table flags .* value 64B max_entries 16 "
is "max_cids 64 makes 16 buckets" "$(grep -c '"key":' <<<"$table")" 16
is "a route prints its worker" "$(grep -c '"worker": \(0x\)\?1,$' <<<"$table")" 1
is "and whether it is pending" "$(grep -c '"pending": 0x\?0*,\?$' <<<"$table")" 128
tag=$(cidsteer lookup --service h3 0102030405060708 | sed -n 's/.* tag \([0-9a-f]*\),.*/\1/p')
like "and its tag, the one that lookup says" "$table" \
	"\"tag\": (0x0*${tag#0}|$((16#$tag))),?\$"
usage=$(bpftool map dump id "$(id_in cs_usage 1)")
is "a worker's line prints what it issued" "$(grep -c '"issued": 1,' <<<"$usage")" 1
for field in issued retired provisional refused strays path_changes; do
	check "usage lines have the field $field" grep -q "\"$field\": " <<<"$usage"
done

counters=$(bpftool map dump pinned "$BPFFS/cs_counters")
names=$(sed -n 's/^CS_COUNTER(\([a-z_]*\),.*/\1/p' "$TOP/include/core/counters.def")
for name in $names; do
	check "cs_counters prints $name" grep -q "\"$name\": " <<<"$counters"
done
is "by_table counts over all CPUs what was sent" \
	"$(grep -o '"by_table": [0-9]*' <<<"$counters" | awk '{ sum += $2 } END { print sum }')" 5
worker=$(bpftool map lookup pinned "$BPFFS/cs_workers" key 1 0 0 0)
for field in '"generation": 1' '"token": 7' '"state": 2' '"service": 1' "\"pid\": ${worker_pid[a]}"; do
	check "cs_workers prints $field" grep -q "$field," <<<"$worker"
done
service=$(bpftool map lookup pinned "$BPFFS/cs_services" key 1 0 0 0)
for field in '"name": "h3"' '"max_cids": 64' '"cid_len": 8' '"shared_table": 1'; do
	check "cs_services prints $field" grep -q "$field," <<<"$service"
done
like "cs_abi prints magic and layout" \
	"$(bpftool map dump pinned "$BPFFS/cs_abi" | xargs)" \
	"magic: 1128875091, layout: $(sed -n 's/^#define CS_LAYOUT //p' "$TOP/include/core/abi.h"),"
like "cs_addrs prints the address and its service" \
	"$(bpftool map dump pinned "$BPFFS/cs_addrs" | xargs)" "127,0,0,1.* service: 1,"

# ---- a route written by hand, as core/cid_table.h draws it ----------------------------------
#  63                     16 15 14        0
#  +-----------------------+--+------------+
#  | tag                   |p | worker id  |
#  +-----------------------+--+------------+
start_worker b --service hand --listen 127.0.0.1:444
id=${answer#ready }
cid=a0a1a2a3a4a5a6a7
read -r tag first second < <(cidsteer lookup --service hand $cid |
	sed -n 's/.*tag \([0-9a-f]*\), buckets \([0-9]*\) and \([0-9]*\) of 16$/\1 \2 \3/p')
hand=$(id_in cs_cids 2)

# write_word BUCKET TAG PENDING WORKER: the third word of an otherwise empty bucket.
write_word()
{
	local zeros

	zeros=$(printf '0 %.0s' $(seq 16))
	bpftool map update id "$hand" key "$1" 0 0 0 value hex $zeros \
		"$(printf %02x "$4")" $((8 * $3))0 \
		${2:10:2} ${2:8:2} ${2:6:2} ${2:4:2} ${2:2:2} ${2:0:2} $zeros $zeros 0 0 0 0 0 0 0 0
}

# goes_by REASON: a packet with the ID is counted so, by the program that routes sockets.
goes_by()
{
	local before

	before=$(counter reuseport hand "$1")
	send - --to 127.0.0.1:444 $cid >/dev/null
	[ $(($(counter reuseport hand "$1") - before)) = 1 ] || { cidsteer counters; return 1; }
}
check "an ID that nobody has issued is unknown" goes_by unknown_cid
for bucket in "$first" "$second"; do
	check "a word is written into bucket $bucket" write_word "$bucket" "$tag" 0 "$id"
	check "and is a route" goes_by by_table
	write_word "$bucket" "$tag" 1 "$id"
	check "while it is pending it is none" goes_by unknown_cid
	like "nor does lookup know it" "$(cidsteer lookup --service hand $cid)" "^hand: not in the table"
	write_word "$bucket" "$tag" 0 77
	check "of a worker that is not there it is a dead one's" goes_by dead_worker
	write_word "$bucket" "$tag" 0 1
	check "of another service's worker too" goes_by dead_worker
	write_word "$bucket" 000000000000 0 0
done
other=$((first == 3 || second == 3 ? (first == 5 || second == 5 ? 6 : 5) : 3))
write_word $other "$tag" 0 "$id"
check "in another bucket it is not looked for" goes_by unknown_cid
done_testing
