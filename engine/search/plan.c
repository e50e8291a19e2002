/*
 * plan.c - a key tree compiled: what each key needs to know, its pattern folded
 *
 * Must stay true: a leaf's `need` is the least knowledge with which eval.c can ever decide it; the tree
 * has the shape of the keys, so its depth is checked here once for all later recursion.
 */
#include <stdlib.h>
#include <mailshelf/mem.h>

#include "search.h"

struct builder {
	struct shelf_arena *arena;
	struct search_plan *plan;
	size_t cap;
};

static enum search_field
field_of(struct shelf_span name)
{
	static const struct {
		const char *name;
		enum search_field field;
	} fields[] = {
		{"Subject", SEARCH_FIELD_SUBJECT}, {"Message-ID", SEARCH_FIELD_MESSAGE_ID},
		{"In-Reply-To", SEARCH_FIELD_IN_REPLY_TO}, {"From", SEARCH_FIELD_FROM},
		{"Sender", SEARCH_FIELD_SENDER}, {"Reply-To", SEARCH_FIELD_REPLY_TO},
		{"To", SEARCH_FIELD_TO}, {"Cc", SEARCH_FIELD_CC}, {"Bcc", SEARCH_FIELD_BCC},
	};

	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
		if (shelf_span_is(name, fields[i].name))
			return fields[i].field;
	}
	return SEARCH_FIELD_OTHER;
}

static bool
is_plain(struct shelf_span text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < 0x80 && strchr("\"\\()<>,:;[]\t\r\n", text.data[i]) != NULL)
			return false;
	}
	return true;
}

static enum search_need
need_of(const struct shelf_key *key)
{
	switch (key->kind) {
	case SHELF_KEY_ALL:
	case SHELF_KEY_AND:
	case SHELF_KEY_OR:
	case SHELF_KEY_NOT:
	case SHELF_KEY_UIDS:
	case SHELF_KEY_FLAG:
	case SHELF_KEY_KEYWORD:
	case SHELF_KEY_RECENT:
	case SHELF_KEY_MODSEQ:
		return SEARCH_FLAGS;
	case SHELF_KEY_LARGER:
	case SHELF_KEY_SMALLER:
	case SHELF_KEY_BEFORE:
	case SHELF_KEY_ON:
	case SHELF_KEY_SINCE:
	case SHELF_KEY_OLDER:
	case SHELF_KEY_YOUNGER:
	case SHELF_KEY_SAVEDBEFORE:
	case SHELF_KEY_SAVEDON:
	case SHELF_KEY_SAVEDSINCE:
	case SHELF_KEY_EMAILID:
		return SEARCH_ROW;
	case SHELF_KEY_SENTBEFORE:
	case SHELF_KEY_SENTON:
	case SHELF_KEY_SENTSINCE:
		return SEARCH_RECORD;
	case SHELF_KEY_HEADER:
		return field_of(key->name) == SEARCH_FIELD_OTHER ? SEARCH_BODY : SEARCH_RECORD;
	case SHELF_KEY_BODY:
	case SHELF_KEY_TEXT:
		return SEARCH_BODY;
	}
	return SEARCH_BODY;
}

static void
add_leaf(struct builder *b, struct search_node *node)
{
	struct search_plan *plan = b->plan;

	if (plan->nleaf == b->cap) {
		b->cap = b->cap == 0 ? 16 : b->cap * 2;
		plan->leaf = shelf_realloc(plan->leaf, b->cap * sizeof *plan->leaf);
	}
	plan->leaf[plan->nleaf++] = node;
}

static int
compile_leaf(struct builder *b, const struct shelf_key *key, struct search_node *node)
{
	switch (key->kind) {
	case SHELF_KEY_UIDS:
	case SHELF_KEY_RECENT:
		if (key->uids == NULL)
			return SHELF_EINVALID;
		break;
	case SHELF_KEY_KEYWORD:
		b->plan->has_keyword = true;
		node->keyword = SHELF_KEYWORDS_MAX;
		break;
	case SHELF_KEY_HEADER:
		if (key->name.len == 0)
			return SHELF_EINVALID;
		node->field = field_of(key->name);
		node->plain = is_plain(key->text);
		node->any = !search_match_init(&node->match, key->text, b->arena);
		b->plan->ntext++;
		break;
	case SHELF_KEY_BODY:
	case SHELF_KEY_TEXT:
		/* RFC 9051 6.4.4: the empty string is a substring of everything. */
		if (!search_match_init(&node->match, key->text, b->arena)) {
			node->kind = SHELF_KEY_ALL;
			node->need = SEARCH_FLAGS;
		}
		b->plan->ntext++;
		break;
	default:
		break;
	}
	add_leaf(b, node);
	return b->plan->ntext > SEARCH_TEXTS_MAX ? SHELF_ELIMIT : 0;
}

static int
compile(struct builder *b, const struct shelf_key *key, unsigned depth,
    struct search_node **node_out)
{
	struct search_node *node = SHELF_ARENA_NEW(b->arena, struct search_node);
	struct search_node **link = &node->child;

	*node_out = node;
	if (depth > SEARCH_DEPTH_MAX)
		return SHELF_EINVALID;
	node->kind = key->kind;
	node->key = key;
	node->need = need_of(key);
	if (key->kind != SHELF_KEY_AND && key->kind != SHELF_KEY_OR && key->kind != SHELF_KEY_NOT)
		return compile_leaf(b, key, node);
	for (const struct shelf_key *c = key->child; c != NULL; c = c->next) {
		int rc = compile(b, c, depth + 1, link);

		if (rc != 0)
			return rc;
		link = &(*link)->next;
	}
	if (key->kind == SHELF_KEY_NOT && (node->child == NULL || node->child->next != NULL))
		return SHELF_EINVALID;
	return 0;
}

/* Message sets that stand in the outermost AND bound the walk: `UID 9 BODY x` looks at one message. */
static void
narrow(struct search_plan *plan, const struct search_node *node)
{
	if (node->kind == SHELF_KEY_UIDS || node->kind == SHELF_KEY_RECENT) {
		if (plan->only == NULL)
			plan->only = shelf_uidset_copy(node->key->uids);
		else
			shelf_uidset_and(plan->only, node->key->uids);
	} else if (node->kind == SHELF_KEY_AND) {
		for (const struct search_node *c = node->child; c != NULL; c = c->next)
			narrow(plan, c);
	}
}

int
search_plan_init(struct search_plan *plan, const struct shelf_key *key, struct shelf_arena *arena)
{
	struct builder b = {.arena = arena, .plan = plan};
	int rc;

	*plan = (struct search_plan){0};
	rc = compile(&b, key, 0, &plan->root);
	if (rc != 0) {
		search_plan_free(plan);
		return rc;
	}
	narrow(plan, plan->root);
	return 0;
}

static struct search_node *
copy_node(struct builder *b, const struct search_node *from)
{
	struct search_node *node = SHELF_ARENA_NEW(b->arena, struct search_node), **link = &node->child;

	*node = *from;
	node->next = NULL;
	if (from->child == NULL && from->kind != SHELF_KEY_AND && from->kind != SHELF_KEY_OR)
		add_leaf(b, node);
	for (const struct search_node *c = from->child; c != NULL; c = c->next) {
		*link = copy_node(b, c);
		link = &(*link)->next;
	}
	return node;
}

void
search_plan_copy(struct search_plan *plan, const struct search_plan *from, struct shelf_arena *arena)
{
	struct builder b = {.arena = arena, .plan = plan};

	*plan = (struct search_plan){.ntext = from->ntext, .has_keyword = from->has_keyword};
	plan->root = copy_node(&b, from->root);
}

/* Addresses with characters that headers quote are looked for in the header itself (eval.c). */
bool
search_plan_reads_bodies(const struct search_plan *plan)
{
	for (size_t i = 0; i < plan->nleaf; i++) {
		const struct search_node *leaf = plan->leaf[i];

		if (leaf->need == SEARCH_BODY || (leaf->field >= SEARCH_FIELD_FROM && !leaf->plain && !leaf->any))
			return true;
	}
	return false;
}

void
search_plan_free(struct search_plan *plan)
{
	free(plan->leaf);
	plan->leaf = NULL;
	plan->nleaf = 0;
	shelf_uidset_free(&plan->only);
}

int
search_plan_keywords(struct search_plan *plan, struct shelf_rd *rd, uint32_t mailbox)
{
	struct shelf_keywords *all;
	int rc;

	if (!plan->has_keyword)
		return 0;
	all = SHELF_NEW(struct shelf_keywords);
	rc = shelf_mailbox_keywords(rd, mailbox, all);
	for (size_t i = 0; rc == 0 && i < plan->nleaf; i++) {
		struct search_node *leaf = plan->leaf[i];

		for (uint32_t k = 0; leaf->kind == SHELF_KEY_KEYWORD && k < all->count; k++) {
			if (shelf_span_ieq(leaf->key->text, all->name[k]))
				leaf->keyword = k;
		}
	}
	free(all);
	return rc;
}
