/* test_scheme.c - passwords that other servers have hashed; `account import` */
#include <check.h>
#include <stdio.h>
#include <unistd.h>

#include "mail.h"
#include "verb_rig.h"

static struct rig r;

/* Made by openssl, argon2 and Python's hashlib; the password is "secret". */
static const char *const hashes[] = {
	"{PLAIN}secret", "{CLEARTEXT}secret",
	"{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "{SHA1.HEX}e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4",
	"{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=",
	"{SHA256}2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
	"{PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69", "{LDAP-MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==",
	"{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0", "{ssha.hex}8152bc582f58c854f580cb101d3182813dec4afe73616c74",
	"{SHA512-CRYPT}$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN"
	".Pq.H91p5hVO1",
	"{ARGON2ID}$argon2id$v=19$m=4096,t=1,p=1$c2FsdHNhbHQ$spfRXeYmccL2adA45L5zwTkfW62rnia72CnoJErxdUM",
	"{PBKDF2}$1$saltsalt$1000$8b09c61e3ddee1285f60003548fcfb0963b1e8e2",
};

static bool
lets_in(const char *name, const char *password)
{
	struct shelf_account a;

	return shelf_account_login(r.store, shelf_span_str(name), shelf_span_str(password), SHELF_SERVICE_IMAP, &a) ==
	       0;
}

static void
kept(uint32_t id, char *out)
{
	struct kv_view *view = NULL;
	struct mail_user u;

	ck_assert_int_eq(kv_view_begin(r.store->kv, KV_CATALOG, &view), 0);
	ck_assert_int_eq(mail_user_get(view, id, &u), 0);
	memcpy(out, u.hash.data, u.hash.len);
	out[u.hash.len] = '\0';
	kv_view_end(&view);
}

START_TEST(each_lets_in)
{
	char hash[MAIL_HASH_MAX];

	rig_open(&r, NULL);
	ck_assert_int_eq(shelf_account_set_hash(r.store, r.joe, shelf_span_str(hashes[_i])), 0);
	ck_assert(!lets_in("joe", "Secret"));
	ck_assert(!lets_in("joe", ""));
	ck_assert(lets_in("joe", "secret"));
	/* From then on it is one of ours, but for those of crypt(3). */
	kept(r.joe, hash);
	ck_assert_int_ne(hash[0], '{');
	ck_assert(lets_in("joe", "secret") && !lets_in("joe", "secre"));
	rig_close(&r);
}
END_TEST

static const char *const bad[] = {"", "{NONE}x", "{SHA}", "{SHA}abc", "{SHA256}5en6G6MezRroT3XKqkdPOmY/BfQ=",
	"{SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "{SHA.OCT}x", "{SHA", "{PLAIN}", "{PLAIN-MD5}zz", "{CRYPT}x",
	"plain words",
	"5f4dcc3b5aa765d61d8327deb882cf99", "hello-world-this-is-no-hash", "{PLAIN.HEX}736563726574", "{CRYPT.B64}x",
	"$6$rounds=999999999$saltsalt$x", "$2b$31$abcdefghijklmnopqrstuv",
	"{ARGON2ID}$argon2id$v=19$m=1048576,t=1000,p=1$c2FsdHNhbHQ$x",
	"{ARGON2ID}$argon2id$v=19$m=99999999,t=1,p=1$c2FsdHNhbHQ$x", "{ARGON2ID}x", "{PBKDF2}$1$salt$0$aa",
	"{PBKDF2}$1$salt$99999999999$aa", "{SHA512-CRYPT}$9$x$y", "{}x"};

START_TEST(no_hashes)
{
	struct shelf_buf large = {0};

	rig_open(&r, NULL);
	ck_assert_int_eq(shelf_account_set_hash(r.store, r.joe, shelf_span_str(bad[_i])), SHELF_EINVALID);
	for (unsigned i = 0; i < 500; i++)
		shelf_buf_add_str(&large, i == 0 ? "{PLAIN}" : "x");
	ck_assert_int_eq(shelf_account_set_hash(r.store, r.joe, shelf_buf_span(&large)), SHELF_EINVALID);
	shelf_buf_free(&large);
	rig_close(&r);
}
END_TEST

static void
write_file(const char *text)
{
	char path[4400];
	FILE *f;

	snprintf(path, sizeof(path), "%s/passwd", r.dir);
	ck_assert_ptr_nonnull(f = fopen(path, "w"));
	fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
}

static int
import(const char *options)
{
	char words[4500];

	snprintf(words, sizeof(words), "%s/passwd%s", r.dir, options);
	return verb_run(&r, tool_account_import, false, words);
}

START_TEST(a_passwd_file)
{
	struct shelf_account a;

	rig_open(&r, NULL);
	write_file("# accounts\n\njoe:{PLAIN}other\n"
	    "eve@example.org:{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0:5000:5000::/srv/eve::"
	    "userdb_quota_rule=*:storage=10M:messages=5 x=y\n"
	    "bob:*:\nkim:5en6G6MezRroT3XKqkdPOmY/BfQ=::::::quota_rule=*:storage=100\r\n"
	    "no line\nbad:{ROT13}frperg\nq:{PLAIN}x::::::quota_rule=*:storage=lots\n");
	ck_assert_int_eq(import("|--dry-run"), EX_DATAERR);
	ck_assert_int_eq(shelf_account_find(r.store, shelf_span_str("bob"), &a), SHELF_ENOACCOUNT);
	ck_assert_int_eq(import("|--scheme|SHA"), EX_DATAERR);
	ck_assert_ptr_nonnull(strstr(verb_out,
	    "3 accounts added, 0 got their password, 1 already there, 3 lines refused"));
	ck_assert(lets_in("eve@example.org", "secret") && lets_in("kim", "secret"));
	ck_assert(!lets_in("bob", "") && !lets_in("bob", "*"));
	ck_assert_int_eq(shelf_account_find(r.store, shelf_span_str("eve@example.org"), &a), 0);
	ck_assert_uint_eq(rig_quota(&r, a.id).limit_bytes, 10 << 20);
	ck_assert_uint_eq(rig_quota(&r, a.id).limit_messages, 5);
	ck_assert_int_eq(shelf_account_find(r.store, shelf_span_str("kim"), &a), 0);
	ck_assert_uint_eq(rig_quota(&r, a.id).limit_bytes, 100 << 10);
	write_file("joe:{PLAIN}other\n");
	ck_assert(!lets_in("joe", "other"));
	ck_assert_int_eq(import("|--update"), EX_OK);
	ck_assert(lets_in("joe", "other"));
	ck_assert_int_eq(verb_run(&r, tool_account_import, false, "/nonexistent/passwd"), EX_NOINPUT);
	rig_close(&r);
}
END_TEST

Suite *suite_scheme(void);
Suite *
suite_scheme(void)
{
	Suite *s = suite_create("scheme");
	TCase *tc = tcase_create("scheme");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, each_lets_in, 0, (int)(sizeof hashes / sizeof *hashes));
	tcase_add_loop_test(tc, no_hashes, 0, (int)(sizeof bad / sizeof *bad));
	tcase_add_test(tc, a_passwd_file);
	suite_add_tcase(s, tc);
	return s;
}
