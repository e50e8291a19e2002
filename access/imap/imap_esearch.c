/*
 * imap_esearch.c - RETURN options, the ESEARCH response, "$"
 *
 * What must stay true: results are printed run by run and in pieces, so that a mailbox of a million
 * messages costs neither a large buffer nor a long turn of the loop. "$" is kept as uids: messages that
 * are expunged fall out of it by themselves, since it is only ever used together with the view.
 * Sources   RFC 9051 6.4.4, 7.3.4, 9 (search-return-opt); RFC 4731 3.1, 3.2; RFC 5182 2.1, 2.4; RFC 9394 3.
 */
#include <inttypes.h>

#include "imap_esearch.h"
#include "imap_fetch.h"
#include "imap_sources.h"

enum { RUNS_AT_ONCE = 4096 };

/* ---- Options ---------------------------------------------------------------------------------- */

static bool
parse_index(struct imap_parser *p, bool from_end, uint32_t *out)
{
	return (!from_end || imap_parse_byte(p, '-')) && imap_parse_nz_number(p, out);
}

bool
imap_partial_parse(struct imap_parser *p, struct imap_partial *out)
{
	out->from_end = imap_at(p, '-');
	return parse_index(p, out->from_end, &out->first) && imap_parse_byte(p, ':') &&
	    parse_index(p, out->from_end, &out->last);
}

/* RFC 5465 7: " (UID FLAGS)" of new messages. Kept as text: a context reads it again for itself. */
static bool
parse_attributes(struct imap_parser *p, struct imap_esearch *e)
{
	struct imap_parser look = *p;
	struct imap_fetch_items items;

	if (!imap_try(&look, ' ') || !imap_at(&look, '('))
		return true;
	imap_try(p, ' ');
	e->attributes.data = p->at;
	if (!imap_fetch_parse(p, false, &items))
		return false;
	e->attributes.len = (size_t)(p->at - e->attributes.data);
	return true;
}

static bool
parse_option(struct imap_parser *p, struct imap_esearch *e)
{
	static const struct {
		const char *name;
		unsigned bit;
	} options[] = {
		{"MIN", IMAP_RETURN_MIN},
		{"MAX", IMAP_RETURN_MAX},
		{"ALL", IMAP_RETURN_ALL},
		{"COUNT", IMAP_RETURN_COUNT},
		{"SAVE", IMAP_RETURN_SAVE},
		{"PARTIAL", IMAP_RETURN_PARTIAL},
		{"CONTEXT", IMAP_RETURN_CONTEXT},
		{"UPDATE", IMAP_RETURN_UPDATE},
	};
	unsigned bit = 0;

	for (size_t i = 0; bit == 0 && i < sizeof options / sizeof *options; i++) {
		if (imap_try_word(p, options[i].name))
			bit = options[i].bit;
	}
	if (bit == 0)
		return imap_parse_fail(p, "unknown RETURN option");
	if (bit == IMAP_RETURN_PARTIAL) {
		if ((e->what & bit) != 0)
			return imap_parse_fail(p, "PARTIAL twice");
		if (!imap_parse_sp(p) || !imap_partial_parse(p, &e->partial))
			return false;
	}
	if (bit == IMAP_RETURN_UPDATE && !parse_attributes(p, e))
		return false;
	e->what |= bit;
	if ((e->what & IMAP_RETURN_PARTIAL) != 0 && (e->what & IMAP_RETURN_ALL) != 0)
		return imap_parse_fail(p, "PARTIAL and ALL exclude each other");
	return true;
}

bool
imap_return_parse(struct imap_parser *p, struct imap_esearch *e)
{
	*e = (struct imap_esearch){0};
	if (!imap_try_word(p, "RETURN"))
		return true;
	if (!imap_parse_sp(p) || !imap_parse_open(p))
		return false;
	if (imap_at(p, ')'))
		e->what = IMAP_RETURN_ALL;
	while (!imap_at(p, ')')) {
		if ((e->what != 0 && !imap_parse_sp(p)) || !parse_option(p, e))
			return false;
	}
	return imap_parse_close(p) && imap_parse_sp(p);
}

/* ---- Ranks ------------------------------------------------------------------------------------ */

bool
imap_partial_ranks(const struct imap_partial *partial, uint32_t count, uint32_t *low, uint32_t *high)
{
	uint32_t from;

	*low = partial->first < partial->last ? partial->first : partial->last;
	*high = partial->first < partial->last ? partial->last : partial->first;
	if (*low > count)
		return false;
	if (*high > count)
		*high = count;
	if (partial->from_end) {
		from = count - *high + 1;
		*high = count - *low + 1;
		*low = from;
	}
	return true;
}

void
imap_partial_cut(const struct imap_partial *partial, struct shelf_uidset *set)
{
	struct shelf_uidset *range;
	uint32_t low, high;

	if (!imap_partial_ranks(partial, shelf_uidset_count(set), &low, &high)) {
		shelf_uidset_clear(set);
		return;
	}
	range = shelf_uidset_new();
	shelf_uidset_add_range(range, shelf_uidset_nth(set, low), shelf_uidset_nth(set, high));
	shelf_uidset_and(set, range);
	shelf_uidset_free(&range);
}

/* ---- Results in their order ------------------------------------------------------------------- */

static uint32_t
count_of(const struct imap_esearch *e)
{
	return e->sort != NULL ? shelf_sort_count(e->sort) : shelf_uidset_count(e->found);
}

/* Uids; there is one. */
static uint32_t
min_of(const struct imap_esearch *e)
{
	return e->sort != NULL ? shelf_sort_uid(e->sort, 0) : shelf_uidset_min(e->found);
}

static uint32_t
max_of(const struct imap_esearch *e)
{
	return e->sort != NULL ? shelf_sort_uid(e->sort, shelf_sort_count(e->sort) - 1) :
	    shelf_uidset_max(e->found);
}

/* ---- "$" -------------------------------------------------------------------------------------- */

static bool
is_save_alone(const struct imap_esearch *e)
{
	return (e->what & ~(unsigned)IMAP_RETURN_NO_DATA) == IMAP_RETURN_SAVE;
}

/* RFC 5182 2.4, RFC 9394 3.2: with ALL or COUNT, or alone, all that was found; else what is returned. */
static void
save(struct imap_esearch *e)
{
	struct imap_session *s = e->c->s;

	shelf_uidset_free(&s->saved);
	if ((e->what & (IMAP_RETURN_ALL | IMAP_RETURN_COUNT)) != 0 || is_save_alone(e)) {
		s->saved = shelf_uidset_copy(e->found);
		return;
	}
	s->saved = e->part == NULL ? shelf_uidset_new() : shelf_uidset_copy(e->part);
	for (uint32_t rank = e->low; (e->what & IMAP_RETURN_PARTIAL) != 0 && rank != 0 && rank <= e->high;
	    rank++)
		shelf_uidset_add(s->saved, shelf_sort_uid(e->sort, rank - 1));
	if (count_of(e) > 0 && (e->what & IMAP_RETURN_MIN) != 0)
		shelf_uidset_add(s->saved, min_of(e));
	if (count_of(e) > 0 && (e->what & IMAP_RETURN_MAX) != 0)
		shelf_uidset_add(s->saved, max_of(e));
}

static void
choose_ranks(struct imap_esearch *e)
{
	e->low = 1;
	e->high = count_of(e);
	if ((e->what & IMAP_RETURN_PARTIAL) != 0 &&
	    !imap_partial_ranks(&e->partial, count_of(e), &e->low, &e->high))
		e->low = e->high = 0;
}

void
imap_esearch_begin(struct imap_esearch *e, struct imap_cmd *c, const struct shelf_uidset *found,
    const struct shelf_sort *sort)
{
	e->c = c;
	e->found = found;
	e->sort = sort;
	if (sort != NULL) {
		choose_ranks(e);
	} else if ((e->what & IMAP_RETURN_PARTIAL) != 0) {
		e->part = shelf_uidset_copy(found);
		imap_partial_cut(&e->partial, e->part);
	}
	if ((e->what & IMAP_RETURN_SAVE) != 0)
		save(e);
}

void
imap_esearch_end(struct imap_esearch *e, struct imap_cmd *c)
{
	/* RFC 5182 2.1: a search that was to save its result and answers NO leaves an empty one. */
	if ((e->what & IMAP_RETURN_SAVE) != 0 && c->condition == IMAP_NO)
		shelf_uidset_free(&c->s->saved);
	shelf_uidset_free(&e->part);
}

/* ---- The response ----------------------------------------------------------------------------- */

static uint32_t
number_of(const struct imap_esearch *e, uint32_t uid)
{
	return e->c->uid ? uid : shelf_view_seq(e->c->s->view, uid);
}

static void
print_run(struct imap_esearch *e)
{
	struct imap_session *s = e->c->s;

	if (e->first == 0)
		return;
	imap_outf(s, "%s%" PRIu32, e->begun ? "," : "", e->first);
	if (e->last > e->first)
		imap_outf(s, ":%" PRIu32, e->last);
	e->begun = true;
	e->first = 0;
}

/* A sequence-set; runs of uids with nothing but gaps between are one run of message numbers. 1: more. */
static int
print_set(struct imap_esearch *e, const struct shelf_uidset *set)
{
	uint32_t first, last;

	for (unsigned n = 0; e->next != 0 && shelf_uidset_run(set, e->next, &first, &last); n++) {
		uint32_t number = number_of(e, first);

		if (n == RUNS_AT_ONCE)
			return 1;
		if (e->first == 0 || number != e->last + 1) {
			print_run(e);
			e->first = number;
		}
		e->last = number + (last - first);
		e->next = last == UINT32_MAX ? 0 : last + 1;
	}
	print_run(e);
	return 0;
}

/* In the order of the sort; ranges only where it rises by one (RFC 5267 3.2). 1: more. */
static int
print_ranks(struct imap_esearch *e)
{
	for (unsigned n = 0; e->low != 0 && e->next <= e->high; n++, e->next++) {
		uint32_t number;

		if (n == RUNS_AT_ONCE)
			return 1;
		number = number_of(e, shelf_sort_uid(e->sort, e->next - 1));
		if (e->first == 0 || number != e->last + 1) {
			print_run(e);
			e->first = number;
		}
		e->last = number;
	}
	print_run(e);
	return 0;
}

static void
print_head(struct imap_esearch *e)
{
	struct imap_session *s = e->c->s;
	bool any = count_of(e) > 0;

	s->mid_response = true;
	/* A tag has no character that quoting would have to escape (RFC 9051 9, tag). */
	imap_out_str(s, "* ESEARCH (TAG \"");
	imap_out_span(s, e->c->tag);
	imap_out_str(s, "\"");
	if (e->source != NULL) {
		imap_out_str(s, " MAILBOX ");
		imap_out_mailbox(s, e->source->name);
		imap_outf(s, " UIDVALIDITY %" PRIu32, e->uidvalidity);
	}
	imap_out_str(s, e->c->uid ? ") UID" : ")");
	if (any && (e->what & IMAP_RETURN_MIN) != 0)
		imap_outf(s, " MIN %" PRIu32, number_of(e, min_of(e)));
	if (any && (e->what & IMAP_RETURN_MAX) != 0)
		imap_outf(s, " MAX %" PRIu32, number_of(e, max_of(e)));
	if ((e->what & IMAP_RETURN_COUNT) != 0)
		imap_outf(s, " COUNT %" PRIu32, count_of(e));
	if (any && (e->what & IMAP_RETURN_ALL) != 0)
		imap_out_str(s, " ALL ");
	if ((e->what & IMAP_RETURN_PARTIAL) != 0) {
		const char *sign = e->partial.from_end ? "-" : "";
		bool none = e->sort != NULL ? e->low == 0 : shelf_uidset_count(e->part) == 0;

		imap_outf(s, " PARTIAL (%s%" PRIu32 ":%s%" PRIu32 " ", sign, e->partial.first, sign,
		    e->partial.last);
		imap_out_str(s, none ? "NIL" : "");
	}
}

static uint64_t
modseq_of(const struct imap_esearch *e, uint32_t uid)
{
	struct imap_session *s = e->c->s;
	struct shelf_msg m = {0};
	struct shelf_rd *rd = NULL;
	uint64_t modseq = 0;

	if (shelf_rd_begin(s->store, e->source != NULL ? e->source->account : s->owner, &rd) == 0 &&
	    shelf_msg_next(rd, e->source != NULL ? e->source->mailbox : s->mailbox, uid,
		SHELF_MSG_FLAGS, &m) == 0 && m.uid == uid)
		modseq = m.modseq;
	shelf_rd_end(&rd);
	return modseq;
}

/* RFC 4731 3.2: the highest of the messages returned; with MIN or MAX alone, or both, theirs. */
static uint64_t
returned_modseq(const struct imap_esearch *e)
{
	unsigned what = e->what & ~(unsigned)(IMAP_RETURN_SAVE | IMAP_RETURN_NO_DATA);
	uint64_t low = 0, high = 0;

	if ((what & ~(unsigned)(IMAP_RETURN_MIN | IMAP_RETURN_MAX)) != 0)
		return e->max_modseq;
	if ((what & IMAP_RETURN_MIN) != 0)
		low = modseq_of(e, min_of(e));
	if ((what & IMAP_RETURN_MAX) != 0)
		high = modseq_of(e, max_of(e));
	/* Gone since: then that of all is none too low. */
	if (low == 0 && high == 0)
		return e->max_modseq;
	return low > high ? low : high;
}

int
imap_esearch_print(struct imap_esearch *e)
{
	const struct shelf_uidset *set = e->part != NULL ? e->part : e->found;
	bool has_set = (e->what & (IMAP_RETURN_ALL | IMAP_RETURN_PARTIAL)) != 0;

	if (is_save_alone(e))
		return 0;
	if (e->stage == 0) {
		print_head(e);
		e->next = e->sort != NULL ? e->low : 1;
		e->stage = 1;
	}
	if (has_set && (e->sort != NULL ? print_ranks(e) : print_set(e, set)) == 1)
		return 1;
	imap_out_str(e->c->s, (e->what & IMAP_RETURN_PARTIAL) != 0 ? ")" : "");
	if (e->max_modseq != 0 && count_of(e) > 0)
		imap_outf(e->c->s, " MODSEQ %" PRIu64, returned_modseq(e));
	imap_out_str(e->c->s, "\r\n");
	e->c->s->mid_response = false;
	return 0;
}
