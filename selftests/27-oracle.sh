#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# cs_xdp in the kernel does what a model of docs/packets.md does, the same 50,000 packets in each
# run and all that once failed; `make oracle` takes a million others.
# ORACLE_PACKETS and ORACLE_SEED say how many, and which.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

RUNNER=$BUILD/tests/oracle/run
export ORACLE_PACKETS=${ORACLE_PACKETS:-50000} ORACLE_SEED=${ORACLE_SEED:-9000}

if [ ! -x "$RUNNER" ]; then
	skip "$RUNNER is not built" "the programs and the model agree on every packet"
	done_testing
fi
if [ -z "$PYTHON" ]; then
	skip "there is no python3" "the programs and the model agree on every packet"
	done_testing
fi
check "the programs and the model agree on every packet" "$PYTHON" "$TOP/tests/oracle/run"
diag "$(cat "$WORK/output")"
done_testing
