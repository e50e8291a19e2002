/*
 * changed.c - which mailboxes of an account changed last: asked by who watches them all
 *
 * The account's row keeps the mailboxes that changed last, each with the modseq of its last change, the
 * latest first. What must stay true: a mailbox that changed behind `floor` is in the list. So whoever was
 * told of everything up to a modseq that is not below it finds all the news in a few entries; who comes
 * later has to look at every mailbox.
 */
#include <mailshelf/mailbox.h>

#include "mail.h"

void
mail_changed_note(struct mail_change *c, uint32_t mailbox)
{
	struct mail_changed *l = &c->acct.changed;
	uint64_t modseq = mail_change_modseq(c);
	unsigned at = 0;

	while (at < l->n && l->mailbox[at] != mailbox)
		at++;
	if (at == SHELF_CHANGED_MAX)
		l->floor = l->modseq[--at]; /* the oldest makes room */
	else if (at == l->n)
		l->n++;
	memmove(l->mailbox + 1, l->mailbox, at * sizeof(*l->mailbox));
	memmove(l->modseq + 1, l->modseq, at * sizeof(*l->modseq));
	l->mailbox[0] = mailbox;
	l->modseq[0] = modseq;
}

void
mail_changed_encode(struct shelf_buf *b, const struct mail_acct *a)
{
	const struct mail_changed *l = &a->changed;
	uint64_t before = a->modseq;

	base_add_varint(b, a->modseq - l->floor);
	base_add_varint(b, l->n);
	for (unsigned i = 0; i < l->n; i++) {
		base_add_varint(b, before - l->modseq[i]);
		base_add_varint(b, l->mailbox[i]);
		before = l->modseq[i];
	}
}

int
mail_changed_decode(struct base_reader *r, struct mail_acct *a)
{
	struct mail_changed *l = &a->changed;
	uint64_t before = a->modseq, distance;

	*l = (struct mail_changed){.floor = a->modseq};
	if (base_left(r) == 0)
		return 0;
	distance = base_get_varint(r);
	l->n = (unsigned)base_get_varint(r);
	if (l->n > SHELF_CHANGED_MAX)
		return SHELF_ECORRUPT;
	/* A modseq that cannot be is found by the check (17); it keeps nobody from his mail. */
	l->floor = distance > before ? 0 : before - distance;
	for (unsigned i = 0; i < l->n; i++) {
		distance = base_get_varint(r);
		before = l->modseq[i] = distance > before ? 0 : before - distance;
		l->mailbox[i] = (uint32_t)base_get_varint(r);
	}
	return 0;
}

bool
mail_changed_knows(const struct mail_acct *a, uint32_t mailbox, uint64_t modseq)
{
	const struct mail_changed *l = &a->changed;

	if (modseq <= l->floor)
		return true;
	for (unsigned i = 0; i < l->n; i++)
		if (l->mailbox[i] == mailbox)
			return l->modseq[i] >= modseq;
	return false;
}

int
shelf_mailbox_changed(struct shelf_rd *rd, uint64_t since, uint32_t *ids_out, unsigned *n_out)
{
	struct mail_acct a;
	int rc = mail_acct_get(rd->view, &a);

	*n_out = 0;
	if (rc != 0)
		return rc;
	if (since < a.changed.floor)
		return SHELF_ELIMIT;
	for (unsigned i = 0; i < a.changed.n && a.changed.modseq[i] > since; i++)
		ids_out[(*n_out)++] = a.changed.mailbox[i];
	return 0;
}
