/* test_lmtp_path.c - paths of RFC 5321 4.1.2: what is one, what it means, what is none */
#include <check.h>

#include "lmtp.h"

static const struct {
	const char *in;
	const char *local, *domain; /* local NULL: not a path; domain NULL: none */
	const char *rest;           /* behind the path */
	bool utf8;
} rows[] = {
    {"<>", "", NULL, "", false},
    {"<> SIZE=1", "", NULL, " SIZE=1", false},
    {"<joe@example.org>", "joe", "example.org", "", false},
    {"<joe@example.org> BODY=8BITMIME", "joe", "example.org", " BODY=8BITMIME", false},
    {"<Joe.Doe+tag@Example.ORG>", "Joe.Doe+tag", "Example.ORG", "", false},
    {"<!#$%&'*+-/=?^_`{|}~@a>", "!#$%&'*+-/=?^_`{|}~", "a", "", false},
    {"<postmaster>", "postmaster", NULL, "", false},
    {"<joe@my_host.example>", "joe", "my_host.example", "", false},
    {"<joe@a-b.c1>", "joe", "a-b.c1", "", false},
    {"<joe@[192.0.2.1]>", "joe", "[192.0.2.1]", "", false},
    {"<joe@[IPv6:2001:db8::1]>", "joe", "[IPv6:2001:db8::1]", "", false},
    {"<joe@[ipv6:::1]>", "joe", "[ipv6:::1]", "", false},
    {"<joe@[tag:some.thing]>", "joe", "[tag:some.thing]", "", false},
    {"<\"joe doe\"@example.org>", "joe doe", "example.org", "", false},
    {"<\"a>b\"@example.org>x", "a>b", "example.org", "x", false},
    {"<\"a\\\"b\\\\c\"@example.org>", "a\"b\\c", "example.org", "", false},
    {"<\"joe\"@example.org>", "joe", "example.org", "", false},
    {"<\"a@b\"@example.org>", "a@b", "example.org", "", false},
    {"<\"..\"@example.org>", "..", "example.org", "", false},
    {"<\"\"@example.org>", "", "example.org", "", false},
    {"<@a.example:joe@example.org>", "joe", "example.org", "", false},
    {"<@a.example,@b.example:joe@example.org>", "joe", "example.org", "", false},
    {"<@[192.0.2.1]:joe@example.org>", "joe", "example.org", "", false},
    {"<j\xc3\xb6@example.org>", "j\xc3\xb6", "example.org", "", true},
    {"<joe@ex\xc3\xa4mple.org>", "joe", "ex\xc3\xa4mple.org", "", true},
    {"<\"j \xc3\xb6\"@example.org>", "j \xc3\xb6", "example.org", "", true},

    {"", NULL, NULL, "", false},
    {"joe@example.org", NULL, NULL, "", false},
    {"<", NULL, NULL, "", false},
    {"<joe@example.org", NULL, NULL, "", false},
    {"< joe@example.org>", NULL, NULL, "", false},
    {"<joe@example.org >", NULL, NULL, "", false},
    {"<joe @example.org>", NULL, NULL, "", false},
    {"<@example.org>", NULL, NULL, "", false},
    {"<@>", NULL, NULL, "", false},
    {"<joe@>", NULL, NULL, "", false},
    {"<joe@@example.org>", NULL, NULL, "", false},
    {"<.joe@example.org>", NULL, NULL, "", false},
    {"<joe.@example.org>", NULL, NULL, "", false},
    {"<jo..e@example.org>", NULL, NULL, "", false},
    {"<joe@.example.org>", NULL, NULL, "", false},
    {"<joe@example..org>", NULL, NULL, "", false},
    {"<joe@example.org.>", NULL, NULL, "", false},
    {"<joe@-example.org>", NULL, NULL, "", false},
    {"<joe@example-.org>", NULL, NULL, "", false},
    {"<joe@exa mple.org>", NULL, NULL, "", false},
    {"<joe@[]>", NULL, NULL, "", false},
    {"<joe@[192.0.2.256]>", NULL, NULL, "", false},
    {"<joe@[192.0.2.1>", NULL, NULL, "", false},
    {"<joe@[IPv6:1::2::3]>", NULL, NULL, "", false},
    {"<joe@[tag:]>", NULL, NULL, "", false},
    {"<joe@[:x]>", NULL, NULL, "", false},
    {"<joe@[a[b]>", NULL, NULL, "", false},
    {"<\"joe@example.org>", NULL, NULL, "", false},
    {"<\"joe\"x@example.org>", NULL, NULL, "", false},
    {"<jo\"e\"@example.org>", NULL, NULL, "", false},
    {"<\"joe\\", NULL, NULL, "", false},
    {"<\"a\tb\"@example.org>", NULL, NULL, "", false},
    {"<\"a\x7f\"@example.org>", NULL, NULL, "", false},
    {"<\"a\\\t\"@example.org>", NULL, NULL, "", false},
    {"<\"a\\\xc3\xb6\"@example.org>", NULL, NULL, "", false},
    {"<@a.example joe@example.org>", NULL, NULL, "", false},
    {"<@a.example,:joe@example.org>", NULL, NULL, "", false},
    {"<@a.example,b.example:joe@example.org>", NULL, NULL, "", false},
    {"<@a.example:>", NULL, NULL, "", false},
    {"<joe(comment)@example.org>", NULL, NULL, "", false},
    {"<<joe@example.org>>", NULL, NULL, "", false},
    {"<j\xf6@example.org>", NULL, NULL, "", false},
    {"<j\xc0\xaf@example.org>", NULL, NULL, "", false},
    {"<joe@ex\xc3>", NULL, NULL, "", false},
    {"<j\xc3@\xb6.org>", NULL, NULL, "", false},
};

static bool
same(const uint8_t *data, size_t len, const char *want)
{
	return shelf_span_eq(shelf_span(data, len), shelf_span_str(want));
}

START_TEST(path_vectors)
{
	struct shelf_span rest = shelf_span_str(rows[_i].in);
	struct shelf_buf printed = {0};
	struct lmtp_path path, again;
	bool ok = lmtp_path_parse(&rest, &path);

	ck_assert_msg(ok == (rows[_i].local != NULL), "%s", rows[_i].in);
	if (!ok) {
		ck_assert_ptr_eq(rest.data, rows[_i].in);
		return;
	}
	ck_assert(same(path.local, path.local_len, rows[_i].local));
	ck_assert_int_eq(path.has_domain, rows[_i].domain != NULL);
	ck_assert(same(path.domain, path.domain_len, rows[_i].domain));
	ck_assert(shelf_span_eq(rest, shelf_span_str(rows[_i].rest)));
	ck_assert_int_eq(path.utf8, rows[_i].utf8);
	lmtp_path_print(&path, &printed);
	ck_assert_uint_le(printed.len, LMTP_PATH_TEXT_MAX_BYTES);
	rest = shelf_buf_span(&printed);
	ck_assert(lmtp_path_parse(&rest, &again));
	ck_assert_uint_eq(rest.len, 0);
	ck_assert_mem_eq(&again, &path, sizeof(path));
	shelf_buf_free(&printed);
}
END_TEST

static bool
parses(const struct shelf_buf *text)
{
	struct shelf_span rest = shelf_buf_span(text);
	struct lmtp_path path;

	return lmtp_path_parse(&rest, &path);
}

/* The longest that is taken, and one byte more. */
START_TEST(path_limits)
{
	for (size_t extra = 0; extra < 2; extra++) {
		struct shelf_buf local = {0}, quoted = {0}, domain = {0};

		shelf_buf_add_str(&local, "<");
		shelf_buf_add_str(&quoted, "<\"");
		shelf_buf_add_str(&domain, "<a@");
		for (size_t i = 0; i < LMTP_LOCAL_MAX_BYTES + extra; i++) {
			shelf_buf_add_byte(&local, 'x');
			shelf_buf_add_str(&quoted, "\\\"");
		}
		for (size_t i = 0; i < LMTP_DOMAIN_MAX_BYTES + extra; i++)
			shelf_buf_add_byte(&domain, i % 2 == 0 ? 'x' : '.');
		if (domain.data[domain.len - 1] == '.')
			domain.data[domain.len - 1] = 'x';
		shelf_buf_add_str(&local, "@example.org>");
		shelf_buf_add_str(&quoted, "\"@example.org>");
		shelf_buf_add_str(&domain, ">");
		ck_assert_int_eq(parses(&local), extra == 0);
		ck_assert_int_eq(parses(&quoted), extra == 0);
		ck_assert_int_eq(parses(&domain), extra == 0);
		shelf_buf_free(&local);
		shelf_buf_free(&quoted);
		shelf_buf_free(&domain);
	}
}
END_TEST

/* Every byte in every place of a path: what parses prints, and parses again. */
START_TEST(path_mutations)
{
	static const char *const seeds[] = {
	    "<joe.doe@[IPv6:::1]>", "<\"j\\e\"@a.b>", "<@a,@b:j@c>"};

	for (size_t k = 0; k < sizeof(seeds) / sizeof(*seeds); k++) {
		for (size_t i = 0; i < strlen(seeds[k]); i++) {
			for (unsigned byte = 0; byte < 256; byte++) {
				struct shelf_buf text = {0}, printed = {0};
				struct shelf_span rest;
				struct lmtp_path path;

				shelf_buf_add_str(&text, seeds[k]);
				text.data[i] = (uint8_t)byte;
				rest = shelf_buf_span(&text);
				if (lmtp_path_parse(&rest, &path)) {
					lmtp_path_print(&path, &printed);
					ck_assert(parses(&printed));
				}
				shelf_buf_free(&text);
				shelf_buf_free(&printed);
			}
		}
	}
}
END_TEST

Suite *suite_lmtp_path(void);
Suite *
suite_lmtp_path(void)
{
	Suite *suite = suite_create("lmtp_path");
	TCase *tc = tcase_create("path");

	tcase_add_loop_test(tc, path_vectors, 0, (int)(sizeof(rows) / sizeof(*rows)));
	tcase_add_test(tc, path_limits);
	tcase_add_test(tc, path_mutations);
	suite_add_tcase(suite, tc);
	return suite;
}
