/*
 * test_scram.c - SCRAM: the examples of the RFCs, messages that must not succeed, keys in a store
 */
#include <check.h>
#include <unistd.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>
#include <mailshelf/settings.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "auth.h"
#include "sasl_scram.h"
#include "scram.h"
#include "support.h"

#define S(text) shelf_span_str(text)

static void
expect_text(const struct shelf_buf *got, const char *want)
{
	ck_assert_msg(shelf_span_eq(shelf_buf_span(got), S(want)), "%.*s", (int)got->len, (const char *)got->data);
}

/* ---- The examples: RFC 5802 5, RFC 7677 3 ------------------------------------------------------------- */

static const struct {
	enum shelf_scram_hash hash;
	const char *first, *nonce, *salt, *challenge, *final, *verifier;
} examples[] = {
	{SHELF_SCRAM_SHA_1, "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j", "QSXCR+Q6sek8bf92",
	 "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
	 "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
	 "rmF9pqV8S7suAoZWja4dJRkFsKQ="},
	{SHELF_SCRAM_SHA_256, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
	 "W22ZaJ0SNY7soEsUEjb6gQ==",
	 "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
	 "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
	 "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
	 "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
};

START_TEST(examples_of_the_rfcs)
{
	struct sasl_scram s = {.hash = examples[_i].hash};
	struct mail_keys keys = {.salt.iterations = 4096};
	struct shelf_buf salt = {0}, challenge = {0}, verifier = {0};
	struct shelf_scram_proof proof = {.hash = s.hash};
	uint8_t signature[64];

	ck_assert(shelf_base64_decode(&salt, S(examples[_i].salt)));
	memcpy(keys.salt.bytes, salt.data, keys.salt.len = salt.len);
	ck_assert_int_eq(scram_derive(S("pencil"), SCRAM_ALL_HASHES, &keys), 0);
	ck_assert_int_eq(sasl_scram_first(&s, S(examples[_i].first)), SASL_SCRAM_OK);
	ck_assert(shelf_span_eq(shelf_span(s.name, s.name_len), S("user")));
	sasl_scram_challenge(&s, &keys.salt, examples[_i].nonce, &challenge);
	expect_text(&challenge, examples[_i].challenge);
	ck_assert_int_eq(sasl_scram_final(&s, S(examples[_i].final)), SASL_SCRAM_OK);
	proof.message = shelf_buf_span(&s.message);
	proof.proof = shelf_span(s.proof, s.proof_len);
	ck_assert(scram_proves(&keys, &proof, signature));
	shelf_base64_encode(&verifier, shelf_span(signature, shelf_scram_hash_len(s.hash)));
	expect_text(&verifier, examples[_i].verifier);
	s.proof[3] ^= 1;
	ck_assert(!scram_proves(&keys, &proof, signature));
	s.proof[3] ^= 1;
	keys.has = 0;
	ck_assert(!scram_proves(&keys, &proof, signature));
	proof.proof.len--;
	ck_assert(!scram_proves(&keys, &proof, signature));
	shelf_buf_free(&salt);
	shelf_buf_free(&challenge);
	shelf_buf_free(&verifier);
	sasl_scram_wipe(&s);
}
END_TEST

/* ---- Messages ------------------------------------------------------------------------------------------- */

static const struct {
	const char *message;
	bool plus, bound;
	enum sasl_scram_got got;
	const char *name;
} firsts[] = {
	{"n,,n=joe,r=abc", false, true, SASL_SCRAM_OK, "joe"},
	{"y,,n=joe,r=abc", false, false, SASL_SCRAM_OK, "joe"},
	{"n,a=joe,n=JOE,r=abc,x=1,y=2", false, false, SASL_SCRAM_OK, "JOE"},
	{"n,,n=a=2Cb=3Dc,r=abc", false, false, SASL_SCRAM_OK, "a,b=c"},
	{"p=tls-exporter,,n=joe,r=abc", true, true, SASL_SCRAM_OK, "joe"},
	{"y,,n=joe,r=abc", false, true, SASL_SCRAM_REFUSED, NULL},
	{"n,,n=joe,r=abc", true, true, SASL_SCRAM_REFUSED, NULL},
	{"p=tls-exporter,,n=joe,r=abc", false, true, SASL_SCRAM_REFUSED, NULL},
	{"n,a=root,n=joe,r=abc", false, false, SASL_SCRAM_REFUSED, NULL},
	{"n,,m=1,n=joe,r=abc", false, false, SASL_SCRAM_REFUSED, NULL},
	{"n,,n=j\xffoe,r=abc", false, false, SASL_SCRAM_REFUSED, NULL},
	{"n,,n=a=2Xb,r=abc", false, false, SASL_SCRAM_MALFORMED, NULL},
	{"n,,n=joe=2,r=abc", false, false, SASL_SCRAM_MALFORMED, NULL},
	{"n,,n=,r=abc", false, false, SASL_SCRAM_MALFORMED, NULL},
	{"n,,n=joe,r=", false, false, SASL_SCRAM_MALFORMED, NULL},
	{"n,,n=joe,r=a c", false, false, SASL_SCRAM_MALFORMED, NULL},
	{"n,,n=joe,r=a\xc3\xa4", false, false, SASL_SCRAM_MALFORMED, NULL},
	{"n,,r=abc,n=joe", false, false, SASL_SCRAM_MALFORMED, NULL},
	{"n,,n=joe", false, false, SASL_SCRAM_MALFORMED, NULL},
	{"n,n=joe,r=abc", false, false, SASL_SCRAM_MALFORMED, NULL},
	{"n,,n=joe,r=abc,1=x", false, false, SASL_SCRAM_MALFORMED, NULL},
	{"x,,n=joe,r=abc", false, false, SASL_SCRAM_MALFORMED, NULL},
	{"p=,,n=joe,r=abc", true, true, SASL_SCRAM_MALFORMED, NULL},
	{"p", true, true, SASL_SCRAM_MALFORMED, NULL},
	{"n", false, false, SASL_SCRAM_MALFORMED, NULL},
	{"", false, false, SASL_SCRAM_MALFORMED, NULL},
};

START_TEST(first_messages)
{
	struct sasl_scram s = {.plus = firsts[_i].plus, .bound = firsts[_i].bound};

	ck_assert_int_eq(sasl_scram_first(&s, S(firsts[_i].message)), firsts[_i].got);
	if (firsts[_i].got == SASL_SCRAM_OK)
		ck_assert(shelf_span_eq(shelf_span(s.name, s.name_len), S(firsts[_i].name)));
	sasl_scram_wipe(&s);
}
END_TEST

/* "biws" is "n,,"; the nonce is "abcXYZ". */
static const struct {
	const char *message;
	enum sasl_scram_got got;
} finals[] = {
	{"c=biws,r=abcXYZ,p=AAAA", SASL_SCRAM_OK},
	{"c=biws,r=abcXYZ,z=9,p=AAAA", SASL_SCRAM_OK},
	{"c=eSws,r=abcXYZ,p=AAAA", SASL_SCRAM_REFUSED},     /* "y,," */
	{"c=biwsAAAA,r=abcXYZ,p=AAAA", SASL_SCRAM_REFUSED}, /* bytes of a channel that is none */
	{"c=biw,r=abcXYZ,p=AAAA", SASL_SCRAM_REFUSED},      /* not Base64 */
	{"c=biws,r=abc,p=AAAA", SASL_SCRAM_REFUSED},
	{"c=biws,r=abcXYZx,p=AAAA", SASL_SCRAM_REFUSED},
	{"c=biws,r=abcXYZ,p=AAA", SASL_SCRAM_MALFORMED},
	{"c=biws,r=abcXYZ,p=", SASL_SCRAM_MALFORMED},
	{"c=biws,r=abcXYZ", SASL_SCRAM_MALFORMED},
	{"r=abcXYZ,c=biws,p=AAAA", SASL_SCRAM_MALFORMED},
	{"c=biws,p=AAAA", SASL_SCRAM_MALFORMED},
	{"p=AAAA", SASL_SCRAM_MALFORMED},
	{"c=biws,r=abcXYZ,p=AAAA,z=1", SASL_SCRAM_MALFORMED},
	{"c=biws,r=abcXYZ,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", SASL_SCRAM_MALFORMED},
	{"", SASL_SCRAM_MALFORMED},
};

START_TEST(final_messages)
{
	struct sasl_scram s = {.hash = SHELF_SCRAM_SHA_256};
	struct shelf_scram_salt salt = {.iterations = 4096, .len = 1};
	struct shelf_buf challenge = {0};

	ck_assert_int_eq(sasl_scram_first(&s, S("n,,n=joe,r=abc")), SASL_SCRAM_OK);
	sasl_scram_challenge(&s, &salt, "XYZ", &challenge);
	ck_assert_int_eq(sasl_scram_final(&s, S(finals[_i].message)), finals[_i].got);
	shelf_buf_free(&challenge);
	sasl_scram_wipe(&s);
}
END_TEST

/* RFC 4013 3: what is mapped, normalized, kept as it is since it may not be. */
START_TEST(passwords_are_prepared)
{
	static const struct {
		const char *in, *out;
	} rows[] = {{"I\xc2\xadX", "IX"}, {"user", "user"}, {"\xc2\xaa", "a"}, {"\xe2\x85\xa8", "IX"},
		{"\x07", "\x07"}, {"\xff", "\xff"}, {"\xc2\xbd", "1\xe2\x81\x84" "2"}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct shelf_buf out = {0};

		scram_prepare_password(S(rows[i].in), &out);
		expect_text(&out, rows[i].out);
		shelf_buf_free(&out);
	}
}
END_TEST

/* ---- In a store ------------------------------------------------------------------------------------------ */

static char dir[256];
static struct shelf_store *store;
static uint32_t ids[2];

static void
set_up(void)
{
	struct shelf_account_new accounts[] = {{.name = S("joe"), .password = S("secret")}, {.name = S("mute")}};
	struct shelf_store_params params = {.partitions = 1, .map_bytes = 64 << 20};

	support_tmpdir(dir, sizeof(dir));
	ck_assert_int_eq(rmdir(dir), 0);
	ck_assert_int_eq(shelf_store_create(dir, &params), 0);
	ck_assert_int_eq(shelf_store_open(dir, 0, &store), 0);
	shelf_log_level(SHELF_LOG_ERROR);
	ck_assert_int_eq(shelf_account_add(store, accounts, 2, NULL, ids), 0);
	ck_assert_int_eq(shelf_scram_prepare(store), 0);
}

static void
tear_down(void)
{
	shelf_store_close(&store);
	support_rmtree(dir);
}

static uint64_t
keyless(void)
{
	uint64_t n = 99;

	ck_assert_int_eq(shelf_scram_without_keys(store, &n), 0);
	return n;
}

/* A client that knows PASSWORD. */
static int
log_in(const char *name, const char *password, enum shelf_scram_hash hash, enum shelf_service service)
{
	struct mail_keys keys = {.has = 0};
	struct shelf_scram_proof proof = {.hash = hash, .name = S(name), .message = S("some exchange")};
	uint8_t mask[32], client[32], salted[32], signature[32], expected[32];
	size_t len = shelf_scram_hash_len(hash);
	const EVP_MD *md = hash == SHELF_SCRAM_SHA_1 ? EVP_sha1() : EVP_sha256();
	struct shelf_account account;
	int rc;

	ck_assert_int_eq(shelf_scram_salt(store, S(name), &keys.salt), 0);
	ck_assert_int_eq(scram_derive(S(password), SCRAM_ALL_HASHES, &keys), 0);
	ck_assert_int_eq(PKCS5_PBKDF2_HMAC(password, (int)strlen(password), keys.salt.bytes, (int)keys.salt.len,
	    (int)keys.salt.iterations, md, (int)len, salted), 1);
	HMAC(md, salted, (int)len, (const uint8_t *)"Client Key", 10, client, NULL);
	HMAC(md, keys.stored[hash], (int)len, proof.message.data, proof.message.len, mask, NULL);
	HMAC(md, keys.server[hash], (int)len, proof.message.data, proof.message.len, expected, NULL);
	for (size_t i = 0; i < len; i++)
		client[i] ^= mask[i];
	proof.proof = shelf_span(client, len);
	rc = shelf_scram_login(store, &proof, service, signature, &account);
	if (rc == 0)
		ck_assert(memcmp(signature, expected, len) == 0 && account.id == ids[0]);
	return rc;
}

START_TEST(keys_of_an_account)
{
	for (enum shelf_scram_hash h = 0; h < SHELF_SCRAM_HASHES; h++) {
		ck_assert_int_eq(log_in("JOE", "secret", h, SHELF_SERVICE_IMAP), 0);
		ck_assert_int_eq(log_in("joe", "Secret", h, SHELF_SERVICE_IMAP), SHELF_EAUTH);
		ck_assert_int_eq(log_in("mute", "secret", h, SHELF_SERVICE_IMAP), SHELF_EAUTH);
		ck_assert_int_eq(log_in("nobody", "secret", h, SHELF_SERVICE_IMAP), SHELF_EAUTH);
		ck_assert_int_eq(log_in("a/b", "secret", h, SHELF_SERVICE_IMAP), SHELF_EAUTH);
	}
	ck_assert_int_eq(shelf_account_set_services(store, ids[0], SHELF_SERVICE_POP3, false), 0);
	ck_assert_int_eq(log_in("joe", "secret", SHELF_SCRAM_SHA_1, SHELF_SERVICE_IMAP), SHELF_EDISABLED);
	ck_assert_int_eq(log_in("joe", "secret", SHELF_SCRAM_SHA_1, SHELF_SERVICE_POP3), 0);
	ck_assert_int_eq(shelf_account_set_password(store, ids[0], S("other")), 0);
	ck_assert_int_eq(log_in("joe", "secret", SHELF_SCRAM_SHA_256, SHELF_SERVICE_POP3), SHELF_EAUTH);
	ck_assert_int_eq(log_in("joe", "other", SHELF_SCRAM_SHA_256, SHELF_SERVICE_POP3), 0);
	ck_assert_int_eq(shelf_account_set_password(store, ids[0], S("")), 0);
	ck_assert_int_eq(log_in("joe", "other", SHELF_SCRAM_SHA_256, SHELF_SERVICE_POP3), SHELF_EAUTH);
}
END_TEST

static bool
is_same(const struct shelf_scram_salt *a, const struct shelf_scram_salt *b)
{
	return a->iterations == b->iterations && a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

/* The salt of a name stays what it is, whoever has it, after a restart too; and differs from that of others. */
START_TEST(strangers_have_salts)
{
	struct shelf_account_new ann = {.name = S("ann"), .password = S("x")};
	struct shelf_scram_salt one, two, joe;

	ck_assert_int_eq(shelf_scram_salt(store, S("ann"), &one), 0);
	ck_assert_int_eq(shelf_scram_salt(store, S("joe"), &joe), 0);
	ck_assert(one.len == joe.len && memcmp(one.bytes, joe.bytes, one.len) != 0);
	ck_assert_uint_eq(one.iterations, joe.iterations);
	shelf_store_close(&store);
	ck_assert_int_eq(shelf_store_open(dir, 0, &store), 0);
	ck_assert_int_eq(shelf_scram_prepare(store), 0);
	ck_assert_int_eq(shelf_scram_salt(store, S("Ann"), &two), 0);
	ck_assert(is_same(&one, &two));
	ck_assert_int_eq(shelf_account_add(store, &ann, 1, NULL, NULL), 0);
	ck_assert_int_eq(shelf_scram_salt(store, S("ann"), &two), 0);
	ck_assert(is_same(&one, &two));
}
END_TEST

/* Accounts from before there were keys get them with their next login; until then somebody counts them. */
START_TEST(keys_come_with_a_login)
{
	struct shelf_account_new old = {.name = S("old"), .password = S("secret")};
	struct shelf_account account;
	uint32_t id;

	ck_assert_uint_eq(keyless(), 0);
	ck_assert_int_eq(shelf_setting_set(store, SHELF_SETTING_SCRAM_ITERATIONS, 0), 0);
	ck_assert_int_eq(shelf_account_add(store, &old, 1, NULL, &id), 0);
	ck_assert_uint_eq(keyless(), 1);
	ck_assert_int_eq(shelf_account_login(store, S("old"), S("secret"), SHELF_SERVICE_IMAP, &account), 0);
	ck_assert_uint_eq(keyless(), 1); /* none are wanted */
	ck_assert_int_eq(shelf_setting_set(store, SHELF_SETTING_SCRAM_ITERATIONS, 5000), 0);
	shelf_store_close(&store); /* and with it what it remembers of logins */
	ck_assert_int_eq(shelf_store_open(dir, 0, &store), 0);
	ck_assert_int_eq(shelf_scram_prepare(store), 0);
	ck_assert_int_eq(shelf_account_login(store, S("old"), S("wrong"), SHELF_SERVICE_IMAP, &account), SHELF_EAUTH);
	ck_assert_uint_eq(keyless(), 1);
	ck_assert_int_eq(shelf_account_login(store, S("old"), S("secret"), SHELF_SERVICE_IMAP, &account), 0);
	ck_assert_uint_eq(keyless(), 0);
	ids[0] = id;
	ck_assert_int_eq(log_in("old", "secret", SHELF_SCRAM_SHA_256, SHELF_SERVICE_IMAP), 0);
	ck_assert_int_eq(shelf_setting_set(store, SHELF_SETTING_SCRAM_ITERATIONS, 0), 0);
	ck_assert_int_eq(shelf_account_set_password(store, id, S("again")), 0);
	ck_assert_uint_eq(keyless(), 1);
	ck_assert_int_eq(shelf_account_delete(store, id), 0);
	ck_assert_uint_eq(keyless(), 0);
}
END_TEST

/* A row of an older release: no keys, and submission is on, which it knew nothing of; and back into bytes. */
START_TEST(rows_of_before)
{
	static const uint8_t row[] = {1, 5, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 3, 'j', 'o', 'e', 1, 'x'};
	struct mail_user u;

	ck_assert_int_eq(mail_user_decode(shelf_span(row, sizeof(row)), &u), 0);
	ck_assert_uint_eq(u.services, SHELF_SERVICE_IMAP | SHELF_SERVICE_DELIVERY | SHELF_SERVICE_SUBMISSION);
	ck_assert(u.keys.has == 0 && u.created_s == 9 && shelf_span_eq(u.name, S("joe")));
	ck_assert_int_eq(mail_user_decode(shelf_span(row, sizeof(row) - 1), &u), SHELF_ECORRUPT);
}
END_TEST

START_TEST(submission_is_switched)
{
	struct shelf_account a;

	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(shelf_account_get(store, ids[0], &a), 0);
		ck_assert_uint_eq(a.services, i == 0 ? SHELF_SERVICE_ALL : SHELF_SERVICE_IMAP);
		ck_assert_int_eq(log_in("joe", "secret", SHELF_SCRAM_SHA_1, SHELF_SERVICE_SUBMISSION),
		    i == 0 ? 0 : SHELF_EDISABLED);
		ck_assert_int_eq(shelf_account_set_services(store, ids[0], SHELF_SERVICE_IMAP, false), 0);
	}
}
END_TEST

Suite *suite_scram(void);

Suite *
suite_scram(void)
{
	Suite *suite = suite_create("scram");
	TCase *messages = tcase_create("messages"), *stored = tcase_create("stored");

	tcase_add_loop_test(messages, examples_of_the_rfcs, 0, 2);
	tcase_add_loop_test(messages, first_messages, 0, (int)(sizeof(firsts) / sizeof(*firsts)));
	tcase_add_loop_test(messages, final_messages, 0, (int)(sizeof(finals) / sizeof(*finals)));
	tcase_add_test(messages, passwords_are_prepared);
	tcase_add_test(messages, rows_of_before);
	suite_add_tcase(suite, messages);
	tcase_add_checked_fixture(stored, set_up, tear_down);
	tcase_set_timeout(stored, 60);
	tcase_add_test(stored, keys_of_an_account);
	tcase_add_test(stored, strangers_have_salts);
	tcase_add_test(stored, keys_come_with_a_login);
	tcase_add_test(stored, submission_is_switched);
	suite_add_tcase(suite, stored);
	return suite;
}
