/* auth_metrics.c - how logins end */
#include "auth_metrics.h"

#include <stdatomic.h>

#include "auth.h"
#include "metrics.h"

enum outcome { OK, WRONG, REFUSED, TROUBLE, OUTCOMES };
enum { DOORS = 4 };

static const char *const outcomes[OUTCOMES] = {"ok", "wrong", "refused", "trouble"};
static const char *const doors[DOORS] = {"imap", "pop3", "submission", "other"};
static _Atomic uint64_t logins[DOORS][OUTCOMES];

void
auth_metrics_login(enum shelf_service service, int rc)
{
	unsigned door = service == SHELF_SERVICE_IMAP ? 0 : service == SHELF_SERVICE_POP3 ? 1 :
	    service == SHELF_SERVICE_SUBMISSION ? 2 : 3;
	enum outcome o = rc == 0 ? OK : rc == SHELF_EAUTH ? WRONG :
	    rc == SHELF_EDISABLED || rc == SHELF_ELIMIT ? REFUSED : TROUBLE;

	atomic_fetch_add_explicit(&logins[door][o], 1, memory_order_relaxed);
}

void
auth_metrics(struct metrics_text *t)
{
	metrics_family(t, METRICS_COUNTER, "mailshelf_logins", NULL,
	    "Logins: ok, wrong name or password, refused (switched off, too many sessions), trouble of the store");
	for (unsigned door = 0; door < DOORS; door++)
		for (unsigned o = 0; o < OUTCOMES; o++)
			metrics_sample(t, atomic_load_explicit(&logins[door][o], memory_order_relaxed),
			    "service=\"%s\",result=\"%s\"", doors[door], outcomes[o]);
}
