/*
 * tool_who.c - who, kick: asks the daemons that serve the store (access/control/control.h)
 *
 * Each has a socket in STORE/run. One that nobody answers at is of a daemon that was killed, and goes.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <mailshelf/mem.h>

#include "tools.h"

enum { WAIT_S = 30, ANSWER_MAX_BYTES = 64 << 20 };

/* An answer of one daemon, without the final ".". False: nobody is there, or it broke off. */
static bool
ask(const char *path, const char *request, struct shelf_buf *answer)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct timeval wait = {.tv_sec = WAIT_S};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool whole = false;
	char piece[4096];
	ssize_t n = 0;

	shelf_buf_clear(answer);
	if (fd < 0 || strlen(path) >= sizeof addr.sun_path) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	memcpy(addr.sun_path, path, strlen(path) + 1);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	if (connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0) {
		/* What a killed daemon left. One that cannot be opened by this user is another matter. */
		if (errno == ECONNREFUSED)
			unlink(path);
	} else if (send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request)) {
		while (!whole && answer->len < ANSWER_MAX_BYTES && (n = read(fd, piece, sizeof piece)) > 0) {
			shelf_buf_add(answer, piece, (size_t)n);
			whole = answer->len >= 2 && memcmp(answer->data + answer->len - 2, ".\n", 2) == 0 &&
			    (answer->len == 2 || answer->data[answer->len - 3] == '\n');
		}
	}
	close(fd);
	if (whole)
		answer->len -= 2;
	return whole;
}

typedef void answer_fn(void *arg, const char *pid, struct shelf_span line);

/* Gives each line of all daemons (PID: of that one alone) to FN; how many there were that answered. */
static unsigned
ask_all(struct tool *t, const char *pid, const char *request, answer_fn *fn, void *arg)
{
	char dir[4096], path[4400];
	struct shelf_buf answer = {0};
	const struct dirent *e;
	unsigned daemons = 0;
	DIR *d;

	snprintf(dir, sizeof dir, "%s/run", t->store_dir);
	d = opendir(dir);
	while (d != NULL && (e = readdir(d)) != NULL) {
		size_t len = strspn(e->d_name, "0123456789");
		char of[32];

		if (len == 0 || len >= sizeof of || strcmp(e->d_name + len, ".sock") != 0)
			continue;
		snprintf(of, sizeof of, "%.*s", (int)len, e->d_name);
		snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
		if ((pid != NULL && strcmp(of, pid) != 0) || !ask(path, request, &answer))
			continue;
		daemons++;
		for (size_t at = 0; at < answer.len;) {
			ptrdiff_t end = shelf_span_find(shelf_buf_span(&answer), '\n', at);
			size_t to = end < 0 ? answer.len : (size_t)end;

			fn(arg, of, shelf_span(answer.data + at, to - at));
			at = to + 1;
		}
	}
	if (d != NULL)
		closedir(d);
	shelf_buf_free(&answer);
	return daemons;
}

/* The value of "NAME": in a line that control.c wrote: a string without its quotes, or a number. */
static struct shelf_span
value_of(struct shelf_span line, const char *name)
{
	char key[32];
	const uint8_t *at;
	size_t from, to;

	snprintf(key, sizeof key, "\"%s\":", name);
	at = memmem(line.data, line.len, key, strlen(key));
	if (at == NULL)
		return shelf_span("", 0);
	from = (size_t)(at - line.data) + strlen(key);
	if (from < line.len && line.data[from] == '"') {
		for (to = ++from; to < line.len && line.data[to] != '"'; to++)
			to += line.data[to] == '\\';
	} else {
		for (to = from; to < line.len && line.data[to] != ',' && line.data[to] != '}'; to++)
			;
	}
	return shelf_span(line.data + from, to < line.len ? to - from : 0);
}

/* ---- who ---------------------------------------------------------------------------------------- */

struct listing {
	struct tool *t;
	const char *account; /* NULL: all */
	struct shelf_buf json;
	unsigned n;
};

static void
take_session(void *arg, const char *pid, struct shelf_span line)
{
	struct listing *l = arg;
	struct shelf_span account = value_of(line, "account"), tls = value_of(line, "tls"), id = value_of(line, "id"),
	    service = value_of(line, "service"), peer = value_of(line, "peer"), idle = value_of(line, "idle_s");
	uint64_t since = 0;
	char when[32];

	if (value_of(line, "error").len > 0) {
		struct shelf_span error = value_of(line, "error");

		tool_say(l->t, "daemon %s: %.*s", pid, (int)error.len, (const char *)error.data);
		return;
	}
	if (account.len == 0 || (l->account != NULL && !shelf_span_is(account, l->account)))
		return;
	l->n++;
	if (l->t->json) {
		shelf_buf_printf(&l->json, "%s{\"daemon\":%s,", l->json.len > 1 ? "," : "", pid);
		shelf_buf_add(&l->json, line.data + 1, line.len - 1);
		return;
	}
	if (!shelf_span_u64(value_of(line, "since_s"), INT64_MAX, &since))
		since = 0;
	tool_print("%s.%.*s  %-4.*s  %-30.*s  %-22.*s  since %s  idle %.*s s%s%.*s", pid,
	    (int)id.len, (const char *)id.data, (int)service.len, (const char *)service.data,
	    (int)account.len, (const char *)account.data, (int)peer.len, (const char *)peer.data,
	    tool_time_text((int64_t)since, when), (int)idle.len, (const char *)idle.data,
	    tls.len > 0 ? "  " : "", (int)tls.len, (const char *)tls.data);
}

int
tool_who(struct tool *t)
{
	struct listing l = {.t = t};
	int rc = tool_args(t, NULL, 0, 1);
	unsigned daemons;

	if (rc == 0)
		rc = tool_open(t);
	if (rc != 0)
		return rc;
	l.account = t->argc > 0 ? t->argv[0] : NULL;
	shelf_buf_add_byte(&l.json, '[');
	daemons = ask_all(t, NULL, "who\n", take_session, &l);
	shelf_buf_add_byte(&l.json, ']');
	if (t->json)
		tool_print_buf(&l.json);
	shelf_buf_free(&l.json);
	if (daemons > 0)
		return EX_OK;
	tool_say(t, "%s: no mailshelfd that may be asked serves it", t->store_dir);
	return EX_UNAVAILABLE;
}

/* ---- kick --------------------------------------------------------------------------------------- */

static void
take_kicked(void *arg, const char *pid, struct shelf_span line)
{
	uint64_t *sum = arg, n;

	if (shelf_span_u64(value_of(line, "kicked"), UINT32_MAX, &n))
		*sum += n;
}

int
tool_kick(struct tool *t)
{
	char request[600], pid[32] = "";
	uint64_t kicked = 0;
	struct shelf_account a;
	unsigned daemons;
	size_t digits;
	int rc = tool_args(t, NULL, 1, 1);

	if (rc == 0)
		rc = tool_open(t);
	if (rc != 0)
		return rc;
	/* "4711.12", as who prints it, or an account. */
	digits = strspn(t->argv[0], "0123456789");
	if (digits > 0 && digits < sizeof pid && t->argv[0][digits] == '.' &&
	    strspn(t->argv[0] + digits + 1, "0123456789") == strlen(t->argv[0] + digits + 1)) {
		snprintf(pid, sizeof pid, "%.*s", (int)digits, t->argv[0]);
		snprintf(request, sizeof request, "kick id %s\n", t->argv[0] + digits + 1);
	} else {
		if ((rc = tool_account(t, t->argv[0], &a)) != 0)
			return rc;
		snprintf(request, sizeof request, "kick account %s\n", a.name);
	}
	daemons = ask_all(t, pid[0] != '\0' ? pid : NULL, request, take_kicked, &kicked);
	if (daemons == 0) {
		tool_say(t, "%s: no mailshelfd that may be asked serves it", t->store_dir);
		return EX_UNAVAILABLE;
	}
	if (t->json)
		tool_print("{\"kicked\":%llu}", (unsigned long long)kicked);
	else
		tool_print("%s: %llu sessions ended", t->argv[0], (unsigned long long)kicked);
	return EX_OK;
}
