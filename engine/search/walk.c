/*
 * walk.c - messages one after the other: row, envelope
 *
 * The envelope is the one stored at delivery. Where that is lost the bytes are scanned again, a piece at a
 * step, so that not even such a message holds up a loop.
 */
#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "sort.h"

int
search_row(struct shelf_rd *rd, uint32_t mailbox, uint32_t uid, enum shelf_msg_what what,
    struct shelf_msg *out, bool *whole_out)
{
	int rc = shelf_msg_next(rd, mailbox, uid, what, out);

	*whole_out = what == SHELF_MSG_ALL;
	if (rc == 0 && out->uid == uid)
		return 0;
	if (rc != 0 && rc != SHELF_ENOMESSAGE)
		return rc;
	*whole_out = true;
	return shelf_msg_get(rd, mailbox, uid, out);
}

bool
search_record_lost(int rc)
{
	return rc == SHELF_EMISSING || rc == SHELF_EVERSION || rc == SHELF_ECORRUPT;
}

void
search_walk_begin(struct search_walk *w, struct shelf_store *store, uint32_t account,
    uint32_t mailbox, const struct shelf_uidset *uids, enum search_walk_need need)
{
	*w = (struct search_walk){.store = store, .account = account, .mailbox = mailbox, .uids = uids,
	    .need = need};
	w->next = shelf_uidset_next(uids, 1);
	w->progress.total = shelf_uidset_count(uids);
}

static void
go_on(struct search_walk *w)
{
	search_pass_end(&w->pass);
	w->scanning = false;
	w->progress.done++;
	w->next = w->next == UINT32_MAX ? 0 : shelf_uidset_next(w->uids, w->next + 1);
}

/* 1: the envelope is there; 0: not yet. */
static int
read_envelope(struct search_walk *w, struct shelf_rd *rd)
{
	struct shelf_span record;
	int rc = shelf_msg_derived(rd, w->msg.blob, &w->arena, &record);

	if (rc == 0)
		rc = mime_record_envelope(record, &w->arena, &w->envelope);
	if (rc == 0)
		return 1;
	if (!search_record_lost(rc))
		return rc;
	w->scanning = true;
	return shelf_body_open(w->store, w->account, w->msg.blob, &w->pass.body);
}

static int
scan(struct search_walk *w)
{
	const struct mime_part *root;
	int rc = search_pass_scan(&w->pass, &w->arena, &root);

	if (rc != 0)
		return rc < 0 ? rc : 0;
	w->envelope = root->envelope;
	return 1;
}

static int
read_message(struct search_walk *w, struct shelf_rd *rd)
{
	bool whole;
	int rc;

	if (w->scanning)
		return scan(w);
	shelf_arena_reset(&w->arena);
	w->envelope = NULL;
	rc = search_row(rd, w->mailbox, w->next, SHELF_MSG_ALL, &w->msg, &whole);
	if (rc != 0)
		return rc;
	if (w->need == SEARCH_WALK_ENVELOPE || (w->need == SEARCH_WALK_DATE && !w->msg.dated))
		return read_envelope(w, rd);
	return 1;
}

int
search_walk_step(struct search_walk *w, struct shelf_rd *rd)
{
	int rc = read_message(w, rd);

	if (rc == SHELF_ECORRUPT) {
		w->damaged = true;
		shelf_log(SHELF_LOG_ERROR, "message cannot be sorted", "account", "%u", w->account,
		    "mailbox", "%u", w->mailbox, "uid", "%u", w->next, NULL);
	}
	if (rc == SHELF_ENOMESSAGE || rc == SHELF_ECORRUPT) {
		go_on(w);
		return 0;
	}
	if (rc == 1)
		go_on(w);
	return rc;
}

void
search_walk_end(struct search_walk *w)
{
	search_pass_end(&w->pass);
	shelf_arena_free(&w->arena);
}

/* ---- Keys ---------------------------------------------------------------------------------------- */

uint64_t
search_sent(const struct search_walk *w)
{
	int64_t sent_s = w->msg.dated ? w->msg.sent_s : w->envelope->sent_s;

	return (uint64_t)(sent_s != INT64_MIN ? sent_s : w->msg.internaldate_s) ^ (uint64_t)1 << 63;
}

uint64_t
search_sort_number(enum shelf_sort_key key, const struct search_walk *w)
{
	if (key == SHELF_SORT_SIZE)
		return w->msg.size;
	if (key == SHELF_SORT_DATE)
		return search_sent(w);
	return (uint64_t)w->msg.internaldate_s ^ (uint64_t)1 << 63;
}

int
search_compare(struct shelf_span a, struct shelf_span b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int order = len == 0 ? 0 : memcmp(a.data, b.data, len);

	return order != 0 ? order : a.len < b.len ? -1 : a.len > b.len;
}

static void
add_mapped(struct shelf_span text, struct shelf_buf *out)
{
	struct shelf_buf utf8 = {0};

	search_decode(text, &utf8);
	search_casemap(shelf_buf_span(&utf8), out);
	shelf_buf_free(&utf8);
}

/* RFC 5957 3 */
static void
add_display(const struct mime_address *a, struct shelf_buf *out)
{
	size_t before = out->len;

	if (a->name.data != NULL)
		add_mapped(a->name, out);
	if (out->len > before || a->mailbox.data == NULL)
		return;
	add_mapped(a->mailbox, out);
	if (a->host.data != NULL) {
		shelf_buf_add_byte(out, '@');
		add_mapped(a->host, out);
	}
}

static void
add_address(const struct mime_address *first, bool display, struct shelf_buf *out)
{
	if (first == NULL)
		return;
	if (display)
		add_display(first, out);
	else if (first->mailbox.data != NULL)
		add_mapped(first->mailbox, out);
}

void
search_sort_text(enum shelf_sort_key key, const struct mime_envelope *e, struct shelf_buf *out)
{
	struct shelf_buf text = {0};
	bool reply;

	switch (key) {
	case SHELF_SORT_CC:
		add_address(e->cc, false, out);
		break;
	case SHELF_SORT_FROM:
	case SHELF_SORT_DISPLAYFROM:
		add_address(e->from, key == SHELF_SORT_DISPLAYFROM, out);
		break;
	case SHELF_SORT_TO:
	case SHELF_SORT_DISPLAYTO:
		add_address(e->to, key == SHELF_SORT_DISPLAYTO, out);
		break;
	case SHELF_SORT_SUBJECT:
		if (e->subject.data != NULL) {
			search_subject_text(e->subject, &text);
			search_casemap(search_base_subject(shelf_buf_span(&text), &reply), out);
		}
		break;
	default:
		break;
	}
	shelf_buf_free(&text);
}
