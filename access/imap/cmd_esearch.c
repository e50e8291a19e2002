/*
 * cmd_esearch.c - ESEARCH: one search over many mailboxes
 *
 *   parse, check -> find mailboxes -> for each: open, parse its keys, search in slices, print in slices -> reply
 *
 * The keys are parsed anew for each mailbox, since numbers and uids in them mean something else in each. A mailbox
 * without a match is not told of, nor one that is gone when its turn comes. Whatever is wrong with the command
 * is said before anything is printed.
 * Sources   RFC 7377; RFC 4731; RFC 5182 (SAVE, "$": with the selected mailbox alone).
 */
#include <inttypes.h>

#include "imap_address.h"
#include "imap_context.h"
#include "imap_esearch.h"
#include "imap_search.h"
#include "imap_sources.h"

enum { PARTS = 1000 }; /* of a mailbox, for telling how far it is */

struct esearch_command {
	struct imap_sources sources;
	size_t at;                     /* mailbox at hand */
	struct imap_esearch options;   /* what to return; what to print from is made of it */
	struct imap_parser keys;       /* where they begin */
	/* Of the mailbox at hand. */
	struct shelf_arena arena;
	struct shelf_view *view;       /* NULL: the session's */
	struct imap_program program;
	struct imap_esearch esearch;
	bool open, damaged;
};

static void
close_mailbox(struct imap_cmd *c)
{
	struct esearch_command *ec = c->data;

	if (ec->open)
		imap_esearch_end(&ec->esearch, c);
	imap_program_free(&ec->program);
	shelf_view_close(&ec->view);
	shelf_arena_free(&ec->arena);
	ec->open = false;
}

static void
cleanup(struct imap_cmd *c)
{
	struct esearch_command *ec = c->data;

	/* The result that could not be saved is empty, also when no mailbox was begun. */
	if ((ec->options.what & IMAP_RETURN_SAVE) != 0 && c->condition == IMAP_NO)
		shelf_uidset_free(&c->s->saved);
	close_mailbox(c);
}

/* Keys as they are in VIEW. False: a reply has been set. */
static bool
parse_keys(struct imap_cmd *c, const struct shelf_view *view, uint32_t account, bool other)
{
	struct esearch_command *ec = c->data;

	ec->program = (struct imap_program){.view = view, .account = account, .other = other, .part = true};
	c->p = ec->keys;
	c->p.arena = &ec->arena;
	return imap_program_parse(c, &ec->program);
}

/* ---- One mailbox ----------------------------------------------------------------------------------- */

static bool
is_selected(const struct imap_session *s, const struct imap_source *source)
{
	return s->view != NULL && source->account == s->owner && source->mailbox == s->mailbox;
}

/* The view and uidvalidity of the mailbox at hand. SHELF_ENOMAILBOX: it is gone. */
static int
open_mailbox(struct imap_cmd *c, const struct imap_source *source)
{
	struct esearch_command *ec = c->data;
	struct shelf_mailbox row;
	struct shelf_rd *rd = NULL;
	unsigned rights = 0;
	int rc = shelf_rd_begin(c->s->store, source->account, &rd);

	if (rc == 0)
		rc = imap_address_rights(c->s, source->account, rd, source->mailbox, &rights);
	if (rc == 0 && (rights & SHELF_RIGHT_READ) == 0)
		rc = SHELF_ENOMAILBOX;
	if (rc == 0)
		rc = shelf_mailbox_get(rd, source->mailbox, &row);
	if (rc == 0 && !is_selected(c->s, source))
		rc = shelf_view_open(rd, source->mailbox, &ec->view);
	if (rc == 0)
		ec->esearch.uidvalidity = row.uidvalidity;
	shelf_rd_end(&rd);
	return rc == SHELF_ENOACCOUNT ? SHELF_ENOMAILBOX : rc;
}

/* RFC 7377 2.2: UPDATE is for the selected mailbox, whatever others are searched. */
static void
keep_up_to_date(struct imap_cmd *c)
{
	struct esearch_command *ec = c->data;
	struct imap_context_start start = {.attributes = ec->options.attributes,
	    .found = shelf_search_found(ec->program.search)};

	start.keys = shelf_span(ec->keys.at, (size_t)(ec->keys.end - ec->keys.at));
	if ((ec->options.what & IMAP_RETURN_UPDATE) != 0 && ec->view == NULL)
		imap_context_begin(c, &start);
}

static enum imap_step next_mailbox(struct imap_cmd *c);

static enum imap_step
print(struct imap_cmd *c)
{
	struct esearch_command *ec = c->data;

	if (imap_esearch_print(&ec->esearch) == 1)
		return imap_out_full(c->s) ? IMAP_WANT_OUTPUT : IMAP_YIELD;
	keep_up_to_date(c);
	close_mailbox(c);
	ec->at++;
	c->run = next_mailbox;
	return imap_out_full(c->s) ? IMAP_WANT_OUTPUT : IMAP_YIELD;
}

static void
tell_progress(struct imap_cmd *c)
{
	struct esearch_command *ec = c->data;
	struct shelf_progress here = shelf_search_progress(ec->program.search);
	uint64_t part = here.total == 0 ? PARTS : (uint64_t)here.done * PARTS / here.total;

	imap_progress(c, ec->at * PARTS + part, ec->sources.n * PARTS);
}

static enum imap_step
run(struct imap_cmd *c)
{
	struct esearch_command *ec = c->data;
	const struct shelf_uidset *found;
	enum imap_step step = imap_program_search(c, &ec->program);

	if (c->replied)
		return IMAP_DONE;
	tell_progress(c);
	if (step != IMAP_DONE)
		return step;
	ec->damaged = ec->damaged || ec->program.damaged;
	found = shelf_search_found(ec->program.search);
	if (ec->program.modseq)
		ec->esearch.max_modseq = shelf_search_max_modseq(ec->program.search);
	imap_esearch_begin(&ec->esearch, c, found, NULL);
	ec->open = true;
	if (shelf_uidset_min(found) == 0) {
		keep_up_to_date(c);
		close_mailbox(c);
		ec->at++;
		c->run = next_mailbox;
		return IMAP_YIELD;
	}
	c->run = print;
	return print(c);
}

static enum imap_step
next_mailbox(struct imap_cmd *c)
{
	struct esearch_command *ec = c->data;
	const struct imap_source *source;
	int rc;

	if (ec->at == ec->sources.n) {
		ec->program.damaged = ec->damaged;
		return imap_program_reply(c, &ec->program);
	}
	source = &ec->sources.source[ec->at];
	ec->esearch = ec->options;
	ec->esearch.source = source;
	rc = open_mailbox(c, source);
	if (rc == SHELF_ENOMAILBOX) {
		ec->at++;
		return IMAP_YIELD;
	}
	if (rc != 0)
		return imap_err(c, rc);
	if (!parse_keys(c, ec->view != NULL ? ec->view : c->s->view, source->account, ec->view != NULL))
		return IMAP_DONE;
	c->run = run;
	return run(c);
}

/* ---- The command ------------------------------------------------------------------------------------- */

static bool
parse(struct imap_cmd *c, struct esearch_command *ec)
{
	struct imap_parser *p = &c->p;

	if (!imap_parse_sp(p) || !imap_sources_parse(p, &ec->sources) ||
	    !imap_return_parse(p, &ec->options))
		return false;
	if (ec->options.what == 0)
		ec->options.what = IMAP_RETURN_ALL;
	if (imap_sources_selected(&ec->sources) && c->s->view == NULL)
		return imap_parse_fail(p, "no mailbox is selected");
	if ((ec->options.what & IMAP_RETURN_SAVE) != 0 && !imap_sources_selected_only(&ec->sources))
		return imap_parse_fail(p, "SAVE is for the selected mailbox alone");
	if ((ec->options.what & IMAP_RETURN_UPDATE) != 0 && c->s->view == NULL)
		return imap_parse_fail(p, "no mailbox is selected, whose updates could be told");
	ec->keys = *p;
	return (ec->options.what & IMAP_RETURN_UPDATE) == 0 || imap_context_may_begin(c);
}

/* Are the keys well formed? In no mailbox in particular. */
static bool
check_keys(struct imap_cmd *c, struct esearch_command *ec)
{
	bool alone = imap_sources_selected_only(&ec->sources), ok;
	struct imap_program check = {.check = true, .other = !alone};

	c->p.arena = &ec->arena;
	ok = imap_program_parse(c, &check);
	imap_program_free(&check);
	shelf_arena_reset(&ec->arena);
	return ok;
}

enum imap_step
imap_cmd_esearch(struct imap_cmd *c)
{
	struct esearch_command *ec = SHELF_ARENA_NEW(&c->arena, struct esearch_command);
	int rc;

	c->data = ec;
	c->cleanup = cleanup;
	if (!parse(c, ec))
		return imap_parse_failed(c);
	if (!check_keys(c, ec))
		return IMAP_DONE;
	rc = imap_sources_find(c, &ec->sources);
	if (rc != 0)
		return imap_err(c, rc);
	c->run = next_mailbox;
	return next_mailbox(c);
}
