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
install -d "$to/share/man/man1" "$to/share/man/man8" "$to/share/bash-completion/completions"
"$BIN/mailshelfd" --man >"$to/share/man/man8/mailshelfd.8"
"$BIN/mailshelf" help --man >"$to/share/man/man1/mailshelf.1"
# "account add --batch ...": the words before the first option are the verb.
"$BIN/mailshelf" help --words | sed 's/ --.*//' | while read -r verb; do
	"$BIN/mailshelf" help $verb --man >"$to/share/man/man1/mailshelf-${verb// /-}.1"
done
install -m 644 tools/completion.bash "$to/share/bash-completion/completions/mailshelf"
echo "installed under $to"
