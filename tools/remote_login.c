/*
 * remote_login.c - logging in to another server: the strongest that both know
 *
 *   token      OAUTHBEARER (RFC 7628), XOAUTH2
 *   password   SCRAM-SHA-256, SCRAM-SHA-1 (RFC 7677, RFC 5802), PLAIN (RFC 4616), LOGIN of RFC 3501 6.2.3
 *
 * Without TLS a password is not sent, but SCRAM goes, which does not show it. The server must prove that it knows the
 * password, too: else it is not the one it says it is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <mailshelf/mem.h>

#include "remote.h"

/* Fewer iterations (RFC 7677 4) would be a gift to whoever wants to guess the password. */
enum { NONCE_BYTES = 18, ITERATIONS_LEAST = 4096, ITERATIONS_MAX = 10000000, HASH_MAX = 64, MESSAGE_BYTES = 32 * 1024 };

/* Sends AUTHENTICATE with its first message, at once if that may be (RFC 4959). */
static int
begin(struct remote *r, const char *mechanism, struct shelf_span first, unsigned *tag)
{
	struct shelf_buf b = {0};
	int rc;

	shelf_buf_reserve(&b, 2 * first.len + 16);
	shelf_base64_encode(&b, first);
	if (remote_has(r, "SASL-IR")) {
		rc = remote_send(r, tag, "AUTHENTICATE %s %s", mechanism, shelf_buf_cstr(&b));
	} else {
		struct shelf_buf text = {0};

		rc = remote_send(r, tag, "AUTHENTICATE %s", mechanism);
		if (rc == 0 && (rc = remote_continued(r, *tag, &text)) == 0)
			rc = remote_send_line(r, shelf_buf_span(&b));
		shelf_buf_free(&text);
	}
	explicit_bzero(b.data, b.cap);
	shelf_buf_free(&b);
	return rc;
}

/* The end of an exchange. A challenge now tells an error (RFC 7628 3.2.3): it is answered with nothing. */
static int
end(struct remote *r, unsigned tag)
{
	struct remote_response response;
	bool ok;
	int rc;

	while ((rc = remote_read(r, &response, NULL, NULL)) == 0) {
		if (remote_is(&response, 0, "+") && (rc = remote_send_line(r, shelf_span("", 0))) != 0)
			return rc;
		if (remote_answers(r, &response, &ok) == tag)
			return ok ? 0 : SHELF_EAUTH;
	}
	return rc;
}

static int
one_message(struct remote *r, const char *mechanism, struct shelf_buf *message)
{
	unsigned tag;
	int rc = begin(r, mechanism, shelf_buf_span(message), &tag);

	explicit_bzero(message->data, message->cap);
	shelf_buf_free(message);
	return rc != 0 ? rc : end(r, tag);
}

/* ---- SCRAM ------------------------------------------------------------------------------------- */

struct scram {
	const EVP_MD *md;
	int len;
	struct shelf_buf first, nonce, challenge, without_proof, signed_text; /* signed: AuthMessage */
	uint8_t salted[HASH_MAX];
};

static void
hmac(const struct scram *s, const void *key, struct shelf_span text, uint8_t *out)
{
	unsigned n = 0;

	SHELF_ASSERT(HMAC(s->md, key, s->len, text.data, text.len, out, &n) != NULL);
}

/* "," and "=" in a name (RFC 5802 5.1). */
static void
add_name(struct shelf_buf *b, const char *name)
{
	for (; *name != '\0'; name++) {
		if (*name == ',' || *name == '=')
			shelf_buf_add_str(b, *name == ',' ? "=2C" : "=3D");
		else
			shelf_buf_add_byte(b, (uint8_t)*name);
	}
}

/* The value of "X=..." in LIST; false: there is none. */
static bool
attribute(struct shelf_span list, char letter, struct shelf_span *out)
{
	size_t at = 0;

	while (at < list.len) {
		ptrdiff_t comma = shelf_span_find(list, ',', at);
		size_t to = comma < 0 ? list.len : (size_t)comma;

		if (to - at >= 2 && list.data[at] == (uint8_t)letter && list.data[at + 1] == '=') {
			*out = shelf_span(list.data + at + 2, to - at - 2);
			return true;
		}
		at = to + 1;
	}
	return false;
}

/* "r=...,s=...,i=...": the proof into OUT. */
static int
answer(struct scram *s, const struct remote_params *p, struct shelf_buf *out)
{
	struct shelf_span nonce, salt64, count;
	uint8_t key[HASH_MAX], stored[HASH_MAX], proof[HASH_MAX];
	struct shelf_buf salt = {0};
	uint64_t iterations = 0;
	bool good = attribute(shelf_buf_span(&s->challenge), 'r', &nonce) &&
	    attribute(shelf_buf_span(&s->challenge), 's', &salt64) &&
	    attribute(shelf_buf_span(&s->challenge), 'i', &count) && nonce.len > s->nonce.len &&
	    memcmp(nonce.data, s->nonce.data, s->nonce.len) == 0 && shelf_base64_decode(&salt, salt64) &&
	    shelf_span_u64(count, ITERATIONS_MAX, &iterations) && iterations >= ITERATIONS_LEAST &&
	    PKCS5_PBKDF2_HMAC(p->password, (int)strlen(p->password), salt.data, (int)salt.len, (int)iterations, s->md,
	        s->len, s->salted) == 1;

	shelf_buf_free(&salt);
	if (!good)
		return SHELF_ESYNTAX;
	shelf_buf_printf(&s->without_proof, "c=biws,r=%.*s", (int)nonce.len, (const char *)nonce.data);
	/* The first message without "n,,", the challenge, this one. */
	shelf_buf_printf(&s->signed_text, "%s,%s,%s", shelf_buf_cstr(&s->first) + 3, shelf_buf_cstr(&s->challenge),
	    shelf_buf_cstr(&s->without_proof));
	hmac(s, s->salted, shelf_span_str("Client Key"), key);
	SHELF_ASSERT(EVP_Digest(key, (size_t)s->len, stored, NULL, s->md, NULL) == 1);
	hmac(s, stored, shelf_buf_span(&s->signed_text), proof);
	for (int i = 0; i < s->len; i++)
		proof[i] ^= key[i];
	shelf_buf_add_span(out, shelf_buf_span(&s->without_proof));
	shelf_buf_add_str(out, ",p=");
	shelf_base64_encode(out, shelf_span(proof, (size_t)s->len));
	explicit_bzero(key, sizeof key);
	return 0;
}

static bool
proves(const struct scram *s, struct shelf_span final)
{
	uint8_t key[HASH_MAX], signature[HASH_MAX];
	struct shelf_buf got = {0};
	struct shelf_span v;
	bool good;

	hmac(s, s->salted, shelf_span_str("Server Key"), key);
	hmac(s, key, shelf_buf_span(&s->signed_text), signature);
	good = attribute(final, 'v', &v) && shelf_base64_decode(&got, v) && got.len == (size_t)s->len &&
	    CRYPTO_memcmp(got.data, signature, got.len) == 0;
	shelf_buf_free(&got);
	return good;
}

/* A challenge, decoded. */
static int
challenge(struct remote *r, unsigned tag, struct shelf_buf *out)
{
	struct shelf_buf text = {0};
	int rc = remote_continued(r, tag, &text);

	shelf_buf_clear(out);
	if (rc == 0 && !shelf_base64_decode(out, shelf_buf_span(&text)))
		rc = SHELF_ESYNTAX;
	shelf_buf_free(&text);
	return rc;
}

static int
send_base64(struct remote *r, struct shelf_span text)
{
	struct shelf_buf b = {0};
	int rc;

	shelf_base64_encode(&b, text);
	rc = remote_send_line(r, shelf_buf_span(&b));
	shelf_buf_free(&b);
	return rc;
}

static int
exchange(struct remote *r, const struct remote_params *p, const char *mechanism, struct scram *s)
{
	struct shelf_buf proof = {0};
	uint8_t random[NONCE_BYTES];
	unsigned tag;
	int rc;

	shelf_random(random, sizeof random);
	shelf_base64_encode(&s->nonce, shelf_span(random, sizeof random));
	shelf_buf_add_str(&s->first, "n,,n=");
	add_name(&s->first, p->user);
	shelf_buf_printf(&s->first, ",r=%s", shelf_buf_cstr(&s->nonce));
	if ((rc = begin(r, mechanism, shelf_buf_span(&s->first), &tag)) == 0 &&
	    (rc = challenge(r, tag, &s->challenge)) == 0 && (rc = answer(s, p, &proof)) == 0 &&
	    (rc = send_base64(r, shelf_buf_span(&proof))) == 0 && (rc = challenge(r, tag, &proof)) == 0) {
		if (!proves(s, shelf_buf_span(&proof))) {
			remote_say_why(r, "the server does not know the password itself: not to be trusted");
			rc = SHELF_ENOPERM;
		} else {
			rc = send_base64(r, shelf_span("", 0));
		}
	}
	shelf_buf_free(&proof);
	return rc != 0 ? rc : end(r, tag);
}

static int
scram(struct remote *r, const struct remote_params *p, const char *mechanism, const EVP_MD *md)
{
	struct scram s = {.md = md, .len = EVP_MD_size(md)};
	int rc = exchange(r, p, mechanism, &s);

	if (rc == SHELF_ESYNTAX)
		remote_say_why(r, "%s: what the server asks makes no sense, or is not safe", mechanism);
	explicit_bzero(&s.salted, sizeof s.salted);
	shelf_buf_free(&s.first);
	shelf_buf_free(&s.nonce);
	shelf_buf_free(&s.challenge);
	shelf_buf_free(&s.without_proof);
	shelf_buf_free(&s.signed_text);
	return rc;
}

/* ---- The others -------------------------------------------------------------------------------- */

static int
plain(struct remote *r, const struct remote_params *p)
{
	struct shelf_buf b = {0};

	shelf_buf_reserve(&b, MESSAGE_BYTES);
	shelf_buf_add_str(&b, p->as != NULL ? p->as : "");
	shelf_buf_add_byte(&b, 0);
	shelf_buf_add_str(&b, p->user);
	shelf_buf_add_byte(&b, 0);
	shelf_buf_add_str(&b, p->password);
	return one_message(r, "PLAIN", &b);
}

static int
login(struct remote *r, const struct remote_params *p)
{
	struct shelf_buf b = {0};
	int rc;

	shelf_buf_reserve(&b, MESSAGE_BYTES);
	if (remote_quote(shelf_span_str(p->user), &b) != 0)
		rc = SHELF_ESYNTAX;
	else {
		shelf_buf_add_byte(&b, ' ');
		rc = remote_quote(shelf_span_str(p->password), &b);
	}
	if (rc == 0)
		rc = remote_run(r, NULL, NULL, "LOGIN %s", shelf_buf_cstr(&b));
	explicit_bzero(b.data, b.cap);
	shelf_buf_free(&b);
	return rc == SHELF_EINVALID ? SHELF_EAUTH : rc;
}

static int
bearer(struct remote *r, const struct remote_params *p)
{
	struct shelf_buf b = {0};

	shelf_buf_reserve(&b, MESSAGE_BYTES);
	if (remote_has(r, "AUTH=OAUTHBEARER")) {
		shelf_buf_add_str(&b, "n,a=");
		add_name(&b, p->as != NULL ? p->as : p->user);
		shelf_buf_printf(&b, ",\001host=%s\001port=%s\001auth=Bearer %s\001\001", p->host, p->port, p->token);
		return one_message(r, "OAUTHBEARER", &b);
	}
	shelf_buf_printf(&b, "user=%s\001auth=Bearer %s\001\001", p->user, p->token);
	return one_message(r, "XOAUTH2", &b);
}

int
remote_login(struct remote *r, const struct remote_params *p, bool secure)
{
	bool may_show = secure || p->cleartext;
	int rc = SHELF_EMISSING; /* SCRAM was not tried */

	if (p->token != NULL) {
		if (may_show && (remote_has(r, "AUTH=OAUTHBEARER") ||
		        (p->as == NULL && remote_has(r, "AUTH=XOAUTH2"))))
			return bearer(r, p);
		remote_say_why(r, "the server takes no tokens");
		return SHELF_EAUTH;
	}
	if (p->as == NULL && remote_has(r, "AUTH=SCRAM-SHA-256"))
		rc = scram(r, p, "SCRAM-SHA-256", EVP_sha256());
	else if (p->as == NULL && remote_has(r, "AUTH=SCRAM-SHA-1"))
		rc = scram(r, p, "SCRAM-SHA-1", EVP_sha1());
	/* Some accounts have no keys for it where others do: over TLS it may be said plainly. */
	if (rc != SHELF_EMISSING && (rc != SHELF_EAUTH || !secure || !remote_has(r, "AUTH=PLAIN")))
		return rc;
	if (!may_show) {
		remote_say_why(r, "without TLS no password is sent");
		return SHELF_EAUTH;
	}
	if (remote_has(r, "AUTH=PLAIN"))
		return plain(r, p);
	if (p->as == NULL && !remote_has(r, "LOGINDISABLED"))
		return login(r, p);
	remote_say_why(r, "the server offers no way to log in that is known here");
	return SHELF_EAUTH;
}
