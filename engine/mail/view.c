/*
 * view.c - message numbers of a session
 *
 * A view holds, page by page, which uids the session knows, and how many come before each page; rank and
 * select are a binary search and some popcounts. Three arrays, so that a million messages take 153 KiB.
 *
 * What must stay true
 *   - Between shelf_view_refresh and shelf_view_commit the old picture answers; the new one is in `pending`.
 *   - A page from which removals were kept back is in `kept` until a refresh may renumber.
 *   - modseq is that of the snapshot last refreshed from: everything up to it is in the picture, but for
 *     the pages in `kept`.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>
#include <mailshelf/view.h>

#include "mail.h"

struct pending {
	uint32_t page;
	struct index_bits bits;
};

struct shelf_view {
	uint32_t mailbox;
	uint32_t uidnext;
	uint64_t modseq;
	size_t n, cap;
	uint32_t *page;	  /* ascending */
	uint32_t *before; /* messages on earlier pages */
	struct index_bits *bits;
	uint32_t count;
	struct shelf_uidset *kept; /* page numbers + 1 */
	struct pending *pending;
	size_t npending, pending_cap;
};

static void
add_page(struct shelf_view *v, uint32_t page, const struct index_bits *bits)
{
	if (v->n == v->cap) {
		v->cap = v->cap == 0 ? 8 : v->cap + v->cap / 4 + 8;
		v->page = shelf_realloc(v->page, v->cap * sizeof(*v->page));
		v->before = shelf_realloc(v->before, v->cap * sizeof(*v->before));
		v->bits = shelf_realloc(v->bits, v->cap * sizeof(*v->bits));
	}
	v->page[v->n] = page;
	v->before[v->n] = v->count;
	v->bits[v->n++] = *bits;
	v->count += index_bits_count(bits);
}

static int
load_page(void *arg, const struct index_head *head)
{
	add_page(arg, head->page, &head->exists);
	return 0;
}

int
shelf_view_open(struct shelf_rd *rd, uint32_t mailbox, struct shelf_view **out)
{
	struct shelf_view *v;
	struct mail_mbox m;
	int rc = mail_mbox_get(rd->view, mailbox, &m);

	*out = NULL;
	if (rc != 0)
		return rc;
	if ((m.flags & MAIL_MBOX_DELETED) != 0)
		return SHELF_ENOMAILBOX;
	v = SHELF_NEW(struct shelf_view);
	v->mailbox = mailbox;
	v->uidnext = m.uidnext;
	v->modseq = m.highestmodseq;
	v->kept = shelf_uidset_new();
	if ((rc = index_page_each(rd->view, mailbox, 0, UINT32_MAX, load_page, v)) != 0) {
		shelf_view_close(&v);
		return rc;
	}
	*out = v;
	return 0;
}

void
shelf_view_close(struct shelf_view **view)
{
	struct shelf_view *v = *view;

	if (v == NULL)
		return;
	*view = NULL;
	shelf_uidset_free(&v->kept);
	free(v->page);
	free(v->before);
	free(v->bits);
	free(v->pending);
	free(v);
}

uint32_t
shelf_view_mailbox(const struct shelf_view *v)
{
	return v->mailbox;
}

uint32_t
shelf_view_count(const struct shelf_view *v)
{
	return v->count;
}

uint32_t
shelf_view_uidnext(const struct shelf_view *v)
{
	return v->uidnext;
}

uint64_t
shelf_view_modseq(const struct shelf_view *v)
{
	return v->modseq;
}

/* Index of the first page >= PAGE, n when there is none. */
static size_t
find_page(const struct shelf_view *v, uint32_t page)
{
	size_t lo = 0, hi = v->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (v->page[mid] < page)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* How many bits are set below position N. */
static unsigned
rank_in_page(const struct index_bits *b, unsigned n)
{
	unsigned r = 0;

	for (unsigned w = 0; w < n >> 6; w++)
		r += (unsigned)__builtin_popcountll(b->word[w]);
	if ((n & 63) != 0)
		r += (unsigned)__builtin_popcountll(b->word[n >> 6] &
						    (((uint64_t)1 << (n & 63)) - 1));
	return r;
}

uint32_t
shelf_view_uid(const struct shelf_view *v, uint32_t seq)
{
	size_t lo = 0, hi = v->n;
	unsigned k, n = 0;

	if (seq == 0 || seq > v->count)
		return 0;
	/* The last page with fewer than seq messages before it. */
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (v->before[mid] < seq)
			lo = mid;
		else
			hi = mid;
	}
	k = seq - v->before[lo];
	for (n = index_bits_next(&v->bits[lo], 0); --k > 0;)
		n = index_bits_next(&v->bits[lo], n + 1);
	return v->page[lo] << INDEX_PAGE_SHIFT | n;
}

uint32_t
shelf_view_seq_from(const struct shelf_view *v, uint32_t uid)
{
	uint32_t page = uid >> INDEX_PAGE_SHIFT;
	size_t i = find_page(v, page);

	if (i == v->n)
		return v->count + 1;
	if (v->page[i] != page)
		return v->before[i] + 1;
	return v->before[i] + rank_in_page(&v->bits[i], uid % INDEX_PAGE_UIDS) + 1;
}

uint32_t
shelf_view_seq(const struct shelf_view *v, uint32_t uid)
{
	size_t i = find_page(v, uid >> INDEX_PAGE_SHIFT);

	if (i == v->n || v->page[i] != uid >> INDEX_PAGE_SHIFT ||
	    !index_bit(&v->bits[i], uid % INDEX_PAGE_UIDS))
		return 0;
	return v->before[i] + rank_in_page(&v->bits[i], uid % INDEX_PAGE_UIDS) + 1;
}

uint32_t
shelf_view_max_uid(const struct shelf_view *v)
{
	return shelf_view_uid(v, v->count);
}

/* Run by run, also over the borders of pages: a command of a session in a mailbox of a million messages
 * must not pay for each of them. */
void
shelf_view_uids(const struct shelf_view *v, struct shelf_uidset *set)
{
	uint32_t first = 0, last = 0;
	bool open = false;

	for (size_t i = 0; i < v->n; i++) {
		const struct index_bits *b = &v->bits[i];
		struct index_bits gaps;
		unsigned n, end;

		for (int w = 0; w < 4; w++)
			gaps.word[w] = ~b->word[w];
		for (n = index_bits_next(b, 0); n < INDEX_PAGE_UIDS; n = index_bits_next(b, end)) {
			uint32_t begin = v->page[i] << INDEX_PAGE_SHIFT | n;

			end = index_bits_next(&gaps, n);
			if (open && begin != last + 1)
				shelf_uidset_add_range(set, first, last);
			if (!open || begin != last + 1)
				first = begin;
			last = begin + (end - n) - 1;
			open = true;
		}
	}
	if (open)
		shelf_uidset_add_range(set, first, last);
}

/* ---- Refresh ------------------------------------------------------------------------------------------ */

struct refresh {
	struct shelf_view *view;
	struct shelf_rd *rd;
	bool may_renumber;
	struct shelf_changes *changes;
	struct shelf_uidset *pages; /* page numbers + 1 to look at */
	struct shelf_uidset
	    *present; /* page numbers + 1 that the store has in the range looked at */
};

static int
note_page(void *arg, const struct index_head *head)
{
	struct refresh *r = arg;

	shelf_uidset_add(r->present, head->page + 1);
	if (head->max_modseq > r->view->modseq)
		shelf_uidset_add(r->pages, head->page + 1);
	return 0;
}

/* A range in which something changed: its changed pages, and those the view has that are gone. */
static int
note_range(void *arg, const struct index_summary *s)
{
	struct refresh *r = arg;
	struct shelf_view *v = r->view;
	uint32_t first = s->range << (INDEX_RANGE_SHIFT - INDEX_PAGE_SHIFT), last = first + 255;
	int rc;

	if (s->max_modseq <= v->modseq)
		return 0;
	shelf_uidset_clear(r->present);
	if ((rc = index_page_each(r->rd->view, v->mailbox, first, last, note_page, r)) != 0)
		return rc;
	for (size_t i = find_page(v, first); i < v->n && v->page[i] <= last; i++) {
		if (!shelf_uidset_has(r->present, v->page[i] + 1))
			shelf_uidset_add(r->pages, v->page[i] + 1);
	}
	return 0;
}

static void
add_pending(struct shelf_view *v, uint32_t page, const struct index_bits *bits)
{
	if (v->npending == v->pending_cap) {
		v->pending_cap = v->pending_cap == 0 ? 4 : v->pending_cap * 2;
		v->pending = shelf_realloc(v->pending, v->pending_cap * sizeof(*v->pending));
	}
	v->pending[v->npending++] = (struct pending){page, *bits};
}

/* Compares one page of the view with the store's. */
static int
look_at_page(struct refresh *r, uint32_t number)
{
	struct shelf_view *v = r->view;
	size_t i = find_page(v, number);
	struct index_bits old = {{0}}, next;
	const struct index_page *now;
	bool kept = false;
	int rc = mail_rd_page(r->rd, v->mailbox, number, &now);

	if (rc != 0)
		return rc;
	if (i < v->n && v->page[i] == number)
		old = v->bits[i];
	next = now->exists;
	for (unsigned n = index_bits_next(&old, 0); n < INDEX_PAGE_UIDS;
	     n = index_bits_next(&old, n + 1)) {
		uint32_t uid = number << INDEX_PAGE_SHIFT | n;

		if (index_bit(&now->exists, n)) {
			if (now->modseq[n] > v->modseq)
				shelf_uidset_add(r->changes->flagged, uid);
		} else if (r->may_renumber) {
			shelf_uidset_add(r->changes->vanished, uid);
		} else {
			index_bit_set(&next, n, true);
			kept = true;
		}
	}
	for (int w = 0; w < 4; w++)
		r->changes->added += (uint32_t)__builtin_popcountll(next.word[w] & ~old.word[w]);
	if (kept)
		shelf_uidset_add(v->kept, number + 1);
	else
		shelf_uidset_remove(v->kept, number + 1);
	if (memcmp(&old, &next, sizeof(old)) != 0)
		add_pending(v, number, &next);
	return 0;
}

int
shelf_view_refresh(struct shelf_view *v, struct shelf_rd *rd, bool may_renumber,
		   struct shelf_changes *ch)
{
	struct refresh r = {.view = v, .rd = rd, .may_renumber = may_renumber, .changes = ch};
	struct mail_mbox m;
	int rc;

	SHELF_ASSERT(v->npending == 0);
	shelf_uidset_clear(ch->vanished);
	shelf_uidset_clear(ch->flagged);
	ch->old_count = v->count;
	ch->added = 0;
	ch->kept_back = shelf_uidset_count(v->kept) > 0;
	if ((rc = mail_mbox_get(rd->view, v->mailbox, &m)) != 0)
		return rc;
	if ((m.flags & MAIL_MBOX_DELETED) != 0)
		return SHELF_ENOMAILBOX;
	if (m.highestmodseq == v->modseq && !(may_renumber && ch->kept_back))
		return 0;
	r.present = shelf_uidset_new();
	r.pages = may_renumber ? shelf_uidset_copy(v->kept) : shelf_uidset_new();
	if (m.highestmodseq != v->modseq)
		rc = index_summary_each(rd->view, v->mailbox, 0, note_range, &r);
	for (uint32_t p = shelf_uidset_next(r.pages, 1); rc == 0 && p != 0;
	     p = shelf_uidset_next(r.pages, p + 1))
		rc = look_at_page(&r, p - 1);
	/* Nothing was applied, so whatever was looked at has to be looked at again. */
	if (rc != 0)
		shelf_uidset_or(v->kept, r.pages);
	shelf_uidset_free(&r.pages);
	shelf_uidset_free(&r.present);
	if (rc != 0) {
		v->npending = 0;
		return rc;
	}
	v->modseq = m.highestmodseq;
	v->uidnext = m.uidnext;
	ch->kept_back = shelf_uidset_count(v->kept) > 0;
	return 0;
}

/* Pending pages are few and ascending: one merge over the arrays. A refresh whose pages are all in the view
 * and none emptied changes bits in place. */
void
shelf_view_commit(struct shelf_view *v)
{
	struct shelf_view old = *v;
	bool in_place = true;
	size_t i = 0, k = 0;

	if (v->npending == 0)
		return;
	for (size_t p = 0; p < v->npending && in_place; p++) {
		i = find_page(v, v->pending[p].page);
		in_place = i < v->n && v->page[i] == v->pending[p].page &&
			   index_bits_any(&v->pending[p].bits);
	}
	if (in_place) {
		for (size_t p = 0; p < v->npending; p++)
			v->bits[find_page(v, v->pending[p].page)] = v->pending[p].bits;
		v->count = 0;
		for (i = 0; i < v->n; i++) {
			v->before[i] = v->count;
			v->count += index_bits_count(&v->bits[i]);
		}
		v->npending = 0;
		return;
	}
	v->page = v->before = NULL;
	v->bits = NULL;
	v->n = v->cap = 0;
	v->count = 0;
	for (i = 0; i < old.n || k < v->npending;) {
		if (k == v->npending || (i < old.n && old.page[i] < v->pending[k].page)) {
			add_page(v, old.page[i], &old.bits[i]);
			i++;
			continue;
		}
		if (i < old.n && old.page[i] == v->pending[k].page)
			i++;
		if (index_bits_any(&v->pending[k].bits))
			add_page(v, v->pending[k].page, &v->pending[k].bits);
		k++;
	}
	v->npending = 0;
	free(old.page);
	free(old.before);
	free(old.bits);
}
