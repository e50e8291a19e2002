#!/bin/bash
# deps.sh GROUP... - installs the Debian packages a target needs; does nothing when all are there
#
# Groups: build, test, demo, fuzz, interop, peers (each takes build with it). On other systems it only names them.
set -euo pipefail

build="gcc make pkg-config libc6-dev liblmdb-dev libzstd-dev libssl-dev libevent-dev libcrypt-dev
  libargon2-dev libroaring-dev libicu-dev zlib1g-dev libmicrohttpd-dev"
declare -A also=(
	[build]=""
	[test]="check python3 openssl curl isync fetchmail procps postfix groff-base python3-prometheus-client
		offlineimap3 neomutt tmux gsasl mpop getmail6 libsasl2-modules haproxy"
	[interop]="nodejs npm roundcube-core roundcube-sqlite3 php-cli php-sqlite3 php-mbstring php-intl php-xml
		chromium chromium-driver fonts-dejavu-core thunderbird xvfb"
	[demo]="curl openssl"
	[fuzz]="clang"
	[peers]="python3 openssl util-linux strace gnuplot-nox dovecot-core dovecot-imapd dovecot-pop3d dovecot-lmtpd
		sasl2-bin libsasl2-modules libsasl2-modules-db libical3 libpq5 libxapian30 libclamav12 libzephyr4
		libwrap0 libpcre3 libldap-2.5-0 libjansson4 libxml2 libcom-err2 libkrb5-3 libsqlite3-0"
)

wanted=$build
for group in "$@"; do
	if [ -z "${also[$group]+set}" ]; then
		echo "deps.sh: no group $group (build, test, demo, fuzz, interop, peers)" >&2
		exit 64
	fi
	wanted+=" ${also[$group]}"
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	echo "not a Debian system; needed under their names here:" $wanted
	exit 0
fi

missing=()
for package in $wanted; do
	# A Node.js from elsewhere brings its own npm, and Debian's does not go with it.
	[ "$package" != npm ] || ! command -v npm >/dev/null || continue
	status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
	[ "$status" = "install ok installed" ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo)
echo "installing packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
install() {
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
		--no-install-recommends "${missing[@]}" </dev/null
}
# The package lists may be old or absent: fetch them only when the first try fails.
if ! install >/tmp/deps.$$ 2>&1; then
	"${sudo[@]}" apt-get update -q </dev/null
	install
fi
rm -f /tmp/deps.$$
