#!/bin/bash
# arrows.sh - what include paths cannot forbid: system headers outside their one room, "../" includes
set -uo pipefail
cd "$(dirname "$0")/../.."
bad=0
sources=$(find engine access tools bench include tests -name '*.[ch]' -o -name '*.def' | sort)

# only HEADER ROOM... - no file outside these rooms includes a header that begins like this
only() {
	local header=$1 found file
	shift
	for file in $(grep -lE "#[[:space:]]*include[[:space:]]*[<\"]$header" $sources); do
		found=no
		for room in "$@"; do
			[[ $file == $room/* ]] && found=yes
		done
		if [ $found = no ]; then
			echo "$file includes $header: only $* may"
			bad=1
		fi
	done
}
only 'lmdb\.h' engine/kv
only 'zstd\.h' engine/blob tools bench tests
only 'event2/' access/net
only 'openssl/ssl\.h' access/net tools tests bench
only 'microhttpd\.h' access/metrics
only 'roaring/' engine/index
only 'unicode/' engine/base engine/mime engine/search engine/mail
only 'crypt\.h' engine/mail
only 'argon2\.h' engine/mail
only 'zlib\.h' access/net tools tests
only 'check\.h' tests/unit tests/support

if grep -nE '#[[:space:]]*include[[:space:]]*"\.\./' $sources; then
	echo 'an include climbs out of its room with "../"'
	bad=1
fi
# The doors and the tools know the engine by include/mailshelf alone; the compiler sees to it, unless
# somebody writes the path.
if grep -nE '#[[:space:]]*include[[:space:]]*["<](engine|access|tools|tests)/' $sources; then
	echo "an include names a room by its path"
	bad=1
fi
[ $bad -eq 0 ] && echo "arrows: ok"
exit $bad
