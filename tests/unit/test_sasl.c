/*
 * test_sasl.c - PLAIN and LOGIN: good exchanges, and every way to be malformed
 */
#include <check.h>
#include <string.h>

#include <mailshelf/mem.h>

#include "auth.h"

#define S(text) {(const uint8_t *)(text), sizeof(text) - 1}
#define NO_INITIAL {NULL, 0}

/* No store, no channel: PLAIN and LOGIN need neither. */
static const struct sasl_for nobody;

static const struct {
	const char *mechanism;
	struct shelf_span step[3]; /* the client's; ends behind the last that is used */
	int steps;
	enum sasl_step end;
	const char *name, *password;
} rows[] = {
	{"PLAIN", {S("\0joe\0secret")}, 1, SASL_READY, "joe", "secret"},
	{"plain", {S("joe\0joe\0secret")}, 1, SASL_READY, "joe", "secret"},
	{"Plain", {S("JOE\0joe\0secret")}, 1, SASL_READY, "joe", "secret"},
	{"PLAIN", {NO_INITIAL, S("\0joe\0s p=a\xc3\xa4")}, 2, SASL_READY, "joe", "s p=a\xc3\xa4"},
	{"PLAIN", {S("\0joe@example.org\0\xff\xfe")}, 1, SASL_READY, "joe@example.org", "\xff\xfe"},
	{"PLAIN", {S("")}, 1, SASL_BAD, NULL, NULL},
	{"PLAIN", {S("joe")}, 1, SASL_BAD, NULL, NULL},
	{"PLAIN", {S("\0joe")}, 1, SASL_BAD, NULL, NULL},
	{"PLAIN", {S("\0joe\0")}, 1, SASL_BAD, NULL, NULL},
	{"PLAIN", {S("\0\0secret")}, 1, SASL_BAD, NULL, NULL},
	{"PLAIN", {S("\0joe\0sec\0ret")}, 1, SASL_BAD, NULL, NULL},
	{"PLAIN", {S("root\0joe\0secret")}, 1, SASL_BAD, NULL, NULL},
	{"PLAIN", {S("jo\0joe\0secret")}, 1, SASL_BAD, NULL, NULL},
	{"PLAIN", {S("\0j\xffoe\0secret")}, 1, SASL_BAD, NULL, NULL},
	{"PLAIN", {NO_INITIAL, S("")}, 2, SASL_BAD, NULL, NULL},
	{"LOGIN", {NO_INITIAL, S("joe"), S("secret")}, 3, SASL_READY, "joe", "secret"},
	{"login", {S("joe"), S("secret")}, 2, SASL_READY, "joe", "secret"},
	{"LOGIN", {S("")}, 1, SASL_BAD, NULL, NULL},
	{"LOGIN", {S("j\0e")}, 1, SASL_BAD, NULL, NULL},
	{"LOGIN", {S("joe"), S("")}, 2, SASL_BAD, NULL, NULL},
	{"LOGIN", {S("joe"), S("sec\0ret")}, 2, SASL_BAD, NULL, NULL},
	{"LOGIN", {NO_INITIAL, S("\xc0\x80")}, 2, SASL_BAD, NULL, NULL},
};

static void
expect_text(struct shelf_span got, const char *want)
{
	ck_assert_uint_eq(got.len, strlen(want));
	ck_assert_int_eq(memcmp(got.data, want, got.len), 0);
}

START_TEST(exchanges)
{
	struct sasl *sasl = sasl_new(shelf_span_str(rows[_i].mechanism), &nobody);
	enum sasl_step step = SASL_CONTINUE;
	struct shelf_span challenge;

	ck_assert_ptr_nonnull(sasl);
	for (int i = 0; i < rows[_i].steps; i++) {
		ck_assert_msg(step == SASL_CONTINUE, "row %d ended before step %d", _i, i);
		step = sasl_step(sasl, rows[_i].step[i], &challenge);
	}
	ck_assert_msg(step == rows[_i].end, "row %d: %d", _i, step);
	if (step == SASL_READY) {
		expect_text(sasl_name(sasl), rows[_i].name);
		expect_text(sasl_password(sasl), rows[_i].password);
	}
	/* It is over: nothing more is taken. */
	ck_assert_int_eq(sasl_step(sasl, shelf_span_str("joe"), &challenge), SASL_BAD);
	sasl_free(&sasl);
	ck_assert_ptr_null(sasl);
}
END_TEST

START_TEST(challenges)
{
	struct sasl *sasl = sasl_new(shelf_span_str("LOGIN"), &nobody);
	struct shelf_span challenge;

	ck_assert_int_eq(sasl_step(sasl, shelf_span(NULL, 0), &challenge), SASL_CONTINUE);
	expect_text(challenge, "Username:");
	ck_assert_int_eq(sasl_step(sasl, shelf_span_str("joe"), &challenge), SASL_CONTINUE);
	expect_text(challenge, "Password:");
	sasl_free(&sasl);
	sasl = sasl_new(shelf_span_str("PLAIN"), &nobody);
	ck_assert_int_eq(sasl_step(sasl, shelf_span(NULL, 0), &challenge), SASL_CONTINUE);
	expect_text(challenge, "");
	sasl_free(&sasl);
	sasl_free(&sasl); /* NULL is accepted */
}
END_TEST

/* The longest name and password are taken, one more byte of either is not. */
START_TEST(lengths)
{
	size_t name = SHELF_ACCOUNT_NAME_MAX + (_i == 1 ? 1 : 0);
	size_t password = SHELF_PASSWORD_MAX + (_i == 2 ? 1 : 0);
	struct sasl *plain = sasl_new(shelf_span_str("PLAIN"), &nobody);
	struct sasl *login = sasl_new(shelf_span_str("LOGIN"), &nobody);
	uint8_t message[2000] = {0};
	struct shelf_span challenge;
	enum sasl_step step;

	memset(message + 1, 'n', name);
	memset(message + 1 + name + 1, 'p', password);
	ck_assert_int_eq(sasl_step(plain, shelf_span(message, name + password + 2), &challenge),
	    _i == 0 ? SASL_READY : SASL_BAD);
	step = sasl_step(login, shelf_span(message + 1, name), &challenge);
	ck_assert_int_eq(step, _i == 1 ? SASL_BAD : SASL_CONTINUE);
	if (step == SASL_CONTINUE)
		ck_assert_int_eq(sasl_step(login, shelf_span(message + 1 + name + 1, password), &challenge),
		    _i == 0 ? SASL_READY : SASL_BAD);
	if (_i == 0)
		ck_assert_uint_eq(sasl_password(login).len, SHELF_PASSWORD_MAX);
	sasl_free(&plain);
	sasl_free(&login);
}
END_TEST

START_TEST(other_mechanisms)
{
	static const char *const names[] = {"", "PLAI", "PLAINX", "CRAM-MD5", "SCRAM-SHA-256", "LOGIN "};

	ck_assert_ptr_null(sasl_new(shelf_span_str(names[_i]), &nobody));
	ck_assert_ptr_null(sasl_new(shelf_span("PLAIN\0", 6), &nobody));
}
END_TEST

Suite *suite_sasl(void);

Suite *
suite_sasl(void)
{
	Suite *suite = suite_create("sasl");
	TCase *tc = tcase_create("sasl");

	tcase_add_loop_test(tc, exchanges, 0, (int)(sizeof(rows) / sizeof(rows[0])));
	tcase_add_test(tc, challenges);
	tcase_add_loop_test(tc, lengths, 0, 3);
	tcase_add_loop_test(tc, other_mechanisms, 0, 6);
	suite_add_tcase(suite, tc);
	return suite;
}
