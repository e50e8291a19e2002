/*
 * test_app_password.c - passwords of apps: scope, expiry, removal; beside the account's own and without one
 */
#include <check.h>
#include <unistd.h>

#include <mailshelf/app_password.h>
#include <mailshelf/log.h>
#include <mailshelf/mem.h>
#include <mailshelf/settings.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "scram.h"
#include "support.h"

#define S(text) shelf_span_str(text)

static char dir[256];
static struct shelf_store *store;
static uint32_t joe, mute;

static void
set_up(void)
{
	struct shelf_account_new accounts[] = {{.name = S("joe"), .password = S("secret")}, {.name = S("mute")}};
	struct shelf_store_params params = {.partitions = 1, .map_bytes = 64 << 20};
	uint32_t ids[2];

	support_tmpdir(dir, sizeof(dir));
	ck_assert_int_eq(rmdir(dir), 0);
	ck_assert_int_eq(shelf_store_create(dir, &params), 0);
	ck_assert_int_eq(shelf_store_open(dir, 0, &store), 0);
	shelf_log_level(SHELF_LOG_ERROR);
	ck_assert_int_eq(shelf_account_add(store, accounts, 2, NULL, ids), 0);
	ck_assert_int_eq(shelf_scram_prepare(store), 0);
	joe = ids[0];
	mute = ids[1];
}

static void
tear_down(void)
{
	shelf_store_close(&store);
	support_rmtree(dir);
}

static int
add(uint32_t account, const char *label, unsigned services, int64_t expires_s, char *secret, uint32_t *id)
{
	struct shelf_app_password new = {.services = services, .expires_s = expires_s};

	snprintf(new.label, sizeof(new.label), "%s", label);
	return shelf_app_password_add(store, account, &new, secret, id);
}

static int
log_in(const char *name, const char *password, enum shelf_service service)
{
	struct shelf_account a;

	return shelf_account_login(store, S(name), S(password), service, &a);
}

/* By SCRAM-SHA-256, as a client that has PASSWORD. */
static int
prove(const char *name, const char *password, enum shelf_service service)
{
	struct shelf_scram_proof proof = {.hash = SHELF_SCRAM_SHA_256, .name = S(name), .message = S("an exchange")};
	uint8_t salted[32], client[32], stored[32], mask[32], signature[32], expected[32], server[32];
	struct shelf_scram_salt salt;
	struct shelf_account a;
	int rc;

	ck_assert_int_eq(shelf_scram_salt(store, S(name), &salt), 0);
	ck_assert_int_eq(PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt.bytes, (int)salt.len,
	    (int)salt.iterations, EVP_sha256(), 32, salted), 1);
	HMAC(EVP_sha256(), salted, 32, (const uint8_t *)"Client Key", 10, client, NULL);
	HMAC(EVP_sha256(), salted, 32, (const uint8_t *)"Server Key", 10, server, NULL);
	ck_assert_int_eq(EVP_Digest(client, 32, stored, NULL, EVP_sha256(), NULL), 1);
	HMAC(EVP_sha256(), stored, 32, proof.message.data, proof.message.len, mask, NULL);
	HMAC(EVP_sha256(), server, 32, proof.message.data, proof.message.len, expected, NULL);
	for (size_t i = 0; i < 32; i++)
		client[i] ^= mask[i];
	proof.proof = shelf_span(client, 32);
	rc = shelf_scram_login(store, &proof, service, signature, &a);
	if (rc == 0)
		ck_assert(memcmp(signature, expected, 32) == 0);
	return rc;
}

START_TEST(scope_and_removal)
{
	char one[SHELF_APP_SECRET_LEN + 1], two[SHELF_APP_SECRET_LEN + 1];
	struct shelf_app_password list[SHELF_APP_PASSWORDS_MAX];
	uint32_t first, second;
	size_t n;

	ck_assert_int_eq(add(joe, "phone", SHELF_SERVICE_IMAP | SHELF_SERVICE_SUBMISSION, 0, one, &first), 0);
	ck_assert_int_eq(add(joe, "scanner", SHELF_SERVICE_SUBMISSION, 0, two, &second), 0);
	ck_assert(strlen(one) == SHELF_APP_SECRET_LEN && strcmp(one, two) != 0 && first != second);
	for (int again = 0; again < 2; again++) { /* the second time it is remembered */
		ck_assert_int_eq(log_in("JOE", one, SHELF_SERVICE_IMAP), 0);
		ck_assert_int_eq(log_in("joe", one, SHELF_SERVICE_POP3), SHELF_EDISABLED);
		ck_assert_int_eq(log_in("joe", two, SHELF_SERVICE_IMAP), SHELF_EDISABLED);
		ck_assert_int_eq(log_in("joe", two, SHELF_SERVICE_SUBMISSION), 0);
		ck_assert_int_eq(log_in("joe", "secret", SHELF_SERVICE_POP3), 0);
		ck_assert_int_eq(log_in("joe", "secret-", SHELF_SERVICE_POP3), SHELF_EAUTH);
		ck_assert_int_eq(log_in("mute", one, SHELF_SERVICE_IMAP), SHELF_EAUTH);
		ck_assert_int_eq(log_in("nobody", one, SHELF_SERVICE_IMAP), SHELF_EAUTH);
	}
	ck_assert_int_eq(prove("joe", one, SHELF_SERVICE_IMAP), 0);
	ck_assert_int_eq(prove("joe", two, SHELF_SERVICE_SUBMISSION), 0);
	ck_assert_int_eq(prove("joe", two, SHELF_SERVICE_IMAP), SHELF_EDISABLED);
	ck_assert_int_eq(prove("joe", "secret", SHELF_SERVICE_POP3), 0);
	ck_assert_int_eq(prove("joe", "other", SHELF_SERVICE_IMAP), SHELF_EAUTH);
	ck_assert_int_eq(shelf_app_password_list(store, joe, list, &n), 0);
	ck_assert(n == 2 && strcmp(list[0].label, "phone") == 0 && list[0].used_s >= list[0].created_s);
	ck_assert_int_eq(shelf_app_password_remove(store, joe, first), 0);
	ck_assert_int_eq(shelf_app_password_remove(store, joe, first), SHELF_EMISSING);
	ck_assert_int_eq(log_in("joe", one, SHELF_SERVICE_IMAP), SHELF_EAUTH);
	ck_assert_int_eq(prove("joe", one, SHELF_SERVICE_IMAP), SHELF_EAUTH);
	ck_assert_int_eq(log_in("joe", two, SHELF_SERVICE_SUBMISSION), 0);
}
END_TEST

START_TEST(expiry)
{
	char secret[SHELF_APP_SECRET_LEN + 1];
	uint32_t id;

	ck_assert_int_eq(add(joe, "soon", SHELF_SERVICE_IMAP, shelf_now_s() + 2, secret, &id), 0);
	ck_assert_int_eq(log_in("joe", secret, SHELF_SERVICE_IMAP), 0);
	sleep(3);
	ck_assert_int_eq(log_in("joe", secret, SHELF_SERVICE_IMAP), SHELF_EAUTH);
	ck_assert_int_eq(prove("joe", secret, SHELF_SERVICE_IMAP), SHELF_EAUTH);
}
END_TEST

/* They stay good when the account's own password comes, changes and goes, whatever new keys would cost by now. */
START_TEST(beside_the_own_password)
{
	char secret[SHELF_APP_SECRET_LEN + 1];
	uint32_t id;

	ck_assert_int_eq(add(mute, "phone", SHELF_SERVICE_IMAP, 0, secret, &id), 0);
	ck_assert_int_eq(log_in("mute", secret, SHELF_SERVICE_IMAP), 0);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(shelf_setting_set(store, SHELF_SETTING_SCRAM_ITERATIONS, i == 1 ? 0 : 5000), 0);
		ck_assert_int_eq(shelf_account_set_password(store, mute, S(i == 2 ? "" : "own")), 0);
		shelf_store_close(&store); /* and what it remembers */
		ck_assert_int_eq(shelf_store_open(dir, 0, &store), 0);
		ck_assert_int_eq(log_in("mute", secret, SHELF_SERVICE_IMAP), 0);
		ck_assert_int_eq(prove("mute", secret, SHELF_SERVICE_IMAP), 0);
		ck_assert_int_eq(log_in("mute", "own", SHELF_SERVICE_IMAP), i == 2 ? SHELF_EAUTH : 0);
		ck_assert_int_eq(prove("mute", "own", SHELF_SERVICE_IMAP), i == 0 ? 0 : SHELF_EAUTH);
	}
}
END_TEST

START_TEST(limits)
{
	char secret[SHELF_APP_SECRET_LEN + 1], label[SHELF_APP_LABEL_MAX + 1];
	uint32_t id;

	ck_assert_int_eq(add(joe, "", SHELF_SERVICE_IMAP, 0, secret, &id), SHELF_ENAME);
	ck_assert_int_eq(add(joe, "a\nb", SHELF_SERVICE_IMAP, 0, secret, &id), SHELF_ENAME);
	ck_assert_int_eq(add(joe, "x", 0, 0, secret, &id), SHELF_EINVALID);
	ck_assert_int_eq(add(joe, "x", SHELF_SERVICE_DELIVERY, 0, secret, &id), SHELF_EINVALID);
	ck_assert_int_eq(add(4711, "x", SHELF_SERVICE_IMAP, 0, secret, &id), SHELF_ENOACCOUNT);
	for (int i = 0; i < SHELF_APP_PASSWORDS_MAX; i++) {
		snprintf(label, sizeof(label), "%040d", i);
		ck_assert_int_eq(add(joe, label, SHELF_SERVICE_IMAP, 0, secret, &id), 0);
		ck_assert_int_eq(add(joe, label, SHELF_SERVICE_IMAP, 0, secret, &id), SHELF_EEXISTS);
	}
	ck_assert_int_eq(log_in("joe", secret, SHELF_SERVICE_IMAP), SHELF_EAUTH); /* that of the refused one */
	ck_assert_int_eq(add(joe, "one more", SHELF_SERVICE_IMAP, 0, secret, &id), SHELF_ELIMIT);
}
END_TEST

Suite *suite_app_password(void);

Suite *
suite_app_password(void)
{
	Suite *suite = suite_create("app_password");
	TCase *tc = tcase_create("app_password");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, scope_and_removal);
	tcase_add_test(tc, expiry);
	tcase_add_test(tc, beside_the_own_password);
	tcase_add_test(tc, limits);
	suite_add_tcase(suite, tc);
	return suite;
}
