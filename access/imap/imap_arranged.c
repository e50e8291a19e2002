/* imap_arranged.c - the last order and the last threads that were made in this mailbox (imap_arranged.h) */
#include "imap_arranged.h"

#include <stdlib.h>

#include <mailshelf/mem.h>

struct imap_arranged {
	struct shelf_uidset *sorted; /* NULL: no order is known */
	struct shelf_sort_criterion by[IMAP_CRITERIA_MAX];
	size_t nby;
	struct shelf_sort *sort;
	struct shelf_uidset *threaded; /* NULL: no threads are */
	enum shelf_thread_algorithm algorithm;
	struct shelf_thread *thread;
};

static bool
same_criteria(const struct imap_arranged *a, const struct shelf_sort_criterion *by, size_t n)
{
	for (size_t i = 0; i < n && n == a->nby; i++)
		if (a->by[i].key != by[i].key || a->by[i].reverse != by[i].reverse)
			return false;
	return n == a->nby;
}

struct shelf_sort *
imap_arranged_sort(const struct imap_session *s, const struct shelf_uidset *uids,
    const struct shelf_sort_criterion *by, size_t n)
{
	const struct imap_arranged *a = s->arranged;

	return a != NULL && a->sorted != NULL && same_criteria(a, by, n) && shelf_uidset_eq(a->sorted, uids) ?
	    a->sort : NULL;
}

struct shelf_thread *
imap_arranged_thread(const struct imap_session *s, const struct shelf_uidset *uids,
    enum shelf_thread_algorithm algorithm)
{
	const struct imap_arranged *a = s->arranged;

	return a != NULL && a->threaded != NULL && a->algorithm == algorithm && shelf_uidset_eq(a->threaded, uids) ?
	    a->thread : NULL;
}

static void
forget_sort(struct imap_arranged *a)
{
	shelf_uidset_free(&a->sorted);
	shelf_sort_free(&a->sort);
}

static void
forget_thread(struct imap_arranged *a)
{
	shelf_uidset_free(&a->threaded);
	shelf_thread_free(&a->thread);
}

/* NULL: it is too much to be kept. */
static struct imap_arranged *
room(struct imap_session *s, const struct shelf_uidset *uids)
{
	if (shelf_uidset_count(uids) > IMAP_ARRANGED_MAX)
		return NULL;
	if (s->arranged == NULL)
		s->arranged = SHELF_NEW(struct imap_arranged);
	return s->arranged;
}

bool
imap_arranged_keep_sort(struct imap_session *s, const struct shelf_uidset *uids,
    const struct shelf_sort_criterion *by, size_t n, struct shelf_sort *sort)
{
	struct imap_arranged *a = room(s, uids);

	if (a == NULL || n > IMAP_CRITERIA_MAX)
		return false;
	forget_sort(a);
	shelf_sort_shrink(sort);
	a->sorted = shelf_uidset_copy(uids);
	memcpy(a->by, by, n * sizeof *by);
	a->nby = n;
	a->sort = sort;
	return true;
}

bool
imap_arranged_keep_thread(struct imap_session *s, const struct shelf_uidset *uids,
    enum shelf_thread_algorithm algorithm, struct shelf_thread *thread)
{
	struct imap_arranged *a = room(s, uids);

	if (a == NULL)
		return false;
	forget_thread(a);
	shelf_thread_shrink(thread);
	a->threaded = shelf_uidset_copy(uids);
	a->algorithm = algorithm;
	a->thread = thread;
	return true;
}

void
imap_arranged_free(struct imap_arranged **arranged)
{
	struct imap_arranged *a = *arranged;

	if (a == NULL)
		return;
	*arranged = NULL;
	forget_sort(a);
	forget_thread(a);
	free(a);
}
