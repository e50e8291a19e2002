#!/bin/bash
# lint.sh - the rules of STYLE.md that a program can check
set -uo pipefail
cd "$(dirname "$0")/../.."
bad=0
say() {
	echo "$*"
	bad=1
}
sources=$(find engine access tools bench include tests -name '*.[ch]' | sort)

# Tables may be longer than 800 lines.
for file in $sources; do
	lines=$(wc -l <"$file")
	[ "$lines" -le 800 ] || say "$file: $lines lines, 800 is the end"
done

# Lines aim at 100 columns (a tab is 8) and end at 120, no blanks at the end, no spaces where tabs indent, functions of
# at most 80 lines, and a comment at the top that says what the file does.
awk '
function wide(s,   n, i, c) {
	n = 0
	for (i = 1; i <= length(s); i++) {
		c = substr(s, i, 1)
		n = c == "\t" ? n + 8 - n % 8 : n + 1
	}
	return n
}
FNR == 1 && !/^\/\*/ { printf "%s:1: no opening comment\n", FILENAME; bad = 1 }
wide($0) > 120 { printf "%s:%d: %d columns\n", FILENAME, FNR, wide($0); bad = 1 }
/[ \t]$/ { printf "%s:%d: blanks at the end\n", FILENAME, FNR; bad = 1 }
/^ {8}/ { printf "%s:%d: indented with blanks\n", FILENAME, FNR; bad = 1 }
/^{/ { start = FNR }
/^}/ && start && FNR - start > 81 {
	printf "%s:%d: a function of %d lines, 80 is the end\n", FILENAME, start, FNR - start - 1
	bad = 1
}
/^}/ { start = 0 }
END { exit bad }' $sources || bad=1

# A suite that is not in suites.def never runs.
for file in tests/unit/test_*.c; do
	[ -e "$file" ] || continue
	name=${file##*/test_}
	grep -q "^suite_${name%.c}(" "$file" || continue
	grep -q "SUITE(${name%.c})" tests/unit/suites.def || say "$file: not in suites.def"
done
# The names of the house are subjects, not drawers.
for file in $sources; do
	case ${file##*/} in
	util*.[ch] | common.[ch] | misc.[ch] | helpers.[ch]) say "$file: a name that says nothing" ;;
	esac
done
[ $bad -eq 0 ] && echo "lint: ok"
exit $bad
