/*
 * imap_push.c - FETCH responses that no command asked for: new messages, with the attributes that NOTIFY or
 * UPDATE named
 *
 * It outlives the command in which it runs when the connection ends, and has all its memory itself.
 * Sources   RFC 5465 5.2, 7; RFC 7162 3.2.4 (UID and MODSEQ for who has enabled CONDSTORE).
 */
#include <stdlib.h>

#include "imap_push.h"

struct imap_push {
	struct imap_fetch fetch;
	struct shelf_arena arena; /* of the items */
	struct shelf_keywords keywords;
};

struct imap_push *
imap_push_new(struct imap_session *s, const struct imap_fetch_items *items, const struct shelf_uidset *uids)
{
	struct imap_push *push = SHELF_NEW(struct imap_push);
	struct imap_fetch *f = &push->fetch;

	f->s = s;
	f->items = *items;
	f->items.item = SHELF_ARENA_ARRAY(&push->arena, struct imap_fetch_item, items->n);
	memcpy(f->items.item, items->item, items->n * sizeof *items->item);
	if (s->condstore && !s->uidonly)
		imap_fetch_add(&push->arena, "UID", &f->items);
	if (s->condstore)
		imap_fetch_add(&push->arena, "MODSEQ", &f->items);
	f->has_uid = imap_fetch_has(&f->items, "UID");
	f->keywords = &push->keywords;
	f->uids = shelf_uidset_copy(uids);
	f->uid = shelf_uidset_next(f->uids, 1);
	return push;
}

enum imap_step
imap_push_run(struct imap_push *push)
{
	int rc = 0;

	/* What cannot be read the client will ask for when it wants it. */
	return imap_fetch_run(&push->fetch, &rc);
}

void
imap_push_free(struct imap_push **push)
{
	struct imap_push *p = *push;

	*push = NULL;
	if (p == NULL)
		return;
	imap_fetch_end(&p->fetch);
	shelf_arena_free(&p->arena);
	free(p);
}
