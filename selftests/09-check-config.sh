#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# cidsteerd --check: each mistake is named with file, line and reason.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# wrong LINE REASON <<END: a configuration with one mistake.
wrong()
{
	local output status

	configure
	output=$("$BUILD/cidsteerd" --check --config "$CONFIG" 2>&1)
	status=$?
	is "$2" "$status: $output" "1: cidsteerd: $CONFIG:$1: $2"
}

wrong 1 'no service is configured' <<END
END
wrong 1 'service "h3" has no listen: listen = {"[::]:443"}' <<END
service "h3" { }
END
wrong 3 'listen "localhost:443": not an address and port like "[::]:443" or "192.0.2.1:443"' <<END

service "h3" {
    listen = {"localhost:443"}
}
END
wrong 1 'listen "[::]": not an address and port like "[::]:443" or "192.0.2.1:443"' <<END
service "h3" { listen = {"[::]"} }
END
wrong 1 'listen "0.0.0.0:0": not an address and port like "[::]:443" or "192.0.2.1:443"' <<END
service "h3" { listen = {"0.0.0.0:0"} }
END
wrong 1 'listen "0.0.0.0:65536": not an address and port like "[::]:443" or "192.0.2.1:443"' <<END
service "h3" { listen = {"0.0.0.0:65536"} }
END
wrong 2 'listen "[::0]:443" is there twice' <<END
service "h3" {
    listen = {"[::]:443", "[::0]:443"}
}
END
wrong 4 'service "b" listens on [::]:443, and so does service "a"' <<END
service "a" {
    listen = {"[::]:443"}
}
service "b" { listen = {"[::]:444", "[::]:443"} }
END
wrong 3 'user "nobody-of-this-name" does not exist' <<END
service "h3" {
    listen = {"[::]:443"}
    user = "nobody-of-this-name"
}
END
wrong 3 'cid_length = 21: not in 0..20' <<END
service "h3" {
    listen = {"[::]:443"}
    cid_length = 21
}
END
wrong 3 'cid_length = -1: not in 0..20' <<END
service "h3" {
    listen = {"[::]:443"}
    cid_length = -1
}
END
wrong 3 'max_cids = 0: not in 1..67108864' <<END
service "h3" {
    listen = {"[::]:443"}
    max_cids = 0
}
END
wrong 3 'max_cids = 67108865: not in 1..67108864' <<END
service "h3" {
    listen = {"[::]:443"}
    max_cids = 67108865
}
END
policy='"hash", "pass" or "drop"'
for setting in unknown_cid malformed; do
	for word in quic count Drop ''; do
		wrong 3 "$setting = \"$word\": not $policy" <<-END
			service "h3" {
			    listen = {"[::]:443"}
			    $setting = "$word"
			}
		END
	done
done
wrong 3 "not_quic = \"count\": not \"quic\", $policy" <<END
service "h3" {
    listen = {"[::]:443"}
    not_quic = "count"
}
END
for word in hash pass quic; do
	wrong 3 "small_initial = \"$word\": not \"count\" or \"drop\"" <<-END
		service "h3" {
		    listen = {"[::]:443"}
		    small_initial = "$word"
		}
	END
done
wrong 3 'interface "an-interface-name-that-is-too-long": a name has 1 to 15 bytes' <<END
service "h3" {
    listen = {"[::]:443"}
    interface = {"an-interface-name-that-is-too-long"}
}
END
wrong 1 'service "a-name-of-16-byte": a name has 1 to 15 letters, digits, '"'-', '_' or '.'" <<END
service "a-name-of-16-byte" { listen = {"[::]:443"} }
END
wrong 1 'service "h 3": a name has 1 to 15 letters, digits, '"'-', '_' or '.'" <<END
service "h 3" { listen = {"[::]:443"} }
END
wrong 3 "no such option 'cid_lenght'" <<END
service "h3" {
    listen = {"[::]:443"}
    cid_lenght = 8
}
END
wrong 3 "invalid integer value for option 'cid_length'" <<END
service "h3" {
    listen = {"[::]:443"}
    cid_length = eight
}
END
wrong 3 "invalid boolean value for option 'shared_table'" <<END
service "h3" {
    listen = {"[::]:443"}
    shared_table = perhaps
}
END

# A mistake that has only a line of its own wording: file, line, 1.
mistake()
{
	local output status

	configure
	output=$("$BUILD/cidsteerd" --check --config "$CONFIG" 2>&1)
	status=$?
	like "$2" "$status: $output" "^1: cidsteerd: $CONFIG:$1: [^:]+"
}
mistake 2 "a service that is there twice" <<END
service "h3" { listen = {"[::]:443"} }
service "h3" { listen = {"[::]:444"} }
END
mistake 2 "braces that do not end" <<END
service "h3" { listen = {"[::]:443"
END
mistake 1 "a service without a name" <<END
service { listen = {"[::]:443"} }
END
mistake 2 "seventeen listeners" <<END
service "h3" {
    listen = {$(seq -s, -f '"[::]:%.0f"' 1001 1017)}
}
END

# ---- and what is right ----------------------------------------------------------------------
right()
{
	local output status

	output=$("$BUILD/cidsteerd" --check --config "$2" 2>&1)
	status=$?
	is "$1" "$status: $output" "0: $2: $3"
}
right "the example in etc/ has no mistake" "$TOP/etc/cidsteer.conf" "1 service, no mistake"
configure <<END
service "a" { listen = {"[::]:443", "0.0.0.0:443"} cid_length = 0 }
service "b" {
    listen = {$(seq -s, -f '"[::]:%.0f"' 1001 1016)}
    user = "www-data" max_cids = 67108864 shared_table = no
}
END
right "what is at the limits has none" "$CONFIG" "2 services, no mistake"
configure <<END
service "a" { listen = {"[::]:1"} unknown_cid = "hash" malformed = "hash" not_quic = "quic" small_initial = "count" }
service "b" { listen = {"[::]:2"} unknown_cid = "pass" malformed = "pass" not_quic = "hash" small_initial = "drop" }
service "c" { listen = {"[::]:3"} unknown_cid = "drop" malformed = "drop" not_quic = "pass" }
service "d" { listen = {"[::]:4"} not_quic = "drop" }
END
right "nor has any word of a policy" "$CONFIG" "4 services, no mistake"
output=$("$BUILD/cidsteerd" --check --config /run/missing 2>&1)
is "a file that is not there" "$?: $output" "1: cidsteerd: /run/missing: No such file or directory"
output=$("$BUILD/cidsteerd" --config /run/missing 2>&1)
is "the same without --check" "$?: $output" "1: cidsteerd: /run/missing: No such file or directory"
check "and nothing was loaded" test ! -e "$BPFFS"
done_testing
