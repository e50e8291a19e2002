/*
 * backup_put.c - messages of a mailbox of a file into a mailbox of a live account
 *
 *   first walk    chooses: what is asked for and not in the target; adds up
 *   quota         asked for all of it, so that what cannot end does not begin
 *   second walk   appends what was chosen, some dozens in a transaction
 *
 * A message is in the target when one of the same email id is, each of them once: doing it again, after a crash or for
 * fun, doubles nothing. They get new uids behind the others, and keep date, flags (not \Deleted) and keywords.
 */
#include <stdlib.h>

#include <mailshelf/arena.h>
#include <mailshelf/mem.h>
#include <mailshelf/mime.h>

#include "backup_load.h"

enum { APPEND_MESSAGES = 64, APPEND_BYTES = 4 << 20, TARGET_SLICE = 1000 };

struct page_at { /* a stored page of flags in PAGES */
	uint32_t page;
	size_t at, len;
};

struct there { /* a message of the target */
	uint8_t hash[BACKUP_HASH_BYTES];
	bool taken; /* by an equal one of the file */
};

struct item { /* of the next append */
	struct shelf_append append;
	struct shelf_span keyword[SHELF_KEYWORDS_MAX];
};

struct put {
	struct shelf_backup *b;
	struct shelf_store *store;
	const struct shelf_restore_request *req;
	shelf_restore_progress_fn *progress;
	shelf_backup_problem_fn *problem;
	void *arg;
	struct shelf_restore_done *done;
	struct shelf_span from; /* canonical name in the file */
	uint32_t target;	/* id, 0: not there yet */
	/* The mailbox of the file, by the first walk. */
	uint32_t mailbox;
	struct shelf_buf keywords; /* texts */
	struct shelf_span keyword[SHELF_KEYWORDS_MAX];
	uint32_t nkeywords;
	struct shelf_buf pages;
	struct page_at *page_at;
	size_t npages, pages_cap;
	struct index_page *page; /* decoded last; NULL: none */
	struct there *there;
	size_t nthere, there_cap;
	struct shelf_uidset *chosen; /* uids in the file */
	bool choosing;
	struct item *item;
	size_t nitems;
	uint64_t item_bytes;
};

/* ---- The target ------------------------------------------------------------------------------------------- */

static int
by_hash(const void *a, const void *b)
{
	return memcmp(((const struct there *)a)->hash, ((const struct there *)b)->hash, BACKUP_HASH_BYTES);
}

/* Messages of the target from *UID on, which moves. 1: there are more. */
static int
read_target(struct put *p, uint32_t *uid)
{
	struct shelf_rd *rd = NULL;
	struct shelf_msg msg;
	int rc = shelf_rd_begin(p->store, p->req->account, &rd);

	for (unsigned n = 0; rc == 0 && n < TARGET_SLICE; n++) {
		if ((rc = shelf_msg_next(rd, p->target, *uid, SHELF_MSG_ALL, &msg)) != 0)
			break;
		*uid = msg.uid + 1;
		if (p->nthere == p->there_cap) {
			p->there_cap = p->there_cap == 0 ? 256 : p->there_cap * 2;
			p->there = shelf_realloc(p->there, p->there_cap * sizeof(*p->there));
		}
		memcpy(p->there[p->nthere].hash, msg.email_id, BACKUP_HASH_BYTES);
		p->there[p->nthere++].taken = false;
	}
	shelf_rd_end(&rd);
	return rc == 0 ? 1 : rc == SHELF_ENOMESSAGE ? 0 : rc;
}

static int
find_target(struct put *p)
{
	struct shelf_rd *rd = NULL;
	struct shelf_mailbox m;
	uint32_t uid = 1;
	int rc = shelf_rd_begin(p->store, p->req->account, &rd);

	if (rc != 0)
		return rc;
	if ((rc = shelf_mailbox_find(rd, p->req->to, &m)) == 0)
		p->target = m.id;
	shelf_rd_end(&rd);
	if (rc != 0)
		return rc == SHELF_ENOMAILBOX ? 0 : rc;
	rc = 1;
	while (rc == 1)
		rc = read_target(p, &uid);
	if (rc == 0 && p->nthere > 0)
		qsort(p->there, p->nthere, sizeof(*p->there), by_hash);
	return rc;
}

/* Is there one in the target that no other message of the file stands for? */
static bool
is_there(struct put *p, const uint8_t *hash)
{
	size_t low = 0, high = p->nthere;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (memcmp(p->there[mid].hash, hash, BACKUP_HASH_BYTES) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < p->nthere && memcmp(p->there[low].hash, hash, BACKUP_HASH_BYTES) == 0; low++) {
		if (p->there[low].taken)
			continue;
		p->there[low].taken = true;
		return true;
	}
	return false;
}

/* ---- Flags ------------------------------------------------------------------------------------------------ */

/* Parts of a page come one behind the other. */
static int
take_page(struct put *p, struct shelf_span key, struct shelf_span value)
{
	uint32_t page;

	if (key.len != 9)
		return SHELF_ECORRUPT;
	page = base_get_be32(key.data + 4);
	if (p->npages == 0 || p->page_at[p->npages - 1].page != page) {
		if (p->npages == p->pages_cap) {
			p->pages_cap = p->pages_cap == 0 ? 64 : p->pages_cap * 2;
			p->page_at = shelf_realloc(p->page_at, p->pages_cap * sizeof(*p->page_at));
		}
		p->page_at[p->npages++] = (struct page_at){.page = page, .at = p->pages.len};
	}
	p->page_at[p->npages - 1].len += value.len;
	shelf_buf_add_span(&p->pages, value);
	return 0;
}

static int
by_page(const void *key, const void *item)
{
	uint32_t page = *(const uint32_t *)key;
	const struct page_at *at = item;

	return (page > at->page) - (page < at->page);
}

/* Flags and keywords of UID into MSG. SHELF_ECORRUPT: no page has it. */
static int
take_flags(struct put *p, uint32_t uid, struct shelf_msg *msg)
{
	uint32_t number = uid >> INDEX_PAGE_SHIFT;
	const struct page_at *at;
	int rc;

	if (p->page == NULL || p->page->page != number) {
		at = p->npages == 0 ? NULL
				    : bsearch(&number, p->page_at, p->npages, sizeof(*p->page_at), by_page);
		if (at == NULL)
			return SHELF_ECORRUPT;
		if (p->page == NULL)
			p->page = shelf_alloc(sizeof(*p->page));
		rc = index_page_decode(shelf_span(p->pages.data + at->at, at->len), number, p->page);
		if (rc != 0) {
			free(p->page);
			p->page = NULL;
			return rc;
		}
	}
	if (!index_bit(&p->page->exists, uid % INDEX_PAGE_UIDS))
		return SHELF_ECORRUPT;
	mail_flags_out(p->page, uid, msg);
	return 0;
}

/* ---- Choosing --------------------------------------------------------------------------------------------- */

/* 1: the caller wants it. */
static int
ask(struct put *p, const struct shelf_msg *msg)
{
	const struct shelf_restore_request *req = p->req;
	struct shelf_arena arena = {0};
	struct mime_part *root = NULL;
	int rc = 0;

	if (req->choose == NULL)
		return 1;
	if (req->envelopes)
		rc = backup_scan_start(p->b, msg->email_id, msg->size, &arena, &root);
	if (rc == 0)
		rc = req->choose(req->arg, msg, root) ? 1 : 0;
	shelf_arena_free(&arena);
	return rc;
}

static void
tell(struct put *p, uint32_t uid, int rc)
{
	struct shelf_buf text = {0};

	shelf_buf_printf(&text, "uid %u: %s", uid,
			 rc == SHELF_EMISSING ? "its bytes are not in the backup" : shelf_err_text(rc));
	if (p->problem != NULL)
		p->problem(p->arg, shelf_buf_cstr(&text));
	shelf_buf_free(&text);
}

static int
choose(struct put *p, const struct shelf_msg *msg)
{
	struct backup_place place;
	int rc = 0;

	if (p->req->uids != NULL && !shelf_uidset_has(p->req->uids, msg->uid))
		return 0;
	if (!backup_index_find(p->b->index, BACKUP_BODIES, msg->email_id, msg->size, &place))
		rc = SHELF_EMISSING;
	else
		rc = ask(p, msg);
	if (rc == SHELF_EMISSING || rc == SHELF_ECORRUPT) {
		tell(p, msg->uid, rc);
		p->done->failed++;
		return 0;
	}
	if (rc != 1)
		return rc;
	if (is_there(p, msg->email_id)) {
		p->done->there++;
		return 0;
	}
	shelf_uidset_add(p->chosen, msg->uid);
	p->done->messages++;
	p->done->bytes += msg->size;
	return 0;
}

/* ---- Putting ---------------------------------------------------------------------------------------------- */

static void
forget_items(struct put *p)
{
	for (size_t i = 0; i < p->nitems; i++)
		shelf_draft_free(&p->item[i].append.draft);
	p->nitems = 0;
	p->item_bytes = 0;
}

static int
append_items(struct put *p)
{
	struct shelf_append list[APPEND_MESSAGES];
	struct shelf_append_result result;
	int rc;

	for (size_t i = 0; i < p->nitems; i++) {
		list[i] = p->item[i].append;
		list[i].keywords = p->item[i].keyword;
	}
	rc = p->nitems == 0
		 ? 0
		 : shelf_append(p->store, p->req->account, p->target, list, p->nitems, &result);
	if (rc == 0) {
		p->done->messages += p->nitems;
		p->done->bodies += p->nitems;
		p->done->bytes += p->item_bytes;
		p->done->body_bytes += p->item_bytes;
	}
	forget_items(p);
	if (rc == 0 && p->progress != NULL && p->progress(p->arg, p->done) != 0)
		rc = SHELF_ECANCELLED;
	return rc;
}

static int
put_message(struct put *p, const struct shelf_msg *msg)
{
	struct item *it = &p->item[p->nitems];
	int rc;

	if (!shelf_uidset_has(p->chosen, msg->uid))
		return 0;
	it->append = (struct shelf_append){.flags = msg->flags & ~(uint32_t)SHELF_DELETED,
					   .internaldate_s = msg->internaldate_s,
					   .zone_min = msg->zone_min};
	rc = backup_make_draft(p->b, p->store, msg->email_id, msg->size, &it->append.draft);
	if (rc == SHELF_EMISSING || rc == SHELF_ECORRUPT) {
		tell(p, msg->uid, rc);
		p->done->failed++;
		return 0;
	}
	if (rc != 0)
		return rc;
	for (uint32_t k = 0; k < p->nkeywords; k++)
		if (shelf_msg_has_keyword(msg, k))
			it->keyword[it->append.nkeywords++] = p->keyword[k];
	p->nitems++;
	p->item_bytes += msg->size;
	return p->nitems == APPEND_MESSAGES || p->item_bytes >= APPEND_BYTES ? append_items(p) : 0;
}

/* ---- The walks -------------------------------------------------------------------------------------------- */

static int
take_mailbox(struct put *p, struct shelf_span key, struct shelf_span value)
{
	struct mail_mbox box;

	if (key.len != 4 || mail_mbox_decode(value, &box) != 0)
		return SHELF_ECORRUPT;
	if ((box.flags & MAIL_MBOX_DELETED) == 0 && shelf_span_eq(box.name, p->from))
		p->mailbox = base_get_be32(key.data);
	return 0;
}

static int
take_message(struct put *p, struct shelf_span key, struct shelf_span value)
{
	struct mail_msg row;
	struct shelf_msg msg;
	uint32_t uid;
	int rc;

	if (key.len != 8 || mail_msg_decode(value, &row) != 0)
		return SHELF_ECORRUPT;
	uid = base_get_be32(key.data + 4);
	if ((rc = take_flags(p, uid, &msg)) != 0)
		return rc;
	mail_msg_fill(&row, &msg);
	return p->choosing ? choose(p, &msg) : put_message(p, &msg);
}

/* Tables come in their order: MBOX, KEYWORD, FPAGE, MSG. */
static int
take_row(void *arg, const char *table, struct shelf_span key, struct shelf_span value)
{
	struct put *p = arg;
	unsigned t = backup_table(table);

	if (t == KV_MBOX && p->choosing && p->mailbox == 0)
		return take_mailbox(p, key, value);
	if (p->mailbox == 0 || key.len < 4 || base_get_be32(key.data) != p->mailbox)
		return 0;
	if (t == KV_MSG)
		return take_message(p, key, value);
	if (t == KV_KEYWORD && p->choosing) {
		base_add_text(&p->keywords, value);
		return ++p->nkeywords > SHELF_KEYWORDS_MAX ? SHELF_ECORRUPT : 0;
	}
	return t == KV_FPAGE && p->choosing ? take_page(p, key, value) : 0;
}

static int
check_quota(struct put *p)
{
	struct shelf_rd *rd = NULL;
	struct shelf_quota q;
	int rc = shelf_rd_begin(p->store, p->req->account, &rd);

	if (rc == 0)
		rc = shelf_quota_get(rd, &q);
	shelf_rd_end(&rd);
	if (rc != 0)
		return rc;
	return (q.limit_bytes == 0 || q.used_bytes + p->done->bytes <= q.limit_bytes) &&
		       (q.limit_messages == 0 || q.used_messages + p->done->messages <= q.limit_messages)
		   ? 0
		   : SHELF_EQUOTA;
}

static int
walk_twice(struct put *p, const struct backup_account *a)
{
	struct base_reader r;
	int rc;

	p->choosing = true;
	if ((rc = backup_each_account_row(p->b, a, take_row, p)) != 0)
		return rc;
	if (p->mailbox == 0)
		return SHELF_ENOMAILBOX;
	if ((rc = check_quota(p)) != 0 || p->req->dry_run || p->done->messages == 0)
		return rc;
	if (p->target == 0 &&
	    (rc = shelf_mailbox_create(p->store, p->req->account, p->req->to, 0, &p->target)) != 0)
		return rc;
	r = base_reader(shelf_buf_span(&p->keywords));
	for (uint32_t k = 0; k < p->nkeywords; k++)
		p->keyword[k] = base_get_text(&r);
	p->choosing = false;
	p->done->messages = p->done->bytes = 0;
	p->item = shelf_zalloc(APPEND_MESSAGES * sizeof(*p->item));
	rc = backup_each_account_row(p->b, a, take_row, p);
	return rc != 0 ? rc : append_items(p);
}

int
shelf_backup_restore_messages(struct shelf_backup *b, const char *account, struct shelf_span mailbox,
			      struct shelf_store *store, const struct shelf_restore_request *req,
			      shelf_restore_progress_fn *progress, shelf_backup_problem_fn *problem, void *arg,
			      struct shelf_restore_done *done)
{
	struct put p = {.b = b, .store = store, .req = req, .progress = progress, .problem = problem, .arg = arg,
			.done = done};
	struct shelf_buf from = {0};
	struct backup_found f;
	int rc = backup_find_account(b, account, &f);

	*done = (struct shelf_restore_done){0};
	p.chosen = shelf_uidset_new();
	if (rc == 0 && (rc = shelf_mailbox_canonical(mailbox, &from)) == 0 && (rc = find_target(&p)) == 0) {
		p.from = shelf_buf_span(&from);
		rc = walk_twice(&p, &f.account);
	}
	forget_items(&p);
	backup_found_free(&f);
	shelf_uidset_free(&p.chosen);
	shelf_buf_free(&from);
	shelf_buf_free(&p.keywords);
	shelf_buf_free(&p.pages);
	free(p.page_at);
	free(p.page);
	free(p.there);
	free(p.item);
	return rc;
}
