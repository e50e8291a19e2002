/*
 * fuzz_rows.c - rows of accounts and the catalog, from any bytes
 *
 * The first byte chooses the table, the second is the length of the key. Properties: nothing is read beyond the value;
 * what was decoded and is encoded again decodes to the same bytes; what is not a row is SHELF_ECORRUPT or
 * SHELF_EVERSION and nothing else.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "acl.h"
#include "mail.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TABLES = 12 };

static void
must(bool cond)
{
	if (!cond)
		abort();
}

/* VALUE was decoded and written as ONE; that, decoded and written, must be the same. */
static void
msg_twice(const struct mail_msg *m)
{
	struct shelf_buf one = {0}, two = {0};
	struct mail_msg again;

	mail_msg_encode(&one, m);
	must(mail_msg_decode(shelf_buf_span(&one), &again) == 0);
	mail_msg_encode(&two, &again);
	must(shelf_span_eq(shelf_buf_span(&one), shelf_buf_span(&two)));
	shelf_buf_free(&one);
	shelf_buf_free(&two);
}

static void
gone_twice(const struct mail_gone *g)
{
	struct shelf_buf one = {0}, two = {0};
	struct mail_gone again;

	mail_gone_encode(&one, g);
	must(mail_gone_decode(shelf_buf_span(&one), &again) == 0);
	mail_gone_encode(&two, &again);
	must(shelf_span_eq(shelf_buf_span(&one), shelf_buf_span(&two)));
	shelf_buf_free(&one);
	shelf_buf_free(&two);
}

static void
mbox_twice(const struct mail_mbox *m)
{
	struct shelf_buf one = {0}, two = {0};
	struct mail_mbox again;

	mail_mbox_encode(&one, m);
	must(mail_mbox_decode(shelf_buf_span(&one), &again) == 0);
	mail_mbox_encode(&two, &again);
	must(shelf_span_eq(shelf_buf_span(&one), shelf_buf_span(&two)));
	shelf_buf_free(&one);
	shelf_buf_free(&two);
}

static void
acct_twice(const struct mail_acct *a)
{
	struct shelf_buf one = {0}, two = {0};
	struct mail_acct again;

	mail_acct_encode(&one, a);
	must(mail_acct_decode(shelf_buf_span(&one), &again) == 0);
	mail_acct_encode(&two, &again);
	must(shelf_span_eq(shelf_buf_span(&one), shelf_buf_span(&two)));
	shelf_buf_free(&one);
	shelf_buf_free(&two);
}

static int
decode(unsigned table, struct shelf_span key, struct shelf_span value)
{
	union {
		struct mail_acct acct;
		struct mail_mbox mbox;
		struct mail_msg msg;
		struct mail_gone gone;
		struct mail_name name;
		struct mail_user user;
		struct shelf_totals totals;
		struct mail_due due;
		struct mail_moved moved;
		struct mail_pop3 pop3;
		struct mail_uidl uidl;
		struct mail_metadata note;
		struct acl_row acl;
	} *row = shelf_zalloc(sizeof *row); /* its ends are guarded */
	struct shelf_buf targets = {0};
	int rc = 0;

	switch (table) {
	case 0:
		if ((rc = mail_acct_decode(value, &row->acct)) == 0)
			acct_twice(&row->acct);
		break;
	case 1:
		if ((rc = mail_mbox_decode(value, &row->mbox)) == 0)
			mbox_twice(&row->mbox);
		break;
	case 2:
		if ((rc = mail_msg_decode(value, &row->msg)) == 0)
			msg_twice(&row->msg);
		break;
	case 3:
		if ((rc = mail_gone_decode(value, &row->gone)) == 0)
			gone_twice(&row->gone);
		break;
	case 4:
		rc = mail_name_decode(value, &row->name);
		break;
	case 5:
		rc = mail_user_decode(value, &row->user);
		break;
	case 6:
		rc = mail_totals_decode(value, &row->totals);
		break;
	case 7:
		rc = mail_due_decode(key, value, &row->due);
		break;
	case 8:
		rc = mail_moved_decode(key, value, &row->moved);
		break;
	case 9:
		rc = mail_alias_decode(value, &targets);
		break;
	case 10:
		rc = mail_metadata_decode(key, value, &row->note);
		break;
	default:
		rc = acl_row_decode(key, value, &row->acl);
	}
	shelf_buf_free(&targets);
	free(row);
	return rc;
}

/* In an allocation of just its size, so that one byte beyond is seen. */
static struct shelf_span
copy(const uint8_t *data, size_t len)
{
	uint8_t *bytes = shelf_alloc(len == 0 ? 1 : len);

	memcpy(bytes, data, len);
	return shelf_span(bytes, len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct shelf_span key, value;
	size_t len;
	int rc;

	if (size < 2)
		return 0;
	len = data[1] < size - 2 ? data[1] : size - 2;
	key = copy(data + 2, len);
	value = copy(data + 2 + len, size - 2 - len);
	rc = decode(data[0] % TABLES, key, value);
	must(rc == 0 || rc == SHELF_ECORRUPT || rc == SHELF_EVERSION);
	free((void *)key.data);
	free((void *)value.data);
	return 0;
}
