/*
 * place.c - where one message belongs among others that are sorted
 *
 * By halves: about twenty of a million are asked for their keys, in one snapshot. One that is gone, or whose
 * envelope is lost, tells nothing, so its neighbour is asked.
 */
#include <mailshelf/mem.h>

#include "sort.h"

struct placing {
	struct shelf_rd *rd;
	uint32_t mailbox;
	const struct shelf_sort_criterion *by;
	size_t n;
};

struct keys {
	struct shelf_arena arena;
	struct search_walk message; /* msg and envelope of it */
	uint32_t uid;
};

static int
read_keys(const struct placing *p, uint32_t uid, struct keys *out)
{
	struct shelf_span record;
	int rc = shelf_msg_get(p->rd, p->mailbox, uid, &out->message.msg);

	out->uid = uid;
	shelf_arena_reset(&out->arena);
	if (rc == 0)
		rc = shelf_msg_derived(p->rd, out->message.msg.blob, &out->arena, &record);
	if (rc == 0)
		rc = mime_record_envelope(record, &out->arena, &out->message.envelope);
	return rc != 0 && search_record_lost(rc) ? SHELF_ENOMESSAGE : rc;
}

static int
compare_texts(enum shelf_sort_key key, const struct keys *a, const struct keys *b)
{
	struct shelf_buf x = {0}, y = {0};
	int order;

	search_sort_text(key, a->message.envelope, &x);
	search_sort_text(key, b->message.envelope, &y);
	order = search_compare(shelf_buf_span(&x), shelf_buf_span(&y));
	shelf_buf_free(&x);
	shelf_buf_free(&y);
	return order;
}

static int
compare(const struct placing *p, const struct keys *a, const struct keys *b)
{
	for (size_t i = 0; i < p->n; i++) {
		enum shelf_sort_key key = p->by[i].key;
		uint64_t x, y;
		int order;

		if (!search_is_number(key)) {
			order = compare_texts(key, a, b);
		} else {
			x = search_sort_number(key, &a->message);
			y = search_sort_number(key, &b->message);
			order = x < y ? -1 : x > y;
		}
		if (order != 0)
			return p->by[i].reverse ? -order : order;
	}
	return a->uid < b->uid ? -1 : a->uid > b->uid;
}

int
shelf_sort_place(struct shelf_store *store, uint32_t account, uint32_t mailbox,
    const struct shelf_sort_criterion *by, size_t n, const uint32_t *order, uint32_t count, uint32_t uid,
    uint32_t *rank_out)
{
	struct placing p = {.mailbox = mailbox, .by = by, .n = n};
	struct keys new = {.uid = uid}, other = {.uid = 0};
	uint32_t low = 0, high = count;
	int rc = shelf_rd_begin(store, account, &p.rd);

	if (rc == 0)
		rc = read_keys(&p, uid, &new);
	while (rc == 0 && low < high) {
		uint32_t middle = low + (high - low) / 2, at = middle;

		while ((rc = read_keys(&p, order[at], &other)) == SHELF_ENOMESSAGE && ++at < high)
			continue;
		if (rc == SHELF_ENOMESSAGE) {
			high = middle; /* nobody from there on tells anything */
			rc = 0;
		} else if (rc == 0 && compare(&p, &new, &other) < 0) {
			high = middle;
		} else {
			low = at + 1;
		}
	}
	*rank_out = low;
	shelf_rd_end(&p.rd);
	shelf_arena_free(&new.arena);
	shelf_arena_free(&other.arena);
	return rc;
}
