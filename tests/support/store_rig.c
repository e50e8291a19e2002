/* store_rig.c - a small store for the unit tests of the engine */
#include <stdio.h>
#include <stdlib.h>

#include "store_rig.h"
#include "support.h"

static void
must(int rc, const char *what)
{
	if (rc != 0)
		support_fatal("%s: %s", what, shelf_err_text(rc));
}

void
rig_open(struct rig *r, const struct shelf_store_params *params)
{
	const struct shelf_store_params usual = {
	    .partitions = 2, .map_bytes = 64u << 20, .reserve_bytes = 1u << 20};
	const struct shelf_account_new accounts[] = {{.name = shelf_span_str("joe")},
						     {.name = shelf_span_str("ann")}};
	uint32_t ids[2];

	support_tmpdir(r->dir, sizeof(r->dir));
	snprintf(r->path, sizeof(r->path), "%s/store", r->dir);
	must(shelf_store_create(r->path, params == NULL ? &usual : params), "create");
	must(shelf_store_open(r->path, 0, &r->store), "open");
	must(shelf_account_add(r->store, accounts, 2, NULL, ids), "account add");
	r->joe = ids[0];
	r->ann = ids[1];
	r->inbox = 1;
}

static void
finding(void *arg, unsigned invariant, uint32_t account, const char *text)
{
	fprintf(stderr, "invariant %u, account %u: %s\n", invariant, account, text);
	++*(unsigned *)arg;
}

unsigned
rig_findings(struct rig *r)
{
	unsigned n = 0;

	must(shelf_store_check(r->store, NULL, finding, &n), "check");
	return n;
}

void
rig_close(struct rig *r)
{
	struct shelf_store_stats stats;

	if (rig_findings(r) != 0)
		support_fatal("the check found damage at the end of the test");
	must(shelf_store_stats(r->store, &stats), "numbers of the store");
	if (stats.slow_views != 0)
		support_fatal("%u snapshots lived too long", stats.slow_views);
	shelf_store_close(&r->store);
	support_rmtree(r->dir);
}

void
rig_reopen(struct rig *r)
{
	shelf_store_close(&r->store);
	must(shelf_store_open(r->path, 0, &r->store), "open again");
}

struct shelf_draft *
rig_draft(struct rig *r, const char *text, size_t body_len)
{
	struct shelf_buf b = {0};
	struct shelf_draft *d;

	shelf_buf_printf(&b, "Subject: %s\r\n\r\n", text);
	for (size_t i = 0; i < body_len; i++)
		shelf_buf_add_byte(&b,
				   (uint8_t)(i % 64 == 63 ? '\n' : 'a' + (i * 7 + i / 64) % 26));
	must(shelf_draft_new(r->store, &d), "draft");
	must(shelf_draft_write(d, b.data, b.len), "draft write");
	must(shelf_draft_finish(d), "draft finish");
	shelf_buf_free(&b);
	return d;
}

uint32_t
rig_append(struct rig *r, uint32_t account, uint32_t mailbox, const char *text, uint32_t flags)
{
	struct shelf_append item = {
	    .draft = rig_draft(r, text, 100), .flags = flags, .internaldate_s = INT64_MIN};
	struct shelf_append_result result;

	must(shelf_append(r->store, account, mailbox, &item, 1, &result), "append");
	shelf_draft_free(&item.draft);
	return result.first_uid;
}

void
rig_fill(struct rig *r, uint32_t account, uint32_t mailbox, unsigned count)
{
	struct shelf_draft *d = rig_draft(r, "fill", 10);
	struct shelf_append *items = shelf_zalloc(count * sizeof(*items));
	struct shelf_append_result result;

	for (unsigned i = 0; i < count; i++)
		items[i] = (struct shelf_append){.draft = d, .internaldate_s = 1000000000 + i};
	must(shelf_append(r->store, account, mailbox, items, count, &result), "fill");
	free(items);
	shelf_draft_free(&d);
}

uint32_t
rig_create(struct rig *r, uint32_t account, const char *name)
{
	uint32_t id;

	must(shelf_mailbox_create(r->store, account, shelf_span_str(name), 0, &id),
	     "create mailbox");
	return id;
}

struct shelf_mailbox
rig_mailbox(struct rig *r, uint32_t account, uint32_t mailbox)
{
	struct shelf_mailbox m;
	struct shelf_rd *rd;

	must(shelf_rd_begin(r->store, account, &rd), "read");
	must(shelf_mailbox_get(rd, mailbox, &m), "mailbox");
	m.name = shelf_span(NULL, 0);
	shelf_rd_end(&rd);
	return m;
}

struct shelf_quota
rig_quota(struct rig *r, uint32_t account)
{
	struct shelf_quota q;
	struct shelf_rd *rd;

	must(shelf_rd_begin(r->store, account, &rd), "read");
	must(shelf_quota_get(rd, &q), "quota");
	shelf_rd_end(&rd);
	return q;
}

uint64_t
rig_modseq(struct rig *r, uint32_t account)
{
	struct shelf_rd *rd;
	uint64_t modseq;

	must(shelf_rd_begin(r->store, account, &rd), "read");
	modseq = shelf_rd_modseq(rd);
	shelf_rd_end(&rd);
	return modseq;
}

int
rig_msg(struct rig *r, uint32_t account, uint32_t mailbox, uint32_t uid, struct shelf_msg *out)
{
	struct shelf_rd *rd;
	int rc;

	must(shelf_rd_begin(r->store, account, &rd), "read");
	rc = shelf_msg_get(rd, mailbox, uid, out);
	shelf_rd_end(&rd);
	return rc;
}

void
rig_flag(struct rig *r, uint32_t account, uint32_t mailbox, uint32_t first, uint32_t last,
	 enum shelf_flag_op op, uint32_t flags, const char *keyword)
{
	struct shelf_span name = shelf_span_str(keyword);
	struct shelf_flag_change change = {.op = op,
					   .flags = flags,
					   .keywords = &name,
					   .nkeywords = name.len > 0,
					   .unchanged_since = UINT64_MAX};
	struct shelf_uidset *uids = rig_set(first, last);

	must(shelf_msg_set_flags(r->store, account, mailbox, uids, &change, NULL, NULL),
	     "set flags");
	shelf_uidset_free(&uids);
}

struct shelf_uidset *
rig_set(uint32_t first, uint32_t last)
{
	struct shelf_uidset *s = shelf_uidset_new();

	shelf_uidset_add_range(s, first, last);
	return s;
}

const char *
rig_text(const struct shelf_uidset *s)
{
	static struct shelf_buf b;

	shelf_buf_clear(&b);
	shelf_uidset_print(s, &b);
	return shelf_buf_cstr(&b);
}

void
rig_furnish(struct rig *r)
{
	struct shelf_uidset *set = rig_set(2, 3);
	struct shelf_draft *draft = rig_draft(r, "to both", 700000);
	struct shelf_delivery to[] = {{.account = r->joe}, {.account = r->ann},
	    {.account = r->joe, .head = shelf_span_str("Delivered-To: joe\r\n")}};
	struct shelf_append_result results[3];
	const struct shelf_metadata note = {shelf_span_str("/private/comment"), shelf_span_str("a note")};
	uint32_t work, from, until;

	rig_fill(r, r->joe, r->inbox, 700);
	rig_flag(r, r->joe, r->inbox, 1, 300, SHELF_FLAGS_ADD, SHELF_SEEN, "");
	rig_flag(r, r->joe, r->inbox, 5, 9, SHELF_FLAGS_ADD, SHELF_DELETED, "$Work");
	rig_flag(r, r->joe, r->inbox, 260, 261, SHELF_FLAGS_ADD, SHELF_FLAGGED, "other");
	must(shelf_msg_expunge(r->store, r->joe, r->inbox, set, 0, NULL), "furnish");
	shelf_uidset_free(&set);
	shelf_deliver(r->store, draft, to, 3, results);
	for (unsigned i = 0; i < 3; i++)
		must(results[i].rc, "deliver");
	shelf_draft_free(&draft);
	work = rig_create(r, r->joe, "work/a");
	rig_append(r, r->joe, work, "deleted with its mailbox", 0);
	rig_append(r, r->joe, rig_create(r, r->joe, "work/b"), "it stays", SHELF_ANSWERED);
	must(shelf_mailbox_delete(r->store, r->joe, shelf_span_str("work/a")), "furnish");
	must(shelf_mailbox_subscribe(r->store, r->joe, shelf_span_str("nowhere"), true), "furnish");
	must(shelf_quota_set(r->store, r->ann, 1 << 30, 5000, 0), "furnish");
	must(shelf_account_set_password(r->store, r->ann, shelf_span_str("secret")), "furnish");
	must(shelf_mailbox_claim_recent(r->store, r->ann, r->inbox, &from, &until), "furnish");
	must(shelf_acl_set(r->store, r->joe, r->inbox, shelf_span_str("ann"), SHELF_ACL_SET, SHELF_RIGHT_LOOKUP),
	     "furnish");
	must(shelf_metadata_set(r->store, r->joe, r->inbox, &note, 1, NULL), "furnish");
	set = rig_set(250, 270);
	must(shelf_pop3_note(r->store, r->joe, r->inbox, &(struct shelf_pop3_note){.fetched = set,
	    .fetched_s = 1700000000, .hide = set}), "furnish");
	must(shelf_uidl_set(r->store, r->joe, r->inbox, 255, shelf_span_str("UID-of-another.server")), "furnish");
	shelf_uidset_free(&set);
	must(shelf_deliver_note(r->store, r->joe, (const uint8_t *)"sixteen bytes id"), "furnish");
}
