/*
 * imap_fetch_warm.c - messages that are on the disk are read by a worker first
 *
 * While the store is cold (imap_cold.h) a worker reads the next messages before the loop does, and finds out
 * whether it still is.
 * What must stay true: a warm store costs two system calls for each slice and no worker; what is
 * warmed at once is bounded.
 */
#include "imap_cold.h"
#include "imap_fetch.h"

enum {
	WARM_MESSAGES = 64,     /* of one visit to a worker, */
	WARM_BYTES = 4 << 20,   /* and when one more would pass this, the message before was the last */
	PIECE_BYTES = 256 << 10,
};

bool
imap_warm_wants(const struct imap_warm *w, uint32_t uid)
{
	return uid > w->last && imap_cold();
}

/* Every byte of it; of a header its first frame, which most are less than. What is wrong with it is told by who reads
 * it next. */
static int
warm_body(const struct imap_warm *w, uint64_t blob)
{
	struct shelf_body *body = NULL;
	struct shelf_span piece;
	uint64_t at = 0;
	int rc = shelf_body_open(w->store, w->account, blob, &body);

	while (rc == 0 && (rc = shelf_body_read(body, at, PIECE_BYTES, &piece)) == 0 && piece.len > 0) {
		at += piece.len;
		if (w->header)
			break;
	}
	shelf_body_close(&body);
	return rc;
}

/* One message: its rows, and with them what is known of its parts. */
static int
warm_rows(struct imap_warm *w, uint32_t uid, struct shelf_msg *m)
{
	struct shelf_arena arena = {0};
	struct shelf_rd *rd = NULL;
	struct shelf_span record;
	int rc = shelf_rd_begin(w->store, w->account, &rd);

	if (rc == 0)
		rc = shelf_msg_next(rd, w->mailbox, uid, SHELF_MSG_ALL, m);
	if (rc == 0 && m->uid == uid && w->record)
		rc = shelf_msg_derived(rd, m->blob, &arena, &record);
	shelf_rd_end(&rd);
	shelf_arena_free(&arena);
	return rc;
}

void
imap_warm_run(void *arg)
{
	struct imap_warm *w = arg;
	uint32_t uid = w->next, count = 0;
	uint64_t bytes = 0;
	int rc = 0;
	long begun = imap_cold_begin();

	for (; uid != 0 && count < WARM_MESSAGES && rc == 0; count++) {
		struct shelf_msg m = {0};

		rc = warm_rows(w, uid, &m);
		if (rc == 0 && m.uid == uid && w->body) {
			bytes += w->header && m.size > PIECE_BYTES ? PIECE_BYTES : m.size;
			if (count > 0 && bytes > WARM_BYTES)
				break;
			rc = warm_body(w, m.blob);
		}
		w->last = uid;
		uid = uid == UINT32_MAX ? 0 : shelf_uidset_next(w->uids, uid + 1);
	}
	imap_cold_end(begun);
}
