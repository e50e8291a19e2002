/*
 * tool_store.c - init, purge: verbs about the store as a whole; opening it
 */
#include <string.h>

#include "tools.h"

int
tool_open(struct tool *t)
{
	int rc;

	if (t->store_dir == NULL || *t->store_dir == '\0')
		return tool_usage(t, "no store given: -s STORE, or MAILSHELF_STORE in the environment");
	rc = shelf_store_open(t->store_dir, 0, &t->store);
	if (rc == SHELF_EMISSING) {
		tool_say(t, "%s: no store there (mailshelf init makes one)", t->store_dir);
		return EX_NOINPUT;
	}
	return rc == 0 ? EX_OK : tool_fail(t, t->store_dir, rc);
}

int
tool_account(struct tool *t, const char *name, struct shelf_account *out)
{
	int rc = shelf_account_find(t->store, shelf_span_str(name), out);

	/* A name that cannot be one belongs to nobody. */
	if (rc == SHELF_ENAME)
		rc = SHELF_ENOACCOUNT;
	return rc == 0 ? EX_OK : tool_fail(t, name, rc);
}

int
tool_open_account(struct tool *t, struct shelf_account *out)
{
	int rc = tool_open(t);

	return rc != 0 ? rc : tool_account(t, t->argv[0], out);
}

int
tool_init(struct tool *t)
{
	struct tool_number partitions = {0}, map = {0};
	struct tool_texts dirs = {0};
	const char *hold = NULL;
	const struct tool_option options[] = {
		{"partitions", TOOL_COUNT, &partitions}, {"map-size", TOOL_SIZE, &map},
		{"hold", TOOL_TEXT, &hold}, {"partition-dir", TOOL_TEXTS, &dirs}, {0}};
	struct shelf_store_params params = {0};
	struct shelf_buf b = {0};
	int rc = tool_args(t, options, 0, 0);

	if (rc != 0)
		return rc;
	if (t->store_dir == NULL || *t->store_dir == '\0')
		return tool_usage(t, "no store given: -s STORE, or MAILSHELF_STORE in the environment");
	if (partitions.given && (partitions.value < 1 || partitions.value > 64))
		return tool_usage(t, "--partitions: must be 1..64");
	if (map.given && map.value < 16 * 1024 * 1024)
		return tool_usage(t, "--map-size: must be at least 16M");
	if (hold != NULL && !tool_duration(hold, &params.hold_s))
		return tool_usage(t, "--hold %s: not a time (14d, 36h, none)", hold);
	params.partitions = (uint32_t)partitions.value;
	params.map_bytes = map.value;
	params.partition_dirs = dirs.text;
	params.partition_dir_count = dirs.count;
	if (partitions.given && partitions.value < dirs.count)
		return tool_usage(t, "--partitions: fewer than directories for them");
	rc = shelf_store_create(t->store_dir, &params);
	if (rc == SHELF_EEXISTS) {
		tool_say(t, "%s%s: holds a store or other files already", t->store_dir,
		    dirs.count > 0 ? ", or a directory for partitions" : "");
		return EX_CANTCREAT;
	}
	if (rc != 0) {
		tool_fail(t, t->store_dir, rc);
		return rc == SHELF_EINVALID ? EX_USAGE : EX_CANTCREAT;
	}
	if (!t->json) {
		tool_print("store made in %s", t->store_dir);
		return EX_OK;
	}
	shelf_buf_add_byte(&b, '{');
	tool_json_str(&b, "store", shelf_span_str(t->store_dir));
	shelf_buf_add_byte(&b, '}');
	tool_print_buf(&b);
	return EX_OK;
}

/* ---- purge --------------------------------------------------------------------------------------- */

int
tool_purge(struct tool *t)
{
	struct shelf_buf b = {0};
	int rc = tool_args(t, NULL, 0, 0);

	if (rc == 0)
		rc = tool_open(t);
	if (rc != 0)
		return rc;
	tool_catch_interrupts();
	do {
		rc = shelf_store_purge(t->store, 500);
	} while (rc == 1 && !tool_interrupted());
	if (rc == 0)
		do {
			rc = shelf_stats_catch_up(t->store, 500);
		} while (rc == 1 && !tool_interrupted());
	if (rc < 0)
		return tool_fail(t, t->store_dir, rc);
	if (t->json) {
		shelf_buf_add_byte(&b, '{');
		tool_json_bool(&b, "finished", rc == 0);
		shelf_buf_add_byte(&b, '}');
		tool_print_buf(&b);
	} else if (rc == 0) {
		tool_print("nothing is left to remove");
	}
	if (rc == 0)
		return EX_OK;
	tool_say(t, "%s: interrupted, more is left to do", t->store_dir);
	return EX_TEMPFAIL;
}
