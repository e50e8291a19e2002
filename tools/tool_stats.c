/*
 * tool_stats.c - the verb stats: what the store, a partition, a domain, an account takes
 *
 * Everything is read from sums that are kept (stats.h): nothing here walks messages, and only --accounts and
 * --domains grow with the number of what they list.
 */
#include <string.h>

#include "tools.h"

enum { COLUMNS_MAX = 24 };

/* Columns of a table, and the values of one line in the same order. */
struct sheet {
	struct tool_column column[COLUMNS_MAX];
	size_t n;
};

static void
add_column(struct sheet *s, const char *key, const char *text, enum tool_unit unit, bool json_only)
{
	s->column[s->n++] = (struct tool_column){key, text, unit, json_only};
}

/* ACCOUNTS: how many there are; false for a line that is one. */
static void
add_totals(struct sheet *s, bool accounts)
{
#define SHELF_TOTAL(name, bytes, text) \
	add_column(s, #name, text, (bytes) ? TOOL_BYTES : TOOL_NUMBER, false);
#include <mailshelf/totals.def>
#undef SHELF_TOTAL
	if (!accounts)
		memmove(s->column, s->column + 1, --s->n * sizeof *s->column);
	for (size_t i = 0; i < s->n; i++)
		s->column[i].json_only = strcmp(s->column[i].key, "held_shared_bytes") == 0 ||
		    strcmp(s->column[i].key, "noted_messages") == 0;
	add_column(s, "reclaimable_bytes", "free when the hold ends", TOOL_BYTES, false);
	add_column(s, "uncounted_messages", "messages not in them yet", TOOL_NUMBER, true);
}

static uint64_t *
put_totals(uint64_t *v, const struct shelf_totals *t, bool accounts)
{
	const uint64_t all[] = {
#define SHELF_TOTAL(name, bytes, text) t->name,
#include <mailshelf/totals.def>
#undef SHELF_TOTAL
	};

	for (size_t i = accounts ? 0 : 1; i < sizeof all / sizeof *all; i++)
		*v++ = all[i];
	*v++ = shelf_totals_reclaimable(t);
	*v++ = shelf_totals_uncounted_messages(t);
	return v;
}

/* ---- Accounts ------------------------------------------------------------------------------------ */

static void
add_account_columns(struct sheet *s)
{
	add_totals(s, false);
	add_column(s, "mailboxes", "mailboxes", TOOL_NUMBER, true);
	add_column(s, "partition", "partition", TOOL_NUMBER, true);
	add_column(s, "next_due", "next goes for good, UTC", TOOL_TIME, true);
	add_column(s, "next_due_removed", "  was removed, UTC", TOOL_TIME, true);
}

struct gather {
	struct tool *t;
	struct tool_table *table;
};

static int
add_account(void *arg, const struct shelf_account *account)
{
	struct gather *g = arg;
	struct shelf_account_stats a;
	uint64_t *v;
	int rc = shelf_stats_account(g->t->store, account->id, &a);

	if (rc != 0)
		return rc == SHELF_ENOACCOUNT ? 0 : rc; /* deleted since it was listed */
	v = put_totals(tool_table_add(g->table, account->name), &a.totals, false);
	*v++ = a.mailboxes;
	*v++ = account->partition;
	*v++ = (uint64_t)a.due_s;
	*v++ = (uint64_t)a.gone_s;
	return 0;
}

/* ---- Domains ------------------------------------------------------------------------------------- */

static int
add_domain(void *arg, struct shelf_span name, const struct shelf_totals *totals)
{
	struct gather *g = arg;
	char text[SHELF_ACCOUNT_NAME_MAX + 2];

	snprintf(text, sizeof text, "%.*s", (int)name.len, (const char *)name.data);
	put_totals(tool_table_add(g->table, text), totals, true);
	return 0;
}

/* "@example.org" is as good as "example.org"; "@" or "" are the names without a domain. */
static int
find_domain(struct gather *g, const char *name)
{
	struct shelf_totals totals;
	int rc;

	if (*name == '@')
		name++;
	rc = shelf_stats_domain(g->t->store, shelf_span_str(name), &totals);
	return rc != 0 ? rc : add_domain(g, shelf_span_str(name), &totals);
}

/* ---- Partitions ---------------------------------------------------------------------------------- */

/* The fields of shelf_partition_stats behind the totals. */
#define PARTITION_NUMBERS(X)                                            \
	X(uncounted_accounts, false, "accounts not counted", true)       \
	X(bodies, false, "bodies", true)                                 \
	X(body_bytes, true, "  bytes of these", true)         \
	X(physical_bytes, true, "  stored for these", false)  \
	X(references, false, "references to these", true)                \
	X(gross_bytes, true, "  stored, counted for each", true)            \
	X(saved_bytes, true, "  saved by storing once", false)           \
	X(uncounted_bodies, false, "bodies not counted yet", true)       \
	X(waiting_bytes, true, "wait for removal", true)                 \
	X(staged_bytes, true, "stored ahead", true)                      \
	X(file_bytes, true, "data files", false)                         \
	X(free_bytes, true, "  of these free for reuse", false)          \
	X(reclaimable_bytes, true, "free for reuse, now or soon", false)           \
	X(disk_free_bytes, true, "free on disk", false)

static void
add_partition_columns(struct sheet *s)
{
	static const char *const shown = " accounts messages message_bytes held_bytes ";
	char key[64];

	add_totals(s, true);
	s->n -= 2; /* a partition's reclaimable bytes are its own */
	for (size_t i = 0; i < s->n; i++) {
		snprintf(key, sizeof key, " %s ", s->column[i].key);
		s->column[i].json_only = strstr(shown, key) == NULL;
	}
#define X(name, bytes, text, json_only) \
	add_column(s, #name, text, (bytes) ? TOOL_BYTES : TOOL_NUMBER, json_only);
	PARTITION_NUMBERS(X)
#undef X
}

static void
put_partition(struct tool_table *table, const char *name, const struct shelf_partition_stats *p)
{
	uint64_t *v = put_totals(tool_table_add(table, name), &p->totals, true) - 2;

#define X(name, bytes, text, json_only) *v++ = p->name;
	PARTITION_NUMBERS(X)
#undef X
}

static int
add_partitions(struct gather *g)
{
	struct shelf_partition_stats p;
	char name[16];
	int rc;

	for (uint32_t i = 0; (rc = shelf_stats_partition(g->t->store, i, &p)) == 0; i++) {
		snprintf(name, sizeof name, "%u", i);
		put_partition(g->table, name, &p);
	}
	return rc == SHELF_EINVALID ? 0 : rc; /* behind the last one */
}

/* ---- Days ---------------------------------------------------------------------------------------- */

/* The fields of shelf_history behind the totals. */
#define HISTORY_NUMBERS(X)                                             \
	X(physical_bytes, true, "stored, each body once", false)        \
	X(gross_bytes, true, "stored, counted for each", true)          \
	X(waiting_bytes, true, "wait for removal", true)                \
	X(file_bytes, true, "data files", false)                        \
	X(free_bytes, true, "of these free for reuse", false)

static void
add_history_columns(struct sheet *s)
{
	add_totals(s, true);
	s->n -= 2;
#define X(name, bytes, text, json_only) \
	add_column(s, #name, text, (bytes) ? TOOL_BYTES : TOOL_NUMBER, json_only);
	HISTORY_NUMBERS(X)
#undef X
	add_column(s, "partitions", "partitions looked at", TOOL_NUMBER, true);
}

/* Adds a partition's day to the line of that day. */
static int
add_day(void *arg, const struct shelf_history *day)
{
	struct gather *g = arg;
	char date[32];
	uint64_t one[COLUMNS_MAX], *v, *line;

	tool_time_text(day->day_s, date)[10] = '\0';
	v = put_totals(one, &day->totals, true) - 2;
#define X(name, bytes, text, json_only) *v++ = day->name;
	HISTORY_NUMBERS(X)
#undef X
	*v++ = 1;
	line = tool_table_line(g->table, date);
	for (size_t i = 0; i < (size_t)(v - one); i++)
		line[i] += one[i];
	return 0;
}

static int
add_days(struct gather *g)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0; i++)
		rc = shelf_stats_history(g->t->store, i, add_day, g);
	if (rc == SHELF_EINVALID) /* behind the last one */
		rc = tool_table_sort(g->table, "day") ? 0 : SHELF_EINVALID;
	return rc;
}

/* ---- The store ----------------------------------------------------------------------------------- */

/* The worst state, and each partition that is not well. */
static void
print_disks(const struct tool *t, const struct shelf_disk *disks, uint32_t n, struct shelf_buf *json)
{
	enum shelf_disk_state worst = SHELF_DISK_OK;
	uint64_t messages = 0, bytes = 0;
	char disk[32], map[32];

	for (uint32_t i = 0; i < n; i++) {
		worst = disks[i].state > worst ? disks[i].state : worst;
		messages += disks[i].early_messages;
		bytes += disks[i].early_bytes;
	}
	if (!t->json) {
		tool_print("%-28s %llu messages, %s", "held, let go early", (unsigned long long)messages,
		    shelf_size_text(bytes, disk, sizeof disk));
		tool_print("%-28s %s", "disk state", shelf_disk_state_text(worst));
	}
	tool_json_u64(json, "early_messages", messages);
	tool_json_u64(json, "early_bytes", bytes);
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

/* Snapshots that keep freed pages from being used; one older than two seconds is a mistake of somebody's. */
static int
print_readers(const struct tool *t, uint32_t n, struct shelf_buf *json)
{
	enum { WATCH_MS = 2100 };
	struct shelf_reader r;
	char held[32];
	int rc = 0;

	tool_json_key(json, "readers_behind");
	shelf_buf_add_byte(json, '[');
	for (uint32_t i = 0; i < n && rc >= 0; i++) {
		if ((rc = shelf_stats_reader(t->store, i, WATCH_MS, &r)) != 1)
			continue;
		if (!t->json)
			tool_print("  partition %-3u process %d reads what was %llu commits ago, for %.1f s or "
			    "more; %s wait for it", i, r.pid, (unsigned long long)r.commits,
			    (double)r.age_ms / 1000, shelf_size_text(r.held_bytes, held, sizeof held));
		if (json->data[json->len - 1] != '[')
			shelf_buf_add_byte(json, ',');
		shelf_buf_add_byte(json, '{');
		tool_json_u64(json, "partition", i);
		tool_json_u64(json, "pid", (uint64_t)r.pid);
		tool_json_u64(json, "commits", r.commits);
		tool_json_u64(json, "held_bytes", r.held_bytes);
		tool_json_u64(json, "age_ms", (uint64_t)r.age_ms);
		shelf_buf_add_byte(json, '}');
	}
	shelf_buf_add_byte(json, ']');
	return rc < 0 ? rc : 0;
}

static int
print_store(struct tool *t, const struct gather *g)
{
	struct shelf_disk disks[SHELF_PARTITIONS_MAX];
	struct shelf_partition_stats sum;
	struct shelf_buf b = {0};
	uint32_t n = 0;
	int rc = shelf_stats_store(t->store, &sum);

	while (rc == 0 && n < SHELF_PARTITIONS_MAX && (rc = shelf_store_disk(t->store, n, &disks[n])) == 0)
		n++;
	if (rc != 0 && (rc != SHELF_EINVALID || n == 0))
		return rc;
	put_partition(g->table, "", &sum);
	if (!t->json)
		tool_table_list_first(g->table);
	shelf_buf_add_byte(&b, '{');
	tool_table_json_first(g->table, &b);
	tool_json_u64(&b, "partitions", n);
	print_disks(t, disks, n, &b);
	rc = print_readers(t, n, &b);
	shelf_buf_add_byte(&b, '}');
	if (t->json && rc == 0)
		tool_print_buf(&b);
	shelf_buf_free(&b);
	return rc;
}

/* ---- The verb ------------------------------------------------------------------------------------ */

struct wanted {
	const char *account, *domain, *sort;
	bool accounts, domains, partitions, history;
};

static int
parse(struct tool *t, struct wanted *w)
{
	const struct tool_option options[] = {{"account", TOOL_TEXT, &w->account},
	    {"domain", TOOL_TEXT, &w->domain}, {"sort", TOOL_TEXT, &w->sort},
	    {"accounts", TOOL_FLAG, &w->accounts}, {"domains", TOOL_FLAG, &w->domains},
	    {"partitions", TOOL_FLAG, &w->partitions}, {"history", TOOL_FLAG, &w->history}, {0}};
	int rc = tool_args(t, options, 0, 0);

	if (rc != 0)
		return rc;
	if ((w->account != NULL) + (w->domain != NULL) + w->accounts + w->domains + w->partitions +
	    w->history > 1)
		return tool_usage(t, "one of --account, --accounts, --domain, --domains, --partitions, --history");
	if (w->sort != NULL && !w->accounts && !w->domains && !w->partitions)
		return tool_usage(t, "--sort: only with --accounts, --domains, --partitions");
	return 0;
}

static int
gather(struct gather *g, const struct wanted *w)
{
	struct shelf_account account;
	int rc;

	if (w->account != NULL) {
		rc = tool_account(g->t, w->account, &account);
		return rc != 0 ? rc : add_account(g, &account);
	}
	if (w->domain != NULL)
		return find_domain(g, w->domain);
	if (w->accounts)
		return shelf_account_each(g->t->store, add_account, g);
	if (w->domains)
		return shelf_stats_domain_each(g->t->store, add_domain, g);
	if (w->history)
		return add_days(g);
	return w->partitions ? add_partitions(g) : print_store(g->t, g);
}

/* One thing as a list, several as a table. */
static void
print(const struct tool *t, const struct tool_table *table, bool several)
{
	struct shelf_buf b = {0};

	if (!t->json && several) {
		tool_table_print(table);
		return;
	}
	if (!t->json) {
		tool_table_list_first(table);
		return;
	}
	if (several) {
		tool_table_json(table, &b);
	} else {
		shelf_buf_add_byte(&b, '{');
		tool_table_json_first(table, &b);
		shelf_buf_add_byte(&b, '}');
	}
	tool_print_buf(&b);
}

int
tool_stats(struct tool *t)
{
	struct wanted w = {0};
	struct sheet sheet = {.n = 0};
	struct gather g = {.t = t};
	bool several;
	int rc = parse(t, &w);

	if (rc != 0)
		return rc;
	if (w.account != NULL || w.accounts)
		add_account_columns(&sheet);
	else if (w.domain != NULL || w.domains)
		add_totals(&sheet, true);
	else if (w.history)
		add_history_columns(&sheet);
	else
		add_partition_columns(&sheet);
	several = w.accounts || w.domains || w.partitions || w.history;
	g.table = tool_table_new(w.history ? "day" : w.partitions ? "partition" : "name", sheet.column,
	    sheet.n);
	/* Before anything is read: a wrong name must not cost a walk. */
	if (w.sort != NULL && !tool_table_sort(g.table, w.sort))
		rc = tool_usage(t, "--sort %s: no column of that name (name, message_bytes, held_bytes ...)",
		    w.sort);
	if (rc == 0 && (rc = tool_open(t)) == 0)
		rc = gather(&g, &w);
	if (rc == 0 && w.sort != NULL)
		tool_table_sort(g.table, w.sort);
	if (rc == 0 && (several || w.account != NULL || w.domain != NULL))
		print(t, g.table, several);
	tool_table_free(&g.table);
	if (rc == SHELF_EMISSING) {
		tool_say(t, "%s: no account of this domain", w.domain);
		return EX_NOUSER;
	}
	return rc >= 0 ? rc : tool_fail(t, w.account != NULL ? w.account : t->store_dir, rc);
}
