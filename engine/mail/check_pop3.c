/*
 * check_pop3.c - what is kept of messages for POP3 (26), unique-ids of other servers (27)
 *
 * A page of POP3 is proved against the page of flags and the sizes of its messages, a unique-id against its other row
 * and its message: each in the snapshot it was read in, so slices go on at a key.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "mail_check.h"

struct pop3_walk {
	struct check *k;
	uint32_t shard;
	struct kv_view *view;
	struct mail_key at;
	struct index_page *page;
};

/* Its own damage is told elsewhere: then nothing is said. */
static int
check_page(struct pop3_walk *w, struct shelf_span key, struct shelf_span value)
{
	struct index_page *page = w->page;
	uint64_t bytes = 0;
	struct mail_pop3 p;
	struct mail_msg msg;
	uint32_t mailbox;
	int rc = mail_pop3_decode(key, value, &p);

	if (rc != 0) {
		check_found(w->k, 26, "what POP3 fetched cannot be read");
		return check_is_damage(rc) ? 0 : rc;
	}
	mailbox = base_get_be32(key.data);
	if ((rc = index_page_get(w->view, mailbox, p.page, page)) != 0)
		return check_is_damage(rc) ? 0 : rc;
	for (int i = 0; i < 4; i++)
		if (((p.hidden.word[i] | p.fetched.word[i]) & ~page->exists.word[i]) != 0) {
			check_found(w->k, 26, "POP3 knows a message of mailbox %u, page %u, that is not there",
				    mailbox, p.page);
			return 0;
		}
	for (unsigned n = index_bits_next(&p.hidden, 0); n < INDEX_PAGE_UIDS;
	     n = index_bits_next(&p.hidden, n + 1)) {
		if (mail_msg_get(w->view, mailbox, (p.page << INDEX_PAGE_SHIFT) + n, &msg) != 0)
			return 0;
		bytes += msg.size;
	}
	if (bytes != p.hidden_bytes)
		check_found(w->k, 26, "POP3 hides %llu bytes of mailbox %u, page %u, and not %llu",
			    (unsigned long long)bytes, mailbox, p.page, (unsigned long long)p.hidden_bytes);
	return 0;
}

/* Is its message there, or held? 1 yes. */
static int
has_message(struct kv_view *view, const struct mail_uidl *u)
{
	struct mail_msg msg;
	struct mail_gone gone;
	int rc = mail_msg_get(view, u->mailbox, u->uid, &msg);

	if (rc == SHELF_ENOMESSAGE)
		rc = mail_gone_get(view, u->mailbox, u->uid, &gone);
	/* A row that cannot be read is told elsewhere. */
	return rc == SHELF_ENOMESSAGE ? 0 : rc == 0 || check_is_damage(rc) ? 1 : rc;
}

static int
check_uidl(struct pop3_walk *w, struct shelf_span key, struct shelf_span value)
{
	struct mail_uidl u, which, other;
	int rc = mail_uidl_decode(key, value, &u);

	if (rc != 0) {
		check_found(w->k, 27, "a unique-id cannot be read");
		return check_is_damage(rc) ? 0 : rc;
	}
	which = u;
	which.by = !u.by;
	rc = mail_uidl_get(w->view, &which, &other);
	if (rc == SHELF_EMISSING || (rc == 0 && (other.mailbox != u.mailbox || other.uid != u.uid ||
						 !shelf_span_eq(other.text, u.text))))
		check_found(w->k, 27, "the unique-id of mailbox %u, uid %u, is not the same both ways", u.mailbox,
			    u.uid);
	if (rc != 0 && rc != SHELF_EMISSING && !check_is_damage(rc))
		return rc;
	if ((rc = has_message(w->view, &u)) == 0)
		check_found(w->k, 27, "mailbox %u has a unique-id for uid %u, which is not there", u.mailbox, u.uid);
	return rc < 0 ? rc : 0;
}

/* 1: time is up. */
static int
check_slice(struct pop3_walk *w, enum kv_table table)
{
	int64_t until_ms = shelf_mono_ms() + check_slice_ms;
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc = kv_view_begin_shard(w->k->store->kv, w->shard, &w->view);

	if (rc != 0)
		return rc;
	kv_view_account(w->view, w->k->account);
	rc = kv_scan_open(w->view, table, shelf_span(NULL, 0), mail_key_span(&w->at), &scan);
	while (rc == 0 && (rc = kv_scan_next(&scan, &key, &value)) == 1) {
		if (key.len >= sizeof(w->at.bytes)) {
			check_found(w->k, table == KV_POP3 ? 26 : 27, "a key of POP3 is too long");
			rc = 0;
			continue;
		}
		memcpy(w->at.bytes, key.data, key.len);
		w->at.bytes[key.len] = 0;
		w->at.len = key.len + 1;
		rc = table == KV_POP3 ? check_page(w, key, value) : check_uidl(w, key, value);
		if (rc == 0 && shelf_mono_ms() >= until_ms) {
			rc = 1;
			break;
		}
	}
	kv_scan_close(&scan);
	kv_view_end(&w->view);
	return rc;
}

int
check_pop3(struct check *k, uint32_t shard)
{
	static const enum kv_table tables[] = {KV_POP3, KV_UIDL};
	struct pop3_walk w = {.k = k, .shard = shard, .page = shelf_alloc(sizeof(*w.page))};
	int rc = 0;

	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables) && rc == 0; i++) {
		w.at.len = 0;
		do {
			rc = check_slice(&w, tables[i]);
		} while (rc == 1);
	}
	free(w.page);
	return rc;
}
