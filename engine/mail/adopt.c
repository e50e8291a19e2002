/*
 * adopt.c - a mailbox goes on with the UIDVALIDITY and uids that it had on another server
 *
 * What must stay true: no UIDVALIDITY of an account ever stands for two mailboxes (RFC 9051 2.3.1.1).
 * One that is greater than all it has given is new, and becomes the greatest. A smaller one is new when it is older
 * than the account, which gives the time or greater numbers, and was not adopted before: a mark of imports says so, and
 * stays when the mailbox goes.
 *
 *   IMPORT   SHA-256 of "uidvalidity" and its four bytes, cut to 16   mailbox 4 | uid 0
 */
#include <openssl/sha.h>

#include <mailshelf/import.h>

#include "mail.h"

enum {
	OLDER_BY_S = 3600,			/* than the account: clocks are set */
	UIDVALIDITY_MAX = UINT32_MAX - (1 << 24), /* those to come need room */
};

struct adopting {
	struct shelf_store *store;
	uint32_t mailbox, uidvalidity;
	int64_t created_s;
};

static void
make_mark(uint32_t uidvalidity, uint8_t out[SHA256_DIGEST_LENGTH])
{
	uint8_t text[15] = "uidvalidity";

	base_put_be32(text + 11, uidvalidity);
	SHA256(text, sizeof(text), out);
}

/* SHELF_EEXISTS: the account has given it, or may have. */
static int
is_new(struct mail_change *c, const struct adopting *a)
{
	uint8_t mark[SHA256_DIGEST_LENGTH], value[8] = {0};
	struct shelf_span key = shelf_span(mark, 16), found;
	int rc;

	if (a->uidvalidity > c->acct.last_uidvalidity) {
		c->acct.last_uidvalidity = a->uidvalidity;
		return 0;
	}
	if ((int64_t)a->uidvalidity + OLDER_BY_S > a->created_s)
		return SHELF_EEXISTS;
	make_mark(a->uidvalidity, mark);
	if ((rc = kv_get(kv_txn_view(c->txn), KV_IMPORT, key, &found)) != SHELF_EMISSING)
		return rc == 0 ? SHELF_EEXISTS : rc;
	base_put_be32(value, a->mailbox);
	return kv_put(c->txn, KV_IMPORT, key, shelf_span(value, sizeof(value)));
}

static int
adopt(struct kv_txn *txn, void *arg)
{
	const struct adopting *a = arg;
	struct mail_change c;
	struct mail_open o = {0};
	int rc;

	if ((rc = mail_change_begin(&c, a->store, txn)) != 0)
		return rc;
	if ((rc = mail_open(&c, a->mailbox, &o)) == 0 && o.row.uidvalidity != a->uidvalidity) {
		if (o.row.uidnext != 1)
			rc = SHELF_EBUSY;
		else if ((rc = is_new(&c, a)) == 0) {
			o.row.uidvalidity = a->uidvalidity;
			o.row.highestmodseq = mail_change_modseq(&c);
			o.dirty = true;
			rc = mail_open_flush(&c, &o);
		}
		if (rc == 0)
			rc = mail_change_end(&c);
	}
	mail_close(&o);
	return rc;
}

int
shelf_mailbox_adopt(struct shelf_store *store, uint32_t account, uint32_t mailbox, uint32_t uidvalidity)
{
	struct adopting a = {.store = store, .mailbox = mailbox, .uidvalidity = uidvalidity};
	struct shelf_account is;
	int rc;

	if (uidvalidity == 0 || uidvalidity > UIDVALIDITY_MAX)
		return SHELF_EINVALID;
	if ((rc = shelf_account_get(store, account, &is)) != 0)
		return rc;
	a.created_s = is.created_s;
	return kv_update(store->kv, account, KV_ADDS, adopt, &a);
}
