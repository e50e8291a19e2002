/*
 * backup_names.c - what the catalog has but accounts: aliases, policies, rules of expiry; rows of its tables ALIAS,
 * POLICY and EXPIRE
 *
 * ALIAS    key: the address; value: what it stands for, each ended by a NUL
 * POLICY   key: the scope; value: the row
 */
#include <stdlib.h>

#include <mailshelf/alias.h>
#include <mailshelf/mem.h>

#include "backup.h"
#include "mail.h"

static const char alias_name[] = "ALIAS", policy_name[] = "POLICY", expire_name[] = "EXPIRE";

static int
save_one(void *catalog, struct shelf_span address, struct shelf_span targets)
{
	return backup_rows_add(catalog, alias_name, address, targets);
}

int
backup_names_save(struct shelf_store *store, struct backup_rows *catalog)
{
	struct shelf_buf scope = {0}, row = {0};
	int rc = shelf_alias_each(store, save_one, catalog);

	while (rc == 0 && (rc = mail_policy_next(store, &scope, &row)) == 1)
		rc = backup_rows_add(catalog, policy_name, shelf_buf_span(&scope), shelf_buf_span(&row));
	shelf_buf_clear(&scope);
	while (rc == 0 && (rc = mail_expire_next(store, &scope, &row)) == 1)
		rc = backup_rows_add(catalog, expire_name, shelf_buf_span(&scope), shelf_buf_span(&row));
	shelf_buf_free(&scope);
	shelf_buf_free(&row);
	return rc;
}

static int
load_one(struct shelf_store *store, struct shelf_span address, struct shelf_span targets)
{
	struct shelf_span *list = shelf_zalloc((targets.len + 1) * sizeof(*list));
	size_t n = 0, pos = 0;
	int rc = SHELF_ECORRUPT;

	while (pos < targets.len) {
		ptrdiff_t end = shelf_span_find(targets, 0, pos);

		if (end < 0)
			break;
		list[n++] = shelf_span(targets.data + pos, (size_t)end - pos);
		pos = (size_t)end + 1;
	}
	if (n > 0 && pos == targets.len)
		rc = shelf_alias_set(store, address, list, n);
	free(list);
	return rc == SHELF_ENAME || rc == SHELF_ELIMIT ? SHELF_ECORRUPT : rc;
}

static int
take_row(void *store, const char *table, struct shelf_span key, struct shelf_span value)
{
	if (strcmp(table, alias_name) == 0)
		return load_one(store, key, value);
	if (strcmp(table, expire_name) == 0)
		return mail_expire_load(store, key, value);
	return strcmp(table, policy_name) == 0 ? mail_policy_load(store, key, value) : 0;
}

int
backup_names_load(struct shelf_backup *b, struct shelf_store *store)
{
	return backup_each_row(b, shelf_buf_span(&b->generation.catalog), take_row, store);
}

bool
backup_is_name(const char *table)
{
	return strcmp(table, alias_name) == 0 || strcmp(table, policy_name) == 0 || strcmp(table, expire_name) == 0;
}
