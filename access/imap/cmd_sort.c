/*
 * cmd_sort.c - SORT, UID SORT
 *
 *   parse -> search in slices -> sort in slices -> print in slices -> reply
 *
 * Without RETURN the answer is SORT with all numbers, with it one ESEARCH (imap_esearch.c).
 * Sources   RFC 5256 3, 4; RFC 5957; RFC 5267 3 (RETURN); RFC 9394 3 (PARTIAL); RFC 7162 3.1.9, 3.1.10.
 */
#include <inttypes.h>

#include "imap_arranged.h"
#include "imap_context.h"
#include "imap_esearch.h"
#include "imap_search.h"

enum { NUMBERS_AT_ONCE = 4096 };

struct sort_command {
	struct imap_esearch esearch; /* what 0: the plain answer */
	struct shelf_sort_criterion by[IMAP_CRITERIA_MAX];
	size_t nby;
	struct imap_program program;
	struct shelf_span keys; /* text of the charset and the keys */
	struct shelf_sort *sort;
	bool known; /* it is the session's */
	struct imap_round round;
	uint32_t next; /* rank to be printed */
};

static void
cleanup(struct imap_cmd *c)
{
	struct sort_command *sc = c->data;

	imap_esearch_end(&sc->esearch, c);
	if (!sc->known)
		shelf_sort_free(&sc->sort);
	imap_program_free(&sc->program);
}

/* ---- Criteria ------------------------------------------------------------------------------------ */

static bool
parse_criterion(struct imap_parser *p, struct shelf_sort_criterion *out)
{
	static const char *const names[SHELF_SORT_KEYS] = {
	    [SHELF_SORT_ARRIVAL] = "ARRIVAL", [SHELF_SORT_CC] = "CC", [SHELF_SORT_DATE] = "DATE",
	    [SHELF_SORT_DISPLAYFROM] = "DISPLAYFROM", [SHELF_SORT_DISPLAYTO] = "DISPLAYTO",
	    [SHELF_SORT_FROM] = "FROM", [SHELF_SORT_SIZE] = "SIZE", [SHELF_SORT_SUBJECT] = "SUBJECT",
	    [SHELF_SORT_TO] = "TO"};

	out->reverse = imap_try_word(p, "REVERSE");
	if (out->reverse && !imap_parse_sp(p))
		return false;
	for (int key = 0; key < SHELF_SORT_KEYS; key++) {
		if (imap_try_word(p, names[key])) {
			out->key = (enum shelf_sort_key)key;
			return true;
		}
	}
	return imap_parse_fail(p, "unknown sort criterion");
}

static bool
parse_criteria(struct imap_parser *p, struct sort_command *sc)
{
	if (!imap_parse_open(p))
		return false;
	do {
		if (sc->nby == IMAP_CRITERIA_MAX)
			return imap_parse_fail(p, "too many sort criteria");
		if (!parse_criterion(p, &sc->by[sc->nby++]))
			return false;
	} while (imap_try(p, ' '));
	return imap_parse_close(p) && imap_parse_sp(p);
}

/* ---- Printing ------------------------------------------------------------------------------------ */

static enum imap_step
print_extended(struct imap_cmd *c)
{
	struct sort_command *sc = c->data;

	if (imap_esearch_print(&sc->esearch) == 1)
		return imap_out_full(c->s) ? IMAP_WANT_OUTPUT : IMAP_YIELD;
	if ((sc->esearch.what & IMAP_RETURN_UPDATE) != 0) {
		struct imap_context_start start = {.keys = sc->keys, .charset = true,
		    .attributes = sc->esearch.attributes,
		    .found = shelf_search_found(sc->program.search), .sort = sc->sort, .by = sc->by,
		    .nby = sc->nby};

		imap_context_begin(c, &start);
	}
	return imap_program_reply(c, &sc->program);
}

/* The view keeps its numbering as long as the command runs. */
static enum imap_step
print(struct imap_cmd *c)
{
	struct sort_command *sc = c->data;
	uint32_t count = shelf_sort_count(sc->sort);

	for (unsigned n = 0; sc->next < count; n++) {
		uint32_t uid;

		if (n == NUMBERS_AT_ONCE)
			return imap_out_full(c->s) ? IMAP_WANT_OUTPUT : IMAP_YIELD;
		uid = shelf_sort_uid(sc->sort, sc->next++);
		imap_out_str(c->s, " ");
		imap_out_uint(c->s, c->uid ? uid : shelf_view_seq(c->s->view, uid));
	}
	if (sc->program.modseq && count > 0)
		imap_outf(c->s, " (MODSEQ %" PRIu64 ")", shelf_search_max_modseq(sc->program.search));
	imap_out_str(c->s, "\r\n");
	c->s->mid_response = false;
	return imap_program_reply(c, &sc->program);
}

/* ---- Running ------------------------------------------------------------------------------------- */

static enum imap_step
sorted(struct imap_cmd *c)
{
	struct sort_command *sc = c->data;

	if (sc->program.modseq)
		sc->esearch.max_modseq = shelf_search_max_modseq(sc->program.search);
	if (sc->esearch.what != 0) {
		imap_esearch_begin(&sc->esearch, c, shelf_search_found(sc->program.search), sc->sort);
		c->run = print_extended;
		return print_extended(c);
	}
	c->s->mid_response = true;
	imap_out_str(c->s, "* SORT");
	c->run = print;
	return print(c);
}

static int
sort_slice(void *sort, unsigned budget_ms)
{
	return shelf_sort_run(sort, budget_ms);
}

static enum imap_step
run_sort(struct imap_cmd *c)
{
	struct sort_command *sc = c->data;
	enum imap_step step;
	int rc;

	if (imap_program_given_up(c))
		return IMAP_DONE;
	imap_program_progress(c, &sc->program, shelf_sort_progress(sc->sort));
	rc = imap_round_run(c, sort_slice, sc->sort, &sc->round, &step);
	if (rc == 1)
		return step;
	if (rc == SHELF_ECORRUPT)
		sc->program.damaged = true;
	else if (rc == 0)
		sc->known = imap_arranged_keep_sort(c->s, shelf_search_found(sc->program.search), sc->by, sc->nby,
		    sc->sort);
	return rc == 0 || rc == SHELF_ECORRUPT ? sorted(c) : imap_err(c, rc);
}

static enum imap_step
run_search(struct imap_cmd *c)
{
	struct sort_command *sc = c->data;
	enum imap_step step = imap_program_search(c, &sc->program);
	int rc;

	if (step != IMAP_DONE || c->replied)
		return step;
	if (imap_limit_refuses(c, shelf_uidset_count(shelf_search_found(sc->program.search))))
		return IMAP_DONE;
	sc->sort = imap_arranged_sort(c->s, shelf_search_found(sc->program.search), sc->by, sc->nby);
	sc->known = sc->sort != NULL;
	if (sc->known)
		return sorted(c);
	rc = shelf_sort_new(c->s->store, c->s->owner, c->s->mailbox,
	    shelf_search_found(sc->program.search), sc->by, sc->nby, &sc->sort);
	if (rc != 0)
		return imap_err(c, rc);
	c->run = run_sort;
	return IMAP_YIELD;
}

enum imap_step
imap_cmd_sort(struct imap_cmd *c)
{
	struct sort_command *sc = SHELF_ARENA_NEW(&c->arena, struct sort_command);

	c->data = sc;
	c->cleanup = cleanup;
	if (!imap_parse_sp(&c->p) || !imap_return_parse(&c->p, &sc->esearch) ||
	    !parse_criteria(&c->p, sc))
		return imap_parse_failed(c);
	if ((sc->esearch.what & IMAP_RETURN_UPDATE) != 0 && !imap_context_may_begin(c))
		return IMAP_DONE;
	sc->keys = shelf_span(c->p.at, (size_t)(c->p.end - c->p.at));
	if (!imap_program_parse_charset(c, &sc->program))
		return IMAP_DONE;
	sc->program.then_arranged = true;
	c->run = run_search;
	return run_search(c);
}
