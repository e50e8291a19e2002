/*
 * view_map.c - which uids a view shows, read piece by piece when asked for
 *
 *   range: counted  --load-->  run (first uid; no memory)  or  piece (bits and counts of its pages)
 *            ^                                                      |
 *            +---- evicted, when PIECES_MAX is exceeded: the piece used least lately -----+
 *
 * What must stay true
 *   - A range is loaded from whatever the store holds then, and shows the picture all the same: uids that came
 *     behind the picture are left out (they are not below its uidnext), uids removed behind its modseq come
 *     back from the VANISH log, kept ones are added.
 *   - A loaded range has as many uids as was counted when the picture was taken; anything else is damage.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>
#include <mailshelf/uidset.h>

#include "view_map.h"

enum { PIECES_MAX = 145 << 10 }; /* bytes: the 16 ranges of a million uids with holes, and one */

struct view_piece {
	uint32_t used; /* clock of the last use */
	uint16_t first_page, pages; /* within the range */
	struct index_bits *bits;    /* one of each page */
	uint16_t before[];	    /* messages of the range on earlier pages; then the bits */
};

/* Of a range that is one run of uids. */
static struct view_piece the_run;

void
view_map_expect(struct view_map *m, size_t n)
{
	if (n <= m->cap)
		return;
	m->cap = n;
	m->range = shelf_realloc(m->range, m->cap * sizeof(*m->range));
}

void
view_map_add(struct view_map *m, uint32_t number, uint32_t count)
{
	if (count == 0)
		return;
	if (m->n == m->cap)
		view_map_expect(m, m->cap + m->cap / 2 + 1);
	m->range[m->n++] = (struct view_range){.before = m->count, .number = (uint16_t)number};
	m->count += count;
}

static size_t
piece_bytes(const struct view_piece *p)
{
	return p == NULL || p == &the_run
		   ? 0
		   : sizeof(*p) + 7 + p->pages * (sizeof(*p->before) + sizeof(*p->bits));
}

static void
drop(struct view_map *m, struct view_range *r)
{
	m->piece_bytes -= piece_bytes(r->piece);
	if (r->piece != &the_run)
		free(r->piece);
	r->piece = NULL;
}

void
view_map_free(struct view_map *m)
{
	for (size_t i = 0; i < m->n; i++)
		drop(m, &m->range[i]);
	free(m->range);
	*m = (struct view_map){0};
}

uint32_t
view_map_count(const struct view_map *m, size_t i)
{
	return (i + 1 < m->n ? m->range[i + 1].before : m->count) - m->range[i].before;
}

size_t
view_map_find(const struct view_map *m, uint32_t number)
{
	size_t lo = 0, hi = m->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->range[mid].number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

void
view_map_take(struct view_map *m, struct view_map *from, const struct shelf_uidset *changed)
{
	for (size_t i = 0; i < from->n; i++) {
		struct view_range *r = &from->range[i];
		uint32_t first = (uint32_t)r->number << INDEX_RANGE_SHIFT;
		size_t at = view_map_find(m, r->number);

		if (r->piece == NULL || at == m->n || m->range[at].number != r->number ||
		    view_map_count(m, at) != view_map_count(from, i) ||
		    shelf_uidset_count_range(changed, first, first | UINT16_MAX) > 0)
			continue;
		m->range[at].first = r->first;
		m->range[at].piece = r->piece;
		m->piece_bytes += piece_bytes(r->piece);
		from->piece_bytes -= piece_bytes(r->piece);
		r->piece = NULL;
	}
	m->clock = from->clock;
	m->error = from->error;
	view_map_free(from);
}

/* ---- Loading ------------------------------------------------------------------------------------------- */

struct loading {
	const struct view_picture *picture;
	struct kv_view *view;
	uint32_t first, last; /* uids */
	struct index_bits bits[INDEX_RANGE_PAGES];
};

static int
load_page(void *arg, const struct index_head *head)
{
	struct loading *l = arg;

	l->bits[head->page % INDEX_RANGE_PAGES] = head->exists;
	return 0;
}

/* Uids that came behind the picture: the next uid it knows, and all above. */
static void
leave_out_new(struct loading *l)
{
	uint32_t uidnext = l->picture->uidnext;
	unsigned page = 0;

	if (uidnext > l->last)
		return;
	if (uidnext > l->first) {
		page = (uidnext - l->first) >> INDEX_PAGE_SHIFT;
		for (unsigned n = uidnext % INDEX_PAGE_UIDS; n < INDEX_PAGE_UIDS; n++)
			index_bit_set(&l->bits[page], n, false);
		page++;
	}
	memset(l->bits + page, 0, (INDEX_RANGE_PAGES - page) * sizeof(*l->bits));
}

/* Uids the session was not told to be gone. */
static int
bring_back(struct loading *l)
{
	const struct view_picture *p = l->picture;
	struct shelf_uidset *back = shelf_uidset_copy(p->kept);
	uint32_t page = l->first >> INDEX_PAGE_SHIFT;
	struct mail_mbox row;
	int rc = mail_mbox_get(l->view, p->mailbox, &row);

	if (rc == 0 && row.highestmodseq != p->modseq && p->uidnext > l->first)
		rc = mail_vanished(l->view, p->mailbox, p->modseq, l->first,
				   p->uidnext <= l->last ? p->uidnext - 1 : l->last, back);
	for (unsigned i = 0;
	     rc == 0 && shelf_uidset_count_range(back, l->first, l->last) > 0 && i < INDEX_RANGE_PAGES; i++) {
		struct index_bits more = index_bits_of(back, page + i);

		for (int w = 0; w < 4; w++)
			l->bits[i].word[w] |= more.word[w];
	}
	shelf_uidset_free(&back);
	return rc;
}

static int
read_range(struct loading *l)
{
	const struct view_picture *p = l->picture;
	uint32_t page = l->first >> INDEX_PAGE_SHIFT;
	int rc = kv_view_begin(p->store->kv, p->account, &l->view);

	if (rc != 0)
		return rc;
	rc = index_page_each(l->view, p->mailbox, page, page + INDEX_RANGE_PAGES - 1, load_page, l);
	if (rc == 0) {
		leave_out_new(l);
		rc = bring_back(l);
	}
	kv_view_end(&l->view);
	return rc;
}

static struct view_piece *
make_piece(const struct loading *l, unsigned first_page, unsigned pages)
{
	struct view_piece *p;
	uint16_t before = 0;
	size_t head = (sizeof(*p) + pages * sizeof(*p->before) + 7) / 8 * 8;

	p = shelf_alloc(head + pages * sizeof(*p->bits));
	p->first_page = (uint16_t)first_page;
	p->pages = (uint16_t)pages;
	p->bits = (struct index_bits *)((char *)p + head);
	memcpy(p->bits, l->bits + first_page, pages * sizeof(*p->bits));
	for (unsigned i = 0; i < pages; i++) {
		p->before[i] = before;
		before = (uint16_t)(before + index_bits_count(&p->bits[i]));
	}
	return p;
}

/* Makes room for what was loaded last. */
static void
evict(struct view_map *m, const struct view_range *but)
{
	while (m->piece_bytes > PIECES_MAX) {
		struct view_range *oldest = NULL;

		for (size_t i = 0; i < m->n; i++) {
			struct view_range *r = &m->range[i];

			if (piece_bytes(r->piece) > 0 && r != but &&
			    (oldest == NULL || m->clock - r->piece->used > m->clock - oldest->piece->used))
				oldest = r;
		}
		if (oldest == NULL)
			return;
		drop(m, oldest);
	}
}

static int
load(struct view_map *m, struct view_range *r, uint32_t expected, struct loading *l)
{
	unsigned first = INDEX_RANGE_PAGES, last = 0, low, high;
	uint32_t count = 0;
	int rc = read_range(l);

	if (rc != 0)
		return rc;
	for (unsigned i = 0; i < INDEX_RANGE_PAGES; i++) {
		if (!index_bits_any(&l->bits[i]))
			continue;
		first = first == INDEX_RANGE_PAGES ? i : first;
		last = i;
		count += index_bits_count(&l->bits[i]);
	}
	if (count != expected || count == 0)
		return SHELF_ECORRUPT;
	low = first << INDEX_PAGE_SHIFT | index_bits_next(&l->bits[first], 0);
	for (high = INDEX_PAGE_UIDS - 1; !index_bit(&l->bits[last], high); high--)
		;
	high |= last << INDEX_PAGE_SHIFT;
	r->first = (uint16_t)low;
	r->piece = high - low + 1 == count ? &the_run : make_piece(l, first, last - first + 1);
	m->piece_bytes += piece_bytes(r->piece);
	evict(m, r);
	return 0;
}

bool
view_map_load(struct view_map *m, const struct view_picture *p, size_t i)
{
	struct view_range *r = &m->range[i];

	if (r->piece == NULL) {
		struct loading *l = SHELF_NEW(struct loading);
		int rc;

		l->picture = p;
		l->first = (uint32_t)r->number << INDEX_RANGE_SHIFT;
		l->last = l->first | UINT16_MAX;
		rc = load(m, r, view_map_count(m, i), l);
		free(l);
		if (rc != 0 && m->error == 0)
			m->error = rc;
		if (rc != 0)
			return false;
	}
	if (r->piece != &the_run)
		r->piece->used = ++m->clock;
	return true;
}

/* ---- Asking -------------------------------------------------------------------------------------------- */

static unsigned
select_in_page(const struct index_bits *b, unsigned k)
{
	unsigned w = 0, n;
	uint64_t bits;

	while (k >= (n = (unsigned)__builtin_popcountll(b->word[w]))) {
		k -= n;
		w++;
	}
	for (bits = b->word[w]; k > 0; k--)
		bits &= bits - 1;
	return w * 64 + (unsigned)__builtin_ctzll(bits);
}

uint32_t
view_map_select(const struct view_map *m, size_t i, uint32_t k)
{
	const struct view_range *r = &m->range[i];
	const struct view_piece *p = r->piece;
	uint32_t base = (uint32_t)r->number << INDEX_RANGE_SHIFT;
	unsigned lo = 0, hi;

	if (p == &the_run)
		return base + r->first + k;
	/* The last page with at most K before it: an empty one has as many as the next. */
	for (hi = p->pages; hi - lo > 1;) {
		unsigned mid = lo + (hi - lo) / 2;

		if (p->before[mid] <= k)
			lo = mid;
		else
			hi = mid;
	}
	return base + ((p->first_page + lo) << INDEX_PAGE_SHIFT) +
	       select_in_page(&p->bits[lo], k - p->before[lo]);
}

uint32_t
view_map_rank(const struct view_map *m, size_t i, uint32_t uid)
{
	const struct view_range *r = &m->range[i];
	const struct view_piece *p = r->piece;
	uint32_t low = uid & UINT16_MAX, page = low >> INDEX_PAGE_SHIFT, count = view_map_count(m, i);

	if (p == &the_run)
		return low <= r->first ? 0 : low - r->first < count ? low - r->first : count;
	if (page < p->first_page)
		return 0;
	if (page >= (uint32_t)p->first_page + p->pages)
		return count;
	page -= p->first_page;
	return p->before[page] + index_bits_rank(&p->bits[page], uid % INDEX_PAGE_UIDS);
}

bool
view_map_has(const struct view_map *m, size_t i, uint32_t uid)
{
	const struct view_range *r = &m->range[i];
	const struct view_piece *p = r->piece;
	uint32_t low = uid & UINT16_MAX, page = low >> INDEX_PAGE_SHIFT;

	if (p == &the_run)
		return low >= r->first && low - r->first < view_map_count(m, i);
	return page >= p->first_page && page < (uint32_t)p->first_page + p->pages &&
	       index_bit(&p->bits[page - p->first_page], uid % INDEX_PAGE_UIDS);
}

void
view_map_add_to(const struct view_map *m, size_t i, uint32_t first, uint32_t last,
		struct shelf_uidset *set)
{
	const struct view_range *r = &m->range[i];
	const struct view_piece *p = r->piece;
	uint32_t base = (uint32_t)r->number << INDEX_RANGE_SHIFT;

	if (p == &the_run) {
		uint32_t low = base + r->first, high = low + view_map_count(m, i) - 1;

		low = low > first ? low : first;
		high = high < last ? high : last;
		if (low <= high)
			shelf_uidset_add_range(set, low, high);
		return;
	}
	for (unsigned k = 0; k < p->pages; k++) {
		uint32_t page = (base >> INDEX_PAGE_SHIFT) + p->first_page + k;
		uint32_t low = page << INDEX_PAGE_SHIFT;
		struct index_bits bits = p->bits[k];

		if (low + (INDEX_PAGE_UIDS - 1) < first || low > last)
			continue;
		for (unsigned n = 0; low < first && n < first - low; n++)
			index_bit_set(&bits, n, false);
		for (unsigned n = last - low + 1; last - low < INDEX_PAGE_UIDS && n < INDEX_PAGE_UIDS; n++)
			index_bit_set(&bits, n, false);
		index_bits_add_to(&bits, page, set);
	}
}
