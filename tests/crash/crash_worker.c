/*
 * crash_worker.c - the child: threads that work and acknowledge until something ends them
 *
 * When the disk was made to fail (disk.h), the thread goes on: what was refused must not have happened,
 * and what comes after the fault must work.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "crash.h"
#include "kv.h"

enum { REOPEN_EVERY = 25, HOUSE_EVERY = 7, OPEN_TRIES = 60, ROOM_PAUSE_US = 1100000 };

struct worker {
	struct crash *crash;
	const struct crash_plan *plan;
	struct shelf_store **store; /* of the process */
	unsigned index;
	int fd;
	bool alone; /* the only thread of its process */
	pthread_t thread;
};

static uint64_t fault_at, fault_calls;
static bool fault_is_error;
static int fault_point = -1;

static int
fault(enum kv_point point)
{
	if (__atomic_add_fetch(&fault_calls, 1, __ATOMIC_SEQ_CST) != fault_at)
		return 0;
	if (!fault_is_error)
		_exit(CRASH_DIED);
	fault_point = (int)point;
	return SHELF_EFULL;
}

static void
say(struct worker *w, struct crash_ack ack)
{
	ack.thread = w->index;
	disk_pause();
	if (w->plan->record != NULL)
		disk_note(&ack, sizeof ack);
	else if (write(w->fd, &ack, sizeof ack) != (ssize_t)sizeof ack)
		_exit(10);
	disk_resume();
}

static void
say_wrong(struct worker *w, const struct model_op *op, int got, const char *instead)
{
	struct crash_ack ack = {.what = CRASH_WRONG};
	struct shelf_buf text = {0};

	model_describe(op, &text);
	snprintf(ack.text, sizeof ack.text, "%s %s: %s", shelf_err_name(got), instead, shelf_buf_cstr(&text));
	shelf_buf_free(&text);
	say(w, ack);
}

/* An answer that is not the model's: with an injected error the end of this worker, else a finding. */
static void
refused(struct worker *w, const struct model_op *op, int got, int want)
{
	char instead[40];

	if (fault_is_error && fault_point >= 0) {
		say(w, (struct crash_ack){.what = CRASH_REFUSED, .number = (uint64_t)fault_point});
		return;
	}
	snprintf(instead, sizeof instead, "instead of %s", shelf_err_name(want));
	say_wrong(w, op, got, instead);
}

static uint64_t
modseq_now(struct worker *w, uint32_t account)
{
	struct shelf_rd *rd = NULL;
	uint64_t modseq = 0;

	disk_pause();
	if (shelf_rd_begin(*w->store, account, &rd) == 0)
		modseq = shelf_rd_modseq(rd);
	shelf_rd_end(&rd);
	disk_resume();
	return modseq;
}

/* ---- Beside the model ----------------------------------------------------------------------------- */

/* One message to both shared accounts; its first bytes are a head, of each a copy of his own. */
static void
send_shared(struct worker *w)
{
	struct crash *c = w->crash;
	struct crash_account *a = &c->account[w->index];
	struct shelf_delivery to[CRASH_SHARED];
	struct shelf_append_result result[CRASH_SHARED];
	struct shelf_draft *draft = NULL;
	struct shelf_buf bytes = {0};
	uint8_t heads[CRASH_SHARED][20];
	size_t cut;
	bool good;

	if (a->sent + 1 >= CRASH_SENT_MAX)
		return;
	say(w, (struct crash_ack){.what = CRASH_SENT_BEGIN, .number = a->sent});
	model_content(c->contents, w->index * CRASH_SENT_MAX + a->sent, &bytes);
	cut = bytes.len < sizeof heads[0] ? 0 : a->sent % sizeof heads[0];
	good = shelf_draft_new(*w->store, &draft) == 0 &&
	       shelf_draft_write(draft, bytes.data + cut, bytes.len - cut) == 0 && shelf_draft_finish(draft) == 0;
	for (unsigned i = 0; i < CRASH_SHARED; i++) {
		memcpy(heads[i], bytes.data, cut);
		to[i] = (struct shelf_delivery){.account = c->shared[i], .head = shelf_span(heads[i], cut)};
	}
	if (good)
		shelf_deliver(*w->store, draft, to, CRASH_SHARED, result);
	for (unsigned i = 0; good && i < CRASH_SHARED; i++)
		good = result[i].rc == 0;
	if (good)
		say(w, (struct crash_ack){.what = CRASH_SENT_END, .number = a->sent});
	a->sent++;
	shelf_draft_free(&draft);
	shelf_buf_free(&bytes);
}

static void
say_extra(struct worker *w, uint32_t n, enum crash_extra state)
{
	say(w, (struct crash_ack){.what = CRASH_EXTRA, .number = n, .modseq = state});
}

/* The archive out of the backup, under the name NAME. SHELF_EMISSING: there is no backup yet. */
static int
bring_back(struct worker *w, const char *name)
{
	const struct crash *c = w->crash;
	struct shelf_restore_done done;
	struct shelf_backup *b = NULL;
	char path[4300], archive[16];
	int rc;

	snprintf(path, sizeof path, "%s.backup", c->dir);
	crash_account_name(c, c->threads + CRASH_SHARED, archive);
	rc = w->plan->record != NULL ? SHELF_EMISSING : shelf_backup_open(path, 0, &b);
	if (rc == 0)
		rc = shelf_backup_restore_account(b, archive, *w->store, name, NULL, NULL, &done);
	shelf_backup_close(&b);
	return rc;
}

static int
new_account(struct worker *w, uint32_t n, const char *name)
{
	const struct shelf_account_new request = {.name = shelf_span_str(name)};
	int rc = n % 3 == 2 ? bring_back(w, name) : SHELF_EMISSING;

	return rc == SHELF_EMISSING || rc == SHELF_ESYNTAX ? shelf_account_add(*w->store, &request, 1, NULL, NULL) : rc;
}

/* A new account; every other time the one before goes. */
static void
change_accounts(struct worker *w)
{
	struct crash_account *a = &w->crash->account[w->index];
	struct shelf_account old;
	uint32_t n = a->nextras;
	char name[32];

	if (n + 1 >= CRASH_EXTRAS_MAX)
		return;
	a->nextras++;
	crash_extra_name(w->index, n, name);
	say_extra(w, n, CRASH_EXTRA_COMING);
	if (new_account(w, n, name) == 0)
		say_extra(w, n, CRASH_EXTRA_THERE);
	if (n % 2 == 0)
		return;
	crash_extra_name(w->index, n - 1, name);
	if (shelf_account_find(*w->store, shelf_span_str(name), &old) != 0)
		return;
	say_extra(w, n - 1, CRASH_EXTRA_GOING);
	if (shelf_account_delete(*w->store, old.id) == 0)
		say_extra(w, n - 1, CRASH_EXTRA_GONE);
}

/* A dictionary for a partition, old mail made anew with it, what nobody uses removed: what `mailshelf dict`
 * does. */
static int
change_dictionaries(struct shelf_store *store, uint32_t partition)
{
	const struct shelf_dict_params params = {.bytes = 1024, .sample = 60};
	struct shelf_dict_report report;
	struct shelf_dict_pass pass = {0};
	uint32_t removed;
	int rc = shelf_dict_train(store, partition, &params, &report);

	if (rc == 0 || rc == SHELF_ELIMIT)
		rc = 1;
	while (rc == 1)
		rc = shelf_dict_recompress(store, partition, &pass, 5);
	return rc == 0 ? shelf_dict_prune(store, partition, &removed) : rc;
}

static int
back_up(struct worker *w)
{
	struct shelf_backup_done done;
	char path[4300];
	int rc;

	if (w->plan->record != NULL)
		return 0; /* the file is none of those recorded */
	snprintf(path, sizeof path, "%s.backup", w->crash->dir);
	rc = shelf_backup_run(*w->store, path, NULL, NULL, NULL, &done);
	if (rc == 0)
		say(w, (struct crash_ack){.what = CRASH_BACKUP});
	return rc == SHELF_EBUSY ? 0 : rc;
}

/* The thread's own account, or one that all deliver to, goes to the other partition. */
static int
move_account(struct worker *w, uint64_t turn)
{
	struct crash *c = w->crash;
	uint32_t id = turn % 2 == 0 ? c->account[w->index].id : c->shared[turn / 2 % CRASH_SHARED];
	struct shelf_mover *mover = shelf_mover_new(*w->store, NULL, NULL);
	struct shelf_account account;
	struct shelf_moved moved;
	int rc = shelf_account_get(*w->store, id, &account);

	if (rc == 0)
		rc = shelf_account_move(mover, id, (account.partition + 1) % CRASH_PARTITIONS, &moved);
	shelf_mover_free(&mover);
	return rc == SHELF_EBUSY ? 0 : rc; /* another account leaves, or the partition is being compacted */
}

/* What an administrator does beside all this. */
static int
keep_house(struct worker *w, uint64_t turn)
{
	enum { KINDS = 5 };
	struct shelf_store *store = *w->store;
	uint32_t partition = turn / KINDS % CRASH_PARTITIONS;
	struct shelf_compacted size;
	int rc;

	if (turn % KINDS == 1) {
		rc = back_up(w);
		return rc != 0 && disk_faulted() ? back_up(w) : rc; /* what the first has left is no harm */
	}
	if (turn % KINDS == 3)
		return move_account(w, turn / KINDS);
	if (turn % KINDS == 2) {
		rc = shelf_store_compact(store, partition, NULL, NULL, &size);
		/* Another process does the same; or there is no room for a copy. */
		return rc == SHELF_EBUSY || rc == SHELF_ECANCELLED ? 0 : rc;
	}
	if (turn % KINDS == 0)
		return change_dictionaries(store, partition);
	rc = shelf_store_purge(store, 2);
	return rc < 0 ? rc : 0;
}

/* ---- After a fault of the disk -------------------------------------------------------------------- */

static int
open_store(const struct crash_plan *plan, struct crash *c, struct shelf_store **out)
{
	bool serve = plan->fault_at == 0 && plan->disk == DISK_NONE;
	int rc = shelf_store_open(c->dir, serve ? SHELF_OPEN_SERVE : 0, out);

	for (unsigned i = 0; rc != 0 && disk_faulted() && i < OPEN_TRIES; i++)
		rc = shelf_store_open(c->dir, 0, out);
	return rc;
}

/* The process starts again, as far as the engine can see. */
static void
reopen(struct worker *w)
{
	int rc;

	shelf_store_close(w->store);
	rc = open_store(w->plan, w->crash, w->store);
	if (rc != 0)
		support_fatal("the worker cannot open the store again: %s", shelf_err_name(rc));
}

static bool
is_as(struct worker *w, struct model *m, struct shelf_buf *why)
{
	bool same;

	disk_pause();
	shelf_buf_clear(why);
	same = model_compare(m, *w->store, w->crash->account[w->index].id, false, why);
	disk_resume();
	return same;
}

/* OP was refused with GOT. BEFORE is the model without it, the account's with it: the one that the store
 * agrees with is kept. False: neither, or an answer nobody understands. */
static bool
settle(struct worker *w, const struct model_op *op, int got, struct model **before)
{
	enum shelf_err_class class = shelf_err_class_of(got);
	struct crash_account *a = &w->crash->account[w->index];
	struct shelf_buf why = {0};
	bool happened = false, good = false;

	if (class != SHELF_CLASS_SYSTEM && class != SHELF_CLASS_FULL && class != SHELF_CLASS_BUSY) {
		say_wrong(w, op, got, "after a fault of the disk");
		return false;
	}
	/* A partition that lost a meta page is opened again by the engine; when that fails, a second later. */
	for (unsigned tries = 0; !good && tries < 2; tries++) {
		if (tries > 0)
			usleep(ROOM_PAUSE_US);
		happened = got == SHELF_EUNKNOWN && is_as(w, a->model, &why);
		good = happened || is_as(w, *before, &why);
	}
	if (!good)
		say_wrong(w, op, got, shelf_buf_cstr(&why));
	if (!happened) {
		struct model *with = a->model;

		a->model = *before;
		*before = with;
	}
	say(w, (struct crash_ack){.what = happened ? CRASH_OP : CRASH_SKIPPED, .modseq = modseq_now(w, a->id)});
	shelf_buf_free(&why);
	return good;
}

/* ---- Work ----------------------------------------------------------------------------------------- */

struct held {
	const struct model_op *op;
	uint32_t mailbox;
	uint64_t mask;
};

static int
add_held(void *arg, const struct shelf_held *h)
{
	struct held *held = arg;

	for (size_t i = 0; i < held->op->nuids; i++)
		if (h->mailbox == held->mailbox && h->msg.uid == held->op->uid[i])
			held->mask |= (uint64_t)1 << i;
	return 0;
}

/* Bit n: the store holds uid[n] of OP. */
static uint64_t
held_in_truth(struct worker *w, const struct model_op *op)
{
	uint32_t account = w->crash->account[w->index].id;
	struct held held = {.op = op};
	struct shelf_mailbox box = {0};
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(*w->store, account, &rd);

	if (rc == 0)
		rc = shelf_mailbox_find(rd, shelf_span_str(op->box), &box);
	shelf_rd_end(&rd);
	held.mailbox = box.id;
	if (rc == 0)
		rc = shelf_held_each(*w->store, account, add_held, &held);
	return rc == 0 ? held.mask : 0;
}

/* One operation; false: this thread is done. */
static bool
work_once(struct worker *w)
{
	struct crash_account *a = &w->crash->account[w->index];
	struct model *before = NULL;
	struct model_op op;
	bool good = true, over = disk_over();
	int got, want;

	disk_pause();
	model_choose(a->model, &op);
	/* What is removed while there is no room may be held by nobody: no model knows that, so it is told. */
	if (op.kind == MODEL_RESTORE && w->plan->disk == DISK_FULL) {
		uint64_t mask = held_in_truth(w, &op);

		say(w, (struct crash_ack){.what = CRASH_HELD, .number = mask});
		model_unhold(a->model, &op, mask);
	}
	if (w->plan->disk != DISK_NONE)
		before = model_copy(a->model);
	disk_resume();
	got = model_run(a->model, &op, *w->store, a->id);
	/* A disk found full is not asked again for a second, a partition not opened again. */
	if (over && (got == SHELF_EFULL || got == SHELF_EIO)) {
		usleep(ROOM_PAUSE_US);
		got = model_run(a->model, &op, *w->store, a->id);
	}
	disk_pause();
	want = model_apply(a->model, &op);
	disk_resume();
	if (got == want) {
		say(w, (struct crash_ack){.what = CRASH_OP, .modseq = modseq_now(w, a->id)});
	} else if (w->plan->disk != DISK_NONE && disk_faulted() && !over) {
		good = settle(w, &op, got, &before);
	} else {
		refused(w, &op, got, want);
		good = false;
	}
	model_free(&before);
	return good;
}

static void *
work(void *arg)
{
	struct worker *w = arg;
	const struct model_op house = {.kind = MODEL_EXPUNGE, .box = "(keeping house)"};
	bool faults = fault_is_error || w->plan->disk != DISK_NONE;

	for (uint64_t n = 0; w->plan->ops == 0 || n < w->plan->ops; n++) {
		if (!work_once(w))
			return NULL;
		/* Not from the model's generator: the parent does not replay these. */
		if (n % 5 == 4)
			send_shared(w);
		if (n % 12 == 7)
			change_accounts(w);
		if (n % HOUSE_EVERY == HOUSE_EVERY - 1) {
			int rc = keep_house(w, n / HOUSE_EVERY);

			if (rc != 0 && !faults)
				refused(w, &house, rc, 0);
		}
		if (w->plan->processes > 1 && w->alone && n % REOPEN_EVERY == REOPEN_EVERY - 1)
			reopen(w);
	}
	say(w, (struct crash_ack){.what = CRASH_COMPLETE, .number = fault_point >= 0 || disk_faulted()});
	return NULL;
}

/* Whatever was done here, no snapshot may have lived longer than two seconds. */
static void
look_at_snapshots(struct worker *w)
{
	struct crash_ack ack = {.what = CRASH_WRONG};
	struct shelf_store_stats stats;

	if (*w->store == NULL || shelf_store_stats(*w->store, &stats) != 0 || stats.slow_views == 0)
		return;
	snprintf(ack.text, sizeof ack.text, "%u snapshots lived longer than two seconds", stats.slow_views);
	say(w, ack);
}

void
crash_work(struct crash *c, const struct crash_plan *plan, unsigned process, int pipe_fd)
{
	unsigned processes = plan->processes == 0 ? 1 : plan->processes, count = 0;
	struct worker worker[CRASH_THREADS_MAX];
	struct shelf_store *store = NULL;
	int rc;

	fault_at = plan->fault_at;
	fault_is_error = plan->fault_is_error;
	if (fault_at != 0)
		kv_fault = fault;
	if (plan->record != NULL)
		disk_record(plan->record, c->dir);
	disk_arm(plan->disk, plan->disk_at);
	rc = open_store(plan, c, &store);
	if (rc != 0 && fault_point < 0)
		support_fatal("the worker cannot open the store: %s", shelf_err_name(rc));
	for (unsigned i = process; rc == 0 && i < c->threads; i += processes)
		worker[count++] = (struct worker){.crash = c, .plan = plan, .store = &store, .index = i,
		    .fd = pipe_fd};
	for (unsigned i = 0; i < count; i++) {
		worker[i].alone = count == 1;
		if (pthread_create(&worker[i].thread, NULL, work, &worker[i]) != 0)
			support_fatal("no thread");
	}
	for (unsigned i = 0; i < count; i++)
		pthread_join(worker[i].thread, NULL);
	if (rc == 0 && count > 0)
		look_at_snapshots(&worker[0]);
	shelf_store_close(&store);
	_exit(0);
}
