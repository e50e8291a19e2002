/*
 * fuzz_backup.c - backup files from anywhere
 *
 * The first byte says what the rest is: 0 a whole file; else the content of one section, with right checksums and right
 * references to it, in a file that is good otherwise: what a checksum covers is still input.
 *
 * Property: such a file is refused, or read with errors that have a reason; and what verifies without a problem can be
 * listed without an error.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <mailshelf/mem.h>

#include "backup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum part { WHOLE, ROWS, CATALOG, LIST, BODIES, INDEX, END, PARTS };

static char path[256];

static void
must(int rc)
{
	SHELF_ASSERT(rc == 0);
}

/* A reason that a file can be refused for. */
static int
expect(int rc)
{
	SHELF_ASSERT(rc == 0 || rc == SHELF_ECORRUPT || rc == SHELF_EVERSION || rc == SHELF_ESYNTAX ||
		     rc == SHELF_EMISSING || rc == SHELF_ENOACCOUNT || rc == SHELF_ENOMAILBOX);
	return rc;
}

static void
write_whole(struct shelf_span bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	SHELF_ASSERT(fd >= 0 && write(fd, bytes.data, bytes.len) == (ssize_t)bytes.len);
	close(fd);
}

/* A section with the fuzzer's content when it is the one chosen. */
static void
put(struct backup_pack *p, enum backup_kind kind, bool chosen, struct shelf_span input, struct shelf_span good,
    struct shelf_buf *ids)
{
	must(backup_pack_section(p, kind, chosen ? input : good, ids));
}

/* The rows of an account with one message, into R. */
static void
add_account_rows(struct backup_rows *r, const uint8_t *hash, uint64_t body_bytes)
{
	struct mail_mbox m = {.uidvalidity = 1, .uidnext = 2, .highestmodseq = 1, .exists = 1, .recent_from = 1,
			      .name = shelf_span_str("INBOX")};
	struct mail_msg msg = {.size = body_bytes};
	struct mail_key box = mail_key1(1), one = mail_key2(1, 1);
	struct shelf_buf value = {0};

	mail_mbox_encode(&value, &m);
	must(backup_rows_add(r, "MBOX", mail_key_span(&box), shelf_buf_span(&value)));
	shelf_buf_clear(&value);
	memcpy(msg.email_id, hash, sizeof(msg.email_id));
	mail_msg_encode(&value, &msg);
	must(backup_rows_add(r, "MSG", mail_key_span(&one), shelf_buf_span(&value)));
	shelf_buf_free(&value);
}

static void
add_catalog_rows(struct backup_rows *r, struct shelf_span lists)
{
	struct backup_account a = {.id = 1, .modseq = 1, .generation = 1, .lists = lists};
	struct mail_key key = mail_key1(1);
	struct shelf_buf user = {0}, value = {0};

	base_add_le(&user, 1, 1);
	base_add_le(&user, 7, 4);
	base_add_le(&user, 0, 1);
	base_add_le(&user, 0, 8);
	base_add_text(&user, shelf_span_str("a"));
	base_add_text(&user, shelf_span_str(""));
	a.user = shelf_buf_span(&user);
	a.quota.used_messages = 1;
	backup_account_encode(&a, &value);
	must(backup_rows_add(r, "ACCOUNT", mail_key_span(&key), shelf_buf_span(&value)));
	shelf_buf_free(&user);
	shelf_buf_free(&value);
}

static void
write_bodies(struct backup_pack *p, bool chosen, struct shelf_span input, struct shelf_span body, const uint8_t *hash)
{
	struct backup_place place;

	must(backup_pack_piece(p, hash, body.len, 0, body, &place));
	if (chosen) {
		shelf_buf_clear(&p->bodies);
		shelf_buf_add_span(&p->bodies, input);
	}
	must(backup_pack_flush(p));
	must(backup_pack_body(p, hash, body.len, place));
}

static void
build(enum part part, struct shelf_span input)
{
	struct backup_pack p = {.index = backup_index_new()};
	struct backup_rows rows = {.pack = &p}, catalog = {.pack = &p};
	struct backup_generation g = {.number = 1, .accounts = 1, .messages = 1};
	struct shelf_span body = shelf_span_str("Subject: one\r\n\r\ntext\r\n");
	struct shelf_buf ids = {0}, lists = {0}, raw = {0};
	uint8_t hash[BACKUP_HASH_BYTES];
	uint64_t offset;

	unlink(path);
	must(backup_file_open(path, true, &p.file));
	g.start = p.file->size;
	backup_hash(body, hash);
	write_bodies(&p, part == BODIES, input, body, hash);
	add_account_rows(&rows, hash, body.len);
	put(&p, BACKUP_ROWS, part == ROWS, input, shelf_buf_span(&rows.raw), &ids);
	put(&p, BACKUP_LIST, part == LIST, input, shelf_buf_span(&ids), &lists);
	add_catalog_rows(&catalog, shelf_buf_span(&lists));
	put(&p, BACKUP_ROWS, part == CATALOG, input, shelf_buf_span(&catalog.raw), &g.catalog);
	if (part == INDEX) {
		shelf_buf_clear(&p.listed);
		shelf_buf_add_span(&p.listed, input);
	}
	must(backup_pack_end(&p));
	shelf_buf_add_span(&g.index, shelf_buf_span(&p.index_offsets));
	backup_generation_encode(&g, &raw);
	must(backup_section_put(p.file, BACKUP_END, part == END ? input : shelf_buf_span(&raw), &offset));
	must(backup_file_commit(p.file, g.start, offset, 1));
	backup_file_close(&p.file);
	backup_index_free(&p.index);
	backup_pack_free(&p);
	backup_rows_free(&rows);
	backup_rows_free(&catalog);
	backup_generation_free(&g);
	shelf_buf_free(&ids);
	shelf_buf_free(&lists);
	shelf_buf_free(&raw);
}

static void
count(void *arg, const char *text)
{
	SHELF_ASSERT(text[0] != '\0');
	++*(unsigned *)arg;
}

static int
on_account(void *arg, const struct shelf_backup_account *a)
{
	SHELF_ASSERT(a->id != 0 && a->name[0] != '\0');
	return 0;
}

static int
on_mailbox(void *arg, const struct shelf_backup_mailbox *m)
{
	return 0;
}

static int
on_message(void *arg, const struct shelf_msg *msg, const struct mime_part *root)
{
	return 0;
}

static void
read_all(void)
{
	struct shelf_backup *b = NULL;
	unsigned problems = 0;
	int rc;

	if (expect(shelf_backup_open(path, 0, &b)) != 0)
		return;
	rc = expect(shelf_backup_verify(b, NULL, count, &problems));
	if (expect(shelf_backup_accounts(b, on_account, NULL)) != 0)
		SHELF_ASSERT(rc != 0 || problems > 0);
	expect(shelf_backup_mailboxes(b, "a", on_mailbox, NULL));
	expect(shelf_backup_messages(b, "a", shelf_span_str("INBOX"), on_message, NULL));
	shelf_backup_close(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *dir = getenv("TMPDIR");

	if (size == 0 || size > BACKUP_RAW_MAX)
		return 0;
	if (path[0] == '\0')
		snprintf(path, sizeof(path), "%s/fuzz_backup.%d", dir == NULL ? "/tmp" : dir, (int)getpid());
	if (data[0] % PARTS == WHOLE)
		write_whole(shelf_span(data + 1, size - 1));
	else
		build((enum part)(data[0] % PARTS), shelf_span(data + 1, size - 1));
	read_all();
	unlink(path);
	return 0;
}
