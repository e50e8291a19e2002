/*
 * imap_sources.c - which mailboxes a search is over
 */
#include "imap_address.h"
#include "imap_list.h"
#include "imap_sources.h"

/* ---- Filters -------------------------------------------------------------------------------------- */

static bool
add_filter(struct imap_parser *p, struct imap_sources *out, enum imap_source_kind kind,
    struct shelf_span name)
{
	if (out->nfilter == IMAP_SOURCES_NAMES_MAX)
		return imap_parse_fail(p, "too many mailboxes");
	if (out->nfilter == out->filter_cap) {
		size_t cap = out->filter_cap == 0 ? 8 : out->filter_cap * 2;
		struct imap_source_filter *more = SHELF_ARENA_ARRAY(p->arena, struct imap_source_filter,
		    cap);

		if (out->nfilter > 0)
			memcpy(more, out->filter, out->nfilter * sizeof *more);
		out->filter = more;
		out->filter_cap = cap;
	}
	out->filter[out->nfilter++] = (struct imap_source_filter){kind, name};
	return true;
}

/* one-or-more-mailbox */
static bool
parse_names(struct imap_parser *p, struct imap_sources *out, enum imap_source_kind kind)
{
	struct shelf_span name;
	bool many;

	if (!imap_parse_sp(p))
		return false;
	many = imap_at(p, '(');
	if (many && !imap_parse_open(p))
		return false;
	do {
		if (!imap_parse_mailbox(p, &name) || !add_filter(p, out, kind, name))
			return false;
	} while (many && imap_try(p, ' '));
	return !many || imap_parse_close(p);
}

static bool
parse_filter(struct imap_parser *p, struct imap_sources *out)
{
	static const struct {
		const char *word;
		enum imap_source_kind kind;
	} words[] = {
	    {"selected", IMAP_SOURCE_SELECTED}, {"inboxes", IMAP_SOURCE_PERSONAL},
	    {"personal", IMAP_SOURCE_PERSONAL}, {"subscribed", IMAP_SOURCE_SUBSCRIBED},
	    {"subtree", IMAP_SOURCE_SUBTREE}, {"subtree-one", IMAP_SOURCE_SUBTREE_ONE},
	    {"mailboxes", IMAP_SOURCE_MAILBOXES},
	};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (!imap_try_word(p, words[i].word))
			continue;
		if (words[i].kind >= IMAP_SOURCE_SUBTREE)
			return parse_names(p, out, words[i].kind);
		return add_filter(p, out, words[i].kind, shelf_span(NULL, 0));
	}
	return imap_parse_fail(p, "unknown mailbox filter");
}

bool
imap_sources_parse(struct imap_parser *p, struct imap_sources *out)
{
	*out = (struct imap_sources){0};
	if (!imap_try_word(p, "IN"))
		return add_filter(p, out, IMAP_SOURCE_SELECTED, shelf_span(NULL, 0));
	if (!imap_parse_sp(p) || !imap_parse_open(p))
		return false;
	do {
		/* scope-options: none is defined (RFC 7377 4). */
		if (out->nfilter > 0 && imap_at(p, '('))
			return imap_parse_fail(p, "unknown scope option");
		if (!parse_filter(p, out))
			return false;
	} while (imap_try(p, ' '));
	return imap_parse_close(p) && imap_parse_sp(p);
}

bool
imap_sources_selected_only(const struct imap_sources *sources)
{
	for (size_t i = 0; i < sources->nfilter; i++)
		if (sources->filter[i].kind != IMAP_SOURCE_SELECTED)
			return false;
	return true;
}

bool
imap_sources_selected(const struct imap_sources *sources)
{
	for (size_t i = 0; i < sources->nfilter; i++)
		if (sources->filter[i].kind == IMAP_SOURCE_SELECTED)
			return true;
	return false;
}

/* ---- Mailboxes ------------------------------------------------------------------------------------- */

/* Unless it is among the first NAMED. */
static void
add_source(struct imap_cmd *c, struct imap_sources *out, size_t named, struct imap_source source)
{
	for (size_t i = 0; i < named; i++)
		if (out->source[i].account == source.account && out->source[i].mailbox == source.mailbox)
			return;
	if (out->n == out->cap) {
		size_t cap = out->cap == 0 ? 16 : out->cap * 2;
		struct imap_source *more = SHELF_ARENA_ARRAY(&c->arena, struct imap_source, cap);

		if (out->n > 0)
			memcpy(more, out->source, out->n * sizeof *more);
		out->source = more;
		out->cap = cap;
	}
	out->source[out->n++] = source;
}

/* Whatever account it is of. */
static int
add_named(struct imap_cmd *c, struct imap_sources *out, struct shelf_span name)
{
	struct imap_address at;
	int rc = imap_address_find(c->s, name, SHELF_RIGHT_READ, &at);

	if (rc == 0)
		add_source(c, out, out->n, (struct imap_source){at.place.account, at.row.id, name});
	return rc == SHELF_ENOMAILBOX || rc == SHELF_ENAME || rc == SHELF_ENOPERM ? 0 : rc;
}

/* The name of a mailbox of the selected one's owner, as the client knows it. */
static int
name_for_client(struct imap_cmd *c, struct shelf_span path, struct shelf_span *out)
{
	struct shelf_account owner;
	const char *name;
	int rc;

	*out = shelf_arena_dup(&c->arena, path);
	if (c->s->owner == c->s->account)
		return 0;
	if ((rc = shelf_account_get(c->s->store, c->s->owner, &owner)) != 0)
		return rc;
	name = shelf_arena_printf(&c->arena, IMAP_OTHERS "/%s/%.*s", owner.name, (int)path.len,
	    (const char *)path.data);
	*out = shelf_span_str(name);
	return 0;
}

static int
add_selected(struct imap_cmd *c, struct imap_sources *out)
{
	struct imap_session *s = c->s;
	struct shelf_mailbox row;
	struct shelf_span name;
	struct shelf_rd *rd;
	int rc = shelf_rd_begin(s->store, s->owner, &rd);

	if (rc != 0)
		return rc;
	rc = shelf_mailbox_get(rd, s->mailbox, &row);
	if (rc == 0)
		rc = name_for_client(c, row.name, &name);
	if (rc == 0)
		add_source(c, out, out->n, (struct imap_source){s->owner, row.id, name});
	shelf_rd_end(&rd);
	return rc == SHELF_ENOMAILBOX ? 0 : rc;
}

/* Is NAME below TOP, at whatever depth? */
static bool
is_below(struct shelf_span name, struct shelf_span top, bool one_level)
{
	if (name.len <= top.len || name.data[top.len] != '/' || memcmp(name.data, top.data, top.len) != 0)
		return false;
	return !one_level || shelf_span_find(name, '/', top.len + 1) < 0;
}

static bool
is_meant(const struct imap_session *s, const struct imap_source_filter *f, const struct imap_node *node)
{
	switch (f->kind) {
	case IMAP_SOURCE_PERSONAL:
		return node->account == s->account;
	case IMAP_SOURCE_SUBSCRIBED:
		return node->subscribed;
	case IMAP_SOURCE_SUBTREE:
	case IMAP_SOURCE_SUBTREE_ONE:
		return is_below(node->name, f->name, f->kind == IMAP_SOURCE_SUBTREE_ONE);
	default:
		return false;
	}
}

static int
add_of_account(struct imap_cmd *c, struct imap_sources *out)
{
	size_t named = out->n;
	struct imap_tree_of of = imap_tree_of(c->s, true);
	struct imap_tree tree;
	int rc = imap_tree_read(&of, &c->arena, &tree);

	for (size_t i = 0; rc == 0 && i < tree.count; i++) {
		const struct imap_node *node = &tree.nodes[i];
		bool meant = false;

		for (size_t f = 0; node->id != 0 && f < out->nfilter && !meant; f++)
			meant = is_meant(c->s, &out->filter[f], node);
		if (meant)
			add_source(c, out, named,
			    (struct imap_source){node->account, node->id, node->name});
	}
	return rc;
}

int
imap_sources_find(struct imap_cmd *c, struct imap_sources *sources)
{
	bool others = false;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sources->nfilter; i++) {
		const struct imap_source_filter *f = &sources->filter[i];

		if (f->kind == IMAP_SOURCE_SELECTED)
			rc = add_selected(c, sources);
		else if (f->kind >= IMAP_SOURCE_SUBTREE)
			rc = add_named(c, sources, f->name);
		others = others || (f->kind != IMAP_SOURCE_SELECTED && f->kind != IMAP_SOURCE_MAILBOXES);
	}
	return rc == 0 && others ? add_of_account(c, sources) : rc;
}
