/*
 * session_rig.c - whole sessions for the fuzz targets (session_rig.h)
 *
 * What must stay true: an input finds what every other one finds, two messages in INBOX and no other mailbox. The uids
 * are higher each time, so an input that was played alone may see other numbers, nothing else.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mailshelf/log.h>
#include <mailshelf/mailshelf.h>

#include "dialogue.h"
#include "session_rig.h"

enum { SILENCE_MS = 60000, SAID_MAX = 64 << 20, CHECK_EVERY = 512, FRESH_EVERY = 20000, NAMES_MAX = 64 };

static struct dialogue_server *server;
static struct shelf_store *store;
static uint32_t account;
static uint64_t clean; /* the account's version when everything was put back last */
static unsigned played;

static void
do_step(enum dialogue_kind kind, const char *a, const char *b, struct shelf_span message)
{
	/* Accounts have a quota: COPY of all into itself doubles. */
	const struct dialogue_step step = {.kind = kind,
	    .word = {(char *)a, (char *)b, (char *)"1000000", (char *)"300"}, .nwords = b == NULL ? 1 : 4};
	const char *error = dialogue_server_do(server, &step, message);

	session_must(error == NULL, error, message);
}

static void
deliver(void)
{
	static const char one[] = "From: ann@example.org\r\nSubject: one\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nfirst\r\n--b\r\n"
	    "Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\n.text\r\n--b--\r\n";
	static const char two[] = "To: joe@example.org\r\nSubject: =?utf-8?q?tw=C3=B6?=\r\n\r\n.\r\n..second\r\n";

	do_step(DIALOGUE_DELIVER, "joe", NULL, shelf_span_str(one));
	do_step(DIALOGUE_DELIVER, "joe", NULL, shelf_span_str(two));
}

static uint64_t
version(void)
{
	struct shelf_rd *rd = NULL;
	uint64_t modseq;

	session_must(shelf_rd_begin(store, account, &rd) == 0, "the account cannot be read", shelf_span(NULL, 0));
	modseq = shelf_rd_modseq(rd);
	shelf_rd_end(&rd);
	return modseq;
}

static void
end_server(void)
{
	dialogue_server_free(&server);
}

static void
begin_server(void)
{
	struct dialogue_step hold = {.kind = DIALOGUE_STORE, .word = {(char *)"hold", (char *)"none"}, .nwords = 2};
	struct shelf_account found;

	bool first = server == NULL;

	end_server();
	shelf_log_level(SHELF_LOG_ERROR);
	server = dialogue_server_new();
	dialogue_server_do(server, &hold, shelf_span(NULL, 0));
	do_step(DIALOGUE_ACCOUNT, "joe", "secret", shelf_span(NULL, 0));
	do_step(DIALOGUE_ACCOUNT, "ann", "secret", shelf_span(NULL, 0));
	store = dialogue_server_store(server);
	session_must(shelf_account_find(store, shelf_span_str("joe"), &found) == 0, "no account", shelf_span(NULL, 0));
	account = found.id;
	deliver();
	clean = version();
	if (first) /* behind what the libraries have registered: theirs comes later */
		atexit(end_server);
}

struct names {
	struct shelf_buf name[NAMES_MAX];
	size_t n;
};

static int
add_name(void *arg, const struct shelf_mailbox *row)
{
	struct names *names = arg;

	if (names->n < NAMES_MAX && !shelf_span_is(row->name, "INBOX"))
		shelf_buf_add_span(&names->name[names->n++], row->name);
	return 0;
}

/* Mailboxes beside INBOX, in the order of their names: those below come last and go first. How many went. */
static size_t
remove_mailboxes(void)
{
	struct names names = {.n = 0};
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(store, account, &rd);

	if (rc == 0)
		rc = shelf_mailbox_each(rd, add_name, &names);
	shelf_rd_end(&rd);
	session_must(rc == 0, shelf_err_text(rc), shelf_span(NULL, 0));
	for (size_t i = names.n; i-- > 0;) {
		rc = shelf_mailbox_subscribe(store, account, shelf_buf_span(&names.name[i]), false);
		if (rc == 0)
			rc = shelf_mailbox_delete(store, account, shelf_buf_span(&names.name[i]));
		rc = rc == SHELF_ENOMAILBOX ? 0 : rc; /* it was subscribed only */
		session_must(rc == 0, shelf_err_text(rc), shelf_buf_span(&names.name[i]));
		shelf_buf_free(&names.name[i]);
	}
	return names.n;
}

static void
put_back(void)
{
	struct shelf_mailbox inbox;
	struct shelf_rd *rd = NULL;
	bool ok;

	if (version() == clean)
		return;
	while (remove_mailboxes() == NAMES_MAX)
		;
	ok = shelf_rd_begin(store, account, &rd) == 0 &&
	    shelf_mailbox_find(rd, shelf_span_str("INBOX"), &inbox) == 0;
	shelf_rd_end(&rd);
	session_must(ok && shelf_msg_expunge(store, account, inbox.id, NULL, 0, NULL) == 0,
	    "messages cannot be put back", shelf_span(NULL, 0));
	deliver();
	clean = version();
}

static void
finding(void *arg, unsigned invariant, uint32_t of, const char *text)
{
	fprintf(stderr, "invariant %u, account %u: %s\n", invariant, of, text);
	++*(unsigned *)arg;
}

static void
look_after(void)
{
	unsigned findings = 0;

	if (++played % CHECK_EVERY == 0) {
		session_must(shelf_store_check(store, NULL, finding, &findings) == 0 && findings == 0,
		    "the store is damaged", shelf_span(NULL, 0));
	}
	if (played % FRESH_EVERY == 0)
		begin_server();
	else
		put_back();
}

/* ---- The client ------------------------------------------------------------------------------------- */

struct talk {
	int fd;
	struct shelf_buf *said;
	bool ended;
};

/* Waits until something can be sent (when WANTS_OUT) or has come, and takes what has come. */
static bool
turn(struct talk *t, bool wants_out)
{
	struct pollfd p = {.fd = t->fd, .events = (short)(POLLIN | (wants_out ? POLLOUT : 0))};
	ssize_t n;

	session_must(poll(&p, 1, SILENCE_MS) > 0, "the server is silent", shelf_buf_span(t->said));
	if ((p.revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
		n = read(t->fd, shelf_buf_reserve(t->said, 65536), 65536);
		if (n > 0)
			t->said->len += (size_t)n;
		else
			t->ended = true;
		session_must(t->said->len < SAID_MAX, "the server says too much", shelf_span(NULL, 0));
	}
	return (p.revents & POLLOUT) != 0;
}

static void
say(struct talk *t, struct shelf_span bytes, unsigned seed)
{
	for (size_t at = 0; at < bytes.len && !t->ended;) {
		size_t len = seed == 0 ? bytes.len - at : 1 + (size_t)rand_r(&seed) % 13;
		ssize_t n;

		if (!turn(t, true))
			continue;
		if (len > bytes.len - at)
			len = bytes.len - at;
		n = send(t->fd, bytes.data + at, len, MSG_NOSIGNAL);
		at += n > 0 ? (size_t)n : 0;
		t->ended = t->ended || n < 0;
	}
}

void
session_play(const char *door, const char *before, struct shelf_span input, unsigned cuts, struct shelf_buf *said)
{
	const struct dialogue_step step = {.kind = DIALOGUE_CONNECT, .word = {(char *)"A", (char *)door}, .nwords = 2};
	struct talk t = {.said = said};
	const char *error;

	if (server == NULL)
		begin_server();
	t.fd = dialogue_server_connect(server, &step, &error);
	session_must(t.fd >= 0, error, input);
	say(&t, shelf_span_str(before), 0);
	say(&t, input, cuts);
	/* The server may have ended already. What it said before that is still there. */
	shutdown(t.fd, SHUT_WR);
	t.ended = false;
	while (!t.ended)
		turn(&t, false);
	close(t.fd);
	look_after();
}

/* ---- What was said ------------------------------------------------------------------------------------ */

size_t
session_lines(const char *before, struct shelf_span input)
{
	size_t n = 1;

	for (const char *p = before; *p != '\0'; p++)
		n += *p == '\n';
	for (size_t i = 0; i < input.len; i++)
		n += input.data[i] == '\n';
	return n;
}

bool
session_line(struct shelf_span text, size_t *at, bool torn_end, struct shelf_span *line)
{
	const uint8_t *from = text.data + *at, *lf;

	if (*at == text.len)
		return false;
	lf = memchr(from, '\n', text.len - *at);
	if (lf == NULL) {
		session_must(torn_end, "a line without an end", text);
		return false;
	}
	*line = shelf_span(from, (size_t)(lf - from));
	*at += line->len + 1;
	session_must(line->len > 0 && line->data[line->len - 1] == '\r', "a line without CR", text);
	line->len--;
	session_must(memchr(line->data, '\r', line->len) == NULL, "CR in a line", text);
	return true;
}

void
session_must(bool holds, const char *what, struct shelf_span where)
{
	if (holds)
		return;
	fprintf(stderr, "%s:\n%.*s\n", what, (int)(where.len < 4000 ? where.len : 4000), (const char *)where.data);
	abort();
}
