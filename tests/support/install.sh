#!/bin/bash
# install.sh - copies what `make install` promises; PREFIX, DESTDIR and BIN come from the Makefile
set -euo pipefail
cd "$(dirname "$0")/../.."
to=${DESTDIR:-}${PREFIX:?}

install -d "$to/bin" "$to/sbin" "$to/lib" "$to/include/mailshelf"
install -m 755 "${BIN:?}/mailshelf" "$to/bin/"
install -m 755 "$BIN/mailshelfd" "$to/sbin/"
install -m 644 "$BIN/libmailshelf.a" "$to/lib/"
install -m 644 include/mailshelf/*.h include/mailshelf/*.def "$to/include/mailshelf/"
for page in docs/man/*.[1-8]; do
	[ -e "$page" ] || continue
	section=${page##*.}
	install -d "$to/share/man/man$section"
	install -m 644 "$page" "$to/share/man/man$section/"
done
echo "installed under $to"
