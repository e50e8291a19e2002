/*
 * uidl.c - unique-ids that messages brought from another server
 *
 * key      0, mailbox u32, uid u32    the unique-id
 * key      1, the unique-id           mailbox u32, uid u32 (big-endian)
 *
 * What must stay true
 *   - Both rows or none. The message is there or is held; one that is held gives its unique-id up to who wants it.
 *   - None looks like one that this store makes for a mailbox of the account (shelf_uidl_make), now or later: no two
 *     messages have the same one.
 */
#include <stdio.h>

#include <mailshelf/mem.h>
#include <mailshelf/pop3.h>

#include "mail.h"

enum { OF = 0, BY = 1, MADE_LEN = 16 };

bool
shelf_uidl_valid(struct shelf_span uidl)
{
	for (size_t i = 0; i < uidl.len; i++)
		if (uidl.data[i] < 0x21 || uidl.data[i] > 0x7e)
			return false;
	return uidl.len > 0 && uidl.len <= SHELF_UIDL_MAX;
}

void
shelf_uidl_make(uint32_t uidvalidity, uint32_t uid, char *text)
{
	snprintf(text, SHELF_UIDL_MAX + 1, "%08x%08x", uidvalidity, uid);
}

static struct mail_key
key_of(uint32_t mailbox, uint32_t uid)
{
	struct mail_key key = {.bytes = {OF}, .len = 9};

	base_put_be32(key.bytes + 1, mailbox);
	base_put_be32(key.bytes + 5, uid);
	return key;
}

static struct mail_key
key_by(struct shelf_span uidl)
{
	struct mail_key key = {.bytes = {BY}, .len = 1 + uidl.len};

	memcpy(key.bytes + 1, uidl.data, uidl.len);
	return key;
}

int
mail_uidl_decode(struct shelf_span key, struct shelf_span value, struct mail_uidl *out)
{
	bool of = key.len == 9 && key.data[0] == OF, by = key.len > 1 && key.data[0] == BY && value.len == 8;
	const uint8_t *at;

	if (!of && !by)
		return SHELF_ECORRUPT;
	at = of ? key.data + 1 : value.data;
	*out = (struct mail_uidl){.mailbox = base_get_be32(at), .uid = base_get_be32(at + 4),
				  .text = of ? value : shelf_span(key.data + 1, key.len - 1), .by = by};
	return shelf_uidl_valid(out->text) && out->uid != 0 ? 0 : SHELF_ECORRUPT;
}

int
mail_uidl_get(struct kv_view *view, const struct mail_uidl *which, struct mail_uidl *out)
{
	struct mail_key key = which->by ? key_by(which->text) : key_of(which->mailbox, which->uid);
	struct shelf_span value;
	int rc = kv_get(view, KV_UIDL, mail_key_span(&key), &value);

	if (rc == 0)
		rc = mail_uidl_decode(mail_key_span(&key), value, out);
	/* The key dies here. */
	if (rc == 0 && which->by)
		out->text = which->text;
	return rc;
}

/* ---- In a change --------------------------------------------------------------------------------- */

int
mail_uidl_take(struct kv_txn *txn, uint32_t mailbox, uint32_t uid, char *text)
{
	struct mail_key key = key_of(mailbox, uid), by;
	struct mail_uidl u;
	int rc = mail_uidl_get(kv_txn_view(txn), &(struct mail_uidl){.mailbox = mailbox, .uid = uid}, &u);

	text[0] = '\0';
	if (rc != 0)
		return rc == SHELF_EMISSING ? 0 : rc;
	memcpy(text, u.text.data, u.text.len);
	text[u.text.len] = '\0';
	by = key_by(shelf_span_str(text));
	if ((rc = kv_del(txn, KV_UIDL, mail_key_span(&key))) == 0)
		rc = kv_del(txn, KV_UIDL, mail_key_span(&by));
	return rc == SHELF_EMISSING ? SHELF_ECORRUPT : rc;
}

int
mail_uidl_give(struct kv_txn *txn, uint32_t mailbox, uint32_t uid, const char *text)
{
	struct mail_key key = key_of(mailbox, uid), by = key_by(shelf_span_str(text));
	uint8_t at[8];
	int rc;

	if (text[0] == '\0')
		return 0;
	base_put_be32(at, mailbox);
	base_put_be32(at + 4, uid);
	rc = kv_put(txn, KV_UIDL, mail_key_span(&key), shelf_span_str(text));
	return rc != 0 ? rc : kv_put(txn, KV_UIDL, mail_key_span(&by), shelf_span(at, sizeof(at)));
}

int
mail_uidl_drop(struct kv_txn *txn, uint32_t mailbox, uint32_t uid)
{
	char text[SHELF_UIDL_MAX + 1];

	return mail_uidl_take(txn, mailbox, uid, text);
}

int
mail_uidl_clear(struct kv_txn *txn, uint32_t mailbox, unsigned *left)
{
	struct mail_key prefix = key_of(mailbox, 0);
	struct shelf_span key, value;
	struct kv_scan scan;
	uint32_t uid;
	int rc;

	prefix.len = mailbox == 0 ? 1 : 5;
	for (;;) {
		rc = kv_scan_open(kv_txn_view(txn), KV_UIDL, mail_key_span(&prefix), shelf_span(NULL, 0), &scan);
		if (rc != 0)
			return rc;
		rc = kv_scan_next(&scan, &key, &value);
		uid = rc == 1 && key.len == 9 ? base_get_be32(key.data + 5) : 0;
		mailbox = uid != 0 ? base_get_be32(key.data + 1) : mailbox;
		kv_scan_close(&scan);
		if (rc != 1)
			return rc;
		if (uid == 0)
			return SHELF_ECORRUPT;
		if (*left < 2)
			return 1;
		*left -= 2;
		if ((rc = mail_uidl_drop(txn, mailbox, uid)) != 0)
			return rc;
	}
}

/* ---- Setting ------------------------------------------------------------------------------------- */

/* Eight digits as shelf_uidl_make writes them. */
static bool
read_hex(struct shelf_span text, uint32_t *out)
{
	*out = 0;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];

		if ((c < '0' || c > '9') && (c < 'a' || c > 'f'))
			return false;
		*out = *out << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	return true;
}

/* Is it one that this store makes for a message of the account, or may some day? 1 yes. Walks the mailboxes, and only
 * for what looks like it. */
static int
is_ours(struct mail_change *c, struct shelf_span uidl)
{
	struct shelf_span key, value;
	struct mail_mbox m;
	struct kv_scan scan;
	uint32_t uidvalidity, uid;
	int rc;

	if (uidl.len != MADE_LEN || !read_hex(shelf_span(uidl.data, 8), &uidvalidity) ||
	    !read_hex(shelf_span(uidl.data + 8, 8), &uid))
		return 0;
	if (uidvalidity > c->acct.last_uidvalidity)
		return 1;
	rc = kv_scan_open(kv_txn_view(c->txn), KV_MBOX, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);
	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1)
		if ((rc = mail_mbox_decode(value, &m)) != 0 || (m.uidvalidity == uidvalidity && (rc = 1) == 1))
			break;
	kv_scan_close(&scan);
	return rc;
}

/* Somebody has it: may it be taken from him? SHELF_EEXISTS. */
static int
take_over(struct mail_change *c, const struct mail_uidl *has)
{
	struct mail_mbox m;
	struct mail_msg msg;
	int rc = mail_mbox_get(kv_txn_view(c->txn), has->mailbox, &m);

	if (rc == 0 && (m.flags & MAIL_MBOX_DELETED) == 0)
		rc = mail_msg_get(kv_txn_view(c->txn), has->mailbox, has->uid, &msg) == 0 ? SHELF_EEXISTS : 0;
	else if (rc == SHELF_ENOMAILBOX)
		rc = 0;
	return rc != 0 ? rc : mail_uidl_drop(c->txn, has->mailbox, has->uid);
}

int
mail_uidl_set(struct mail_change *c, uint32_t mailbox, uint32_t uid, struct shelf_span uidl)
{
	struct mail_uidl has;
	char text[SHELF_UIDL_MAX + 1];
	int rc;

	if (!shelf_uidl_valid(uidl))
		return SHELF_ESYNTAX;
	if ((rc = is_ours(c, uidl)) != 0)
		return rc == 1 ? SHELF_EEXISTS : rc;
	rc = mail_uidl_get(kv_txn_view(c->txn), &(struct mail_uidl){.text = uidl, .by = true}, &has);
	if (rc == 0 && has.mailbox == mailbox && has.uid == uid)
		return 0;
	if (rc == 0)
		rc = take_over(c, &has);
	if (rc != 0 && rc != SHELF_EMISSING)
		return rc;
	if ((rc = mail_uidl_drop(c->txn, mailbox, uid)) != 0)
		return rc;
	memcpy(text, uidl.data, uidl.len);
	text[uidl.len] = '\0';
	return mail_uidl_give(c->txn, mailbox, uid, text);
}

struct setting_uidl {
	struct shelf_store *store;
	uint32_t mailbox, uid;
	struct shelf_span uidl;
};

static int
set(struct kv_txn *txn, void *arg)
{
	const struct setting_uidl *s = arg;
	struct mail_change c;
	struct mail_mbox m;
	struct mail_msg msg;
	int rc;

	if ((rc = mail_change_begin(&c, s->store, txn)) != 0 ||
	    (rc = mail_mbox_get(kv_txn_view(txn), s->mailbox, &m)) != 0)
		return rc;
	if ((m.flags & MAIL_MBOX_DELETED) != 0)
		return SHELF_ENOMAILBOX;
	if ((rc = mail_msg_get(kv_txn_view(txn), s->mailbox, s->uid, &msg)) != 0 ||
	    (rc = mail_uidl_set(&c, s->mailbox, s->uid, s->uidl)) != 0)
		return rc;
	return mail_change_end(&c);
}

int
shelf_uidl_set(struct shelf_store *store, uint32_t account, uint32_t mailbox, uint32_t uid, struct shelf_span uidl)
{
	struct setting_uidl s = {store, mailbox, uid, uidl};
	int rc = mail_disk_admit(store, account, SHELF_DISK_READONLY);

	return rc != 0 ? rc : kv_update(store->kv, account, KV_ADDS | KV_QUIET, set, &s);
}

/* ---- Reading ------------------------------------------------------------------------------------- */

int
shelf_uidl_next(struct shelf_rd *rd, uint32_t mailbox, uint32_t from, uint32_t *uid_out, char *text)
{
	struct mail_key prefix = key_of(mailbox, 0), at = key_of(mailbox, from);
	struct shelf_span key, value;
	struct mail_uidl u;
	struct kv_scan scan;
	int rc;

	prefix.len = 5;
	rc = kv_scan_open(rd->view, KV_UIDL, mail_key_span(&prefix), mail_key_span(&at), &scan);
	if (rc != 0)
		return rc;
	if ((rc = kv_scan_next(&scan, &key, &value)) == 1) {
		int bad = mail_uidl_decode(key, value, &u);

		if (bad == 0) {
			*uid_out = u.uid;
			memcpy(text, u.text.data, u.text.len);
			text[u.text.len] = '\0';
		}
		rc = bad != 0 ? bad : 1;
	}
	kv_scan_close(&scan);
	return rc;
}
