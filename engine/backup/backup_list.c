/* backup_list.c - what is in a file, for people: accounts, mailboxes, messages */
#include <stdlib.h>

#include <mailshelf/arena.h>
#include <mailshelf/mem.h>
#include <mailshelf/mime.h>

#include "backup.h"

/* ---- Accounts ------------------------------------------------------------------------------------------ */

struct listing {
	struct shelf_backup *b;
	shelf_backup_account_fn *account;
	shelf_backup_mailbox_fn *mailbox;
	void *arg;
};

/* Name and numbers of an account; SHELF_ECORRUPT when its USER row is none. */
static int
account_out(const struct backup_account *a, struct shelf_backup_account *out)
{
	struct mail_user u;
	int rc = mail_user_decode(a->user, &u);

	*out = (struct shelf_backup_account){
	    .id = a->id, .late = a->late, .generation = a->generation, .quota = a->quota};
	if (rc == 0)
		rc = mail_account_name(u.name, out->name) != 0 ? SHELF_ECORRUPT : 0;
	return rc;
}

static int
list_account(void *arg, const struct backup_account *a)
{
	struct listing *l = arg;
	struct shelf_backup_account out;
	int rc = account_out(a, &out);

	return rc != 0 ? rc : l->account(l->arg, &out);
}

int
shelf_backup_accounts(struct shelf_backup *b, shelf_backup_account_fn *fn, void *arg)
{
	struct listing l = {.b = b, .account = fn, .arg = arg};

	return backup_each_account(b, list_account, &l);
}

static int
match_account(void *arg, const struct backup_account *a)
{
	struct backup_found *f = arg;
	struct shelf_backup_account out;
	int rc = account_out(a, &out);

	if (rc != 0 || strcmp(out.name, f->name) != 0)
		return rc;
	shelf_buf_add_span(&f->user, a->user);
	shelf_buf_add_span(&f->lists, a->lists);
	f->account = *a;
	f->account.user = shelf_buf_span(&f->user);
	f->account.lists = shelf_buf_span(&f->lists);
	return 1;
}

int
backup_find_account(struct shelf_backup *b, const char *name, struct backup_found *f)
{
	int rc;

	*f = (struct backup_found){0};
	if (mail_account_name(shelf_span_str(name), f->name) != 0)
		return SHELF_ENOACCOUNT;
	rc = backup_each_account(b, match_account, f);
	return rc == 1 ? 0 : rc == 0 ? SHELF_ENOACCOUNT : rc;
}

void
backup_found_free(struct backup_found *f)
{
	shelf_buf_free(&f->user);
	shelf_buf_free(&f->lists);
}

/* ---- Mailboxes ----------------------------------------------------------------------------------------- */

static int
list_mailbox(void *arg, const char *table, struct shelf_span key, struct shelf_span value)
{
	struct listing *l = arg;
	struct mail_mbox m;
	int rc;

	if (backup_table(table) != KV_MBOX)
		return 0;
	if (key.len != 4 || (rc = mail_mbox_decode(value, &m)) != 0)
		return SHELF_ECORRUPT;
	return l->mailbox(l->arg, &(struct shelf_backup_mailbox){.name = m.name,
								 .id = base_get_be32(key.data),
								 .messages = m.exists,
								 .bytes = m.bytes,
								 .deleted = (m.flags & MAIL_MBOX_DELETED) != 0});
}

int
shelf_backup_mailboxes(struct shelf_backup *b, const char *account, shelf_backup_mailbox_fn *fn, void *arg)
{
	struct listing l = {.b = b, .mailbox = fn, .arg = arg};
	struct backup_found f;
	int rc = backup_find_account(b, account, &f);

	if (rc == 0)
		rc = backup_each_account_row(b, &f.account, list_mailbox, &l);
	backup_found_free(&f);
	return rc;
}

/* ---- Messages ------------------------------------------------------------------------------------------ */

struct messages {
	struct shelf_backup *b;
	struct shelf_span name;
	uint32_t mailbox; /* 0: not found yet */
	shelf_backup_message_fn *fn;
	void *arg;
};

static int
scan_piece(void *arg, struct shelf_span piece)
{
	mime_scan_feed(arg, piece.data, piece.len);
	return 1;
}

int
backup_scan_start(struct shelf_backup *b, const uint8_t *hash, uint64_t size, struct shelf_arena *arena,
		  struct mime_part **root_out)
{
	struct mime_scan *scan = mime_scan_new(arena);
	int rc = backup_each_piece(b, hash, size, scan_piece, scan);

	*root_out = mime_scan_end(&scan);
	return rc < 0 ? rc : 0;
}

static int
list_message(struct messages *m, const struct shelf_msg *msg)
{
	struct shelf_arena arena = {0};
	struct mime_part *root;
	int rc = backup_scan_start(m->b, msg->email_id, msg->size, &arena, &root);

	/* A damaged body is shown as a message without sender and subject. */
	if (rc == 0 || rc == SHELF_EMISSING || rc == SHELF_ECORRUPT)
		rc = m->fn(m->arg, msg, rc == 0 ? root : NULL);
	shelf_arena_free(&arena);
	return rc;
}

/* Tables come in their order: mailboxes before messages. */
static int
take_message_row(void *arg, const char *table, struct shelf_span key, struct shelf_span value)
{
	struct messages *m = arg;
	unsigned t = backup_table(table);
	struct mail_mbox box;
	struct mail_msg row;
	struct shelf_msg msg;
	int rc;

	if (t == KV_MBOX && m->mailbox == 0) {
		if (key.len != 4 || (rc = mail_mbox_decode(value, &box)) != 0)
			return SHELF_ECORRUPT;
		if ((box.flags & MAIL_MBOX_DELETED) == 0 && shelf_span_eq(box.name, m->name))
			m->mailbox = base_get_be32(key.data);
	}
	if (t != KV_MSG)
		return 0;
	if (key.len != 8 || (rc = mail_msg_decode(value, &row)) != 0)
		return SHELF_ECORRUPT;
	if (m->mailbox == 0 || base_get_be32(key.data) != m->mailbox)
		return 0;
	msg = (struct shelf_msg){.uid = base_get_be32(key.data + 4)};
	mail_msg_fill(&row, &msg);
	return list_message(m, &msg);
}

int
shelf_backup_messages(struct shelf_backup *b, const char *account, struct shelf_span mailbox,
		      shelf_backup_message_fn *fn, void *arg)
{
	struct messages m = {.b = b, .fn = fn, .arg = arg};
	struct shelf_buf name = {0};
	struct backup_found f;
	int rc = backup_find_account(b, account, &f);

	if (rc == 0 && (rc = shelf_mailbox_canonical(mailbox, &name)) == 0) {
		m.name = shelf_buf_span(&name);
		rc = backup_each_account_row(b, &f.account, take_message_row, &m);
	}
	if (rc == 0 && m.mailbox == 0)
		rc = SHELF_ENOMAILBOX;
	shelf_buf_free(&name);
	backup_found_free(&f);
	return rc;
}
