/*
 * kv_file.c - the file that an environment lives in at the moment, and those it has left
 *
 *   present   kv_env.file; handed to whoever asks (kv_file_take)
 *   dead      a commit's outcome is unknown; opened again when nobody uses it
 *   left      a compaction has moved the environment to another one (kv_move.c); closes with the last of
 *             those that took it before
 *
 * What must stay true: who uses a file has taken it, so that it is not closed under him; a file is
 * open once in a process; a snapshot is of the file that was present when it was begun, or of a later one, so
 * that nobody reads what was before a commit that he has heard of.
 */
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <mailshelf/log.h>
#include <mailshelf/mem.h>
#include "kv_internal.h"

enum {
	CATCH_UP_SPINS = 50,
	CATCH_UP_SLEEPS = 200,
};

struct kv_file *
kv_file_new(struct kv_env *env, uint32_t generation)
{
	struct kv_file *file = SHELF_NEW(struct kv_file);

	file->env = env;
	file->generation = generation;
	return file;
}

static void
drop_views(struct kv_view *views)
{
	while (views != NULL) {
		struct kv_view *view = views;

		views = view->next;
		kv_lmdb_abort(view->mdb);
		free(view);
	}
}

void
kv_file_free(struct kv_file **file_ptr)
{
	struct kv_file *file = *file_ptr;

	*file_ptr = NULL;
	if (file == NULL)
		return;
	SHELF_ASSERT(file->users == 0);
	drop_views(file->pool);
	kv_lmdb_close(file);
	free(file);
}

/*
 * A commit whose outcome is unknown leaves an environment that LMDB lets nobody use. Opened again it shows what
 * there is, and a sync makes sure that this is on the disk. Under file_lock; only while nobody uses it: LMDB's locks
 * belong to the process.
 */
static void
revive(struct kv_file *file)
{
	int64_t now_ms = kv_coarse_ms();
	char *path;
	int rc;

	if (file->users > 0 || now_ms < file->revive_ms)
		return;
	path = kv_move_path(file->env, file->generation);
	drop_views(file->pool);
	file->pool = NULL;
	file->pool_count = 0;
	kv_lmdb_close(file);
	rc = kv_lmdb_open(file, path, false);
	if (rc == 0)
		rc = kv_lmdb_sync(file);
	atomic_store(&file->checked, 0);
	atomic_store(&file->dead, rc != 0);
	file->revive_ms = now_ms + kv_retry_ms;
	shelf_log(rc == 0 ? SHELF_LOG_WARN : SHELF_LOG_ERROR, "kv opened again", "shard", "%u", file->env->shard,
	    "result", "%s", shelf_err_name(rc), NULL);
	free(path);
}

/* Under file_lock. */
static struct kv_file *
use_present(struct kv_env *env)
{
	struct kv_file *file = env->file;

	if (atomic_load_explicit(&file->dead, memory_order_relaxed))
		revive(file);
	file->users++;
	return file;
}

struct kv_file *
kv_file_take(struct kv_env *env)
{
	struct kv_file *file;

	pthread_mutex_lock(&env->file_lock);
	file = use_present(env);
	pthread_mutex_unlock(&env->file_lock);
	return file;
}

void
kv_file_release(struct kv_file *file)
{
	struct kv_env *env = file->env;
	bool last;

	pthread_mutex_lock(&env->file_lock);
	last = --file->users == 0 && env->file != file;
	pthread_mutex_unlock(&env->file_lock);
	if (last)
		kv_file_free(&file);
}

void
kv_file_replace(struct kv_env *env, struct kv_file *next)
{
	struct kv_file *left;
	struct kv_view *views = NULL;
	bool last = false;

	pthread_mutex_lock(&env->file_lock);
	left = env->file;
	env->file = next;
	if (left != NULL) {
		views = left->pool;
		left->pool = NULL;
		left->pool_count = 0;
		last = left->users == 0;
	}
	pthread_mutex_unlock(&env->file_lock);
	drop_views(views);
	if (last)
		kv_file_free(&left);
}

/* ---- Snapshots ------------------------------------------------------------------------------------ */

/*
 * A commit shows in the meta page a moment before new snapshots see it. A writer that was killed in
 * between leaves it so until the next writer takes the lock; taking it here is the last resort.
 */
static int
catch_up(struct kv_file *file, struct MDB_txn *txn)
{
	struct kv_env *env = file->env;
	unsigned long long want = atomic_load(&env->seen);
	struct MDB_txn *poke = NULL;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && kv_lmdb_number(file, txn) < want; i++) {
		kv_lmdb_read_reset(txn);
		if (i < CATCH_UP_SPINS) {
			sched_yield();
		} else if (i < CATCH_UP_SPINS + CATCH_UP_SLEEPS) {
			nanosleep(&(struct timespec){0, 100000}, NULL);
		} else if (i == CATCH_UP_SPINS + CATCH_UP_SLEEPS) {
			if (kv_lmdb_write_begin(file, &poke) == 0)
				kv_lmdb_abort(poke);
		} else {
			/* That commit was taken back by the writer: a failed meta page. */
			rc = kv_lmdb_read_renew(file, txn);
			atomic_compare_exchange_strong(&env->seen, &want,
			    rc == 0 ? kv_lmdb_number(file, txn) : 0);
			return rc;
		}
		rc = kv_lmdb_read_renew(file, txn);
	}
	return rc;
}

/* As kv_move_left, but each snapshot is looked at only once. Have accounts left it? */
static int
was_left(struct kv_view *view, uint32_t *next_out)
{
	struct kv_file *file = view->file;
	unsigned long long number = kv_lmdb_number(file, view->mdb);
	uint64_t left = 0;
	int rc;

	if (atomic_load_explicit(&file->checked, memory_order_acquire) == number)
		return 0;
	rc = kv_move_left(file, view->mdb, next_out);
	if (rc == 0 && file->env->shard != KV_SHARDS_MAX)
		rc = kv_lmdb_count(file, view->mdb, KV_LEFT, &left);
	if (rc == 0) {
		if (left > 0)
			atomic_store_explicit(&file->some_left, true, memory_order_relaxed);
		atomic_store_explicit(&file->checked, number, memory_order_release);
	}
	return rc;
}

static struct kv_view *
take_view(struct kv_env *env)
{
	struct kv_file *file;
	struct kv_view *view;

	pthread_mutex_lock(&env->file_lock);
	file = use_present(env);
	view = file->pool;
	if (view != NULL) {
		file->pool = view->next;
		file->pool_count--;
	}
	pthread_mutex_unlock(&env->file_lock);
	if (view == NULL) {
		view = SHELF_NEW(struct kv_view);
		view->env = env;
		view->file = file;
	}
	return view;
}

static void
free_view(struct kv_view *view)
{
	if (view->mdb != NULL)
		kv_lmdb_abort(view->mdb);
	free(view);
}

int
kv_file_view(struct kv_env *env, struct kv_view **out)
{
	struct kv_view *view;
	struct kv_file *file;
	uint32_t next;
	int rc = 1;

	*out = NULL;
	while (rc == 1) {
		view = take_view(env);
		file = view->file;
		if (atomic_load_explicit(&file->dead, memory_order_relaxed))
			rc = SHELF_EIO;
		else if (view->mdb != NULL)
			rc = kv_lmdb_read_renew(file, view->mdb);
		else
			rc = kv_lmdb_read_begin(file, &view->mdb);
		if (rc == 0)
			rc = catch_up(file, view->mdb);
		if (rc == 0)
			rc = was_left(view, &next);
		if (rc == 0) {
			*out = view;
			return 0;
		}
		free_view(view);
		if (rc == 1 && (rc = kv_move_follow(file, next)) == 0)
			rc = 1;
		kv_file_release(file);
	}
	return rc;
}

void
kv_file_view_end(struct kv_view *view)
{
	struct kv_file *file = view->file;
	struct kv_env *env = file->env;
	bool keep;

	kv_lmdb_read_reset(view->mdb);
	pthread_mutex_lock(&env->file_lock);
	keep = env->file == file && file->pool_count < KV_POOL_MAX;
	if (keep) {
		view->next = file->pool;
		file->pool = view;
		file->pool_count++;
	}
	pthread_mutex_unlock(&env->file_lock);
	if (!keep)
		free_view(view);
	kv_file_release(file);
}
