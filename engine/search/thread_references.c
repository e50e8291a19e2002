/*
 * thread_references.c - steps 2 to 6 of REFERENCES (RFC 5256 3)
 *
 * All messages are sorted by date once. In that order whoever is met first is the first of its siblings, so
 * every list below is made by walking over it, and none is sorted again.
 *
 *   sort -> settle (2, 3: absent ones give up their children) -> list roots (4) -> note subjects, join (5)
 *        -> hang up children, hang up roots (6)
 *
 * What must stay true: absent nodes are only ever roots with two messages or more behind them, or were left
 * behind, and nobody refers to those.
 */
#include <stdlib.h>
#include <mailshelf/mem.h>

#include "thread.h"

static bool
is_absent(const struct shelf_thread *t, uint32_t node)
{
	return t->node[node].message == 0;
}

/* The node of the message at RANK by date. */
static uint32_t
by_date(const struct shelf_thread *t, size_t rank)
{
	return t->message[t->row[rank * 2 + 1]].node;
}

static int
sort_by_date(struct shelf_thread *t)
{
	free(t->table);
	t->table = NULL;
	return thread_sort(t, t->messages, 2);
}

/* The nearest ancestor that is a message, else the absent root, else 0. Those passed over get a shortcut. */
static uint32_t
nearest(struct shelf_thread *t, uint32_t node)
{
	uint32_t end = t->node[node].parent, at = end, up;

	while (end != 0 && is_absent(t, end) && t->node[end].parent != 0)
		end = t->node[end].parent;
	for (; at != end; at = up) {
		up = t->node[at].parent;
		t->node[at].parent = end;
	}
	return end;
}

/* Steps 2 and 3. What hangs on an absent root is counted there. */
static void
settle(struct shelf_thread *t, size_t i)
{
	uint32_t node = t->message[i].node, parent = nearest(t, node);

	t->node[node].parent = parent;
	t->node[node].child = 0;
	if (parent != 0 && is_absent(t, parent)) {
		t->node[parent].next++;
		t->node[parent].child = 0;
	}
}

/* ---- Roots ------------------------------------------------------------------------------------------ */

static int
begin_roots(struct shelf_thread *t)
{
	t->item = shelf_alloc_try(t->messages * sizeof *t->item + 1);
	return t->item == NULL ? SHELF_ENOMEM : 0;
}

static void
list_root(struct shelf_thread *t, size_t i)
{
	uint32_t node = by_date(t, i), parent = t->node[node].parent;
	struct thread_node *p = &t->node[parent];

	if (parent != 0 && !is_absent(t, parent))
		return;
	if (parent != 0 && p->next == 0)
		return; /* it is listed */
	if (parent != 0 && p->next > 1) {
		p->next = 0;
		p->id = t->node[node].message;
		node = parent;
	} else {
		t->node[node].parent = 0; /* the only one there */
	}
	t->item[t->items++] = node;
}

static size_t
count_roots(const struct shelf_thread *t)
{
	return t->items;
}

/* ---- Step 5 ------------------------------------------------------------------------------------------ */

static const struct thread_message *
first_message(const struct shelf_thread *t, uint32_t node)
{
	const struct thread_node *n = &t->node[node];

	return &t->message[(n->message != 0 ? n->message : (uint32_t)n->id) - 1];
}

static uint64_t
subject_of(const struct shelf_thread *t, uint32_t node)
{
	return first_message(t, node)->subject & ~(uint64_t)1;
}

static bool
is_reply(const struct shelf_thread *t, uint32_t node)
{
	return !is_absent(t, node) && (first_message(t, node)->subject & 1) != 0;
}

static uint32_t *
slot_of(struct shelf_thread *t, uint64_t subject)
{
	size_t slot = (size_t)(subject >> 1) & t->mask;

	while (t->table[slot] != 0 && subject_of(t, t->table[slot]) != subject)
		slot = (slot + 1) & t->mask;
	return &t->table[slot];
}

static int
begin_subjects(struct shelf_thread *t)
{
	return thread_table(t, t->items);
}

/* 5 B */
static void
note_subject(struct shelf_thread *t, size_t i)
{
	uint32_t node = t->item[i], *slot;

	if (subject_of(t, node) == 0)
		return;
	slot = slot_of(t, subject_of(t, node));
	if (*slot == 0 || (!is_absent(t, *slot) && (is_absent(t, node) ||
	    (is_reply(t, *slot) && !is_reply(t, node)))))
		*slot = node;
}

static uint32_t
new_absent(struct shelf_thread *t, uint32_t node)
{
	SHELF_ASSERT(t->nodes < t->node_cap);
	t->node[++t->nodes] = (struct thread_node){.id = t->node[node].message};
	return (uint32_t)t->nodes;
}

/* 5 C. Of two absent ones the second gets the first as parent and hands its messages on below. */
static void
join(struct shelf_thread *t, size_t i)
{
	uint32_t node = t->item[i], *slot, with;

	if (t->node[node].parent != 0 || subject_of(t, node) == 0)
		return;
	slot = slot_of(t, subject_of(t, node));
	with = *slot;
	if (with == node)
		return;
	if (!is_absent(t, with) && !(is_reply(t, node) && !is_reply(t, with))) {
		*slot = new_absent(t, with);
		t->node[with].parent = *slot;
		with = *slot;
	}
	t->node[node].parent = with;
}

/* ---- Step 6 ------------------------------------------------------------------------------------------- */

static int
begin_children(struct shelf_thread *t)
{
	free(t->table);
	t->table = NULL;
	return 0;
}

/* From the last by date to the first, each in front of its siblings. */
static void
hang_up(struct shelf_thread *t, size_t i)
{
	uint32_t node = by_date(t, t->messages - 1 - i), parent = nearest(t, node);

	t->node[node].parent = parent;
	if (parent == 0)
		return;
	t->node[node].next = t->node[parent].child;
	t->node[parent].child = node;
}

static void
hang_up_root(struct shelf_thread *t, size_t i)
{
	uint32_t node = by_date(t, i), parent = t->node[node].parent;

	if (parent == 0)
		thread_root(t, node);
	else if (is_absent(t, parent) && t->node[parent].child == node)
		thread_root(t, parent);
}

const struct thread_stage thread_by_references[] = {
    {sort_by_date, NULL, NULL},
    {NULL, thread_messages, settle},
    {begin_roots, thread_messages, list_root},
    {begin_subjects, count_roots, note_subject},
    {NULL, count_roots, join},
    {begin_children, thread_messages, hang_up},
    {NULL, thread_messages, hang_up_root},
    {NULL, NULL, NULL},
};
