/*
 * copy.c - COPY and MOVE: rows are written, bodies are shared
 *
 * COPY is one transaction whatever the set, as RFC 9051 6.4.7 wants the target untouched after a failure; so that
 * it does not keep all others of its partition waiting, the set is bounded (SHELF_COPY_MAX). MOVE goes in slices, each
 * message in both mailboxes' rows at once (RFC 6851 3.3). What is copied is decided inside the closure: of two
 * sessions moving a message, the second finds it gone.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>
#include <mailshelf/pop3.h>

#include "mail.h"

enum { SLICE_MESSAGES = 512 };

struct copying {
	struct shelf_store *store;
	uint32_t from, to;
	const struct shelf_uidset *uids;
	bool move;
	uint32_t flags_lost;
	bool keywords_lost;
	const struct shelf_asker *from_asker, *to_asker;
	struct shelf_copy_result *result; /* of this slice */
	uint32_t first, next; /* this slice begins at FIRST; the next one at NEXT, 0: done */
	uint32_t end;	      /* UIDNEXT of FROM in the first slice */
	uint32_t present;
	struct mail_need need;
	struct mail_moved moved; /* for sessions that show FROM and have not been told */
	/* Keyword numbers of FROM to those of TO; UINT32_MAX: not looked up yet. */
	uint32_t keyword[SHELF_KEYWORDS_MAX];
};

/* A message's flags on their way: the page they come from may have gone when they arrive. */
struct carried {
	struct index_bits low; /* flag numbers 0..255 */
	uint8_t high;
};

static void
pick_up_flags(const struct index_page *p, unsigned n, struct carried *c)
{
	*c = (struct carried){0};
	for (unsigned f = index_page_next_flag(p, 0); f < INDEX_FLAGS; f = index_page_next_flag(p, f + 1)) {
		if (!index_page_has(p, f, n))
			continue;
		if (f < 256)
			index_bit_set(&c->low, f, true);
		else
			c->high |= (uint8_t)(1u << (f - 256));
	}
}

static int
put_down_flags(struct mail_change *c, struct mail_open *to, struct copying *cp, uint32_t uid,
    const struct carried *carried)
{
	for (unsigned f = 0; f < INDEX_FLAGS; f++) {
		uint32_t number = f;

		if (f < 256 ? !index_bit(&carried->low, f) : (carried->high >> (f - 256) & 1) == 0)
			continue;
		if (f < INDEX_FLAG_KEYWORD ? (cp->flags_lost >> f & 1) != 0 : cp->keywords_lost)
			continue;
		if (f >= INDEX_FLAG_KEYWORD && cp->from != cp->to) {
			int rc = mail_keyword_carry(c, cp->from, f - INDEX_FLAG_KEYWORD, to,
			    cp->keyword, &number);

			if (rc != 0)
				return rc == SHELF_EMISSING ? SHELF_ECORRUPT : rc;
			number += INDEX_FLAG_KEYWORD;
		}
		index_page_set(to->page, number, uid % INDEX_PAGE_UIDS, true);
	}
	return 0;
}

/* The page of UID is loaded in FROM. TO is FROM within one mailbox. */
static int
copy_one(struct mail_change *c, struct mail_open *from, struct mail_open *to, struct copying *cp,
    uint32_t uid)
{
	char uidl[SHELF_UIDL_MAX + 1] = "";
	struct mail_pop3_mark mark = {0};
	struct carried flags;
	struct blob_cost cost;
	struct mail_msg msg;
	uint32_t new_uid;
	int rc;

	pick_up_flags(from->page, uid % INDEX_PAGE_UIDS, &flags);
	if ((rc = mail_msg_get(kv_txn_view(c->txn), cp->from, uid, &msg)) != 0)
		return rc == SHELF_ENOMESSAGE ? SHELF_ECORRUPT : rc;
	/* A move adds nothing, so it asks no quota. */
	if (!cp->move && (rc = mail_quota_room(&c->acct, msg.size, 1)) != 0)
		return rc;
	/* The new reference first, so that the count never touches zero. What was moved is elsewhere:
	 * nothing to hold. */
	if ((rc = blob_ref(c->txn, msg.blob, &cost)) != 0)
		return rc;
	if (cp->move && ((rc = mail_pop3_take(c, from, uid, msg.size, &mark)) != 0 ||
			    (rc = mail_uidl_take(c->txn, cp->from, uid, uidl)) != 0 ||
			    (rc = mail_remove(c, from, uid, 0)) != 0))
		return rc;
	/* What was moved is the same reference and keeps what it noted. */
	if (!cp->move) {
		msg.cost = cost;
		msg.noted = true;
	}
	msg.savedate_s = c->now_s;
	if ((rc = mail_insert(c, to, &msg, &new_uid)) != 0)
		return rc;
	if (index_bit(&flags.low, INDEX_FLAG_DELETED) && (cp->flags_lost & SHELF_DELETED) == 0)
		to->row.deleted_bytes += msg.size;
	shelf_uidset_add(cp->result->from_uids, uid);
	shelf_uidset_add(cp->result->to_uids, new_uid);
	if (cp->move && ((rc = mail_moved_add(c, &cp->moved, uid, new_uid)) != 0 ||
			    (rc = mail_pop3_give(c, to, new_uid, msg.size, &mark)) != 0 ||
			    (rc = mail_uidl_give(c->txn, cp->to, new_uid, uidl)) != 0))
		return rc;
	return put_down_flags(c, to, cp, new_uid, &flags);
}

static int
add_present(void *arg, const struct index_head *head)
{
	struct copying *cp = arg;
	struct index_bits both = index_bits_of(cp->uids, head->page);

	for (int w = 0; w < 4; w++)
		both.word[w] &= head->exists.word[w];
	cp->present += index_bits_count(&both);
	return 0;
}

/* Is a COPY small enough for one transaction? */
static int
check_size(struct mail_change *c, struct copying *cp)
{
	int rc;

	cp->present = 0;
	if (cp->move || shelf_uidset_count(cp->uids) <= SHELF_COPY_MAX)
		return 0;
	rc = index_page_each(kv_txn_view(c->txn), cp->from, 0, UINT32_MAX, add_present, cp);
	return rc != 0 ? rc : cp->present > SHELF_COPY_MAX ? SHELF_ELIMIT : 0;
}

static int
copy_slice(struct mail_change *c, struct mail_open *from, struct mail_open *to, struct copying *cp)
{
	unsigned left = cp->move ? SLICE_MESSAGES : SHELF_COPY_MAX;
	uint32_t uid;
	int rc;

	if ((rc = check_size(c, cp)) != 0)
		return rc;
	/* Copies into the same mailbox do not copy themselves. */
	if (cp->first == 1)
		cp->end = from->row.uidnext;
	cp->next = 0;
	cp->result->uidvalidity = to->row.uidvalidity;
	for (uid = shelf_uidset_next(cp->uids, cp->first); uid != 0 && uid < cp->end;
	     uid = shelf_uidset_next(cp->uids, uid + 1)) {
		if (left == 0) {
			cp->next = uid;
			break;
		}
		if ((rc = mail_open_page(c, from, uid)) != 0)
			return rc;
		if (!index_bit(&from->page->exists, uid % INDEX_PAGE_UIDS))
			continue;
		if ((rc = copy_one(c, from, to, cp, uid)) != 0)
			return rc;
		left--;
	}
	if ((rc = mail_moved_put(c, &cp->moved)) != 0)
		return rc;
	if (cp->move && shelf_uidset_count(cp->result->from_uids) > 0)
		return mail_log_vanished(c, cp->from, cp->result->from_uids);
	return 0;
}

static int
copy_open(struct mail_change *c, struct copying *cp)
{
	struct mail_open from = {0}, other = {0}, *to = cp->from == cp->to ? &from : &other;
	int rc = mail_open(c, cp->from, &from);

	if (rc == 0 && to == &other)
		rc = mail_open(c, cp->to, &other);
	if (rc == 0 && (rc = mail_may(c->txn, cp->from, cp->from_asker)) == 0)
		rc = mail_may(c->txn, cp->to, cp->to_asker);
	if (rc == 0 && (rc = copy_slice(c, &from, to, cp)) == 0 && (rc = mail_open_flush(c, &from)) == 0 &&
	    to == &other)
		rc = mail_open_flush(c, &other);
	mail_close(&from);
	mail_close(&other);
	return rc;
}

static int
copy(struct kv_txn *txn, void *arg)
{
	struct copying *cp = arg;
	struct mail_change c;
	int rc;

	shelf_uidset_clear(cp->result->from_uids);
	shelf_uidset_clear(cp->result->to_uids);
	memset(cp->keyword, 0xff, sizeof(cp->keyword));
	cp->moved = (struct mail_moved){.mailbox = cp->from, .to = cp->to};
	if ((rc = mail_change_begin(&c, cp->store, txn)) != 0)
		return rc;
	c.need = &cp->need;
	rc = copy_open(&c, cp);
	cp->result->modseq = c.modseq;
	return rc != 0 ? rc : mail_change_end(&c);
}

int
shelf_msg_copy(struct shelf_store *store, uint32_t account, uint32_t from, uint32_t to,
	       const struct shelf_uidset *uids, bool move, struct shelf_copy_result *result)
{
	const struct shelf_copy what = {.account = account, .from = from, .to_account = account, .to = to,
	    .uids = uids, .move = move};

	return shelf_msg_copy_to(store, &what, result);
}

int
shelf_msg_copy_to(struct shelf_store *store, const struct shelf_copy *what, struct shelf_copy_result *result)
{
	struct shelf_copy_result slice = {
	    .from_uids = shelf_uidset_new(), .to_uids = shelf_uidset_new()};
	struct copying cp = {.store = store, .from = what->from, .to = what->to, .uids = what->uids,
	    .move = what->move, .flags_lost = what->flags_lost, .keywords_lost = what->keywords_lost,
	    .from_asker = what->from_asker, .to_asker = what->to_asker, .result = &slice, .next = 1};
	bool across = what->account != what->to_account;
	int rc = 0;

	shelf_uidset_clear(result->from_uids);
	shelf_uidset_clear(result->to_uids);
	if (across)
		rc = mail_copy_across(store, what, result);
	else
		rc = mail_disk_admit(store, what->account,
		    what->move ? SHELF_DISK_READONLY : SHELF_DISK_REFUSE);
	while (rc == 0 && cp.next != 0 && !across) {
		cp.first = cp.next;
		rc = mail_update_growing(store, what->account, what->move ? 0 : KV_ADDS, copy, &cp, &cp.need);
		if (rc != 0)
			break;
		shelf_uidset_or(result->from_uids, slice.from_uids);
		shelf_uidset_or(result->to_uids, slice.to_uids);
		result->uidvalidity = slice.uidvalidity;
		result->modseq = slice.modseq;
	}
	shelf_uidset_free(&slice.from_uids);
	shelf_uidset_free(&slice.to_uids);
	return rc;
}
