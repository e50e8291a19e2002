/*
 * model_store.c - the model's operations done to a real store, and the two compared
 */
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/mailshelf.h>

#include "model.h"
#include "support.h"

/* ---- Doing ------------------------------------------------------------------------------------- */

static int
box_id(struct shelf_store *store, uint32_t account, const char *name, uint32_t *id)
{
	struct shelf_mailbox box;
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(store, account, &rd);

	if (rc == 0)
		rc = shelf_mailbox_find(rd, shelf_span_str(name), &box);
	if (rc == 0)
		*id = box.id;
	shelf_rd_end(&rd);
	return rc;
}

static int
make_draft(const struct model *m, struct shelf_store *store, uint32_t content,
    struct shelf_draft **out)
{
	struct shelf_buf bytes = {0};
	int rc = shelf_draft_new(store, out);

	model_content(m, content, &bytes);
	/* In two pieces, at a place that differs. */
	if (rc == 0)
		rc = shelf_draft_write(*out, bytes.data, content % bytes.len);
	if (rc == 0)
		rc = shelf_draft_write(*out, bytes.data + content % bytes.len,
		    bytes.len - content % bytes.len);
	if (rc == 0)
		rc = shelf_draft_finish(*out);
	shelf_buf_free(&bytes);
	return rc;
}

static size_t
keyword_names(uint32_t keywords, struct shelf_span *out)
{
	size_t n = 0;

	for (unsigned k = 0; k < MODEL_KEYWORDS; k++)
		if ((keywords >> k & 1) != 0)
			out[n++] = shelf_span_str(model_keyword(k));
	return n;
}

static int
run_append(const struct model *m, const struct model_op *op, struct shelf_store *store,
    uint32_t account)
{
	struct shelf_append item[MODEL_ITEMS_MAX] = {0};
	struct shelf_span words[MODEL_KEYWORDS];
	struct shelf_append_result result = {0};
	size_t nwords = keyword_names(op->keywords, words);
	uint32_t box = 0;
	int rc = box_id(store, account, op->box, &box);

	for (size_t i = 0; rc == 0 && i < op->ncontents; i++) {
		item[i] = (struct shelf_append){.flags = op->flags, .keywords = words,
		    .nkeywords = nwords, .internaldate_s = model_date(op->content[i]),
		    .zone_min = 60};
		rc = make_draft(m, store, op->content[i], &item[i].draft);
	}
	if (rc == 0)
		rc = shelf_append(store, account, box, item, op->ncontents, &result);
	for (size_t i = 0; i < op->ncontents; i++)
		shelf_draft_free(&item[i].draft);
	return rc;
}

static int
run_replace(const struct model *m, const struct model_op *op, struct shelf_store *store,
    uint32_t account)
{
	struct shelf_span words[MODEL_KEYWORDS];
	struct shelf_append item = {.flags = op->flags, .keywords = words,
	    .nkeywords = keyword_names(op->keywords, words),
	    .internaldate_s = model_date(op->content[0]), .zone_min = 60};
	struct shelf_append_result result = {0};
	uint32_t from = 0, to = 0;
	int rc = box_id(store, account, op->box, &from);

	if (rc == 0)
		rc = box_id(store, account, op->to, &to);
	if (rc == 0)
		rc = make_draft(m, store, op->content[0], &item.draft);
	if (rc == 0)
		rc = shelf_msg_replace(store, account, from, op->uid[0], to, &item, &result);
	shelf_draft_free(&item.draft);
	return rc;
}

static int
run_deliver(const struct model *m, const struct model_op *op, struct shelf_store *store,
    uint32_t account)
{
	const struct shelf_delivery to = {.account = account, .mailbox = shelf_span_str(op->box)};
	struct shelf_append_result result = {0};
	struct shelf_draft *draft = NULL;
	int rc = make_draft(m, store, op->content[0], &draft);

	if (rc == 0) {
		shelf_deliver(store, draft, &to, 1, &result);
		rc = result.rc;
	}
	shelf_draft_free(&draft);
	return rc;
}

static int
run_on_uids(const struct model_op *op, struct shelf_store *store, uint32_t account)
{
	struct shelf_uidset *uids = shelf_uidset_new();
	struct shelf_copy_result copied = {.from_uids = shelf_uidset_new(), .to_uids = shelf_uidset_new()};
	struct shelf_span words[MODEL_KEYWORDS];
	struct shelf_flag_change change = {.op = op->how, .flags = op->flags, .keywords = words,
	    .nkeywords = keyword_names(op->keywords, words), .unchanged_since = UINT64_MAX};
	uint32_t box = 0, to = 0;
	int rc = box_id(store, account, op->box, &box);

	for (size_t i = 0; i < op->nuids; i++)
		shelf_uidset_add(uids, op->uid[i]);
	if (rc == 0 && (op->kind == MODEL_COPY || op->kind == MODEL_MOVE))
		rc = box_id(store, account, op->to, &to);
	if (rc == 0 && op->kind == MODEL_FLAGS)
		rc = shelf_msg_set_flags(store, account, box, uids, &change, NULL, NULL);
	else if (rc == 0 && op->kind == MODEL_EXPUNGE)
		rc = shelf_msg_expunge(store, account, box, op->all ? NULL : uids,
		    op->deleted_only ? SHELF_EXPUNGE_DELETED : 0, NULL);
	else if (rc == 0)
		rc = shelf_msg_copy(store, account, box, to, uids, op->kind == MODEL_MOVE, &copied);
	if (rc == 0 && shelf_uidset_count(copied.from_uids) != shelf_uidset_count(copied.to_uids))
		rc = SHELF_ECORRUPT;
	shelf_uidset_free(&uids);
	shelf_uidset_free(&copied.from_uids);
	shelf_uidset_free(&copied.to_uids);
	return rc;
}

static int
run_restore(const struct model_op *op, struct shelf_store *store, uint32_t account)
{
	struct shelf_uidset *uids = shelf_uidset_new();
	struct shelf_restored done = {0};
	uint32_t box = 0;
	int rc = box_id(store, account, op->box, &box);

	for (size_t i = 0; i < op->nuids; i++)
		shelf_uidset_add(uids, op->uid[i]);
	if (rc == 0)
		rc = shelf_restore(store, account, box, uids, 0, &done);
	if (rc == 0 && done.messages != op->nuids)
		rc = SHELF_ECORRUPT;
	shelf_uidset_free(&uids);
	return rc;
}

static int
run_pop3(const struct model_op *op, struct shelf_store *store, uint32_t account)
{
	struct shelf_uidset *uids = shelf_uidset_new();
	struct shelf_pop3_note note = {.fetched_s = op->number};
	char uidl[SHELF_UIDL_MAX + 1];
	uint32_t box = 0;
	int rc = box_id(store, account, op->box, &box);

	for (size_t i = 0; i < op->nuids; i++)
		shelf_uidset_add(uids, op->uid[i]);
	if (op->kind == MODEL_FETCHED)
		note.fetched = uids;
	else if (op->number != 0)
		note.hide = uids;
	else
		note.show = uids;
	snprintf(uidl, sizeof uidl, "uidl-%u", op->number);
	if (rc == 0)
		rc = op->kind == MODEL_UIDL ?
		    shelf_uidl_set(store, account, box, op->uid[0], shelf_span_str(uidl)) :
		    shelf_pop3_note(store, account, box, &note);
	shelf_uidset_free(&uids);
	return rc;
}

static int
run_note(const struct model *m, const struct model_op *op, struct shelf_store *store, uint32_t account)
{
	struct shelf_metadata list[MODEL_NOTES];
	struct shelf_buf value[MODEL_NOTES] = {0};
	uint32_t box = 0;
	size_t count = 0;
	int rc = op->all ? 0 : box_id(store, account, op->box, &box);

	for (unsigned n = 0; n < MODEL_NOTES; n++) {
		if ((op->flags >> n & 1) == 0)
			continue;
		list[count] = (struct shelf_metadata){.name = shelf_span_str(model_note(n))};
		model_note_value(m, op->content[n], &value[n]);
		if (op->content[n] != 0) /* an empty value is one, too */
			list[count].value = shelf_span(shelf_buf_cstr(&value[n]), value[n].len);
		count++;
	}
	if (rc == 0)
		rc = shelf_metadata_set(store, account, box, list, count, NULL);
	for (unsigned n = 0; n < MODEL_NOTES; n++)
		shelf_buf_free(&value[n]);
	return rc;
}

static int
run_setacl(const struct model_op *op, struct shelf_store *store, uint32_t account)
{
	uint32_t box = 0;
	int rc = box_id(store, account, op->box, &box);

	if (rc == 0)
		rc = shelf_acl_set(store, account, box, shelf_span_str(model_user(op->number)), SHELF_ACL_SET,
		    op->flags);
	return rc;
}

int
model_run(const struct model *m, const struct model_op *op, struct shelf_store *store, uint32_t account)
{
	const struct shelf_span box = shelf_span_str(op->box), to = shelf_span_str(op->to);
	uint32_t id;

	switch (op->kind) {
	case MODEL_APPEND:
		return run_append(m, op, store, account);
	case MODEL_DELIVER:
		return run_deliver(m, op, store, account);
	case MODEL_FLAGS:
	case MODEL_EXPUNGE:
	case MODEL_COPY:
	case MODEL_MOVE:
		return run_on_uids(op, store, account);
	case MODEL_CREATE:
		return shelf_mailbox_create(store, account, box, 0, &id);
	case MODEL_DELETE:
		return shelf_mailbox_delete(store, account, box);
	case MODEL_RENAME:
		return shelf_mailbox_rename(store, account, box, to);
	case MODEL_RESTORE:
		return run_restore(op, store, account);
	case MODEL_REPLACE:
		return run_replace(m, op, store, account);
	case MODEL_FETCHED:
	case MODEL_HIDE:
	case MODEL_UIDL:
		return run_pop3(op, store, account);
	case MODEL_SETACL:
		return run_setacl(op, store, account);
	case MODEL_NOTE:
		return run_note(m, op, store, account);
	}
	return SHELF_EINVALID;
}

/* ---- Comparing --------------------------------------------------------------------------------- */

struct body_due {
	uint64_t blob;
	uint32_t content, uid;
};

struct compare {
	struct model *m;
	struct shelf_rd *rd;
	struct shelf_buf *why;
	struct body_due *due;
	size_t ndue, seen;
};

static bool
differ(struct compare *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	shelf_buf_vprintf(c->why, fmt, ap);
	va_end(ap);
	return false;
}

static bool
compare_number(struct compare *c, const struct model_box *box, const char *what, uint64_t got,
    uint64_t want)
{
	return got == want || differ(c, "%s: %s is %llu, must be %llu", box->name, what,
	    (unsigned long long)got, (unsigned long long)want);
}

static uint32_t
keyword_bits(const struct shelf_keywords *names, const struct shelf_msg *msg)
{
	uint32_t bits = 0;

	for (uint32_t n = 0; n < names->count; n++) {
		if (!shelf_msg_has_keyword(msg, n))
			continue;
		for (unsigned k = 0; k < MODEL_KEYWORDS; k++)
			if (shelf_span_is(names->name[n], model_keyword(k)))
				bits |= 1u << k;
	}
	return bits;
}

static bool
compare_msg(struct compare *c, const struct model_box *box, const struct model_msg *want,
    const struct shelf_msg *got, uint32_t keywords)
{
	bool same = compare_number(c, box, "a uid", got->uid, want->uid) &&
	            compare_number(c, box, "flags", got->flags, want->flags) &&
	            compare_number(c, box, "keywords", keywords, want->keywords) &&
	            compare_number(c, box, "size", got->size, model_size(c->m, want->content)) &&
	            compare_number(c, box, "gone", got->gone, false);

	if (same)
		c->due[c->ndue++] = (struct body_due){got->blob, want->content, want->uid};
	else
		shelf_buf_printf(c->why, " (uid %u)", want->uid);
	return same;
}

static bool
compare_pop3(struct compare *c, const struct model_box *box, const struct model_msg *want, uint32_t mailbox)
{
	char uidl[SHELF_UIDL_MAX + 1] = "uidl-0";
	struct shelf_pop3_state got;
	uint32_t uid = 0;
	int rc = shelf_pop3_get(c->rd, mailbox, want->uid, &got);

	if (rc == 0)
		rc = shelf_uidl_next(c->rd, mailbox, want->uid, &uid, uidl);
	if (rc < 0)
		return differ(c, "%s: uid %u: POP3: %s", box->name, want->uid, shelf_err_name(rc));
	return compare_number(c, box, "fetched", (uint64_t)got.fetched_s, want->fetched) &&
	       compare_number(c, box, "hidden", got.hidden, want->hidden) &&
	       compare_number(c, box, "unique-id", uid == want->uid ? strtoul(uidl + 5, NULL, 10) : 0, want->uidl);
}

struct rights {
	unsigned of[MODEL_USERS];
	bool strange;
};

static int
add_rights(void *arg, struct shelf_span who, unsigned rights)
{
	struct rights *r = arg;
	bool known = shelf_span_is(who, "the owner"); /* who always comes */

	for (unsigned n = 0; n < MODEL_USERS; n++)
		if (shelf_span_is(who, model_user(n))) {
			r->of[n] = rights;
			known = true;
		}
	r->strange = r->strange || !known;
	return 0;
}

static int
count_note(void *arg, struct shelf_span name, uint32_t size)
{
	++*(size_t *)arg;
	return 0;
}

/* Annotations NOTE of a mailbox, or of the account (0). */
static bool
compare_notes(struct compare *c, const char *of, const uint32_t *note, uint32_t mailbox)
{
	struct shelf_buf got = {0}, want = {0};
	size_t there = 0, wanted = 0;
	bool same = shelf_metadata_each(c->rd, mailbox, count_note, &there) == 0;

	for (unsigned n = 0; n < MODEL_NOTES && same; n++) {
		int rc;

		shelf_buf_clear(&got);
		shelf_buf_clear(&want);
		rc = shelf_metadata_get(c->rd, mailbox, model_note(n), &got);
		wanted += note[n] != 0;
		model_note_value(c->m, note[n], &want);
		same = note[n] == 0 ? rc == SHELF_EMISSING
		                    : rc == 0 && shelf_span_eq(shelf_buf_span(&got), shelf_buf_span(&want));
	}
	shelf_buf_free(&got);
	shelf_buf_free(&want);
	return (same && there == wanted) || differ(c, "%s: annotations are not as they must be", of);
}

static bool
compare_sharing(struct compare *c, const struct model_box *box, uint32_t mailbox)
{
	struct rights r = {{0}, false};
	int rc = shelf_acl_each(c->rd, mailbox, "the owner", add_rights, &r);

	if (rc != 0 || r.strange || memcmp(r.of, box->rights, sizeof r.of) != 0)
		return differ(c, "%s: rights %x %x %x, must be %x %x %x (%s)", box->name, r.of[0], r.of[1],
		    r.of[2], box->rights[0], box->rights[1], box->rights[2], shelf_err_name(rc));
	return compare_notes(c, box->name, box->note, mailbox);
}

static bool
compare_box(struct compare *c, const struct model_box *box, const struct shelf_mailbox *row)
{
	uint64_t bytes = 0, unseen = 0, deleted = 0, deleted_bytes = 0;
	struct shelf_keywords *names = SHELF_NEW(struct shelf_keywords);
	struct shelf_msg msg = {0};
	uint32_t from = 1;
	bool same = shelf_mailbox_keywords(c->rd, row->id, names) == 0 || differ(c, "no keywords");

	for (size_t i = 0; same && i < box->count; i++) {
		const struct model_msg *want = &box->msg[i];
		uint64_t size = model_size(c->m, want->content);
		int rc = shelf_msg_next(c->rd, row->id, from, SHELF_MSG_ALL, &msg);

		same = rc == 0 ? compare_msg(c, box, want, &msg, keyword_bits(names, &msg))
		               : differ(c, "%s: uid %u: %s", box->name, want->uid, shelf_err_name(rc));
		same = same && compare_pop3(c, box, want, row->id);
		from = msg.uid + 1;
		bytes += size;
		unseen += (want->flags & SHELF_SEEN) == 0;
		deleted += (want->flags & SHELF_DELETED) != 0;
		deleted_bytes += (want->flags & SHELF_DELETED) != 0 ? size : 0;
	}
	free(names);
	if (same && shelf_msg_next(c->rd, row->id, from, SHELF_MSG_FLAGS, &msg) != SHELF_ENOMESSAGE)
		same = differ(c, "%s: uid %u should not be there", box->name, msg.uid);
	return same && compare_sharing(c, box, row->id) &&
	       compare_number(c, box, "uidnext", row->uidnext, box->uidnext) &&
	       compare_number(c, box, "exists", row->exists, box->count) &&
	       compare_number(c, box, "unseen", row->unseen, unseen) &&
	       compare_number(c, box, "deleted", row->deleted, deleted) &&
	       compare_number(c, box, "bytes", row->bytes, bytes) &&
	       compare_number(c, box, "deleted_bytes", row->deleted_bytes, deleted_bytes);
}

static int
compare_row(void *arg, const struct shelf_mailbox *row)
{
	struct compare *c = arg;
	struct model_box *box;
	char name[MODEL_NAME_MAX] = "";

	if (!row->exists_now)
		return 0;
	if (row->name.len < sizeof name)
		memcpy(name, row->name.data, row->name.len);
	box = model_find(c->m, name);
	if (box == NULL) {
		differ(c, "mailbox %s should not be there", name);
		return 1;
	}
	c->seen++;
	return compare_box(c, box, row) ? 0 : 1;
}

static bool
compare_body(struct compare *c, struct shelf_store *store, uint32_t account,
    const struct body_due *due)
{
	struct shelf_buf want = {0}, got = {0};
	struct shelf_body *body = NULL;
	struct shelf_span piece = {0};
	bool same;
	int rc = shelf_body_open(store, account, due->blob, &body);

	model_content(c->m, due->content, &want);
	do {
		if (rc == 0)
			rc = shelf_body_read(body, got.len, 100000, &piece);
		if (rc == 0)
			shelf_buf_add_span(&got, piece);
	} while (rc == 0 && piece.len > 0);
	same = rc == 0 && shelf_span_eq(shelf_buf_span(&want), shelf_buf_span(&got));
	if (!same)
		differ(c, "uid %u: content %u is not as it was (%s)", due->uid, due->content,
		    shelf_err_name(rc));
	shelf_body_close(&body);
	shelf_buf_free(&want);
	shelf_buf_free(&got);
	return same;
}

static bool
compare_quota(struct compare *c, struct shelf_store *store, uint32_t account)
{
	struct shelf_quota kept = {0}, counted = {0};
	int rc = shelf_quota_check(store, account, &kept, &counted);
	size_t messages = 0;

	for (size_t i = 0; i < c->m->count; i++)
		messages += c->m->box[i].count;
	if (rc != 0)
		return differ(c, "quota: %s; kept %llu bytes in %llu, counted %llu in %llu",
		    rc > 0 ? "not equal" : shelf_err_name(rc), (unsigned long long)kept.used_bytes,
		    (unsigned long long)kept.used_messages, (unsigned long long)counted.used_bytes,
		    (unsigned long long)counted.used_messages);
	if (kept.used_bytes != model_bytes(c->m) || kept.used_messages != messages)
		return differ(c, "quota: %llu bytes in %llu messages, must be %llu in %zu",
		    (unsigned long long)kept.used_bytes, (unsigned long long)kept.used_messages,
		    (unsigned long long)model_bytes(c->m), messages);
	return true;
}

bool
model_compare(struct model *m, struct shelf_store *store, uint32_t account, bool bodies,
    struct shelf_buf *why)
{
	struct compare c = {.m = m, .why = why};
	size_t messages = 0;
	bool same;
	int rc;

	for (size_t i = 0; i < m->count; i++)
		messages += m->box[i].count;
	c.due = shelf_zalloc((messages + 1) * sizeof *c.due);
	rc = shelf_rd_begin(store, account, &c.rd);
	if (rc == 0)
		rc = shelf_mailbox_each(c.rd, compare_row, &c);
	if (rc == 0 && !compare_notes(&c, "the account", m->note, 0))
		rc = 1;
	shelf_rd_end(&c.rd);
	same = rc == 0 || (rc < 0 && differ(&c, "%s", shelf_err_name(rc)));
	if (same && c.seen != m->count)
		same = differ(&c, "%zu mailboxes, must be %zu", c.seen, m->count);
	for (size_t i = 0; bodies && same && i < c.ndue; i++)
		same = compare_body(&c, store, account, &c.due[i]);
	same = same && compare_quota(&c, store, account);
	free(c.due);
	return same;
}
