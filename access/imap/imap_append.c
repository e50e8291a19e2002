/*
 * imap_append.c - messages stream into drafts, all become visible in one transaction
 *
 *   arguments --refused--> discard the rest --> NO, BAD
 *       |  ^
 *       v  | " (flags) ... {n}": one more message (MULTIAPPEND)
 *   octets --> end of line --> store (worker) --> the command's end
 *
 * What must stay true: an octet of a message is never held here (net's buffer to the draft) and
 * never taken for a command, whatever is wrong; nothing is visible before the OK; what can be
 * refused before the octets come (size, quota, mailbox) is refused then.
 * Sources   RFC 9051 6.3.12; RFC 3502; RFC 7889 (APPENDLIMIT); RFC 7888; RFC 3516 4.4; RFC 8508 3.4.
 */
#include "conf.h"
#include "imap_address.h"
#include "imap_append.h"
#include "imap_command.h"
#include "imap_input.h"
#include "imap_notify.h"
#include "net.h"

static void
cleanup(struct imap_cmd *c)
{
	struct imap_append *w = c->data;
	size_t i = 0;

	for (i = 0; i < w->n; i++)
		shelf_draft_free(&w->items[i].draft);
}

struct imap_append *
imap_append_new(struct imap_cmd *c, imap_run_fn *end)
{
	struct imap_append *w = SHELF_ARENA_NEW(&c->arena, struct imap_append);

	w->store = c->s->store;
	w->end = end;
	c->data = w;
	c->cleanup = cleanup;
	return w;
}

/* A client that waits for "+" sends nothing more. */
enum imap_step
imap_append_refuse(struct imap_cmd *c)
{
	struct imap_input *in = c->s->input;

	c->discard = in->mode == IMAP_INPUT_STREAM || (in->announced && !in->literal_sync);
	return IMAP_DONE;
}

bool
imap_append_mailbox(struct imap_cmd *c)
{
	struct imap_append *w = c->data;
	struct imap_address at = {0};
	struct shelf_span name = {0};
	int rc = 0;

	if (!imap_parse_sp(&c->p) || !imap_parse_mailbox(&c->p, &name) || !imap_parse_sp(&c->p)) {
		imap_parse_failed(c);
		return false;
	}
	rc = imap_address_find(c->s, name, &at);
	if (rc == SHELF_ENOMAILBOX)
		imap_no(c, "TRYCREATE", "There is no such mailbox");
	else if (rc != 0)
		imap_err(c, rc);
	w->account = at.place.account;
	w->mailbox = at.row.id;
	return rc == 0;
}

static void
store(void *arg)
{
	struct imap_append *w = arg;

	w->rc = w->replaced != 0 ?
	    shelf_msg_replace(w->store, w->account, w->replaced_in, w->replaced, w->mailbox,
		w->items, &w->result) :
	    shelf_append(w->store, w->account, w->mailbox, w->items, w->n, &w->result);
}

static enum imap_step
stored(struct imap_cmd *c)
{
	struct imap_append *w = c->data;
	struct shelf_uidset *uids = shelf_uidset_new();

	if (w->rc == 0) {
		shelf_uidset_add_range(uids, w->result.first_uid, w->result.first_uid + (uint32_t)w->n - 1);
		imap_sync_own(c->s, w->account, w->mailbox, uids);
		imap_watch_own(c->s, w->account, w->mailbox, w->result.modseq);
	}
	shelf_uidset_free(&uids);
	return w->end(c);
}

/* ---- One message ----------------------------------------------------------------------------- */

static enum imap_step next_line(struct imap_cmd *c);

static enum imap_step
octets(struct imap_cmd *c)
{
	struct imap_session *s = c->s;
	struct imap_append *w = c->data;
	struct shelf_draft *draft = w->items[w->n - 1].draft;
	struct shelf_span got = imap_input_octets(s->input, s->conn);
	int rc = 0;

	if (s->input->left > 0 && got.len == 0)
		return IMAP_WANT_INPUT;
	if (!w->literal8 && got.len > 0 && memchr(got.data, 0, got.len) != NULL) {
		imap_bad(c, "NUL in the message: only a literal8, ~{n}, may hold that");
		return imap_append_refuse(c);
	}
	rc = shelf_draft_write(draft, got.data, got.len);
	if (rc == 0) {
		imap_input_took(s->input, s->conn, got.len);
		if (s->input->left > 0)
			return IMAP_WANT_INPUT;
		rc = shelf_draft_finish(draft);
	}
	if (rc != 0) {
		imap_err(c, rc);
		return imap_append_refuse(c);
	}
	imap_input_restart(s->input, imap_line_max(s));
	c->run = next_line;
	return next_line(c);
}

/* Flags' spans point into the text, which goes when the octets come. */
static void
keep_flags(struct imap_cmd *c, struct imap_flags *flags)
{
	size_t i = 0;

	for (i = 0; i < flags->nkeywords; i++)
		flags->keywords[i] = shelf_arena_dup(&c->arena, flags->keywords[i]);
}

/* "[(flags) ][date-time ]{n}", or "~{n}" (RFC 3516 4.4) */
static bool
parse_message(struct imap_cmd *c, struct shelf_append *item)
{
	struct imap_append *w = c->data;
	struct imap_parser *p = &c->p;
	struct imap_flags flags = {0};

	item->internaldate_s = INT64_MIN;
	if (imap_at(p, '(') && (!imap_parse_flag_list(p, &flags) || !imap_parse_sp(p)))
		return false;
	if (imap_at(p, '"') && (!imap_parse_date_time(p, &item->internaldate_s, &item->zone_min) ||
	    !imap_parse_sp(p)))
		return false;
	w->literal8 = imap_try(p, '~');
	if (!imap_at(p, '{') || !c->s->input->announced)
		return imap_parse_fail(p, "a literal with the message is expected");
	/* A literal that is announced stands at the end of the line; is it this one? */
	if (memchr(p->at, '}', (size_t)(p->end - p->at)) != p->end - 2 &&
	    memchr(p->at, '}', (size_t)(p->end - p->at)) != p->end - 3)
		return imap_parse_fail(p, "bad literal");
	keep_flags(c, &flags);
	item->flags = flags.flags;
	item->keywords = flags.keywords;
	item->nkeywords = flags.nkeywords;
	return true;
}

static int
probe(const struct imap_append *w, uint64_t len)
{
	return w->replaced != 0 ?
	    shelf_replace_probe(w->store, w->account, w->replaced_in, w->replaced, len) :
	    shelf_deliver_probe(w->store, w->account, len);
}

/* Sets the reply and returns false when the message cannot be taken. */
static bool
admit(struct imap_cmd *c, uint64_t len)
{
	struct imap_append *w = c->data;
	int rc = 0;

	if (len == 0) /* RFC 3502 6.3.11: cancels the command */
		imap_no(c, NULL, "An empty message cannot be appended");
	else if (len > c->s->server->conf->message_max_bytes)
		imap_no(c, "TOOBIG", "The message is larger than APPENDLIMIT");
	else if (w->n > 0 && w->replaced != 0) /* RFC 8508 4.7 */
		imap_bad(c, "A message is replaced by one");
	else if (w->n == IMAP_APPEND_MAX)
		imap_no(c, "LIMIT", "At most %d messages can be appended at once", IMAP_APPEND_MAX);
	else if (!imap_limit_refuses(c, (uint32_t)w->n + 1) && (rc = probe(w, w->bytes + len)) != 0)
		imap_err(c, rc);
	return !c->replied;
}

enum imap_step
imap_append_receive(struct imap_cmd *c)
{
	struct imap_session *s = c->s;
	struct imap_append *w = c->data;
	struct imap_input *in = s->input;
	struct shelf_append item = {0};
	int rc = 0;

	if (!parse_message(c, &item)) {
		imap_parse_failed(c);
		return imap_append_refuse(c);
	}
	if (!admit(c, in->literal_len))
		return imap_append_refuse(c);
	rc = shelf_draft_new(s->store, &item.draft);
	if (rc != 0) {
		imap_err(c, rc);
		return imap_append_refuse(c);
	}
	w->items[w->n++] = item;
	w->bytes += in->literal_len;
	if (in->literal_sync) {
		imap_out_str(s, "+ OK\r\n");
		imap_out_flush(s);
	}
	imap_input_stream(in);
	c->run = octets;
	return octets(c);
}

/* ---- Between messages ------------------------------------------------------------------------ */

static enum imap_step
next_line(struct imap_cmd *c)
{
	struct imap_session *s = c->s;
	struct imap_append *w = c->data;
	struct imap_input *in = s->input;
	enum imap_got got = imap_input_next(in, s->conn);

	if (got == IMAP_GOT_NOTHING)
		return IMAP_WANT_INPUT;
	if (got == IMAP_GOT_UNKNOWABLE) {
		imap_bye(s, "bad literal", "The size of that literal cannot be read");
		return imap_bad(c, "bad literal");
	}
	if (got == IMAP_GOT_TOO_LONG || in->nul) {
		imap_bad(c, "%s", in->nul ? "NUL in command" : "the line is too long");
		c->discard = got == IMAP_GOT_TOO_LONG || (in->announced && !in->literal_sync);
		return IMAP_DONE;
	}
	if (got == IMAP_GOT_LINE && in->text.len == 0) {
		c->run = stored;
		return imap_work(c, store, w);
	}
	c->p.at = in->text.data;
	c->p.end = in->text.data + in->text.len;
	if (!imap_parse_sp(&c->p)) {
		imap_parse_failed(c);
		return imap_append_refuse(c);
	}
	return imap_append_receive(c);
}
