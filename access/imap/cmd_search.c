/*
 * cmd_search.c - SEARCH, UID SEARCH
 *
 *   parse -> search in slices -> print in slices -> reply
 *
 * Without RETURN the answer is SEARCH with all numbers, with it and in IMAP4rev2 one ESEARCH
 * (imap_esearch.c).
 * Nothing is printed before the search has ended: a search that fails answers NO and no numbers, one that
 * had to pass over damaged messages NO behind the numbers of the others.
 * Sources   RFC 9051 6.4.4, 6.4.9; RFC 3501 7.2.5; RFC 4731; RFC 5182 2.1;
 *           RFC 7162 3.1.5, 3.1.6, 3.1.10.
 */
#include <inttypes.h>

#include "imap_context.h"
#include "imap_esearch.h"
#include "imap_search.h"

enum { NUMBERS_AT_ONCE = 4096 };

struct search_command {
	struct imap_esearch esearch; /* what 0: the plain answer */
	struct imap_program program;
	struct shelf_uidset *found;  /* as many of those found as may be told */
	struct shelf_span keys; /* their text */
	uint32_t next; /* uid to be printed */
};

static void
cleanup(struct imap_cmd *c)
{
	struct search_command *sc = c->data;

	imap_esearch_end(&sc->esearch, c);
	shelf_uidset_free(&sc->found);
	imap_program_free(&sc->program);
}

static enum imap_step
print_extended(struct imap_cmd *c)
{
	struct search_command *sc = c->data;

	if (imap_esearch_print(&sc->esearch) == 1)
		return imap_out_full(c->s) ? IMAP_WANT_OUTPUT : IMAP_YIELD;
	if ((sc->esearch.what & IMAP_RETURN_UPDATE) != 0) {
		struct imap_context_start start = {.keys = sc->keys,
		    .attributes = sc->esearch.attributes,
		    .found = shelf_search_found(sc->program.search)};

		imap_context_begin(c, &start);
	}
	return imap_program_reply(c, &sc->program);
}

/* The view keeps its numbering as long as the command runs. */
static enum imap_step
print(struct imap_cmd *c)
{
	struct search_command *sc = c->data;

	for (unsigned n = 0; sc->next != 0; n++) {
		uint32_t uid = sc->next;

		if (n == NUMBERS_AT_ONCE)
			return imap_out_full(c->s) ? IMAP_WANT_OUTPUT : IMAP_YIELD;
		imap_out_str(c->s, " ");
		imap_out_uint(c->s, c->uid ? uid : shelf_view_seq(c->s->view, uid));
		sc->next = uid == UINT32_MAX ? 0 : shelf_uidset_next(sc->found, uid + 1);
	}
	if (sc->program.modseq && shelf_uidset_min(sc->found) != 0)
		imap_outf(c->s, " (MODSEQ %" PRIu64 ")", shelf_search_max_modseq(sc->program.search));
	imap_out_str(c->s, "\r\n");
	c->s->mid_response = false;
	return imap_program_reply(c, &sc->program);
}

static enum imap_step
run(struct imap_cmd *c)
{
	struct search_command *sc = c->data;
	enum imap_step step = imap_program_search(c, &sc->program);

	if (step != IMAP_DONE || c->replied)
		return step;
	sc->found = shelf_uidset_copy(shelf_search_found(sc->program.search));
	imap_limit_cut(c, sc->found);
	if (sc->program.modseq)
		sc->esearch.max_modseq = shelf_search_max_modseq(sc->program.search);
	if (sc->esearch.what != 0) {
		imap_esearch_begin(&sc->esearch, c, sc->found, NULL);
		c->run = print_extended;
		return print_extended(c);
	}
	c->s->mid_response = true;
	imap_out_str(c->s, "* SEARCH");
	sc->next = shelf_uidset_next(sc->found, 1);
	c->run = print;
	return print(c);
}

enum imap_step
imap_cmd_search(struct imap_cmd *c)
{
	struct search_command *sc = SHELF_ARENA_NEW(&c->arena, struct search_command);

	c->data = sc;
	c->cleanup = cleanup;
	if (!imap_parse_sp(&c->p) || !imap_return_parse(&c->p, &sc->esearch))
		return imap_parse_failed(c);
	if ((sc->esearch.what & IMAP_RETURN_UPDATE) != 0 && !imap_context_may_begin(c))
		return IMAP_DONE;
	sc->keys = shelf_span(c->p.at, (size_t)(c->p.end - c->p.at));
	if (!imap_program_parse(c, &sc->program))
		return IMAP_DONE;
	if (sc->esearch.what == 0 && c->s->rev2) /* RFC 9051 6.4.4: no SEARCH response any more */
		sc->esearch.what = IMAP_RETURN_ALL;
	c->run = run;
	return run(c);
}
