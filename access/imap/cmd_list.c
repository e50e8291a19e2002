/*
 * cmd_list.c - LIST (plain and extended) and LSUB
 *
 *   arguments --> names (worker) --> match, in slices --> print, in pieces --> OK
 *
 * A name is listed when it matches a pattern and satisfies the selection; a level that does not is
 * listed only for the sake of what is below it and is not listed itself (RFC 5258 3.3, 2B): in a
 * plain LIST and LSUB that is the "%" rule of RFC 3501 6.3.8 and 6.3.9, in an extended one it takes
 * RECURSIVEMATCH.
 * Sources   RFC 3501 6.3.8, 6.3.9; RFC 9051 6.3.9; RFC 5258; RFC 5819 (STATUS); RFC 8440 (MYRIGHTS);
 *           RFC 9590 (METADATA); RFC 6154; RFC 3348.
 */
#include <stdlib.h>

#include "imap_address.h"
#include "imap_command.h"
#include "imap_list.h"
#include "imap_metadata.h"
#include "imap_status.h"

enum {
	PATTERNS_MAX = 64,
	STATES_MAX = 8192, /* of all patterns together: bounds the work for one name */
	METADATA_MAX = 16, /* entries of each mailbox */
	SLICE_MS = 10,
	SLICE_NODES = 64,
};

enum selection { SELECT_SUBSCRIBED = 1, SELECT_USE = 2, SELECT_RECURSIVE = 4 };
enum returned { RETURN_SUBSCRIBED = 1, RETURN_MYRIGHTS = 2 };

struct list {
	bool lsub, extended;
	unsigned select, returned, status;
	struct imap_pattern *patterns[PATTERNS_MAX];
	size_t npatterns, states;
	struct imap_entries entries; /* of METADATA */
	bool others; /* a pattern may match what others share */
	struct imap_tree_of of;
	struct shelf_arena *arena; /* the command's */
	struct imap_tree tree;
	int rc;
	size_t next; /* node where the slice goes on */
};

static const struct {
	unsigned bit;
	const char *name;
} uses[] = {{SHELF_USE_ALL, "All"}, {SHELF_USE_ARCHIVE, "Archive"}, {SHELF_USE_DRAFTS, "Drafts"},
    {SHELF_USE_FLAGGED, "Flagged"}, {SHELF_USE_JUNK, "Junk"}, {SHELF_USE_SENT, "Sent"},
    {SHELF_USE_TRASH, "Trash"}};

unsigned
imap_use_of(struct shelf_span name)
{
	size_t i = 0;

	for (i = 0; i < sizeof uses / sizeof *uses; i++)
		if (shelf_span_is(name, uses[i].name))
			return uses[i].bit;
	return 0;
}

/* ---- Arguments ------------------------------------------------------------------------------- */

static bool
parse_selection(struct imap_parser *p, struct list *l)
{
	struct shelf_span name = {0};

	if (!imap_parse_open(p))
		return false;
	while (!imap_at(p, ')')) {
		if (!imap_parse_atom(p, &name))
			return false;
		if (shelf_span_is(name, "SUBSCRIBED"))
			l->select |= SELECT_SUBSCRIBED;
		else if (shelf_span_is(name, "SPECIAL-USE"))
			l->select |= SELECT_USE;
		else if (shelf_span_is(name, "RECURSIVEMATCH"))
			l->select |= SELECT_RECURSIVE;
		else if (!shelf_span_is(name, "REMOTE")) /* there are no remote mailboxes to add */
			return imap_parse_fail(p, "unknown selection option");
		if (!imap_try(p, ' '))
			break;
	}
	if (l->select == SELECT_RECURSIVE)
		return imap_parse_fail(p, "RECURSIVEMATCH needs another selection option");
	return imap_parse_close(p);
}

static bool
parse_returned(struct imap_parser *p, struct list *l)
{
	struct shelf_span name = {0};

	if (!imap_try_word(p, "RETURN"))
		return imap_parse_fail(p, "RETURN expected");
	if (!imap_parse_sp(p) || !imap_parse_open(p))
		return false;
	while (!imap_at(p, ')')) {
		if (!imap_parse_atom(p, &name))
			return false;
		if (shelf_span_is(name, "SUBSCRIBED"))
			l->returned |= RETURN_SUBSCRIBED;
		else if (shelf_span_is(name, "MYRIGHTS"))
			l->returned |= RETURN_MYRIGHTS;
		else if (shelf_span_is(name, "METADATA")) {
			l->entries = (struct imap_entries){.max = METADATA_MAX};
			if (!imap_parse_sp(p) || !imap_metadata_parse_entries(p, true, &l->entries))
				return false;
		} else if (shelf_span_is(name, "STATUS")) {
			if (!imap_parse_sp(p) || !imap_status_parse(p, &l->status))
				return false;
		} else if (!shelf_span_is(name, "CHILDREN") && !shelf_span_is(name, "SPECIAL-USE"))
			return imap_parse_fail(p, "unknown return option");
		if (!imap_try(p, ' '))
			break;
	}
	return imap_parse_close(p);
}

/* What stands before the first wildcard decides. */
static bool
may_be_others(struct shelf_span pattern)
{
	static const char top[] = IMAP_OTHERS;
	size_t i = 0;

	while (i < pattern.len && top[i] != '\0' && pattern.data[i] == (uint8_t)top[i])
		i++;
	return i == pattern.len || top[i] == '\0' || pattern.data[i] == '%' || pattern.data[i] == '*';
}

static bool
add_pattern(struct imap_parser *p, struct list *l, struct shelf_span reference,
    struct shelf_span pattern)
{
	struct shelf_buf text = {0};
	size_t states = 0;

	if (l->npatterns == PATTERNS_MAX)
		return imap_parse_fail(p, "too many patterns");
	if (l->extended && pattern.len == 0)
		return true; /* RFC 5258 3: ignored */
	shelf_buf_add_span(&text, reference);
	shelf_buf_add_span(&text, pattern);
	l->others = l->others || may_be_others(shelf_buf_span(&text));
	l->patterns[l->npatterns++] = imap_pattern_new(p->arena, shelf_buf_span(&text), p->utf8,
	    &states);
	shelf_buf_free(&text);
	l->states += states;
	return l->states <= STATES_MAX || imap_parse_fail(p, "patterns too long");
}

/* One pattern, or several in parentheses; EMPTY: the plain form with "". */
static bool
parse_patterns(struct imap_parser *p, struct list *l, struct shelf_span reference, bool *empty)
{
	struct shelf_span pattern = {0};

	if (!imap_at(p, '(')) {
		if (!imap_parse_list_mailbox(p, &pattern))
			return false;
		*empty = pattern.len == 0;
		return add_pattern(p, l, reference, pattern);
	}
	l->extended = true;
	if (!imap_parse_open(p))
		return false;
	do {
		if (!imap_parse_list_mailbox(p, &pattern) || !add_pattern(p, l, reference, pattern))
			return false;
	} while (imap_try(p, ' '));
	return imap_parse_close(p);
}

static bool
parse(struct imap_cmd *c, struct list *l, bool *empty)
{
	struct imap_parser *p = &c->p;
	struct shelf_span reference = {0};

	if (!imap_parse_sp(p))
		return false;
	if (!l->lsub && imap_at(p, '(')) {
		l->extended = true;
		if (!parse_selection(p, l) || !imap_parse_sp(p))
			return false;
	}
	if (!imap_parse_astring(p, &reference) || !imap_parse_sp(p))
		return false;
	if (l->lsub && imap_at(p, '('))
		return imap_parse_fail(p, "mailbox pattern expected");
	if (!parse_patterns(p, l, reference, empty))
		return false;
	if (!l->lsub && imap_try(p, ' ')) {
		l->extended = true;
		if (!parse_returned(p, l))
			return false;
	}
	return imap_parse_end(p);
}

/* ---- Printing -------------------------------------------------------------------------------- */

static bool
is_listed(const struct list *l, const struct imap_node *node)
{
	bool upward = l->lsub || l->select == 0 || (l->select & SELECT_RECURSIVE) != 0;

	return node->matches && (node->satisfies || (upward && node->below_unmatched));
}

void
imap_list_attributes(struct imap_session *s, const struct imap_node *node, bool tell_subscribed)
{
	const char *blank = "";
	size_t i = 0;

	if (node->id == 0) {
		/* RFC 5258 3: this implies \Noselect, the only one older clients know. */
		imap_out_str(s, "\\NonExistent \\Noselect");
		blank = " ";
	}
	imap_outf(s, "%s%s", blank, node->has_children ? "\\HasChildren" : "\\HasNoChildren");
	if (tell_subscribed && node->subscribed)
		imap_out_str(s, " \\Subscribed");
	for (i = 0; i < sizeof uses / sizeof *uses; i++)
		if ((node->special_use & uses[i].bit) != 0)
			imap_outf(s, " \\%s", uses[i].name);
}

/* A few rows are read, however many mailboxes there are. */
static int
node_of_own(struct imap_session *s, struct shelf_span name, struct imap_node *out)
{
	struct imap_address at = {0};
	struct shelf_rd *rd = NULL;
	int below = 0, rc = imap_address_open(s, name, 0, &at, &rd);

	if (rc == 0)
		rc = below = shelf_mailbox_has_below(rd, at.place.path);
	shelf_rd_end(&rd);
	out->id = at.row.id;
	out->special_use = at.row.special_use;
	out->subscribed = at.row.subscribed;
	out->has_children = below == 1;
	return rc < 0 ? rc : 0;
}

/* Subscribed and children depend on both accounts. */
static int
node_of_others(struct imap_cmd *c, struct shelf_span name, struct imap_node *out)
{
	struct imap_tree_of of = imap_tree_of(c->s, true);
	struct imap_tree tree = {0};
	int rc = imap_tree_read(&of, &c->arena, &tree);

	out->id = 1; /* there is one, in the list or not */
	for (size_t i = 0; rc == 0 && i < tree.count; i++)
		if (shelf_span_eq(tree.nodes[i].name, name))
			*out = tree.nodes[i];
	return rc;
}

int
imap_list_one(struct imap_cmd *c, struct shelf_span name, struct shelf_span given)
{
	struct imap_node node = {.name = name};
	struct imap_place place = {0};
	int rc = imap_address_place(c->s, name, &place);

	if (rc == 0)
		rc = place.account == c->s->account ? node_of_own(c->s, name, &node) :
		    node_of_others(c, name, &node);
	if (rc != 0)
		return rc;
	imap_out_str(c->s, "* LIST (");
	imap_list_attributes(c->s, &node, true);
	imap_out_str(c->s, ") \"/\" ");
	imap_out_mailbox(c->s, name);
	if (!shelf_span_eq(name, given)) {
		imap_out_str(c->s, " (\"OLDNAME\" (");
		imap_out_mailbox(c->s, given);
		imap_out_str(c->s, "))");
	}
	imap_out_str(c->s, "\r\n");
	return 0;
}

static void
print_attributes(struct imap_session *s, const struct list *l, const struct imap_node *node)
{
	if (l->lsub) /* RFC 3501 6.3.9: \Noselect says "only what is below is subscribed" */
		imap_out_str(s, node->satisfies ? "" : "\\Noselect");
	else
		imap_list_attributes(s, node, (l->select & SELECT_SUBSCRIBED) != 0 ||
		    (l->returned & RETURN_SUBSCRIBED) != 0);
}

static void
print_node(struct imap_session *s, const struct list *l, const struct imap_node *node)
{
	bool use = (l->select & SELECT_USE) != 0, subscribed = (l->select & SELECT_SUBSCRIBED) != 0;

	imap_outf(s, "* %s (", l->lsub ? "LSUB" : "LIST");
	print_attributes(s, l, node);
	imap_out_str(s, ") \"/\" ");
	imap_out_mailbox(s, node->name);
	if ((l->select & SELECT_RECURSIVE) != 0 && node->below)
		imap_outf(s, " (\"CHILDINFO\" (%s%s%s))", subscribed ? "\"SUBSCRIBED\"" : "",
		    subscribed && use ? " " : "", use ? "\"SPECIAL-USE\"" : "");
	imap_out_str(s, "\r\n");
}

/* RFC 5819 2: behind the LIST line. A mailbox that has just been deleted gets none. */
static int
print_status(struct imap_session *s, const struct list *l, const struct imap_node *node)
{
	struct imap_address at = {.place.account = node->account, .name = node->name};
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(s->store, at.place.account, &rd);

	if (rc == 0)
		rc = shelf_mailbox_get(rd, node->id, &at.row);
	if (rc == 0)
		rc = imap_status_print(s, rd, &at, l->status);
	shelf_rd_end(&rd);
	return rc == SHELF_ENOMAILBOX || rc == SHELF_ENOACCOUNT ? 0 : rc;
}

/* RFC 8440 3: behind the LIST line. */
static int
print_rights(struct imap_session *s, const struct imap_node *node)
{
	unsigned rights = node->rights;
	struct shelf_rd *rd = NULL;
	int rc = 0;

	if (node->account == s->account) {
		rc = shelf_rd_begin(s->store, s->account, &rd);
		if (rc == 0)
			rc = imap_address_rights(s, s->account, rd, node->id, &rights);
		shelf_rd_end(&rd);
	}
	if (rc == 0)
		imap_acl_print_mine(s, node->name, rights);
	return rc;
}

/* Nothing is told of what may not be read. */
static bool
may_read(struct imap_session *s, const struct imap_node *node)
{
	return node->account == s->account || (node->rights & SHELF_RIGHT_READ) != 0;
}

static enum imap_step
print(struct imap_cmd *c)
{
	struct imap_session *s = c->s;
	struct list *l = c->data;
	unsigned n = 0;
	int rc = 0;

	imap_progress(c, l->next, l->tree.count);
	for (; l->next < l->tree.count; l->next++) {
		const struct imap_node *node = &l->tree.nodes[l->next];

		if (++n % SLICE_NODES == 0 || l->entries.n > 0) {
			if (imap_out_full(s))
				return IMAP_WANT_OUTPUT;
			if (n == SLICE_NODES * SLICE_NODES)
				return IMAP_YIELD;
		}
		if (!is_listed(l, node))
			continue;
		print_node(s, l, node);
		if ((l->returned & RETURN_MYRIGHTS) != 0 && node->id != 0 && node->satisfies)
			rc = print_rights(s, node);
		if (rc == 0 && l->entries.n > 0 && node->id != 0 && node->satisfies &&
		    (node->account == s->account || imap_metadata_may_read(node->rights)))
			rc = imap_metadata_print(s, node->account, node->id, node->name, &l->entries);
		if (rc == 0 && l->status != 0 && node->id != 0 && may_read(s, node))
			rc = print_status(s, l, node);
		if (rc != 0)
			return imap_err(c, rc);
	}
	return imap_completed(c);
}

/* ---- Matching -------------------------------------------------------------------------------- */

static bool
satisfies(const struct list *l, const struct imap_node *node)
{
	if (l->lsub)
		return node->subscribed;
	if (l->select == 0)
		return node->id != 0;
	if ((l->select & SELECT_SUBSCRIBED) != 0 && !node->subscribed)
		return false;
	return (l->select & SELECT_USE) == 0 || node->special_use != 0;
}

static enum imap_step
match(struct imap_cmd *c)
{
	struct list *l = c->data;
	int64_t start_ms = shelf_mono_ms();
	unsigned n = 0;
	size_t i = 0;

	for (; l->next < l->tree.count; l->next++) {
		struct imap_node *node = &l->tree.nodes[l->next];

		if (++n % SLICE_NODES == 0 && shelf_mono_ms() - start_ms >= SLICE_MS)
			return IMAP_YIELD;
		node->satisfies = satisfies(l, node);
		for (i = 0; i < l->npatterns && !node->matches; i++)
			node->matches = imap_pattern_match(l->patterns[i], node->name);
	}
	imap_tree_raise(&l->tree);
	l->next = 0;
	c->run = print;
	return print(c);
}

static void
read_names(void *arg)
{
	struct list *l = arg;

	l->rc = imap_tree_read(&l->of, l->arena, &l->tree);
}

static enum imap_step
names_read(struct imap_cmd *c)
{
	struct list *l = c->data;

	if (l->rc != 0)
		return imap_err(c, l->rc);
	c->run = match;
	return match(c);
}

static enum imap_step
start(struct imap_cmd *c, bool lsub)
{
	struct list *l = SHELF_ARENA_NEW(&c->arena, struct list);
	bool empty = false;

	l->lsub = lsub;
	if (!parse(c, l, &empty))
		return imap_parse_failed(c);
	if (empty && !lsub && !l->extended) { /* RFC 3501 6.3.8: asks for the separator */
		imap_out_str(c->s, "* LIST (\\Noselect) \"/\" \"\"\r\n");
		return imap_completed(c);
	}
	/* LSUB tells of subscriptions, which are one's own. */
	l->of = imap_tree_of(c->s, l->others && !lsub);
	l->arena = &c->arena;
	c->data = l;
	c->run = names_read;
	return imap_work(c, read_names, l);
}

enum imap_step
imap_cmd_list(struct imap_cmd *c)
{
	return start(c, false);
}

enum imap_step
imap_cmd_lsub(struct imap_cmd *c)
{
	return start(c, true);
}
