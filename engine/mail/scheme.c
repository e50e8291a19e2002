/*
 * scheme.c - passwords that another server has hashed: "{SCHEME}text" as Dovecot writes it
 *
 *   crypt(3)      CRYPT, DES-CRYPT, MD5-CRYPT, SHA256-CRYPT, SHA512-CRYPT, BLF-CRYPT: kept without the scheme, for
 *                 crypt(3) knows them by how they begin
 *   digests       SHA SHA1 SHA256 SHA512 PLAIN-MD5 LDAP-MD5; with a salt behind the digest: SSHA SSHA256 SSHA512 SMD5
 *   others        ARGON2I, ARGON2ID (libargon2), PBKDF2 (SHA-1, "$1$salt$rounds$hex"), PLAIN CLEARTEXT CLEAR
 *
 * ".HEX" or ".B64" behind the name says how a digest is written. Digests and plain text are no good way to keep a
 * password: the first login makes an own hash of it (login.c), which is why they may be taken at all.
 */
#include <stdio.h>
#include <strings.h>

#include <argon2.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <mailshelf/mem.h>

#include "mail.h"

/* What a login may cost: somebody may have written anything. */
enum {
	ARGON2_KIB_MAX = 1 << 20,
	ARGON2_WORK_MAX = 8 << 20, /* KiB times rounds */
	PBKDF2_ROUNDS_MAX = 1000000,
	PBKDF2_BYTES = 20,
	CRYPT_ROUNDS_MAX = 1000000, /* of $5$ and $6$ */
	BCRYPT_COST_MAX = 15,
	DES_LEN = 13,
};

enum kind { CRYPT, DIGEST, SALTED, ARGON2, PBKDF2, PLAIN };

static const struct scheme {
	const char *name;
	enum kind kind;
	const char *digest;
} schemes[] = {
	{"CRYPT", CRYPT, NULL},
	{"DES-CRYPT", CRYPT, NULL},
	{"MD5-CRYPT", CRYPT, NULL},
	{"SHA256-CRYPT", CRYPT, NULL},
	{"SHA512-CRYPT", CRYPT, NULL},
	{"BLF-CRYPT", CRYPT, NULL},
	{"SHA", DIGEST, "SHA1"},
	{"SHA1", DIGEST, "SHA1"},
	{"SHA256", DIGEST, "SHA256"},
	{"SHA512", DIGEST, "SHA512"},
	{"PLAIN-MD5", DIGEST, "MD5"},
	{"LDAP-MD5", DIGEST, "MD5"},
	{"SSHA", SALTED, "SHA1"},
	{"SSHA256", SALTED, "SHA256"},
	{"SSHA512", SALTED, "SHA512"},
	{"SMD5", SALTED, "MD5"},
	{"ARGON2I", ARGON2, NULL},
	{"ARGON2ID", ARGON2, NULL},
	{"PBKDF2", PBKDF2, NULL},
	{"PLAIN", PLAIN, NULL},
	{"CLEARTEXT", PLAIN, NULL},
	{"CLEAR", PLAIN, NULL},
};

/* The scheme of HASH, what follows its name, and how that is written. NULL: none that is known. */
static const struct scheme *
split(struct shelf_span hash, struct shelf_span *text, bool *hex)
{
	ptrdiff_t end = hash.len > 0 && hash.data[0] == '{' ? shelf_span_find(hash, '}', 0) : -1, dot;
	struct shelf_span name, encoding = {0};

	if (end < 0)
		return NULL;
	name = shelf_span(hash.data + 1, (size_t)end - 1);
	*text = shelf_span(hash.data + end + 1, hash.len - (size_t)end - 1);
	if ((dot = shelf_span_find(name, '.', 0)) >= 0) {
		encoding = shelf_span(name.data + dot + 1, name.len - (size_t)dot - 1);
		name.len = (size_t)dot;
		if (!shelf_span_is(encoding, "HEX") && !shelf_span_is(encoding, "B64") &&
		    !shelf_span_is(encoding, "BASE64"))
			return NULL;
	}
	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
		if (!shelf_span_is(name, schemes[i].name))
			continue;
		if (encoding.len > 0 && schemes[i].kind != DIGEST && schemes[i].kind != SALTED)
			return NULL;
		*hex = shelf_span_is(encoding, "HEX");
		/* Without a word about it: the length tells. */
		if (encoding.len == 0 && schemes[i].kind == DIGEST)
			*hex = text->len == 2 * (size_t)EVP_MD_size(EVP_get_digestbyname(schemes[i].digest));
		return &schemes[i];
	}
	return NULL;
}

static int
hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
from_hex(struct shelf_span text, struct shelf_buf *out)
{
	for (size_t i = 0; i + 1 < text.len; i += 2) {
		int high = hex_digit(text.data[i]), low = hex_digit(text.data[i + 1]);

		if (high < 0 || low < 0)
			return false;
		shelf_buf_add_byte(out, (uint8_t)(high << 4 | low));
	}
	return text.len % 2 == 0;
}

/* The digest, and the salt behind it where there is one. */
static bool
bytes_of(const struct scheme *s, struct shelf_span text, bool hex, struct shelf_buf *out)
{
	size_t len = (size_t)EVP_MD_size(EVP_get_digestbyname(s->digest));

	return (hex ? from_hex(text, out) : shelf_base64_decode(out, text)) &&
	       (s->kind == DIGEST ? out->len == len : out->len > len);
}

/* ---- Argon2 and PBKDF2 --------------------------------------------------------------------------------- */

/* What it would cost is in it: somebody may have written anything. */
static bool
argon2_is_sane(struct shelf_span text)
{
	char copy[MAIL_HASH_MAX];
	unsigned kib, rounds, lanes;
	const char *cost;

	snprintf(copy, sizeof(copy), "%.*s", (int)text.len, (const char *)text.data);
	cost = strstr(copy, "$m=");
	return text.len < sizeof(copy) &&
	       (strncmp(copy, "$argon2i$", 9) == 0 || strncmp(copy, "$argon2id$", 10) == 0) && cost != NULL &&
	       sscanf(cost, "$m=%u,t=%u,p=%u$", &kib, &rounds, &lanes) == 3 && kib <= ARGON2_KIB_MAX &&
	       rounds >= 1 && rounds <= ARGON2_WORK_MAX / (kib > 0 ? kib : 1) && lanes >= 1 && lanes <= 64;
}

static bool
argon2_matches(struct shelf_span text, struct shelf_span password)
{
	char copy[MAIL_HASH_MAX];
	argon2_type type;

	snprintf(copy, sizeof(copy), "%.*s", (int)text.len, (const char *)text.data);
	type = strncmp(copy, "$argon2id$", 10) == 0 ? Argon2_id : Argon2_i;
	return argon2_is_sane(text) && argon2_verify(copy, password.data, password.len, type) == ARGON2_OK;
}

struct pbkdf2 {
	struct shelf_span salt;
	uint64_t rounds;
	struct shelf_buf key;
};

/* "$1$salt$rounds$40 hexadecimal digits" */
static bool
pbkdf2_split(struct shelf_span text, struct pbkdf2 *p)
{
	ptrdiff_t salt_end, rounds_end;

	if (text.len < 4 || memcmp(text.data, "$1$", 3) != 0 || (salt_end = shelf_span_find(text, '$', 3)) < 0 ||
	    (rounds_end = shelf_span_find(text, '$', (size_t)salt_end + 1)) < 0)
		return false;
	p->salt = shelf_span(text.data + 3, (size_t)salt_end - 3);
	return shelf_span_u64(shelf_span(text.data + salt_end + 1, (size_t)(rounds_end - salt_end) - 1),
			      PBKDF2_ROUNDS_MAX, &p->rounds) &&
	       p->rounds > 0 &&
	       from_hex(shelf_span(text.data + rounds_end + 1, text.len - (size_t)rounds_end - 1), &p->key) &&
	       p->key.len == PBKDF2_BYTES;
}

static bool
pbkdf2_matches(struct shelf_span text, struct shelf_span password)
{
	struct pbkdf2 p = {.rounds = 0};
	uint8_t got[PBKDF2_BYTES];
	bool same = pbkdf2_split(text, &p) &&
		    PKCS5_PBKDF2_HMAC_SHA1((const char *)password.data, (int)password.len, p.salt.data,
					   (int)p.salt.len, (int)p.rounds, sizeof(got), got) == 1 &&
		    CRYPTO_memcmp(got, p.key.data, sizeof(got)) == 0;

	shelf_buf_free(&p.key);
	return same;
}

/* ---- All ------------------------------------------------------------------------------------------------- */

static bool
digest_matches(const struct scheme *s, struct shelf_span text, bool hex, struct shelf_span password)
{
	const EVP_MD *md = EVP_get_digestbyname(s->digest);
	size_t len = (size_t)EVP_MD_size(md);
	uint8_t got[EVP_MAX_MD_SIZE];
	struct shelf_buf want = {0};
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool same = bytes_of(s, text, hex, &want);

	SHELF_ASSERT(ctx != NULL);
	same = same && EVP_DigestInit_ex(ctx, md, NULL) == 1 &&
	       EVP_DigestUpdate(ctx, password.data, password.len) == 1 &&
	       EVP_DigestUpdate(ctx, want.data + len, want.len - len) == 1 && EVP_DigestFinal_ex(ctx, got, NULL) == 1 &&
	       CRYPTO_memcmp(got, want.data, len) == 0;
	EVP_MD_CTX_free(ctx);
	shelf_buf_free(&want);
	return same;
}

bool
scheme_is_foreign(const char *hash)
{
	return hash[0] == '{';
}

bool
scheme_verify(struct shelf_span password, const char *hash)
{
	struct shelf_span text;
	bool hex;
	const struct scheme *s = split(shelf_span_str(hash), &text, &hex);

	if (s == NULL)
		return false;
	switch (s->kind) {
	case DIGEST:
	case SALTED:
		return digest_matches(s, text, hex, password);
	case ARGON2:
		return argon2_matches(text, password);
	case PBKDF2:
		return pbkdf2_matches(text, password);
	case PLAIN:
		return password.len == text.len && CRYPTO_memcmp(password.data, text.data, text.len) == 0;
	case CRYPT: /* is kept without its name */
		break;
	}
	return false;
}

static const char des_digits[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* Whether crypt(3) has something for it. */
static bool
crypt_knows(struct shelf_span text)
{
	char copy[MAIL_HASH_MAX];

	unsigned long cost;

	snprintf(copy, sizeof(copy), "%.*s", (int)text.len, (const char *)text.data);
	if (text.len >= sizeof(copy) || !login_knows(copy))
		return false;
	if (sscanf(copy, "$5$rounds=%lu$", &cost) == 1 || sscanf(copy, "$6$rounds=%lu$", &cost) == 1)
		return cost <= CRYPT_ROUNDS_MAX;
	if (sscanf(copy, "$2%*1[aby]$%2lu$", &cost) == 1)
		return cost <= BCRYPT_COST_MAX;
	/* The oldest kind has no mark: nearly every word would do. */
	return copy[0] == '$' || copy[0] == '_' || (text.len == DES_LEN && strspn(copy, des_digits) == DES_LEN);
}

int
scheme_take(struct shelf_span hash, char *out)
{
	struct pbkdf2 p = {.rounds = 0};
	struct shelf_buf bytes = {0};
	struct shelf_span text = hash;
	bool hex, good = false;
	const struct scheme *s = split(hash, &text, &hex);

	if (hash.len == 0 || hash.len >= MAIL_HASH_MAX || memchr(hash.data, 0, hash.len) != NULL)
		return SHELF_EINVALID;
	if (s == NULL && hash.data[0] == '{')
		return SHELF_EINVALID;
	switch (s == NULL ? CRYPT : s->kind) {
	case CRYPT:
		hash = text;
		good = crypt_knows(text);
		break;
	case DIGEST:
	case SALTED:
		good = bytes_of(s, text, hex, &bytes);
		break;
	case ARGON2:
		good = argon2_is_sane(text);
		break;
	case PBKDF2:
		good = pbkdf2_split(text, &p);
		break;
	case PLAIN:
		good = text.len > 0;
		break;
	}
	shelf_buf_free(&p.key);
	shelf_buf_free(&bytes);
	memcpy(out, hash.data, hash.len);
	out[hash.len] = '\0';
	return good ? 0 : SHELF_EINVALID;
}
