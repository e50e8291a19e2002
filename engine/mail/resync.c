/*
 * resync.c - what changed behind a modseq, and where the first unseen message is
 *
 * Removals are in the log of VANISH rows, which is kept as long as the mailbox; all other changes are in
 * the modseqs of the pages. Neither is walked further than the changes reach (index/walk.c).
 */
#include <mailshelf/uidset.h>

#include "mail.h"

/* VANISH value: format 1, then runs as varints: distance from the run before, length - 1. */
static int
add_vanished(struct shelf_span value, uint32_t first, uint32_t last, struct shelf_uidset *set)
{
	struct base_reader r = base_reader(value);
	uint64_t end = 0;

	if (base_get_le(&r, 1) != 1)
		return r.bad ? SHELF_ECORRUPT : SHELF_EVERSION;
	while (base_left(&r) > 0) {
		uint64_t begin = end + base_get_varint(&r);

		end = begin + base_get_varint(&r);
		if (r.bad || begin == 0 || begin > end || end > UINT32_MAX)
			return SHELF_ECORRUPT;
		if (begin <= last && end >= first)
			shelf_uidset_add_range(set, begin > first ? (uint32_t)begin : first,
					       end < last ? (uint32_t)end : last);
	}
	return r.bad ? SHELF_ECORRUPT : 0;
}

int
mail_vanished(struct kv_view *view, uint32_t mailbox, uint64_t since, uint32_t first, uint32_t last,
	      struct shelf_uidset *set)
{
	struct shelf_span key, value;
	struct kv_scan scan;
	uint8_t from[14] = {0};
	int rc;

	base_put_be32(from, mailbox);
	base_put_be64(from + 4, since + 1);
	rc = kv_scan_open(view, KV_VANISH, shelf_span(from, 4), shelf_span(from, sizeof(from)), &scan);
	if (rc != 0)
		return rc;
	while ((rc = kv_scan_next(&scan, &key, &value)) == 1)
		if ((rc = add_vanished(value, first, last, set)) != 0)
			break;
	kv_scan_close(&scan);
	return rc;
}

struct changed {
	struct shelf_rd *rd;
	uint32_t mailbox, below;
	uint64_t since;
	struct shelf_uidset *flagged;
};

static int
add_changed(void *arg, const struct index_head *head)
{
	struct changed *c = arg;
	const struct index_page *p;
	struct index_bits changed = {{0}};
	int rc;

	if (head->page > c->below >> INDEX_PAGE_SHIFT)
		return 1;
	if ((rc = mail_rd_page(c->rd, c->mailbox, head->page, &p)) != 0)
		return rc;
	for (unsigned n = index_bits_next(&p->exists, 0); n < INDEX_PAGE_UIDS;
	     n = index_bits_next(&p->exists, n + 1))
		if (p->modseq[n] > c->since && (head->page << INDEX_PAGE_SHIFT | n) < c->below)
			index_bit_set(&changed, n, true);
	index_bits_add_to(&changed, head->page, c->flagged);
	return 0;
}

int
shelf_msg_changes(struct shelf_rd *rd, uint32_t mailbox, uint64_t since, uint32_t below,
		  struct shelf_uidset *flagged, struct shelf_uidset *vanished)
{
	struct changed c = {rd, mailbox, below, since, flagged};
	int rc = index_changed_each(rd->view, mailbox, since, add_changed, &c);

	if (rc < 0 || below <= 1 || since == UINT64_MAX)
		return rc < 0 ? rc : 0;
	return mail_vanished(rd->view, mailbox, since, 1, below - 1, vanished);
}

int
shelf_msg_first_unseen(struct shelf_rd *rd, uint32_t mailbox, uint32_t *uid_out, uint32_t *seq_out)
{
	const struct index_page *p;
	struct index_head head;
	uint32_t before = 0;
	unsigned n = 0;
	int rc = index_page_find(rd->view, mailbox, 0, INDEX_UNSEEN, &head);

	if (rc <= 0)
		return rc == 0 ? SHELF_ENOMESSAGE : rc;
	if ((rc = index_page_rank(rd->view, mailbox, head.page, &before)) != 0 ||
	    (rc = mail_rd_page(rd, mailbox, head.page, &p)) != 0)
		return rc;
	while (n < INDEX_PAGE_UIDS &&
	       (!index_bit(&p->exists, n) || index_page_has(p, INDEX_FLAG_SEEN, n)))
		n++;
	if (n == INDEX_PAGE_UIDS)
		return SHELF_ECORRUPT;
	*uid_out = head.page << INDEX_PAGE_SHIFT | n;
	*seq_out = before + index_bits_rank(&p->exists, n) + 1;
	return 0;
}
