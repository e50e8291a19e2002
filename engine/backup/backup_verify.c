/*
 * backup_verify.c - reads all that a generation stands for
 *
 * Every section passes its checksum when it is read; here every reference is followed, every row decoded, every body
 * read whole. What the index lists is verified too, referred to or not: another generation may refer to it.
 */
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "backup.h"

enum { STEP = 64 };

struct verify {
	struct shelf_backup *b;
	shelf_progress_fn *progress;
	shelf_backup_problem_fn *problem;
	void *arg;
	uint64_t done, total;
	uint64_t accounts, messages;
	uint32_t account;
	uint64_t lost; /* bodies of this account that the file does not hold */
};

static void
tell(struct verify *v, const char *what, uint64_t number, const char *why)
{
	struct shelf_buf text = {0};

	shelf_buf_printf(&text, "%s %llu: %s", what, (unsigned long long)number, why);
	if (v->problem != NULL)
		v->problem(v->arg, shelf_buf_cstr(&text));
	shelf_buf_free(&text);
}

/* Damage is told and passed over; what stops the walk comes back. */
static int
pass_over(struct verify *v, const char *what, uint64_t number, int rc)
{
	if (rc == 0 || (rc != SHELF_EMISSING && rc != SHELF_EVERSION && rc != SHELF_ECORRUPT))
		return rc;
	tell(v, what, number, rc == SHELF_ECORRUPT ? "damaged" : shelf_err_text(rc));
	return 0;
}

static void
step(struct verify *v)
{
	if (++v->done % STEP == 0 && v->progress != NULL)
		v->progress(v->arg, v->done < v->total ? v->done : v->total, v->total);
}

static int
take_piece(void *arg, struct shelf_span piece)
{
	return 0;
}

/* Sections of rows and lists are read where accounts refer to them. */
static int
verify_entry(void *arg, enum backup_kind kind, const uint8_t *hash, uint64_t size, struct backup_place place)
{
	struct verify *v = arg;

	step(v);
	if (kind != BACKUP_BODIES)
		return 0;
	return pass_over(v, "message at offset", place.offset, backup_each_piece(v->b, hash, size, take_piece, NULL));
}

static int
verify_row(void *arg, const char *table, struct shelf_span key, struct shelf_span value)
{
	struct verify *v = arg;
	struct carry_row row = {.table = (enum kv_table)backup_table(table), .key = key, .value = value};
	struct shelf_buf buf = {0};
	struct backup_place place;
	int rc;

	if (row.table == KV_TABLES)
		return SHELF_EVERSION;
	rc = key.len > KV_KEY_MAX || value.len > KV_VALUE_MAX ? SHELF_ECORRUPT : mail_carry_unbind(&row, &buf);
	if (rc == 0 && row.has_body) {
		v->messages++;
		v->lost += !backup_index_find(v->b->index, BACKUP_BODIES, row.hash, row.size, &place);
	}
	shelf_buf_free(&buf);
	return rc;
}

static int
verify_account(void *arg, const struct backup_account *a)
{
	struct verify *v = arg;
	struct mail_user u;
	uint64_t before = v->messages;
	int rc = mail_user_decode(a->user, &u);

	v->account = a->id;
	v->accounts++;
	v->lost = 0;
	if (rc == 0)
		rc = backup_each_account_row(v->b, a, verify_row, v);
	if (rc == 0 && v->lost > 0)
		tell(v, "account", a->id, "messages without their bytes");
	if (rc == 0 && v->messages - before != a->quota.used_messages + a->quota.held_messages)
		tell(v, "account", a->id, "messages are missing");
	return pass_over(v, "account", a->id, rc);
}

int
shelf_backup_verify(struct shelf_backup *b, shelf_progress_fn *progress, shelf_backup_problem_fn *problem, void *arg)
{
	struct verify v = {.b = b, .progress = progress, .problem = problem, .arg = arg};
	int rc;

	v.total = backup_index_count(b->index);
	if (b->file->damaged)
		tell(&v, "generation behind", b->file->number, "damaged, not verified");
	if ((rc = backup_each_account(b, verify_account, &v)) != 0)
		rc = pass_over(&v, "catalog of generation", b->generation.number, rc);
	else if (v.accounts != b->generation.accounts || v.messages != b->generation.messages)
		tell(&v, "generation", b->generation.number, "accounts or messages are missing");
	if (rc == 0)
		rc = backup_index_each(b->index, verify_entry, &v);
	if (rc == 0 && progress != NULL)
		progress(arg, v.total, v.total);
	return rc;
}
