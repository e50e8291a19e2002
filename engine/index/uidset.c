/*
 * uidset.c - sets of UIDs and message numbers as Roaring bitmaps
 *
 * The only file that includes roaring.h. What must stay true: 0 is never a member, so that 0 can
 * say "none" everywhere.
 */
#include <stdlib.h>

#include <roaring/roaring.h>

#include <mailshelf/mem.h>
#include <mailshelf/uidset.h>

#include "index.h"

enum { NEAR = 8 };

struct shelf_uidset {
	roaring_bitmap_t *bits;
};

static struct shelf_uidset *
wrap(roaring_bitmap_t *bits)
{
	struct shelf_uidset *s = SHELF_NEW(struct shelf_uidset);

	SHELF_ASSERT(bits != NULL);
	s->bits = bits;
	return s;
}

struct shelf_uidset *
shelf_uidset_new(void)
{
	return wrap(roaring_bitmap_create());
}

struct shelf_uidset *
shelf_uidset_copy(const struct shelf_uidset *s)
{
	return wrap(roaring_bitmap_copy(s->bits));
}

void
shelf_uidset_free(struct shelf_uidset **s)
{
	if (*s == NULL)
		return;
	roaring_bitmap_free((*s)->bits);
	free(*s);
	*s = NULL;
}

void
shelf_uidset_clear(struct shelf_uidset *s)
{
	roaring_bitmap_clear(s->bits);
}

void
shelf_uidset_add(struct shelf_uidset *s, uint32_t uid)
{
	if (uid != 0)
		roaring_bitmap_add(s->bits, uid);
}

void
shelf_uidset_add_range(struct shelf_uidset *s, uint32_t first, uint32_t last)
{
	if (first == 0)
		first = 1;
	if (first <= last)
		roaring_bitmap_add_range_closed(s->bits, first, last);
}

void
shelf_uidset_remove(struct shelf_uidset *s, uint32_t uid)
{
	roaring_bitmap_remove(s->bits, uid);
}

bool
shelf_uidset_has(const struct shelf_uidset *s, uint32_t uid)
{
	return roaring_bitmap_contains(s->bits, uid);
}

bool
shelf_uidset_eq(const struct shelf_uidset *s, const struct shelf_uidset *other)
{
	return roaring_bitmap_equals(s->bits, other->bits);
}

uint32_t
shelf_uidset_count(const struct shelf_uidset *s)
{
	return (uint32_t)roaring_bitmap_get_cardinality(s->bits);
}

uint32_t
shelf_uidset_min(const struct shelf_uidset *s)
{
	return roaring_bitmap_is_empty(s->bits) ? 0 : roaring_bitmap_minimum(s->bits);
}

uint32_t
shelf_uidset_max(const struct shelf_uidset *s)
{
	return roaring_bitmap_is_empty(s->bits) ? 0 : roaring_bitmap_maximum(s->bits);
}

uint32_t
shelf_uidset_nth(const struct shelf_uidset *s, uint32_t n)
{
	uint32_t uid;

	return n > 0 && roaring_bitmap_select(s->bits, n - 1, &uid) ? uid : 0;
}

/*
 * The library's way to a member costs as much as the set has words behind it (0.2.66 looks for the largest one first).
 * Where a set is so dense that it has words, the next member is rarely more than a few numbers away.
 */
uint32_t
shelf_uidset_next(const struct shelf_uidset *s, uint32_t from)
{
	roaring_uint32_iterator_t it;

	for (uint32_t n = 0; n < NEAR && n <= UINT32_MAX - from; n++)
		if (roaring_bitmap_contains(s->bits, from + n))
			return from + n;
	if (roaring_bitmap_is_empty(s->bits))
		return 0;
	roaring_init_iterator(s->bits, &it);
	if (!roaring_move_uint32_iterator_equalorlarger(&it, from))
		return 0;
	return it.current_value;
}

/* Are first..last all members? Ranges beyond the largest member are not shown to the library: some
 * releases (0.2.66) abort on those that end in a container that is not there. */
static bool
has_range(const struct shelf_uidset *s, uint32_t max, uint32_t first, uint32_t last)
{
	return last <= max && roaring_bitmap_contains_range(s->bits, first, (uint64_t)last + 1);
}

/*
 * The end of a run is found by doubling the distance and then halving it: a mailbox is often one
 * run of a million members, and just as often many runs of one.
 */
bool
shelf_uidset_run(const struct shelf_uidset *s, uint32_t from, uint32_t *first, uint32_t *last)
{
	uint32_t begin = shelf_uidset_next(s, from);
	uint32_t good = begin, step = 1, max;

	if (begin == 0)
		return false;
	*first = *last = begin;
	if (begin == UINT32_MAX || !roaring_bitmap_contains(s->bits, begin + 1))
		return true;
	max = roaring_bitmap_maximum(s->bits);
	while (step <= UINT32_MAX - good && has_range(s, max, good, good + step)) {
		good += step;
		if (step <= UINT32_MAX / 2)
			step *= 2;
	}
	for (; step > 0; step /= 2)
		if (step <= UINT32_MAX - good && has_range(s, max, good, good + step))
			good += step;
	*last = good;
	return true;
}

void
shelf_uidset_and(struct shelf_uidset *s, const struct shelf_uidset *other)
{
	roaring_bitmap_and_inplace(s->bits, other->bits);
}

void
shelf_uidset_or(struct shelf_uidset *s, const struct shelf_uidset *other)
{
	if (s != other)
		roaring_bitmap_or_inplace(s->bits, other->bits);
}

void
shelf_uidset_andnot(struct shelf_uidset *s, const struct shelf_uidset *other)
{
	if (s == other)
		shelf_uidset_clear(s);
	else
		roaring_bitmap_andnot_inplace(s->bits, other->bits);
}

void
shelf_uidset_print(const struct shelf_uidset *s, struct shelf_buf *out)
{
	uint32_t first = 0, last = 0;

	for (uint32_t from = 1; shelf_uidset_run(s, from, &first, &last); from = last + 1) {
		if (from != 1)
			shelf_buf_add_byte(out, ',');
		shelf_buf_add_uint(out, first);
		if (last > first) {
			shelf_buf_add_byte(out, ':');
			shelf_buf_add_uint(out, last);
		}
		if (last == UINT32_MAX)
			break;
	}
}

/* ---- Pages --------------------------------------------------------------------------------------------- */

struct index_bits
index_bits_of(const struct shelf_uidset *s, uint32_t page)
{
	struct index_bits b = {{0}};
	uint32_t uid[INDEX_PAGE_UIDS], n;
	roaring_uint32_iterator_t it;

	if (roaring_bitmap_is_empty(s->bits))
		return b;
	roaring_init_iterator(s->bits, &it);
	if (!roaring_move_uint32_iterator_equalorlarger(&it, page << INDEX_PAGE_SHIFT))
		return b;
	n = roaring_read_uint32_iterator(&it, uid, INDEX_PAGE_UIDS);
	for (uint32_t i = 0; i < n && uid[i] >> INDEX_PAGE_SHIFT == page; i++)
		index_bit_set(&b, uid[i] % INDEX_PAGE_UIDS, true);
	return b;
}

void
index_bits_add_to(const struct index_bits *b, uint32_t page, struct shelf_uidset *s)
{
	const uint32_t base = page << INDEX_PAGE_SHIFT;
	struct index_bits gaps;
	unsigned end;

	for (int w = 0; w < 4; w++)
		gaps.word[w] = ~b->word[w];
	for (unsigned n = index_bits_next(b, 0); n < INDEX_PAGE_UIDS; n = index_bits_next(b, end)) {
		end = index_bits_next(&gaps, n);
		shelf_uidset_add_range(s, base + n, base + end - 1);
	}
}

uint32_t
shelf_uidset_count_range(const struct shelf_uidset *s, uint32_t first, uint32_t last)
{
	uint64_t below = first == 0 ? 0 : roaring_bitmap_rank(s->bits, first - 1);

	return (uint32_t)(roaring_bitmap_rank(s->bits, last) - below);
}
