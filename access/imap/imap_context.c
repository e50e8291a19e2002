/*
 * imap_context.c - which messages came into the result of a search, and which left it
 *
 *   vanish:  for each context: result and VANISHED -> REMOVEFROM
 *   tell:    for each context: search among the changed -> left the result: REMOVEFROM -> came: ADDTO
 *
 * Both go context by context and piece by piece; what is printed has been taken out of the sets, so that a step
 * goes on where the last one stopped.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "imap_context.h"
#include "imap_push.h"
#include "imap_search.h"

enum { RUNS_AT_ONCE = 1024, PLACES_AT_ONCE = 32 };

struct context {
	struct context *next;
	char *tag;
	bool uid;
	struct shelf_arena arena;      /* text, program */
	struct imap_program program;
	struct shelf_uidset *found;
	bool has_items;                /* UPDATE with attributes */
	struct imap_fetch_items items;
	/* Sorted ones. */
	struct shelf_sort_criterion *by;
	size_t nby;
	uint32_t *order, count, cap;   /* uids; by NULL: none */
};

struct imap_contexts {
	struct context *first;
	unsigned count;
	struct shelf_uidset *changed;  /* to be looked at */
	struct shelf_uidset *fresh;    /* of these, new messages */
	struct imap_push *push;        /* FETCH of those that come, before they are told */
	bool pushed;
	struct context *at;            /* the step goes on with this one; NULL: with the first */
	bool under_way;
	struct shelf_search *search;   /* of it, among TRIED */
	struct imap_round round;
	struct shelf_uidset *tried;
	struct shelf_key both, only;
	struct shelf_uidset *leaving, *coming; /* still to be printed; NULL: not known yet */
};

/* ---- Life -------------------------------------------------------------------------------------------- */

static void
free_context(struct context *x)
{
	imap_program_free(&x->program);
	shelf_arena_free(&x->arena);
	shelf_uidset_free(&x->found);
	free(x->order);
	free(x->by);
	free(x->tag);
	free(x);
}

/* The step at hand is given up. */
static void
stop(struct imap_contexts *all)
{
	shelf_search_free(&all->search);
	shelf_uidset_free(&all->leaving);
	shelf_uidset_free(&all->coming);
	imap_push_free(&all->push);
	all->pushed = false;
	all->at = NULL;
	all->under_way = false;
}

void
imap_contexts_end(struct imap_session *s)
{
	struct imap_contexts *all = s->contexts;

	if (all == NULL)
		return;
	s->contexts = NULL;
	stop(all);
	while (all->first != NULL) {
		struct context *x = all->first;

		all->first = x->next;
		free_context(x);
	}
	shelf_uidset_free(&all->changed);
	shelf_uidset_free(&all->fresh);
	shelf_uidset_free(&all->tried);
	free(all);
}

static struct context **
find(struct imap_contexts *all, struct shelf_span tag)
{
	struct context **link = all == NULL ? NULL : &all->first;

	while (link != NULL && *link != NULL && !shelf_span_eq(shelf_span_str((*link)->tag), tag))
		link = &(*link)->next;
	return link == NULL || *link == NULL ? NULL : link;
}

bool
imap_context_may_begin(struct imap_cmd *c)
{
	if (find(c->s->contexts, c->tag) == NULL)
		return true;
	imap_bad(c, "this tag has updates already");
	return false;
}

bool
imap_context_cancel(struct imap_session *s, struct shelf_span tag)
{
	struct context **link = find(s->contexts, tag), *x;

	if (link == NULL)
		return false;
	x = *link;
	*link = x->next;
	s->contexts->count--;
	free_context(x);
	if (s->contexts->first == NULL)
		imap_contexts_end(s);
	return true;
}

/* Does the answer change by itself? */
static bool
is_fickle(const struct shelf_key *key)
{
	if (key->kind == SHELF_KEY_OLDER || key->kind == SHELF_KEY_YOUNGER || key->kind == SHELF_KEY_RECENT)
		return true;
	for (const struct shelf_key *k = key->child; k != NULL; k = k->next)
		if (is_fickle(k))
			return true;
	return false;
}

static void
take_order(struct context *x, const struct imap_context_start *start)
{
	x->nby = start->nby;
	x->by = shelf_alloc(x->nby * sizeof *x->by + 1);
	memcpy(x->by, start->by, x->nby * sizeof *x->by);
	x->count = x->cap = shelf_sort_count(start->sort);
	x->order = shelf_alloc(x->cap * sizeof *x->order + 1);
	for (uint32_t i = 0; i < x->count; i++)
		x->order[i] = shelf_sort_uid(start->sort, i);
}

/* They have been parsed before. */
static bool
take_attributes(struct context *x, struct shelf_span text)
{
	struct shelf_span copy = shelf_arena_dup(&x->arena, text);
	struct imap_parser p = {.arena = &x->arena, .at = copy.data, .end = copy.data + copy.len};

	x->has_items = text.data != NULL;
	return !x->has_items || imap_fetch_parse(&p, false, &x->items);
}

/* NULL, or why not. */
static const char *
begin(struct imap_cmd *c, const struct imap_context_start *start, struct context *x)
{
	struct imap_contexts *all = c->s->contexts;

	if (all != NULL && all->count == IMAP_CONTEXTS_MAX)
		return "too many searches are kept up to date";
	if (start->sort != NULL && shelf_sort_count(start->sort) > IMAP_CONTEXT_SORTED_MAX)
		return "too many results to keep them sorted";
	if (start->keys.len > IMAP_CONTEXT_TEXT_MAX_BYTES)
		return "the keys are too long to be kept";
	c->p = (struct imap_parser){.arena = &x->arena};
	c->p.at = shelf_arena_dup(&x->arena, start->keys).data;
	c->p.end = c->p.at + start->keys.len;
	x->program = (struct imap_program){.view = c->s->view, .standing = true};
	/* It was parsed before, in the same view. */
	if (!(start->charset ? imap_program_parse_charset : imap_program_parse)(c, &x->program)) {
		c->replied = false;
		return "the keys cannot be kept";
	}
	if (is_fickle(x->program.root))
		return "these keys change their answer with time";
	if (!take_attributes(x, start->attributes))
		return "the attributes cannot be kept";
	x->found = shelf_uidset_copy(start->found);
	if (start->sort != NULL)
		take_order(x, start);
	return NULL;
}

void
imap_context_begin(struct imap_cmd *c, const struct imap_context_start *start)
{
	struct imap_session *s = c->s;
	struct context *x = SHELF_NEW(struct context);
	const char *refused = begin(c, start, x);

	if (refused != NULL) {
		imap_out_str(s, "* NO [NOUPDATE \"");
		imap_out_span(s, c->tag);
		imap_outf(s, "\"] No updates: %s\r\n", refused);
		free_context(x);
		return;
	}
	x->tag = shelf_strndup(c->tag.data, c->tag.len);
	x->uid = c->uid;
	if (s->contexts == NULL) {
		s->contexts = SHELF_NEW(struct imap_contexts);
		s->contexts->changed = shelf_uidset_new();
		s->contexts->fresh = shelf_uidset_new();
	}
	x->next = s->contexts->first;
	s->contexts->first = x;
	s->contexts->count++;
}

/* ---- Printing ------------------------------------------------------------------------------------------ */

static void
print_head(struct imap_session *s, const struct context *x, const char *item)
{
	imap_outf(s, "* ESEARCH (TAG \"%s\")%s %s (", x->tag, x->uid || s->uidonly ? " UID" : "", item);
}

static uint32_t
number_of(struct imap_session *s, const struct context *x, uint32_t uid)
{
	return x->uid || s->uidonly ? uid : shelf_view_seq(s->view, uid);
}

/* Some of SET, in one response, in mailbox order; they are taken out of it. */
static void
print_some(struct imap_session *s, const struct context *x, const char *item, struct shelf_uidset *set)
{
	struct shelf_uidset *printed = shelf_uidset_new();
	uint32_t from = 1, first, last;

	print_head(s, x, item);
	imap_out_str(s, "0 ");
	for (unsigned n = 0; n < RUNS_AT_ONCE && from != 0 && shelf_uidset_run(set, from, &first, &last);
	    n++) {
		/* What is consecutive by uid is so by number. */
		imap_outf(s, "%s%" PRIu32, n > 0 ? "," : "", number_of(s, x, first));
		if (last > first)
			imap_outf(s, ":%" PRIu32, number_of(s, x, last));
		shelf_uidset_add_range(printed, first, last);
		from = last == UINT32_MAX ? 0 : last + 1;
	}
	imap_out_str(s, ")\r\n");
	shelf_uidset_andnot(set, printed);
	shelf_uidset_free(&printed);
}

static uint32_t
take_place(struct context *x, uint32_t uid)
{
	uint32_t at = 0;

	while (at < x->count && x->order[at] != uid)
		at++;
	if (at == x->count)
		return 0;
	memmove(&x->order[at], &x->order[at + 1], (--x->count - at) * sizeof *x->order);
	return at + 1;
}

static int
give_place(struct imap_session *s, struct context *x, uint32_t uid, uint32_t *at)
{
	int rc = shelf_sort_place(s->store, s->owner, s->mailbox, x->by, x->nby, x->order, x->count, uid,
	    at);

	if (rc != 0)
		return rc;
	if (x->count == x->cap) {
		x->cap = x->cap < 64 ? 64 : x->cap + x->cap / 2;
		x->order = shelf_realloc(x->order, x->cap * sizeof *x->order);
	}
	memmove(&x->order[*at + 1], &x->order[*at], (x->count++ - *at) * sizeof *x->order);
	x->order[*at] = uid;
	return 0;
}

/* The same of a sorted one: each with its place at that moment (RFC 5267 4.3.3). */
static void
print_places(struct imap_session *s, struct context *x, bool add, struct shelf_uidset *set)
{
	uint32_t uid, at = 0;
	bool any = false;

	for (unsigned n = 0; n < PLACES_AT_ONCE && (uid = shelf_uidset_min(set)) != 0; n++) {
		shelf_uidset_remove(set, uid);
		if (add ? give_place(s, x, uid, &at) != 0 : (at = take_place(x, uid)) == 0)
			continue; /* gone meanwhile: it was never told of */
		if (!any)
			print_head(s, x, add ? "ADDTO" : "REMOVEFROM");
		imap_outf(s, "%s%" PRIu32 " %" PRIu32, any ? " " : "", at + add, number_of(s, x, uid));
		any = true;
	}
	if (any)
		imap_out_str(s, ")\r\n");
}

/* All of SET, in pieces. */
static enum imap_step
print(struct imap_session *s, struct context *x, bool add, struct shelf_uidset *set)
{
	while (shelf_uidset_min(set) != 0) {
		if (imap_out_full(s))
			return IMAP_WANT_OUTPUT;
		if (x->by == NULL) {
			print_some(s, x, add ? "ADDTO" : "REMOVEFROM", set);
			continue;
		}
		print_places(s, x, add, set);
		if (shelf_uidset_min(set) != 0)
			return IMAP_YIELD;
	}
	return IMAP_DONE;
}

/* ---- What happened ------------------------------------------------------------------------------------ */

/* The next context, or the first. False: all are done. */
static bool
next_context(struct imap_contexts *all)
{
	if (all == NULL)
		return false;
	all->at = all->under_way ? all->at->next : all->first;
	all->under_way = all->at != NULL;
	return all->under_way;
}

enum imap_step
imap_contexts_vanish(struct imap_cmd *c, const struct shelf_uidset *vanished)
{
	struct imap_contexts *all = c->s->contexts;
	enum imap_step step;

	if (all == NULL || shelf_uidset_min(vanished) == 0)
		return IMAP_DONE;
	shelf_uidset_andnot(all->changed, vanished);
	while (all->leaving != NULL || next_context(all)) {
		if (all->leaving == NULL) {
			all->leaving = shelf_uidset_copy(all->at->found);
			shelf_uidset_and(all->leaving, vanished);
			shelf_uidset_andnot(all->at->found, vanished);
		}
		step = print(c->s, all->at, false, all->leaving);
		if (step != IMAP_DONE)
			return step;
		shelf_uidset_free(&all->leaving);
	}
	return IMAP_DONE;
}

void
imap_contexts_note(struct imap_session *s, const struct shelf_uidset *changed, bool new)
{
	if (s->contexts == NULL)
		return;
	shelf_uidset_or(s->contexts->changed, changed);
	if (new)
		shelf_uidset_or(s->contexts->fresh, changed);
}

static int
begin_search(struct imap_session *s, struct imap_contexts *all)
{
	if (all->tried == NULL) {
		all->tried = shelf_uidset_copy(all->changed);
		shelf_uidset_clear(all->changed);
		shelf_view_retain(s->view, all->tried);
	}
	all->only = (struct shelf_key){.kind = SHELF_KEY_UIDS, .uids = all->tried,
	    .next = all->at->program.root};
	all->both = (struct shelf_key){.kind = SHELF_KEY_AND, .child = &all->only};
	return shelf_search_new(s->store, s->owner, s->view, &all->both, &all->search);
}

/* What the search says about the changed ones. IMAP_DONE: leaving and coming are known. */
static enum imap_step
look(struct imap_cmd *c, struct imap_contexts *all)
{
	const struct shelf_uidset *found;
	enum imap_step step;
	int rc = all->search != NULL ? 0 : begin_search(c->s, all);

	if (rc == 0)
		rc = imap_round_search(c, all->search, &all->round, &step);
	if (rc == 1)
		return step;
	/* What cannot be read now is as it was. */
	if (rc != 0 && rc != SHELF_ECORRUPT) {
		all->leaving = shelf_uidset_new();
		all->coming = shelf_uidset_new();
		shelf_search_free(&all->search);
		return IMAP_DONE;
	}
	found = shelf_search_found(all->search);
	all->leaving = shelf_uidset_copy(all->at->found);
	shelf_uidset_and(all->leaving, all->tried);
	shelf_uidset_andnot(all->leaving, found);
	all->coming = shelf_uidset_copy(found);
	shelf_uidset_andnot(all->coming, all->at->found);
	shelf_uidset_andnot(all->at->found, all->leaving);
	shelf_uidset_or(all->at->found, all->coming);
	shelf_search_free(&all->search);
	return IMAP_DONE;
}

/* RFC 5465 7: what the client wants to know of new messages comes before ADDTO. */
static enum imap_step
push(struct imap_session *s, struct imap_contexts *all)
{
	struct shelf_uidset *uids;
	enum imap_step step;

	if (all->pushed || !all->at->has_items)
		return IMAP_DONE;
	if (all->push == NULL) {
		uids = shelf_uidset_copy(all->coming);
		shelf_uidset_and(uids, all->fresh);
		all->push = imap_push_new(s, &all->at->items, uids);
		shelf_uidset_free(&uids);
	}
	step = imap_push_run(all->push);
	if (step != IMAP_DONE)
		return step;
	imap_push_free(&all->push);
	all->pushed = true;
	return IMAP_DONE;
}

static enum imap_step
tell_one(struct imap_cmd *c, struct imap_contexts *all)
{
	struct imap_session *s = c->s;
	enum imap_step step = all->leaving == NULL ? look(c, all) : IMAP_DONE;

	if (step == IMAP_DONE)
		step = print(s, all->at, false, all->leaving);
	if (step == IMAP_DONE)
		step = push(s, all);
	if (step == IMAP_DONE)
		step = print(s, all->at, true, all->coming);
	if (step != IMAP_DONE)
		return step;
	all->pushed = false;
	shelf_uidset_free(&all->leaving);
	shelf_uidset_free(&all->coming);
	return IMAP_DONE;
}

enum imap_step
imap_contexts_tell(struct imap_cmd *c)
{
	struct imap_contexts *all = c->s->contexts;
	enum imap_step step;

	if (all == NULL || (!all->under_way && shelf_uidset_min(all->changed) == 0))
		return IMAP_DONE;
	while (all->search != NULL || all->leaving != NULL || next_context(all)) {
		step = tell_one(c, all);
		if (step != IMAP_DONE)
			return step;
	}
	shelf_uidset_free(&all->tried);
	shelf_uidset_clear(all->fresh);
	return IMAP_DONE;
}
