/*
 * imap_command.c - the dispatcher: gather, find, admit, run, resume, reply
 *
 *   gathering --line--> running --DONE--> discarding --> syncing --> reply written --> gathering
 *       |                ^   |  waits: input, output, worker, next turn
 *       |                +---+
 *       +--refused (state, size, syntax): the reply is set, then as after DONE
 *
 * What must stay true: one command at a time; every command gets exactly one tagged reply; octets
 * of a literal are never obeyed as a command; while a client does not read, nothing is read from
 * it.
 * Sources   RFC 9051 2.2, 5.5, 7.1; RFC 7888.
 */
#include <stdlib.h>

#include "auth.h"
#include "conf.h"
#include "imap_command.h"
#include "imap_input.h"
#include "imap_metrics.h"
#include "imap_notify.h"
#include "imap_sync.h"
#include "net.h"

enum {
	TURN_COMMANDS = 64,       /* then other connections of the loop have their turn */
	ARENA_KEPT_BYTES = 16384, /* an idle session does not hold what a large command needed */
};

enum waiting { WAIT_NOT, WAIT_INPUT, WAIT_OUTPUT, WAIT_WAKE, WAIT_TURN };

struct imap_dispatch {
	struct imap_cmd cmd; /* storage of s->cmd */
	int64_t begun_us;
	enum waiting waiting;
	bool discarding;
	bool news;           /* for NOTIFY, since the last notice */
	bool pumping, paused;
	void (*work_fn)(void *arg);
	void *work_arg;
};

static const struct imap_row rows[] = {
#define IMAP_COMMAND(name, fn, states, flags, source) {name, imap_cmd_##fn, states, flags, source},
#include "imap_commands.def"
#undef IMAP_COMMAND
};

size_t
imap_line_max(const struct imap_session *s)
{
	return s->state == IMAP_NOT_AUTH ? IMAP_LINE_MAX_EARLY_BYTES :
	    (size_t)s->server->conf->line_max_bytes;
}

void
imap_bye(struct imap_session *s, const char *reason, const char *text)
{
	if (s->bye)
		return;
	s->bye = true;
	if (!s->mid_response)
		imap_untagged(s, "BYE %s", text);
	imap_out_flush(s);
	net_conn_close(s->conn, reason);
}

/* Not a client's command: what NOTIFY tells between them. No reply, and the input stays as it is. */
static const struct imap_row notice = {.name = "NOTIFY", .run = imap_notify_notice, .states = IMAP_LOGGEDIN};

/* ---- Finding the command --------------------------------------------------------------------- */

static const struct imap_row *
find_row(struct shelf_span name)
{
	size_t i = 0;

	for (i = 0; i < sizeof rows / sizeof *rows; i++)
		if (shelf_span_is(name, rows[i].name))
			return &rows[i];
	return NULL;
}

static bool
parse_tag(struct imap_parser *p, struct shelf_span *tag)
{
	const uint8_t *start = p->at;

	if (!imap_parse_astring(p, tag) || *start == '"' || *start == '{' ||
	    memchr(tag->data, '+', tag->len) != NULL) {
		*tag = shelf_span(NULL, 0);
		return false;
	}
	return true;
}

/* "FETCH", or "UID FETCH" as one name. */
static const struct imap_row *
parse_name(struct imap_parser *p)
{
	struct shelf_span name = {0}, second = {0};
	const uint8_t *start = p->at;
	const struct imap_row *row = NULL;

	if (!imap_parse_atom(p, &name))
		return NULL;
	row = find_row(name);
	if (row == NULL && shelf_span_is(name, "UID") && imap_try(p, ' ') &&
	    imap_parse_atom(p, &second))
		row = find_row(shelf_span(start, (size_t)(p->at - start)));
	return row;
}

static const char *
wrong_state(const struct imap_session *s, const struct imap_row *row)
{
	if (s->state == IMAP_NOT_AUTH)
		return "log in first";
	if (row->states == IMAP_NOT_AUTH)
		return "already logged in";
	return "no mailbox is selected";
}

/* Who may not read the selected mailbox any more gets nothing of it; the BYE follows (imap_sync.c). */
static void
check_rights(struct imap_session *s)
{
	const struct imap_row *row = s->cmd->row;

	if (s->state != IMAP_SELECTED)
		return;
	imap_sync_rights(s);
	if ((s->rights & SHELF_RIGHT_READ) == 0 && row->states == IMAP_SELECTED && (row->flags & IMAP_NOSYNC) == 0)
		imap_err(s->cmd, SHELF_ENOPERM);
}

/* Makes s->cmd from the text so far. A refusal is a reply set. */
static void
begin(struct imap_session *s)
{
	struct imap_dispatch *d = s->dispatch;
	struct imap_cmd *c = &d->cmd;
	struct shelf_arena arena = c->arena;
	struct shelf_span tag = {0};

	*c = (struct imap_cmd){.s = s, .arena = arena, .name = "command"};
	s->cmd = c;
	d->begun_us = shelf_mono_us();
	c->p = (struct imap_parser){.at = s->input->text.data,
	    .end = s->input->text.data + s->input->text.len, .arena = &c->arena, .utf8 = s->utf8};
	if (!parse_tag(&c->p, &tag)) {
		imap_bad(c, "a tag is missing");
		return;
	}
	c->tag = shelf_arena_dup(&c->arena, tag); /* a streaming command gives up its text */
	if (!imap_parse_sp(&c->p) || (c->row = parse_name(&c->p)) == NULL) {
		imap_bad(c, "unknown command");
		return;
	}
	c->name = c->row->name;
	c->uid = (c->row->flags & IMAP_UID) != 0;
	c->run = c->row->run;
	if ((c->row->states & s->state) == 0)
		imap_bad(c, "%s", wrong_state(s, c->row));
	else if (s->input->nul)
		imap_bad(c, "NUL in command");
	else if ((c->row->flags & (IMAP_SEQ | IMAP_NUMBERS)) != 0 && s->uidonly)
		imap_uid_required(c);
	else if ((c->row->flags & IMAP_NOARGS) != 0 && !imap_parse_end(&c->p))
		imap_bad(c, "%s takes no arguments", c->name);
	else if ((c->row->flags & IMAP_WRITES) != 0 && s->read_only)
		imap_no(c, "READ-ONLY", "the mailbox was opened with EXAMINE");
	else
		check_rights(s);
}

static void
begin_notice(struct imap_session *s)
{
	struct imap_cmd *c = &s->dispatch->cmd;

	s->dispatch->news = false;
	*c = (struct imap_cmd){.s = s, .arena = c->arena, .row = &notice, .name = notice.name,
	    .run = notice.run, .wants_news = true};
	s->cmd = c;
}

static void
end_notice(struct imap_session *s)
{
	shelf_arena_reset(&s->cmd->arena);
	s->cmd = NULL;
}

/* As begin() when the line was too long to look at more than the tag. */
static void
begin_refused(struct imap_session *s, const char *text)
{
	begin(s);
	s->cmd->replied = false;
	imap_bad(s->cmd, "%s", text);
}

/* ---- Literals -------------------------------------------------------------------------------- */

static bool
literal_fits(const struct imap_session *s)
{
	const struct imap_input *in = s->input;

	if (s->state == IMAP_NOT_AUTH)
		return in->literal_len <= IMAP_LITERAL_MAX_EARLY_BYTES &&
		    in->text.len + in->literal_len <= IMAP_LINE_MAX_EARLY_BYTES;
	return in->literal_len <= s->server->conf->literal_max_bytes - in->literals_bytes;
}

/* Of a command that streams: is the literal the mailbox's name? */
static bool
is_name(const struct imap_cmd *c)
{
	struct imap_parser look = c->p;
	struct shelf_span number = {0};

	if ((c->row->flags & IMAP_NUMBERED) != 0 &&
	    (!imap_try(&look, ' ') || !imap_parse_set(&look, &number)))
		return false;
	return imap_try(&look, ' ') && imap_at(&look, '{') && c->s->input->literals_bytes == 0;
}

/*
 * The text ends with a literal's announcement. True: S->cmd is to go on (it has its reply, or takes
 * the octets itself); false: the octets are being gathered.
 */
static bool
admit_literal(struct imap_session *s)
{
	struct imap_input *in = s->input;

	begin(s);
	if (!s->cmd->replied && (s->cmd->row->flags & IMAP_STREAMS) != 0 && !is_name(s->cmd))
		return true;
	if (!s->cmd->replied && !literal_fits(s)) {
		if (in->literal_sync)
			imap_no(s->cmd, "TOOBIG", "the literal is too large");
		else
			imap_bad(s->cmd, "the literal is too large");
	}
	if (s->cmd->replied) {
		s->cmd->discard = !in->literal_sync;
		return true;
	}
	if (in->literal_sync) {
		imap_out_str(s, "+ OK\r\n");
		imap_out_flush(s);
	}
	imap_input_gather(in);
	shelf_arena_reset(&s->cmd->arena);
	s->cmd = NULL;
	return false;
}

/* True: s->cmd is set. False: more bytes are needed. */
static bool
gather(struct imap_session *s)
{
	for (;;) {
		switch (imap_input_next(s->input, s->conn)) {
		case IMAP_GOT_NOTHING:
			return false;
		case IMAP_GOT_LINE:
			begin(s);
			return true;
		case IMAP_GOT_LITERAL:
			if (admit_literal(s))
				return true;
			break;
		case IMAP_GOT_TOO_LONG:
			begin_refused(s, "the line is too long");
			s->cmd->discard = true;
			return true;
		case IMAP_GOT_UNKNOWABLE:
			imap_bye(s, "bad literal", "The size of that literal cannot be read");
			return false;
		}
	}
}

/* ---- Running --------------------------------------------------------------------------------- */

static enum waiting
wait_for(struct imap_session *s, enum imap_step step)
{
	switch (step) {
	case IMAP_DONE:
		return WAIT_NOT;
	case IMAP_WANT_INPUT:
		return WAIT_INPUT;
	case IMAP_WANT_OUTPUT:
		return WAIT_OUTPUT;
	case IMAP_WANT_WAKE:
		return WAIT_WAKE;
	case IMAP_YIELD:
		net_conn_wake(s->conn);
		return WAIT_TURN;
	}
	return WAIT_NOT;
}

bool
imap_account_still(struct imap_session *s)
{
	if (s->account == 0 ||
	    auth_still(s->server->auth, s->account, SHELF_SERVICE_IMAP, &s->accounts_seen))
		return true;
	imap_bye(s, "account switched off", "Your account was switched off");
	return false;
}

static void
count(const struct imap_dispatch *d, const struct imap_cmd *c)
{
	bool ours = !c->wants_news && (c->row == NULL || (c->row->flags & IMAP_STREAMS) == 0);

	imap_metrics_command(c->row == NULL ? SIZE_MAX : (size_t)(c->row - rows), c->condition,
	    (uint64_t)(shelf_mono_us() - d->begun_us), ours);
}

static void
end_command(struct imap_session *s)
{
	struct imap_cmd *c = s->cmd;
	void (*after)(struct imap_session *) = c->after;

	s->bad_count = c->condition == IMAP_BAD ? s->bad_count + 1 : 0;
	count(s->dispatch, c);
	if (c->cleanup != NULL)
		c->cleanup(c);
	if (c->arena.used_bytes > ARENA_KEPT_BYTES)
		shelf_arena_free(&c->arena);
	else
		shelf_arena_reset(&c->arena);
	s->cmd = NULL;
	imap_progress_busy(s, false);
	s->dispatch->discarding = false;
	imap_input_restart(s->input, imap_line_max(s));
	if (after != NULL) {
		imap_out_flush(s);
		after(s);
	}
	if (s->bad_count >= s->server->conf->bad_commands_max)
		imap_bye(s, "too many bad commands", "Too many bad commands");
}

/* What the command left of its input. False: wait for more. */
static bool
discard(struct imap_session *s)
{
	struct imap_dispatch *d = s->dispatch;

	if (!d->discarding)
		imap_input_discard_begin(s->input);
	d->discarding = true;
	switch (imap_input_discard(s->input, s->conn)) {
	case IMAP_GOT_NOTHING:
		return false;
	case IMAP_GOT_UNKNOWABLE:
		imap_bye(s, "bad literal", "The size of that literal cannot be read");
		return false;
	default:
		s->cmd->discard = false;
		return true;
	}
}

/* Drives s->cmd until it has ended (true) or waits (false). */
static bool
drive(struct imap_session *s)
{
	struct imap_dispatch *d = s->dispatch;
	struct imap_cmd *c = s->cmd;
	enum imap_step step = IMAP_DONE;

	if (!c->replied) {
		step = c->run(c);
		d->waiting = wait_for(s, step);
		if (step != IMAP_DONE)
			return false;
		if (c->row == &notice) {
			end_notice(s);
			return true;
		}
		SHELF_ASSERT(c->replied);
	}
	if (c->discard && !discard(s)) {
		d->waiting = WAIT_INPUT;
		return false;
	}
	if (c->row != NULL && (c->row->flags & IMAP_NOSYNC) == 0) {
		step = imap_sync(c, (c->row->flags & IMAP_SEQ) == 0);
		d->waiting = wait_for(s, step);
		if (step != IMAP_DONE)
			return false;
	}
	imap_reply_write(c);
	end_command(s);
	if (s->mailbox_gone)
		imap_bye(s, "mailbox gone", "The selected mailbox was deleted or renamed");
	return true;
}

static void
set_pause(struct imap_session *s)
{
	struct imap_dispatch *d = s->dispatch;
	bool pause = d->waiting == WAIT_OUTPUT || d->waiting == WAIT_WAKE ||
	    d->waiting == WAIT_TURN;

	if (pause && !d->paused)
		net_conn_pause(s->conn);
	else if (!pause && d->paused)
		net_conn_resume(s->conn);
	d->paused = pause;
}

static void
pump(struct imap_session *s)
{
	struct imap_dispatch *d = s->dispatch;
	unsigned commands = 0;

	if (d->pumping)
		return;
	d->pumping = true;
	d->waiting = WAIT_NOT;
	while (!net_conn_closing(s->conn)) {
		if (s->cmd == NULL && imap_out_full(s)) {
			d->waiting = WAIT_OUTPUT;
			break;
		}
		if (s->cmd == NULL && commands == TURN_COMMANDS) {
			d->waiting = wait_for(s, IMAP_YIELD);
			break;
		}
		if (s->cmd == NULL && d->news && s->notify != NULL)
			begin_notice(s);
		if (s->cmd == NULL && !gather(s)) {
			d->waiting = WAIT_INPUT;
			break;
		}
		if (!s->cmd->begun && !imap_account_still(s))
			break;
		s->cmd->begun = true;
		if (!drive(s))
			break;
		commands++;
	}
	imap_out_flush(s);
	if (!net_conn_closing(s->conn))
		set_pause(s);
	imap_progress_busy(s, d->waiting == WAIT_OUTPUT || d->waiting == WAIT_WAKE ||
	    d->waiting == WAIT_TURN);
	d->pumping = false;
}

void
imap_dispatch_input(struct imap_session *s)
{
	if (s->dispatch->waiting == WAIT_INPUT)
		pump(s);
}

void
imap_dispatch_drained(struct imap_session *s)
{
	if (s->dispatch->waiting == WAIT_OUTPUT)
		pump(s);
}

void
imap_dispatch_wake(struct imap_session *s)
{
	struct imap_dispatch *d = s->dispatch;

	bool wanted = s->cmd != NULL && s->cmd->wants_news && !s->cmd->replied;

	if (wanted)
		s->cmd->news = true;
	else
		d->news = s->notify != NULL;
	if (d->waiting == WAIT_TURN || (d->waiting == WAIT_INPUT && (wanted || (s->cmd == NULL && d->news))))
		pump(s);
}

void
imap_dispatch_resume(struct imap_session *s)
{
	if (s->dispatch->waiting == WAIT_WAKE)
		pump(s);
}

struct imap_dispatch *
imap_dispatch_new(void)
{
	struct imap_dispatch *d = SHELF_NEW(struct imap_dispatch);

	d->waiting = WAIT_INPUT;
	return d;
}

void
imap_dispatch_free(struct imap_session *s)
{
	if (s->dispatch == NULL)
		return;
	if (s->cmd != NULL && s->cmd->cleanup != NULL)
		s->cmd->cleanup(s->cmd);
	s->cmd = NULL;
	shelf_arena_free(&s->dispatch->cmd.arena);
	free(s->dispatch);
	s->dispatch = NULL;
}

/* ---- Workers --------------------------------------------------------------------------------- */

static void
work_main(void *arg)
{
	struct imap_dispatch *d = arg;

	d->work_fn(d->work_arg);
}

static void
work_done(void *session, void *arg)
{
	struct imap_session *s = session;

	if (!net_conn_closing(s->conn))
		imap_dispatch_resume(s);
}

static struct imap_dispatch *
begin_work(struct imap_cmd *c, void (*fn)(void *arg), void *arg)
{
	struct imap_dispatch *d = c->s->dispatch;

	d->work_fn = fn;
	d->work_arg = arg;
	imap_out_flush(c->s);
	return d;
}

enum imap_step
imap_work(struct imap_cmd *c, void (*fn)(void *arg), void *arg)
{
	net_conn_work(c->s->conn, work_main, begin_work(c, fn, arg), work_done);
	return IMAP_WANT_WAKE;
}

enum imap_step
imap_work_shared(struct imap_cmd *c, unsigned n, void (*fn)(void *arg), void *arg)
{
	net_conn_work_shared(c->s->conn, n, work_main, begin_work(c, fn, arg), work_done);
	return IMAP_WANT_WAKE;
}
