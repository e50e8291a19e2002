/*
 * crash_worker.c - the child: threads that work and acknowledge until something ends them
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "crash.h"
#include "kv.h"
#include "support.h"

struct worker {
	struct crash *crash;
	const struct crash_plan *plan;
	struct shelf_store *store;
	unsigned index;
	int fd;
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
	if (write(w->fd, &ack, sizeof ack) != (ssize_t)sizeof ack)
		_exit(10);
}

/* An answer that is not the model's: with an injected error the end of this worker, else a finding. */
static void
refused(struct worker *w, const struct model_op *op, int got, int want)
{
	struct crash_ack ack = {.what = CRASH_WRONG};
	struct shelf_buf text = {0};

	if (fault_is_error && fault_point >= 0) {
		ack.what = CRASH_REFUSED;
		ack.number = (uint64_t)fault_point;
	} else {
		model_describe(op, &text);
		snprintf(ack.text, sizeof ack.text, "%s instead of %s: %s", shelf_err_name(got),
		    shelf_err_name(want), shelf_buf_cstr(&text));
		shelf_buf_free(&text);
	}
	say(w, ack);
}

static uint64_t
modseq_now(struct worker *w, uint32_t account)
{
	struct shelf_rd *rd = NULL;
	uint64_t modseq = 0;

	if (shelf_rd_begin(w->store, account, &rd) == 0)
		modseq = shelf_rd_modseq(rd);
	shelf_rd_end(&rd);
	return modseq;
}

/* One message to both shared accounts. */
static void
send_shared(struct worker *w)
{
	struct crash *c = w->crash;
	struct crash_account *a = &c->account[w->index];
	struct shelf_delivery to[CRASH_SHARED];
	struct shelf_append_result result[CRASH_SHARED];
	struct shelf_draft *draft = NULL;
	struct shelf_buf bytes = {0};
	bool good;

	if (a->sent + 1 >= CRASH_SENT_MAX)
		return;
	say(w, (struct crash_ack){.what = CRASH_SENT_BEGIN, .number = a->sent});
	model_content(c->contents, w->index * CRASH_SENT_MAX + a->sent, &bytes);
	good = shelf_draft_new(w->store, &draft) == 0 &&
	       shelf_draft_write(draft, bytes.data, bytes.len) == 0 && shelf_draft_finish(draft) == 0;
	for (unsigned i = 0; i < CRASH_SHARED; i++)
		to[i] = (struct shelf_delivery){.account = c->shared[i]};
	if (good)
		shelf_deliver(w->store, draft, to, CRASH_SHARED, result);
	for (unsigned i = 0; good && i < CRASH_SHARED; i++)
		good = result[i].rc == 0;
	if (good)
		say(w, (struct crash_ack){.what = CRASH_SENT_END, .number = a->sent});
	a->sent++;
	shelf_draft_free(&draft);
	shelf_buf_free(&bytes);
}

static void *
work(void *arg)
{
	struct worker *w = arg;
	struct crash_account *a = &w->crash->account[w->index];
	struct model_op op;
	int got, want;

	for (uint64_t n = 0; w->plan->ops == 0 || n < w->plan->ops; n++) {
		model_choose(a->model, &op);
		got = model_run(a->model, &op, w->store, a->id);
		want = model_apply(a->model, &op);
		if (got != want) {
			refused(w, &op, got, want);
			return NULL;
		}
		say(w, (struct crash_ack){.what = CRASH_OP, .number = n + 1,
		    .modseq = modseq_now(w, a->id)});
		/* Not from the model's generator: the parent does not replay these. */
		if (n % 5 == 4)
			send_shared(w);
		if (n % 16 == 15 && shelf_store_purge(w->store, 2) < 0 && !fault_is_error)
			refused(w, &op, SHELF_EIO, 0);
	}
	say(w, (struct crash_ack){.what = CRASH_COMPLETE, .number = fault_point >= 0});
	return NULL;
}

void
crash_work(struct crash *c, const struct crash_plan *plan, int pipe_fd)
{
	struct worker worker[CRASH_THREADS_MAX];
	struct shelf_store *store = NULL;
	int rc;

	fault_at = plan->fault_at;
	fault_is_error = plan->fault_is_error;
	if (fault_at != 0)
		kv_fault = fault;
	rc = shelf_store_open(c->dir, plan->fault_at == 0 ? SHELF_OPEN_SERVE : 0, &store);
	if (rc != 0 && fault_point < 0)
		support_fatal("the worker cannot open the store: %s", shelf_err_name(rc));
	for (unsigned i = 0; rc == 0 && i < c->threads; i++) {
		worker[i] = (struct worker){.crash = c, .plan = plan, .store = store, .index = i,
		    .fd = pipe_fd};
		if (pthread_create(&worker[i].thread, NULL, work, &worker[i]) != 0)
			support_fatal("no thread");
	}
	for (unsigned i = 0; rc == 0 && i < c->threads; i++)
		pthread_join(worker[i].thread, NULL);
	shelf_store_close(&store);
	_exit(0);
}
