/*
 * cmd_quota.c - GETQUOTA, GETQUOTAROOT, SETQUOTA: a root for all mailboxes of an account, one for its domain
 *
 * A user's own root is ""; that of any account, for who shares its mailboxes and for administrators, is
 * "#user/NAME". Resources without a limit are not listed. A list of resources is never empty (7, quota-list),
 * so an account without any limit has no root until one is set. A domain with a pool has the root "#domain/NAME" for
 * its accounts and for administrators; it is set by the tool.
 * Limits are set by administrators (SHELF_SERVICE_ADMIN): by the tool, or here.
 * Sources   RFC 9208 4.1, 4.2, 5.1 (STORAGE in units of 1,024 octets), 5.2, 5.3, 6 (rights), 7.
 */
#include "imap_address.h"
#include "imap_command.h"

static const struct shelf_span user_root = {(const uint8_t *)"#user/", 6};
static const struct shelf_span domain_root = {(const uint8_t *)"#domain/", 8};

/* The order of the table is that of limits[]. */
enum { STORAGE, MESSAGE, MAILBOX, RESOURCES };
static const char *const resources[RESOURCES] = {"STORAGE", "MESSAGE", "MAILBOX"};

static int
get_quota(struct imap_session *s, uint32_t account, struct shelf_quota *q)
{
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(s->store, account, &rd);

	if (rc == 0)
		rc = shelf_quota_get(rd, q);
	shelf_rd_end(&rd);
	return rc;
}

static bool
has_root(const struct shelf_quota *q)
{
	return q->limit_bytes != 0 || q->limit_messages != 0 || q->limit_mailboxes != 0;
}

/* The pool of DOMAIN, as a quota. SHELF_EMISSING: it has none. */
static int
get_pool(struct imap_session *s, struct shelf_span domain, struct shelf_quota *q)
{
	struct shelf_pool pool;
	int rc = shelf_pool_get(s->store, domain, &pool);

	*q = (struct shelf_quota){.limit_bytes = pool.limit_bytes, .limit_messages = pool.limit_messages,
	    .used_bytes = pool.used_bytes, .used_messages = pool.used_messages};
	return rc == SHELF_ENAME ? SHELF_EMISSING : rc;
}

/* What stands behind the "@"; empty: nothing. */
static struct shelf_span
domain_of(const char *account)
{
	const char *at = strrchr(account, '@');

	return shelf_span_str(at == NULL ? "" : at + 1);
}

/* Is it the root of a domain that this user may see? */
static bool
is_domain_root(struct imap_session *s, struct shelf_span root, struct shelf_span *domain)
{
	if (root.len <= domain_root.len || !shelf_span_eq(shelf_span(root.data, domain_root.len), domain_root))
		return false;
	*domain = shelf_span(root.data + domain_root.len, root.len - domain_root.len);
	return imap_is_admin(s) || shelf_span_ieq(*domain, domain_of(s->account_name));
}

/* The account a root is of. SHELF_EMISSING: there is none for this user. */
static int
find_root(struct imap_session *s, struct shelf_span root, uint32_t *account_out)
{
	struct shelf_account account;
	int rc;

	*account_out = s->account;
	if (root.len == 0)
		return 0;
	if (root.len <= user_root.len || !shelf_span_eq(shelf_span(root.data, user_root.len), user_root))
		return SHELF_EMISSING;
	rc = shelf_account_find(s->store, shelf_span(root.data + user_root.len, root.len - user_root.len),
	    &account);
	if (rc == SHELF_ENOACCOUNT)
		return SHELF_EMISSING;
	if (rc == 0 && account.id != s->account && !imap_is_admin(s))
		return SHELF_EMISSING;
	*account_out = account.id;
	return rc;
}

static void
print_resource(struct imap_session *s, const char **blank, unsigned resource, uint64_t used,
    uint64_t limit)
{
	if (limit == 0)
		return;
	if (resource == STORAGE) {
		used = used / 1024 + (used % 1024 != 0);
		limit /= 1024;
	}
	imap_outf(s, "%s%s %llu %llu", *blank, resources[resource], (unsigned long long)used,
	    (unsigned long long)limit);
	*blank = " ";
}

static void
print_quota(struct imap_session *s, struct shelf_span root, const struct shelf_quota *q)
{
	const char *blank = "";

	imap_out_str(s, "* QUOTA ");
	imap_out_astring(s, root);
	imap_out_str(s, " (");
	print_resource(s, &blank, STORAGE, q->used_bytes, q->limit_bytes);
	print_resource(s, &blank, MESSAGE, q->used_messages, q->limit_messages);
	print_resource(s, &blank, MAILBOX, q->used_mailboxes, q->limit_mailboxes);
	imap_out_str(s, ")\r\n");
}

enum imap_step
imap_cmd_getquota(struct imap_cmd *c)
{
	struct shelf_span root = {0}, domain = {0};
	struct shelf_quota q = {0};
	uint32_t account = 0;
	int rc;

	if (!imap_parse_sp(&c->p) || !imap_parse_astring(&c->p, &root) || !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	if (is_domain_root(c->s, root, &domain))
		rc = get_pool(c->s, domain, &q);
	else if ((rc = find_root(c->s, root, &account)) == 0)
		rc = get_quota(c->s, account, &q);
	if (rc == SHELF_EMISSING || (rc == 0 && !has_root(&q)))
		return imap_no(c, "NONEXISTENT", "There is no such quota root");
	if (rc != 0)
		return imap_err(c, rc);
	print_quota(c->s, root, &q);
	return imap_completed(c);
}

/* Of a mailbox that is shared: the owner's limits, for who may read it (6). */
static int
other_root(struct imap_cmd *c, struct shelf_span name, struct imap_address *at, struct shelf_span *root,
    struct shelf_span *domain)
{
	struct shelf_account owner;
	int rc = imap_address_find(c->s, name, SHELF_RIGHT_READ, at);

	if (rc == 0)
		rc = shelf_account_get(c->s->store, at->place.account, &owner);
	if (rc == 0) {
		*root = shelf_span_str(shelf_arena_printf(&c->arena, "#user/%s", owner.name));
		*domain = domain_of((const char *)root->data);
	}
	return rc;
}

enum imap_step
imap_cmd_getquotaroot(struct imap_cmd *c)
{
	struct shelf_span name = {0}, root = shelf_span_str(""), domain = domain_of(c->s->account_name), pool_root;
	struct imap_address at = {0};
	struct shelf_quota q = {0}, pool = {0};
	int rc;

	if (!imap_parse_sp(&c->p) || !imap_parse_mailbox(&c->p, &name) || !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	rc = imap_address_place(c->s, name, &at.place); /* it need not exist (4.1.2) */
	if (rc == 0 && at.place.account != c->s->account)
		rc = other_root(c, name, &at, &root, &domain);
	if (rc == 0)
		rc = get_quota(c->s, at.place.account, &q);
	if (rc == 0 && domain.len > 0 && (rc = get_pool(c->s, domain, &pool)) == SHELF_EMISSING)
		rc = 0;
	if (rc != 0)
		return imap_err(c, rc);
	pool_root = shelf_span_str(shelf_arena_printf(&c->arena, "#domain/%.*s", (int)domain.len,
	    (const char *)domain.data));
	imap_out_str(c->s, "* QUOTAROOT ");
	imap_out_mailbox(c->s, name);
	if (has_root(&q)) {
		imap_out_str(c->s, " ");
		imap_out_astring(c->s, root);
	}
	if (has_root(&pool)) {
		imap_out_str(c->s, " ");
		imap_out_astring(c->s, pool_root);
	}
	imap_out_str(c->s, "\r\n");
	if (has_root(&q))
		print_quota(c->s, root, &q);
	if (has_root(&pool))
		print_quota(c->s, pool_root, &pool);
	return imap_completed(c);
}

/* ---- SETQUOTA -------------------------------------------------------------------------------- */

struct setting {
	struct shelf_store *store;
	struct shelf_span root;
	uint32_t account;
	uint64_t limits[RESOURCES];
	bool given[RESOURCES], unknown;
	int rc;
};

static void
work(void *arg)
{
	struct setting *w = arg;

	/* What is not listed has no limit any more, whatever policies say. */
	for (unsigned i = 0; i < RESOURCES; i++)
		if (!w->given[i])
			w->limits[i] = SHELF_QUOTA_NONE;
	w->rc = shelf_quota_set(w->store, w->account, w->limits[STORAGE], w->limits[MESSAGE],
	    w->limits[MAILBOX]);
}

static enum imap_step
worked(struct imap_cmd *c)
{
	struct setting *w = c->data;
	struct shelf_quota q = {0};
	int rc = w->rc != 0 ? w->rc : get_quota(c->s, w->account, &q);

	if (rc != 0)
		return imap_err(c, rc);
	if (has_root(&q))
		print_quota(c->s, w->root, &q);
	return imap_completed(c);
}

/* "(STORAGE 510 MAILBOX 20)"; what is not listed has no limit any more (4.1.3). */
static bool
parse_limits(struct imap_parser *p, struct setting *w)
{
	struct shelf_span name = {0};
	uint64_t limit = 0;
	unsigned i = 0;

	if (!imap_parse_open(p))
		return false;
	while (!imap_at(p, ')')) {
		if (!imap_parse_atom(p, &name) || !imap_parse_sp(p) || !imap_parse_number64(p, &limit))
			return false;
		for (i = 0; i < RESOURCES && !shelf_span_is(name, resources[i]); i++)
			continue;
		if (i == RESOURCES) {
			w->unknown = true;
		} else if (w->given[i]) {
			return imap_parse_fail(p, "a resource is given twice");
		} else {
			w->given[i] = true;
			w->limits[i] = limit;
		}
		if (!imap_try(p, ' '))
			break;
	}
	return imap_parse_close(p);
}

/* To the store's units, where 0 is no limit. False: that limit cannot be. */
static bool
convert(struct setting *w)
{
	if (w->given[STORAGE]) {
		if (w->limits[STORAGE] > INT64_MAX / 1024)
			return false;
		/* "Any usage is prohibited" (3.1.2): not even the shortest message fits. */
		w->limits[STORAGE] = w->limits[STORAGE] == 0 ? 1 : w->limits[STORAGE] * 1024;
	}
	return !(w->given[MESSAGE] && w->limits[MESSAGE] == 0) &&
	    !(w->given[MAILBOX] && w->limits[MAILBOX] == 0);
}

enum imap_step
imap_cmd_setquota(struct imap_cmd *c)
{
	struct setting *w = SHELF_ARENA_NEW(&c->arena, struct setting);
	int rc;

	w->store = c->s->store;
	if (!imap_parse_sp(&c->p) || !imap_parse_astring(&c->p, &w->root) || !imap_parse_sp(&c->p) ||
	    !parse_limits(&c->p, w) || !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	if (!imap_is_admin(c->s))
		return imap_no(c, "NOPERM", "Quotas are set by administrators");
	rc = find_root(c->s, w->root, &w->account);
	if (rc == SHELF_EMISSING)
		return imap_no(c, "NONEXISTENT", "There is no such quota root");
	if (rc != 0)
		return imap_err(c, rc);
	if (w->unknown)
		return imap_no(c, "CANNOT", "Only STORAGE, MESSAGE and MAILBOX can be limited");
	if (!convert(w))
		return imap_no(c, "CANNOT", "This limit cannot be set");
	c->data = w;
	c->run = worked;
	return imap_work(c, work, w);
}
