/*
 * kv_commit.c - committers: closures wait in a queue, one thread per environment runs them in groups
 *
 *   kv_update, kv_submit          enqueue        the queue of the shard, in order of arrival
 *   committer: take -> run        try_group      one transaction; closures that arrive meanwhile join
 *     a closure failed unwritten                 its error is kept, the transaction goes on
 *     a closure failed, had written -> redo      abort, the same again without it
 *     no room, commit failed, many redos -> alone   every closure in a transaction of its own, once
 *   committer: tell               finish         listener, then those who wait, in order of arrival
 *     its account has left        goes           queued where that lives now (kv_leave.c)
 *     its account is closed       parked         looked at again in a few milliseconds, in the same order
 *
 * What must stay true: nobody is told 0 before the commit with his writes is on disk. Whoever is told an
 * error, but SHELF_EUNKNOWN, has nothing in the store. An error that a closure returned was
 * computed on what was then committed: after an abort all of the group run again.
 */
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>
#include <mailshelf/log.h>
#include <mailshelf/mem.h>
#include "kv_internal.h"

enum {
	GROUP_WRITES = 400,         /* pages freed beyond some 500 make LMDB search its whole free list */
	GROUP_BYTES = 32 << 20,
	REDO_MAX = 4,
	CLOSURE_SLOW_MS = 2000,
	PARK_MS = 5,
};

struct group {
	struct kv_job *jobs[KV_GROUP_MAX];
	unsigned count;
	struct kv_txn txn;
};

/* How a closure, or a group of them, ended. */
enum outcome {
	DONE,  /* rc is set; nothing hinders the others */
	DIRTY, /* it failed and had written: the transaction cannot be committed */
	ALONE, /* the transaction cannot be committed, run them one by one */
};

int64_t kv_clear_readers_s = 60;
int64_t kv_retry_ms = 1000;

static __thread bool on_committer;

/* ---- A transaction ------------------------------------------------------------------------------ */

/* Ends what begin() began; the LMDB transaction is gone or goes. */
static void
end(struct kv_txn *txn)
{
	kv_view_release(&txn->view);
	if (txn->view.mdb != NULL)
		kv_lmdb_abort(txn->view.mdb);
	txn->view.mdb = NULL;
	if (txn->view.file != NULL)
		kv_file_release(txn->view.file);
	txn->view.file = NULL;
}

/* In the present file: holding its write lock nobody can leave it. */
static int
begin(struct kv_env *env, struct kv_txn *txn)
{
	struct shelf_buf touched = txn->touched;
	struct kv_file *file;
	uint32_t next;
	int rc = 1;

	memset(txn, 0, offsetof(struct kv_txn, value));
	shelf_buf_clear(&touched);
	txn->touched = touched;
	txn->env = env;
	txn->view.env = env;
	txn->view.update = txn;
	while (rc == 1) {
		file = txn->view.file = kv_file_take(env);
		rc = kv_lmdb_write_begin(file, &txn->view.mdb);
		if (rc == 0)
			rc = kv_move_left(file, txn->view.mdb, &next);
		if (rc == 0)
			rc = kv_log_begin(txn);
		if (rc == 0)
			rc = kv_leave_txn(txn);
		if (rc == 0)
			return 0;
		if (rc == 1) {
			kv_lmdb_abort(txn->view.mdb);
			txn->view.mdb = NULL;
			if ((rc = kv_move_follow(file, next)) == 0)
				rc = 1;
		}
		end(txn);
	}
	return rc;
}

static int
end_committing(struct kv_txn *txn)
{
	int64_t begun_us = shelf_mono_us();
	int rc = kv_lmdb_commit(txn->view.file, txn->view.mdb);

	if (rc == 0)
		shelf_durations_add(&txn->env->commit_durations, (uint64_t)(shelf_mono_us() - begun_us));
	txn->view.mdb = NULL;
	end(txn);
	return rc;
}

static int
commit(struct kv_txn *txn)
{
	struct kv_env *env = txn->env;
	int rc;

	kv_view_release(&txn->view);
	if (txn->writes == 0) {
		end(txn);
		return 0;
	}
	rc = kv_fault_at(KV_BEFORE_COMMIT);
	if (rc != 0) {
		end(txn);
		return rc;
	}
	rc = end_committing(txn);
	if (rc != 0)
		return rc;
	atomic_fetch_add_explicit(&env->commits, 1, memory_order_relaxed);
	/* It is on disk: an error from here on is one whose outcome the caller cannot know. */
	return kv_fault_at(KV_AFTER_COMMIT) != 0 ? SHELF_EUNKNOWN : 0;
}

/* What the last commit freed becomes usable: commits a row of no meaning and begins again. */
static int
turn(struct kv_txn *txn)
{
	struct kv_env *env = txn->env;
	int rc = kv_lmdb_put(txn->view.file, txn->view.mdb, KV_OWN, shelf_span_str("turn"),
	    shelf_span_str("1"));

	if (rc != 0) {
		txn->failed = rc;
		return rc;
	}
	rc = end_committing(txn);
	if (rc == 0)
		rc = begin(env, txn);
	txn->turned = true;
	return rc;
}

/* ALONE: the transaction holds writes of others, and has to end before there is room. */
static enum outcome
admit(struct kv_txn *txn, struct kv_job *job)
{
	unsigned kind = (job->flags & KV_ADDS) != 0 ? KV_ADDS : job->flags & KV_KEEPS;
	int rc = kind == 0 ? 0 : kv_room_check(txn, kind);

	/* What is refused behind others was measured by what they may have taken: it loses more by it. */
	if ((rc == KV_ROOM_TURN || (rc == SHELF_EFULL && kind == KV_KEEPS)) && txn->writes > 0)
		return ALONE;
	if (rc == KV_ROOM_TURN) {
		rc = turn(txn);
		if (rc == 0)
			rc = kv_room_check(txn, kind);
	}
	job->rc = rc;
	return DONE;
}

static enum outcome
run_job(struct kv_txn *txn, struct kv_job *job)
{
	int64_t begun_ms;

	job->rc = kv_leave_admit(txn, job);
	if (job->rc != 0 || job->fate != KV_RUNS)
		return txn->failed != 0 ? DIRTY : DONE;
	if (admit(txn, job) == ALONE)
		return ALONE;
	if (txn->view.mdb == NULL)
		return DIRTY; /* the turn failed */
	if (job->rc != 0)
		return txn->failed != 0 ? DIRTY : DONE;
	txn->job = job;
	txn->job_writes = 0;
	txn->job_pages = txn->pages;
	txn->view.account = job->account;
	begun_ms = kv_coarse_ms();
	job->rc = job->fn(txn, job->arg);
	if (kv_coarse_ms() - begun_ms > CLOSURE_SLOW_MS)
		shelf_log(SHELF_LOG_WARN, "kv slow update", "shard", "%u", txn->env->shard, "account",
		    "%u", job->account, NULL);
	if (txn->failed != 0)
		job->rc = txn->failed;
	kv_view_release(&txn->view);
	return job->rc != 0 && (txn->failed != 0 || txn->job_writes > 0) ? DIRTY : DONE;
}

/* ---- Telling ------------------------------------------------------------------------------------- */

static int
compare_accounts(const void *a, const void *b)
{
	uint32_t x, y;

	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	return x < y ? -1 : x > y;
}

static void
tell_listener(struct kv_db *db, struct shelf_buf *touched)
{
	size_t count = touched->len / sizeof(uint32_t);
	uint32_t account, last = 0;

	if (count == 0)
		return;
	pthread_rwlock_rdlock(&db->listener_lock);
	if (db->listener != NULL) {
		qsort(touched->data, count, sizeof(uint32_t), compare_accounts);
		for (size_t i = 0; i < count; i++) {
			memcpy(&account, touched->data + i * sizeof account, sizeof account);
			if (account != last)
				db->listener(db->listener_arg, account);
			last = account;
		}
	}
	pthread_rwlock_unlock(&db->listener_lock);
}

static void
finish(struct kv_env *env, struct kv_job *job)
{
	if (job->rc == 0 && job->fn != NULL)
		atomic_fetch_add_explicit(&env->updates, 1, memory_order_relaxed);
	if (job->done != NULL) {
		job->done(job->done_arg, job->rc);
		free(job);
		return;
	}
	env = job->home;
	pthread_mutex_lock(&env->lock);
	job->finished = true;
	pthread_cond_signal(&job->cond); /* under the lock: the job is on the waiter's stack */
	pthread_mutex_unlock(&env->lock);
}

static int enqueue(struct kv_env *env, struct kv_job *job);

static void
park(struct kv_env *env, struct kv_job *job)
{
	if (env->parked == NULL) {
		env->parked_tail = &env->parked;
		env->parked_ms = kv_coarse_ms();
	}
	job->next = NULL;
	*env->parked_tail = job;
	env->parked_tail = &job->next;
}

/* In front of all others: they were there before. */
static void
unpark(struct kv_env *env)
{
	if (env->parked == NULL || kv_coarse_ms() - env->parked_ms < PARK_MS)
		return;
	pthread_mutex_lock(&env->lock);
	*env->parked_tail = env->head;
	if (env->head == NULL)
		env->tail = env->parked_tail;
	env->head = env->parked;
	pthread_mutex_unlock(&env->lock);
	env->parked = NULL;
}

/* Queued in the shard where its account lives now. */
static void
send_on(struct kv_env *env, struct kv_job *job)
{
	struct kv_env *next;
	int rc = kv_env_there(env->db, job->shard, &next);

	if (rc == 0) {
		pthread_mutex_lock(&next->lock);
		rc = enqueue(next, job);
		pthread_mutex_unlock(&next->lock);
	}
	if (rc != 0) {
		job->rc = rc;
		finish(env, job);
	}
}

/* The group has ended, and is on disk if anything was written. */
static void
end_job(struct kv_env *env, struct kv_job *job)
{
	if (job->fate == KV_WAITS)
		park(env, job);
	else if (job->fate == KV_GOES)
		send_on(env, job);
	else
		finish(env, job);
}

/* ---- Groups -------------------------------------------------------------------------------------- */

static bool
take(struct kv_env *env, struct group *g)
{
	struct kv_job *job;

	if (g->count == KV_GROUP_MAX || g->txn.writes >= GROUP_WRITES || g->txn.bytes >= GROUP_BYTES)
		return false;
	pthread_mutex_lock(&env->lock);
	job = env->head;
	if (job != NULL) {
		env->head = job->next;
		if (env->head == NULL)
			env->tail = &env->head;
	}
	pthread_mutex_unlock(&env->lock);
	if (job == NULL)
		return false;
	job->next = NULL;
	g->jobs[g->count++] = job;
	return true;
}

/* What is not known to be on disk says nothing of where an account lives either. */
static void
fail_job(struct kv_job *job, int rc)
{
	job->rc = rc;
	job->fate = KV_RUNS;
}

/* 0: committed, every rc is set. SHELF_EUNKNOWN: it may be. Other errors: it is not. */
static int
commit_group(struct kv_env *env, struct group *g)
{
	int rc = commit(&g->txn);

	if (rc == SHELF_EUNKNOWN) {
		for (unsigned i = 0; i < g->count; i++)
			if (g->jobs[i]->rc == 0)
				fail_job(g->jobs[i], rc);
	}
	if (rc == 0 || rc == SHELF_EUNKNOWN)
		tell_listener(env->db, &g->txn.touched);
	return rc;
}

static enum outcome
try_group(struct kv_env *env, struct group *g)
{
	struct kv_txn *txn = &g->txn;
	enum outcome outcome = DONE;
	int rc = begin(env, txn);

	if (rc != 0) {
		for (unsigned i = 0; i < g->count; i++)
			if (g->jobs[i]->fn != NULL)
				fail_job(g->jobs[i], rc);
		return DONE;
	}
	for (unsigned i = 0; outcome == DONE && (i < g->count || take(env, g)); i++) {
		struct kv_job *job = g->jobs[i];

		if (job->expelled || job->fn == NULL)
			continue;
		outcome = run_job(txn, job);
		if (outcome == DIRTY) {
			job->expelled = true;
			if (job->rc == SHELF_EFULL || txn->view.mdb == NULL)
				outcome = ALONE;
		}
	}
	if (outcome != DONE) {
		end(txn);
		return outcome;
	}
	rc = commit_group(env, g);
	return rc == 0 || rc == SHELF_EUNKNOWN ? DONE : ALONE;
}

/* One transaction for one closure; its error is its own. */
static void
run_alone(struct kv_env *env, struct group *g, struct kv_job *job)
{
	struct kv_txn *txn = &g->txn;
	int rc;

	if (job->fn == NULL)
		return;
	rc = begin(env, txn);
	if (rc != 0) {
		fail_job(job, rc);
		return;
	}
	if (run_job(txn, job) != DONE) {
		end(txn);
		return;
	}
	rc = commit(txn);
	if (rc != 0)
		fail_job(job, rc);
	if (rc == 0 || rc == SHELF_EUNKNOWN)
		tell_listener(env->db, &txn->touched);
}

static void
run_group(struct kv_env *env, struct group *g)
{
	enum outcome outcome = DIRTY;

	g->count = 0;
	g->txn.writes = 0;
	g->txn.bytes = 0;
	if (!take(env, g))
		return;
	for (unsigned i = 0; outcome == DIRTY && i <= REDO_MAX; i++)
		outcome = try_group(env, g);
	if (outcome == DONE) {
		for (unsigned i = 0; i < g->count; i++)
			end_job(env, g->jobs[i]);
		return;
	}
	kv_file_clear_readers(env); /* a killed reader may be what keeps pages from being used */
	for (unsigned i = 0; i < g->count; i++) {
		run_alone(env, g, g->jobs[i]);
		end_job(env, g->jobs[i]);
	}
}

/* ---- The thread ---------------------------------------------------------------------------------- */

static struct timespec
wake_time(const struct kv_env *env)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	if (env->parked == NULL) {
		until.tv_sec += kv_clear_readers_s;
		return until;
	}
	until.tv_nsec += PARK_MS * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	return until;
}

static void *
committer(void *arg)
{
	struct kv_env *env = arg;
	struct group *g = SHELF_NEW(struct group);
	struct timespec until;
	int64_t cleared_ms = kv_coarse_ms();
	bool more = true;
	int rc;

	on_committer = true;
	while (more) {
		rc = 0;
		until = wake_time(env);
		pthread_mutex_lock(&env->lock);
		while (env->head == NULL && (!env->stopping || env->parked != NULL) && rc == 0)
			rc = pthread_cond_timedwait(&env->work, &env->lock, &until);
		more = env->head != NULL || env->parked != NULL || !env->stopping;
		pthread_mutex_unlock(&env->lock);
		unpark(env);
		/* By the clock: a committer that is never idle is the one that needs the pages. */
		if (kv_coarse_ms() - cleared_ms >= kv_clear_readers_s * 1000) {
			kv_file_clear_readers(env);
			cleared_ms = kv_coarse_ms();
		}
		if (more)
			run_group(env, g);
	}
	shelf_buf_free(&g->txn.touched);
	free(g);
	return NULL;
}

/* Under env->lock. */
static int
start(struct kv_env *env)
{
	sigset_t all, old;
	int rc;

	if (env->started)
		return 0;
	/* Signals are for the threads of the program, never for a committer. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&env->thread, NULL, committer, env);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc != 0) {
		shelf_log(SHELF_LOG_ERROR, "kv committer failed", "errno", "%d", rc, NULL);
		return SHELF_ENOMEM;
	}
	env->started = true;
	return 0;
}

/* Under env->lock. */
static int
enqueue(struct kv_env *env, struct kv_job *job)
{
	int rc = env->stopping ? SHELF_ESTOPPING : start(env);

	if (rc != 0)
		return rc;
	job->next = NULL;
	*env->tail = job;
	env->tail = &job->next;
	if (env->head == job)
		pthread_cond_signal(&env->work);
	return 0;
}

void
kv_committer_stop(struct kv_env *env)
{
	bool started;

	pthread_mutex_lock(&env->lock);
	env->stopping = true;
	started = env->started;
	pthread_cond_signal(&env->work);
	pthread_mutex_unlock(&env->lock);
	if (started)
		pthread_join(env->thread, NULL);
}

/* ---- Submitting ---------------------------------------------------------------------------------- */

static int
run_and_wait(struct kv_env *env, struct kv_job *job)
{
	int rc;

	SHELF_ASSERT(!on_committer); /* a closure that waits for its own committer waits for ever */
	job->home = env;
	pthread_cond_init(&job->cond, NULL);
	pthread_mutex_lock(&env->lock);
	rc = enqueue(env, job);
	while (rc == 0 && !job->finished)
		pthread_cond_wait(&job->cond, &env->lock);
	pthread_mutex_unlock(&env->lock);
	pthread_cond_destroy(&job->cond);
	return rc == 0 ? job->rc : rc;
}

int
kv_update(struct kv_db *db, uint32_t account, unsigned flags, kv_update_fn *fn, void *arg)
{
	struct kv_job job = {.fn = fn, .arg = arg, .account = account, .flags = flags};
	struct kv_env *env;
	int rc = kv_env_of_account(db, account, &env);

	return rc != 0 ? rc : run_and_wait(env, &job);
}

/* Where both are is looked at again when its turn comes (kv_leave_admit). */
int
kv_update_both(struct kv_db *db, uint32_t account, uint32_t other, unsigned flags, kv_update_fn *fn, void *arg)
{
	struct kv_job job = {.fn = fn, .arg = arg, .account = account, .other = other, .flags = flags};
	struct kv_env *env, *its;
	int rc = kv_env_of_account(db, account, &env);

	if (rc == 0)
		rc = kv_env_of_account(db, other, &its);
	return rc != 0 ? rc : env != its ? SHELF_EBUSY : run_and_wait(env, &job);
}

int
kv_update_shard(struct kv_db *db, uint32_t shard, unsigned flags, kv_update_fn *fn, void *arg)
{
	struct kv_job job = {.fn = fn, .arg = arg, .flags = flags, .of_shard = true};

	if (shard >= db->shards)
		return SHELF_EINVALID;
	return run_and_wait(&db->shard[shard], &job);
}

static void
nobody_asked(void *arg, int rc)
{
}

/* Where the job is to be queued. */
static struct kv_env *
env_of_job(struct kv_db *db, struct kv_job *job)
{
	struct kv_env *env;
	int rc = kv_env_of_account(db, job->account, &env);

	if (rc == 0)
		return env;
	/* Told on a committer's thread too, so that DONE never runs inside this call. */
	job->fn = NULL;
	job->rc = rc;
	return &db->catalog;
}

static void
refuse(struct kv_job *job, int rc)
{
	job->done(job->done_arg, rc);
	free(job);
}

void
kv_submit(struct kv_db *db, uint32_t account, unsigned flags, kv_update_fn *fn, void *arg,
    kv_done_fn *done, void *done_arg)
{
	struct kv_job *job = SHELF_NEW(struct kv_job);
	struct kv_env *env;
	int rc;

	*job = (struct kv_job){.fn = fn, .arg = arg, .done = done != NULL ? done : nobody_asked,
	    .done_arg = done_arg, .account = account, .flags = flags};
	env = env_of_job(db, job);
	pthread_mutex_lock(&env->lock);
	rc = enqueue(env, job);
	pthread_mutex_unlock(&env->lock);
	if (rc != 0)
		refuse(job, rc);
}

void
kv_submit_all(struct kv_db *db, unsigned flags, kv_update_fn *fn, kv_done_fn *done,
    const struct kv_submission *list, size_t n)
{
	struct waiting {
		struct kv_job *job; /* the committer's, once it is queued */
		struct kv_env *env; /* NULL: it has been tried */
		int rc;
	} *all = shelf_alloc(n * sizeof(*all));

	for (size_t i = 0; i < n; i++) {
		struct kv_job *job = SHELF_NEW(struct kv_job);

		*job = (struct kv_job){.fn = fn, .arg = list[i].arg, .done = done, .done_arg = list[i].arg,
		    .account = list[i].account, .flags = flags};
		all[i] = (struct waiting){job, env_of_job(db, job), 0};
	}
	for (size_t first = 0; first < n; first++) {
		struct kv_env *env = all[first].env;

		if (env == NULL)
			continue;
		pthread_mutex_lock(&env->lock);
		for (size_t i = first; i < n; i++) {
			if (all[i].env != env)
				continue;
			all[i].rc = enqueue(env, all[i].job);
			all[i].env = NULL;
		}
		pthread_mutex_unlock(&env->lock);
	}
	for (size_t i = 0; i < n; i++)
		if (all[i].rc != 0)
			refuse(all[i].job, all[i].rc);
	free(all);
}

void
kv_set_listener(struct kv_db *db, void (*fn)(void *arg, uint32_t account), void *arg)
{
	pthread_rwlock_wrlock(&db->listener_lock);
	db->listener = fn;
	db->listener_arg = arg;
	pthread_rwlock_unlock(&db->listener_lock);
}
