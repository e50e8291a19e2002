/*
 * walk.c - walks over the pages of a mailbox that skip what has nothing for them
 *
 *   summaries (a row for 65,536 uids) --> blocks (4,096 uids, in that row) --> heads of pages (256 uids)
 *
 * Each level is read only where the one above says that there is something, so that a walk costs what it
 * finds and one summary row for each range, whatever the size of the mailbox.
 */
#include "index.h"

static uint32_t
count_of(const struct index_counts *c, enum index_kind kind)
{
	return kind == INDEX_PRESENT ? c->present : kind == INDEX_UNSEEN ? c->unseen : c->deleted;
}

/* ---- Finding ----------------------------------------------------------------------------------------- */

struct finding {
	struct kv_view *view;
	uint32_t mailbox, from;
	enum index_kind kind;
	struct index_head *out;
};

static int
find_page(void *arg, const struct index_head *head)
{
	struct finding *f = arg;

	if (count_of(&head->counts, f->kind) == 0)
		return 0;
	*f->out = *head;
	return 1;
}

static int
find_in_range(void *arg, const struct index_summary *s)
{
	struct finding *f = arg;
	uint32_t first = s->range * INDEX_RANGE_PAGES;
	struct index_range r;
	int rc;

	if (count_of(&s->counts, f->kind) == 0)
		return 0;
	if ((rc = index_range_get(f->view, f->mailbox, s->range, &r)) != 0)
		return rc;
	for (unsigned i = 0; i < INDEX_BLOCKS; i++, first += INDEX_BLOCK_PAGES) {
		uint32_t last = first + INDEX_BLOCK_PAGES - 1;

		if (last < f->from || count_of(&r.block[i].counts, f->kind) == 0)
			continue;
		rc = index_page_each(f->view, f->mailbox, first < f->from ? f->from : first, last,
				     find_page, f);
		if (rc != 0)
			return rc;
	}
	return 0;
}

int
index_page_find(struct kv_view *view, uint32_t mailbox, uint32_t from, enum index_kind kind,
		struct index_head *out)
{
	struct finding f = {view, mailbox, from, kind, out};

	return index_summary_each(view, mailbox, from / INDEX_RANGE_PAGES, find_in_range, &f);
}

/* ---- Counting ---------------------------------------------------------------------------------------- */

struct ranking {
	uint32_t range, count;
};

static int
add_range(void *arg, const struct index_summary *s)
{
	struct ranking *k = arg;

	if (s->range >= k->range)
		return 1;
	k->count += s->counts.present;
	return 0;
}

static int
add_page(void *arg, const struct index_head *head)
{
	struct ranking *k = arg;

	k->count += head->counts.present;
	return 0;
}

int
index_page_rank(struct kv_view *view, uint32_t mailbox, uint32_t page, uint32_t *count_out)
{
	struct ranking k = {.range = page / INDEX_RANGE_PAGES};
	unsigned block = page % INDEX_RANGE_PAGES / INDEX_BLOCK_PAGES;
	struct index_range r;
	int rc = index_summary_each(view, mailbox, 0, add_range, &k);

	if (rc < 0 || (rc = index_range_get(view, mailbox, k.range, &r)) != 0)
		return rc;
	for (unsigned i = 0; i < block; i++)
		k.count += r.block[i].counts.present;
	if (page % INDEX_BLOCK_PAGES != 0)
		rc = index_page_each(view, mailbox, page - page % INDEX_BLOCK_PAGES, page - 1,
				     add_page, &k);
	*count_out = k.count;
	return rc;
}

/* ---- Changes ----------------------------------------------------------------------------------------- */

struct changing {
	struct kv_view *view;
	uint32_t mailbox;
	uint64_t since;
	index_head_fn *fn;
	void *arg;
};

static int
changed_page(void *arg, const struct index_head *head)
{
	struct changing *c = arg;

	return head->max_modseq > c->since ? c->fn(c->arg, head) : 0;
}

static int
changed_range(void *arg, const struct index_summary *s)
{
	struct changing *c = arg;
	uint32_t first = s->range * INDEX_RANGE_PAGES;
	struct index_range r;
	int rc;

	if (s->max_modseq <= c->since || s->counts.present == 0)
		return 0;
	if ((rc = index_range_get(c->view, c->mailbox, s->range, &r)) != 0)
		return rc;
	for (unsigned i = 0; rc == 0 && i < INDEX_BLOCKS; i++, first += INDEX_BLOCK_PAGES)
		if (r.block[i].max_modseq > c->since && r.block[i].counts.present > 0)
			rc = index_page_each(c->view, c->mailbox, first,
					     first + INDEX_BLOCK_PAGES - 1, changed_page, c);
	return rc;
}

int
index_changed_each(struct kv_view *view, uint32_t mailbox, uint64_t since, index_head_fn *fn, void *arg)
{
	struct changing c = {view, mailbox, since, fn, arg};

	return index_summary_each(view, mailbox, 0, changed_range, &c);
}
