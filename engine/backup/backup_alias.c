/*
 * backup_alias.c - aliases: rows of the catalog's table ALIAS, behind the accounts
 *
 * Key: the address; value: what it stands for, each ended by a NUL.
 */
#include <stdlib.h>

#include <mailshelf/alias.h>
#include <mailshelf/mem.h>

#include "backup.h"

static const char table_name[] = "ALIAS";

static int
save_one(void *catalog, struct shelf_span address, struct shelf_span targets)
{
	return backup_rows_add(catalog, table_name, address, targets);
}

int
backup_aliases_save(struct shelf_store *store, struct backup_rows *catalog)
{
	return shelf_alias_each(store, save_one, catalog);
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
	return strcmp(table, table_name) == 0 ? load_one(store, key, value) : 0;
}

int
backup_aliases_load(struct shelf_backup *b, struct shelf_store *store)
{
	return backup_each_row(b, shelf_buf_span(&b->generation.catalog), take_row, store);
}

bool
backup_is_alias(const char *table)
{
	return strcmp(table, table_name) == 0;
}
