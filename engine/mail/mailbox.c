/*
 * mailbox.c - the name tree: create, delete, rename, subscribe
 *
 * A name row (MNAME) says which mailbox a name is and whether it is subscribed; the mailbox row (MBOX) says
 * everything else and keeps its name. Every change here takes a modseq, so that listeners see it.
 */
#include <stdlib.h>

#include <mailshelf/acl.h>
#include <mailshelf/guard.h>
#include <mailshelf/mem.h>

#include "mail.h"

static const struct shelf_span inbox_name = {(const uint8_t *)"INBOX", 5};

int
shelf_mailbox_canonical(struct shelf_span name, struct shelf_buf *out)
{
	size_t level = 0, depth = 1;

	if (name.len == 0 || name.len > SHELF_MAILBOX_NAME_MAX || !shelf_utf8_valid(name))
		return SHELF_ENAME;
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.data[i];

		if (c < ' ' || c == 0x7f || c == '%' || c == '*')
			return SHELF_ENAME;
		if (c != '/')
			continue;
		if (i == level || i + 1 == name.len || ++depth > SHELF_MAILBOX_DEPTH_MAX)
			return SHELF_ENAME;
		level = i + 1;
	}
	/* U+0080..U+009F are controls too. */
	for (size_t i = 0; i + 1 < name.len; i++)
		if (name.data[i] == 0xc2 && name.data[i + 1] < 0xa0)
			return SHELF_ENAME;
	shelf_buf_clear(out);
	shelf_buf_add_span(out, name);
	if (name.len >= 5 && shelf_span_is(shelf_span(name.data, 5), "INBOX") &&
	    (name.len == 5 || name.data[5] == '/'))
		memcpy(out->data, "INBOX", 5);
	return 0;
}

uint32_t
mail_new_uidvalidity(struct mail_change *c)
{
	uint32_t now = (uint32_t)c->now_s;

	c->acct.last_uidvalidity =
	    now > c->acct.last_uidvalidity ? now : c->acct.last_uidvalidity + 1;
	return c->acct.last_uidvalidity;
}

int
mail_create_mailbox(struct mail_change *c, struct shelf_span name, uint32_t special_use,
		    uint32_t *id_out)
{
	struct mail_name n = {0};
	struct mail_mbox m = {0};
	int room, rc = mail_name_get(kv_txn_view(c->txn), name, &n);

	if (rc == 0 && n.id != 0)
		return SHELF_EEXISTS;
	if (rc != 0 && rc != SHELF_ENOMAILBOX)
		return rc;
	if ((room = mail_mailbox_room(&c->acct)) != 0)
		return room;
	m.id = c->acct.next_mailbox++;
	m.uidvalidity = mail_new_uidvalidity(c);
	m.uidnext = 1;
	m.recent_from = 1;
	m.highestmodseq = mail_change_modseq(c);
	m.special_use = special_use;
	m.created_s = c->now_s;
	m.name = name;
	c->acct.mailboxes++;
	n = (struct mail_name){.id = m.id, .subscribed = rc == 0 && n.subscribed, .name = name};
	*id_out = m.id;
	if ((rc = mail_name_put(c, &n)) != 0 || (rc = mail_acl_inherit(c, name, m.id)) != 0)
		return rc;
	return mail_mbox_put(c->txn, &m);
}

/* ---- One closure for each operation ------------------------------------------------------------------ */

static int delete_mailbox(struct kv_txn *txn, void *arg);

struct name_op {
	struct shelf_store *store;
	const struct shelf_asker *asker; /* NULL: nobody is asked */
	struct shelf_buf name, to;
	unsigned special_use;
	bool subscribed;
	uint32_t id;
	bool fired; /* by a deletion, with the event */
	struct mail_guard_event event;
};

/* Canonical names, one update, and the buffers are gone. Removing asks no disk. */
static int
run(struct shelf_store *store, uint32_t account, unsigned flags, kv_update_fn *fn,
    struct shelf_span name, struct shelf_span to, struct name_op *op)
{
	int rc = shelf_mailbox_canonical(name, &op->name);

	op->store = store;
	if (rc == 0 && to.data != NULL)
		rc = shelf_mailbox_canonical(to, &op->to);
	if (rc == 0 && fn != delete_mailbox)
		rc = mail_disk_admit(store, account, SHELF_DISK_READONLY);
	if (rc == 0)
		rc = kv_update(store->kv, account, flags, fn, op);
	shelf_buf_free(&op->name);
	shelf_buf_free(&op->to);
	return rc;
}

/* Rights in MAILBOX, or (0) in the nearest one above NAME. */
static int
may(struct kv_txn *txn, const struct name_op *op, unsigned needs, uint32_t mailbox, struct shelf_span name)
{
	struct shelf_asker asker;

	if (op->asker == NULL)
		return 0;
	asker = *op->asker;
	asker.needs = needs;
	return mailbox != 0 ? mail_may(txn, mailbox, &asker) : mail_may_below(txn, name, &asker);
}

/* Is a special use taken by another mailbox? Mailboxes are few: the rows are walked. */
static int
use_taken(struct kv_view *view, uint32_t use, uint32_t except)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	struct mail_mbox m;
	int rc;

	if (use == 0)
		return 0;
	rc = kv_scan_open(view, KV_MBOX, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);
	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if ((rc = mail_mbox_decode(value, &m)) != 0)
			break;
		if ((m.flags & MAIL_MBOX_DELETED) == 0 && (m.special_use & use) != 0 &&
		    key.len == 4 && base_get_be32(key.data) != except) {
			rc = SHELF_EEXISTS;
			break;
		}
	}
	kv_scan_close(&scan);
	return rc;
}

static int
create(struct kv_txn *txn, void *arg)
{
	struct name_op *op = arg;
	struct mail_change c;
	int rc;

	if ((rc = mail_change_begin(&c, op->store, txn)) != 0 ||
	    (rc = may(txn, op, SHELF_RIGHT_CREATE, 0, shelf_buf_span(&op->name))) != 0 ||
	    (rc = use_taken(kv_txn_view(txn), op->special_use, 0)) != 0 ||
	    (rc = mail_create_mailbox(&c, shelf_buf_span(&op->name), op->special_use, &op->id)) !=
		0)
		return rc;
	return mail_change_end(&c);
}

int
shelf_mailbox_create(struct shelf_store *store, uint32_t account, struct shelf_span name,
		     unsigned special_use, uint32_t *id_out)
{
	return shelf_mailbox_create_for(store, NULL, account, name, special_use, id_out);
}

int
shelf_mailbox_create_for(struct shelf_store *store, const struct shelf_asker *asker, uint32_t account,
			 struct shelf_span name, unsigned special_use, uint32_t *id_out)
{
	struct name_op op = {.special_use = special_use, .asker = asker};
	int rc = run(store, account, KV_ADDS, create, name, shelf_span(NULL, 0), &op);

	if (id_out != NULL)
		*id_out = rc == 0 ? op.id : 0;
	return rc;
}

static int
set_use(struct kv_txn *txn, void *arg)
{
	struct name_op *op = arg;
	struct mail_change c;
	struct mail_open o = {0};
	struct mail_name n;
	int rc;

	if ((rc = mail_change_begin(&c, op->store, txn)) != 0 ||
	    (rc = mail_name_get(kv_txn_view(txn), shelf_buf_span(&op->name), &n)) != 0)
		return rc;
	if (n.id == 0)
		return SHELF_ENOMAILBOX;
	if ((rc = use_taken(kv_txn_view(txn), op->special_use, n.id)) == 0 &&
	    (rc = mail_open(&c, n.id, &o)) == 0) {
		o.row.special_use = op->special_use;
		o.dirty = true;
		mail_change_modseq(&c);
		rc = mail_open_flush(&c, &o);
	}
	mail_close(&o);
	return rc != 0 ? rc : mail_change_end(&c);
}

int
shelf_mailbox_set_use(struct shelf_store *store, uint32_t account, struct shelf_span name,
		      unsigned special_use)
{
	struct name_op op = {.special_use = special_use};

	return run(store, account, 0, set_use, name, shelf_span(NULL, 0), &op);
}

static int
subscribe(struct kv_txn *txn, void *arg)
{
	struct name_op *op = arg;
	struct mail_change c;
	struct mail_name n = {0};
	int rc;

	if ((rc = mail_change_begin(&c, op->store, txn)) != 0)
		return rc;
	rc = mail_name_get(kv_txn_view(txn), shelf_buf_span(&op->name), &n);
	if (rc != 0 && rc != SHELF_ENOMAILBOX)
		return rc;
	if (n.subscribed == op->subscribed)
		return 0;
	if (n.id == 0 && op->subscribed && c.acct.loose >= SHELF_MAILBOXES_MAX)
		return SHELF_ELIMIT;
	n.name = shelf_buf_span(&op->name);
	n.subscribed = op->subscribed;
	mail_change_modseq(&c);
	if ((rc = mail_name_put(&c, &n)) != 0)
		return rc;
	return mail_change_end(&c);
}

int
shelf_mailbox_subscribe(struct shelf_store *store, uint32_t account, struct shelf_span name,
			bool subscribed)
{
	struct name_op op = {.subscribed = subscribed};

	return run(store, account, subscribed ? KV_ADDS : 0, subscribe, name, shelf_span(NULL, 0),
		   &op);
}

/* ---- Delete ------------------------------------------------------------------------------------------- */

/* 1 when a mailbox has a name below NAME. */
static int
has_inferiors(struct kv_view *view, struct shelf_span name)
{
	struct shelf_buf prefix = {0};
	struct shelf_span key, value, cut;
	struct kv_scan scan;
	struct mail_name n;
	int rc;

	shelf_buf_add_span(&prefix, name);
	shelf_buf_add_byte(&prefix, '/');
	/* Long names have cut keys (rows.c); what they share with the prefix is never cut below 223. */
	cut = shelf_buf_span(&prefix);
	cut.len = cut.len > 223 ? 223 : cut.len;
	rc = kv_scan_open(view, KV_MNAME, cut, shelf_span(NULL, 0), &scan);
	while (rc == 0 && (rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if ((rc = mail_name_decode(value, &n)) != 0)
			break;
		if (n.id != 0 && n.name.len > prefix.len &&
		    memcmp(n.name.data, prefix.data, prefix.len) == 0)
			rc = 1;
		if (rc == 1)
			break;
	}
	kv_scan_close(&scan);
	shelf_buf_free(&prefix);
	return rc;
}

int
shelf_mailbox_has_below(struct shelf_rd *rd, struct shelf_span name)
{
	return has_inferiors(rd->view, name);
}

/*
 * The mail of a deleted mailbox stays where it is and counts as held; the row is marked and the purge
 * removes everything when the hold is over. O(1), whatever the mailbox held.
 */
static int
delete_mailbox(struct kv_txn *txn, void *arg)
{
	struct name_op *op = arg;
	struct shelf_span name = shelf_buf_span(&op->name);
	struct mail_change c;
	struct mail_open o = {0};
	struct mail_name n;
	int rc;

	if ((rc = mail_change_begin(&c, op->store, txn)) != 0)
		return rc;
	rc = mail_name_get(kv_txn_view(txn), name, &n);
	if (rc == SHELF_ENOMAILBOX || (rc == 0 && n.id == 0)) {
		rc = has_inferiors(kv_txn_view(txn), name);
		return rc == 1 ? SHELF_ECHILDREN : rc == 0 ? SHELF_ENOMAILBOX : rc;
	}
	if (rc != 0 || (rc = may(txn, op, SHELF_RIGHT_DELETE, n.id, name)) != 0 ||
	    (rc = mail_open(&c, n.id, &o)) != 0)
		goto out;
	o.row.flags |= MAIL_MBOX_DELETED;
	o.row.special_use = 0;
	o.row.highestmodseq = mail_change_modseq(&c);
	o.dirty = true;
	c.acct.mailboxes--;
	mail_hold_mailbox(&c.acct, &o.row);
	n = (struct mail_name){.id = 0, .subscribed = n.subscribed, .name = name};
	if ((rc = mail_guard_count(&c, o.row.exists, o.row.bytes, SHELF_GUARD_MAILBOX)) != 0 ||
	    (rc = mail_name_put(&c, &n)) != 0 || (rc = mail_due_new(&c, o.row.id, 0)) != 0 ||
	    (rc = mail_open_flush(&c, &o)) != 0)
		goto out;
	rc = mail_change_end(&c);
	op->fired = c.guard.fired;
	op->event = c.guard.event;
out:
	mail_close(&o);
	return rc;
}

int
shelf_mailbox_delete(struct shelf_store *store, uint32_t account, struct shelf_span name)
{
	return shelf_mailbox_delete_for(store, NULL, account, name);
}

int
shelf_mailbox_delete_for(struct shelf_store *store, const struct shelf_asker *asker, uint32_t account,
			 struct shelf_span name)
{
	struct name_op op = {.asker = asker};
	int rc;

	if (shelf_span_is(name, "INBOX"))
		return SHELF_ECANNOT;
	rc = run(store, account, 0, delete_mailbox, name, shelf_span(NULL, 0), &op);
	if (rc == 0 && op.fired)
		mail_guard_tell(store, account, &op.event);
	return rc;
}

/* ---- Rename ------------------------------------------------------------------------------------------- */

/* Gives a mailbox another name; the name row of the old one stays when it is subscribed. */
static int
move_name(struct mail_change *c, uint32_t id, struct shelf_span from, struct shelf_span to)
{
	struct mail_open o = {0};
	struct mail_name n = {0};
	bool was_subscribed;
	int rc = mail_name_get(kv_txn_view(c->txn), from, &n);

	if (rc != 0)
		return rc;
	was_subscribed = n.subscribed;
	n = (struct mail_name){.subscribed = was_subscribed, .name = from};
	if ((rc = mail_name_put(c, &n)) != 0)
		return rc;
	n = (struct mail_name){0};
	rc = mail_name_get(kv_txn_view(c->txn), to, &n);
	if (rc != 0 && rc != SHELF_ENOMAILBOX)
		return rc;
	if (rc == 0 && n.id != 0)
		return SHELF_EEXISTS;
	n = (struct mail_name){.id = id, .subscribed = rc == 0 && n.subscribed, .name = to};
	if ((rc = mail_name_put(c, &n)) == 0 && (rc = mail_open(c, id, &o)) == 0) {
		o.row.name = to;
		o.dirty = true;
		mail_change_modseq(c);
		rc = mail_open_flush(c, &o);
	}
	mail_close(&o);
	return rc;
}

struct name_list {
	struct name_entry {
		uint32_t id;
		struct shelf_buf name;
	} * entry;
	size_t n, cap;
};

static void
free_names(struct name_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		shelf_buf_free(&l->entry[i].name);
	free(l->entry);
}

/* Mailboxes below NAME, copied: the scan ends at the first write. */
static int
list_inferiors(struct kv_view *view, struct shelf_span name, struct name_list *l)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	struct mail_name n;
	int rc =
	    kv_scan_open(view, KV_MNAME, shelf_span(name.data, name.len > 223 ? 223 : name.len),
			 shelf_span(NULL, 0), &scan);

	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if ((rc = mail_name_decode(value, &n)) != 0)
			break;
		if (n.id == 0 || n.name.len <= name.len || n.name.data[name.len] != '/' ||
		    memcmp(n.name.data, name.data, name.len) != 0)
			continue;
		if (l->n == l->cap) {
			l->cap = l->cap == 0 ? 16 : l->cap * 2;
			l->entry = shelf_realloc(l->entry, l->cap * sizeof(*l->entry));
		}
		l->entry[l->n] = (struct name_entry){.id = n.id};
		shelf_buf_add_span(&l->entry[l->n++].name, n.name);
	}
	kv_scan_close(&scan);
	return rc;
}

static int
move_inferiors(struct mail_change *c, struct shelf_span from, struct shelf_span to)
{
	struct name_list list = {0};
	struct shelf_buf renamed = {0}, canonical = {0};
	int rc = list_inferiors(kv_txn_view(c->txn), from, &list);

	for (size_t i = 0; i < list.n && rc == 0; i++) {
		struct shelf_span old = shelf_buf_span(&list.entry[i].name);

		shelf_buf_clear(&renamed);
		shelf_buf_add_span(&renamed, to);
		shelf_buf_add(&renamed, old.data + from.len, old.len - from.len);
		if ((rc = shelf_mailbox_canonical(shelf_buf_span(&renamed), &canonical)) == 0)
			rc = move_name(c, list.entry[i].id, old, shelf_buf_span(&canonical));
	}
	if (rc == 0 && list.n == 0)
		rc = 1;
	free_names(&list);
	shelf_buf_free(&renamed);
	shelf_buf_free(&canonical);
	return rc; /* 1: there were none */
}

static int
rename_mailbox(struct kv_txn *txn, void *arg)
{
	struct name_op *op = arg;
	struct shelf_span from = shelf_buf_span(&op->name), to = shelf_buf_span(&op->to);
	struct mail_change c;
	struct mail_name n = {0};
	uint32_t id, inbox;
	int rc;

	/* A mailbox cannot move below itself. */
	if (to.len > from.len && to.data[from.len] == '/' &&
	    shelf_span_eq(shelf_span(to.data, from.len), from) && !shelf_span_eq(from, inbox_name))
		return SHELF_ENAME;
	if ((rc = mail_change_begin(&c, op->store, txn)) != 0)
		return rc;
	rc = mail_name_get(kv_txn_view(txn), to, &n);
	if (rc == 0 && n.id != 0)
		return SHELF_EEXISTS;
	if (rc != 0 && rc != SHELF_ENOMAILBOX)
		return rc;
	n = (struct mail_name){0};
	rc = mail_name_get(kv_txn_view(txn), from, &n);
	if (rc != 0 && rc != SHELF_ENOMAILBOX)
		return rc;
	id = rc == 0 ? n.id : 0;
	if ((id != 0 && (rc = may(txn, op, SHELF_RIGHT_DELETE, id, from)) != 0) ||
	    (rc = may(txn, op, SHELF_RIGHT_CREATE, 0, to)) != 0)
		return rc;
	if (id != 0 && (rc = move_name(&c, id, from, to)) != 0)
		return rc;
	if (shelf_span_eq(from, inbox_name)) {
		/* RFC 9051 6.3.6: the messages go, a new empty INBOX stays, inferiors do not move. */
		if ((rc = mail_create_mailbox(&c, inbox_name, 0, &inbox)) != 0 ||
		    (rc = mail_acl_copy(&c, id, inbox)) != 0 ||
		    (rc = mail_metadata_copy(&c, id, inbox)) != 0)
			return rc;
		return mail_change_end(&c);
	}
	rc = move_inferiors(&c, from, to);
	if (rc == 1)
		rc = id == 0 ? SHELF_ENOMAILBOX : 0;
	return rc != 0 ? rc : mail_change_end(&c);
}

int
shelf_mailbox_rename(struct shelf_store *store, uint32_t account, struct shelf_span from,
		     struct shelf_span to)
{
	return shelf_mailbox_rename_for(store, NULL, account, from, to);
}

int
shelf_mailbox_rename_for(struct shelf_store *store, const struct shelf_asker *asker, uint32_t account,
			 struct shelf_span from, struct shelf_span to)
{
	struct name_op op = {.asker = asker};

	return run(store, account, 0, rename_mailbox, from, to, &op);
}

/* ---- \Recent ------------------------------------------------------------------------------------------- */

struct claim {
	struct shelf_store *store;
	uint32_t id, from, to;
};

static int
claim(struct kv_txn *txn, void *arg)
{
	struct claim *cl = arg;
	struct mail_change c;
	struct mail_open o;
	int rc;

	if ((rc = mail_change_begin(&c, cl->store, txn)) != 0)
		return rc;
	if ((rc = mail_open(&c, cl->id, &o)) == 0) {
		cl->from = o.row.recent_from;
		cl->to = o.row.uidnext;
		o.row.recent_from = o.row.uidnext;
		o.dirty = cl->from != cl->to;
		rc = mail_open_flush(&c, &o);
	}
	mail_close(&o);
	return rc != 0 ? rc : mail_change_end(&c);
}

/* No modseq of the mailbox, and nobody is told: nobody else's picture of it changes. */
int
shelf_mailbox_claim_recent(struct shelf_store *store, uint32_t account, uint32_t id,
			   uint32_t *from_out, uint32_t *to_out)
{
	struct claim cl = {.store = store, .id = id};
	struct kv_view *view = NULL;
	struct mail_mbox m;
	int rc;

	if ((rc = kv_view_begin(store->kv, account, &view)) != 0)
		return rc;
	if ((rc = mail_mbox_get(view, id, &m)) == 0) {
		cl.from = m.recent_from;
		cl.to = m.uidnext;
	}
	kv_view_end(&view);
	/* On a full disk the next session is told the same: opening a mailbox must not fail for it. */
	if (rc == 0 && cl.from != cl.to &&
	    mail_disk_admit(store, account, SHELF_DISK_READONLY) == 0)
		rc = kv_update(store->kv, account, KV_QUIET, claim, &cl);
	*from_out = cl.from;
	*to_out = cl.to;
	return rc;
}
