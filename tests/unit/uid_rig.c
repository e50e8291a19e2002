/* uid_rig.c - mailboxes whose uids lie where a test wants them: UIDNEXT is set in the row, past every rule */
#include <check.h>

#include "mail.h"
#include "uid_rig.h"

struct uidnext {
	uint32_t mailbox, uid;
};

static int
set_uidnext(struct kv_txn *txn, void *arg)
{
	const struct uidnext *u = arg;
	struct mail_mbox row;
	struct shelf_buf name = {0};
	int rc = mail_mbox_get(kv_txn_view(txn), u->mailbox, &row);

	if (rc != 0)
		return rc;
	shelf_buf_add_span(&name, row.name);
	row.name = shelf_buf_span(&name);
	row.uidnext = u->uid;
	rc = mail_mbox_put(txn, &row);
	shelf_buf_free(&name);
	return rc;
}

void
uid_fill_from(struct rig *r, uint32_t account, uint32_t mailbox, uint32_t uid, unsigned count)
{
	struct uidnext u = {mailbox, uid};

	ck_assert_int_eq(kv_update(r->store->kv, account, 0, set_uidnext, &u), 0);
	rig_fill(r, account, mailbox, count);
}
