/*
 * backup_run.c - a run: every account of a store into a new generation
 *
 *   for each account    unchanged since the generation before --> its lists are referred to
 *                       changed --> rows as of one version (carry.h), the bodies that the file does not hold
 *   then                catalog, index, generation, trailer
 *
 * What must stay true: a body is listed when its bytes were read whole and had the SHA-256 they should have. An account
 * is unchanged when modseq, counters and all mailbox rows are (the stamp), in the very store of the generation before.
 */
#include <stdarg.h>
#include <stdlib.h>

#include <openssl/evp.h>

#include <mailshelf/mem.h>
#include <mailshelf/settings.h>

#include "backup.h"

enum { USERS_SLICE = 256, LIST_BYTES_MAX = 1 << 19, DAMAGED_MAX = 100000 };

struct wanted { /* a body that the file does not hold */
	uint64_t blob, size;
	uint8_t hash[BACKUP_HASH_BYTES];
};

struct before { /* an account of the generation before: its row in VALUES */
	uint32_t id;
	size_t at, len;
};

struct run {
	struct shelf_store *store;
	shelf_backup_progress_fn *progress;
	shelf_backup_problem_fn *problem;
	void *arg;
	struct shelf_backup_done done;
	struct backup_generation generation;
	struct backup_pack pack;
	struct backup_rows catalog, rows;
	struct shelf_buf before_values;
	struct before *before; /* ascending by id */
	size_t nbefore, before_cap;
	/* Of the account being copied. */
	uint32_t account;
	struct wanted *wanted;
	size_t nwanted, wanted_cap;
	EVP_MD_CTX *stamp, *sha;
	struct shelf_buf frame;
	struct wanted *damaged; /* told already */
	size_t ndamaged, damaged_cap;
};

static void
tell(struct run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void
tell(struct run *r, const char *fmt, ...)
{
	struct shelf_buf text = {0};
	va_list ap;

	if (r->problem == NULL)
		return;
	va_start(ap, fmt);
	shelf_buf_vprintf(&text, fmt, ap);
	va_end(ap);
	r->problem(r->arg, shelf_buf_cstr(&text));
	shelf_buf_free(&text);
}

static int
go_on(struct run *r)
{
	return r->progress != NULL && r->progress(r->arg, &r->done) != 0 ? SHELF_ECANCELLED : 0;
}

/* ---- Bodies ------------------------------------------------------------------------------------------- */

static bool
is_damaged(const struct run *r, const struct wanted *w)
{
	for (size_t i = 0; i < r->ndamaged; i++)
		if (memcmp(r->damaged[i].hash, w->hash, sizeof(w->hash)) == 0)
			return true;
	return false;
}

static void
note_damaged(struct run *r, const struct wanted *w, int rc)
{
	if (r->ndamaged == r->damaged_cap) {
		r->damaged_cap = r->damaged_cap == 0 ? 16 : r->damaged_cap * 2;
		r->damaged = shelf_realloc(r->damaged, r->damaged_cap * sizeof(*r->damaged));
	}
	r->damaged[r->ndamaged++] = *w;
	r->done.damaged++;
	tell(r, "account %u: a message of %llu bytes cannot be read (%s): it is not in the backup", r->account,
	     (unsigned long long)w->size, shelf_err_text(rc));
}

/* Frame N into r->frame, in a snapshot of its own. SHELF_EMISSING: the blob is gone, or another's. */
static int
read_frame(struct run *r, const struct wanted *w, uint32_t n, uint32_t *nframes)
{
	struct kv_view *view = NULL;
	struct blob_row row;
	int rc;

	if ((rc = kv_view_begin(r->store->kv, r->account, &view)) != 0)
		return rc;
	if ((rc = blob_get(view, w->blob, &row)) == 0) {
		*nframes = row.nframes;
		rc = row.size != w->size || memcmp(row.hash, w->hash, sizeof(w->hash)) != 0
			 ? SHELF_EMISSING
			 : blob_read_frame(view, w->blob, &row, n, &r->frame);
	}
	kv_view_end(&view);
	return rc;
}

static int
copy_body(struct run *r, const struct wanted *w)
{
	struct backup_place place = {0};
	uint8_t digest[EVP_MAX_MD_SIZE];
	uint64_t at = 0;
	uint32_t nframes = 1;
	int rc = 0;

	SHELF_ASSERT(EVP_DigestInit_ex(r->sha, EVP_sha256(), NULL) == 1);
	for (uint32_t n = 0; n < nframes; n++) {
		if ((rc = read_frame(r, w, n, &nframes)) != 0)
			return rc;
		SHELF_ASSERT(EVP_DigestUpdate(r->sha, r->frame.data, r->frame.len) == 1);
		rc = backup_pack_piece(&r->pack, w->hash, w->size, at, shelf_buf_span(&r->frame), &place);
		if (rc != 0)
			return rc;
		at += r->frame.len;
	}
	SHELF_ASSERT(EVP_DigestFinal_ex(r->sha, digest, NULL) == 1);
	if (at != w->size || memcmp(digest, w->hash, sizeof(w->hash)) != 0)
		return SHELF_ECORRUPT;
	r->done.bodies++;
	r->done.body_bytes += w->size;
	return backup_pack_body(&r->pack, w->hash, w->size, place);
}

/* ---- One account: the callbacks of mail_carry_out --------------------------------------------------------- */

static void
begin_account(void *arg)
{
	struct run *r = arg;

	backup_rows_begin(&r->rows);
	r->nwanted = 0;
	SHELF_ASSERT(EVP_DigestInit_ex(r->stamp, EVP_sha256(), NULL) == 1);
}

static int
take_row(void *arg, const struct carry_row *row)
{
	struct run *r = arg;
	struct backup_place place;

	if (row->table == KV_ACCT || row->table == KV_MBOX)
		SHELF_ASSERT(EVP_DigestUpdate(r->stamp, row->value.data, row->value.len) == 1);
	if (row->has_body && !backup_index_find(r->pack.index, BACKUP_BODIES, row->hash, row->size, &place)) {
		struct wanted *w;

		if (r->nwanted == r->wanted_cap) {
			r->wanted_cap = r->wanted_cap == 0 ? 1024 : r->wanted_cap * 2;
			r->wanted = shelf_realloc(r->wanted, r->wanted_cap * sizeof(*r->wanted));
		}
		w = &r->wanted[r->nwanted++];
		*w = (struct wanted){.blob = row->blob, .size = row->size};
		memcpy(w->hash, row->hash, sizeof(w->hash));
	}
	return backup_rows_add(&r->rows, kv_table_name(row->table), row->key, row->value);
}

static int
copy_bodies(void *arg)
{
	struct run *r = arg;
	struct backup_place place;
	bool gone = false;
	int rc = 0;

	for (size_t i = 0; i < r->nwanted && rc == 0; i++) {
		const struct wanted *w = &r->wanted[i];

		if (backup_index_find(r->pack.index, BACKUP_BODIES, w->hash, w->size, &place) || is_damaged(r, w))
			continue;
		rc = copy_body(r, w);
		if (rc == SHELF_ECORRUPT || rc == SHELF_EVERSION) {
			note_damaged(r, w, rc);
			rc = r->ndamaged < DAMAGED_MAX ? 0 : SHELF_ECORRUPT;
		}
		gone = gone || rc == SHELF_EMISSING;
		rc = rc == SHELF_EMISSING ? 0 : rc;
		if (rc == 0)
			rc = go_on(r);
	}
	r->nwanted = 0;
	if (rc == 0)
		rc = backup_pack_flush(&r->pack);
	if (rc == 0)
		rc = go_on(r);
	return rc == 0 && gone ? SHELF_EMISSING : rc;
}

static const struct carry_out account_callbacks = {begin_account, take_row, copy_bodies};

/* ---- Accounts ----------------------------------------------------------------------------------------- */

/* The stamp as of now, without reading messages. */
static int
current_stamp(struct run *r, uint8_t out[BACKUP_HASH_BYTES], struct mail_acct *acct)
{
	static const enum kv_table tables[] = {KV_ACCT, KV_MBOX};
	uint8_t digest[EVP_MAX_MD_SIZE];
	struct kv_view *view = NULL;
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc;

	if ((rc = kv_view_begin(r->store->kv, r->account, &view)) != 0)
		return rc;
	rc = mail_acct_get(view, acct);
	SHELF_ASSERT(EVP_DigestInit_ex(r->stamp, EVP_sha256(), NULL) == 1);
	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables) && rc == 0; i++) {
		rc = kv_scan_open(view, tables[i], shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);
		while (rc == 0 && (rc = kv_scan_next(&scan, &key, &value)) == 1)
			rc = EVP_DigestUpdate(r->stamp, value.data, value.len) == 1 ? 0 : SHELF_ENOMEM;
		kv_scan_close(&scan);
	}
	kv_view_end(&view);
	SHELF_ASSERT(EVP_DigestFinal_ex(r->stamp, digest, NULL) == 1);
	memcpy(out, digest, BACKUP_HASH_BYTES);
	return rc;
}

static int
keep_before(void *arg, const struct backup_account *a)
{
	struct run *r = arg;
	struct before *b;

	if (r->nbefore == r->before_cap) {
		r->before_cap = r->before_cap == 0 ? 64 : r->before_cap * 2;
		r->before = shelf_realloc(r->before, r->before_cap * sizeof(*r->before));
	}
	b = &r->before[r->nbefore];
	*b = (struct before){.id = a->id, .at = r->before_values.len};
	backup_account_encode(a, &r->before_values);
	b->len = r->before_values.len - b->at;
	/* In the order of ids, as they were written. */
	return r->nbefore++ > 0 && b[-1].id >= b->id ? SHELF_ECORRUPT : 0;
}

static int
by_id(const void *key, const void *item)
{
	uint32_t id = *(const uint32_t *)key;
	const struct before *b = item;

	return (id > b->id) - (id < b->id);
}

static bool
find_before(struct run *r, struct backup_account *out)
{
	const struct before *b = r->nbefore == 0 ? NULL
						 : bsearch(&r->account, r->before, r->nbefore,
							   sizeof(*r->before), by_id);
	struct mail_key key = mail_key1(r->account);

	return b != NULL &&
	       backup_account_decode(mail_key_span(&key),
				     shelf_span(r->before_values.data + b->at, b->len), out) == 0;
}

/* The ids of the account's sections of rows, in lists. */
static int
write_lists(struct run *r, struct shelf_buf *lists)
{
	struct shelf_span ids = shelf_buf_span(&r->rows.ids);
	int rc = 0;

	for (size_t at = 0; at < ids.len && rc == 0;) {
		size_t max = LIST_BYTES_MAX - LIST_BYTES_MAX % BACKUP_ID_BYTES;
		size_t len = ids.len - at < max ? ids.len - at : max;

		rc = backup_pack_section(&r->pack, BACKUP_LIST, shelf_span(ids.data + at, len), lists);
		at += len;
	}
	return rc;
}

static int
copy_account(struct run *r, struct backup_account *a, struct shelf_buf *lists)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	struct mail_acct acct = {0};
	int rc = mail_carry_out(r->store, r->account, &account_callbacks, r, &acct);

	if (rc != 0 || (rc = backup_rows_end(&r->rows)) != 0 || (rc = write_lists(r, lists)) != 0)
		return rc;
	SHELF_ASSERT(EVP_DigestFinal_ex(r->stamp, digest, NULL) == 1);
	memcpy(a->stamp, digest, sizeof(a->stamp));
	a->modseq = acct.modseq;
	a->quota = acct.quota;
	a->generation = r->generation.number;
	a->lists = shelf_buf_span(lists);
	return kv_shard_of(r->store->kv, r->account, &a->partition);
}

/* Neither a busy nor a damaged account must keep the others from being saved. */
static bool
may_go_on(int rc)
{
	return rc == SHELF_EBUSY || shelf_err_class_of(rc) == SHELF_CLASS_CORRUPT || rc == SHELF_EVERSION;
}

/* 0: A is as it is to stand in the catalog; SHELF_ENOACCOUNT: it is not there. */
static int
take_account(struct run *r, struct backup_account *a, struct shelf_buf *lists)
{
	uint8_t stamp[BACKUP_HASH_BYTES];
	struct backup_account old = {0};
	struct mail_acct acct;
	struct shelf_span user = a->user;
	bool known = find_before(r, &old);
	int rc = known ? current_stamp(r, stamp, &acct) : 0;

	if (rc == 0 && known && !old.late && memcmp(stamp, old.stamp, sizeof(stamp)) == 0) {
		*a = old;
		a->user = user;
		r->done.unchanged++;
		return kv_shard_of(r->store->kv, r->account, &a->partition);
	}
	if (rc == 0)
		rc = copy_account(r, a, lists);
	if (!may_go_on(rc))
		return rc;
	r->done.late++;
	tell(r, "account %u: %s: %s", r->account, rc == SHELF_EBUSY ? "it does not rest" : shelf_err_text(rc),
	     known ? "as of an earlier generation" : "not in the backup");
	*a = old;
	a->user = user;
	a->late = true;
	if ((rc = backup_pack_flush(&r->pack)) != 0)
		return rc;
	return known ? 0 : SHELF_ENOACCOUNT;
}

static int
do_account(struct run *r, uint32_t id, struct shelf_span user)
{
	struct backup_account a = {.id = id, .user = user};
	struct mail_key key = mail_key1(id);
	struct shelf_buf value = {0}, lists = {0};
	int rc;

	r->account = id;
	rc = take_account(r, &a, &lists);
	if (rc == 0) {
		r->done.accounts++;
		r->done.messages += a.quota.used_messages + a.quota.held_messages;
		r->done.bytes += a.quota.used_bytes + a.quota.held_bytes;
		backup_account_encode(&a, &value);
		rc = backup_rows_add(&r->catalog, "ACCOUNT", mail_key_span(&key), shelf_buf_span(&value));
	}
	shelf_buf_free(&value);
	shelf_buf_free(&lists);
	return rc == SHELF_ENOACCOUNT ? 0 : rc; /* deleted, or told already */
}

/* The next USER rows from *FROM on, each with its length in front. 1: there are more. */
static int
read_users(struct run *r, uint32_t *from, struct shelf_buf *out)
{
	struct mail_key first = mail_key1(*from);
	struct kv_view *view = NULL;
	struct shelf_span key, value;
	struct kv_scan scan;
	unsigned n = 0;
	int rc;

	shelf_buf_clear(out);
	if ((rc = kv_view_begin(r->store->kv, KV_CATALOG, &view)) != 0)
		return rc;
	rc = kv_scan_open(view, KV_USER, shelf_span(NULL, 0), mail_key_span(&first), &scan);
	while (rc == 0 && n < USERS_SLICE && (rc = kv_scan_next(&scan, &key, &value)) == 1) {
		rc = key.len == 4 ? 0 : SHELF_ECORRUPT;
		if (rc != 0)
			break;
		*from = base_get_be32(key.data) + 1;
		base_add_text(out, key);
		base_add_text(out, value);
		n++;
	}
	kv_scan_close(&scan);
	kv_view_end(&view);
	return rc == 0 && n == USERS_SLICE && *from != 0 ? 1 : rc;
}

static int
each_user(struct run *r, int (*fn)(struct run *r, uint32_t id, struct shelf_span user))
{
	struct shelf_buf users = {0};
	uint32_t from = 1;
	int rc = 1;

	while (rc == 1) {
		struct base_reader at;
		int more = read_users(r, &from, &users);

		rc = more < 0 ? more : 0;
		at = base_reader(shelf_buf_span(&users));
		while (rc == 0 && base_left(&at) > 0) {
			struct shelf_span key = base_get_text(&at), value = base_get_text(&at);

			rc = fn(r, base_get_be32(key.data), value);
		}
		rc = rc == 0 ? more : rc;
	}
	shelf_buf_free(&users);
	return rc;
}

static int
count_user(struct run *r, uint32_t id, struct shelf_span user)
{
	r->done.accounts_total++;
	return 0;
}

/* ---- The run ------------------------------------------------------------------------------------------ */

static const struct shelf_span store_id_name = {(const uint8_t *)"store-id", 8};
static const struct shelf_span next_account_name = {(const uint8_t *)"next-account", 12};

static int
make_store_id(struct kv_txn *txn, void *arg)
{
	struct shelf_span value;
	uint8_t *id = arg;
	int rc = kv_get(kv_txn_view(txn), KV_GLOBAL, store_id_name, &value);

	if (rc == 0 && value.len == 16)
		memcpy(id, value.data, 16);
	if (rc != SHELF_EMISSING)
		return rc == 0 && value.len != 16 ? SHELF_ECORRUPT : rc;
	return kv_put(txn, KV_GLOBAL, store_id_name, shelf_span(id, 16));
}

static int
read_globals(struct run *r)
{
	struct backup_generation *g = &r->generation;
	struct kv_view *view = NULL;
	struct shelf_span value;
	int rc;

	shelf_random(g->store_id, sizeof(g->store_id));
	if ((rc = kv_update(r->store->kv, KV_CATALOG, 0, make_store_id, g->store_id)) != 0 ||
	    (rc = kv_view_begin(r->store->kv, KV_CATALOG, &view)) != 0)
		return rc;
	rc = kv_get(view, KV_GLOBAL, next_account_name, &value);
	g->next_account = rc == 0 && value.len == 4 ? base_get_be32(value.data) : 1;
	kv_view_end(&view);
	g->partitions = kv_shards(r->store->kv);
	g->hold_s = (uint32_t)shelf_setting_get(r->store, SHELF_SETTING_HOLD);
	g->time_s = shelf_now_s();
	return rc == SHELF_EMISSING ? 0 : rc;
}

/* The generation before, when it is one of this store: what has not changed is taken from it. */
static int
load_before(struct run *r)
{
	struct shelf_backup old = {.file = r->pack.file, .index = r->pack.index};
	int rc;

	if (old.file->last == 0)
		return 0;
	if ((rc = backup_index_load(old.index, old.file, old.file->last)) == 0 &&
	    (rc = backup_generation_get(old.file, old.file->last, &old.generation)) == 0 &&
	    memcmp(old.generation.store_id, r->generation.store_id, sizeof(old.generation.store_id)) == 0)
		rc = backup_each_account(&old, keep_before, r);
	backup_generation_free(&old.generation);
	shelf_buf_free(&old.section);
	return rc;
}

static int
end_run(struct run *r)
{
	struct backup_generation *g = &r->generation;
	struct shelf_buf raw = {0};
	uint64_t offset;
	int rc = backup_rows_end(&r->catalog);

	if (rc == 0)
		rc = backup_pack_end(&r->pack);
	if (rc != 0)
		return rc;
	g->accounts = r->done.accounts;
	g->messages = r->done.messages;
	g->bytes = r->done.bytes;
	g->late = (uint32_t)r->done.late;
	g->damaged = (uint32_t)r->done.damaged;
	g->added = r->pack.file->size - g->start;
	shelf_buf_add_span(&g->index, shelf_buf_span(&r->pack.index_offsets));
	shelf_buf_add_span(&g->catalog, shelf_buf_span(&r->catalog.ids));
	backup_generation_encode(g, &raw);
	rc = raw.len > BACKUP_RAW_MAX ? SHELF_ETOOBIG
				      : backup_section_put(r->pack.file, BACKUP_END, shelf_buf_span(&raw), &offset);
	shelf_buf_free(&raw);
	return rc != 0 ? rc : backup_file_commit(r->pack.file, g->start, offset, g->number);
}

static int
run(struct run *r, const char *path)
{
	int rc;

	if ((rc = backup_file_open(path, true, &r->pack.file)) != 0)
		return rc;
	r->done.cut_bytes = r->pack.file->tail;
	r->generation.start = r->pack.file->size;
	r->generation.previous = r->pack.file->last;
	r->generation.number = r->done.generation = r->pack.file->number + 1;
	if ((rc = read_globals(r)) != 0 || (rc = load_before(r)) != 0 ||
	    (rc = each_user(r, count_user)) != 0 || (rc = each_user(r, do_account)) != 0 ||
	    (rc = backup_names_save(r->store, &r->catalog)) != 0)
		return rc;
	if ((rc = end_run(r)) != 0)
		return rc;
	r->done.file_bytes = r->pack.file->size;
	r->done.added_bytes = r->pack.file->size - r->generation.start;
	return 0;
}

int
shelf_backup_run(struct shelf_store *store, const char *path, shelf_backup_progress_fn *progress,
		 shelf_backup_problem_fn *problem, void *arg, struct shelf_backup_done *done_out)
{
	struct run r = {.store = store, .progress = progress, .problem = problem, .arg = arg};
	int rc;

	r.pack.index = backup_index_new();
	r.rows.pack = r.catalog.pack = &r.pack;
	r.stamp = EVP_MD_CTX_new();
	r.sha = EVP_MD_CTX_new();
	SHELF_ASSERT(r.stamp != NULL && r.sha != NULL);
	rc = run(&r, path);
	*done_out = r.done;
	EVP_MD_CTX_free(r.stamp);
	EVP_MD_CTX_free(r.sha);
	backup_rows_free(&r.rows);
	backup_rows_free(&r.catalog);
	backup_pack_free(&r.pack);
	backup_index_free(&r.pack.index);
	backup_file_close(&r.pack.file);
	backup_generation_free(&r.generation);
	shelf_buf_free(&r.before_values);
	shelf_buf_free(&r.frame);
	free(r.before);
	free(r.wanted);
	free(r.damaged);
	return rc;
}
