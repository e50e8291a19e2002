/*
 * blob_train.c - making a shard's dictionaries from its own mail, and trying them on other mail of it
 *
 * Two walks over the same places, which are spread evenly over the ids of blobs: the first learns from the
 * even ones, the second compresses the odd ones with everything there is to compare. So what is kept
 * in memory is bounded by the sample, and what is compared was not learned. Walks are in slices with a snapshot
 * each; what goes or comes in between is no harm.
 */
#include <stdlib.h>
#include <zdict.h>

#include <mailshelf/mem.h>

#include "blob_internal.h"

enum {
	BYTES_DEFAULT = 112 * 1024,
	BYTES_LEAST = 1024,
	DERIVED_BYTES_MAX = 64 * 1024, /* more brings little: these data are short */
	SAMPLE_DEFAULT = 5000,
	SAMPLE_MAX = 100000,
	LEARN_MAX_BYTES = 16 * 1024, /* of one message: what repeats is at its beginning */
	LEARN_LEAST = 50,	     /* messages */
	LEARN_PER_DICT = 10,	     /* bytes learned from, for each byte of dictionary */
	SLICE_PLACES = 64,
	LOOK_ON = 16, /* rows, for a message of a size that takes a dictionary */
	BETTER_PERCENT = 1,
};

struct lessons {
	struct shelf_buf bytes; /* samples end to end */
	size_t *len;
	unsigned count;
};

struct trainee {
	struct shelf_buf dict;
	struct blob_zdict *fresh, *current;
	bool has_current;
};

struct training {
	struct kv_db *db;
	uint32_t shard;
	uint32_t places; /* twice the sample */
	uint64_t ids;	 /* of the last blob, and one more */
	uint64_t last;	 /* id met last */
	struct lessons learn[BLOB_KINDS];
	struct trainee make[BLOB_KINDS];
	struct shelf_dict_report *report;
	struct shelf_buf body, derived; /* of the message at hand */
};

/* One more than the id of the last blob. Ids are also given for other things, so this may be far below the next
 * one; kv has no last key, but to ask whether there is one behind halves the distance. */
static int
last_blob(struct kv_view *view, uint64_t *end_out)
{
	uint64_t low = 0, high; /* there is one at or behind LOW, or none at all; none behind HIGH */
	int rc = blob_next_id(view, &high);

	while (rc >= 0 && low + 1 < high) {
		uint64_t middle = low + (high - low) / 2;
		struct blob_key at = blob_key(middle);
		struct shelf_span key, value;
		struct kv_scan scan;

		rc = kv_scan_open(view, KV_BLOB, shelf_span(NULL, 0), blob_key_span(&at), &scan);
		if (rc == 0)
			rc = kv_scan_next(&scan, &key, &value);
		if (rc == 1)
			low = middle;
		else if (rc == 0)
			high = middle;
		kv_scan_close(&scan);
	}
	*end_out = low + 1;
	return rc < 0 ? rc : 0;
}

/* ---- Places --------------------------------------------------------------------------------------- */

typedef int visit_fn(struct training *t, struct kv_view *view, bool odd);

static void
note_large(struct training *t, const struct blob_row *row)
{
	t->report->large++;
	t->report->large_raw += row->size;
	t->report->large_stored += row->stored;
}

/* The first blob behind T->last and at or behind FROM that takes a dictionary, and its bytes: 1, or 0. */
static int
find(struct training *t, struct kv_view *view, uint64_t from, bool count_large)
{
	struct blob_key at = blob_key(from > t->last ? from : t->last + 1);
	struct shelf_span key, value;
	struct blob_row row;
	struct kv_scan scan;
	uint64_t blob = 0;
	bool found = false;
	int rc = kv_scan_open(view, KV_BLOB, shelf_span(NULL, 0), blob_key_span(&at), &scan);

	if (rc != 0)
		return rc;
	for (unsigned i = 0; i < LOOK_ON && !found && (rc = kv_scan_next(&scan, &key, &value)) == 1; i++) {
		if (key.len != BLOB_KEY_BYTES || blob_row_decode(value, &row) != 0 || row.refs == 0)
			continue;
		t->last = blob = base_get_be64(key.data);
		if (row.base != 0)
			continue; /* what lies behind its head is a message of its own here */
		found = row.size > 0 && row.size <= BLOB_DICT_MAX && row.nframes == 1;
		if (!found && count_large)
			note_large(t, &row);
	}
	if (found) {
		shelf_buf_clear(&t->body);
		if ((rc = blob_read_frame(view, blob, &row, 0, &t->body)) == 0)
			rc = blob_derived(view, blob, &t->derived);
	}
	kv_scan_close(&scan);
	if (rc == SHELF_ECORRUPT || rc == SHELF_EMISSING)
		return 0; /* check finds it */
	return rc < 0 ? rc : found;
}

static int
walk(struct training *t, visit_fn *visit, bool odd)
{
	struct kv_view *view = NULL;
	int rc = 0;

	t->last = 0;
	for (uint32_t i = 0; i < t->places && rc >= 0 && t->last + 1 < t->ids; i++) {
		uint64_t from = 1 + (t->ids - 1) * i / t->places;

		if (i % SLICE_PLACES == 0) {
			kv_view_end(&view);
			if ((rc = kv_view_begin_shard(t->db, t->shard, &view)) != 0)
				break;
		}
		rc = find(t, view, from, odd && i % 2 == 1);
		if (rc == 1 && (i % 2 == 1) == odd)
			rc = visit(t, view, odd);
	}
	kv_view_end(&view);
	return rc < 0 ? rc : 0;
}

/* ---- Learning -------------------------------------------------------------------------------------- */

static void
add_lesson(struct lessons *l, uint32_t places, const struct shelf_buf *b)
{
	size_t len = b->len < LEARN_MAX_BYTES ? b->len : LEARN_MAX_BYTES;

	if (l->len == NULL)
		l->len = shelf_zalloc(places * sizeof(*l->len));
	shelf_buf_add(&l->bytes, b->data, len);
	l->len[l->count++] = len;
}

static int
learn(struct training *t, struct kv_view *view, bool odd)
{
	add_lesson(&t->learn[BLOB_BODY], t->places, &t->body);
	add_lesson(&t->learn[BLOB_DERIVED], t->places, &t->derived);
	return 0;
}

/* An empty dictionary is the answer when there is too little to learn from. */
static void
train(struct lessons *l, size_t bytes, struct shelf_buf *dict)
{
	size_t most = l->bytes.len / LEARN_PER_DICT, n;

	if (bytes > most)
		bytes = most;
	if (l->count < LEARN_LEAST || bytes < BYTES_LEAST)
		return;
	n = ZDICT_trainFromBuffer(shelf_buf_reserve(dict, bytes), bytes, l->bytes.data, l->len,
				  l->count);
	if (!ZDICT_isError(n))
		dict->len = n;
}

/* ---- Trying ---------------------------------------------------------------------------------------- */

static int
packed_len(const struct shelf_buf *raw, struct blob_zdict *dict, uint64_t *sum)
{
	struct shelf_buf out = {0};
	int rc = blob_zstd_pack(shelf_buf_span(raw), dict, &out);

	*sum += out.len;
	shelf_buf_free(&out);
	return rc;
}

static int
try(struct training *t, struct kv_view *view, bool odd)
{
	for (unsigned k = 0; k < BLOB_KINDS; k++) {
		struct shelf_dict_trial *trial = &t->report->kind[k];
		const struct shelf_buf *raw = k == BLOB_BODY ? &t->body : &t->derived;
		int rc;

		trial->tested++;
		trial->raw += raw->len;
		if ((rc = packed_len(raw, NULL, &trial->without)) != 0 ||
		    (rc = packed_len(raw, t->make[k].current, &trial->before)) != 0 ||
		    (rc = packed_len(raw, t->make[k].fresh, &trial->after)) != 0)
			return rc;
	}
	return 0;
}

/* ---- The whole ------------------------------------------------------------------------------------- */

struct adding {
	enum blob_kind kind;
	uint32_t messages, id;
	struct shelf_span bytes;
};

static int
add(struct kv_txn *txn, void *arg)
{
	struct adding *a = arg;

	return blob_dict_add(txn, a->kind, a->messages, a->bytes, &a->id);
}

static int
begin(struct training *t)
{
	struct kv_view *view = NULL;
	struct blob_dicts dicts;
	int rc;

	if ((rc = kv_view_begin_shard(t->db, t->shard, &view)) != 0)
		return rc;
	if ((rc = blob_dicts_get(view, &dicts)) == 0)
		rc = last_blob(view, &t->ids);
	for (unsigned k = 0; k < BLOB_KINDS && rc == 0; k++)
		rc = blob_dict_open(view, dicts.current[k], &t->make[k].current);
	kv_view_end(&view);
	return rc;
}

static int
keep_better(struct training *t)
{
	for (unsigned k = 0; k < BLOB_KINDS; k++) {
		struct shelf_dict_trial *trial = &t->report->kind[k];
		struct adding a = {.kind = (enum blob_kind)k,
				   .messages = trial->learned,
				   .bytes = shelf_buf_span(&t->make[k].dict)};
		int rc;

		if (trial->bytes == 0 ||
		    trial->after * 100 > trial->before * (100 - BETTER_PERCENT))
			continue;
		if ((rc = kv_update_shard(t->db, t->shard, KV_ADDS | KV_QUIET, add, &a)) != 0)
			return rc;
		trial->id = a.id;
	}
	return 0;
}

static int
run(struct training *t, const uint32_t bytes[BLOB_KINDS])
{
	uint8_t hash[BLOB_HASH_BYTES];
	int rc;

	if ((rc = begin(t)) != 0 || (rc = walk(t, learn, false)) != 0)
		return rc;
	for (unsigned k = 0; k < BLOB_KINDS; k++) {
		struct shelf_buf *dict = &t->make[k].dict;

		train(&t->learn[k], bytes[k], dict);
		t->report->kind[k].learned = t->learn[k].count;
		t->report->kind[k].bytes = (uint32_t)dict->len;
		if (dict->len == 0)
			continue;
		blob_dict_hash(shelf_buf_span(dict), hash);
		t->make[k].fresh = blob_zdict_add(hash, shelf_buf_span(dict));
	}
	rc = walk(t, try, true);
	return rc != 0 ? rc : keep_better(t);
}

int
blob_dict_train(struct kv_db *db, uint32_t shard, const struct shelf_dict_params *params,
		struct shelf_dict_report *report)
{
	struct shelf_dict_params p = params == NULL ? (struct shelf_dict_params){0} : *params;
	struct training t = {.db = db, .shard = shard, .report = report};
	uint32_t bytes[BLOB_KINDS];
	int rc;

	*report = (struct shelf_dict_report){0};
	if (p.bytes == 0)
		p.bytes = BYTES_DEFAULT;
	if (p.sample == 0)
		p.sample = SAMPLE_DEFAULT;
	if (shard >= kv_shards(db) || p.bytes < BYTES_LEAST || p.bytes > BLOB_DICT_BYTES_MAX ||
	    p.sample > SAMPLE_MAX)
		return SHELF_EINVALID;
	bytes[BLOB_BODY] = p.bytes;
	bytes[BLOB_DERIVED] = p.bytes < DERIVED_BYTES_MAX ? p.bytes : DERIVED_BYTES_MAX;
	t.places = 2 * p.sample;
	rc = run(&t, bytes);
	for (unsigned k = 0; k < BLOB_KINDS; k++) {
		shelf_buf_free(&t.learn[k].bytes);
		free(t.learn[k].len);
		shelf_buf_free(&t.make[k].dict);
		blob_zdict_give(&t.make[k].fresh);
		blob_zdict_give(&t.make[k].current);
	}
	shelf_buf_free(&t.body);
	shelf_buf_free(&t.derived);
	return rc;
}
