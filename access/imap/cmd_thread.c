/*
 * cmd_thread.c - THREAD, UID THREAD
 *
 *   parse -> search in slices -> thread in slices -> print in slices -> reply
 *
 * Printed without recursion: threads may be as deep as mail is long. A node stands within parentheses of its own
 * when it has siblings or is a root.
 * Sources   RFC 5256 3, 4, 5 (thread-list).
 */
#include <inttypes.h>

#include "imap_arranged.h"
#include "imap_search.h"

enum { NODES_AT_ONCE = 4096 };

struct thread_command {
	enum shelf_thread_algorithm algorithm;
	struct imap_program program;
	struct shelf_thread *thread;
	bool known; /* it is the session's */
	struct imap_round round;
	uint32_t next; /* node to be printed; 0: the end */
};

static void
cleanup(struct imap_cmd *c)
{
	struct thread_command *tc = c->data;

	if (!tc->known)
		shelf_thread_free(&tc->thread);
	imap_program_free(&tc->program);
}

/* ---- Printing ------------------------------------------------------------------------------------ */

static bool
stands_alone(const struct shelf_thread *t, uint32_t node)
{
	uint32_t parent = shelf_thread_parent(t, node);

	return parent != 0 && shelf_thread_next(t, shelf_thread_child(t, parent)) == 0;
}

static void
print_node(struct imap_cmd *c, const struct shelf_thread *t, uint32_t node)
{
	uint32_t parent = shelf_thread_parent(t, node), uid = shelf_thread_uid(t, node);

	/* A blank behind a parent's number, before the first of its children. */
	if (parent != 0 && shelf_thread_uid(t, parent) != 0 && shelf_thread_child(t, parent) == node)
		imap_out_str(c->s, " ");
	if (!stands_alone(t, node))
		imap_out_str(c->s, "(");
	if (uid != 0)
		imap_out_uint(c->s, c->uid ? uid : shelf_view_seq(c->s->view, uid));
}

/* What follows NODE; closes what ends with it. */
static uint32_t
step_on(struct imap_cmd *c, const struct shelf_thread *t, uint32_t node)
{
	if (shelf_thread_child(t, node) != 0)
		return shelf_thread_child(t, node);
	for (; node != 0; node = shelf_thread_parent(t, node)) {
		if (!stands_alone(t, node))
			imap_out_str(c->s, ")");
		if (shelf_thread_next(t, node) != 0)
			return shelf_thread_next(t, node);
	}
	return 0;
}

static enum imap_step
print(struct imap_cmd *c)
{
	struct thread_command *tc = c->data;

	for (unsigned n = 0; tc->next != 0; n++) {
		if (n == NODES_AT_ONCE)
			return imap_out_full(c->s) ? IMAP_WANT_OUTPUT : IMAP_YIELD;
		print_node(c, tc->thread, tc->next);
		tc->next = step_on(c, tc->thread, tc->next);
	}
	imap_out_str(c->s, "\r\n");
	c->s->mid_response = false;
	return imap_program_reply(c, &tc->program);
}

/* ---- Running ------------------------------------------------------------------------------------- */

static enum imap_step
threaded(struct imap_cmd *c)
{
	struct thread_command *tc = c->data;

	tc->next = shelf_thread_first(tc->thread);
	c->s->mid_response = true;
	imap_out_str(c->s, tc->next == 0 ? "* THREAD" : "* THREAD ");
	c->run = print;
	return print(c);
}

static int
thread_slice(void *thread, unsigned budget_ms)
{
	return shelf_thread_run(thread, budget_ms);
}

static enum imap_step
run_thread(struct imap_cmd *c)
{
	struct thread_command *tc = c->data;
	enum imap_step step;
	int rc;

	if (imap_program_given_up(c))
		return IMAP_DONE;
	imap_program_progress(c, &tc->program, shelf_thread_progress(tc->thread));
	rc = imap_round_run(c, thread_slice, tc->thread, &tc->round, &step);
	if (rc == 1)
		return step;
	if (rc != 0 && rc != SHELF_ECORRUPT)
		return imap_err(c, rc);
	if (rc == SHELF_ECORRUPT)
		tc->program.damaged = true;
	else
		tc->known = imap_arranged_keep_thread(c->s, shelf_search_found(tc->program.search), tc->algorithm,
		    tc->thread);
	return threaded(c);
}

static enum imap_step
run_search(struct imap_cmd *c)
{
	struct thread_command *tc = c->data;
	enum imap_step step = imap_program_search(c, &tc->program);
	int rc;

	if (step != IMAP_DONE || c->replied)
		return step;
	if (imap_limit_refuses(c, shelf_uidset_count(shelf_search_found(tc->program.search))))
		return IMAP_DONE;
	tc->thread = imap_arranged_thread(c->s, shelf_search_found(tc->program.search), tc->algorithm);
	tc->known = tc->thread != NULL;
	if (tc->known)
		return threaded(c);
	rc = shelf_thread_new(c->s->store, c->s->owner, c->s->mailbox,
	    shelf_search_found(tc->program.search), tc->algorithm, &tc->thread);
	if (rc != 0)
		return imap_err(c, rc);
	c->run = run_thread;
	return IMAP_YIELD;
}

enum imap_step
imap_cmd_thread(struct imap_cmd *c)
{
	struct thread_command *tc = SHELF_ARENA_NEW(&c->arena, struct thread_command);
	struct shelf_span name;

	c->data = tc;
	c->cleanup = cleanup;
	if (!imap_parse_sp(&c->p) || !imap_parse_atom(&c->p, &name) || !imap_parse_sp(&c->p))
		return imap_parse_failed(c);
	if (shelf_span_is(name, "REFERENCES"))
		tc->algorithm = SHELF_THREAD_REFERENCES;
	else if (!shelf_span_is(name, "ORDEREDSUBJECT"))
		return imap_bad(c, "unknown threading algorithm");
	if (!imap_program_parse_charset(c, &tc->program))
		return IMAP_DONE;
	tc->program.then_arranged = true;
	c->run = run_search;
	return run_search(c);
}
