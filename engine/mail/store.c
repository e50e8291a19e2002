/*
 * store.c - making, opening and closing a store
 *
 * DIR/kv/...         the databases (engine/kv)
 * DIR/tmp/           temporary files without names, for large drafts
 * DIR/mailshelf      "format 1" and the settings chosen at init, written last: a directory without it is
 *                    no store
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>
#include <mailshelf/news.h>

#include "mail.h"
#include "news.h"

static const uint64_t map_default = (uint64_t)1 << 40, reserve_default = 16 << 20;

int
mail_from_errno(void)
{
	switch (errno) {
	case ENOSPC:
	case EDQUOT:
		return SHELF_EFULL;
	case ENOENT:
	case ENOTDIR:
		return SHELF_EMISSING;
	case EEXIST:
	case ENOTEMPTY:
		return SHELF_EEXISTS;
	default:
		return SHELF_EIO;
	}
}

static char *
path(const char *dir, const char *name)
{
	struct shelf_buf b = {0};

	shelf_buf_printf(&b, "%s/%s", dir, name);
	shelf_buf_cstr(&b);
	return (char *)b.data;
}

static int
make_dir(const char *dir, const char *name)
{
	char *p = path(dir, name);
	int rc = mkdir(p, 0700) == 0 ? 0 : mail_from_errno();

	free(p);
	return rc;
}

int
mail_sync_parent(const char *dir)
{
	char *p = path(dir, "..");
	int fd = open(p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = fd >= 0 && fsync(fd) == 0 ? 0 : mail_from_errno();

	if (fd >= 0)
		close(fd);
	free(p);
	return rc;
}

bool
mail_dir_is_empty(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	bool empty = d != NULL;

	while (d != NULL && (e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			empty = false;
	if (d != NULL)
		closedir(d);
	return empty;
}

/* The database, and in each shard what mail is compressed with until a dictionary of its own is trained. */
static int
make_database(const char *dir, const struct kv_params *params)
{
	struct kv_db *kv = NULL;
	int rc = kv_create(dir, params);

	if (rc != 0 || (rc = kv_open(dir, &kv)) != 0)
		return rc;
	for (uint32_t shard = 0; shard < kv_shards(kv) && rc == 0; shard++)
		rc = kv_update_shard(kv, shard, KV_ADDS | KV_QUIET, blob_dict_add_defaults, NULL);
	if (rc == 0)
		rc = blob_copies_settle(kv);
	kv_close(&kv);
	return rc;
}

int
shelf_store_create(const char *dir, const struct shelf_store_params *params)
{
	struct shelf_store_params p = params == NULL ? (struct shelf_store_params){0} : *params;
	struct kv_params kv = {
	    .shards = p.partitions,
	    .map_bytes = p.map_bytes == 0 ? map_default : p.map_bytes & ~(uint64_t)4095,
	    .reserve_bytes = p.reserve_bytes,
	};
	char *kv_dir, *dirs[KV_SHARDS_MAX] = {0};
	int rc;

	if (kv.reserve_bytes == 0)
		kv.reserve_bytes = kv.map_bytes / 2 < reserve_default ? kv.map_bytes / 2 : reserve_default;
	if (kv.shards == 0)
		kv.shards = sysconf(_SC_NPROCESSORS_ONLN) <= 4 ? 4 : 16;
	if (p.partitions == 0 && kv.shards < p.partition_dir_count)
		kv.shards = p.partition_dir_count;
	if (kv.shards > KV_SHARDS_MAX || kv.shards < p.partition_dir_count)
		return SHELF_EINVALID;
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return mail_from_errno();
	if (!mail_dir_is_empty(dir))
		return SHELF_EEXISTS;
	for (uint32_t i = 0; i < p.partition_dir_count; i++)
		if ((rc = mail_partition_dir(p.partition_dirs[i], &dirs[i])) != 0)
			goto out;
	for (uint32_t i = p.partition_dir_count; i > 0 && i < kv.shards; i++)
		dirs[i] = shelf_strdup(dirs[i % p.partition_dir_count]);
	kv.directories = (const char *const *)dirs;
	if ((rc = mail_sync_parent(dir)) != 0 || (rc = make_dir(dir, "tmp")) != 0 ||
	    (rc = make_dir(dir, "kv")) != 0)
		goto out;
	kv_dir = path(dir, "kv");
	rc = make_database(kv_dir, &kv);
	free(kv_dir);
out:
	for (uint32_t i = 0; i < KV_SHARDS_MAX; i++)
		free(dirs[i]);
	return rc != 0 ? rc : mail_settings_create(
			     dir, p.hold_s == 0 ? (uint32_t)shelf_setting_info(SHELF_SETTING_HOLD)->std
						: p.hold_s);
}

/* For the watcher: the account's version as of now. */
static uint64_t
account_version(void *arg, uint32_t account)
{
	struct shelf_store *s = arg;
	struct kv_view *view = NULL;
	struct mail_acct a;
	uint64_t version = 0;

	if (kv_view_begin(s->kv, account, &view) == 0 && mail_acct_get(view, &a) == 0)
		version = a.modseq;
	kv_view_end(&view);
	return version;
}

static void
tell(void *arg, uint32_t account)
{
	struct shelf_store *s = arg;

	news_tell(s->news, account);
}

int
shelf_store_open(const char *dir, unsigned flags, struct shelf_store **out)
{
	struct shelf_store *s = SHELF_NEW(struct shelf_store);
	char *kv_dir;
	int rc;

	*out = NULL;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	pthread_mutex_init(&s->disk_lock, NULL);
	s->dir = shelf_strdup(dir);
	s->tmp_dir = path(dir, "tmp");
	s->logins = login_cache_new();
	s->records = mail_records_new();
	if ((rc = mail_settings_read(s)) != 0)
		goto fail;
	kv_dir = path(dir, "kv");
	rc = kv_open(kv_dir, &s->kv);
	free(kv_dir);
	if (rc != 0)
		goto fail;
	s->news = news_new(s->kv, account_version, s);
	kv_set_listener(s->kv, tell, s);
	if ((flags & SHELF_OPEN_SERVE) != 0 &&
	    ((rc = news_watch(s->news)) != 0 || (rc = mail_janitor_start(s)) != 0))
		goto fail;
	*out = s;
	return 0;
fail:
	shelf_store_close(&s);
	return rc;
}

void
shelf_store_close(struct shelf_store **store)
{
	struct shelf_store *s = *store;

	if (s == NULL)
		return;
	*store = NULL;
	mail_janitor_stop(s);
	/* The watcher reads the databases, the committers tell the news: the watcher ends first, which
	 * news_free does; telling nobody is what an idle committer does. */
	if (s->kv != NULL)
		kv_set_listener(s->kv, NULL, NULL);
	news_free(&s->news);
	kv_close(&s->kv);
	login_cache_free(&s->logins);
	mail_records_free(&s->records);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s->tmp_dir);
	free(s->dir);
	free(s);
}

int
shelf_listen(struct shelf_store *store, uint32_t account, shelf_news_fn *fn, void *arg,
	     struct shelf_listener **out)
{
	*out = news_listen(store->news, account, fn, arg);
	return 0;
}

int
shelf_store_stats(struct shelf_store *store, struct shelf_store_stats *out)
{
	struct kv_stats one;
	int rc;

	*out = (struct shelf_store_stats){.partitions = kv_shards(store->kv)};
	for (uint32_t shard = 0; shard <= out->partitions; shard++) {
		if ((rc = kv_stats(store->kv, shard < out->partitions ? shard : KV_SHARDS_MAX,
				   &one)) != 0)
			return rc;
		out->file_bytes += one.file_bytes;
		out->free_bytes += one.free_bytes;
		out->disk_free_bytes = one.disk_free_bytes;
		out->commits += one.commits;
		out->updates += one.updates;
		out->slow_views += one.slow_views;
		out->commit_durations.total_us += one.commit_durations.total_us;
		for (unsigned n = 0; n < SHELF_DURATIONS_BUCKETS; n++)
			out->commit_durations.bucket[n] += one.commit_durations.bucket[n];
	}
	return 0;
}
