/*
 * test_search.c - searches over a store: random trees against a plain evaluator, slices, threads, expunged mail
 */
#include <check.h>
#include <glob.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/mailshelf.h>

#include "search.h"
#include "support.h"

Suite *suite_search(void);

enum { MESSAGES = 50, TREES = 400, DEPTH = 4, ZONE_MIN = 330 };

static const char *const words[] = {"alpha", "beta", "gamma", "delta", "ALPHABET", "x"};
enum { WORDS = sizeof words / sizeof *words };

struct model {
	const char *subject, *from, *body, *custom; /* custom NULL: no such field */
	uint32_t flags;
	bool keyword;
	int64_t day, sent_day;
	uint64_t size;
};

static char dir[200];
static struct shelf_store *store;
static uint32_t account, mailbox;
static struct shelf_view *view;
static struct model models[MESSAGES];
static uint32_t seed;

static uint32_t
random_below(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

static const char *
random_word(void)
{
	return words[random_below(WORDS)];
}

/* ---- The store -------------------------------------------------------------------------------- */

static void
append(struct shelf_span message, uint32_t flags, bool keyword, int64_t internaldate_s)
{
	struct shelf_span name = shelf_span_str("$Label");
	struct shelf_append item = {.flags = flags, .keywords = &name, .nkeywords = keyword,
	    .internaldate_s = internaldate_s, .zone_min = ZONE_MIN};
	struct shelf_append_result result;

	ck_assert_int_eq(shelf_draft_new(store, &item.draft), 0);
	ck_assert_int_eq(shelf_draft_write(item.draft, message.data, message.len), 0);
	ck_assert_int_eq(shelf_draft_finish(item.draft), 0);
	ck_assert_int_eq(shelf_append(store, account, mailbox, &item, 1, &result), 0);
	shelf_draft_free(&item.draft);
}

static void
add_body(struct shelf_buf *out, const char *word, uint32_t encoding)
{
	struct shelf_buf text = {0};

	shelf_buf_printf(&text, "begin %s end", word);
	if (encoding == 0) {
		shelf_buf_add_str(out, "\r\n");
		shelf_buf_add_span(out, shelf_buf_span(&text));
	} else if (encoding == 1) {
		shelf_buf_add_str(out, "Content-Transfer-Encoding: base64\r\n\r\n");
		shelf_base64_encode(out, shelf_buf_span(&text));
	} else {
		shelf_buf_add_str(out, "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
		shelf_buf_printf(out, "begin=20=\r\n=%02X%s end", word[0], word + 1);
	}
	shelf_buf_add_str(out, "\r\n");
	shelf_buf_free(&text);
}

static void
append_random(struct model *m)
{
	struct shelf_buf text = {0};
	int year;
	unsigned month, day;

	*m = (struct model){random_word(), random_word(), random_word(),
	    random_below(3) == 0 ? random_word() : NULL, random_below(32), random_below(2) == 0,
	    18000 + random_below(5), 18000 + random_below(5), 0};
	shelf_civil_from_days(m->sent_day, &year, &month, &day);
	shelf_buf_printf(&text, "From: %s <%s@example.org>\r\nSubject: re: %s\r\n", m->from, m->from,
	    m->subject);
	shelf_buf_printf(&text, "Date: %u %s %d 23:00:00 -0800\r\n", day, month == 4 ? "Apr" : "May",
	    year);
	if (m->custom != NULL)
		shelf_buf_printf(&text, "X-Custom: %s\r\n", m->custom);
	add_body(&text, m->body, random_below(3));
	m->size = text.len;
	append(shelf_buf_span(&text), m->flags, m->keyword,
	    m->day * 86400 + random_below(86400) - ZONE_MIN * 60);
	shelf_buf_free(&text);
}

static void
open_store(void)
{
	/* The thread sanitizer leaves no room for maps of a terabyte. */
	const struct shelf_store_params params = {.partitions = 2, .map_bytes = 1u << 30};
	struct shelf_account_new new = {.name = shelf_span_str("joe")};
	struct shelf_mailbox row;
	struct shelf_rd *rd;

	support_tmpdir(dir, sizeof dir);
	ck_assert_int_eq(shelf_store_create(dir, &params), 0);
	ck_assert_int_eq(shelf_store_open(dir, 0, &store), 0);
	ck_assert_int_eq(shelf_account_add(store, &new, 1, NULL, &account), 0);
	ck_assert_int_eq(shelf_rd_begin(store, account, &rd), 0);
	ck_assert_int_eq(shelf_mailbox_find(rd, shelf_span_str("INBOX"), &row), 0);
	mailbox = row.id;
	shelf_rd_end(&rd);
}

static void
open_view(void)
{
	struct shelf_rd *rd;

	ck_assert_int_eq(shelf_rd_begin(store, account, &rd), 0);
	ck_assert_int_eq(shelf_view_open(rd, mailbox, &view), 0);
	shelf_rd_end(&rd);
}

static void
setup(void)
{
	seed = 7;
	open_store();
	for (unsigned i = 0; i < MESSAGES; i++)
		append_random(&models[i]);
	open_view();
}

static void
teardown(void)
{
	shelf_view_close(&view);
	shelf_store_close(&store);
	support_rmtree(dir);
}

/* ---- Random trees, and what they mean ----------------------------------------------------------- */

static struct shelf_key *
random_key(struct shelf_arena *arena, unsigned depth)
{
	static const enum shelf_key_kind leaves[] = {SHELF_KEY_ALL, SHELF_KEY_FLAG, SHELF_KEY_KEYWORD,
	    SHELF_KEY_HEADER, SHELF_KEY_HEADER, SHELF_KEY_BODY, SHELF_KEY_TEXT, SHELF_KEY_LARGER,
	    SHELF_KEY_SMALLER, SHELF_KEY_BEFORE, SHELF_KEY_ON, SHELF_KEY_SINCE,
	    SHELF_KEY_SENTBEFORE, SHELF_KEY_SENTON, SHELF_KEY_SENTSINCE};
	static const char *const fields[] = {"Subject", "From", "X-Custom", "Nothing"};
	struct shelf_key *key = SHELF_ARENA_NEW(arena, struct shelf_key), **link = &key->child;

	if (depth > 0 && random_below(3) > 0) {
		uint32_t n = 1 + random_below(3);

		key->kind = SHELF_KEY_AND + random_below(3);
		if (key->kind == SHELF_KEY_NOT)
			n = 1;
		for (; n > 0; n--, link = &(*link)->next)
			*link = random_key(arena, depth - 1);
		return key;
	}
	key->kind = leaves[random_below(sizeof leaves / sizeof *leaves)];
	key->flag = 1u << random_below(5);
	key->name = shelf_span_str(fields[random_below(4)]);
	key->text = shelf_span_str(random_below(8) == 0 ? "" : random_word());
	key->number = 18000 + random_below(5);
	if (key->kind == SHELF_KEY_KEYWORD)
		key->text = shelf_span_str(random_below(2) == 0 ? "$label" : "$Other");
	if (key->kind == SHELF_KEY_LARGER || key->kind == SHELF_KEY_SMALLER)
		key->number = 100 + random_below(100);
	return key;
}

static bool
within(const char *text, struct shelf_span word)
{
	char pattern[40];

	snprintf(pattern, sizeof pattern, "%.*s", (int)word.len, (const char *)word.data);
	return text != NULL && strcasestr(text, pattern) != NULL;
}

static bool
header_wanted(const struct shelf_key *key, const struct model *m)
{
	if (shelf_span_is(key->name, "Subject"))
		return within(m->subject, key->text);
	if (shelf_span_is(key->name, "From"))
		return within(m->from, key->text);
	return shelf_span_is(key->name, "X-Custom") && within(m->custom, key->text);
}

static bool
text_wanted(const struct shelf_key *key, const struct model *m)
{
	/* "x" occurs in the names of fields and in the domain. */
	return shelf_span_is(key->text, "x") || within(m->subject, key->text) ||
	    within(m->from, key->text) || within(m->custom, key->text) ||
	    within(m->body, key->text);
}

static bool
leaf_wanted(const struct shelf_key *key, const struct model *m)
{
	int64_t number = (int64_t)key->number;

	switch (key->kind) {
	case SHELF_KEY_FLAG:
		return (m->flags & key->flag) != 0;
	case SHELF_KEY_KEYWORD:
		return m->keyword && shelf_span_is(key->text, "$label");
	case SHELF_KEY_HEADER:
		if (shelf_span_is(key->name, "From") && shelf_span_is(key->text, "x"))
			return true; /* example.org */
		return header_wanted(key, m);
	case SHELF_KEY_BODY:
		return within(m->body, key->text);
	case SHELF_KEY_TEXT:
		return text_wanted(key, m);
	case SHELF_KEY_LARGER:
		return m->size > key->number;
	case SHELF_KEY_SMALLER:
		return m->size < key->number;
	case SHELF_KEY_BEFORE:
		return m->day < number;
	case SHELF_KEY_ON:
		return m->day == number;
	case SHELF_KEY_SINCE:
		return m->day >= number;
	case SHELF_KEY_SENTBEFORE:
		return m->sent_day < number;
	case SHELF_KEY_SENTON:
		return m->sent_day == number;
	case SHELF_KEY_SENTSINCE:
		return m->sent_day >= number;
	default:
		return true;
	}
}

static bool
wanted(const struct shelf_key *key, const struct model *m)
{
	if (key->kind == SHELF_KEY_NOT)
		return !wanted(key->child, m);
	if (key->kind != SHELF_KEY_AND && key->kind != SHELF_KEY_OR)
		return leaf_wanted(key, m);
	for (const struct shelf_key *c = key->child; c != NULL; c = c->next) {
		if (wanted(c, m) == (key->kind == SHELF_KEY_OR))
			return key->kind == SHELF_KEY_OR;
	}
	return key->kind == SHELF_KEY_AND;
}

/* The result in TEXT; the number of slices. */
static unsigned
search(const struct shelf_key *key, unsigned budget_ms, struct shelf_buf *text)
{
	struct shelf_search *s;
	unsigned slices = 1;
	int rc;

	ck_assert_int_eq(shelf_search_new(store, account, view, key, &s), 0);
	ck_assert_uint_eq(shelf_search_progress(s).done, 0);
	while ((rc = shelf_search_run(s, budget_ms)) == 1) {
		slices++;
		ck_assert_uint_lt(shelf_search_progress(s).done, shelf_search_progress(s).total);
	}
	ck_assert_int_eq(rc, 0);
	ck_assert_uint_le(shelf_search_progress(s).total, shelf_view_count(view));
	ck_assert_uint_eq(shelf_search_progress(s).done, shelf_search_progress(s).total);
	ck_assert_int_eq(shelf_search_run(s, 1), 0);
	shelf_buf_clear(text);
	shelf_uidset_print(shelf_search_found(s), text);
	shelf_search_free(&s);
	ck_assert_ptr_null(s);
	return slices;
}

static void
must_equal(unsigned tree, struct shelf_buf *got, struct shelf_buf *want)
{
	ck_assert_msg(shelf_span_eq(shelf_buf_span(got), shelf_buf_span(want)), "tree %u: %s instead of %s", tree,
	    shelf_buf_cstr(got), shelf_buf_cstr(want));
}

START_TEST(equals_model)
{
	struct shelf_arena arena = {0};
	struct shelf_buf got = {0}, want = {0};

	for (unsigned tree = 0; tree < TREES; tree++) {
		struct shelf_key *key = random_key(&arena, DEPTH);
		struct shelf_uidset *set = shelf_uidset_new();

		for (unsigned i = 0; i < MESSAGES; i++) {
			if (wanted(key, &models[i]))
				shelf_uidset_add(set, i + 1);
		}
		shelf_buf_clear(&want);
		shelf_uidset_print(set, &want);
		shelf_uidset_free(&set);
		search(key, tree % 2 == 0 ? 0 : 1000, &got);
		must_equal(tree, &got, &want);
		shelf_arena_reset(&arena);
	}
	shelf_buf_free(&got);
	shelf_buf_free(&want);
	shelf_arena_free(&arena);
}
END_TEST

/* ---- Several threads ------------------------------------------------------------------------------- */

enum { THREADS = 4 };

static void *
search_on(void *arg)
{
	int rc;

	/* Without time each call is one step: messages are left half done, and another thread goes on with them. */
	while ((rc = shelf_search_run(arg, 0)) == 1)
		continue;
	return (void *)(intptr_t)rc;
}

/* THREADS search together. How it ended, TEXT: what was found. */
static int
search_together(const struct shelf_key *key, struct shelf_buf *text)
{
	pthread_t thread[THREADS];
	struct shelf_search *s;
	int rc;

	ck_assert_int_eq(shelf_search_new(store, account, view, key, &s), 0);
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, search_on, s), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		void *end;

		ck_assert_int_eq(pthread_join(thread[i], &end), 0);
	}
	/* One that found nothing left may have gone before another left something. */
	while ((rc = shelf_search_run(s, 0)) == 1)
		continue;
	ck_assert_int_eq(shelf_search_state(s), rc);
	ck_assert_uint_eq(shelf_search_progress(s).done, shelf_search_progress(s).total);
	shelf_buf_clear(text);
	shelf_uidset_print(shelf_search_found(s), text);
	shelf_search_free(&s);
	return rc;
}

START_TEST(threads_equal_one)
{
	struct shelf_arena arena = {0};
	struct shelf_buf got = {0}, want = {0};

	for (unsigned i = 0; i < 10 * MESSAGES; i++)
		append_random(&models[i % MESSAGES]);
	shelf_view_close(&view);
	open_view();
	for (unsigned tree = 0; tree < TREES / 8; tree++) {
		struct shelf_key *key = random_key(&arena, DEPTH);

		search(key, 1000, &want);
		ck_assert_int_eq(search_together(key, &got), 0);
		must_equal(tree, &got, &want);
		shelf_arena_reset(&arena);
	}
	shelf_buf_free(&got);
	shelf_buf_free(&want);
	shelf_arena_free(&arena);
}
END_TEST

static bool
reads_bodies(const struct shelf_key *key)
{
	struct shelf_search *s;
	bool reads;

	ck_assert_int_eq(shelf_search_new(store, account, view, key, &s), 0);
	reads = shelf_search_reads_bodies(s);
	shelf_search_free(&s);
	return reads;
}

START_TEST(who_reads_bodies)
{
	static const struct {
		const char *name, *text;
		bool reads;
	} headers[] = {{"Subject", "a, b", false}, {"From", "joe", false}, {"From", "", false},
	    {"From", "Doe, Joe", true}, {"X-Custom", "", true}, {"Date", "Mon", true}};
	struct shelf_key body = {.kind = SHELF_KEY_BODY, .text = shelf_span_str("a")};
	struct shelf_key flag = {.kind = SHELF_KEY_FLAG, .flag = SHELF_SEEN, .next = &body};
	struct shelf_key both = {.kind = SHELF_KEY_OR, .child = &flag};

	ck_assert(reads_bodies(&body));
	ck_assert(!reads_bodies(&flag));
	ck_assert(reads_bodies(&both));
	body.text = shelf_span(NULL, 0); /* everybody has that */
	ck_assert(!reads_bodies(&both));
	for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
		struct shelf_key key = {.kind = SHELF_KEY_HEADER, .name = shelf_span_str(headers[i].name),
		    .text = shelf_span_str(headers[i].text)};

		ck_assert_msg(reads_bodies(&key) == headers[i].reads, "%s %s", headers[i].name, headers[i].text);
	}
}
END_TEST

/* ---- Single cases ------------------------------------------------------------------------------------ */

/* The match lies across two pieces of a body of several frames, and the search stops in between. */
START_TEST(large_body)
{
	struct shelf_key key = {.kind = SHELF_KEY_BODY, .text = shelf_span_str("NEEDLE in")};
	struct shelf_buf text = {0}, got = {0};

	shelf_buf_add_str(&text, "Subject: large\r\n\r\n");
	while (text.len < 32768 * 20 - 3)
		shelf_buf_add_byte(&text, text.len % 70 == 0 ? '\n' : 'n');
	shelf_buf_add_str(&text, "needle in a haystack\r\n");
	append(shelf_buf_span(&text), 0, false, 0);
	shelf_view_close(&view);
	open_view();
	ck_assert_uint_gt(search(&key, 0, &got), 20);
	ck_assert_str_eq(shelf_buf_cstr(&got), "51");
	shelf_buf_free(&text);
	shelf_buf_free(&got);
}
END_TEST

/* In the view, but expunged by another session: judged as long as it is held. */
START_TEST(expunged)
{
	struct shelf_uidset *uids = shelf_uidset_new();
	struct shelf_key all = {.kind = SHELF_KEY_ALL};
	struct shelf_key larger = {.kind = SHELF_KEY_LARGER};
	struct shelf_key body = {.kind = SHELF_KEY_BODY, .text = shelf_span_str("begin")};
	struct shelf_buf got = {0};

	shelf_uidset_add_range(uids, 1, 2);
	shelf_uidset_add_range(uids, 49, 50);
	ck_assert_int_eq(shelf_msg_expunge(store, account, mailbox, uids, 0, NULL), 0);
	search(&all, 10, &got);
	ck_assert_str_eq(shelf_buf_cstr(&got), "1:50");
	search(&larger, 0, &got);
	ck_assert_str_eq(shelf_buf_cstr(&got), "1:50");
	search(&body, 0, &got);
	ck_assert_str_eq(shelf_buf_cstr(&got), "1:50");
	shelf_uidset_free(&uids);
	shelf_buf_free(&got);
}
END_TEST

START_TEST(uids_and_modseq)
{
	struct shelf_uidset *uids = shelf_uidset_new();
	struct shelf_key modseq = {.kind = SHELF_KEY_MODSEQ};
	struct shelf_key key = {.kind = SHELF_KEY_UIDS, .uids = uids, .next = &modseq};
	struct shelf_key both = {.kind = SHELF_KEY_AND, .child = &key};
	struct shelf_flag_change change = {.op = SHELF_FLAGS_REPLACE, .flags = SHELF_DRAFT,
	    .unchanged_since = UINT64_MAX};
	struct shelf_buf got = {0};
	struct shelf_search *s;

	shelf_uidset_add(uids, 7);
	ck_assert_int_eq(shelf_msg_set_flags(store, account, mailbox, uids, &change, NULL, NULL), 0);
	change.flags = SHELF_SEEN;
	ck_assert_int_eq(shelf_msg_set_flags(store, account, mailbox, uids, &change, NULL,
	    &modseq.number), 0);
	shelf_uidset_add_range(uids, 5, 9);
	search(&both, 0, &got);
	ck_assert_str_eq(shelf_buf_cstr(&got), "7");
	ck_assert_int_eq(shelf_search_new(store, account, view, &both, &s), 0);
	ck_assert_int_eq(shelf_search_run(s, 1000), 0);
	ck_assert_uint_eq(shelf_search_max_modseq(s), modseq.number);
	shelf_search_free(&s);
	shelf_uidset_free(&uids);
	shelf_buf_free(&got);
}
END_TEST

/* Flips a bit of the first place in the store's files that holds MARKER. */
static bool
damage(struct shelf_span marker)
{
	char pattern[sizeof dir + 20];
	struct shelf_buf file = {0};
	bool done = false;
	glob_t files;

	snprintf(pattern, sizeof pattern, "%s/kv/*/data.mdb", dir);
	ck_assert_int_eq(glob(pattern, 0, NULL, &files), 0);
	for (size_t i = 0; i < files.gl_pathc && !done; i++) {
		uint8_t *at;

		shelf_buf_clear(&file);
		support_read_file(files.gl_pathv[i], &file);
		at = memmem(file.data, file.len, marker.data, marker.len);
		if (at != NULL) {
			FILE *f = fopen(files.gl_pathv[i], "r+b");

			ck_assert_ptr_nonnull(f);
			ck_assert_int_eq(fseek(f, (long)(at - file.data), SEEK_SET), 0);
			ck_assert_int_eq(fputc(*at ^ 1, f), *at ^ 1);
			ck_assert_int_eq(fclose(f), 0);
			done = true;
		}
	}
	globfree(&files);
	shelf_buf_free(&file);
	return done;
}

/* One message that cannot be read keeps nobody from finding the others. */
START_TEST(damaged)
{
	struct shelf_key body = {.kind = SHELF_KEY_BODY, .text = shelf_span_str("begin")};
	struct shelf_key flag = {.kind = SHELF_KEY_FLAG, .flag = SHELF_DELETED};
	struct shelf_buf text = {0}, got = {0}, whole = {0};
	struct shelf_search *s;
	uint8_t noise[4096];

	search(&body, 10, &whole);
	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (uint8_t)random_below(256); /* so that it is stored as it is */
	shelf_buf_add_str(&text, "Subject: noise\r\n\r\nbegin\r\n");
	shelf_buf_add(&text, noise, sizeof noise);
	append(shelf_buf_span(&text), SHELF_DELETED, false, 0);
	shelf_view_close(&view);
	shelf_store_close(&store);
	ck_assert(damage(shelf_span(noise + 1000, 64)));
	ck_assert_int_eq(shelf_store_open(dir, 0, &store), 0);
	open_view();
	ck_assert_int_eq(shelf_search_new(store, account, view, &body, &s), 0);
	ck_assert_int_eq(shelf_search_run(s, 60000), SHELF_ECORRUPT);
	ck_assert_int_eq(shelf_search_run(s, 60000), SHELF_ECORRUPT);
	shelf_uidset_print(shelf_search_found(s), &got);
	ck_assert_str_eq(shelf_buf_cstr(&got), shelf_buf_cstr(&whole));
	shelf_search_free(&s);
	ck_assert_int_eq(search_together(&body, &got), SHELF_ECORRUPT);
	ck_assert_str_eq(shelf_buf_cstr(&got), shelf_buf_cstr(&whole));
	/* Nothing of the bytes is needed here. */
	ck_assert_int_eq(shelf_search_new(store, account, view, &flag, &s), 0);
	ck_assert_int_eq(shelf_search_run(s, 60000), 0);
	ck_assert(shelf_uidset_has(shelf_search_found(s), MESSAGES + 1));
	shelf_search_free(&s);
	shelf_buf_free(&text);
	shelf_buf_free(&got);
	shelf_buf_free(&whole);
}
END_TEST

/* Trees no door builds are refused, not followed. */
START_TEST(bad_trees)
{
	struct shelf_arena arena = {0};
	struct shelf_key no_child = {.kind = SHELF_KEY_NOT}, no_set = {.kind = SHELF_KEY_UIDS};
	struct shelf_key no_name = {.kind = SHELF_KEY_HEADER};
	struct shelf_key *deep = &no_child;
	const struct shelf_key *bad[] = {&no_child, &no_set, &no_name, NULL};
	struct shelf_search *s;

	for (unsigned i = 0; i < 100000; i++) {
		struct shelf_key *above = SHELF_ARENA_NEW(&arena, struct shelf_key);

		above->kind = SHELF_KEY_NOT;
		above->child = deep;
		deep = above;
	}
	bad[3] = deep;
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(shelf_search_new(store, account, view, bad[i], &s), SHELF_EINVALID);
	shelf_arena_free(&arena);
}
END_TEST

Suite *
suite_search(void)
{
	Suite *suite = suite_create("search");
	TCase *tc = tcase_create("all");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, equals_model);
	tcase_add_test(tc, large_body);
	tcase_add_test(tc, threads_equal_one);
	tcase_add_test(tc, who_reads_bodies);
	tcase_add_test(tc, expunged);
	tcase_add_test(tc, uids_and_modseq);
	tcase_add_test(tc, damaged);
	tcase_add_test(tc, bad_trees);
	suite_add_tcase(suite, tc);
	return suite;
}
