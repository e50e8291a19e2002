/*
 * cmd_capability.c - CAPABILITY, and the same list for the greeting and the OK of a login
 *
 * The only reader of imap_caps.def.
 * Sources   RFC 9051 6.1.1, 7.2.2.
 */
#include "auth.h"
#include "conf.h"
#include "imap_command.h"
#include "net.h"

enum imap_cap_if {
	CAP_ALWAYS,
	CAP_CAN_TLS,     /* TLS can be started and is not running */
	CAP_MECHANISMS,  /* one for each SASL mechanism, where a password may be sent as the connection is */
	CAP_NO_PASSWORD, /* it may not */
	CAP_WITH_LIMIT,  /* always, with the largest message */
	CAP_MESSAGE_LIMIT, /* when there is one, with it */
	CAP_UNAUTH,      /* it is not switched off */
	CAP_ADMIN,       /* the user is an administrator */
};

static const struct cap {
	const char *name;
	unsigned states;
	enum imap_cap_if condition;
} caps[] = {
#define IMAP_CAP(name, states, condition, source) {name, states, condition},
#include "imap_caps.def"
#undef IMAP_CAP
};

/* Asked of the store each time: who is none any more must not go on as one. */
bool
imap_is_admin(const struct imap_session *s)
{
	struct shelf_account account;

	return s->account != 0 && shelf_account_get(s->store, s->account, &account) == 0 &&
	    (account.services & SHELF_SERVICE_ADMIN) != 0;
}

static bool
holds(const struct imap_session *s, enum imap_cap_if condition)
{
	switch (condition) {
	case CAP_ALWAYS:
	case CAP_WITH_LIMIT:
		return true;
	case CAP_MESSAGE_LIMIT:
		return s->server->conf->imap_message_limit != 0;
	case CAP_CAN_TLS:
		return net_conn_has_tls(s->conn) && !net_conn_is_tls(s->conn);
	case CAP_MECHANISMS:
		return auth_cleartext_ok(s->server->auth, s->conn);
	case CAP_UNAUTH:
		return s->server->conf->imap_unauthenticate;
	case CAP_ADMIN:
		return imap_is_admin(s);
	case CAP_NO_PASSWORD:
		return !auth_cleartext_ok(s->server->auth, s->conn);
	}
	return false;
}

static void
add_mechanisms(const struct imap_session *s, const char *prefix, struct shelf_buf *out)
{
	const struct sasl_for who = auth_sasl(s->server->auth, s->conn);
	const char *name;
	unsigned at = 0;

	while ((name = sasl_offered(&who, &at)) != NULL)
		shelf_buf_printf(out, " %s%s", prefix, name);
}

const char *
imap_caps_text(const struct imap_session *s, struct shelf_arena *arena)
{
	struct shelf_buf out = {0};
	const char *text = NULL;
	size_t i = 0;

	for (i = 0; i < sizeof caps / sizeof *caps; i++) {
		if ((caps[i].states & s->state) == 0 || !holds(s, caps[i].condition))
			continue;
		if (caps[i].condition == CAP_MECHANISMS) {
			add_mechanisms(s, caps[i].name, &out);
			continue;
		}
		shelf_buf_printf(&out, "%s%s", out.len == 0 ? "" : " ", caps[i].name);
		if (caps[i].condition == CAP_WITH_LIMIT)
			shelf_buf_printf(&out, "=%llu",
			    (unsigned long long)s->server->conf->message_max_bytes);
		if (caps[i].condition == CAP_MESSAGE_LIMIT)
			shelf_buf_printf(&out, "=%llu",
			    (unsigned long long)s->server->conf->imap_message_limit);
	}
	text = shelf_arena_str(arena, shelf_buf_span(&out));
	shelf_buf_free(&out);
	return text;
}

enum imap_step
imap_cmd_capability(struct imap_cmd *c)
{
	imap_untagged(c->s, "CAPABILITY %s", imap_caps_text(c->s, &c->arena));
	return imap_completed(c);
}
