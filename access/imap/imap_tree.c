/*
 * imap_tree.c - the names of an account, levels made explicit
 *
 * Sorted with "/" below every other byte a subtree is contiguous and follows its root; one pass
 * then finds the levels that exist only because of their inferiors. INBOX comes first.
 * Sources   RFC 9051 6.3.9, RFC 3348 (children), RFC 5258 3 (\NonExistent).
 */
#include <stdlib.h>

#include "imap_list.h"

struct reading {
	struct shelf_arena *arena;
	struct imap_node *nodes;
	size_t count, room;
};

static struct imap_node *
new_node(struct reading *r)
{
	if (r->count == r->room) {
		struct imap_node *more = NULL;

		r->room = r->room == 0 ? 32 : r->room * 2;
		more = SHELF_ARENA_ARRAY(r->arena, struct imap_node, r->room);
		if (r->count > 0)
			memcpy(more, r->nodes, r->count * sizeof *more);
		r->nodes = more;
	}
	r->nodes[r->count] = (struct imap_node){0};
	return &r->nodes[r->count++];
}

static int
add_mailbox(void *arg, const struct shelf_mailbox *mailbox)
{
	struct reading *r = arg;
	struct imap_node *node = new_node(r);

	node->name = shelf_arena_dup(r->arena, mailbox->name);
	node->id = mailbox->exists_now ? mailbox->id : 0;
	node->special_use = mailbox->special_use;
	node->subscribed = mailbox->subscribed;
	return 0;
}

static unsigned
rank(uint8_t c)
{
	return c == '/' ? 0 : c + 1U;
}

static bool
in_inbox(struct shelf_span name)
{
	return name.len >= 5 && memcmp(name.data, "INBOX", 5) == 0 &&
	    (name.len == 5 || name.data[5] == '/');
}

static int
compare(const void *x, const void *y)
{
	const struct imap_node *a = x, *b = y;
	size_t i = 0;

	if (in_inbox(a->name) != in_inbox(b->name))
		return in_inbox(a->name) ? -1 : 1;
	while (i < a->name.len && i < b->name.len && a->name.data[i] == b->name.data[i])
		i++;
	if (i == a->name.len || i == b->name.len)
		return (a->name.len > b->name.len) - (a->name.len < b->name.len);
	return rank(a->name.data[i]) < rank(b->name.data[i]) ? -1 : 1;
}

/* Is NAME inferior to UPPER? */
static bool
is_below(struct shelf_span name, struct shelf_span upper)
{
	return name.len > upper.len && name.data[upper.len] == '/' &&
	    memcmp(name.data, upper.data, upper.len) == 0;
}

/* Copies SORTED to OUT with the missing levels between and the parents noted. */
static void
fill_levels(const struct reading *sorted, struct reading *out)
{
	uint32_t path = 0; /* index + 1 of the innermost node that may still be a parent */
	size_t i = 0;

	for (i = 0; i < sorted->count; i++) {
		struct shelf_span name = sorted->nodes[i].name;
		size_t known = 0;
		ptrdiff_t slash = 0;

		while (path != 0 && !is_below(name, out->nodes[path - 1].name))
			path = out->nodes[path - 1].parent;
		known = path == 0 ? 0 : out->nodes[path - 1].name.len + 1;
		while ((slash = shelf_span_find(name, '/', known)) >= 0) {
			struct imap_node *level = new_node(out);

			level->name = shelf_span(name.data, (size_t)slash);
			level->parent = path;
			path = (uint32_t)out->count;
			known = (size_t)slash + 1;
		}
		*new_node(out) = sorted->nodes[i];
		out->nodes[out->count - 1].parent = path;
		path = (uint32_t)out->count;
	}
}

int
imap_tree_read(struct imap_session *s, struct shelf_arena *arena, struct imap_tree *out)
{
	struct reading sorted = {.arena = arena}, full = {.arena = arena};
	struct shelf_rd *rd = NULL;
	size_t i = 0;
	int rc = shelf_rd_begin(s->store, s->account, &rd);

	if (rc == 0)
		rc = shelf_mailbox_each(rd, add_mailbox, &sorted);
	shelf_rd_end(&rd);
	if (rc != 0)
		return rc;
	if (sorted.count > 0)
		qsort(sorted.nodes, sorted.count, sizeof *sorted.nodes, compare);
	fill_levels(&sorted, &full);
	for (i = full.count; i-- > 0;)
		if (full.nodes[i].parent != 0 &&
		    (full.nodes[i].id != 0 || full.nodes[i].has_children))
			full.nodes[full.nodes[i].parent - 1].has_children = true;
	*out = (struct imap_tree){full.nodes, full.count};
	return 0;
}

void
imap_tree_raise(struct imap_tree *tree)
{
	size_t i = 0;

	for (i = tree->count; i-- > 0;) {
		struct imap_node *node = &tree->nodes[i];
		struct imap_node *parent = node->parent == 0 ? NULL :
		    &tree->nodes[node->parent - 1];

		if (parent == NULL)
			continue;
		parent->below = parent->below || node->below || node->satisfies;
		parent->below_unmatched = parent->below_unmatched || node->below_unmatched ||
		    (node->satisfies && !node->matches);
	}
}
