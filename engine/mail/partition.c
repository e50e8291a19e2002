/* partition.c - partitions as the tool sees them: their directories, figures, and compaction */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <mailshelf/partition.h>

#include "mail.h"

/* ---- Directories ----------------------------------------------------------------------------------- */

static int
make_dir(const char *dir, char **path_out)
{
	*path_out = NULL;
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return mail_from_errno();
	*path_out = realpath(dir, NULL); /* a store is opened from anywhere */
	return *path_out == NULL ? mail_from_errno() : mail_sync_parent(*path_out);
}

int
mail_partition_dir(const char *dir, char **path_out)
{
	int rc = make_dir(dir, path_out);

	return rc == 0 && !mail_dir_is_empty(*path_out) ? SHELF_EEXISTS : rc;
}

int
shelf_partition_add(struct shelf_store *s, const char *dir)
{
	char *path = NULL;
	int rc = dir == NULL ? 0 : make_dir(dir, &path);

	if (rc == 0)
		rc = kv_add_shard(s->kv, path);
	free(path);
	return rc;
}

/* ---- Figures --------------------------------------------------------------------------------------- */

static int
count_accounts(struct shelf_store *s, uint32_t number, uint64_t *out)
{
	struct kv_view *view = NULL;
	bool catalog = number == SHELF_CATALOG;
	int rc = catalog ? kv_view_begin(s->kv, KV_CATALOG, &view)
			 : kv_view_begin_shard(s->kv, number, &view);

	if (rc == 0)
		rc = kv_count(view, catalog ? KV_USER : KV_ACCT, out);
	kv_view_end(&view);
	return rc;
}

int
shelf_partition_get(struct shelf_store *s, uint32_t number, shelf_partition_fn *fn, void *arg)
{
	struct shelf_partition p = {.number = number};
	struct shelf_buf path = {0};
	struct kv_stats st;
	int rc;

	if (number != SHELF_CATALOG && number >= kv_shards(s->kv))
		return SHELF_EINVALID;
	rc = kv_stats(s->kv, number, &st);
	if (rc == 0)
		rc = kv_where(s->kv, number, &path, &p.device);
	if (rc == 0)
		rc = count_accounts(s, number, &p.accounts);
	if (rc == 0) {
		p.path = shelf_buf_cstr(&path);
		p.file_bytes = st.file_bytes;
		p.free_bytes = st.free_bytes;
		p.disk_bytes = st.disk_bytes;
		p.disk_free_bytes = st.disk_free_bytes;
		p.commits = kv_commits_seen(s->kv, number);
		rc = fn(arg, &p);
	}
	shelf_buf_free(&path);
	return rc;
}

/* ---- Compaction ------------------------------------------------------------------------------------ */

struct step {
	shelf_compact_fn *fn;
	void *arg;
};

static int
step(void *arg, uint64_t done, uint64_t total)
{
	struct step *s = arg;

	return s->fn == NULL || s->fn(s->arg, done, total) ? 0 : SHELF_ECANCELLED;
}

int
shelf_store_compact(struct shelf_store *s, uint32_t number, shelf_compact_fn *fn, void *arg,
		    struct shelf_compacted *out)
{
	struct step each = {fn, arg};
	struct kv_compacted done;
	int rc = kv_compact(s->kv, number, step, &each, &done);

	*out = (struct shelf_compacted){done.before_bytes, done.after_bytes, done.need_bytes,
					done.disk_free_bytes};
	return rc;
}
