/*
 * check_repair.c - counters of an account that are put right
 *
 * The door is closed, the account proved once more (what has not changed is not read again), and the update that
 * kept it closed writes what was counted. Updates that were queued before the door are in the same transaction and
 * in no snapshot: where one of them has changed the account, its row ACCT is another, and all begins again.
 */
#include <stdio.h>

#include "mail_check.h"

enum { TRIES = 16 };

struct counter {
	const char *name;
	uint64_t was, is;
};

static void
tell(struct check *k, uint32_t mailbox, const struct counter *list, size_t n)
{
	char text[128], of[32] = "";

	if (mailbox != 0)
		snprintf(of, sizeof(of), "mailbox %u ", mailbox);
	for (size_t i = 0; i < n; i++) {
		if (list[i].was == list[i].is)
			continue;
		snprintf(text, sizeof(text), "%s%s %llu -> %llu", of, list[i].name, (unsigned long long)list[i].was,
			 (unsigned long long)list[i].is);
		k->repaired(k->arg, k->account, text);
	}
}

static void
tell_account(struct check *k, const struct mail_acct *was, const struct mail_acct *is)
{
	const struct counter list[] = {
	    {"used_bytes", was->quota.used_bytes, is->quota.used_bytes},
	    {"used_messages", was->quota.used_messages, is->quota.used_messages},
	    {"held_bytes", was->quota.held_bytes, is->quota.held_bytes},
	    {"held_messages", was->quota.held_messages, is->quota.held_messages},
	    {"stored_bytes", was->used.stored, is->used.stored},
	    {"shared_bytes", was->used.shared, is->used.shared},
	    {"held_stored_bytes", was->held.stored, is->held.stored},
	    {"held_shared_bytes", was->held.shared, is->held.shared},
	    {"noted_messages", was->noted, is->noted},
	    {"mailboxes", was->mailboxes, is->mailboxes},
	    {"loose_subscriptions", was->loose, is->loose},
	};

	tell(k, 0, list, sizeof(list) / sizeof(*list));
}

static void
tell_mailbox(struct check *k, const struct mail_mbox *was, const struct check_sums *is)
{
	const struct counter list[] = {
	    {"exists", was->exists, is->exists},
	    {"unseen", was->unseen, is->unseen},
	    {"deleted", was->deleted, is->deleted},
	    {"bytes", was->bytes, is->bytes},
	    {"deleted_bytes", was->deleted_bytes, is->deleted_bytes},
	    {"stored_bytes", was->sums.stored, is->noted_sums.stored},
	    {"shared_bytes", was->sums.shared, is->noted_sums.shared},
	};

	tell(k, was->id, list, sizeof(list) / sizeof(*list));
}

static int
write_mailbox(struct kv_txn *txn, const struct check_wrong *wrong)
{
	const struct check_sums *s = &wrong->counted;
	struct mail_mbox m;
	int rc = mail_mbox_get(kv_txn_view(txn), wrong->kept.id, &m);

	if (rc != 0)
		return rc;
	m.exists = s->exists;
	m.unseen = s->unseen;
	m.deleted = s->deleted;
	m.bytes = s->bytes;
	m.deleted_bytes = s->deleted_bytes;
	m.sums = s->noted_sums;
	return mail_mbox_put(txn, &m);
}

/* The account's row with its totals, then its mailboxes'. */
static int
write_counted(struct kv_txn *txn, void *arg)
{
	const struct check_walk *w = arg;
	struct shelf_totals was, is;
	struct mail_acct a;
	int rc;

	/* Who has moved away has left no ACCT here. */
	kv_txn_set_account(txn, w->k->account);
	if ((rc = mail_acct_get(kv_txn_view(txn), &a)) != 0)
		return rc;
	if (memcmp(&a, &w->acct, sizeof(a)) != 0)
		return SHELF_EBUSY;
	mail_totals_of(&a, &was);
	a.quota = w->counted.quota;
	a.used = w->counted.used;
	a.held = w->counted.held;
	a.noted = w->counted.noted;
	a.mailboxes = w->counted.mailboxes;
	a.loose = w->counted.loose;
	mail_totals_of(&a, &is);
	if ((rc = mail_totals_change(txn, a.domain, &was, &is)) == 0)
		rc = mail_acct_put(txn, &a);
	for (size_t i = 0; i < w->wrongs && rc == 0; i++)
		rc = write_mailbox(txn, &w->wrong[i]);
	return rc;
}

int
check_repair_account(struct check_walk *w, uint32_t shard, uint64_t findings, uint64_t counters)
{
	struct check *k = w->k;
	int rc = SHELF_EBUSY;

	for (unsigned tries = 0; tries < TRIES && rc == SHELF_EBUSY; tries++) {
		if (w->going || k->counters == counters || k->findings - findings != k->counters - counters)
			return 0; /* nothing to do, or it cannot be known what is right */
		if (!k->door.used && (rc = check_door_close(k, shard)) != 0)
			return rc;
		if ((rc = check_prove(w, shard)) != 0)
			continue;
		if (k->findings - findings != k->counters - counters)
			return 0;
		if ((rc = check_door_write(k, write_counted, w)) != 0)
			continue;
		k->mended += k->findings - findings;
		tell_account(k, &w->acct, &w->counted);
		for (size_t i = 0; i < w->wrongs; i++)
			tell_mailbox(k, &w->wrong[i].kept, &w->wrong[i].counted);
	}
	return rc == SHELF_EBUSY ? 0 : rc;
}
