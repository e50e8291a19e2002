/*
 * test_thread.c - threads of random mailboxes against the model, and single cases
 */
#include <check.h>
#include <stdio.h>

#include "mail_rig.h"
#include "thread_model.h"

Suite *suite_thread(void);

enum { MESSAGES_MAX = 60, TEXT = 40 };

static struct rig rig;
static struct thread_model_message models[MESSAGES_MAX];
static char id_text[MESSAGES_MAX * 2][TEXT];

static void
setup(void)
{
	rig_open(&rig, NULL);
}

static void
teardown(void)
{
	rig_close(&rig);
}

/* As a THREAD response, without blanks where the model has none. */
static void
print(const struct shelf_thread *t, uint32_t node, struct shelf_buf *out)
{
	uint32_t child = shelf_thread_child(t, node);

	if (shelf_thread_uid(t, node) != 0)
		shelf_buf_printf(out, "%u", shelf_thread_uid(t, node));
	if (child != 0)
		ck_assert_uint_eq(shelf_thread_parent(t, child), node);
	if (child != 0 && shelf_thread_next(t, child) == 0) {
		shelf_buf_add_byte(out, ' ');
		print(t, child, out);
		return;
	}
	if (child != 0 && shelf_thread_uid(t, node) != 0)
		shelf_buf_add_byte(out, ' ');
	for (; child != 0; child = shelf_thread_next(t, child)) {
		shelf_buf_add_byte(out, '(');
		print(t, child, out);
		shelf_buf_add_byte(out, ')');
	}
}

static void
thread(enum shelf_thread_algorithm algorithm, const struct shelf_uidset *uids, unsigned budget_ms,
    struct shelf_buf *out)
{
	struct shelf_thread *t;
	int rc;

	shelf_buf_clear(out);
	ck_assert_int_eq(shelf_thread_new(rig.store, rig.joe, rig.inbox, uids, algorithm, &t), 0);
	while ((rc = shelf_thread_run(t, budget_ms)) == 1)
		continue;
	ck_assert_int_eq(rc, 0);
	ck_assert_int_eq(shelf_thread_run(t, budget_ms), 0);
	ck_assert_uint_eq(shelf_thread_progress(t).done, shelf_uidset_count(uids));
	for (uint32_t node = shelf_thread_first(t); node != 0; node = shelf_thread_next(t, node)) {
		ck_assert_uint_eq(shelf_thread_parent(t, node), 0);
		shelf_buf_add_byte(out, '(');
		print(t, node, out);
		shelf_buf_add_byte(out, ')');
	}
	shelf_thread_free(&t);
}

/* ---- Random mailboxes ----------------------------------------------------------------------------------- */

static void
random_references(struct thread_model_message *m, uint32_t *seed, uint32_t names, struct shelf_buf *text)
{
	uint32_t n = mail_random(seed, 4) == 0 ? 0 : 1 + mail_random(seed, THREAD_MODEL_REFS - 1);

	for (uint32_t i = 0; i < n; i++)
		m->ref[i] = id_text[mail_random(seed, names)];
	if (n == 1 && mail_random(seed, 2) == 0) {
		shelf_buf_printf(text, "References: nothing valid\r\nIn-Reply-To: yours, <%s> and <x@y>\r\n",
		    m->ref[0]);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		shelf_buf_printf(text, "%s<%s>", i == 0 ? "References: " : "\r\n ", m->ref[i]);
	shelf_buf_add_str(text, n > 0 ? "\r\n" : "");
}

static void
random_message(struct thread_model_message *m, uint32_t *seed, uint32_t names)
{
	static const char *const bases[] = {"", "APPLE", "PEAR", "PLUM"};
	static const char *const before[] = {"", "Re: ", "[list] ", "", "[fwd: "};
	static const char *const behind[] = {"", "", "", " (fwd)", "]"};
	uint32_t form = mail_random(seed, 5), hour = mail_random(seed, 6);
	struct shelf_buf text = {0};
	char subject[TEXT];

	*m = (struct thread_model_message){.base = bases[mail_random(seed, 4)],
	    .reply = form != 0 && form != 2};
	if (*m->base == '\0' && form == 2)
		form = 0; /* a blob alone is no blob */
	if (mail_random(seed, 8) > 0)
		m->id = id_text[mail_random(seed, names)];
	if (m->id != NULL)
		shelf_buf_printf(&text, "Message-ID: <%s>\r\n", m->id);
	random_references(m, seed, names, &text);
	snprintf(subject, sizeof subject, "%s%s%s", before[form], m->base, behind[form]);
	shelf_buf_printf(&text, "Subject: %s\r\nDate: 1 Sep 2001 %02u:00:00 +0000\r\n\r\nx\r\n", subject,
	    hour);
	m->sent_s = 999302400 + hour * 3600;
	m->uid = mail_append(&rig, shelf_buf_cstr(&text), 0);
	shelf_buf_free(&text);
}

/* Few names make many duplicates, loops and absent ones. */
START_TEST(equals_model)
{
	uint32_t seed = mail_seed((uint32_t)_i * 77 + 1), n, names, first = 1;
	struct shelf_buf got = {0}, want = {0};

	for (unsigned i = 0; i < MESSAGES_MAX * 2; i++)
		snprintf(id_text[i], TEXT, "id%u@example.org", i);
	for (unsigned round = 0; round < 12; round++) {
		struct shelf_uidset *uids;

		n = 1 + mail_random(&seed, MESSAGES_MAX);
		names = 1 + mail_random(&seed, n + n / 2 + 1);
		for (uint32_t i = 0; i < n; i++)
			random_message(&models[i], &seed, names);
		uids = rig_set(first, models[n - 1].uid);
		first = models[n - 1].uid + 1;
		for (int algorithm = 0; algorithm < 2; algorithm++) {
			shelf_buf_clear(&want);
			if (algorithm == SHELF_THREAD_REFERENCES)
				thread_model_references(models, n, &want);
			else
				thread_model_subject(models, n, &want);
			thread((enum shelf_thread_algorithm)algorithm, uids, round % 3 == 0 ? 0 : 100, &got);
			ck_assert_msg(shelf_span_eq(shelf_buf_span(&got), shelf_buf_span(&want)),
			    "seed %d, round %u, algorithm %d:\n%s\nshould be\n%s", _i * 77 + 1, round,
			    algorithm, shelf_buf_cstr(&got), shelf_buf_cstr(&want));
		}
		shelf_uidset_free(&uids);
	}
	shelf_buf_free(&got);
	shelf_buf_free(&want);
}
END_TEST

/* ---- Single cases ---------------------------------------------------------------------------------------- */

START_TEST(nothing)
{
	struct shelf_uidset *none = shelf_uidset_new();
	struct shelf_buf got = {0};

	thread(SHELF_THREAD_REFERENCES, none, 0, &got);
	ck_assert_uint_eq(got.len, 0);
	thread(SHELF_THREAD_ORDEREDSUBJECT, none, 0, &got);
	ck_assert_uint_eq(got.len, 0);
	shelf_uidset_free(&none);
	shelf_buf_free(&got);
}
END_TEST

/* A chain in which each message answers the one before, and one that comes in the other direction. */
START_TEST(chains)
{
	enum { LENGTH = 300 };
	struct shelf_uidset *uids = rig_set(1, LENGTH);
	struct shelf_buf got = {0}, want = {0};
	char text[300];

	for (int i = 0; i < LENGTH; i++) {
		int at = _i == 0 ? i : LENGTH - 1 - i;

		snprintf(text, sizeof text, "Message-ID: <%d@x>\r\nIn-Reply-To: <%d@x>\r\nSubject: %d\r\n"
		    "\r\n", at, at - 1, at);
		mail_append(&rig, text, 0);
	}
	for (int i = 0; i < LENGTH; i++)
		shelf_buf_printf(&want, "%s%d", i == 0 ? "(" : " ", _i == 0 ? i + 1 : LENGTH - i);
	shelf_buf_add_byte(&want, ')');
	thread(SHELF_THREAD_REFERENCES, uids, 100, &got);
	ck_assert_str_eq(shelf_buf_cstr(&got), shelf_buf_cstr(&want));
	shelf_uidset_free(&uids);
	shelf_buf_free(&got);
	shelf_buf_free(&want);
}
END_TEST

/* More references than count, more absent ones than are noted: an answer, and soon. */
START_TEST(many_references)
{
	struct shelf_buf text = {0}, got = {0};
	struct shelf_uidset *uids = rig_set(1, 41);

	for (unsigned m = 0; m < 40; m++) {
		shelf_buf_clear(&text);
		shelf_buf_printf(&text, "Message-ID: <m%u@x>\r\nReferences: <m%u@x>", m, m - 1);
		for (unsigned i = 0; i < 2000; i++)
			shelf_buf_printf(&text, "\r\n <%u.%u@x>", m, i);
		shelf_buf_add_str(&text, "\r\n\r\n");
		mail_append(&rig, shelf_buf_cstr(&text), 0);
	}
	mail_append(&rig, "References: <m0@x>\r\n\r\n", 0);
	thread(SHELF_THREAD_REFERENCES, uids, 100, &got);
	ck_assert_ptr_nonnull(strstr(shelf_buf_cstr(&got), "(1 41)"));
	ck_assert_ptr_nonnull(strstr(shelf_buf_cstr(&got), "(40)"));
	shelf_uidset_free(&uids);
	shelf_buf_free(&text);
	shelf_buf_free(&got);
}
END_TEST

Suite *
suite_thread(void)
{
	Suite *suite = suite_create("thread");
	TCase *tc = tcase_create("all");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, equals_model, 0, 10);
	tcase_add_test(tc, nothing);
	tcase_add_loop_test(tc, chains, 0, 2);
	tcase_add_test(tc, many_references);
	suite_add_tcase(suite, tc);
	return suite;
}
