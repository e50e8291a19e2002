/*
 * once.c - messages that an account has got and that will be sent to it once more
 *
 * key      day u32 (since 1970, big-endian), id 16 (shelf_draft_identity)
 * value    1
 *
 * An address may stand for several accounts, but its mail has one reply. When one of them cannot take it now, the
 * sender's side keeps the message and sends it again to all: those who have it get a note here, and pass it over then.
 *
 * What must stay true: rows of one day lie together and the oldest come first, so that looking for an id costs a step
 * for each day kept, and dropping the old ones is reading the front of the table.
 */
#include <mailshelf/mem.h>

#include "mail.h"

enum { ID_BYTES = 16, FORMAT = 1 };

static struct mail_key
key_of(uint32_t day, const uint8_t *id)
{
	struct mail_key key = mail_key1(day);

	memcpy(key.bytes + key.len, id, ID_BYTES);
	key.len += ID_BYTES;
	return key;
}

static uint32_t
day_of(int64_t s)
{
	return (uint32_t)(s / MAIL_ONCE_UNIT_S);
}

int
mail_once_has(struct kv_view *view, const uint8_t *id, int64_t now_s)
{
	for (uint32_t back = 0; back < MAIL_ONCE_KEPT; back++) {
		struct mail_key key = key_of(day_of(now_s) - back, id);
		struct shelf_span value;
		int rc = kv_get(view, KV_ONCE, mail_key_span(&key), &value);

		if (rc != SHELF_EMISSING)
			return rc == 0 ? 1 : rc;
	}
	return 0;
}

static int
put_note(struct kv_txn *txn, void *id)
{
	struct mail_key key = key_of(day_of(shelf_now_s()), id);
	const uint8_t value = FORMAT;
	int rc = kv_put(txn, KV_ONCE, mail_key_span(&key), shelf_span(&value, 1));

	return rc != 0 ? rc : mail_change_version(txn);
}

int
shelf_deliver_note(struct shelf_store *store, uint32_t account, const uint8_t *id)
{
	uint8_t copy[ID_BYTES];

	memcpy(copy, id, sizeof(copy));
	return kv_update(store->kv, account, KV_ADDS | KV_QUIET, put_note, copy);
}

bool
mail_once_readable(struct shelf_span key, struct shelf_span value)
{
	return key.len == 4 + ID_BYTES && value.len == 1 && value.data[0] == FORMAT;
}
