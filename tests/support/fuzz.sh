#!/bin/bash
# fuzz.sh NAME... - libFuzzer on each named target for SECONDS_EACH; findings stay in BUILD/fuzz/found
set -uo pipefail
cd "$(dirname "$0")/../.."
bad=0
for name in "$@"; do
	program=${BUILD:-build}/fuzz/fuzz_$name
	found=${BUILD:-build}/fuzz/found/$name
	grown=${BUILD:-build}/fuzz/corpus/$name
	mkdir -p "$found" "$grown"
	dirs=("$grown")
	[ -d "tests/fuzz/corpus/$name" ] && dirs+=("tests/fuzz/corpus/$name")
	more=()
	[ -f "tests/fuzz/$name.dict" ] && more+=("-dict=tests/fuzz/$name.dict")
	echo "== fuzz_$name for ${SECONDS_EACH:-60} s"
	"$program" -max_total_time="${SECONDS_EACH:-60}" -timeout=10 -rss_limit_mb=2048 \
		-print_final_stats=1 -artifact_prefix="$found/" "${more[@]}" "${dirs[@]}" 2>&1 | tail -n 15
	if [ "${PIPESTATUS[0]}" -ne 0 ]; then
		echo "fuzz_$name: FAILED, see $found"
		bad=$((bad + 1))
	fi
done
[ "$bad" -eq 0 ]
