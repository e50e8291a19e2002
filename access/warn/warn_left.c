/*
 * warn_left.c - what POP3 has fetched and left in INBOX
 *
 * A row for each 256 messages that POP3 has touched, then the row of each of these, in slices: no snapshot lives long.
 */
#include "warn.h"

#include <mailshelf/pop3.h>

enum { SLICE_MESSAGES = 5000 };

/* The sizes of the next ones from *UID on; 0: there are no more. */
static int
add_sizes(struct shelf_rd *rd, uint32_t inbox, const struct shelf_uidset *set, uint32_t *uid, struct warn_left *out)
{
	struct shelf_msg m;

	for (unsigned n = 0; n < SLICE_MESSAGES && *uid != 0; n++) {
		int rc = shelf_msg_get(rd, inbox, *uid, &m);

		if (rc != 0 && rc != SHELF_ENOMESSAGE)
			return rc;
		if (rc == 0 && !m.gone) {
			out->messages++;
			out->bytes += m.size;
		}
		*uid = *uid == UINT32_MAX ? 0 : shelf_uidset_next(set, *uid + 1);
	}
	return 0;
}

int
warn_left_count(struct shelf_store *store, uint32_t account, unsigned days, struct warn_left *out)
{
	struct shelf_uidset *set = shelf_uidset_new();
	struct shelf_mailbox inbox;
	struct shelf_rd *rd = NULL;
	uint32_t uid = 0;
	int rc = shelf_rd_begin(store, account, &rd);

	*out = (struct warn_left){.days = days};
	if (rc == 0)
		rc = shelf_mailbox_find(rd, shelf_span_str("INBOX"), &inbox);
	if (rc == 0)
		rc = shelf_pop3_fetched_before(rd, inbox.id, shelf_now_s() - (int64_t)days * 86400, set);
	shelf_rd_end(&rd);
	uid = shelf_uidset_min(set);
	while (rc == 0 && uid != 0) {
		if ((rc = shelf_rd_begin(store, account, &rd)) == 0)
			rc = add_sizes(rd, inbox.id, set, &uid, out);
		shelf_rd_end(&rd);
	}
	shelf_uidset_free(&set);
	return rc;
}
