/*
 * imap_append.c - messages stream into drafts, all become visible in one transaction
 *
 *   message --refused--> discard the rest --> NO, BAD
 *    | |  ^
 *    | |  | " (flags) ... {n}": one more message (MULTIAPPEND)
 *    | +--+-----------------------> end of line --> store (worker) --> the command's end
 *    |    ^
 *    v    | what may follow
 *   octets of a literal <--> parts, "CATENATE (" --> copy (worker), for each URL
 *
 * What must stay true: an octet of a message is never held here (net's buffer to the draft) and
 * never taken for a command, whatever is wrong; nothing is visible before the OK; what can be
 * refused before the octets come (size, quota, mailbox) is refused then.
 * Sources   RFC 9051 6.3.12; RFC 3502; RFC 7889 (APPENDLIMIT); RFC 7888; RFC 3516 4.4; RFC 8508 3.4;
 *           RFC 4469; RFC 6855 4.
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
	w->max = c->s->server->conf->message_max_bytes;
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
	rc = imap_address_find(c->s, name, SHELF_RIGHT_INSERT, &at);
	if (rc == SHELF_ENOMAILBOX)
		imap_no(c, "TRYCREATE", "There is no such mailbox");
	else if (rc != 0)
		imap_err(c, rc);
	w->account = at.place.account;
	w->mailbox = at.row.id;
	w->rights = at.rights;
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

/* ---- Octets ---------------------------------------------------------------------------------- */

static enum imap_step next_line(struct imap_cmd *c);
static enum imap_step parts(struct imap_cmd *c);

static enum imap_step
parse_refused(struct imap_cmd *c)
{
	imap_parse_failed(c);
	return imap_append_refuse(c);
}

static enum imap_step
refused(struct imap_cmd *c, int rc)
{
	imap_err(c, rc);
	return imap_append_refuse(c);
}

static struct shelf_draft *
draft_at_hand(struct imap_append *w)
{
	return w->items[w->n - 1].draft;
}

static enum imap_step
octets(struct imap_cmd *c)
{
	struct imap_session *s = c->s;
	struct imap_append *w = c->data;
	struct shelf_span got = imap_input_octets(s->input, s->conn);
	int rc = 0;

	if (s->input->left > 0 && got.len == 0)
		return IMAP_WANT_INPUT;
	if (!w->literal8 && got.len > 0 && memchr(got.data, 0, got.len) != NULL) {
		imap_bad(c, "NUL in the message: only a literal8, ~{n}, may hold that");
		return imap_append_refuse(c);
	}
	rc = shelf_draft_write(draft_at_hand(w), got.data, got.len);
	if (rc != 0)
		return refused(c, rc);
	imap_input_took(s->input, s->conn, got.len);
	if (s->input->left > 0)
		return IMAP_WANT_INPUT;
	imap_input_restart(s->input, imap_line_max(s));
	c->run = next_line;
	return next_line(c);
}

static int
probe(const struct imap_append *w, uint64_t len)
{
	return w->replaced != 0 ?
	    shelf_replace_probe(w->store, w->account, w->replaced_in, w->replaced, len) :
	    shelf_deliver_probe(w->store, w->account, len);
}

/* LEN more octets for the message. Sets the reply and returns false when they cannot be taken. */
static bool
admit(struct imap_cmd *c, uint64_t len)
{
	struct imap_append *w = c->data;
	int rc = 0;

	if (len > w->max - w->message_bytes)
		imap_no(c, "TOOBIG", "The message is larger than APPENDLIMIT");
	else if ((rc = probe(w, w->bytes + len)) != 0)
		imap_err(c, rc);
	return !c->replied;
}

/* The parser is at "{": is it the literal that is announced at the end of the text? */
static bool
at_announced(const struct imap_cmd *c)
{
	const struct imap_parser *p = &c->p;
	const uint8_t *close = imap_at(p, '{') && c->s->input->announced ?
	    memchr(p->at, '}', (size_t)(p->end - p->at)) : NULL;

	return close != NULL && (close == p->end - 2 || close == p->end - 3);
}

static void
go_ahead(struct imap_session *s)
{
	if (s->input->literal_sync) {
		imap_out_str(s, "+ OK\r\n");
		imap_out_flush(s);
	}
}

/* "{n}", or "~{n}" (RFC 3516 4.4) */
static enum imap_step
literal(struct imap_cmd *c)
{
	struct imap_append *w = c->data;
	struct imap_input *in = c->s->input;

	w->literal8 = imap_try(&c->p, '~');
	if ((w->in_utf8 && !w->literal8) || !at_announced(c)) {
		imap_parse_fail(&c->p, w->in_utf8 ? "a literal8 is expected" :
		    "a literal with the message is expected");
		return parse_refused(c);
	}
	if (in->literal_len == 0 && !w->in_parts) { /* RFC 3502 6.3.11: cancels the command */
		imap_no(c, NULL, "An empty message cannot be appended");
		return imap_append_refuse(c);
	}
	if (!admit(c, in->literal_len))
		return imap_append_refuse(c);
	w->bytes += in->literal_len;
	w->message_bytes += in->literal_len;
	go_ahead(c->s);
	imap_input_stream(in);
	c->run = octets;
	return octets(c);
}

/* ---- One message ----------------------------------------------------------------------------- */

/* Flags' spans point into the text, which goes when the octets come. */
static void
keep_flags(struct imap_cmd *c, struct imap_flags *flags)
{
	size_t i = 0;

	for (i = 0; i < flags->nkeywords; i++)
		flags->keywords[i] = shelf_arena_dup(&c->arena, flags->keywords[i]);
}

/* "[(flags) ][date-time ]" */
static bool
parse_arguments(struct imap_cmd *c, struct shelf_append *item)
{
	struct imap_parser *p = &c->p;
	struct imap_flags flags = {0};

	item->internaldate_s = INT64_MIN;
	if (imap_at(p, '(') && (!imap_parse_flag_list(p, &flags) || !imap_parse_sp(p)))
		return false;
	if (imap_at(p, '"') && (!imap_parse_date_time(p, &item->internaldate_s, &item->zone_min) ||
	    !imap_parse_sp(p)))
		return false;
	imap_address_flags(((struct imap_append *)c->data)->rights, &flags); /* never refused for them */
	keep_flags(c, &flags);
	item->flags = flags.flags;
	item->keywords = flags.keywords;
	item->nkeywords = flags.nkeywords;
	return true;
}

/* Sets the reply and returns false when no more messages can be taken. */
static bool
admit_message(struct imap_cmd *c)
{
	struct imap_append *w = c->data;

	if (w->n > 0 && w->replaced != 0) /* RFC 8508 4.7 */
		imap_bad(c, "A message is replaced by one");
	else if (w->n == IMAP_APPEND_MAX)
		imap_no(c, "LIMIT", "At most %d messages can be appended at once", IMAP_APPEND_MAX);
	else
		imap_limit_refuses(c, (uint32_t)w->n + 1);
	return !c->replied;
}

/* "UTF8 (" */
static bool
try_open(struct imap_parser *p, const char *word, bool *open)
{
	*open = imap_try_word(p, word);
	return !*open || (imap_parse_sp(p) && imap_parse_open(p));
}

enum imap_step
imap_append_receive(struct imap_cmd *c)
{
	struct imap_append *w = c->data;
	struct shelf_append item = {0};
	int rc = 0;

	if (!parse_arguments(c, &item))
		return parse_refused(c);
	if (!admit_message(c))
		return imap_append_refuse(c);
	rc = shelf_draft_new(w->store, &item.draft);
	if (rc != 0)
		return refused(c, rc);
	w->items[w->n++] = item;
	w->message_bytes = 0;
	if (!try_open(&c->p, "UTF8", &w->in_utf8) || !try_open(&c->p, "CATENATE", &w->in_parts))
		return parse_refused(c);
	if (!w->in_parts)
		return literal(c);
	w->first_part = true;
	return parts(c);
}

/* Flags are taken by the rights of when they were read. */
static void
ask_for_rights(struct imap_cmd *c)
{
	struct imap_append *w = c->data;
	unsigned needs = SHELF_RIGHT_INSERT;

	for (size_t i = 0; i < w->n; i++)
		needs |= imap_address_needs(w->items[i].flags, w->items[i].nkeywords);
	w->items[0].asker = imap_asker(c, needs);
	w->items[0].from_asker = imap_asker(c, SHELF_RIGHT_DELETE_MESSAGES | SHELF_RIGHT_EXPUNGE);
}

/* All of a message is there. */
static enum imap_step
message_ends(struct imap_cmd *c)
{
	struct imap_append *w = c->data;
	int rc = shelf_draft_finish(draft_at_hand(w));

	if (rc != 0)
		return refused(c, rc);
	if (imap_at_end(&c->p)) {
		ask_for_rights(c);
		c->run = stored;
		return imap_work(c, store, w);
	}
	if (!imap_parse_sp(&c->p))
		return parse_refused(c);
	return imap_append_receive(c);
}

/* ---- CATENATE -------------------------------------------------------------------------------- */

static enum imap_step
bad_url(struct imap_cmd *c)
{
	const struct imap_append *w = c->data;
	struct shelf_buf code = {0};

	shelf_buf_add_str(&code, "BADURL ");
	for (size_t i = 0; i < w->url.len; i++) {
		uint8_t byte = w->url.text[i];

		/* What cannot stand in a response code is written as a URL would. */
		if (byte <= ' ' || byte >= 0x7f || byte == ']' || byte == '\\' || byte == '"')
			shelf_buf_printf(&code, "%%%02X", byte);
		else
			shelf_buf_add_byte(&code, byte);
	}
	imap_no(c, shelf_arena_str(&c->arena, shelf_buf_span(&code)), "There is no such message or part");
	shelf_buf_free(&code);
	return imap_append_refuse(c);
}

static enum imap_step
copied(struct imap_cmd *c)
{
	struct imap_append *w = c->data;

	if (w->url.bad)
		return bad_url(c);
	if (w->rc == SHELF_ETOOBIG) {
		imap_no(c, "TOOBIG", "The message is larger than APPENDLIMIT");
		return imap_append_refuse(c);
	}
	if (w->rc != 0)
		return refused(c, w->rc);
	return admit(c, 0) ? parts(c) : imap_append_refuse(c);
}

/* The parser is at the URL, complete. */
static enum imap_step
url(struct imap_cmd *c)
{
	struct imap_append *w = c->data;
	struct shelf_span text = {0};

	if (!imap_parse_astring(&c->p, &text))
		return parse_refused(c);
	if (text.len == 0 || text.len > IMAP_CAT_URL_MAX_BYTES) {
		imap_parse_fail(&c->p, "the URL is empty or too long");
		return parse_refused(c);
	}
	w->url = (struct imap_cat_url){.len = text.len};
	memcpy(w->url.text, text.data, text.len);
	if (!imap_cat_parse(&w->url) || !imap_cat_find(c->s, &w->url))
		return bad_url(c);
	c->run = copied;
	return imap_work(c, imap_cat_copy, w);
}

/* True: the text goes on. False: *STEP says what becomes of the command. */
static bool
more_text(struct imap_cmd *c, enum imap_step *step)
{
	struct imap_input *in = c->s->input;
	enum imap_got got = imap_input_next(in, c->s->conn);

	*step = IMAP_WANT_INPUT;
	if (got == IMAP_GOT_NOTHING)
		return false;
	if (got == IMAP_GOT_UNKNOWABLE) {
		imap_bye(c->s, "bad literal", "The size of that literal cannot be read");
		*step = imap_bad(c, "bad literal");
		return false;
	}
	if (got == IMAP_GOT_TOO_LONG || in->nul) {
		*step = imap_bad(c, "%s", in->nul ? "NUL in command" : "the line is too long");
		c->discard = got == IMAP_GOT_TOO_LONG || (in->announced && !in->literal_sync);
		return false;
	}
	return true;
}

/* The text, to which a URL's octets have been added: the parser goes on where it was. */
static enum imap_step
url_gathered(struct imap_cmd *c)
{
	const struct imap_input *in = c->s->input;
	enum imap_step step;

	if (!more_text(c, &step))
		return step;
	c->p.at = in->text.data + in->literal_at;
	c->p.end = in->text.data + in->text.len;
	c->run = url;
	return url(c);
}

static enum imap_step
url_literal(struct imap_cmd *c)
{
	struct imap_input *in = c->s->input;

	if (in->literal_len > IMAP_CAT_URL_MAX_BYTES ||
	    in->literal_len > c->s->server->conf->literal_max_bytes - in->literals_bytes) {
		imap_no(c, "TOOBIG", "The URL is too long");
		return imap_append_refuse(c);
	}
	in->literal_at = (size_t)(c->p.at - in->text.data);
	go_ahead(c->s);
	imap_input_gather(in);
	c->run = url_gathered;
	return url_gathered(c);
}

/* "TEXT {n}", "UTF8 (~{n})", "URL string", and what is between them. */
static enum imap_step
parts(struct imap_cmd *c)
{
	struct imap_append *w = c->data;
	struct imap_parser *p = &c->p;

	if (!w->first_part && imap_at(p, ')')) {
		w->in_parts = false;
		imap_parse_close(p);
		if (w->message_bytes > 0)
			return message_ends(c);
		imap_no(c, NULL, "An empty message cannot be appended");
		return imap_append_refuse(c);
	}
	if (!w->first_part && !imap_parse_sp(p))
		return parse_refused(c);
	w->first_part = false;
	if (w->parts++ == IMAP_CAT_PARTS_MAX) {
		imap_no(c, "LIMIT", "At most %d parts can be put together", IMAP_CAT_PARTS_MAX);
		return imap_append_refuse(c);
	}
	if (imap_try_word(p, "TEXT"))
		return imap_parse_sp(p) ? literal(c) : parse_refused(c);
	if (imap_try_word(p, "URL")) {
		if (!imap_parse_sp(p))
			return parse_refused(c);
		return at_announced(c) ? url_literal(c) : url(c);
	}
	if (!try_open(p, "UTF8", &w->in_utf8))
		return parse_refused(c);
	if (w->in_utf8)
		return literal(c);
	imap_parse_fail(p, "TEXT or URL is expected");
	return parse_refused(c);
}

/* ---- Behind a literal ------------------------------------------------------------------------ */

static enum imap_step
next_line(struct imap_cmd *c)
{
	struct imap_append *w = c->data;
	const struct imap_input *in = c->s->input;
	enum imap_step step;

	if (!more_text(c, &step))
		return step;
	c->p.at = in->text.data;
	c->p.end = in->text.data + in->text.len;
	if (w->in_utf8 && !imap_parse_close(&c->p))
		return parse_refused(c);
	w->in_utf8 = false;
	return w->in_parts ? parts(c) : message_ends(c);
}
