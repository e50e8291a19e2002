/*
 * kv_stats.c - numbers about a database, and the reader table
 *
 * What must stay true: a number that kv_commits_seen() has returned is remembered in kv_env.seen, from
 * where views take how new they have to be (kv_file.c, catch_up).
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include "kv_internal.h"

void
kv_file_look(struct kv_env *env, struct kv_lmdb_info *out)
{
	struct kv_file *file = kv_file_take(env);

	kv_lmdb_info(file, out);
	kv_file_release(file);
}

uint64_t
kv_commits_seen(struct kv_db *db, uint32_t shard)
{
	struct kv_env *env = kv_env_of(db, shard);
	struct kv_lmdb_info info;
	unsigned long long seen;

	if (env == NULL)
		return 0;
	kv_file_look(env, &info);
	seen = atomic_load(&env->seen);
	while (seen < info.number)
		if (atomic_compare_exchange_weak(&env->seen, &seen, info.number))
			break;
	return info.number;
}

int
kv_stats(struct kv_db *db, uint32_t shard, struct kv_stats *out)
{
	struct kv_env *env = kv_env_of(db, shard);
	struct kv_lmdb_info info;
	struct kv_file *file;
	struct kv_view *view;
	struct statvfs fs;
	uint64_t usable, total;
	int rc;

	memset(out, 0, sizeof *out);
	if (env == NULL)
		return SHELF_EINVALID;
	rc = kv_file_view(env, &view); /* so that it is not a file that was left */
	if (rc != 0)
		return rc;
	file = view->file;
	rc = kv_lmdb_free_pages(file, &usable, &total);
	if (rc == 0 && fstatvfs(kv_lmdb_fd(file), &fs) != 0)
		rc = SHELF_EIO;
	if (rc == 0) {
		kv_lmdb_info(file, &info);
		out->file_bytes = info.pages * file->page_bytes;
		out->free_bytes = total * file->page_bytes;
		out->map_bytes = env->map_bytes;
		out->reserve_bytes = kv_room_keep_pages(file) * file->page_bytes;
		out->disk_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
		out->disk_free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
		out->commits = atomic_load(&env->commits);
		out->updates = atomic_load(&env->updates);
		shelf_durations_read(&env->commit_durations, &out->commit_durations);
		out->readers = info.readers;
		out->stale_readers_cleared = atomic_load(&env->stale_cleared);
		out->slow_views = atomic_load(&env->slow_views);
	}
	kv_file_view_end(view);
	return rc;
}

int
kv_where(struct kv_db *db, uint32_t shard, struct shelf_buf *path_out, uint64_t *device_out)
{
	struct kv_env *env = kv_env_of(db, shard);
	struct kv_view *view;
	struct stat st;
	char *path;
	int rc;

	if (env == NULL)
		return SHELF_EINVALID;
	rc = kv_file_view(env, &view);
	if (rc != 0)
		return rc;
	path = kv_move_path(env, view->file->generation);
	kv_file_view_end(view);
	shelf_buf_clear(path_out);
	shelf_buf_add_str(path_out, path);
	free(path);
	if (stat(env->home, &st) != 0)
		return kv_system_error("stat", env->home);
	*device_out = st.st_dev;
	return 0;
}

enum { WATCH_EVERY_MS = 20 };

int
kv_oldest_reader(struct kv_db *db, uint32_t shard, unsigned watch_ms, struct kv_reader *out)
{
	struct kv_env *env = kv_env_of(db, shard);
	struct kv_lmdb_reader first, now;
	struct kv_file *file;
	int64_t begun_ms = kv_coarse_ms(), age_ms = 0;
	int rc;

	*out = (struct kv_reader){0};
	if (env == NULL)
		return SHELF_EINVALID;
	file = kv_file_take(env);
	rc = kv_lmdb_oldest_reader(file, &first);
	now = first;
	/* The reader table has no times: a snapshot is as old as we have seen it. */
	while (rc == 0 && now.behind > 0 && now.pid == first.pid && now.txnid == first.txnid &&
	    (age_ms = kv_coarse_ms() - begun_ms) < watch_ms) {
		nanosleep(&(struct timespec){0, WATCH_EVERY_MS * 1000000}, NULL);
		rc = kv_lmdb_oldest_reader(file, &now);
	}
	if (rc == 0 && now.behind > 0)
		*out = (struct kv_reader){.pid = now.pid, .commits = now.behind,
		    .held_bytes = now.held_pages * file->page_bytes,
		    .age_ms = now.pid == first.pid && now.txnid == first.txnid ? age_ms : 0};
	kv_file_release(file);
	return rc != 0 ? rc : out->commits > 0;
}

void
kv_file_clear_readers(struct kv_env *env)
{
	struct kv_file *file = kv_file_take(env);

	kv_lmdb_clear_readers(file);
	kv_file_release(file);
}

void
kv_clear_readers(struct kv_db *db)
{
	kv_file_clear_readers(&db->catalog);
	for (uint32_t i = 0; i < db->shards; i++)
		kv_file_clear_readers(&db->shard[i]);
}
