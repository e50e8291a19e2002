/*
 * totals.c - sums over the accounts of a domain and of a partition
 *
 * DOMAIN key "*": all accounts of the partition that are counted; "@" and a domain: those of the domain ("@"
 * alone: names without one). Value: format 1, then the numbers of totals.def, 8 bytes each,
 * little-endian.
 *
 * What must stay true
 *   - A row is the sum over the ACCT rows that say they are counted in it. Every change moves the account's
 *     difference (mail_change_end), an account enters before its first and leaves before its rows go.
 *   - A row without accounts is not there.
 * Mail is worth more than its sums: arithmetic is modulo 2^64, and a row that is lost or cannot be read counts
 * as zeros when it changes. Nothing is refused for it, and check finds it.
 */
#include "mail.h"

enum { FORMAT = 1 };

/* A key of the domain's row. */
static struct mail_key
key_of(const char *domain)
{
	struct mail_key k = {.len = 1};
	size_t len = domain == NULL ? 0 : strlen(domain);

	k.bytes[0] = domain == NULL ? '*' : '@';
	if (len > 0)
		memcpy(k.bytes + 1, domain, len);
	k.len += len;
	return k;
}

int
mail_totals_decode(struct shelf_span value, struct shelf_totals *t)
{
	struct base_reader r = base_reader(value);

	if (base_get_le(&r, 1) != FORMAT)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
#define SHELF_TOTAL(name, bytes, text) t->name = base_get_le(&r, 8);
#include <mailshelf/totals.def>
#undef SHELF_TOTAL
	return r.bad || base_left(&r) != 0 ? SHELF_ECORRUPT : 0;
}

int
mail_totals_get(struct kv_view *view, const char *domain, struct shelf_totals *t)
{
	struct mail_key key = key_of(domain);
	struct shelf_span value;
	int rc = kv_get(view, KV_DOMAIN, mail_key_span(&key), &value);

	*t = (struct shelf_totals){0};
	if (rc != 0)
		return rc == SHELF_EMISSING ? 0 : rc;
	return mail_totals_decode(value, t);
}

void
mail_totals_add(struct shelf_totals *sum, const struct shelf_totals *more)
{
#define SHELF_TOTAL(name, bytes, text) sum->name += more->name;
#include <mailshelf/totals.def>
#undef SHELF_TOTAL
}

static void
sub(struct shelf_totals *sum, const struct shelf_totals *less)
{
#define SHELF_TOTAL(name, bytes, text) sum->name -= less->name;
#include <mailshelf/totals.def>
#undef SHELF_TOTAL
}

void
mail_totals_of(const struct mail_acct *a, struct shelf_totals *out)
{
	if (a->counted)
		mail_totals_row(a, out);
	else
		*out = (struct shelf_totals){0};
}

void
mail_totals_row(const struct mail_acct *a, struct shelf_totals *out)
{
	*out = (struct shelf_totals){
	    .accounts = 1,
	    .messages = a->quota.used_messages,
	    .message_bytes = a->quota.used_bytes,
	    .stored_bytes = a->used.stored,
	    .shared_bytes = a->used.shared,
	    .held_messages = a->quota.held_messages,
	    .held_bytes = a->quota.held_bytes,
	    .held_stored_bytes = a->held.stored,
	    .held_shared_bytes = a->held.shared,
	    .noted_messages = a->noted,
	};
}

int
mail_totals_move(struct kv_txn *txn, const char *domain, const struct shelf_totals *was,
		 const struct shelf_totals *is)
{
	struct mail_key key = key_of(domain);
	struct shelf_buf value = {0};
	struct shelf_totals t;
	int rc = mail_totals_get(kv_txn_view(txn), domain, &t);

	if (rc == SHELF_ECORRUPT)
		t = (struct shelf_totals){0};
	else if (rc != 0)
		return rc;
	sub(&t, was);
	mail_totals_add(&t, is);
	if (t.accounts == 0) {
		rc = kv_del(txn, KV_DOMAIN, mail_key_span(&key));
		return rc == SHELF_EMISSING ? 0 : rc;
	}
	base_add_le(&value, FORMAT, 1);
#define SHELF_TOTAL(name, bytes, text) base_add_le(&value, t.name, 8);
#include <mailshelf/totals.def>
#undef SHELF_TOTAL
	rc = kv_put(txn, KV_DOMAIN, mail_key_span(&key), shelf_buf_span(&value));
	shelf_buf_free(&value);
	return rc;
}

int
mail_totals_change(struct kv_txn *txn, const char *domain, const struct shelf_totals *was,
		   const struct shelf_totals *is)
{
	int rc;

	if (memcmp(was, is, sizeof(*was)) == 0)
		return 0;
	rc = mail_totals_move(txn, NULL, was, is);
	return rc != 0 ? rc : mail_totals_move(txn, domain, was, is);
}

/* ---- In and out -------------------------------------------------------------------------------------- */

static int
set_counted(struct kv_txn *txn, struct mail_acct *a, bool counted)
{
	struct shelf_totals was, is;
	int rc;

	mail_totals_of(a, &was);
	a->counted = counted;
	mail_totals_of(a, &is);
	rc = mail_totals_change(txn, a->domain, &was, &is);
	return rc != 0 ? rc : mail_acct_put(txn, a);
}

int
mail_totals_enter(struct kv_txn *txn, struct shelf_span name)
{
	struct mail_acct a;
	size_t at = name.len;
	int rc = mail_acct_get(kv_txn_view(txn), &a);

	if (rc != 0 || a.counted)
		return rc;
	if (name.len > SHELF_ACCOUNT_NAME_MAX)
		return SHELF_ECORRUPT;
	while (at > 0 && name.data[at - 1] != '@')
		at--;
	memset(a.domain, 0, sizeof(a.domain));
	if (at > 0)
		memcpy(a.domain, name.data + at, name.len - at);
	return set_counted(txn, &a, true);
}

int
mail_totals_leave(struct kv_txn *txn)
{
	struct mail_acct a;
	int rc = mail_acct_get(kv_txn_view(txn), &a);

	if (rc != 0 || !a.counted)
		return rc;
	return set_counted(txn, &a, false);
}
