/*
 * test_model.c - random operations on a store and on a model of it, compared after each few; views that
 * watch mailboxes must report changes that turn their old numbering into the new one
 *
 * A failure prints the seed and the operations of the run; MAILSHELF_SEED plays one seed alone.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/mailshelf.h>

#include "model.h"
#include "support.h"

enum { SEEDS = 8, OPS = 350, WATCHERS = 3, COMPARE_EVERY = 10, LOG_OPS = 12 };

/* What a client would keep of a mailbox. */
struct watcher {
	struct shelf_view *view;
	uint32_t box;
	uint32_t *uid;   /* by message number - 1 */
	uint32_t *state; /* flags and keywords as last told, beside uid */
	uint32_t count;
};

struct world {
	char dir[4200];
	struct shelf_store *store;
	uint32_t account;
	struct model *model;
	struct watcher watcher[WATCHERS];
	struct shelf_buf log[LOG_OPS];
	uint64_t seed;
};

static void
open_store(struct world *w, const struct shelf_account_new *account)
{
	const struct shelf_store_params params = {.partitions = 2, .map_bytes = 1u << 30};
	char path[4300];

	support_tmpdir(w->dir, sizeof w->dir);
	snprintf(path, sizeof path, "%s/store", w->dir);
	ck_assert_int_eq(shelf_store_create(path, &params), 0);
	ck_assert_int_eq(shelf_store_open(path, 0, &w->store), 0);
	ck_assert_int_eq(shelf_account_add(w->store, account, 1, NULL, &w->account), 0);
}

static void
finding(void *arg, unsigned invariant, uint32_t account, const char *text)
{
	printf("invariant %u, account %u: %s\n", invariant, account, text);
	++*(unsigned *)arg;
}

static void
show_log(struct world *w)
{
	printf("seed %llu, operation %llu; the last ones:\n", (unsigned long long)w->seed,
	    (unsigned long long)w->model->ops);
	for (unsigned i = 0; i < LOG_OPS; i++)
		printf("  %s\n", shelf_buf_cstr(&w->log[(w->model->ops + i + 1) % LOG_OPS]));
}

#define HOLDS(w, cond)                                    \
	do {                                              \
		if (!(cond)) {                            \
			show_log(w);                      \
			ck_abort_msg("not so: %s", #cond); \
		}                                         \
	} while (0)

static void
compare(struct world *w, bool bodies)
{
	struct shelf_buf why = {0};

	if (model_compare(w->model, w->store, w->account, bodies, &why))
		return;
	show_log(w);
	ck_abort_msg("%s", shelf_buf_cstr(&why));
}

/* ---- Watchers ---------------------------------------------------------------------------------- */

static void
watcher_close(struct watcher *v)
{
	shelf_view_close(&v->view);
	free(v->uid);
	free(v->state);
	*v = (struct watcher){0};
}

static struct model_box *
box_of(struct world *w, struct shelf_rd *rd, uint32_t id)
{
	struct shelf_mailbox row;
	char name[MODEL_NAME_MAX] = "";

	HOLDS(w, shelf_mailbox_get(rd, id, &row) == 0);
	memcpy(name, row.name.data, row.name.len);
	return model_find(w->model, name);
}

static const struct model_msg *
msg_of(const struct model_box *box, uint32_t uid)
{
	for (size_t i = 0; i < box->count; i++)
		if (box->msg[i].uid == uid)
			return &box->msg[i];
	return NULL;
}

static uint32_t
state_of(const struct model_msg *msg)
{
	return msg->flags | msg->keywords << 8;
}

static void
add_new(struct world *w, struct watcher *v, const struct model_box *box, uint32_t count)
{
	v->uid = shelf_realloc(v->uid, (count + 1) * sizeof *v->uid);
	v->state = shelf_realloc(v->state, (count + 1) * sizeof *v->state);
	for (; v->count < count; v->count++) {
		const struct model_msg *msg;

		v->uid[v->count] = shelf_view_uid(v->view, v->count + 1);
		msg = msg_of(box, v->uid[v->count]);
		HOLDS(w, msg != NULL);
		v->state[v->count] = state_of(msg);
	}
}

static void
watcher_open(struct world *w, struct watcher *v)
{
	struct model_box *box = &w->model->box[model_random(w->model, (uint32_t)w->model->count)];
	struct shelf_mailbox row;
	struct shelf_rd *rd = NULL;

	HOLDS(w, shelf_rd_begin(w->store, w->account, &rd) == 0);
	HOLDS(w, shelf_mailbox_find(rd, shelf_span_str(box->name), &row) == 0);
	v->box = row.id;
	HOLDS(w, shelf_view_open(rd, row.id, &v->view) == 0);
	HOLDS(w, shelf_view_count(v->view) == box->count);
	add_new(w, v, box, (uint32_t)box->count);
	shelf_rd_end(&rd);
}

/* What left: numbers as they were before, then gone from our map. */
static void
take_vanished(struct world *w, struct watcher *v, const struct shelf_uidset *vanished)
{
	uint32_t left = 0;

	for (uint32_t uid = shelf_uidset_next(vanished, 1); uid != 0;
	     uid = shelf_uidset_next(vanished, uid + 1)) {
		uint32_t seq = shelf_view_seq(v->view, uid);

		HOLDS(w, seq >= 1 && seq <= v->count && v->uid[seq - 1] == uid);
		if (uid == UINT32_MAX)
			break;
	}
	for (uint32_t i = 0; i < v->count; i++) {
		if (shelf_uidset_has(vanished, v->uid[i]))
			continue;
		v->uid[left] = v->uid[i];
		v->state[left++] = v->state[i];
	}
	HOLDS(w, v->count - left == shelf_uidset_count(vanished));
	v->count = left;
}

/* Our map against the model: what is there, what is kept back, and that no change of flags was missed. */
static void
check_map(struct world *w, struct watcher *v, struct shelf_rd *rd, const struct model_box *box,
    const struct shelf_changes *changes, bool may_renumber)
{
	uint32_t there = 0;
	struct shelf_mailbox row;
	struct shelf_msg msg;

	HOLDS(w, shelf_view_count(v->view) == v->count);
	for (uint32_t i = 0; i < v->count; i++) {
		const struct model_msg *want = msg_of(box, v->uid[i]);

		HOLDS(w, shelf_view_uid(v->view, i + 1) == v->uid[i]);
		HOLDS(w, shelf_view_seq(v->view, v->uid[i]) == i + 1);
		HOLDS(w, i == 0 || v->uid[i - 1] < v->uid[i]);
		if (want == NULL) {
			int rc = shelf_msg_get(rd, v->box, v->uid[i], &msg);

			/* Expunged ones are held and stay readable; moved ones are elsewhere. */
			HOLDS(w, !may_renumber && changes->kept_back);
			HOLDS(w, rc == SHELF_ENOMESSAGE || (rc == 0 && msg.gone));
			continue;
		}
		there++;
		if (shelf_uidset_has(changes->flagged, v->uid[i]))
			v->state[i] = state_of(want);
		HOLDS(w, v->state[i] == state_of(want));
	}
	HOLDS(w, there == box->count);
	HOLDS(w, changes->kept_back == (there != v->count));
	HOLDS(w, shelf_view_uidnext(v->view) == box->uidnext);
	HOLDS(w, shelf_view_max_uid(v->view) == (v->count == 0 ? 0 : v->uid[v->count - 1]));
	HOLDS(w, shelf_mailbox_get(rd, v->box, &row) == 0);
	HOLDS(w, shelf_view_modseq(v->view) == row.highestmodseq);
}

static void
watcher_refresh(struct world *w, struct watcher *v)
{
	struct shelf_changes changes = {.vanished = shelf_uidset_new(), .flagged = shelf_uidset_new()};
	bool may_renumber = model_random(w->model, 2) == 0;
	struct shelf_rd *rd = NULL;
	struct model_box *box;
	int rc;

	HOLDS(w, shelf_rd_begin(w->store, w->account, &rd) == 0);
	rc = shelf_view_refresh(v->view, rd, may_renumber, &changes);
	if (rc == 0) {
		box = box_of(w, rd, v->box);
		HOLDS(w, box != NULL);
		HOLDS(w, changes.old_count == v->count);
		HOLDS(w, may_renumber || shelf_uidset_count(changes.vanished) == 0);
		/* Until the commit everything answers as before. */
		HOLDS(w, shelf_view_count(v->view) == v->count);
		take_vanished(w, v, changes.vanished);
		shelf_view_commit(v->view);
		add_new(w, v, box, v->count + changes.added);
		check_map(w, v, rd, box, &changes, may_renumber);
	} else {
		struct shelf_mailbox row;

		HOLDS(w, rc == SHELF_ENOMAILBOX);
		HOLDS(w, shelf_mailbox_get(rd, v->box, &row) == SHELF_ENOMAILBOX);
		watcher_close(v);
	}
	shelf_rd_end(&rd);
	shelf_uidset_free(&changes.vanished);
	shelf_uidset_free(&changes.flagged);
}

/* ---- Runs -------------------------------------------------------------------------------------- */

static void
one_op(struct world *w)
{
	struct model_op op;
	struct shelf_buf *log;
	int want, got;

	model_choose(w->model, &op);
	log = &w->log[(w->model->ops + 1) % LOG_OPS];
	shelf_buf_clear(log);
	model_describe(&op, log);
	got = model_run(w->model, &op, w->store, w->account);
	want = model_apply(w->model, &op);
	if (got != want) {
		show_log(w);
		ck_abort_msg("the engine says %s, must be %s", shelf_err_name(got), shelf_err_name(want));
	}
}

static void
reopen(struct world *w)
{
	char path[4300];

	for (unsigned i = 0; i < WATCHERS; i++)
		watcher_close(&w->watcher[i]);
	shelf_store_close(&w->store);
	snprintf(path, sizeof path, "%s/store", w->dir);
	HOLDS(w, shelf_store_open(path, 0, &w->store) == 0);
}

static void
end_world(struct world *w)
{
	unsigned findings = 0;

	compare(w, true);
	reopen(w);
	compare(w, true);
	while (shelf_store_purge(w->store, 1000) == 1)
		;
	compare(w, true);
	ck_assert_int_eq(shelf_store_check(w->store, NULL, finding, &findings), 0);
	HOLDS(w, findings == 0);
	shelf_store_close(&w->store);
	model_free(&w->model);
	for (unsigned i = 0; i < LOG_OPS; i++)
		shelf_buf_free(&w->log[i]);
	support_rmtree(w->dir);
}

static void
play(uint64_t seed, uint64_t limit_bytes, uint64_t limit_messages)
{
	struct world *w = SHELF_NEW(struct world);
	const struct shelf_account_new account = {.name = shelf_span_str("model"),
	    .limit_bytes = limit_bytes, .limit_messages = limit_messages};

	w->seed = seed;
	w->model = model_new(seed, limit_bytes, limit_messages);
	open_store(w, &account);
	for (unsigned i = 0; i < OPS; i++) {
		struct watcher *v = &w->watcher[model_random(w->model, WATCHERS)];

		one_op(w);
		if (v->view == NULL)
			watcher_open(w, v);
		else if (model_random(w->model, 2) == 0)
			watcher_refresh(w, v);
		if (i % COMPARE_EVERY == 0)
			compare(w, false);
		if (model_random(w->model, 40) == 0)
			HOLDS(w, shelf_store_purge(w->store, 5) >= 0);
		if (model_random(w->model, 100) == 0)
			reopen(w);
	}
	for (unsigned i = 0; i < WATCHERS; i++)
		watcher_close(&w->watcher[i]);
	end_world(w);
	free(w);
}

START_TEST(random_operations)
{
	const char *only = getenv("MAILSHELF_SEED");

	play(only != NULL ? strtoull(only, NULL, 10) : 1000 + (uint64_t)_i, 0, 0);
}
END_TEST

START_TEST(random_operations_over_quota)
{
	/* So small that about every other append is refused. */
	play(2000 + (uint64_t)_i, _i % 2 == 0 ? 60000 : 0, _i % 2 == 0 ? 0 : 25);
}
END_TEST

/* Flags under the condition UNCHANGEDSINCE: exactly the messages with a greater modseq are refused. */
START_TEST(unchanged_since)
{
	struct world *w = SHELF_NEW(struct world);
	const struct shelf_account_new account = {.name = shelf_span_str("model")};
	struct shelf_uidset *uids = shelf_uidset_new(), *refused = shelf_uidset_new();
	struct shelf_mailbox box;
	struct shelf_msg msg;
	struct shelf_rd *rd = NULL;

	w->model = model_new(77 + (uint64_t)_i, 0, 0);
	open_store(w, &account);
	for (unsigned i = 0; i < 60; i++)
		one_op(w);
	ck_assert_int_eq(shelf_rd_begin(w->store, w->account, &rd), 0);
	ck_assert_int_eq(shelf_mailbox_find(rd, shelf_span_str("INBOX"), &box), 0);
	struct shelf_flag_change change = {.op = SHELF_FLAGS_ADD, .flags = SHELF_ANSWERED,
	    .unchanged_since = shelf_rd_modseq(rd) / 2};
	shelf_uidset_add_range(uids, 1, box.uidnext);
	shelf_rd_end(&rd);

	struct model_box *inbox = model_find(w->model, "INBOX");
	ck_assert_int_eq(shelf_rd_begin(w->store, w->account, &rd), 0);
	struct shelf_uidset *want = shelf_uidset_new();
	for (size_t i = 0; i < inbox->count; i++) {
		ck_assert_int_eq(shelf_msg_get(rd, box.id, inbox->msg[i].uid, &msg), 0);
		if (msg.modseq > change.unchanged_since)
			shelf_uidset_add(want, msg.uid);
		else
			inbox->msg[i].flags |= SHELF_ANSWERED;
	}
	shelf_rd_end(&rd);
	ck_assert_int_eq(shelf_msg_set_flags(w->store, w->account, box.id, uids, &change, refused, NULL),
	    0);
	ck_assert_uint_eq(shelf_uidset_count(refused), shelf_uidset_count(want));
	shelf_uidset_andnot(want, refused);
	ck_assert_uint_eq(shelf_uidset_count(want), 0);
	shelf_uidset_free(&want);
	shelf_uidset_free(&uids);
	shelf_uidset_free(&refused);
	end_world(w);
	free(w);
}
END_TEST

Suite *suite_model(void);

Suite *
suite_model(void)
{
	Suite *s = suite_create("model");
	TCase *tc = tcase_create("model");

	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, random_operations, 0, SEEDS);
	tcase_add_loop_test(tc, random_operations_over_quota, 0, 4);
	tcase_add_loop_test(tc, unchanged_since, 0, 3);
	suite_add_tcase(s, tc);
	return s;
}
