/*
 * merge.c - a merge sort that stops and goes on
 *
 *   runs of 16 rows are sorted by insertion, then pairs of runs are merged from one buffer into the other,
 *   until one run is left
 *
 * Mail comes in the order of its dates, nearly: pairs that lie in order already are copied. Stable, so that
 * what is equal stays in the order of message numbers without a number of its own.
 */
#include <stdlib.h>
#include <mailshelf/mem.h>

#include "sort.h"

enum { RUN = 16, COPY_ROWS = 65536 };

bool
search_merge_begin(struct search_merge *m, uint64_t *row, size_t n, size_t stride)
{
	*m = (struct search_merge){.n = n, .stride = stride, .keys = stride};
	m->spare = shelf_alloc_try(n * stride * sizeof *row + 1);
	if (m->spare == NULL)
		return false;
	m->row = row;
	return true;
}

static uint64_t *
at(struct search_merge *m, uint64_t *base, size_t i)
{
	return base + i * m->stride;
}

static int
compare(struct search_merge *m, const uint64_t *a, const uint64_t *b)
{
	if (m->compare != NULL)
		return m->compare(m, a, b);
	for (size_t i = 0; i < m->keys; i++)
		if (a[i] != b[i])
			return a[i] < b[i] ? -1 : 1;
	return 0;
}

static void
copy(struct search_merge *m, uint64_t *to, const uint64_t *from, size_t rows)
{
	memmove(to, from, rows * m->stride * sizeof *to);
}

static void
sort_run(struct search_merge *m, size_t first, size_t end)
{
	uint64_t *held = m->spare;

	for (size_t i = first + 1; i < end; i++) {
		size_t to = i;

		while (to > first && compare(m, at(m, m->row, to - 1), at(m, m->row, i)) > 0)
			to--;
		if (to == i)
			continue;
		copy(m, held, at(m, m->row, i), 1);
		copy(m, at(m, m->row, to + 1), at(m, m->row, to), i - to);
		copy(m, at(m, m->row, to), held, 1);
	}
}

/* Some rows of a run as they are. */
static void
move(struct search_merge *m, size_t *from, size_t end)
{
	size_t rows = end - *from < COPY_ROWS ? end - *from : COPY_ROWS;

	copy(m, at(m, m->spare, m->to), at(m, m->row, *from), rows);
	*from += rows;
	m->to += rows;
	m->credit -= (int64_t)rows / 16 + 1;
}

static void
begin_pair(struct search_merge *m)
{
	size_t middle = m->n - m->at > m->width ? m->at + m->width : m->n;
	size_t end = m->n - middle > m->width ? middle + m->width : m->n;

	m->merging = true;
	m->left = m->to = m->at;
	m->left_end = m->right = middle;
	m->right_end = end;
	if (middle < end && compare(m, at(m, m->row, middle - 1), at(m, m->row, middle)) <= 0)
		m->left_end = m->right = end; /* in order: both are one */
}

/* Goes on with the pair at hand. True: it is merged. */
static bool
merge_pair(struct search_merge *m)
{
	if (!m->merging)
		begin_pair(m);
	while (m->credit > 0 && m->to < m->right_end) {
		if (m->left == m->left_end) {
			move(m, &m->right, m->right_end);
		} else if (m->right == m->right_end) {
			move(m, &m->left, m->left_end);
		} else {
			size_t *from = compare(m, at(m, m->row, m->left), at(m, m->row, m->right)) > 0 ?
			    &m->right : &m->left;

			copy(m, at(m, m->spare, m->to++), at(m, m->row, (*from)++), 1);
			m->credit--;
		}
	}
	if (m->to < m->right_end)
		return false;
	m->at = m->right_end;
	m->merging = false;
	return true;
}

static void
next_width(struct search_merge *m)
{
	uint64_t *sorted = m->width == 0 ? m->row : m->spare;

	if (m->width > 0) {
		m->spare = m->row;
		m->row = sorted;
	}
	m->width = m->width == 0 ? RUN : 2 * m->width;
	m->at = 0;
}

int
search_merge_run(struct search_merge *m, int64_t credit)
{
	m->credit = credit;
	while (m->credit > 0) {
		if (m->width >= m->n)
			return 0;
		if (m->width == 0 && m->at < m->n) {
			size_t end = m->n - m->at > RUN ? m->at + RUN : m->n;

			sort_run(m, m->at, end);
			m->at = end;
			m->credit -= RUN;
		} else if (m->at < m->n) {
			if (!merge_pair(m))
				return 1;
		}
		if (m->at == m->n)
			next_width(m);
	}
	return m->width < m->n;
}

uint64_t *
search_merge_take(struct search_merge *m)
{
	uint64_t *row = m->row;

	m->row = NULL;
	search_merge_end(m);
	return row;
}

void
search_merge_end(struct search_merge *m)
{
	free(m->row);
	free(m->spare);
	*m = (struct search_merge){0};
}
