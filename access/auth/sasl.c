/*
 * sasl.c - the mechanisms, the server's side: one table of them for all doors
 *
 *   PLAIN   (CONTINUE "") ──► message ──► READY          RFC 4616 2
 *   LOGIN   CONTINUE "Username:" ──► CONTINUE "Password:" ──► READY
 *   SCRAM   (CONTINUE "") ──► first ──► CONTINUE salt ──► final ──► READY     RFC 5802 5
 *
 * What must stay true: a name or password with NUL in it never leaves this file; whatever was received
 * is wiped when the exchange is freed; after BAD or READY every further step is BAD. What SCRAM refuses is
 * READY, too: it fails as a wrong password does, after the same wait.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "auth.h"
#include "net.h"
#include "sasl_scram.h"

enum sasl_state { SASL_START, SASL_MESSAGE, SASL_NAME, SASL_PASSWORD, SASL_PROOF, SASL_OVER };
enum sasl_kind { SASL_IS_PLAIN, SASL_IS_LOGIN, SASL_IS_SCRAM };
enum { SCRAM_NONCE_BYTES = 24 };

/* The strongest first: clients of little wit take the first one they know. */
static const struct sasl_mechanism {
	const char *name;
	enum sasl_kind kind;
	enum shelf_scram_hash hash;
	bool plus;
} mechanisms[] = {
	{"SCRAM-SHA-256-PLUS", SASL_IS_SCRAM, SHELF_SCRAM_SHA_256, true},
	{"SCRAM-SHA-256", SASL_IS_SCRAM, SHELF_SCRAM_SHA_256, false},
	{"SCRAM-SHA-1-PLUS", SASL_IS_SCRAM, SHELF_SCRAM_SHA_1, true},
	{"SCRAM-SHA-1", SASL_IS_SCRAM, SHELF_SCRAM_SHA_1, false},
	{"PLAIN", SASL_IS_PLAIN, 0, false},
	{"LOGIN", SASL_IS_LOGIN, 0, false},
};
enum { MECHANISMS = sizeof(mechanisms) / sizeof(*mechanisms) };

struct sasl {
	const struct sasl_mechanism *is;
	struct shelf_store *store;
	const struct net_conn *conn;
	enum sasl_state state;
	bool refused;
	size_t name_len, password_len;
	uint8_t name[SHELF_ACCOUNT_NAME_MAX];
	uint8_t password[SHELF_PASSWORD_MAX];
	struct sasl_scram scram;
	struct shelf_buf challenge;
};

const char *
sasl_offered(const struct sasl_for *who, unsigned *at)
{
	while (*at < MECHANISMS) {
		const struct sasl_mechanism *m = &mechanisms[(*at)++];

		if (m->kind != SASL_IS_SCRAM || (who->scram && (!m->plus || net_conn_can_bind(who->conn))))
			return m->name;
	}
	return NULL;
}

struct sasl *
sasl_new(struct shelf_span mechanism, const struct sasl_for *who)
{
	struct sasl *sasl;
	const char *name;
	unsigned at = 0;

	while ((name = sasl_offered(who, &at)) != NULL)
		if (shelf_span_is(mechanism, name))
			break;
	if (name == NULL)
		return NULL;
	sasl = SHELF_NEW(struct sasl);
	sasl->is = &mechanisms[at - 1];
	sasl->store = who->store;
	sasl->conn = who->conn;
	sasl->scram.hash = sasl->is->hash;
	sasl->scram.plus = sasl->is->plus;
	sasl->scram.bound = net_conn_can_bind(who->conn);
	return sasl;
}

void
sasl_free(struct sasl **saslp)
{
	struct sasl *sasl = *saslp;

	*saslp = NULL;
	if (sasl == NULL)
		return;
	shelf_buf_free(&sasl->challenge);
	sasl_scram_wipe(&sasl->scram);
	explicit_bzero(sasl, sizeof(*sasl));
	free(sasl);
}

/* ---- PLAIN and LOGIN --------------------------------------------------------------------------- */

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

/* ---- SCRAM ------------------------------------------------------------------------------------- */

static enum sasl_step
over(struct sasl *sasl, enum sasl_scram_got got)
{
	if (got == SASL_SCRAM_MALFORMED)
		return SASL_BAD;
	memcpy(sasl->name, sasl->scram.name, sasl->scram.name_len); /* for the log, too */
	sasl->name_len = sasl->scram.name_len;
	sasl->refused = got != SASL_SCRAM_OK;
	return SASL_READY;
}

static enum sasl_step
scram_salt(struct sasl *sasl, struct shelf_span message, struct shelf_span *challenge)
{
	struct sasl_scram *s = &sasl->scram;
	enum sasl_scram_got got = sasl_scram_first(s, message);
	struct shelf_buf nonce = {0};
	struct shelf_scram_salt salt;
	uint8_t random[SCRAM_NONCE_BYTES], binding[NET_BINDING_MAX_BYTES];
	size_t len = 0;

	if (got == SASL_SCRAM_OK && s->plus &&
	    !net_conn_binding(sasl->conn, s->binding, binding, &len))
		got = SASL_SCRAM_REFUSED; /* a type that we do not have */
	if (got == SASL_SCRAM_OK &&
	    shelf_scram_salt(sasl->store, shelf_span(s->name, s->name_len), &salt) != 0)
		got = SASL_SCRAM_REFUSED;
	if (got != SASL_SCRAM_OK)
		return over(sasl, got);
	shelf_buf_add(&s->gs2, binding, len);
	shelf_random(random, sizeof(random));
	shelf_base64_encode(&nonce, shelf_span(random, sizeof(random)));
	sasl_scram_challenge(s, &salt, shelf_buf_cstr(&nonce), &sasl->challenge);
	shelf_buf_free(&nonce);
	sasl->state = SASL_PROOF;
	*challenge = shelf_buf_span(&sasl->challenge);
	return SASL_CONTINUE;
}

/* ---- Steps ------------------------------------------------------------------------------------- */

static enum sasl_state
first_state(const struct sasl *sasl)
{
	return sasl->is->kind == SASL_IS_LOGIN ? SASL_NAME : SASL_MESSAGE;
}

enum sasl_step
sasl_step(struct sasl *sasl, struct shelf_span response, struct shelf_span *challenge)
{
	enum sasl_state state = sasl->state;
	bool ok = false;

	*challenge = shelf_span_str("");
	if (state == SASL_START && response.data == NULL)
		return ask(sasl, first_state(sasl), sasl->is->kind == SASL_IS_LOGIN ? "Username:" : "", challenge);
	if (state == SASL_START)
		state = first_state(sasl);
	if (state == SASL_NAME && take_name(sasl, response))
		return ask(sasl, SASL_PASSWORD, "Password:", challenge);
	sasl->state = SASL_OVER;
	if (state == SASL_MESSAGE && sasl->is->kind == SASL_IS_SCRAM)
		return scram_salt(sasl, response, challenge);
	if (state == SASL_PROOF)
		return over(sasl, sasl_scram_final(&sasl->scram, response));
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

int
sasl_check(struct sasl *sasl, enum shelf_service service, struct shelf_account *out)
{
	struct sasl_scram *s = &sasl->scram;
	const struct shelf_scram_proof proof = {.hash = s->hash,
		.name = sasl_name(sasl),
		.message = shelf_buf_span(&s->message),
		.proof = shelf_span(s->proof, s->proof_len)};
	uint8_t signature[SHELF_SCRAM_HASH_MAX];
	int rc;

	if (sasl->is->kind != SASL_IS_SCRAM)
		return shelf_account_login(sasl->store, sasl_name(sasl), sasl_password(sasl), service, out);
	rc = sasl->refused ? SHELF_EAUTH : shelf_scram_login(sasl->store, &proof, service, signature, out);
	shelf_buf_clear(&sasl->challenge);
	if (rc == 0) {
		shelf_buf_add_str(&sasl->challenge, "v=");
		shelf_base64_encode(&sasl->challenge, shelf_span(signature, shelf_scram_hash_len(s->hash)));
	}
	return rc;
}

struct shelf_span
sasl_last(const struct sasl *sasl)
{
	return shelf_buf_span(&sasl->challenge);
}
