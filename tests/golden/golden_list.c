/*
 * golden_list.c - a store as text: accounts, mailboxes, messages, what is held
 *
 * What must stay true: only what a release's users can see is printed, and nothing that depends on the
 * time of the listing or on how a row is laid out.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <openssl/evp.h>

#include <mailshelf/acl.h>
#include <mailshelf/import.h>
#include <mailshelf/metadata.h>
#include <mailshelf/mime.h>
#include <mailshelf/restore.h>

#include "golden.h"

struct listing {
	struct shelf_store *store;
	struct shelf_rd *rd;
	uint32_t account;
	struct shelf_buf *out;
	uint32_t *mailbox; /* ids to walk, deleted ones not */
	size_t count;
};

static void
add_hex(struct shelf_buf *out, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		shelf_buf_printf(out, "%02x", bytes[i]);
}

void
golden_import_id(unsigned n, uint8_t id_out[16])
{
	for (unsigned i = 0; i < 16; i++)
		id_out[i] = (uint8_t)(n * 16 + i);
}

/* ---- Messages ---------------------------------------------------------------------------------- */

static int
list_body(struct listing *l, const struct shelf_msg *m)
{
	struct shelf_body *body = NULL;
	struct shelf_span piece;
	EVP_MD_CTX *sha = EVP_MD_CTX_new();
	uint8_t hash[32];
	uint64_t offset = 0;
	int rc = shelf_body_open(l->store, l->account, m->blob, &body);

	SHELF_ASSERT(sha != NULL && EVP_DigestInit_ex(sha, EVP_sha256(), NULL) == 1);
	while (rc == 0 && (rc = shelf_body_read(body, offset, SIZE_MAX, &piece)) == 0 && piece.len > 0) {
		SHELF_ASSERT(EVP_DigestUpdate(sha, piece.data, piece.len) == 1);
		offset += piece.len;
	}
	shelf_body_close(&body);
	SHELF_ASSERT(EVP_DigestFinal_ex(sha, hash, NULL) == 1);
	EVP_MD_CTX_free(sha);
	if (rc != 0)
		return rc;
	shelf_buf_add_str(l->out, " sha256 ");
	add_hex(l->out, hash, sizeof hash);
	/* docs/decisions/0003: the email id is the first half. */
	if (memcmp(hash, m->email_id, sizeof m->email_id) != 0) {
		shelf_buf_add_str(l->out, " but the email id is ");
		add_hex(l->out, m->email_id, sizeof m->email_id);
	}
	return 0;
}

static unsigned
count_parts(const struct mime_part *part)
{
	unsigned n = 1;

	for (const struct mime_part *c = part->child; c != NULL; c = c->next)
		n += count_parts(c);
	return n;
}

/* The stored result of the scan: its type, number of parts and subject. */
static int
list_derived(struct listing *l, uint64_t blob)
{
	struct shelf_arena arena = {0};
	struct shelf_span record;
	struct mime_part *root;
	int rc = shelf_msg_derived(l->rd, blob, &arena, &record);

	if (rc == 0)
		rc = mime_record_decode(record, &arena, &root);
	if (rc == 0) {
		shelf_buf_printf(l->out, " parts %u type ", count_parts(root));
		shelf_buf_add_json(l->out, root->subtype);
		shelf_buf_add_str(l->out, " subject ");
		shelf_buf_add_json(l->out, root->envelope->subject);
	}
	shelf_arena_free(&arena);
	return rc;
}

static int
list_msg(struct listing *l, const struct shelf_msg *m)
{
	int rc;

	shelf_buf_printf(l->out, "    %" PRIu32 " flags %" PRIx32 " keywords %" PRIx64, m->uid, m->flags,
	    m->keywords[0]);
	for (unsigned i = 1; i < 4; i++)
		if (m->keywords[i] != 0)
			shelf_buf_printf(l->out, " %u:%" PRIx64, 64 * i, m->keywords[i]);
	shelf_buf_printf(l->out, " modseq %" PRIu64 " date %" PRId64 " zone %d saved %" PRId64 " size %" PRIu64,
	    m->modseq, m->internaldate_s, m->zone_min, m->savedate_s, m->size);
	rc = list_body(l, m);
	if (rc == 0)
		rc = list_derived(l, m->blob);
	shelf_buf_add_byte(l->out, '\n');
	return rc;
}

/* ---- Mailboxes --------------------------------------------------------------------------------- */

static int
take_mailbox(void *arg, const struct shelf_mailbox *m)
{
	struct listing *l = arg;

	if (m->exists_now) {
		l->mailbox = shelf_realloc(l->mailbox, (l->count + 1) * sizeof *l->mailbox);
		l->mailbox[l->count++] = m->id;
	} else {
		shelf_buf_printf(l->out, "  subscribed %d to a missing ", m->subscribed);
		shelf_buf_add_json(l->out, m->name);
		shelf_buf_add_byte(l->out, '\n');
	}
	return 0;
}

/* The owner's entry comes first, as "", and is there without a row, too: then it has every right. */
static int
list_acl(void *arg, struct shelf_span who, unsigned rights)
{
	struct listing *l = arg;

	if (who.len > 0 || rights != SHELF_RIGHTS_ALL) {
		shelf_buf_printf(l->out, "   rights %x of ", rights);
		shelf_buf_add_json(l->out, who);
		shelf_buf_add_byte(l->out, '\n');
	}
	return 0;
}

static int
list_metadata(void *arg, struct shelf_span name, uint32_t size)
{
	struct listing *l = arg;

	shelf_buf_printf(l->out, "   metadata of %" PRIu32 " bytes ", size);
	shelf_buf_add_json(l->out, name);
	shelf_buf_add_byte(l->out, '\n');
	return 0;
}

static int
list_mailbox(struct listing *l, uint32_t id)
{
	struct shelf_keywords *words = SHELF_NEW(struct shelf_keywords);
	struct shelf_mailbox m, found;
	struct shelf_msg msg;
	int rc = shelf_mailbox_get(l->rd, id, &m);

	if (rc == 0)
		rc = shelf_mailbox_find(l->rd, m.name, &found);
	if (rc == 0 && found.id != id)
		rc = SHELF_ECORRUPT;
	if (rc == 0)
		rc = shelf_mailbox_keywords(l->rd, id, words);
	if (rc != 0) {
		free(words);
		return rc;
	}
	shelf_buf_printf(l->out, "  mailbox %" PRIu32 " ", id);
	shelf_buf_add_json(l->out, m.name);
	shelf_buf_printf(l->out, " uidvalidity %" PRIu32 " uidnext %" PRIu32 " modseq %" PRIu64 " exists %" PRIu32
	    " unseen %" PRIu32 " deleted %" PRIu32 " bytes %" PRIu64 " deleted_bytes %" PRIu64 " recent %" PRIu32
	    " use %u subscribed %d\n", m.uidvalidity, m.uidnext, m.highestmodseq, m.exists, m.unseen,
	    m.deleted, m.bytes, m.deleted_bytes, m.recent_from, m.special_use, found.subscribed);
	for (uint32_t i = 0; i < words->count; i++) {
		shelf_buf_printf(l->out, "   keyword %" PRIu32 " ", i);
		shelf_buf_add_json(l->out, words->name[i]);
		shelf_buf_add_byte(l->out, '\n');
	}
	free(words);
	if ((rc = shelf_acl_each(l->rd, id, "", list_acl, l)) == 0)
		rc = shelf_metadata_each(l->rd, id, list_metadata, l);
	for (uint32_t uid = 1; rc == 0; uid = msg.uid + 1) {
		rc = shelf_msg_next(l->rd, id, uid, SHELF_MSG_ALL, &msg);
		if (rc == 0)
			rc = list_msg(l, &msg);
	}
	return rc == SHELF_ENOMESSAGE ? 0 : rc;
}

/* ---- What is held ------------------------------------------------------------------------------- */

static int
list_held(void *arg, const struct shelf_held *held)
{
	struct listing *l = arg;

	shelf_buf_printf(l->out, "  held of mailbox %" PRIu32 " ", held->mailbox);
	shelf_buf_add_json(l->out, held->name);
	shelf_buf_printf(l->out, " deleted %d gone %" PRId64 " due %" PRId64 "\n", held->mailbox_deleted,
	    held->gone_s, held->due_s);
	return list_msg(l, &held->msg);
}

static int
list_deleted(void *arg, const struct shelf_deleted_mailbox *m)
{
	struct listing *l = arg;

	shelf_buf_printf(l->out, "  deleted mailbox %" PRIu32 " ", m->id);
	shelf_buf_add_json(l->out, m->name);
	shelf_buf_printf(l->out, " messages %" PRIu32 " bytes %" PRIu64 " due %" PRId64 "\n", m->messages,
	    m->bytes, m->due_s);
	return 0;
}

/* ---- Accounts ----------------------------------------------------------------------------------- */

static int
list_imports(struct listing *l)
{
	uint8_t id[GOLDEN_IMPORTS + 1][16], missing[GOLDEN_IMPORTS + 1];
	int rc;

	for (unsigned i = 0; i <= GOLDEN_IMPORTS; i++)
		golden_import_id(i, id[i]);
	rc = shelf_import_probe(l->rd, (const uint8_t(*)[16])id, GOLDEN_IMPORTS + 1, missing);
	shelf_buf_add_str(l->out, "  not imported yet");
	for (unsigned i = 0; rc == 0 && i <= GOLDEN_IMPORTS; i++)
		shelf_buf_printf(l->out, " %u", missing[i]);
	shelf_buf_add_byte(l->out, '\n');
	return rc;
}

static int
list_rows(struct listing *l)
{
	struct shelf_quota q;
	int rc = shelf_quota_get(l->rd, &q);

	if (rc != 0)
		return rc;
	shelf_buf_printf(l->out, "  modseq %" PRIu64 " limit %" PRIu64 " in %" PRIu64 " used %" PRIu64 " in %" PRIu64
	    " held %" PRIu64 " in %" PRIu64 "\n", shelf_rd_modseq(l->rd), q.limit_bytes, q.limit_messages,
	    q.used_bytes, q.used_messages, q.held_bytes, q.held_messages);
	if ((rc = list_imports(l)) != 0 || (rc = shelf_mailbox_each(l->rd, take_mailbox, l)) != 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < l->count; i++)
		rc = list_mailbox(l, l->mailbox[i]);
	return rc;
}

static int
list_account(void *arg, const struct shelf_account *a)
{
	const struct listing *all = arg;
	struct listing l = {.store = all->store, .out = all->out, .account = a->id};
	int rc = shelf_rd_begin(l.store, a->id, &l.rd);

	shelf_buf_printf(l.out, "account %" PRIu32 " %s services %u disabled %d password %d created %" PRId64
	    " partition %" PRIu32 "\n", a->id, a->name,
	    a->services & ~(unsigned)SHELF_SERVICE_SUBMISSION, /* no release of then knew it */
	    a->disabled, a->has_password,
	    a->created_s, a->partition);
	if (rc == 0)
		rc = list_rows(&l);
	/* Held messages are shown inside a snapshot of the walk; what they are made of is read in ours. */
	if (rc == 0)
		rc = shelf_held_each(l.store, a->id, list_held, &l);
	if (rc == 0)
		rc = shelf_deleted_mailbox_each(l.store, a->id, list_deleted, &l);
	shelf_rd_end(&l.rd);
	free(l.mailbox);
	return rc;
}

int
golden_list(struct shelf_store *store, struct shelf_buf *out)
{
	struct listing l = {.store = store, .out = out};

	return shelf_account_each(store, list_account, &l);
}
