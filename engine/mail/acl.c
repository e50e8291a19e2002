/*
 * acl.c - entries of a mailbox's access control list
 *
 * key      mailbox u32 | 0 gives, 1 takes | name, cut like the key of MNAME
 * value    1 | rights 4 | name text
 *
 * The owner's name is empty in rows: they stay his under whatever name the account is restored. A row that gives
 * is there for him only when his rights are not all of them.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "acl.h"

enum { FORMAT = 1, KEY_HEAD = 5 };

static const char anyone[] = "anyone";

/* ---- Rows ---------------------------------------------------------------------------------------- */

struct mail_key
acl_key(uint32_t mailbox, bool negative, struct shelf_span who)
{
	struct mail_key name = mail_name_key(who), key = mail_key1(mailbox);

	key.bytes[4] = negative;
	memcpy(key.bytes + KEY_HEAD, name.bytes, name.len);
	key.len = KEY_HEAD + name.len;
	return key;
}

int
acl_row_decode(struct shelf_span key, struct shelf_span value, struct acl_row *out)
{
	struct base_reader r = base_reader(value);

	if (key.len < KEY_HEAD || key.data[4] > 1)
		return SHELF_ECORRUPT;
	if (base_get_le(&r, 1) != FORMAT)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	out->mailbox = base_get_be32(key.data);
	out->negative = key.data[4] == 1;
	out->rights = (uint32_t)base_get_le(&r, 4);
	out->who = base_get_text(&r);
	return r.bad || base_left(&r) != 0 || (out->rights & ~(uint32_t)SHELF_RIGHTS_ALL) != 0 ? SHELF_ECORRUPT
											       : 0;
}

/* SHELF_EMISSING: no such row. */
static int
get(struct kv_view *view, uint32_t mailbox, bool negative, const char *who, uint32_t *rights_out)
{
	struct mail_key key = acl_key(mailbox, negative, shelf_span_str(who));
	struct shelf_span value;
	struct acl_row row;
	int rc = kv_get(view, KV_ACL, mail_key_span(&key), &value);

	*rights_out = 0;
	if (rc != 0)
		return rc;
	if ((rc = acl_row_decode(mail_key_span(&key), value, &row)) == 0)
		*rights_out = row.rights;
	return rc;
}

static int
put(struct kv_txn *txn, const struct acl_row *row)
{
	struct mail_key key = acl_key(row->mailbox, row->negative, row->who);
	struct shelf_buf value = {0};
	int rc;

	base_add_le(&value, FORMAT, 1);
	base_add_le(&value, row->rights, 4);
	base_add_text(&value, row->who);
	rc = kv_put(txn, KV_ACL, mail_key_span(&key), shelf_buf_span(&value));
	shelf_buf_free(&value);
	return rc;
}

int
acl_each(struct kv_view *view, uint32_t mailbox, acl_row_fn *fn, void *arg)
{
	struct mail_key prefix = mail_key1(mailbox);
	struct shelf_span key, value;
	struct kv_scan scan;
	struct acl_row row;
	int rc;

	if (mailbox == 0)
		prefix.len = 0;
	rc = kv_scan_open(view, KV_ACL, mail_key_span(&prefix), shelf_span(NULL, 0), &scan);
	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1)
		if ((rc = acl_row_decode(key, value, &row)) != 0 || (rc = fn(arg, &row)) != 0)
			break;
	kv_scan_close(&scan);
	return rc;
}

/* ---- Rights -------------------------------------------------------------------------------------- */

int
shelf_acl_identifier(struct shelf_span who, char *out)
{
	size_t sign = who.len > 0 && who.data[0] == '-';

	/* "$" and "#" are for groups, which there are none of (RFC 4314 2). */
	if (who.len > sign && (who.data[sign] == '$' || who.data[sign] == '#' || who.data[sign] == '-'))
		return SHELF_ENAME;
	out[0] = '-';
	return mail_account_name(shelf_span(who.data + sign, who.len - sign), out + sign);
}

/* The nearest mailbox above NAME; 0: there is none. */
static int
nearest_above(struct kv_view *view, struct shelf_span name, uint32_t *id_out)
{
	struct mail_name n;

	for (size_t len = name.len; len-- > 0;) {
		int rc;

		if (name.data[len] != '/')
			continue;
		rc = mail_name_get(view, shelf_span(name.data, len), &n);
		*id_out = rc == 0 ? n.id : 0;
		if ((rc != 0 && rc != SHELF_ENOMAILBOX) || *id_out != 0)
			return rc;
	}
	return 0;
}

static int
rights_of(struct kv_view *view, uint32_t mailbox, const char *name, bool owner, unsigned *rights_out)
{
	uint32_t own, all, own_less, all_less;
	int rc;

	name = owner ? "" : name;
	rc = get(view, mailbox, false, name, &own);

	*rights_out = 0;
	if (rc == SHELF_EMISSING) {
		own = owner ? SHELF_RIGHTS_ALL : 0;
		rc = 0;
	}
	if (rc != 0)
		return rc;
	if (((rc = get(view, mailbox, false, anyone, &all)) != 0 && rc != SHELF_EMISSING) ||
	    ((rc = get(view, mailbox, true, name, &own_less)) != 0 && rc != SHELF_EMISSING) ||
	    ((rc = get(view, mailbox, true, anyone, &all_less)) != 0 && rc != SHELF_EMISSING))
		return rc;
	*rights_out = (own | all) & ~(own_less | all_less);
	if (owner)
		*rights_out |= SHELF_RIGHTS_OWNER;
	return 0;
}

int
shelf_acl_rights(struct shelf_rd *rd, uint32_t mailbox, const char *name, bool owner, unsigned *rights_out)
{
	return rights_of(rd->view, mailbox, name, owner, rights_out);
}

int
mail_may(struct kv_txn *txn, uint32_t mailbox, const struct shelf_asker *asker)
{
	unsigned rights = 0;
	int rc;

	if (asker == NULL)
		return 0;
	rc = rights_of(kv_txn_view(txn), mailbox, asker->name, asker->account == kv_txn_account(txn), &rights);
	return rc != 0 ? rc : (rights & asker->needs) == asker->needs ? 0 : SHELF_ENOPERM;
}

int
mail_may_below(struct kv_txn *txn, struct shelf_span name, const struct shelf_asker *asker)
{
	uint32_t above = 0;
	int rc = asker == NULL ? 0 : nearest_above(kv_txn_view(txn), name, &above);

	if (rc != 0 || asker == NULL)
		return rc;
	if (above != 0)
		return mail_may(txn, above, asker);
	return asker->account == kv_txn_account(txn) ? 0 : SHELF_ENOPERM; /* one's own top */
}

struct listing {
	const char *owner;
	shelf_acl_fn *fn;
	void *arg;
};

static int
list_row(void *arg, const struct acl_row *row)
{
	const struct listing *l = arg;
	char who[SHELF_ACL_NAME_MAX + 1];

	struct shelf_span name = row->who.len == 0 ? shelf_span_str(l->owner) : row->who;

	if (!row->negative)
		return row->who.len == 0 ? 0 : l->fn(l->arg, name, row->rights);
	if (name.len > SHELF_ACCOUNT_NAME_MAX)
		return SHELF_ECORRUPT;
	who[0] = '-';
	memcpy(who + 1, name.data, name.len);
	return l->fn(l->arg, shelf_span(who, name.len + 1), row->rights);
}

int
shelf_acl_each(struct shelf_rd *rd, uint32_t mailbox, const char *owner_name, shelf_acl_fn *fn, void *arg)
{
	struct listing l = {owner_name, fn, arg};
	uint32_t rights;
	int rc = get(rd->view, mailbox, false, "", &rights);

	if (rc == SHELF_EMISSING)
		rights = SHELF_RIGHTS_ALL;
	else if (rc != 0)
		return rc;
	rc = fn(arg, shelf_span_str(owner_name), rights | SHELF_RIGHTS_OWNER);
	return rc != 0 ? rc : acl_each(rd->view, mailbox, list_row, &l);
}

/* ---- What is shared with a user ------------------------------------------------------------------ */

struct sharing {
	struct shelf_rd *rd;
	const char *name;
	shelf_shared_fn *fn;
	void *arg;
	uint32_t mailbox; /* being summed up; 0: none */
	uint32_t gives, takes;
};

static int
end_mailbox(struct sharing *s)
{
	uint32_t rights = s->gives & ~s->takes;
	struct shelf_mailbox out;
	struct mail_mbox m;
	int rc;

	if (s->mailbox == 0 || rights == 0)
		return 0;
	if ((rc = mail_mbox_get(s->rd->view, s->mailbox, &m)) != 0)
		return rc == SHELF_ENOMAILBOX ? 0 : rc;
	if ((m.flags & MAIL_MBOX_DELETED) != 0)
		return 0;
	mail_mailbox_out(&m, false, &out);
	return s->fn(s->arg, &out, rights);
}

static int
sum_up(void *arg, const struct acl_row *row)
{
	struct sharing *s = arg;
	int rc;

	if (row->mailbox != s->mailbox) {
		if ((rc = end_mailbox(s)) != 0)
			return rc;
		s->mailbox = row->mailbox;
		s->gives = s->takes = 0;
	}
	if (!shelf_span_eq(row->who, shelf_span_str(s->name)) && !shelf_span_eq(row->who, shelf_span_str(anyone)))
		return 0;
	*(row->negative ? &s->takes : &s->gives) |= row->rights;
	return 0;
}

int
shelf_shared_each(struct shelf_rd *rd, const char *name, shelf_shared_fn *fn, void *arg)
{
	struct sharing s = {.rd = rd, .name = name, .fn = fn, .arg = arg};
	int rc = acl_each(rd->view, 0, sum_up, &s);

	return rc != 0 ? rc : end_mailbox(&s);
}

/* ---- Changing ------------------------------------------------------------------------------------ */

struct acl_change {
	struct shelf_store *store;
	uint32_t mailbox;
	const char *who; /* as in rows */
	bool negative, owner;
	enum shelf_acl_op op;
	uint32_t rights;
	const struct shelf_asker *asker;
	size_t rows;
};

static int
count_row(void *arg, const struct acl_row *row)
{
	struct acl_change *ch = arg;

	ch->rows++;
	return 0;
}

/* A new row when there are too many already. */
static int
room(struct kv_txn *txn, struct acl_change *ch)
{
	int rc;

	ch->rows = 0;
	rc = acl_each(kv_txn_view(txn), ch->mailbox, count_row, ch);
	return rc != 0 ? rc : ch->rows >= SHELF_ACL_MAX ? SHELF_ELIMIT : 0;
}

static int
write_row(struct kv_txn *txn, struct acl_change *ch)
{
	struct mail_key key = acl_key(ch->mailbox, ch->negative, shelf_span_str(ch->who));
	const uint32_t plain = ch->owner && !ch->negative ? SHELF_RIGHTS_ALL : 0; /* without a row */
	uint32_t is, to = ch->rights;
	int rc = get(kv_txn_view(txn), ch->mailbox, ch->negative, ch->who, &is);
	bool had = rc == 0;

	if (rc != 0 && rc != SHELF_EMISSING)
		return rc;
	if (!had)
		is = plain;
	to = ch->op == SHELF_ACL_ADD ? is | to : ch->op == SHELF_ACL_REMOVE ? is & ~to : to;
	if (to == is)
		return 0;
	if (to == plain)
		return kv_del(txn, KV_ACL, mail_key_span(&key));
	if (!had && (rc = room(txn, ch)) != 0)
		return rc;
	return put(txn, &(struct acl_row){ch->mailbox, ch->negative, to, shelf_span_str(ch->who)});
}

/* The modseq moves: sessions that have the mailbox open, or watch it, look at their rights. */
static int
change(struct kv_txn *txn, void *arg)
{
	struct acl_change *ch = arg;
	struct mail_change c;
	struct mail_mbox m;
	int rc;

	if ((rc = mail_change_begin(&c, ch->store, txn)) != 0 ||
	    (rc = mail_mbox_get(kv_txn_view(txn), ch->mailbox, &m)) != 0)
		return rc;
	if ((m.flags & MAIL_MBOX_DELETED) != 0)
		return SHELF_ENOMAILBOX;
	if ((rc = mail_may(txn, ch->mailbox, ch->asker)) != 0)
		return rc;
	if ((rc = write_row(txn, ch)) != 0)
		return rc;
	mail_changed_note(&c, ch->mailbox); /* for who may see it now, or may no more */
	return mail_change_end(&c);
}

int
shelf_acl_set(struct shelf_store *store, uint32_t account, uint32_t mailbox, struct shelf_span who,
	      enum shelf_acl_op op, unsigned rights)
{
	return shelf_acl_set_for(store, NULL, account, mailbox, who, op, rights);
}

int
shelf_acl_set_for(struct shelf_store *store, const struct shelf_asker *asker, uint32_t account, uint32_t mailbox,
		  struct shelf_span who, enum shelf_acl_op op, unsigned rights)
{
	char name[SHELF_ACL_NAME_MAX + 1];
	struct acl_change ch = {.store = store, .mailbox = mailbox, .op = op, .rights = rights & SHELF_RIGHTS_ALL,
	    .asker = asker};
	struct shelf_account owner;
	bool adds = op != SHELF_ACL_REMOVE && ch.rights != 0;
	int rc;

	if ((rc = shelf_acl_identifier(who, name)) != 0 || (rc = shelf_account_get(store, account, &owner)) != 0 ||
	    (rc = mail_disk_admit(store, account, SHELF_DISK_READONLY)) != 0)
		return rc;
	ch.negative = name[0] == '-';
	ch.who = name + ch.negative;
	ch.owner = strcmp(ch.who, owner.name) == 0;
	if (ch.owner)
		ch.who = "";
	if (adds && !ch.negative && !ch.owner &&
	    (rc = shared_put(store, shelf_span_str(ch.who), account)) != 0)
		return rc;
	rc = kv_update(store->kv, account, adds ? KV_ADDS : 0, change, &ch);
	if (!ch.negative && !ch.owner && (rc != 0 || !adds))
		shared_settle(store, ch.who, account);
	return rc;
}

/* ---- Where entries come from and go to with their mailbox ----------------------------------------- */

struct copying {
	struct acl_row row[SHELF_ACL_MAX];
	struct shelf_buf names;
	size_t n;
};

static int
pick_up(void *arg, const struct acl_row *row)
{
	struct copying *cp = arg;

	if (cp->n == SHELF_ACL_MAX)
		return SHELF_ECORRUPT;
	cp->row[cp->n] = *row;
	base_add_text(&cp->names, row->who);
	cp->n++;
	return 0;
}

/* The rows are all read before the first is written: writing ends the scan and moves values. */
int
mail_acl_copy(struct mail_change *c, uint32_t from, uint32_t to)
{
	struct copying *cp = SHELF_NEW(struct copying);
	struct base_reader r;
	int rc = acl_each(kv_txn_view(c->txn), from, pick_up, cp);

	r = base_reader(shelf_buf_span(&cp->names));
	for (size_t i = 0; i < cp->n && rc == 0; i++) {
		cp->row[i].mailbox = to;
		cp->row[i].who = base_get_text(&r);
		rc = put(c->txn, &cp->row[i]);
	}
	shelf_buf_free(&cp->names);
	free(cp);
	return rc;
}

int
mail_acl_inherit(struct mail_change *c, struct shelf_span name, uint32_t mailbox)
{
	uint32_t above = 0;
	int rc = nearest_above(kv_txn_view(c->txn), name, &above);

	return rc != 0 || above == 0 ? rc : mail_acl_copy(c, above, mailbox);
}

/* ---- Letters ------------------------------------------------------------------------------------- */

static const char letters[] = "lrswipkxtea";
static const struct {
	char letter;
	unsigned members;
} virtual_rights[] = {
    {'c', SHELF_RIGHT_CREATE | SHELF_RIGHT_DELETE},
    {'d', SHELF_RIGHT_DELETE_MESSAGES | SHELF_RIGHT_EXPUNGE},
};

int
shelf_rights_parse(struct shelf_span text, unsigned *rights_out)
{
	*rights_out = 0;
	for (size_t i = 0; i < text.len; i++) {
		const char *at = text.data[i] == 0 ? NULL : strchr(letters, text.data[i]);

		if (at != NULL)
			*rights_out |= 1u << (at - letters);
		else if (text.data[i] == 'c' || text.data[i] == 'd')
			*rights_out |= virtual_rights[text.data[i] - 'c'].members;
		else
			return SHELF_EINVALID;
	}
	return 0;
}

const char *
shelf_rights_text(unsigned rights, char *out)
{
	char *at = out;

	for (size_t i = 0; letters[i] != '\0'; i++)
		if ((rights >> i & 1) != 0)
			*at++ = letters[i];
	for (size_t i = 0; i < sizeof(virtual_rights) / sizeof(*virtual_rights); i++)
		if ((rights & virtual_rights[i].members) != 0)
			*at++ = virtual_rights[i].letter;
	*at = '\0';
	return out;
}
