/*
 * warning.h - who nears his quota is warned: which level an account is at, and who has been told
 *
 * Level     0, or how many of the thresholds (policies quota_warn, quota_warn_high: percent of the limit of bytes or of
 *           messages, whichever is nearer) the account has reached. It is kept in the transaction that changes
 *           the usage or the limits, whoever does. A level once reached is left when usage is
 *           SHELF_WARNING_SLACK points below its threshold (half a threshold below 10), so that a message more or less
 *           does not tell it again and again.
 * Told      Each way remembers the highest level it has told since the account was below it: nothing is told twice
 *           for the same state, and all is told again after usage fell and rose. What is switched off counts as
 *           told. A message is stored in the transaction that remembers it: once, whatever crashes. An alert is
 *           remembered before it is shown: once at most. A hook is remembered when it has ended: once, and again
 *           when the daemon was killed in between.
 * Threads   Any. Writing blocks (store.h).
 */
#ifndef MAILSHELF_WARNING_H
#define MAILSHELF_WARNING_H

#include <mailshelf/account.h>

enum { SHELF_WARNING_LEVELS = 2, SHELF_WARNING_SLACK = 5 };

enum shelf_warning_way { SHELF_WARNING_MESSAGE, SHELF_WARNING_ALERT, SHELF_WARNING_HOOK, SHELF_WARNING_WAYS };

struct shelf_warning {
	uint32_t account;
	char name[SHELF_ACCOUNT_NAME_MAX + 1];
	unsigned level;
	unsigned threshold; /* of that level, percent */
	unsigned percent;   /* usage now; 9999 at most */
	struct shelf_quota quota;
	bool due[SHELF_WARNING_WAYS]; /* not told yet */
};

/* Used of a limit, in percent, 0 without limits: of bytes or messages, whichever is more; 9999 at most. */
unsigned shelf_quota_percent(const struct shelf_quota *q);
/* From the snapshot alone: may SHELF_WARNING_ALERT be due? Costs nothing. */
bool shelf_warning_alert_due(struct shelf_rd *rd);
/*
 * shelf_warning_each(store, fn, arg)
 *   The accounts for which a message or a hook is due. Costs what is due, not what accounts there are.
 *   fn       returns 0 to go on; anything else ends the walk and is returned. No snapshot is held while it runs.
 */
typedef int shelf_warning_fn(void *arg, const struct shelf_warning *warning);
SHELF_CHECK int shelf_warning_each(struct shelf_store *store, shelf_warning_fn *fn, void *arg);
/*
 * shelf_warning_told(store, account, way, level)
 *   Remembers it. 0: by this call; SHELF_EEXISTS: it was told before, or the account is not at that level any more;
 *   SHELF_ENOACCOUNT
 */
SHELF_CHECK int shelf_warning_told(struct shelf_store *store, uint32_t account, enum shelf_warning_way way,
    unsigned level);
/* Stores the message in INBOX, over the limits if need be, and remembers it as told: as above; SHELF_EFULL ... */
struct shelf_draft;
SHELF_CHECK int shelf_warning_deliver(struct shelf_store *store, uint32_t account, unsigned level,
    struct shelf_draft *draft);
/* Takes the alert: 0 and WARNING, then it is the caller's to show it; SHELF_EEXISTS nothing is to be shown. */
SHELF_CHECK int shelf_warning_take_alert(struct shelf_store *store, uint32_t account, struct shelf_warning *warning);

#endif
