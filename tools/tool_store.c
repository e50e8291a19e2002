/*
 * tool_store.c - init, stats, purge: verbs about the store as a whole; opening it
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
tool_init(struct tool *t)
{
	struct tool_number partitions = {0}, map = {0};
	const char *hold = NULL;
	const struct tool_option options[] = {
		{"partitions", TOOL_COUNT, &partitions}, {"map-size", TOOL_SIZE, &map},
		{"hold", TOOL_TEXT, &hold}, {0}};
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
	rc = shelf_store_create(t->store_dir, &params);
	if (rc == SHELF_EEXISTS) {
		tool_say(t, "%s: holds a store or other files already", t->store_dir);
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

/* ---- stats --------------------------------------------------------------------------------------- */

struct totals {
	struct shelf_store *store;
	uint64_t accounts, messages, bytes, held_bytes;
};

static int
add_account(void *arg, const struct shelf_account *account)
{
	struct totals *sum = arg;
	struct shelf_quota q;
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(sum->store, account->id, &rd);

	if (rc == 0)
		rc = shelf_quota_get(rd, &q);
	shelf_rd_end(&rd);
	if (rc == SHELF_ENOACCOUNT) /* deleted since it was listed */
		return 0;
	if (rc != 0)
		return rc;
	sum->accounts++;
	sum->messages += q.used_messages;
	sum->bytes += q.used_bytes;
	sum->held_bytes += q.held_bytes;
	return 0;
}

/* The worst state, and each partition that is not well. */
static void
print_disks(const struct tool *t, const struct shelf_disk *disks, uint32_t n, struct shelf_buf *json)
{
	enum shelf_disk_state worst = SHELF_DISK_OK;
	char disk[32], map[32];

	for (uint32_t i = 0; i < n; i++)
		worst = disks[i].state > worst ? disks[i].state : worst;
	if (!t->json)
		tool_print("%-24s %s", "disk state", shelf_disk_state_text(worst));
	tool_json_str(json, "disk_state", shelf_span_str(shelf_disk_state_text(worst)));
	tool_json_key(json, "partitions_low");
	shelf_buf_add_byte(json, '[');
	for (uint32_t i = 0; i < n; i++) {
		if (disks[i].state == SHELF_DISK_OK)
			continue;
		if (!t->json)
			tool_print("  partition %-3u %-10s %s free on disk, %s in the map", i,
			    shelf_disk_state_text(disks[i].state),
			    shelf_size_text(disks[i].disk_free_bytes, disk, sizeof disk),
			    shelf_size_text(disks[i].map_free_bytes, map, sizeof map));
		if (json->data[json->len - 1] != '[')
			shelf_buf_add_byte(json, ',');
		shelf_buf_add_byte(json, '{');
		tool_json_u64(json, "partition", i);
		tool_json_str(json, "state", shelf_span_str(shelf_disk_state_text(disks[i].state)));
		tool_json_u64(json, "disk_free_bytes", disks[i].disk_free_bytes);
		tool_json_u64(json, "map_free_bytes", disks[i].map_free_bytes);
		shelf_buf_add_byte(json, '}');
	}
	shelf_buf_add_byte(json, ']');
}

static void
print_stats(const struct tool *t, const struct shelf_store_stats *s, const struct totals *sum,
    const struct shelf_disk *disks)
{
	const struct {
		const char *key, *text;
		uint64_t value;
		bool size;
	} rows[] = {
		{"accounts", "accounts", sum->accounts, false},
		{"messages", "messages", sum->messages, false},
		{"message_bytes", "bytes of messages", sum->bytes, true},
		{"held_bytes", "removed, still held", sum->held_bytes, true},
		{"partitions", "partitions", s->partitions, false},
		{"file_bytes", "data files", s->file_bytes, true},
		{"free_bytes", "of these free for reuse", s->free_bytes, true},
		{"disk_free_bytes", "free on disk", s->disk_free_bytes, true},
	};
	struct shelf_buf b = {0};
	char size[32];

	shelf_buf_add_byte(&b, '{');
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (t->json)
			tool_json_u64(&b, rows[i].key, rows[i].value);
		else if (rows[i].size)
			tool_print("%-24s %s", rows[i].text,
			    shelf_size_text(rows[i].value, size, sizeof size));
		else
			tool_print("%-24s %llu", rows[i].text, (unsigned long long)rows[i].value);
	}
	print_disks(t, disks, s->partitions, &b);
	shelf_buf_add_byte(&b, '}');
	if (t->json)
		tool_print_buf(&b);
	else
		shelf_buf_free(&b);
}

int
tool_stats(struct tool *t)
{
	struct shelf_store_stats stats;
	struct shelf_disk disks[SHELF_PARTITIONS_MAX];
	struct totals sum = {0};
	int rc = tool_args(t, NULL, 0, 0);

	if (rc == 0)
		rc = tool_open(t);
	if (rc != 0)
		return rc;
	sum.store = t->store;
	rc = shelf_account_each(t->store, add_account, &sum);
	if (rc == 0)
		rc = shelf_store_stats(t->store, &stats);
	for (uint32_t i = 0; rc == 0 && i < stats.partitions; i++)
		rc = shelf_store_disk(t->store, i, &disks[i]);
	if (rc != 0)
		return tool_fail(t, t->store_dir, rc);
	print_stats(t, &stats, &sum, disks);
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
