/*
 * full.c - since when a box has been full: the first refusal since room was made
 *
 * A refusal changes nothing of the mail, so it is noted by an update of its own, which nobody waits for; only the first
 * one is. Every change that leaves less than there was, or another limit, ends it (mail_change_end).
 */
#include <stdlib.h>

#include <mailshelf/account.h>
#include <mailshelf/mem.h>

#include "mail.h"

void
mail_full_change(struct mail_change *c)
{
	const struct shelf_quota *was = &c->was, *is = &c->acct.quota;

	if (is->used_bytes < was->used_bytes || is->used_messages < was->used_messages ||
	    is->limit_bytes != was->limit_bytes || is->limit_messages != was->limit_messages)
		c->acct.full_since_s = 0;
}

int
shelf_quota_full_since(struct shelf_store *store, uint32_t id, int64_t *since_s)
{
	struct kv_view *view = NULL;
	struct mail_acct acct;
	int rc = kv_view_begin(store->kv, id, &view);

	*since_s = 0;
	if (rc != 0)
		return rc;
	if ((rc = mail_acct_get(view, &acct)) == 0)
		*since_s = (int64_t)acct.full_since_s;
	kv_view_end(&view);
	return rc;
}

static int
note(struct kv_txn *txn, void *store)
{
	struct mail_change c;
	int rc = mail_change_begin(&c, store, txn);

	if (rc != 0)
		return rc;
	if (c.acct.full_since_s == 0) {
		c.acct.full_since_s = (uint64_t)c.now_s;
		mail_change_modseq(&c);
	}
	return mail_change_end(&c);
}

static void
noted(void *arg, int rc)
{
	/* What could not be noted is noted at the next refusal. */
}

void
shelf_quota_refused(struct shelf_store *store, uint32_t id)
{
	kv_submit(store->kv, id, KV_QUIET, note, store, noted, NULL);
}
