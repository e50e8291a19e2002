/*
 * imap_alert.c - "your mailbox is nearly full" (imap_alert.h)
 *
 * ALERT and not OVERQUOTA: clients must show the first (RFC 9051 7.1); the second is for what puts a mailbox over
 * its quota (RFC 9208 4.3.1), and stands in the NO of APPEND, COPY and MOVE.
 */
#include "imap_alert.h"

bool
imap_alert_due(struct imap_session *s)
{
	struct shelf_rd *rd = NULL;
	bool due = shelf_rd_begin(s->store, s->account, &rd) == 0 && shelf_warning_alert_due(rd);

	shelf_rd_end(&rd);
	return due;
}

void
imap_alert_take(void *arg)
{
	struct imap_alert *a = arg;

	a->rc = shelf_warning_take_alert(a->store, a->account, &a->warning);
}

void
imap_alert_print(struct imap_session *s, const struct imap_alert *a)
{
	const struct shelf_quota *q = &a->warning.quota;
	char used[32], limit[32];

	if (a->rc != 0)
		return;
	imap_outf(s, "* OK [ALERT] Your mailbox is %u%% full:", a->warning.percent);
	if (q->limit_bytes != 0)
		imap_outf(s, " %s of %s", shelf_size_text(q->used_bytes, used, sizeof used),
		    shelf_size_text(q->limit_bytes, limit, sizeof limit));
	if (q->limit_messages != 0)
		imap_outf(s, "%s %llu of %llu messages", q->limit_bytes != 0 ? "," : "",
		    (unsigned long long)q->used_messages, (unsigned long long)q->limit_messages);
	imap_out_str(s, "\r\n");
}
