#!/bin/bash
# check.sh - everything that must hold, in one run; the last line is "N passed, N failed"
#
# Every part prints lines "NAME: P passed, F failed"; they are added up here. A part that ends without
# such a line, or with a failure that it did not count, is one failure.
# Settings: BUILD, JOBS, CRASH_ROUNDS (20), CRASH_STEP (15), CRASH_CUTS (60), FUZZ_MUTATIONS (2000), PARTS (all of them, in this order).
set -uo pipefail
cd "$(dirname "$0")/../.."

MAKE=${MAKE:-make}
BUILD=${BUILD:-build}
JOBS=${JOBS:-$(nproc)}
PARTS=${PARTS:-"house build unit dialogue bytewise crash fuzz clients"}
BIN=$BUILD/asan
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

# Thousands of small stores are made and synced: in memory, when there is enough of it.
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ] &&
	[ "$(df --output=avail -k /dev/shm | tail -n 1)" -gt $((2 * 1024 * 1024)) ]; then
	TMPDIR=/dev/shm
fi
top=$(mktemp -d "${TMPDIR:-/tmp}/mailshelf-check-XXXXXX") || exit 1
trap 'rm -rf "$top"' EXIT
log=$top/log
export TMPDIR=$top/tmp
mkdir "$TMPDIR"
# Front servers run our programs as users of their own, who must reach what a test has given them.
chmod 711 "$top" "$TMPDIR"

passed=0
failed=0
blamed=$top/blamed

# Tests leave nothing in the tree. Only asked in CI: elsewhere people edit while tests run.
tree() { [ "${CI:-}" = true ] && git status --porcelain 2>/dev/null || true; }
tree_before=$(tree)

finish() {
	if [ "$(tree)" != "$tree_before" ]; then
		echo "the tests changed the tree:"
		tree
		failed=$((failed + 1))
	fi
	# A test that failed may leave its store behind, one that passed may not.
	if [ "$failed" -eq 0 ] && [ -n "$(ls -A "$TMPDIR")" ]; then
		echo "the tests left files behind:"
		ls -A "$TMPDIR"
		failed=$((failed + 1))
	fi
	if [ -s "$blamed" ]; then
		echo
		echo "what failed:"
		cat "$blamed"
	fi
	echo
	echo "$passed passed, $failed failed"
	[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
	exit $?
}
interrupted() {
	failed=$((failed + 1))
	echo "interrupted"
	finish
}
trap interrupted INT TERM

# blame NAME - what a part said, without what went well and the server's log, once more at the end of the run
blame() {
	echo "== $1"
	grep -avE '^(ok|skip) |^[0-9-]+T[0-9:.]+Z (info|warn) |^[a-z_]+: [0-9]+ passed' "$log" | tail -n 60
} >>"$blamed"

# part NAME COMMAND... - runs one part and adds its counts
part() {
	local name=$1 status count before=$failed
	shift
	echo "== $name"
	SECONDS=0
	"$@" </dev/null 2>&1 | tee "$log"
	status=${PIPESTATUS[0]}
	count=$(grep -aE '^[a-z_]+: [0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)
	if [ -n "$count" ]; then
		count=${count#*: }
		passed=$((passed + ${count%% passed*}))
		count=${count#*, }
		failed=$((failed + ${count%% failed*}))
	fi
	if [ "$status" -ne 0 ] && [ "$failed" -eq "$before" ] || [ -z "$count" ]; then
		echo "$name: ended with status $status" | tee -a "$log"
		failed=$((failed + 1))
	fi
	[ "$failed" -eq "$before" ] || blame "$name"
	echo "-- $name took $SECONDS s"
}

# The rest counts commands: ok or failed.
each() {
	local name=$1 good=0 bad=0
	shift
	for command in "$@"; do
		if $command; then good=$((good + 1)); else bad=$((bad + 1)); fi
	done
	echo "$name: $good passed, $bad failed"
	[ "$bad" -eq 0 ]
}
house() { each house tests/support/arrows.sh tests/support/lint.sh; }
regress() {
	local list=()
	for program in "$BIN"/regress_*; do
		[ -x "$program" ] && [[ $program != *.* ]] &&
			list+=("$program -m ${FUZZ_MUTATIONS:-2000} tests/fuzz/corpus/${program##*/regress_}")
	done
	each fuzz "${list[@]}"
}

for group in $PARTS; do
	case $group in
	house) part house house ;;
	build)
		if ! tests/support/deps.sh test; then
			echo "packages are missing"
			failed=1
			finish
		fi
		SECONDS=0
		echo "== build"
		if ! $MAKE --no-print-directory -s -k -j"$JOBS" BUILD="$BUILD" MODE=asan test-programs; then
			echo "the build failed"
			failed=$((failed + 1))
			finish
		fi
		echo "-- build took $SECONDS s"
		;;
	unit) part unit "$BIN/unit" ;;
	dialogue) part dialogue "$BIN/dialogue" tests/dialogue ;;
	bytewise) part bytewise "$BIN/dialogue" --bytewise tests/dialogue ;;
	crash) part crash "$BIN/crash" --rounds "${CRASH_ROUNDS:-20}" --step "${CRASH_STEP:-15}" --cuts "${CRASH_CUTS:-60}" ;;
	fuzz) part fuzz regress ;;
	clients) part clients env BIN="$BIN" python3 tests/clients/run.py ;;
	*)
		echo "no part $group"
		failed=$((failed + 1))
		;;
	esac
done
finish
