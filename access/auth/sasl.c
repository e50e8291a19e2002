/*
 * sasl.c - PLAIN and LOGIN, the server's side
 *
 *   PLAIN   (CONTINUE "") ──► message ──► READY          RFC 4616 2
 *   LOGIN   CONTINUE "Username:" ──► CONTINUE "Password:" ──► READY
 *
 * What must stay true: a name or password with NUL in it never leaves this file; whatever was received
 * is wiped when the exchange is freed; after BAD or READY every further step is BAD.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "auth.h"

enum sasl_state { SASL_START, SASL_MESSAGE, SASL_NAME, SASL_PASSWORD, SASL_OVER };

struct sasl {
	bool login; /* LOGIN, else PLAIN */
	enum sasl_state state;
	size_t name_len, password_len;
	uint8_t name[SHELF_ACCOUNT_NAME_MAX];
	uint8_t password[SHELF_PASSWORD_MAX];
};

struct sasl *
sasl_new(struct shelf_span mechanism)
{
	struct sasl *sasl;

	if (!shelf_span_is(mechanism, "PLAIN") && !shelf_span_is(mechanism, "LOGIN"))
		return NULL;
	sasl = SHELF_NEW(struct sasl);
	sasl->login = shelf_span_is(mechanism, "LOGIN");
	return sasl;
}

void
sasl_free(struct sasl **saslp)
{
	if (*saslp != NULL)
		explicit_bzero(*saslp, sizeof(**saslp));
	free(*saslp);
	*saslp = NULL;
}

static bool
take(uint8_t *to, size_t max, size_t *len_out, struct shelf_span from)
{
	if (from.len == 0 || from.len > max || memchr(from.data, '\0', from.len) != NULL)
		return false;
	memcpy(to, from.data, from.len);
	*len_out = from.len;
	return true;
}

static bool
take_name(struct sasl *sasl, struct shelf_span name)
{
	return shelf_utf8_valid(name) && take(sasl->name, sizeof(sasl->name), &sasl->name_len, name);
}

static bool
take_password(struct sasl *sasl, struct shelf_span password)
{
	return take(sasl->password, sizeof(sasl->password), &sasl->password_len, password);
}

/* [authzid] NUL authcid NUL passwd */
static bool
take_plain(struct sasl *sasl, struct shelf_span m)
{
	ptrdiff_t first = shelf_span_find(m, '\0', 0);
	ptrdiff_t second = first < 0 ? -1 : shelf_span_find(m, '\0', (size_t)first + 1);
	struct shelf_span authz, name, password;

	if (second < 0)
		return false;
	authz = shelf_span(m.data, (size_t)first);
	name = shelf_span(m.data + first + 1, (size_t)(second - first - 1));
	password = shelf_span(m.data + second + 1, m.len - (size_t)second - 1);
	/* Nobody acts for another here; names compare as accounts do. */
	if (authz.len > 0 && !shelf_span_ieq(authz, name))
		return false;
	return take_name(sasl, name) && take_password(sasl, password);
}

static enum sasl_step
ask(struct sasl *sasl, enum sasl_state state, const char *text, struct shelf_span *challenge)
{
	sasl->state = state;
	*challenge = shelf_span_str(text);
	return SASL_CONTINUE;
}

enum sasl_step
sasl_step(struct sasl *sasl, struct shelf_span response, struct shelf_span *challenge)
{
	enum sasl_state state = sasl->state;
	bool ok = false;

	*challenge = shelf_span_str("");
	if (state == SASL_START && response.data == NULL) {
		if (sasl->login)
			return ask(sasl, SASL_NAME, "Username:", challenge);
		return ask(sasl, SASL_MESSAGE, "", challenge);
	}
	if (state == SASL_START)
		state = sasl->login ? SASL_NAME : SASL_MESSAGE;
	if (state == SASL_NAME && take_name(sasl, response))
		return ask(sasl, SASL_PASSWORD, "Password:", challenge);
	sasl->state = SASL_OVER;
	if (state == SASL_MESSAGE)
		ok = take_plain(sasl, response);
	else if (state == SASL_PASSWORD)
		ok = take_password(sasl, response);
	return ok ? SASL_READY : SASL_BAD;
}

struct shelf_span
sasl_name(const struct sasl *sasl)
{
	return shelf_span(sasl->name, sasl->name_len);
}

struct shelf_span
sasl_password(const struct sasl *sasl)
{
	return shelf_span(sasl->password, sasl->password_len);
}
