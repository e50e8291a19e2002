#!/bin/bash
# demo.sh - a store with mail, a running server, and proof that the doors work
#
#   BIN          where mailshelf and mailshelfd are; default: build/release
#   DEMO_EXIT    1: stop by itself; the exit status tells whether everything held
#   DEMO_CORPUS  none, some (two lists, about 3,300 messages) or all (default) of ../shared/corpus/bulk
#   DEMO_DIR     the demo's directory, removed and made again; default: demo-store
#
# Nothing leaves the loopback interface. Accounts and passwords are new each time.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 70

BIN=${BIN:-build/release}
DIR=${DEMO_DIR:-$PWD/demo-store}
CORPUS=../shared/corpus/bulk
SAMPLE=tools/demo/sample.mbox
HOST=127.0.0.1
STORE=$DIR/store
LOG=$DIR/mailshelfd.log
daemon='' failures=0 verified=0

say() { printf '\n== %s\n' "$*"; }
ok() { verified=$((verified + 1)); printf '   ok      %s\n' "$*"; }
bad() { failures=$((failures + 1)); printf '   NOT OK  %s\n' "$*"; }
die() { printf 'demo: %s\n' "$*" >&2; exit 70; }
# holds TEXT COMMAND... - one line about whether COMMAND succeeds
holds() { local text=$1; shift; if "$@"; then ok "$text"; else bad "$text"; fi; }
shelf() { "$BIN/mailshelf" -s "$STORE" "$@"; }

stop_daemon() {
	local pid=$daemon
	[ -n "$pid" ] || return 0
	daemon=''
	kill -TERM "$pid" 2>/dev/null
	wait "$pid"
}
trap 'stop_daemon' EXIT
trap 'echo; echo "stopping"; exit 130' INT
trap 'exit 143' TERM

for program in mailshelf mailshelfd; do
	[ -x "$BIN/$program" ] || die "$BIN/$program is not there: make MODE=release all"
done
for program in curl openssl awk cmp; do
	command -v "$program" >/dev/null || die "$program is needed and not installed"
done

# ---- A fresh directory -------------------------------------------------------------------------

if [ -e "$DIR" ]; then
	# Only what an earlier demo made may be removed.
	[ -e "$DIR/.mailshelf-demo" ] || die "$DIR is there and is not a demo's: not removed"
	rm -rf "$DIR"
fi
mkdir -p "$DIR" || die "$DIR cannot be made"
touch "$DIR/.mailshelf-demo" || die "$DIR cannot be written"

say "a store with three accounts"
shelf init || die "no store"
alice_pw=$(openssl rand -hex 8) bob_pw=$(openssl rand -hex 8) tiny_pw=$(openssl rand -hex 8)
echo "$alice_pw" | shelf account add alice --password-stdin || die "no account"
echo "$bob_pw" | shelf account add bob --password-stdin --quota 1G || die "no account"
echo "$tiny_pw" | shelf account add tiny --password-stdin --quota 20K || die "no account"
shelf mailbox create alice Sent --use '\Sent'
shelf mailbox create alice Trash --use '\Trash'

# ---- Mail --------------------------------------------------------------------------------------

say "importing $SAMPLE"
shelf import alice "$SAMPLE" --mailbox INBOX || bad "the sample was not imported whole"
say "the same once more: nothing is taken twice"
shelf import alice "$SAMPLE" --mailbox INBOX
again=$(shelf --json import alice "$SAMPLE" --mailbox INBOX)
holds "a repeated import stores nothing" grep -q '"stored":0,' <<<"$again"

case ${DEMO_CORPUS:-all} in
none) files=() ;;
all) files=("$CORPUS"/*.mbox.zst) ;;
some) files=("$CORPUS/list-ksummit.mbox.zst" "$CORPUS/sa-easy-ham-1.mbox.zst") ;;
*) die "DEMO_CORPUS is none, some or all" ;;
esac
if [ ${#files[@]} -gt 0 ] && [ -e "${files[0]}" ]; then
	for file in "${files[@]}"; do
		name=$(basename "$file" .mbox.zst)
		say "importing $name into alice's lists/$name"
		shelf import alice "$file" --mailbox "lists/$name" || bad "$name was not imported whole"
	done
	[ "${DEMO_CORPUS:-all}" = all ] ||
		echo "   (two files of the corpus; all of them without DEMO_CORPUS=some)"
else
	echo "   (no corpus: only the sample)"
fi

# ---- The server --------------------------------------------------------------------------------

# The first port from $1 on that nobody listens on and that was not given out before.
taken=" "
free_port() {
	local port=$1
	while [[ $taken == *" $port "* ]] || (exec 3<>"/dev/tcp/$HOST/$port") 2>/dev/null; do
		port=$((port + 1))
		[ "$port" -lt 65000 ] || die "no free port"
	done
	taken+="$port "
	REPLY=$port
}

say "starting mailshelfd with a certificate of its own"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
	-subj "/CN=localhost" -addext "subjectAltName=DNS:localhost,IP:$HOST" \
	-keyout "$DIR/key.pem" -out "$DIR/cert.pem" 2>"$DIR/openssl.log" || die "no certificate"

# Somebody may take a port between the look and the bind: then others are tried.
for attempt in 1 2 3; do
	free_port 1143; imap=$REPLY
	free_port 1993; imaps=$REPLY
	free_port 1110; pop3=$REPLY
	free_port 1995; pop3s=$REPLY
	free_port 1024; lmtp=$REPLY
	: >"$DIR/ready"
	"$BIN/mailshelfd" --store "$STORE" --imap "$HOST:$imap" --imaps "$HOST:$imaps" \
		--pop3 "$HOST:$pop3" --pop3s "$HOST:$pop3s" --lmtp "$HOST:$lmtp" \
		--tls-cert "$DIR/cert.pem" --tls-key "$DIR/key.pem" --hostname localhost \
		>"$DIR/ready" 2>"$LOG" &
	daemon=$!
	for ((i = 0; i < 300; i++)); do
		grep -q '^ready' "$DIR/ready" && break 2
		kill -0 "$daemon" 2>/dev/null || break
		sleep 0.1
	done
	stop_daemon
	[ "$attempt" -lt 3 ] || { cat "$LOG" >&2; die "mailshelfd does not start"; }
done
ok "mailshelfd is ready (process $daemon)"

# ---- What goes in comes out --------------------------------------------------------------------

# message N of the sample in wire form, straight from the file
source_message() {
	awk -v want="$1" '
	/^From / && (NR == 1 || empty) { n++; empty = 0; held = 0; next }
	n == want {
		if (held) printf "\r\n"
		held = 0
		if ($0 == "") { held = 1; empty = 1; next }
		if ($0 ~ /^>+From /) $0 = substr($0, 2)
		printf "%s\r\n", $0
	}
	{ empty = $0 == "" }' "$SAMPLE"
}
fetch() { curl -s --max-time 30 --cacert "$DIR/cert.pem" -u "$1:$2" "$3" -o "$4"; }
# reads_back TEXT URL N - is what URL gives the sample's message N, byte for byte?
reads_back() {
	source_message "$3" >"$DIR/want"
	rm -f "$DIR/got"
	fetch alice "$alice_pw" "$2" "$DIR/got"
	holds "$1: message $3 as in the source, $(wc -c <"$DIR/want") bytes" \
		cmp -s "$DIR/want" "$DIR/got"
}

say "reading mail back, comparing every byte with $SAMPLE"
reads_back "IMAP"  "imap://$HOST:$imap/INBOX;UID=1" 1
reads_back "IMAPS" "imaps://localhost:$imaps/INBOX;UID=7" 7
reads_back "IMAPS" "imaps://localhost:$imaps/INBOX;UID=16" 16
reads_back "POP3"  "pop3://$HOST:$pop3/4" 4
reads_back "POP3S" "pop3s://localhost:$pop3s/23" 23
wrong=$(curl -s --max-time 30 -o /dev/null -w '%{exitcode}' -u "alice:wrong" "imap://$HOST:$imap/" || true)
holds "a wrong password is refused" test "$wrong" = 67

# ---- Delivery ----------------------------------------------------------------------------------

# One reply, its last line, in $REPLY.
lmtp_reply() {
	local line
	REPLY=
	while IFS= read -r -t 30 line <&4; do
		line=${line%$'\r'}
		REPLY=$line
		[[ $line == ???-* ]] || return 0
	done
	return 1
}
# lmtp_send RECIPIENT < message in wire form: the reply to the last step taken, in $REPLY
lmtp_send() {
	local step line
	exec 4<>"/dev/tcp/$HOST/$lmtp" || return 1
	lmtp_reply || return 1
	for step in "LHLO demo.example.org" "MAIL FROM:<demo@example.org>" "RCPT TO:<$1>" "DATA"; do
		printf '%s\r\n' "$step" >&4
		lmtp_reply || return 1
		[[ $REPLY == [23]* ]] || { exec 4>&-; return 0; }
	done
	sed 's/^\./../' >&4
	printf '.\r\n' >&4
	lmtp_reply || return 1
	line=$REPLY
	printf 'QUIT\r\n' >&4
	lmtp_reply
	REPLY=$line
	exec 4>&-
}
# A note that fits anywhere.
note() {
	printf '%s\r\n' "From: Demo <demo@example.org>" "To: $1@localhost" \
		"Subject: delivered by LMTP" "Date: $(LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S +0000')" "" \
		"This came through the delivery door." ".A line that begins with a dot." "."
}

say "delivering by LMTP"
lmtp_send bob@localhost < <(note bob)
holds "to bob: $REPLY" test "${REPLY:0:3}" = 250
fetch bob "$bob_pw" "imaps://localhost:$imaps/INBOX;UID=1" "$DIR/got"
note bob | sed -n '/^Subject/,$p' | tail -n 3 >"$DIR/want"
tail -n 3 "$DIR/got" >"$DIR/tail"
holds "bob reads it, dots and all" cmp -s "$DIR/want" "$DIR/tail"
lmtp_send tiny@localhost < <(note tiny)
holds "to tiny, who has 20 KiB: $REPLY" test "${REPLY:0:3}" = 250
lmtp_send tiny@localhost < <(source_message 23)
holds "100 KB more for tiny: $REPLY" test "${REPLY:0:9}" = "552 5.2.2"
lmtp_send nobody@localhost < <(note nobody)
holds "to nobody: $REPLY" test "${REPLY:0:3}" = 550

say "importing for bob while the server runs"
shelf import bob "$SAMPLE" --mailbox sample || bad "the sample was not imported whole"
source_message 8 >"$DIR/want"
fetch bob "$bob_pw" "imaps://localhost:$imaps/sample;UID=8" "$DIR/got"
holds "bob's sessions see it at once" cmp -s "$DIR/want" "$DIR/got"

say "quotas and numbers, while the server runs"
shelf quota show
holds "usage kept equals usage counted" shelf quota check
shelf mailbox list alice
shelf stats
holds "check finds nothing wrong" shelf check

# ---- The end, or the beginning -----------------------------------------------------------------

if [ "${DEMO_EXIT:-}" = 1 ]; then
	stop_daemon
	holds "mailshelfd stops with status 0" test $? = 0
fi
printf '\n%d verified, %d failed\n' "$verified" "$failures"
if [ "${DEMO_EXIT:-}" = 1 ]; then
	[ "$failures" -eq 0 ]
	exit
fi
cat <<END

The server runs until Ctrl-C. To look at it with a mail program:

  IMAP   $HOST port $imap (STARTTLS)   or port $imaps (TLS)
  POP3   $HOST port $pop3 (STLS)       or port $pop3s (TLS)
  LMTP   $HOST port $lmtp

  alice  $alice_pw
  bob    $bob_pw
  tiny   $tiny_pw

  The certificate is its own: $DIR/cert.pem
  The log: $LOG
  curl --cacert $DIR/cert.pem -u alice:$alice_pw "imaps://localhost:$imaps/INBOX;UID=3"
  $BIN/mailshelf -s $STORE mailbox list alice
END
wait "$daemon"
daemon=''
bad "mailshelfd ended by itself: $LOG"
exit 70
