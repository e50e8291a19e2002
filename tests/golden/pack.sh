#!/bin/bash
# pack.sh NAME - makes tests/golden/NAME.tar.gz and NAME.list with the engine as it is now
#
# Once for each released format, when it is released; never again for the same one.
set -euo pipefail
cd "$(dirname "$0")/../.."
name=$1
BIN=${BIN:-build/debug}
[ ! -e "tests/golden/$name.tar.gz" ] || { echo "$name is there, and stays as it is"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$BIN/golden" make "$work/store"
"$BIN/golden" list "$work/store" >"$work/list"
tar -C "$work" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --exclude=lock.mdb -cSf - store |
	gzip -9n >"tests/golden/$name.tar.gz"
mv "$work/list" "tests/golden/$name.list"
ls -l "tests/golden/$name".*
