/*
 * crash_verify.c - the parent: looks at what is there and compares it with what was acknowledged
 */
#include <stdio.h>
#include <stdlib.h>

#include "crash.h"

/* ---- Looking ----------------------------------------------------------------------------------- */

struct look {
	struct crash_account *account;
	bool good;
	bool seen[CRASH_BOXES_MAX];
};

static bool
wrong(struct look *look, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	look->good = false;
	return false;
}

/* Ids and UIDVALIDITY: an id keeps its UIDVALIDITY, never comes back, and a name is never seen again with
 * the UIDVALIDITY of another mailbox. */
static int
look_at_box(void *arg, const struct shelf_mailbox *row)
{
	struct look *look = arg;
	struct crash_account *a = look->account;
	struct crash_box *box = NULL;
	char name[MODEL_NAME_MAX] = "";

	if (!row->exists_now)
		return 0;
	memcpy(name, row->name.data, row->name.len);
	for (size_t i = 0; i < a->nboxes; i++) {
		struct crash_box *known = &a->box[i];

		if (known->id == row->id)
			box = known;
		else if (strcmp(known->name, name) == 0 && known->uidvalidity == row->uidvalidity)
			wrong(look, "%s: UIDVALIDITY %u was another mailbox's", name, row->uidvalidity);
	}
	if (box == NULL) {
		if (a->nboxes == CRASH_BOXES_MAX)
			support_fatal("too many mailboxes");
		box = &a->box[a->nboxes++];
		*box = (struct crash_box){.id = row->id, .uidvalidity = row->uidvalidity};
	}
	if (box->gone)
		wrong(look, "%s: mailbox id %u was deleted and is back", name, row->id);
	if (box->uidvalidity != row->uidvalidity)
		wrong(look, "%s: UIDVALIDITY was %u, is %u", name, box->uidvalidity, row->uidvalidity);
	if (row->highestmodseq > a->modseq)
		wrong(look, "%s: HIGHESTMODSEQ is beyond the account's", name);
	snprintf(box->name, sizeof box->name, "%s", name);
	look->seen[box - a->box] = true;
	return 0;
}

static bool
look_at_boxes(struct crash_account *a, struct shelf_store *store)
{
	struct look look = {.account = a, .good = true};
	struct shelf_rd *rd = NULL;

	if (shelf_rd_begin(store, a->id, &rd) != 0)
		return wrong(&look, "no snapshot");
	if (shelf_rd_modseq(rd) < a->modseq)
		wrong(&look, "modseq was %llu, is %llu", (unsigned long long)a->modseq,
		    (unsigned long long)shelf_rd_modseq(rd));
	a->modseq = shelf_rd_modseq(rd);
	if (shelf_mailbox_each(rd, look_at_box, &look) != 0)
		wrong(&look, "the mailboxes cannot be listed");
	shelf_rd_end(&rd);
	for (size_t i = 0; i < a->nboxes; i++)
		if (!look.seen[i])
			a->box[i].gone = true;
	return look.good;
}

static bool
read_body(struct shelf_store *store, uint32_t account, uint64_t blob, struct shelf_buf *out)
{
	struct shelf_body *body = NULL;
	struct shelf_span piece = {0};
	int rc = shelf_body_open(store, account, blob, &body);

	shelf_buf_clear(out);
	do {
		if (rc == 0)
			rc = shelf_body_read(body, out->len, SIZE_MAX, &piece);
		if (rc == 0)
			shelf_buf_add_span(out, piece);
	} while (rc == 0 && piece.len > 0);
	shelf_body_close(&body);
	return rc == 0;
}

/* One message of a shared account: which delivery it is, from its text, and whether it may be there. */
static bool
look_at_shared(struct crash *c, unsigned which, const struct shelf_msg *msg, struct shelf_buf *body,
    bool *seen)
{
	struct look look = {.good = true};
	struct shelf_buf want = {0};
	const char *at = strstr(shelf_buf_cstr(body), "Subject: content ");
	size_t slots = (size_t)c->threads * CRASH_SENT_MAX, n;

	if (at == NULL)
		return wrong(&look, "shared uid %u: not one of ours", msg->uid);
	n = strtoul(at + strlen("Subject: content "), NULL, 10);
	if (n >= slots || n % CRASH_SENT_MAX >= c->account[n / CRASH_SENT_MAX].sent)
		return wrong(&look, "shared uid %u: nobody has sent content %zu", msg->uid, n);
	model_content(c->contents, (uint32_t)n, &want);
	if (!shelf_span_eq(shelf_buf_span(&want), shelf_buf_span(body)))
		wrong(&look, "shared uid %u: changed bytes", msg->uid);
	shelf_buf_free(&want);
	if (seen[n])
		wrong(&look, "content %zu is there twice", n);
	seen[n] = true;
	if (c->shared_uid[which][n] != 0 && c->shared_uid[which][n] != msg->uid)
		wrong(&look, "content %zu had uid %u, has %u", n, c->shared_uid[which][n], msg->uid);
	c->shared_uid[which][n] = msg->uid;
	return look.good;
}

static bool
verify_shared(struct crash *c, struct shelf_store *store, unsigned which)
{
	struct look look = {.good = true};
	size_t slots = (size_t)c->threads * CRASH_SENT_MAX;
	bool *seen = shelf_zalloc(slots * sizeof *seen);
	struct shelf_mailbox inbox = {0};
	struct shelf_msg *list = NULL;
	struct shelf_rd *rd = NULL;
	struct shelf_buf body = {0};
	size_t count = 0;

	if (shelf_rd_begin(store, c->shared[which], &rd) != 0 ||
	    shelf_mailbox_find(rd, shelf_span_str("INBOX"), &inbox) != 0)
		support_fatal("no INBOX in a shared account");
	list = shelf_zalloc((inbox.exists + 1) * sizeof *list);
	for (uint32_t uid = 1; count < inbox.exists; uid = list[count++].uid + 1)
		if (shelf_msg_next(rd, inbox.id, uid, SHELF_MSG_ALL, &list[count]) != 0)
			break;
	shelf_rd_end(&rd);
	if (count != inbox.exists)
		wrong(&look, "EXISTS is %u, there are %zu", inbox.exists, count);
	for (size_t i = 0; i < count; i++) {
		if (!read_body(store, c->shared[which], list[i].blob, &body))
			wrong(&look, "shared uid %u cannot be read", list[i].uid);
		else
			look.good &= look_at_shared(c, which, &list[i], &body, seen);
		if (list[i].uid >= inbox.uidnext)
			wrong(&look, "uid %u is not below UIDNEXT %u", list[i].uid, inbox.uidnext);
	}
	for (size_t n = 0; n < slots; n++) {
		if (!seen[n] && (c->shared_acked[n] || c->shared_uid[which][n] != 0))
			wrong(&look, "content %zu was acknowledged and is gone", n);
	}
	free(list);
	free(seen);
	shelf_buf_free(&body);
	return look.good;
}

/* As before the operation under way, or as after it. */
static bool
verify_account(struct crash *c, struct crash_account *a, struct shelf_store *store, bool pending)
{
	struct shelf_buf why = {0}, why_after = {0}, text = {0};
	struct model *after = NULL;
	struct model_op op;
	bool good = model_compare(a->model, store, a->id, true, &why);

	if (!good && pending) {
		after = model_copy(a->model);
		model_choose(after, &op);
		if (model_apply(after, &op) == 0 && model_compare(after, store, a->id, true, &why_after)) {
			good = true;
			model_free(&a->model);
			a->model = after;
			after = NULL;
		}
	}
	if (!good) {
		printf("account %u, after %llu operations: %s\n", a->id,
		    (unsigned long long)a->model->ops, shelf_buf_cstr(&why));
		if (pending)
			model_describe(&op, &text);
		if (pending)
			printf("  and if %s has happened: %s\n", shelf_buf_cstr(&text),
			    shelf_buf_cstr(&why_after));
	}
	model_free(&after);
	shelf_buf_free(&why);
	shelf_buf_free(&why_after);
	shelf_buf_free(&text);
	return good && look_at_boxes(a, store);
}

/* What was acknowledged is there or gone; what is there is whole. */
static bool
verify_extras(struct crash *c, unsigned thread, struct shelf_store *store)
{
	const struct crash_account *a = &c->account[thread];
	struct look look = {.good = true};
	struct shelf_account found;
	struct shelf_mailbox inbox;
	struct shelf_rd *rd = NULL;
	char name[32];

	for (uint32_t n = 0; n < a->nextras; n++) {
		int rc;

		crash_extra_name(thread, n, name);
		rc = shelf_account_find(store, shelf_span_str(name), &found);
		if (rc != 0 && rc != SHELF_ENOACCOUNT)
			wrong(&look, "%s: %s", name, shelf_err_name(rc));
		else if (rc != 0 && a->extra[n] == CRASH_EXTRA_THERE)
			wrong(&look, "%s was acknowledged and is not there", name);
		else if (rc == 0 && a->extra[n] == CRASH_EXTRA_GONE)
			wrong(&look, "%s was deleted and is back", name);
		if (rc != 0)
			continue;
		if (shelf_rd_begin(store, found.id, &rd) != 0 ||
		    shelf_mailbox_find(rd, shelf_span_str("INBOX"), &inbox) != 0)
			wrong(&look, "%s has no INBOX", name);
		else if (inbox.exists != 0 && inbox.exists != CRASH_ARCHIVED)
			wrong(&look, "%s was restored, and has %u messages", name, inbox.exists);
		shelf_rd_end(&rd);
	}
	return look.good;
}

/* The check has read the bodies; here they are counted. */
static bool
verify_archive(struct crash *c, unsigned which, struct shelf_store *store)
{
	struct look look = {.good = true};
	struct shelf_mailbox inbox = {0};
	struct shelf_rd *rd = NULL;

	if (shelf_rd_begin(store, c->archive[which], &rd) != 0 ||
	    shelf_mailbox_get(rd, CRASH_INBOX, &inbox) != 0 || inbox.exists != CRASH_ARCHIVED)
		wrong(&look, "an archive has %u messages", inbox.exists);
	shelf_rd_end(&rd);
	return look.good;
}

static void
problem(void *arg, const char *text)
{
	printf("backup: %s\n", text);
	*(bool *)arg = false;
}

/* A generation that was told of is whole, whatever a later run left behind it. */
static bool
verify_backup(struct crash *c)
{
	struct shelf_backup *backup = NULL;
	char path[4300];
	bool good = true;
	int rc;

	if (!c->backed_up)
		return true;
	snprintf(path, sizeof path, "%s.backup", c->dir);
	rc = shelf_backup_open(path, 0, &backup);
	if (rc == 0)
		rc = shelf_backup_verify(backup, NULL, problem, &good);
	if (rc != 0)
		printf("the backup: %s\n", shelf_err_name(rc));
	shelf_backup_close(&backup);
	return good && rc == 0;
}

static void
finding(void *arg, unsigned invariant, uint32_t account, const char *text)
{
	printf("invariant %u, account %u: %s\n", invariant, account, text);
	*(bool *)arg = false;
}

bool
crash_verify(struct crash *c, bool pending)
{
	struct shelf_store *store = NULL;
	bool good = true;
	int rc = shelf_store_open(c->dir, 0, &store);

	if (rc != 0) {
		printf("the store does not open: %s\n", shelf_err_name(rc));
		return false;
	}
	rc = shelf_store_check(store, NULL, finding, &good);
	if (rc != 0) {
		printf("the check ended with %s\n", shelf_err_name(rc));
		good = false;
	}
	for (unsigned i = 0; i < c->threads; i++)
		good = verify_account(c, &c->account[i], store, pending) && verify_extras(c, i, store) && good;
	for (unsigned i = 0; i < CRASH_SHARED; i++)
		good = verify_shared(c, store, i) && good;
	for (unsigned i = 0; i < CRASH_ARCHIVES; i++)
		good = verify_archive(c, i, store) && good;
	shelf_store_close(&store);
	return verify_backup(c) && good;
}
