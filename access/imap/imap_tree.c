/*
 * imap_tree.c - the names of an account, levels made explicit
 *
 * Sorted with "/" below every other byte a subtree is contiguous and follows its root; one pass
 * then finds the levels that exist only because of their inferiors. INBOX comes first.
 * Sources   RFC 9051 6.3.9, RFC 3348 (children), RFC 5258 3 (\NonExistent).
 */
#include <stdlib.h>

#include "imap_address.h"
#include "imap_list.h"

struct reading {
	struct shelf_arena *arena;
	struct imap_node *nodes;
	size_t count, room;
	uint32_t account;  /* being read */
	const char *owner; /* its name, when it is another's */
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
	node->account = r->account;
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

/* The same name twice: a subscription and what another shares, or a mailbox of the user's own and another's, which it
 * hides (imap_address.h). */
static void
merge(struct imap_node *into, const struct imap_node *node)
{
	bool subscribed = into->subscribed || node->subscribed;

	if (into->id == 0 || (node->id != 0 && into->rights != 0))
		*into = (struct imap_node){.name = into->name, .account = node->account, .id = node->id,
		    .parent = into->parent, .rights = node->rights, .special_use = node->special_use};
	into->subscribed = subscribed;
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

		if (path != 0 && shelf_span_eq(name, out->nodes[path - 1].name)) {
			merge(&out->nodes[path - 1], &sorted->nodes[i]);
			continue;
		}
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

static int
read_own(const struct imap_tree_of *of, struct reading *r)
{
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(of->store, of->account, &rd);

	r->account = of->account;
	if (rc == 0)
		rc = shelf_mailbox_each(rd, add_mailbox, r);
	shelf_rd_end(&rd);
	return rc;
}

static int
add_shared(void *arg, const struct shelf_mailbox *mailbox, unsigned rights)
{
	struct reading *r = arg;
	struct imap_node *node = NULL;
	struct shelf_buf name = {0}, canonical = {0};

	if ((rights & SHELF_RIGHT_LOOKUP) == 0)
		return 0;
	shelf_buf_printf(&name, IMAP_OTHERS "/%s/", r->owner);
	shelf_buf_add_span(&name, mailbox->name);
	/* A name that no command could use is not told. */
	if (shelf_mailbox_canonical(shelf_buf_span(&name), &canonical) == 0) {
		node = new_node(r);
		node->name = shelf_arena_dup(r->arena, shelf_buf_span(&name));
		node->account = r->account;
		node->id = mailbox->id;
		node->rights = rights;
	}
	shelf_buf_free(&name);
	shelf_buf_free(&canonical);
	return 0;
}

static int
read_shared(const struct imap_tree_of *of, struct reading *r, uint32_t owner)
{
	struct shelf_account account;
	struct shelf_rd *rd = NULL;
	int rc;

	if (owner == of->account)
		return 0;
	rc = shelf_account_get(of->store, owner, &account);
	if (rc == 0)
		rc = shelf_rd_begin(of->store, owner, &rd);
	r->account = owner;
	r->owner = account.name;
	if (rc == 0)
		rc = shelf_shared_each(rd, of->account_name, add_shared, r);
	r->owner = NULL;
	shelf_rd_end(&rd);
	return rc == SHELF_ENOACCOUNT ? 0 : rc; /* just deleted */
}

static void
make_tree(struct reading *sorted, struct imap_tree *out)
{
	struct reading full = {.arena = sorted->arena};
	size_t i = 0;

	if (sorted->count > 0)
		qsort(sorted->nodes, sorted->count, sizeof *sorted->nodes, compare);
	fill_levels(sorted, &full);
	for (i = full.count; i-- > 0;)
		if (full.nodes[i].parent != 0 &&
		    (full.nodes[i].id != 0 || full.nodes[i].has_children))
			full.nodes[full.nodes[i].parent - 1].has_children = true;
	*out = (struct imap_tree){full.nodes, full.count};
}

struct imap_tree_of
imap_tree_of(struct imap_session *s, bool others)
{
	return (struct imap_tree_of){s->store, s->account, s->account_name, others};
}

int
imap_tree_read(const struct imap_tree_of *of, struct shelf_arena *arena, struct imap_tree *out)
{
	struct reading reading = {.arena = arena};
	uint32_t *sharers = NULL;
	size_t n = 0;
	int rc = read_own(of, &reading);

	if (rc == 0 && of->others)
		rc = shelf_sharers(of->store, of->account_name, &sharers, &n);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = read_shared(of, &reading, sharers[i]);
	free(sharers);
	if (rc == 0)
		make_tree(&reading, out);
	return rc;
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
