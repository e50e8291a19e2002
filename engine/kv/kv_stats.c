/*
 * kv_stats.c - numbers about a database, and the reader table
 *
 * What must stay true: a number that kv_commits_seen() has returned is remembered in kv_env.seen, from
 * where views take how new they have to be (kv.c, catch_up).
 */
#include <sys/statvfs.h>
#include "kv_internal.h"

uint64_t
kv_commits_seen(struct kv_db *db, uint32_t shard)
{
	struct kv_env *env = kv_env_of(db, shard);
	struct kv_lmdb_info info;
	unsigned long long seen;

	if (env == NULL)
		return 0;
	kv_lmdb_info(env, &info);
	seen = atomic_load(&env->seen);
	while (seen < info.last_txnid)
		if (atomic_compare_exchange_weak(&env->seen, &seen, info.last_txnid))
			break;
	return info.last_txnid;
}

int
kv_stats(struct kv_db *db, uint32_t shard, struct kv_stats *out)
{
	struct kv_env *env = kv_env_of(db, shard);
	struct kv_lmdb_info info;
	struct statvfs fs;
	uint64_t usable, total;
	int rc;

	memset(out, 0, sizeof *out);
	if (env == NULL)
		return SHELF_EINVALID;
	rc = kv_lmdb_free_pages(env, &usable, &total);
	if (rc != 0)
		return rc;
	if (fstatvfs(kv_lmdb_fd(env), &fs) != 0)
		return SHELF_EIO;
	kv_lmdb_info(env, &info);
	out->file_bytes = info.pages * env->page_bytes;
	out->free_bytes = total * env->page_bytes;
	out->map_bytes = env->map_bytes;
	out->reserve_bytes = kv_room_keep_pages(env) * env->page_bytes;
	out->disk_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
	out->disk_free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	out->commits = atomic_load(&env->commits);
	out->updates = atomic_load(&env->updates);
	out->readers = info.readers;
	out->stale_readers_cleared = atomic_load(&env->stale_cleared);
	out->slow_views = atomic_load(&env->slow_views);
	return 0;
}

void
kv_clear_readers(struct kv_db *db)
{
	kv_lmdb_clear_readers(&db->catalog);
	for (uint32_t i = 0; i < db->shards; i++)
		kv_lmdb_clear_readers(&db->shard[i]);
}
