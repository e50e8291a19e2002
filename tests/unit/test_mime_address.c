/* test_mime_address.c - address lists as ENVELOPE prints them, and their repairs */
#include <check.h>
#include <time.h>

#include <mailshelf/mime.h>

static void
add_part(struct shelf_buf *out, struct shelf_span s, char after)
{
	if (s.data == NULL)
		shelf_buf_add_str(out, "NIL");
	else
		shelf_buf_printf(out, "\"%.*s\"", (int)s.len, (const char *)s.data);
	shelf_buf_add_byte(out, (uint8_t)after);
}

static void
print(struct shelf_buf *out, const struct mime_address *a)
{
	for (; a != NULL; a = a->next) {
		shelf_buf_add_byte(out, '(');
		add_part(out, a->name, ' ');
		add_part(out, a->adl, ' ');
		add_part(out, a->mailbox, ' ');
		add_part(out, a->host, ')');
	}
}

#define JOE "(NIL NIL \"joe\" \"a\")"

static const struct {
	const char *in, *want;
} rows[] = {
	{"", ""}, {" \r\n ", ""}, {",,;,", ""}, {"(comment)", ""}, {"(", ""}, {"(\\", ""},
	{"joe@a", JOE},
	{"<joe@a>", JOE},
	{" <joe@a> ,", JOE},
	{"Joe Doe <joe@a>", "(\"Joe Doe\" NIL \"joe\" \"a\")"},
	{"\"Doe, \\\"Joe\\\"\" <joe@a>", "(\"Doe, \"Joe\"\" NIL \"joe\" \"a\")"},
	{"Joe Q. Public <joe@a>", "(\"Joe Q. Public\" NIL \"joe\" \"a\")"},
	{"Joe\r\n  Doe <joe@a>", "(\"Joe Doe\" NIL \"joe\" \"a\")"},
	{"\"\" <joe@a>", "(\"\" NIL \"joe\" \"a\")"},
	{"=?utf-8?q?J=C3=B6?= <joe@a>", "(\"=?utf-8?q?J=C3=B6?=\" NIL \"joe\" \"a\")"},
	{"J\xc3\xb6 <j\xc3\xb6@\xc3\xa4>", "(\"J\xc3\xb6\" NIL \"j\xc3\xb6\" \"\xc3\xa4\")"},
	/* A comment behind the address is the name when there is no other. */
	{"joe@a (Joe Doe)", "(\"Joe Doe\" NIL \"joe\" \"a\")"},
	{"<joe@a> ( Joe (the) \\) Doe )", "(\"Joe (the) ) Doe\" NIL \"joe\" \"a\")"},
	{"Joe (x) <joe@a> (y)", "(\"Joe\" NIL \"joe\" \"a\")"},
	{"joe (Joe)", "(\"Joe\" NIL \"joe\" \"\")"},
	{"joe(x)@a(Joe)", "(\"Joe\" NIL \"joe\" \"a\")"},
	/* RFC 5322 A.5, A.6.3, A.1.3 */
	{"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
	    "(\"Pete\" NIL \"pete\" \"silly.test\")"},
	{"A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n"
	 "         joe@example.org,\r\n  John <jdoe@one.test> (my dear friend); (the end of the group)",
	    "(NIL NIL \"A Group\" NIL)(\"Chris Jones\" NIL \"c\" \"public.example\")"
	    "(NIL NIL \"joe\" \"example.org\")(\"John\" NIL \"jdoe\" \"one.test\")(NIL NIL NIL NIL)"},
	{"(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;",
	    "(NIL NIL \"Hidden recipients\" NIL)(NIL NIL NIL NIL)"},
	{"Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
	    "(\"Mary Smith\" \"@node.test\" \"mary\" \"example.net\")(NIL NIL \"jdoe\" \"test.example\")"},
	{"<@a, @b:joe@c>", "(NIL \"@a,@b\" \"joe\" \"c\")"},
	{"undisclosed-recipients:;", "(NIL NIL \"undisclosed-recipients\" NIL)(NIL NIL NIL NIL)"},
	{"g: joe@a; joe@a", "(NIL NIL \"g\" NIL)" JOE "(NIL NIL NIL NIL)" JOE},
	/* A group that does not end, one inside another. */
	{"g: joe@a", "(NIL NIL \"g\" NIL)" JOE "(NIL NIL NIL NIL)"},
	{"g:", "(NIL NIL \"g\" NIL)(NIL NIL NIL NIL)"},
	{"g: h: joe@a;;", "(NIL NIL \"g\" NIL)(\"h\" NIL \"joe\" \"a\")(NIL NIL NIL NIL)"},
	/* Local parts and domains. */
	{"\"joe doe\"@a", "(NIL NIL \"joe doe\" \"a\")"},
	{"joe . doe @ a . b", "(NIL NIL \"joe.doe\" \"a.b\")"},
	{"joe@[IPv6:::1]", "(NIL NIL \"joe\" \"[IPv6:::1]\")"},
	{"<joe@[1.2.3.4]>", "(NIL NIL \"joe\" \"[1.2.3.4]\")"},
	{"joe@[1.2", "(NIL NIL \"joe\" \"[1.2\")"},
	/* Mistakes. */
	{"joe", "(NIL NIL \"joe\" \"\")"},
	{"Joe Doe", "(NIL NIL \"Joe Doe\" \"\")"},
	{"<joe>", "(NIL NIL \"joe\" \"\")"},
	{"Joe <>", "(\"Joe\" NIL \"\" \"\")"},
	{"joe@", "(NIL NIL \"joe\" \"\")"},
	{"@a", "(NIL NIL \"\" \"a\")"},
	{"<@a>", "(NIL NIL \"\" \"a\")"},
	{"a@b@c", "(NIL NIL \"a@b\" \"c\")"},
	{"<a@b@c>", "(NIL NIL \"a@b\" \"c\")"},
	{"joe@x.y <joe@a>", "(\"joe@x.y\" NIL \"joe\" \"a\")"},
	{"Joe Doe joe@a", "(\"Joe Doe\" NIL \"joe\" \"a\")"},
	{"joe@a, Joe <joe@a", JOE "(\"Joe\" NIL \"joe\" \"a\")"},
	{"Joe <joe@a, joe@a", "(\"Joe\" NIL \"joe\" \"a\")" JOE},
	{"joe@a joe@a", JOE JOE},
	{"<joe@a> Joe <joe@a>", JOE "(\"Joe\" NIL \"joe\" \"a\")"},
	{"<joe@a> <joe@a>", JOE JOE},
	{"joe@a Joe Doe", JOE},
	{"b@c d <joe@a> e <joe@a>", "(\"b@c d\" NIL \"joe\" \"a\")(\"e\" NIL \"joe\" \"a\")"},
	{"\"joe@a", "(NIL NIL \"joe@a\" \"\")"},
	{"Joe [x, y] <joe@a>", "(NIL NIL \"Joe [x\" \"\")(\"y]\" NIL \"joe\" \"a\")"},
	{"<mailto:joe@a>", "(NIL NIL \"mailto:joe\" \"a\")"},
	{"joe@a;joe@a", JOE JOE},
	{">joe@a", JOE},
};

START_TEST(address_rows)
{
	struct shelf_arena arena = {0};
	struct shelf_buf out = {0};

	print(&out, mime_addresses(shelf_span_str(rows[_i].in), &arena));
	ck_assert_str_eq(shelf_buf_cstr(&out), rows[_i].want);
	shelf_buf_free(&out);
	shelf_arena_free(&arena);
}
END_TEST

START_TEST(address_nul)
{
	struct shelf_arena arena = {0};
	struct mime_address *a = mime_addresses(shelf_span("a\0b@c\0", 6), &arena);

	ck_assert(shelf_span_is(a->mailbox, "a\x80" "b") && shelf_span_is(a->host, "c\x80"));
	shelf_arena_free(&arena);
}
END_TEST

static const char *const bombs[] = {
	"a,", "(", "\"", "[", "<", "@", ":", ";", "a@b ", "<a> ", "a:b;", "(a)", "\\", "a .", "<@a,", "a:b,",
};

/* Any repetition ends soon, within the limit, with groups closed. */
START_TEST(address_bombs)
{
	struct shelf_arena arena = {0};
	struct shelf_buf b = {0};
	const struct mime_address *a, *last = NULL;
	clock_t start = clock();
	unsigned count = 0, open = 0;

	while (b.len < 1 << 20)
		shelf_buf_add_str(&b, bombs[_i]);
	for (a = mime_addresses(shelf_buf_span(&b), &arena); a != NULL; a = a->next) {
		if (a->host.data == NULL) {
			ck_assert_uint_eq(open, a->mailbox.data == NULL);
			open = !open;
		}
		last = a;
		count++;
	}
	ck_assert_uint_eq(open, 0);
	ck_assert_uint_le(count, MIME_ADDRESSES_MAX);
	ck_assert(count == 0 || last != NULL);
	ck_assert_int_lt((clock() - start) / CLOCKS_PER_SEC, 10);
	shelf_buf_free(&b);
	shelf_arena_free(&arena);
}
END_TEST

/* A group that would begin in the last place has no room for its end. */
START_TEST(address_group_at_limit)
{
	struct shelf_arena arena = {0};
	struct shelf_buf b = {0};
	const struct mime_address *a, *last = NULL;
	unsigned count = 0;

	for (int i = 0; i < MIME_ADDRESSES_MAX - 1 - _i; i++)
		shelf_buf_add_str(&b, "a,");
	shelf_buf_add_str(&b, "g:x;");
	for (a = mime_addresses(shelf_buf_span(&b), &arena); a != NULL; a = a->next, count++)
		last = a;
	ck_assert_uint_eq(count, _i == 0 ? MIME_ADDRESSES_MAX - 1 : MIME_ADDRESSES_MAX);
	ck_assert((last->mailbox.data == NULL) == (_i > 0));
	shelf_buf_free(&b);
	shelf_arena_free(&arena);
}
END_TEST

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

Suite *suite_mime_address(void);
Suite *
suite_mime_address(void)
{
	Suite *s = suite_create("mime_address");
	TCase *tc = tcase_create("address");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, address_rows, 0, COUNT(rows));
	tcase_add_test(tc, address_nul);
	tcase_add_loop_test(tc, address_group_at_limit, 0, 3);
	tcase_add_loop_test(tc, address_bombs, 0, COUNT(bombs));
	suite_add_tcase(s, tc);
	return s;
}
