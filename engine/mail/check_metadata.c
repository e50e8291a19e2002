/*
 * check_metadata.c - annotations of an account (25), what its moves have left to do (30)
 */
#include "crossing.h"
#include "mail_check.h"

struct note_walk {
	struct check *k;
	struct kv_view *view;
	uint32_t mailbox;
	uint64_t modseq; /* of the account */
	struct mail_key of; /* mailbox and name of the entry at hand */
	uint32_t next;	    /* part */
	uint64_t size, seen;
};

static void
end_entry(struct note_walk *w)
{
	if (w->next > 0 && w->seen != w->size)
		check_found(w->k, 25, "an annotation of mailbox %u has %llu bytes of %llu", w->mailbox,
			    (unsigned long long)w->seen, (unsigned long long)w->size);
	w->next = 0;
}

static int
check_mailbox(struct note_walk *w, uint32_t mailbox)
{
	struct mail_mbox m;
	int rc;

	if (mailbox == w->mailbox)
		return 0;
	w->mailbox = mailbox;
	if ((rc = mail_mbox_get(w->view, mailbox, &m)) == SHELF_ENOMAILBOX)
		check_found(w->k, 25, "an annotation is of mailbox %u, which is not there", mailbox);
	/* Its own damage is told elsewhere. */
	return rc == SHELF_ENOMAILBOX || check_is_damage(rc) ? 0 : rc;
}

static int
check_note(struct note_walk *w, struct shelf_span key, struct shelf_span value)
{
	struct mail_metadata m;
	int rc = mail_metadata_decode(key, value, &m);
	bool same = rc == 0 && w->next > 0 && w->of.len + 2 == key.len &&
		    memcmp(w->of.bytes, key.data, w->of.len) == 0;

	if (rc != 0) {
		check_found(w->k, 25, "an annotation cannot be read");
		w->next = 0;
		return check_is_damage(rc) ? 0 : rc;
	}
	if (!same)
		end_entry(w);
	if (m.part != w->next) {
		check_found(w->k, 25, "an annotation of mailbox %u has part %u and not part %u", m.mailbox, m.part,
			    w->next);
		return 0;
	}
	if (m.part == 0 && m.modseq > w->modseq)
		check_found(w->k, 25, "an annotation of mailbox %u is of a modseq that was never given", m.mailbox);
	if (m.part == 0) {
		w->of.len = key.len - 2;
		memcpy(w->of.bytes, key.data, w->of.len);
		w->size = m.size;
		w->seen = 0;
	}
	w->next++;
	w->seen += m.bytes.len;
	return m.mailbox == 0 ? 0 : check_mailbox(w, m.mailbox);
}

static int
check_crossing(struct check *k, struct shelf_span key, struct shelf_span value)
{
	int rc = mail_crossing_check(key, value);

	if (check_is_damage(rc))
		check_found(k, 30, "what a move between accounts has left to do cannot be read");
	return check_is_damage(rc) ? 0 : rc;
}

int
check_metadata(struct check *k, uint32_t shard)
{
	struct note_walk w = {.k = k};
	struct shelf_span key, value;
	struct mail_acct acct;
	struct kv_scan scan;
	int rc = kv_view_begin_shard(k->store->kv, shard, &w.view);

	if (rc != 0)
		return rc;
	kv_view_account(w.view, k->account);
	/* Where the account's row is damaged, that is told elsewhere. */
	w.modseq = mail_acct_get(w.view, &acct) == 0 ? acct.modseq : UINT64_MAX;
	rc = kv_scan_open(w.view, KV_NOTE, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);
	while (rc == 0 && (rc = kv_scan_next(&scan, &key, &value)) == 1)
		rc = check_note(&w, key, value);
	if (rc == 0)
		end_entry(&w);
	kv_scan_close(&scan);
	if (rc == 0)
		rc = kv_scan_open(w.view, KV_CROSS, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);
	while (rc == 0 && (rc = kv_scan_next(&scan, &key, &value)) == 1)
		if ((rc = check_crossing(k, key, value)) != 0)
			break;
	kv_scan_close(&scan);
	kv_view_end(&w.view);
	return rc;
}
