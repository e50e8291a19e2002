/*
 * mta_session.c - one connection of a front server: lines in, answers out
 *
 * What must stay true: answers come in the order of the requests; memory of a request is bounded; a
 * session gives the loop back after SLICE_MS at the latest.
 */
#include "mta.h"

#include <stdlib.h>

#include <mailshelf/mem.h>

#include "conf.h"
#include "lineproto.h"
#include "net.h"

enum { SLICE_MS = 20 };

struct mta_session {
	struct mta_server *server;
	struct net_conn *conn;
	struct lineproto *lines;
	enum { NOTHING_YET, LINES, NETSTRINGS } kind;
	/* The policy request so far. */
	unsigned nlines;
	struct shelf_buf recipient;
	uint64_t size;
};

struct mta_server *
mta_server_new(struct shelf_store *store, const struct conf *conf)
{
	struct mta_server *server = SHELF_NEW(struct mta_server);

	*server = (struct mta_server){store, conf};
	return server;
}

void
mta_server_free(struct mta_server **server)
{
	free(*server);
	*server = NULL;
}

static void
forget(struct mta_session *s)
{
	s->nlines = 0;
	s->size = 0;
	shelf_buf_clear(&s->recipient);
}

/* tcp_table(5): %, blanks, control characters and what is not ASCII come as %XX. */
static bool
decode_key(struct shelf_span in, struct shelf_buf *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < in.len; i++) {
		unsigned byte = in.data[i];

		for (unsigned n = 0; in.data[i] == '%' && n < 2; n++) {
			const char *digit;

			if (i + 1 + n >= in.len || in.data[i + 1 + n] == '\0')
				return false;
			digit = strchr(digits, in.data[i + 1 + n] | 0x20);
			if (digit == NULL)
				return false;
			byte = (n == 0 ? 0 : byte << 4) | (unsigned)(digit - digits);
		}
		i += in.data[i] == '%' ? 2 : 0;
		if (byte == 0)
			return false;
		shelf_buf_add_byte(out, (uint8_t)byte);
	}
	return true;
}

static void
run_get(struct mta_session *s, struct shelf_span key)
{
	struct shelf_buf decoded = {0};
	const char *answer = "500 not a key";

	if (decode_key(key, &decoded))
		answer = mta_lookup(s->server, shelf_buf_span(&decoded));
	net_conn_printf(s->conn, "%s\n", answer);
	shelf_buf_free(&decoded);
}

static void
take_attribute(struct mta_session *s, struct shelf_span line)
{
	ptrdiff_t equals = shelf_span_find(line, '=', 0);
	struct shelf_span name = shelf_span(line.data, equals < 0 ? 0 : (size_t)equals), value;

	if (equals <= 0 || ++s->nlines > MTA_LINES_MAX) {
		net_conn_close(s->conn, "neither a policy request nor a lookup");
		return;
	}
	value = shelf_span(line.data + equals + 1, line.len - (size_t)equals - 1);
	if (shelf_span_eq(name, shelf_span_str("recipient"))) {
		shelf_buf_clear(&s->recipient);
		shelf_buf_add_span(&s->recipient, value);
	} else if (shelf_span_eq(name, shelf_span_str("size"))) {
		if (!shelf_span_u64(value, UINT64_MAX, &s->size))
			s->size = 0;
	}
}

static void
run_line(struct mta_session *s, struct shelf_span line)
{
	if (line.len == 0 && s->nlines > 0) {
		net_conn_printf(s->conn, "action=%s\n\n",
		    mta_action(s->server, shelf_buf_span(&s->recipient), s->size));
		forget(s);
	} else if (s->nlines == 0 && line.len >= 4 && memcmp(line.data, "get ", 4) == 0) {
		run_get(s, shelf_span(line.data + 4, line.len - 4));
	} else {
		take_attribute(s, line);
	}
}

/* One line; false: there is none yet. */
static bool
next_line(struct mta_session *s)
{
	struct shelf_span line;

	switch (lineproto_next(s->lines, s->conn, MTA_LINE_MAX_BYTES, &line)) {
	case LINEPROTO_MORE:
		return false;
	case LINEPROTO_LINE:
		run_line(s, line);
		break;
	default:
		net_conn_close(s->conn, "a line that is none");
	}
	return true;
}

static bool
next_netstring(struct mta_session *s)
{
	struct shelf_span request;
	const char *answer;
	size_t used = 0;
	int rc = mta_socketmap_cut(net_conn_in(s->conn), &used, &request);

	if (rc == 0)
		return false;
	if (rc < 0) {
		net_conn_close(s->conn, "no netstring");
		return true;
	}
	answer = mta_socketmap_answer(s->server, request);
	net_conn_consume(s->conn, used);
	net_conn_printf(s->conn, "%zu:%s,", strlen(answer), answer);
	return true;
}

static bool
next(struct mta_session *s)
{
	struct shelf_span in = net_conn_in(s->conn);

	if (s->kind == NOTHING_YET && in.len > 0)
		s->kind = in.data[0] >= '0' && in.data[0] <= '9' ? NETSTRINGS : LINES;
	return s->kind == NETSTRINGS ? next_netstring(s) : next_line(s);
}

static void
on_bytes(void *session)
{
	struct mta_session *s = session;
	int64_t until_ms = shelf_mono_ms() + SLICE_MS;

	while (!net_conn_closing(s->conn) && !net_conn_full(s->conn)) {
		if (shelf_mono_ms() >= until_ms) {
			net_conn_wake(s->conn);
			return;
		}
		if (!next(s))
			return;
	}
}

static void *
open_session(struct net_conn *conn, void *server)
{
	struct mta_session *s = SHELF_NEW(struct mta_session);

	s->server = server;
	s->conn = conn;
	s->lines = SHELF_NEW(struct lineproto);
	net_conn_timeout(conn, (unsigned)s->server->conf->lmtp_idle_timeout_s);
	return s;
}

/* Its client opens a new one when it has something to ask. */
static void
on_timeout(void *session)
{
	struct mta_session *s = session;

	net_conn_close(s->conn, "idle");
}

static void
close_session(void *session, const char *reason)
{
	struct mta_session *s = session;

	lineproto_reset(s->lines);
	free(s->lines);
	shelf_buf_free(&s->recipient);
	free(s);
}

const struct net_protocol mta_protocol = {
    .name = "mta",
    .open = open_session,
    .input = on_bytes,
    .drained = on_bytes,
    .wake = on_bytes,
    .timeout = on_timeout,
    .close = close_session,
};
