#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# A call of start, adoption, registration, reload ... fails, and the next attempt works: of each
# phase some calls, the same in each run; `make fault` takes all of them.
# FAULT_MOST and FAULT_SEED say how many, and which.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

FAULTS=$BUILD/tests/fault/faults
export FAULT_MOST=${FAULT_MOST:-20} FAULT_SEED=${FAULT_SEED:-1}

if [ ! -x "$FAULTS" ]; then
	skip "$FAULTS is not built" "each call that fails is handled"
	done_testing
fi
mapfile -t phases < <("$FAULTS" --list)
for phase in "${phases[@]}"; do
	check "a call fails: ${phase#*: }" "$FAULTS" "${phase%%:*}"
	diag "$(grep -v '^ ' "$WORK/output")"
done
done_testing
