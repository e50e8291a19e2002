/*
 * imap_alert.h - "your mailbox is nearly full": the alert of mailshelf/warning.h
 *
 * Told behind a login and when the selected mailbox is looked at anew, by one session and once for a state.
 */
#ifndef ACCESS_IMAP_ALERT_H
#define ACCESS_IMAP_ALERT_H

#include "imap.h"

struct imap_alert {
	struct shelf_store *store;
	uint32_t account;
	int rc;
	struct shelf_warning warning;
};

/* May there be one? Reads the store. */
bool imap_alert_due(struct imap_session *s);
/* On a worker: takes it, so that nobody else tells it. */
void imap_alert_take(void *alert);
/* "* OK [ALERT] ...", if it was taken. */
void imap_alert_print(struct imap_session *s, const struct imap_alert *alert);

#endif
