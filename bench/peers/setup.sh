#!/bin/bash
# setup.sh DIR - the packages of the comparison: Dovecot installed (not started), Cyrus unpacked below DIR/cyrus
#
# Debian's dovecot-imapd and cyrus-imapd cannot be installed both. Dovecot looks for its modules where Debian has them, so
# it is the one that is installed; Cyrus runs from anywhere, given its libraries.
set -euo pipefail
cd "$(dirname "$0")/../.."
into=$1
policy=/usr/sbin/policy-rc.d
sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo)

# A mail server that starts by itself on port 143 is not what the user of a benchmark wants.
if ! command -v dovecot >/dev/null && [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
	"${sudo[@]}" chmod 755 "$policy"
	trap '"${sudo[@]}" rm -f "$policy"' EXIT
fi
tests/support/deps.sh peers

if [ ! -x "$into/cyrus/usr/lib/cyrus/bin/master" ]; then
	mkdir -p "$into/deb" "$into/cyrus"
	(cd "$into/deb" && apt-get download -q cyrus-common cyrus-imapd cyrus-pop3d 2>&1 | grep -v '^[GW]' || true)
	for package in "$into"/deb/cyrus-*.deb; do
		dpkg -x "$package" "$into/cyrus"
	done
fi
