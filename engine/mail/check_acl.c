/*
 * check_acl.c - access control lists of an account, and the index of whom it shares with (18, 19)
 *
 * An entry and its row of the index lie in two environments, whose snapshots are of two moments. What is missed in
 * the second is looked for again, entry first: an entry that was there each time and whose row never was is a finding.
 */
#include "acl.h"
#include "mail_check.h"

enum { TRIES = 3 };

struct acl_walk {
	struct check *k;
	struct kv_view *view;
	uint32_t mailbox;
	unsigned rows;
};

static int
check_row(struct acl_walk *w, struct shelf_span key, struct shelf_span value)
{
	struct mail_key want;
	struct acl_row row;
	struct mail_mbox m;
	int rc = acl_row_decode(key, value, &row);

	if (check_is_damage(rc)) {
		check_found(w->k, 18, "an entry of an access control list cannot be read");
		return 0;
	}
	want = acl_key(row.mailbox, row.negative, row.who);
	if (!shelf_span_eq(mail_key_span(&want), key))
		check_found(w->k, 18, "an entry of mailbox %u is under another name than its own", row.mailbox);
	if (row.mailbox == w->mailbox && ++w->rows == SHELF_ACL_MAX + 1)
		check_found(w->k, 18, "mailbox %u has more than %u entries", row.mailbox, SHELF_ACL_MAX);
	if (row.mailbox == w->mailbox)
		return 0;
	w->mailbox = row.mailbox;
	w->rows = 1;
	rc = mail_mbox_get(w->view, row.mailbox, &m);
	if (rc == SHELF_ENOMAILBOX)
		check_found(w->k, 18, "an entry is of mailbox %u, which is not there", row.mailbox);
	return rc == SHELF_ENOMAILBOX || check_is_damage(rc) ? 0 : rc;
}

static int
check_rows(struct check *k, uint32_t shard)
{
	struct acl_walk w = {.k = k};
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_view_begin_shard(k->store->kv, shard, &w.view);

	if (rc != 0)
		return rc;
	kv_view_account(w.view, k->account);
	rc = kv_scan_open(w.view, KV_ACL, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);
	while (rc == 0 && (rc = kv_scan_next(&scan, &key, &value)) == 1)
		rc = check_row(&w, key, value);
	kv_scan_close(&scan);
	kv_view_end(&w.view);
	return rc;
}

/* Whom it gives rights. Rows of an account that lives elsewhere by now are old: entries go there, and the index with
 * them. */
static int
read_given(struct check *k, uint32_t shard, struct shelf_buf *names)
{
	struct kv_view *view = NULL;
	struct shelf_span acct;
	int rc = kv_view_begin_shard(k->store->kv, shard, &view);

	if (rc != 0)
		return rc;
	kv_view_account(view, k->account);
	rc = kv_get(view, KV_ACCT, shelf_span(NULL, 0), &acct);
	if (rc == 0)
		rc = shared_given(view, names);
	kv_view_end(&view);
	return rc == SHELF_EMISSING ? 0 : rc;
}

/* A name the account gives rights that the index does not know, copied to WHO (a text): 1 found. */
static int
find_missing(struct check *k, uint32_t shard, struct shelf_buf *who)
{
	struct shelf_buf names = {0};
	struct kv_view *view = NULL;
	struct mail_user u;
	struct base_reader r;
	bool has = true;
	int rc = read_given(k, shard, &names);

	if (rc == 0)
		rc = kv_view_begin(k->store->kv, KV_CATALOG, &view);
	/* Under removal: the index has been cleared. Its own damage is told elsewhere (10). */
	if (rc == 0 && mail_user_get(view, k->account, &u) == SHELF_ENOACCOUNT)
		shelf_buf_clear(&names);
	for (r = base_reader(shelf_buf_span(&names)); rc == 0 && has && base_left(&r) > 0;) {
		struct shelf_span name = base_get_text(&r);

		rc = shared_has(view, name, k->account, &has);
		if (rc == 0 && !has) {
			shelf_buf_clear(who);
			shelf_buf_add_span(who, name);
		}
	}
	kv_view_end(&view);
	shelf_buf_free(&names);
	return rc != 0 ? rc : !has;
}

int
check_acl(struct check *k, uint32_t shard)
{
	struct shelf_buf who = {0};
	int rc = check_rows(k, shard);

	if (rc == 0)
		rc = 1;
	for (unsigned i = 0; i < TRIES && rc == 1; i++)
		rc = find_missing(k, shard, &who);
	if (rc == 1)
		check_found(k, 19, "%.*s is given rights and not in the index of shares", (int)who.len,
			    (const char *)who.data);
	shelf_buf_free(&who);
	if (check_is_damage(rc))
		check_found(k, 19, "whether all shares are in the index cannot be read");
	return rc == 1 || check_is_damage(rc) ? 0 : rc;
}
