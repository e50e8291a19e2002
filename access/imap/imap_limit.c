/*
 * imap_limit.c - how many messages: MESSAGELIMIT, and slices of long commands
 *
 * Of more, those with the highest uids are done and the reply names the lowest of them, so that a client
 * goes on below it. What is all or nothing, or makes no sense in parts, is refused: COPY, APPEND, SORT, THREAD.
 * Sources   RFC 9738.
 */
#include "conf.h"
#include "imap.h"

void
imap_cut_slice(struct shelf_uidset *from, uint32_t count, struct shelf_uidset *slice)
{
	uint32_t last = shelf_uidset_nth(from, count);

	shelf_uidset_clear(slice);
	shelf_uidset_add_range(slice, 1, last == 0 ? UINT32_MAX : last);
	shelf_uidset_and(slice, from);
	shelf_uidset_andnot(from, slice);
}

void
imap_limit_cut(struct imap_cmd *c, struct shelf_uidset *uids)
{
	uint64_t limit = c->s->server->conf->imap_message_limit;
	uint32_t count = limit == 0 ? 0 : shelf_uidset_count(uids);
	struct shelf_uidset *done = NULL;

	if (count <= limit)
		return;
	c->limited = shelf_uidset_nth(uids, count - (uint32_t)limit + 1);
	done = shelf_uidset_new();
	shelf_uidset_add_range(done, c->limited, UINT32_MAX);
	shelf_uidset_and(uids, done);
	shelf_uidset_free(&done);
}

bool
imap_limit_refuses(struct imap_cmd *c, uint32_t count)
{
	unsigned long long limit = c->s->server->conf->imap_message_limit;

	if (limit == 0 || count <= limit)
		return false;
	imap_no(c, shelf_arena_printf(&c->arena, "MESSAGELIMIT %llu", limit),
	    "Too many messages for one %s", c->name);
	return true;
}
