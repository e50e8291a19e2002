/*
 * imap_fetch.c - the messages of a FETCH one after the other, resumable
 *
 *   NEXT     load() finds the message: flags, row       gone for good: passed over, f->missing
 *   RECORD   get_record() decodes the part tree, or scan() makes it again from the bytes
 *   PREPARE  imap_section_prepare() for each section    damage: passed over, f->damaged; an encoding
 *                                                       nobody knows: passed over, f->unknown_cte
 *   PRINT    "* n FETCH (" items ")"
 *
 * Between any two steps the fetch may stop: after SLICE_MS of work, or when the client does not take its
 * output. A failure in PRINT (the bytes were sound a moment ago) can only end the connection, since a
 * literal that has begun must be completed with the right octets or not at all.
 */
#include <inttypes.h>

#include "imap_cold.h"
#include "imap_condstore.h"
#include "imap_fetch.h"
#include "net.h"

enum {
	SLICE_MS = 10,
	CLOCK_EVERY = 16, /* steps */
	SCAN_MAX_BYTES = 64 * 1024,
	OUT_CHECK_BYTES = 8 * 1024,
};

static void
end_slice(struct imap_fetch *f)
{
	if (f->rd != NULL)
		shelf_rd_end(&f->rd);
	f->keywords_fresh = false;
}

static int
need_rd(struct imap_fetch *f)
{
	return f->rd != NULL ? 0 : shelf_rd_begin(f->s->store, f->s->owner, &f->rd);
}

static void
end_message(struct imap_fetch *f)
{
	shelf_body_close(&f->body);
	mime_scan_free(&f->scan);
	for (size_t i = 0; i < f->items.n; i++)
		shelf_buf_free(&f->items.item[i].slice.output);
	shelf_buf_clear(&f->piece);
	shelf_arena_reset(&f->arena);
	f->held_bytes = 0;
	f->root = NULL;
	f->begun = false;
	f->stage = IMAP_STAGE_NEXT;
	f->at = 0;
}

static void
next_message(struct imap_fetch *f)
{
	end_message(f);
	f->passed_messages++;
	f->uid = f->uid == UINT32_MAX ? 0 : shelf_uidset_next(f->uids, f->uid + 1);
}

void
imap_fetch_end(struct imap_fetch *f)
{
	end_slice(f);
	end_message(f);
	shelf_buf_free(&f->piece);
	shelf_arena_free(&f->arena);
	shelf_uidset_free(&f->uids);
	shelf_uidset_free(&f->unseen);
	shelf_uidset_free(&f->unread);
}

/* ---- NEXT ---------------------------------------------------------------------------------------- */

static bool
prints_flags(const struct imap_fetch *f)
{
	return (f->items.needs & IMAP_NEED_FLAGS) != 0 ||
	    (f->unseen != NULL && shelf_uidset_has(f->unseen, f->uid));
}

/* Names of keywords as this slice sees them. A message that is half printed may go on with a newer
 * list: numbers never change their meaning. */
static int
need_keywords(struct imap_fetch *f)
{
	int rc;

	if (f->keywords_fresh)
		return 0;
	rc = need_rd(f);
	if (rc == 0)
		rc = shelf_mailbox_keywords(f->rd, f->s->mailbox, f->keywords);
	f->keywords_fresh = rc == 0;
	return rc;
}

static int
load(struct imap_fetch *f)
{
	bool row = (f->items.needs & IMAP_NEED_ROW) != 0;
	int rc = need_rd(f);

	if (rc != 0)
		return rc;
	rc = shelf_msg_next(f->rd, f->s->mailbox, f->uid, row ? SHELF_MSG_ALL : SHELF_MSG_FLAGS,
	    &f->msg);
	/* Not among the present ones: expunged elsewhere, perhaps still held. */
	if (rc == SHELF_ENOMESSAGE || (rc == 0 && f->msg.uid != f->uid))
		rc = shelf_msg_get(f->rd, f->s->mailbox, f->uid, &f->msg);
	if (rc != 0)
		return rc;
	if (prints_flags(f)) {
		rc = need_keywords(f);
		if (rc != 0)
			return rc;
		imap_sync_keywords(f->s, f->keywords);
	}
	if (f->items.needs & IMAP_NEED_BODY) {
		rc = shelf_body_open(f->s->store, f->s->owner, f->msg.blob, &f->body);
		if (rc != 0)
			return rc;
	}
	f->stage = f->items.needs & IMAP_NEED_RECORD ? IMAP_STAGE_RECORD : IMAP_STAGE_PREPARE;
	return 0;
}

/* ---- RECORD --------------------------------------------------------------------------------------- */

static int
scan(struct imap_fetch *f)
{
	struct shelf_span piece;
	int rc = f->body != NULL ? 0 :
	    shelf_body_open(f->s->store, f->s->owner, f->msg.blob, &f->body);

	if (rc == 0)
		rc = shelf_body_read(f->body, f->done, SCAN_MAX_BYTES, &piece);
	if (rc != 0)
		return rc;
	if (piece.len > 0) {
		mime_scan_feed(f->scan, piece.data, piece.len);
		f->done += piece.len;
		return 0;
	}
	f->root = mime_scan_end(&f->scan);
	f->stage = IMAP_STAGE_PREPARE;
	return 0;
}

/* A record of a release without previews: made now, from the first of the bytes. Damage there is for who asks
 * for the bytes. */
static int
make_preview(struct imap_fetch *f, struct mime_part *root)
{
	struct shelf_buf text = {0};
	struct shelf_span head;
	int rc = f->body != NULL ? 0 :
	    shelf_body_open(f->s->store, f->s->owner, f->msg.blob, &f->body);

	if (rc == 0)
		rc = shelf_body_read(f->body, 0, MIME_PREVIEW_HEAD_BYTES, &head);
	if (rc == 0)
		mime_preview(root, head, &text);
	if (rc == 0 || rc == SHELF_ECORRUPT)
		root->preview = text.len == 0 ? shelf_span("", 0) :
		    shelf_arena_dup(&f->arena, shelf_buf_span(&text));
	shelf_buf_free(&text);
	return rc == SHELF_ECORRUPT ? 0 : rc;
}

static int
get_record(struct imap_fetch *f)
{
	struct shelf_span record;
	struct mime_part *root;
	int rc;

	if (f->scan != NULL)
		return scan(f);
	rc = need_rd(f);
	if (rc != 0)
		return rc;
	rc = shelf_msg_derived(f->rd, f->msg.blob, &f->arena, &record);
	if (rc == 0)
		rc = mime_record_decode(record, &f->arena, &root);
	if (rc == 0) {
		f->root = root;
		f->stage = IMAP_STAGE_PREPARE;
		if ((f->items.needs & IMAP_NEED_PREVIEW) && root->preview.data == NULL)
			return make_preview(f, root);
		return 0;
	}
	/* Missing, of another release or damaged: the bytes say it all once more. */
	if (rc != SHELF_EMISSING && rc != SHELF_EVERSION && rc != SHELF_ECORRUPT)
		return rc;
	f->scan = mime_scan_new(&f->arena);
	f->done = 0;
	return 0;
}

/* ---- PREPARE, PRINT -------------------------------------------------------------------------------- */

static int
prepare(struct imap_fetch *f)
{
	uint32_t seq = 0;

	while (f->at < f->items.n && !f->items.item[f->at].is_section)
		f->at++;
	if (f->at < f->items.n) {
		int rc = imap_section_prepare(f, &f->items.item[f->at]);

		if (rc == 0)
			f->at++;
		return rc < 0 ? rc : 0;
	}
	seq = shelf_view_seq(f->s->view, f->uid);
	if (seq == 0) { /* the set was of uids in the view */
		int rc = shelf_view_error(f->s->view);

		return rc != 0 ? rc : SHELF_ENOMESSAGE;
	}
	f->stage = IMAP_STAGE_PRINT;
	f->at = 0;
	f->s->mid_response = true;
	imap_out_str(f->s, "* ");
	imap_out_uint(f->s, f->s->uidonly ? f->uid : seq);
	imap_out_str(f->s, f->s->uidonly ? " UIDFETCH (" : " FETCH (");
	return 0;
}

static int
print(struct imap_fetch *f)
{
	struct imap_fetch_item *item = &f->items.item[f->at];
	int rc = 0;

	if (!f->begun) {
		if ((item->row->needs & IMAP_NEED_FLAGS) != 0) {
			rc = need_keywords(f);
			if (rc != 0)
				return rc;
		}
		imap_out_str(f->s, f->at == 0 ? "" : " ");
		item->row->print(f, item);
	}
	if (item->is_section && !item->size_only) {
		rc = imap_section_write(f, item);
		if (rc != 0)
			return rc < 0 ? rc : 0;
	}
	f->at++;
	return 0;
}

/* RFC 9051 6.4.5: a change of flags by BODY[] is reported in the same response. */
static int
end_response(struct imap_fetch *f)
{
	if (prints_flags(f) && !(f->items.needs & IMAP_NEED_FLAGS)) {
		int rc = need_keywords(f);

		if (rc != 0)
			return rc;
		imap_out_str(f->s, " ");
		imap_fetch_print_flags(f, NULL);
	}
	/* RFC 7162 3.2.4: such a response names the message and its mod-sequence. */
	if (f->s->condstore && f->unseen != NULL && shelf_uidset_has(f->unseen, f->uid)) {
		if (!f->has_uid && !f->s->uidonly)
			imap_outf(f->s, " UID %" PRIu32, f->uid);
		if (!(f->items.needs & IMAP_NEED_MODSEQ)) {
			imap_out_str(f->s, " ");
			imap_condstore_print(f->s, f->msg.modseq);
		}
	}
	imap_out_str(f->s, ")\r\n");
	f->s->mid_response = false;
	next_message(f);
	return 0;
}

/* ---- The loop ---------------------------------------------------------------------------------------- */

static int
step(struct imap_fetch *f)
{
	switch (f->stage) {
	case IMAP_STAGE_NEXT:
		return load(f);
	case IMAP_STAGE_RECORD:
		return get_record(f);
	case IMAP_STAGE_PREPARE:
		return prepare(f);
	case IMAP_STAGE_PRINT:
		return f->at < f->items.n ? print(f) : end_response(f);
	}
	return SHELF_EINVALID;
}

/* An error before the response has begun concerns one message, if it is about data at all. */
static bool
pass_over(struct imap_fetch *f, int rc)
{
	if (rc == SHELF_ENOMESSAGE) {
		f->missing = true;
	} else if (rc == SHELF_ECANNOT) {
		f->unknown_cte = true;
	} else if (rc == SHELF_ECORRUPT) {
		if (f->damaged == 0)
			f->damaged = rc;
		shelf_log(SHELF_LOG_ERROR, "imap fetch damaged", "account", "%s",
		    f->s->account_name, "mailbox", "%u", f->s->mailbox, "uid", "%u", f->uid, NULL);
	} else {
		return false;
	}
	if (f->unseen != NULL && shelf_uidset_has(f->unseen, f->uid)) {
		shelf_uidset_remove(f->unseen, f->uid);
		if (f->unread == NULL)
			f->unread = shelf_uidset_new();
		shelf_uidset_add(f->unread, f->uid);
	}
	next_message(f);
	return true;
}

static enum imap_step
abandon(struct imap_fetch *f, int rc)
{
	shelf_log(SHELF_LOG_ERROR, "imap fetch torn", "account", "%s", f->s->account_name, "mailbox",
	    "%u", f->s->mailbox, "uid", "%u", f->uid, "error", "%s", shelf_err_name(rc), NULL);
	shelf_buf_clear(&f->s->out);
	net_conn_close(f->s->conn, "message cannot be read");
	return IMAP_WANT_WAKE;
}

/* Outside of a command (NOTIFY) there is nobody to wait for a worker. */
static bool
goes_ahead(const struct imap_fetch *f)
{
	return f->stage == IMAP_STAGE_NEXT && f->s->cmd != NULL && imap_warm_wants(&f->warm, f->uid);
}

static enum imap_step
go_ahead(struct imap_fetch *f)
{
	f->warm.store = f->s->store;
	f->warm.account = f->s->owner;
	f->warm.mailbox = f->s->mailbox;
	f->warm.uids = f->uids;
	f->warm.record = (f->items.needs & IMAP_NEED_RECORD) != 0;
	f->warm.body = (f->items.needs & IMAP_NEED_BODY) != 0;
	f->warm.header = imap_fetch_only_header(&f->items);
	f->warm.next = f->uid;
	return imap_work(f->s->cmd, imap_warm_run, &f->warm);
}

enum imap_step
imap_fetch_run(struct imap_fetch *f, int *rc_out)
{
	enum imap_step result = IMAP_DONE;
	long begun = imap_cold_begin();
	/* Steps that read bodies may be long. Of others' time, asking for it was a quarter in FETCH FLAGS. */
	unsigned steps = 0, often = (f->items.needs & IMAP_NEED_BODY) != 0 ? 1 : CLOCK_EVERY;
	int rc = 0;

	f->deadline_ms = shelf_mono_ms() + SLICE_MS;
	while (f->uid != 0) {
		bool printing = f->stage == IMAP_STAGE_PRINT;

		if (goes_ahead(f)) {
			end_slice(f);
			*rc_out = 0;
			return go_ahead(f);
		}
		if (f->s->out.len >= OUT_CHECK_BYTES && imap_out_full(f->s)) {
			result = IMAP_WANT_OUTPUT;
			break;
		}
		rc = step(f);
		if (rc != 0 && printing) {
			result = abandon(f, rc);
			rc = 0;
			break;
		}
		if (rc != 0 && !pass_over(f, rc))
			break;
		rc = 0;
		if (++steps % often == 0 && shelf_mono_ms() >= f->deadline_ms) {
			result = IMAP_YIELD;
			break;
		}
	}
	imap_cold_end(begun);
	end_slice(f);
	*rc_out = rc;
	return result;
}
