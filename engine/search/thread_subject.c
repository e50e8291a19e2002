/*
 * thread_subject.c - ORDEREDSUBJECT: messages of one base subject are a thread (RFC 5256 3)
 *
 * Rows of subject, date and number are sorted; the first of each subject is a root, the others are its
 * children. The order of subjects shows nowhere, since threads are sorted by the date of their first message
 * in the end, so hashes do.
 */
#include <mailshelf/mem.h>

#include "thread.h"

static int
sort_by_subject(struct shelf_thread *t)
{
	return thread_sort(t, t->messages, 3);
}

/* Date and number of each root go to the front of the rows, behind which nobody looks any more. */
static void
group(struct shelf_thread *t, size_t i)
{
	const uint64_t *row = t->row + i * 3;
	uint64_t subject = row[0], date = row[1], number = row[2];
	uint32_t node = (uint32_t)number + 1, root;

	if (i == 0 || subject != t->subject) {
		t->subject = subject;
		t->row[t->items * 2] = date;
		t->row[t->items++ * 2 + 1] = number;
		t->last = 0;
		return;
	}
	root = (uint32_t)t->row[t->items * 2 - 1] + 1;
	t->node[node].parent = root;
	if (t->last == 0)
		t->node[root].child = node;
	else
		t->node[t->last].next = node;
	t->last = node;
}

static int
sort_roots(struct shelf_thread *t)
{
	t->last = 0;
	return thread_sort(t, t->items, 2);
}

static size_t
count_roots(const struct shelf_thread *t)
{
	return t->items;
}

static void
hang_up_root(struct shelf_thread *t, size_t i)
{
	thread_root(t, (uint32_t)t->row[i * 2 + 1] + 1);
}

const struct thread_stage thread_by_subject[] = {
    {sort_by_subject, NULL, NULL},
    {NULL, thread_messages, group},
    {sort_roots, NULL, NULL},
    {NULL, count_roots, hang_up_root},
    {NULL, NULL, NULL},
};
