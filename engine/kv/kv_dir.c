/*
 * kv_dir.c - a database as a directory
 *
 *   DIR/kv.conf      text: format, shards, map_bytes, reserve_bytes, and for each shard that lies elsewhere
 *                    a line "directory N PATH"; written last by kv_create, so that its presence says that the
 *                    rest is complete; replaced by kv_add_shard, again last
 *   DIR/catalog/     data.mdb lock.mdb
 *   DIR/part-00/ ... the same, one per shard
 *
 * What must stay true: one process opens a database once. LMDB's locks belong to the process: a second
 * environment on the same file would drop those of the first when it closes. Hence the registry.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <mailshelf/log.h>
#include <mailshelf/mem.h>
#include "kv_internal.h"

enum {
	FORMAT = 1,
	DIRECTORY_MAX_BYTES = 1000,
	CONF_MAX_BYTES = 1024 + KV_SHARDS_MAX * (DIRECTORY_MAX_BYTES + 20),
	MAP_UNIT_BYTES = 4096,
	MAP_MIN_BYTES = 1 << 20,
};

/* What kv.conf says. */
struct conf {
	struct kv_params params;
	char *home[KV_SHARDS_MAX]; /* NULL: the database's own directory */
	ino_t ino;
};

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct kv_db *registry;

int
kv_system_error(const char *what, const char *path)
{
	int err = errno;

	shelf_log(SHELF_LOG_ERROR, "kv failed", "what", "%s", what, "path", "%s", path, "error", "%s",
	    strerror(err), NULL);
	return err == ENOSPC || err == EDQUOT || err == EFBIG ? SHELF_EFULL : SHELF_EIO;
}

static bool
params_valid(const struct kv_params *p)
{
	return p->shards >= 1 && p->shards <= KV_SHARDS_MAX && p->map_bytes >= MAP_MIN_BYTES &&
	    p->map_bytes % MAP_UNIT_BYTES == 0 && p->map_bytes <= SIZE_MAX / 2 &&
	    p->reserve_bytes <= p->map_bytes / 2;
}

/* ---- Environments -------------------------------------------------------------------------------- */

static void
env_init(struct kv_env *env, struct kv_db *db, uint32_t shard, const char *home)
{
	pthread_condattr_t attr;

	env->db = db;
	env->shard = shard;
	env->home = shelf_strdup(home);
	env->map_bytes = db->map_bytes;
	env->reserve_bytes = db->reserve_bytes;
	env->tail = &env->head;
	pthread_mutex_init(&env->lock, NULL);
	pthread_mutex_init(&env->file_lock, NULL);
	pthread_mutex_init(&env->move_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&env->work, &attr);
	pthread_condattr_destroy(&attr);
}

static void
env_done(struct kv_env *env)
{
	SHELF_ASSERT(atomic_load(&env->views) == 0); /* a view outlived its database */
	if (env->file != NULL)
		kv_file_replace(env, NULL);
	pthread_mutex_destroy(&env->lock);
	pthread_mutex_destroy(&env->file_lock);
	pthread_mutex_destroy(&env->move_lock);
	pthread_cond_destroy(&env->work);
	free(env->home);
}

static void
add_env(struct kv_db *db, uint32_t shard, const char *home)
{
	env_init(&db->shard[shard], db, shard, home == NULL ? db->dir : home);
}

/* HOMES: of each shard. */
static struct kv_db *
db_new(const char *dir, const struct kv_params *params, const char *const *homes)
{
	struct kv_db *db = SHELF_NEW(struct kv_db);

	db->shards = params->shards;
	db->map_bytes = params->map_bytes;
	db->reserve_bytes = params->reserve_bytes;
	db->dir = shelf_strdup(dir);
	db->places = kv_places_new();
	pthread_rwlock_init(&db->listener_lock, NULL);
	pthread_mutex_init(&db->grow_lock, NULL);
	env_init(&db->catalog, db, KV_SHARDS_MAX, dir);
	for (uint32_t i = 0; i < db->shards; i++)
		add_env(db, i, homes == NULL ? NULL : homes[i]);
	return db;
}

static void
unregister_db(struct kv_db *db)
{
	pthread_mutex_lock(&registry_lock);
	for (struct kv_db **d = &registry; *d != NULL; d = &(*d)->next) {
		if (*d == db) {
			*d = db->next;
			break;
		}
	}
	pthread_mutex_unlock(&registry_lock);
}

static void
db_free(struct kv_db **db)
{
	for (uint32_t i = 0; i < (*db)->shards; i++)
		env_done(&(*db)->shard[i]);
	env_done(&(*db)->catalog);
	unregister_db(*db); /* only when closed: an open in between would share its locks */
	pthread_rwlock_destroy(&(*db)->listener_lock);
	pthread_mutex_destroy(&(*db)->grow_lock);
	free((*db)->dir);
	kv_places_free(&(*db)->places);
	free(*db);
	*db = NULL;
}

/* ---- Create -------------------------------------------------------------------------------------- */

int
kv_sync_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (fd < 0 || fsync(fd) != 0)
		rc = kv_system_error("fsync", path);
	if (fd >= 0)
		close(fd);
	return rc;
}

static int
create_env(struct kv_env *env)
{
	struct kv_file *file = kv_file_new(env, 1);
	char *path = kv_move_path(env, 1);
	int rc = 0;

	/* In the database's own directory it may be of a kv_create that was interrupted. */
	if (mkdir(path, 0700) != 0 && (errno != EEXIST || strcmp(env->home, env->db->dir) != 0))
		rc = errno == EEXIST ? SHELF_EEXISTS : kv_system_error("mkdir", path);
	if (rc == 0)
		rc = kv_lmdb_open(file, path, true);
	if (rc == 0)
		rc = kv_sync_dir(path);
	if (rc == 0)
		rc = kv_sync_dir(env->home);
	kv_file_free(&file);
	free(path);
	return rc;
}

static int
write_all(int fd, struct shelf_span s)
{
	while (s.len > 0) {
		ssize_t n = write(fd, s.data, s.len);

		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0) {
			s.data += n;
			s.len -= (size_t)n;
		}
	}
	return 0;
}

int
kv_write_text(const char *dir, const char *path, struct shelf_span text)
{
	struct shelf_buf temp = {0};
	int rc = 0, fd;

	shelf_buf_printf(&temp, "%s.new", path);
	fd = open(shelf_buf_cstr(&temp), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || write_all(fd, text) != 0 || fsync(fd) != 0)
		rc = kv_system_error("write", shelf_buf_cstr(&temp));
	if (fd >= 0 && close(fd) != 0 && rc == 0)
		rc = kv_system_error("close", shelf_buf_cstr(&temp));
	if (rc == 0 && rename(shelf_buf_cstr(&temp), path) != 0)
		rc = kv_system_error("rename", path);
	if (rc == 0)
		rc = kv_sync_dir(dir);
	shelf_buf_free(&temp);
	return rc;
}

static int
write_conf(const struct kv_db *db, uint32_t shards)
{
	struct shelf_buf text = {0}, path = {0};
	int rc;

	shelf_buf_printf(&path, "%s/kv.conf", db->dir);
	shelf_buf_printf(&text, "format %d\nshards %u\nmap_bytes %" PRIu64 "\nreserve_bytes %" PRIu64 "\n",
	    FORMAT, shards, db->map_bytes, db->reserve_bytes);
	for (uint32_t i = 0; i < shards; i++)
		if (strcmp(db->shard[i].home, db->dir) != 0)
			shelf_buf_printf(&text, "directory %u %s\n", i, db->shard[i].home);
	rc = kv_write_text(db->dir, shelf_buf_cstr(&path), shelf_buf_span(&text));
	shelf_buf_free(&text);
	shelf_buf_free(&path);
	return rc;
}

static bool
directory_valid(struct shelf_span path)
{
	if (path.len == 0 || path.len > DIRECTORY_MAX_BYTES || path.data[0] != '/')
		return false;
	for (size_t i = 0; i < path.len; i++)
		if (path.data[i] < ' ') /* a line of kv.conf ends before */
			return false;
	return true;
}

int
kv_create(const char *dir, const struct kv_params *params)
{
	struct shelf_buf path = {0};
	struct kv_db *db;
	bool exists;
	int rc = 0;

	if (!params_valid(params))
		return SHELF_EINVALID;
	for (uint32_t i = 0; params->directories != NULL && i < params->shards; i++)
		if (params->directories[i] != NULL && !directory_valid(shelf_span_str(params->directories[i])))
			return SHELF_EINVALID;
	shelf_buf_printf(&path, "%s/kv.conf", dir);
	exists = access(shelf_buf_cstr(&path), F_OK) == 0;
	shelf_buf_free(&path);
	if (exists)
		return SHELF_EEXISTS;
	db = db_new(dir, params, params->directories);
	rc = create_env(&db->catalog);
	for (uint32_t i = 0; rc == 0 && i < db->shards; i++)
		rc = create_env(&db->shard[i]);
	if (rc == 0)
		rc = write_conf(db, db->shards);
	db_free(&db);
	return rc;
}

/* ---- Open ---------------------------------------------------------------------------------------- */

bool
kv_text_number(const char *text, const char *name, uint64_t *out)
{
	size_t name_len = strlen(name);
	const char *line = text;

	while (line != NULL && *line != '\0') {
		const char *end = strchr(line, '\n');

		if (end == NULL)
			return false; /* every line ends: a cut file is not believed */
		if (strncmp(line, name, name_len) == 0 && line[name_len] == ' ')
			return shelf_span_u64(shelf_span(line + name_len + 1,
			    (size_t)(end - line) - name_len - 1), UINT64_MAX, out);
		line = end + 1;
	}
	return false;
}

int
kv_read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), rc = 0;
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? SHELF_EMISSING : kv_system_error("open", path);
	n = read(fd, text, size);
	if (n < 0)
		rc = kv_system_error("read", path);
	else if ((size_t)n == size)
		rc = SHELF_ECORRUPT;
	text[rc == 0 ? n : 0] = '\0';
	close(fd);
	return rc;
}

/* The lines "directory N PATH". */
static int
read_directories(const char *text, struct conf *out)
{
	static const char name[] = "directory ";
	struct shelf_span rest = shelf_span_str(text);
	uint64_t shard;

	while (rest.len > 0) {
		const uint8_t *end = memchr(rest.data, '\n', rest.len), *blank;
		struct shelf_span line = shelf_span(rest.data, (size_t)(end - rest.data));

		rest = shelf_span(end + 1, rest.len - line.len - 1);
		if (line.len < sizeof name || memcmp(line.data, name, sizeof name - 1) != 0)
			continue;
		line = shelf_span(line.data + sizeof name - 1, line.len - (sizeof name - 1));
		blank = memchr(line.data, ' ', line.len);
		if (blank == NULL || !shelf_span_u64(shelf_span(line.data, (size_t)(blank - line.data)),
		    out->params.shards - 1, &shard) || out->home[shard] != NULL)
			return SHELF_ECORRUPT;
		line = shelf_span(blank + 1, line.len - (size_t)(blank + 1 - line.data));
		if (!directory_valid(line))
			return SHELF_ECORRUPT;
		out->home[shard] = shelf_strndup((const char *)line.data, line.len);
	}
	return 0;
}

static void
conf_free(struct conf *conf)
{
	for (uint32_t i = 0; i < KV_SHARDS_MAX; i++)
		free(conf->home[i]);
}

static int
parse_conf(const char *text, struct conf *out)
{
	uint64_t format = 0, shards = 0;

	if (!kv_text_number(text, "format", &format))
		return SHELF_ECORRUPT;
	if (format != FORMAT)
		return SHELF_EVERSION;
	if (!kv_text_number(text, "shards", &shards) || shards > KV_SHARDS_MAX ||
	    !kv_text_number(text, "map_bytes", &out->params.map_bytes) ||
	    !kv_text_number(text, "reserve_bytes", &out->params.reserve_bytes) ||
	    text[strlen(text) - 1] != '\n')
		return SHELF_ECORRUPT;
	out->params.shards = (uint32_t)shards;
	return params_valid(&out->params) ? read_directories(text, out) : SHELF_ECORRUPT;
}

/* The caller frees OUT in any case. */
static int
read_conf(const char *dir, struct conf *out)
{
	struct shelf_buf path = {0};
	struct stat st;
	char *text = shelf_alloc(CONF_MAX_BYTES + 1);
	int rc;

	memset(out, 0, sizeof *out);
	shelf_buf_printf(&path, "%s/kv.conf", dir);
	/* Looked at before it is read: what is replaced in between is read again. */
	if (stat(shelf_buf_cstr(&path), &st) == 0)
		out->ino = st.st_ino;
	rc = kv_read_text(shelf_buf_cstr(&path), text, CONF_MAX_BYTES + 1);
	if (rc == 0)
		rc = parse_conf(text, out);
	shelf_buf_free(&path);
	free(text);
	return rc;
}

static int
register_db(struct kv_db *db, const char *dir)
{
	struct stat st;
	int rc = 0;

	if (stat(dir, &st) != 0)
		return kv_system_error("stat", dir);
	db->dev = st.st_dev;
	db->ino = st.st_ino;
	pthread_mutex_lock(&registry_lock);
	for (struct kv_db *d = registry; d != NULL; d = d->next)
		if (d->dev == db->dev && d->ino == db->ino)
			rc = SHELF_EBUSY;
	if (rc == 0) {
		db->next = registry;
		registry = db;
	}
	pthread_mutex_unlock(&registry_lock);
	return rc;
}

int
kv_open(const char *dir, struct kv_db **out)
{
	struct conf conf;
	struct kv_db *db = NULL;
	int rc = read_conf(dir, &conf);

	*out = NULL;
	if (rc != 0)
		goto out;
	db = db_new(dir, &conf.params, (const char *const *)conf.home);
	db->conf_ino = conf.ino;
	rc = register_db(db, dir);
	if (rc != 0) {
		db_free(&db);
		goto out;
	}
	rc = kv_move_open(&db->catalog);
	for (uint32_t i = 0; rc == 0 && i < db->shards; i++)
		rc = kv_move_open(&db->shard[i]);
	if (rc != 0)
		kv_close(&db);
	*out = db;
out:
	conf_free(&conf);
	return rc;
}

int
kv_refresh(struct kv_db *db)
{
	struct shelf_buf path = {0};
	struct conf conf = {0};
	struct stat st;
	int rc = 0;

	shelf_buf_printf(&path, "%s/kv.conf", db->dir);
	pthread_mutex_lock(&db->grow_lock);
	if (stat(shelf_buf_cstr(&path), &st) != 0 || st.st_ino != db->conf_ino) {
		rc = read_conf(db->dir, &conf);
		for (uint32_t i = db->shards; rc == 0 && i < conf.params.shards; i++) {
			add_env(db, i, conf.home[i]);
			rc = kv_move_open(&db->shard[i]);
			if (rc == 0)
				db->shards = i + 1; /* from now on others see it */
			else
				env_done(&db->shard[i]);
		}
		if (rc == 0)
			db->conf_ino = conf.ino;
	}
	pthread_mutex_unlock(&db->grow_lock);
	conf_free(&conf);
	shelf_buf_free(&path);
	return rc;
}

static int
create_next(struct kv_db *db, const char *directory)
{
	uint32_t n = db->shards;
	int rc;

	if (n >= KV_SHARDS_MAX)
		return SHELF_ELIMIT;
	pthread_mutex_lock(&db->grow_lock);
	add_env(db, n, directory);
	rc = create_env(&db->shard[n]);
	if (rc == 0)
		rc = write_conf(db, n + 1);
	env_done(&db->shard[n]);
	memset(&db->shard[n], 0, sizeof db->shard[n]);
	pthread_mutex_unlock(&db->grow_lock);
	return rc;
}

int
kv_add_shard(struct kv_db *db, const char *directory)
{
	int fd, rc;

	if (directory != NULL && !directory_valid(shelf_span_str(directory)))
		return SHELF_EINVALID;
	rc = kv_move_lock(&db->catalog, &fd); /* one process at a time */
	if (rc != 0)
		return rc;
	rc = kv_refresh(db);
	if (rc == 0)
		rc = create_next(db, directory);
	if (rc == 0)
		rc = kv_refresh(db);
	close(fd);
	return rc;
}

void
kv_close(struct kv_db **db)
{
	if (*db == NULL)
		return;
	/* The catalog last: it also tells the outcome of submissions that named no known account. */
	for (uint32_t i = 0; i < (*db)->shards; i++)
		kv_committer_stop(&(*db)->shard[i]);
	kv_committer_stop(&(*db)->catalog);
	db_free(db);
}

uint32_t
kv_shards(const struct kv_db *db)
{
	return db->shards;
}

int
kv_data_file(const char *dir, uint32_t shard, struct shelf_buf *path_out)
{
	struct kv_env env = {.shard = shard};
	struct conf conf;
	int rc = read_conf(dir, &conf);

	/* Without kv.conf, or with a damaged one, what lies in DIR can still be found. */
	if (rc == 0 && shard != KV_SHARDS_MAX && conf.home[shard] != NULL)
		env.home = shelf_strdup(conf.home[shard]);
	else
		env.home = shelf_strdup(dir);
	rc = kv_move_file(&env, path_out);
	conf_free(&conf);
	free(env.home);
	return rc;
}
