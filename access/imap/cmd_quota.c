/*
 * cmd_quota.c - GETQUOTA, GETQUOTAROOT, SETQUOTA: one root "" for all mailboxes of an account
 *
 * Limits are set with the admin tool; a client is told so. Resources without a limit are not
 * listed. A list of resources is never empty, so an account without any limit has no root.
 * Sources   RFC 9208 4.1, 4.2, 5.1 (STORAGE in units of 1,024 octets), 5.2, 7 (quota-list).
 */
#include "imap.h"

static int
get_quota(struct imap_session *s, struct shelf_quota *q)
{
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(s->store, s->account, &rd);

	if (rc == 0)
		rc = shelf_quota_get(rd, q);
	shelf_rd_end(&rd);
	return rc;
}

static bool
has_root(const struct shelf_quota *q)
{
	return q->limit_bytes != 0 || q->limit_messages != 0;
}

static void
print_quota(struct imap_session *s, const struct shelf_quota *q)
{
	const char *blank = "";

	imap_out_str(s, "* QUOTA \"\" (");
	if (q->limit_bytes != 0) {
		imap_outf(s, "STORAGE %llu %llu", (unsigned long long)(q->used_bytes + 1023) / 1024,
		    (unsigned long long)q->limit_bytes / 1024);
		blank = " ";
	}
	if (q->limit_messages != 0)
		imap_outf(s, "%sMESSAGE %llu %llu", blank, (unsigned long long)q->used_messages,
		    (unsigned long long)q->limit_messages);
	imap_out_str(s, ")\r\n");
}

enum imap_step
imap_cmd_getquota(struct imap_cmd *c)
{
	struct shelf_span root = {0};
	struct shelf_quota q = {0};
	int rc;

	if (!imap_parse_sp(&c->p) || !imap_parse_astring(&c->p, &root) || !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	if ((rc = get_quota(c->s, &q)) != 0)
		return imap_err(c, rc);
	if (root.len != 0 || !has_root(&q))
		return imap_no(c, "NONEXISTENT", "There is no such quota root");
	print_quota(c->s, &q);
	return imap_completed(c);
}

enum imap_step
imap_cmd_getquotaroot(struct imap_cmd *c)
{
	struct shelf_span name = {0};
	struct shelf_quota q = {0};
	int rc;

	if (!imap_parse_sp(&c->p) || !imap_parse_mailbox(&c->p, &name) || !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	if ((rc = get_quota(c->s, &q)) != 0)
		return imap_err(c, rc);
	imap_out_str(c->s, "* QUOTAROOT ");
	imap_out_mailbox(c->s, name);
	imap_out_str(c->s, has_root(&q) ? " \"\"\r\n" : "\r\n");
	if (has_root(&q))
		print_quota(c->s, &q);
	return imap_completed(c);
}

enum imap_step
imap_cmd_setquota(struct imap_cmd *c)
{
	struct shelf_span root = {0}, name = {0};
	uint64_t limit = 0;

	if (!imap_parse_sp(&c->p) || !imap_parse_astring(&c->p, &root) || !imap_parse_sp(&c->p) ||
	    !imap_parse_open(&c->p))
		return imap_parse_failed(c);
	while (!imap_at(&c->p, ')')) {
		if (!imap_parse_atom(&c->p, &name) || !imap_parse_sp(&c->p) ||
		    !imap_parse_number64(&c->p, &limit))
			return imap_parse_failed(c);
		if (!imap_try(&c->p, ' '))
			break;
	}
	if (!imap_parse_close(&c->p) || !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	return imap_no(c, "NOPERM", "Quotas are set by the administrator");
}
