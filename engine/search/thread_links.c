/*
 * thread_links.c - step 1 of REFERENCES: who answers whom, message by message in mailbox order
 *
 * Only parents are noted, and how many children a node has: one without any cannot be an ancestor of anybody,
 * so that the look for loops is made only where one can be (nearly never). RFC 5256 3, step 1.
 */
#include <stdlib.h>
#include <mailshelf/mem.h>

#include "thread.h"

enum { ABSENT_MIN = 10000 };

int
thread_links_begin(struct shelf_thread *t, size_t count)
{
	t->absent_max = count * SHELF_THREAD_ABSENT_EACH + ABSENT_MIN;
	/* Each message, each absent one, and the pairs that step 5 brings together. */
	t->node_cap = count + t->absent_max + count / 2 + 1;
	/* Zero pages come from the kernel as they are touched. */
	t->node = calloc(t->node_cap + 1, sizeof *t->node);
	return t->node == NULL ? SHELF_ENOMEM : thread_table(t, count + t->absent_max);
}

static uint32_t
new_node(struct shelf_thread *t, uint64_t id)
{
	SHELF_ASSERT(t->nodes < t->node_cap);
	t->node[++t->nodes].id = id;
	return (uint32_t)t->nodes;
}

/* Where the node of ID is, or would be. */
static uint32_t *
slot_of(struct shelf_thread *t, uint64_t id)
{
	size_t slot = (size_t)id & t->mask;

	while (t->table[slot] != 0 && t->node[t->table[slot]].id != id)
		slot = (slot + 1) & t->mask;
	return &t->table[slot];
}

/* The node a reference means; 0 when no more can be made. */
static uint32_t
referred(struct shelf_thread *t, uint64_t id)
{
	uint32_t *slot = slot_of(t, id);

	if (*slot == 0 && t->absent < t->absent_max) {
		t->absent++;
		*slot = new_node(t, id);
	}
	return *slot;
}

static uint32_t
node_of_message(struct shelf_thread *t)
{
	struct shelf_span field = t->walk.envelope->message_id;
	size_t pos = 0;
	uint32_t *slot;

	if (field.data == NULL || !search_next_id(field, &pos, &t->text))
		return new_node(t, 0);
	slot = slot_of(t, search_hash(&t->key, shelf_buf_span(&t->text)));
	if (*slot == 0)
		return *slot = new_node(t, search_hash(&t->key, shelf_buf_span(&t->text)));
	if (t->node[*slot].message != 0)
		return new_node(t, 0); /* the id is an earlier message's */
	t->absent--;
	return *slot;
}

/* Is NODE above or at OF? */
static bool
is_above(const struct shelf_thread *t, uint32_t node, uint32_t of)
{
	if (node == of)
		return true;
	if (t->node[node].child == 0)
		return false;
	for (unsigned look = 0; of != 0; of = t->node[of].parent) {
		if (of == node || ++look > SHELF_THREAD_LOOK_MAX)
			return true;
	}
	return false;
}

static void
link_to(struct shelf_thread *t, uint32_t parent, uint32_t child)
{
	if (is_above(t, child, parent))
		return;
	t->node[child].parent = parent;
	t->node[parent].child++;
}

static size_t
read_references(struct shelf_thread *t, struct shelf_span field)
{
	size_t pos = 0, n = 0;

	while (field.data != NULL && search_next_id(field, &pos, &t->text))
		t->ring[n++ % SHELF_THREAD_REFERENCES_MAX] =
		    search_hash(&t->key, shelf_buf_span(&t->text));
	return n;
}

void
thread_links_add(struct shelf_thread *t, size_t i)
{
	const struct mime_envelope *e = t->walk.envelope;
	uint32_t node = node_of_message(t), before = 0, at;
	size_t n = read_references(t, e->references), from, pos = 0;

	t->message[i].node = node;
	t->node[node].message = (uint32_t)i + 1;
	if (n == 0 && e->in_reply_to.data != NULL && search_next_id(e->in_reply_to, &pos, &t->text))
		t->ring[n++] = search_hash(&t->key, shelf_buf_span(&t->text));
	from = n > SHELF_THREAD_REFERENCES_MAX ? n - SHELF_THREAD_REFERENCES_MAX : 0;
	for (; from < n; from++) {
		at = referred(t, t->ring[from % SHELF_THREAD_REFERENCES_MAX]);
		if (at == 0)
			continue;
		if (before != 0 && t->node[at].parent == 0)
			link_to(t, before, at);
		before = at;
	}
	if (t->node[node].parent != 0) {
		t->node[t->node[node].parent].child--;
		t->node[node].parent = 0;
	}
	if (before != 0)
		link_to(t, before, node);
}
