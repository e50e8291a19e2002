/*
 * pop3_capa.c - CAPA, UTF8, LANG: what the server can do, and in what language it says so
 *
 * Texts are English, the one language of LANG: a list, a change to it and the answer to others are all there is.
 */
#include "pop3.h"

#include "auth.h"
#include "conf.h"
#include "net.h"

/* ---- CAPA, RFC 2449 5: the same in both states, except STLS (RFC 2595 9) ------------------------ */

/* False: not told. True: with the arguments added to OUT. */
typedef bool cap_fn(const struct pop3_session *s, struct shelf_buf *out);

static bool
always(const struct pop3_session *s, struct shelf_buf *out)
{
	return true;
}

static bool
user(const struct pop3_session *s, struct shelf_buf *out)
{
	return auth_cleartext_ok(s->server->auth, s->conn);
}

static bool
sasl(const struct pop3_session *s, struct shelf_buf *out)
{
	pop3_login_capa(s, out);
	return user(s, out);
}

static bool
stls(const struct pop3_session *s, struct shelf_buf *out)
{
	return s->state == POP3_AUTHORIZATION && net_conn_has_tls(s->conn) && !net_conn_is_tls(s->conn);
}

static bool
expire(const struct pop3_session *s, struct shelf_buf *out)
{
	pop3_expire_capa(s, s->server->conf->pop3_expire_days, out);
	return true;
}

static bool
login_delay(const struct pop3_session *s, struct shelf_buf *out)
{
	shelf_buf_printf(out, " %llu", (unsigned long long)s->server->conf->pop3_login_delay_s);
	return s->server->delay != NULL;
}

static bool
implementation(const struct pop3_session *s, struct shelf_buf *out)
{
	shelf_buf_add_str(out, " mailshelf");
	return s->server->conf->pop3_implementation;
}

static const struct {
	const char *name;
	cap_fn *fn;
} caps[] = {
#define POP3_CAP(name, fn, source) {name, fn},
#include "pop3_caps.def"
#undef POP3_CAP
};

static void
tell(struct pop3_session *s)
{
	struct shelf_buf line = {0};

	pop3_ok(s, "Capabilities follow");
	for (size_t i = 0; i < sizeof(caps) / sizeof(*caps); i++) {
		shelf_buf_clear(&line);
		shelf_buf_add_str(&line, caps[i].name);
		if (caps[i].fn(s, &line))
			net_conn_printf(s->conn, "%s\r\n", shelf_buf_cstr(&line));
	}
	net_conn_printf(s->conn, ".\r\n");
	shelf_buf_free(&line);
}

static void
read_rules(void *arg)
{
	pop3_expire_read(arg);
}

static void
rules_read(void *session, void *arg)
{
	struct pop3_session *s = session;

	s->wait = POP3_WAIT_COMMAND;
	if (net_conn_closing(s->conn))
		return;
	tell(s);
	pop3_session_go(s);
}

void
pop3_cmd_capa(struct pop3_session *s, const struct pop3_args *args)
{
	if (s->state == POP3_AUTHORIZATION && pop3_expire_stale(s->server->expire)) {
		s->wait = POP3_WAIT_CAPA;
		net_conn_work(s->conn, read_rules, s->server->expire, rules_read);
		return;
	}
	tell(s);
}

/* ---- UTF8 and LANG, RFC 6856 ------------------------------------------------------------------- */

void
pop3_cmd_utf8(struct pop3_session *s, const struct pop3_args *args)
{
	s->utf8 = true;
	pop3_ok(s, "UTF-8 it is");
}

/* Is RANGE "en", or "en-" and more of it (RFC 4647 3.4: looked up by leaving out its end), or "*"? */
static bool
is_english(struct shelf_span range)
{
	return shelf_span_is(range, "*") || shelf_span_is(range, "en") ||
	       (range.len > 3 && range.data[2] == '-' && shelf_span_is(shelf_span(range.data, 2), "en"));
}

void
pop3_cmd_lang(struct pop3_session *s, const struct pop3_args *args)
{
	if (args->count == 0) {
		pop3_ok(s, "Languages follow");
		net_conn_printf(s->conn, "en English\r\n.\r\n");
	} else if (is_english(args->word[0])) {
		pop3_ok(s, "en English it is");
	} else {
		pop3_err(s, "There is no such language here");
	}
}
