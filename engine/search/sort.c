/*
 * sort.c - messages by up to nine keys
 *
 *   READ -> LIST (texts that were gathered) -> TEXTS (sort them) -> RANKS (tell each its own) -> NUMBERS (for
 *   the ids in the rows) -> ROWS (sort) -> done
 *
 * Without a text among the keys it goes from READ to ROWS. A row is one number for each key and the uid
 * behind them. A reversed key is the complement; what is equal stays in the order in which it was read.
 */
#include <stdlib.h>
#include <mailshelf/mem.h>

#include "sort.h"

enum stage { READ, LIST, TEXTS, RANKS, NUMBERS, ROWS, DONE };

enum { TEXTS_AT_ONCE = 2048, ROWS_AT_ONCE = 8192, ASKING_COSTS = 200 /* rows */ };

struct shelf_sort {
	struct search_walk walk;
	struct shelf_sort_criterion by[SHELF_SORT_KEYS];
	size_t n;
	bool texts;
	enum stage stage;
	uint64_t *row;
	size_t rows;
	struct search_strings strings;
	struct search_merge merge;
	uint64_t *order;    /* of the texts: pairs of their first bytes and id */
	size_t at;          /* in order, in row */
	uint32_t id;        /* LIST: the next text */
	struct shelf_rd *rd; /* of the slice */
	struct shelf_buf text, other;
	int rc;             /* a comparison failed */
};

static enum search_walk_need
need_of(const struct shelf_sort *s)
{
	if (s->texts)
		return SEARCH_WALK_ENVELOPE;
	for (size_t i = 0; i < s->n; i++)
		if (s->by[i].key == SHELF_SORT_DATE)
			return SEARCH_WALK_DATE;
	return SEARCH_WALK_ROW;
}

static size_t
take_criteria(struct shelf_sort *s, const struct shelf_sort_criterion *by, size_t n)
{
	unsigned seen = 0;
	size_t texts = 0;

	for (size_t i = 0; i < n; i++) {
		if ((seen >> by[i].key & 1) != 0)
			continue;
		seen |= 1u << by[i].key;
		s->by[s->n++] = by[i];
		texts += !search_is_number(by[i].key);
	}
	s->texts = texts > 0;
	return texts;
}

int
shelf_sort_new(struct shelf_store *store, uint32_t account, uint32_t mailbox,
    const struct shelf_uidset *uids, const struct shelf_sort_criterion *criteria, size_t n,
    struct shelf_sort **out)
{
	struct shelf_sort *s = SHELF_NEW(struct shelf_sort);
	size_t texts = take_criteria(s, criteria, n), count = shelf_uidset_count(uids);

	search_walk_begin(&s->walk, store, account, mailbox, uids, need_of(s));
	s->row = shelf_alloc_try(count * (s->n + 1) * sizeof *s->row + 1);
	if (s->row == NULL || (texts > 0 && !search_strings_begin(&s->strings, count * texts)))
		shelf_sort_free(&s);
	*out = s;
	return s == NULL ? SHELF_ENOMEM : 0;
}

struct shelf_progress
shelf_sort_progress(const struct shelf_sort *sort)
{
	return sort->walk.progress;
}

uint32_t
shelf_sort_count(const struct shelf_sort *sort)
{
	return sort->stage == DONE ? (uint32_t)sort->rows : 0;
}

uint32_t
shelf_sort_uid(const struct shelf_sort *sort, uint32_t i)
{
	return (uint32_t)sort->row[(size_t)i * (sort->n + 1) + sort->n];
}

static void
free_means(struct shelf_sort *s)
{
	search_walk_end(&s->walk);
	search_strings_end(&s->strings);
	search_merge_end(&s->merge);
	shelf_buf_free(&s->text);
	shelf_buf_free(&s->other);
	free(s->order);
	s->order = NULL;
}

void
shelf_sort_shrink(struct shelf_sort *s)
{
	SHELF_ASSERT(s->stage == DONE);
	free_means(s);
	for (size_t i = 0; i < s->rows; i++)
		s->row[i] = s->row[i * (s->n + 1) + s->n];
	s->n = 0;
	s->row = shelf_realloc(s->row, s->rows * sizeof *s->row + 1);
}

void
shelf_sort_free(struct shelf_sort **sort)
{
	struct shelf_sort *s = *sort;

	if (s == NULL)
		return;
	*sort = NULL;
	free_means(s);
	free(s->row);
	free(s);
}

/* ---- Reading --------------------------------------------------------------------------------------- */

static void
add_row(struct shelf_sort *s)
{
	uint64_t *row = s->row + s->rows++ * (s->n + 1);

	for (size_t i = 0; i < s->n; i++) {
		enum shelf_sort_key key = s->by[i].key;

		if (search_is_number(key)) {
			row[i] = s->by[i].reverse ? ~search_sort_number(key, &s->walk) :
			    search_sort_number(key, &s->walk);
			continue;
		}
		shelf_buf_clear(&s->text);
		search_sort_text(key, s->walk.envelope, &s->text);
		row[i] = search_strings_add(&s->strings, shelf_buf_span(&s->text), key,
		    s->walk.msg.uid);
	}
	row[s->n] = s->walk.msg.uid;
}

/* ---- Texts ------------------------------------------------------------------------------------------ */

/* The whole text of E, from the message it was first met in; false when that is gone. */
static bool
ask(struct shelf_sort *s, const struct search_string *e, struct shelf_buf *out)
{
	const struct mime_envelope *envelope;
	struct shelf_arena arena = {0};
	struct shelf_span record;
	struct shelf_msg msg;
	int rc = shelf_msg_get(s->rd, s->walk.mailbox, e->uid, &msg);

	shelf_buf_clear(out);
	if (rc == 0)
		rc = shelf_msg_derived(s->rd, msg.blob, &arena, &record);
	if (rc == 0)
		rc = mime_record_envelope(record, &arena, &envelope);
	if (rc == 0)
		search_sort_text((enum shelf_sort_key)e->key, envelope, out);
	else if (rc != SHELF_ENOMESSAGE && !search_record_lost(rc))
		s->rc = rc;
	shelf_arena_free(&arena);
	return rc == 0;
}

static int
compare_texts(struct search_merge *m, const uint64_t *a, const uint64_t *b)
{
	struct shelf_sort *s = m->arg;
	const struct search_string *x, *y;
	int order;

	if (a[0] != b[0])
		return a[0] < b[0] ? -1 : 1;
	x = search_strings_at(&s->strings, (uint32_t)a[1]);
	y = search_strings_at(&s->strings, (uint32_t)b[1]);
	order = search_compare(shelf_span(x->bytes, x->len), shelf_span(y->bytes, y->len));
	if (order != 0)
		return order;
	if (x->cut && y->cut) {
		m->credit -= ASKING_COSTS;
		if (ask(s, x, &s->text) && ask(s, y, &s->other))
			order = search_compare(shelf_buf_span(&s->text), shelf_buf_span(&s->other));
	} else {
		order = (int)x->cut - (int)y->cut;
	}
	/* What cannot be asked any more gets some place, the same in every comparison. */
	return order != 0 ? order : x->hash < y->hash ? -1 : x->hash > y->hash;
}

static uint64_t
first_bytes(const struct search_string *e)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 8; i++)
		v = v << 8 | (i < e->len ? e->bytes[i] : 0);
	return v;
}

static int
begin_list(struct shelf_sort *s)
{
	free(s->strings.table);
	s->strings.table = NULL;
	s->id = search_strings_next(&s->strings, 0);
	s->order = shelf_alloc_try(s->strings.count * 2 * sizeof *s->order + 1);
	return s->order == NULL ? SHELF_ENOMEM : 0;
}

static void
list_some(struct shelf_sort *s)
{
	for (unsigned n = 0; n < ROWS_AT_ONCE && s->id != 0; n++) {
		s->order[s->at * 2] = first_bytes(search_strings_at(&s->strings, s->id));
		s->order[s->at++ * 2 + 1] = s->id;
		s->id = search_strings_next(&s->strings, s->id);
	}
}

/* ---- Stages ------------------------------------------------------------------------------------------- */

static int
enter(struct shelf_sort *s, enum stage stage)
{
	s->stage = stage;
	s->at = 0;
	switch (stage) {
	case LIST:
		return begin_list(s);
	case TEXTS:
		if (!search_merge_begin(&s->merge, s->order, s->strings.count, 2))
			return SHELF_ENOMEM;
		s->order = NULL;
		s->merge.compare = compare_texts;
		s->merge.arg = s;
		return 0;
	case RANKS:
		s->order = search_merge_take(&s->merge);
		return 0;
	case ROWS:
		if (!search_merge_begin(&s->merge, s->row, s->rows, s->n + 1))
			return SHELF_ENOMEM;
		s->merge.keys = s->n;
		s->row = NULL;
		return 0;
	case DONE:
		s->row = search_merge_take(&s->merge);
		return 0;
	default:
		return 0;
	}
}

static void
rank_some(struct shelf_sort *s)
{
	size_t end = s->strings.count - s->at > ROWS_AT_ONCE ? s->at + ROWS_AT_ONCE : s->strings.count;

	for (; s->at < end; s->at++)
		search_strings_at(&s->strings, (uint32_t)s->order[s->at * 2 + 1])->rank =
		    (uint32_t)s->at;
}

static void
number_some(struct shelf_sort *s)
{
	size_t end = s->rows - s->at > ROWS_AT_ONCE ? s->at + ROWS_AT_ONCE : s->rows;

	for (; s->at < end; s->at++) {
		uint64_t *row = s->row + s->at * (s->n + 1);

		for (size_t i = 0; i < s->n; i++) {
			uint64_t rank;

			if (search_is_number(s->by[i].key))
				continue;
			rank = search_strings_at(&s->strings, (uint32_t)row[i])->rank;
			row[i] = s->by[i].reverse ? ~rank : rank;
		}
	}
}

/* One step. 1: the stage goes on; 0: it is over. */
static int
step(struct shelf_sort *s)
{
	int rc;

	switch (s->stage) {
	case READ:
		if (s->walk.next == 0)
			return 0;
		rc = search_walk_step(&s->walk, s->rd);
		if (rc == 1)
			add_row(s);
		return rc < 0 ? rc : 1;
	case LIST:
		list_some(s);
		return s->id != 0;
	case TEXTS:
		rc = search_merge_run(&s->merge, TEXTS_AT_ONCE);
		return s->rc != 0 ? s->rc : rc;
	case RANKS:
		rank_some(s);
		return s->at < s->strings.count;
	case NUMBERS:
		number_some(s);
		return s->at < s->rows;
	case ROWS:
		return search_merge_run(&s->merge, ROWS_AT_ONCE);
	case DONE:
		break;
	}
	return 0;
}

static enum stage
next_stage(struct shelf_sort *s)
{
	if (s->stage == READ && !s->texts)
		return ROWS;
	if (s->stage == NUMBERS) {
		search_strings_end(&s->strings);
		free(s->order);
		s->order = NULL;
	}
	return s->stage + 1;
}

int
shelf_sort_run(struct shelf_sort *sort, unsigned budget_ms)
{
	int64_t deadline_ms = shelf_mono_ms() + (int64_t)budget_ms;
	bool reads = sort->stage <= TEXTS;
	int rc = reads ? shelf_rd_begin(sort->walk.store, sort->walk.account, &sort->rd) : 0;

	while (rc >= 0 && sort->stage != DONE) {
		rc = step(sort);
		if (rc == 0)
			rc = enter(sort, next_stage(sort));
		if (rc < 0)
			break;
		rc = 1;
		if (shelf_mono_ms() >= deadline_ms)
			break;
	}
	shelf_rd_end(&sort->rd);
	if (rc >= 0 && sort->stage == DONE)
		rc = sort->walk.damaged ? SHELF_ECORRUPT : 0;
	return rc;
}
