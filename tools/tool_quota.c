/*
 * tool_quota.c - limits and usage, of accounts and of the pools of domains: set, show, top, report, check
 */
#include <stdlib.h>
#include <string.h>

#include <mailshelf/policy.h>

#include "tools.h"

static int
get_quota(struct shelf_store *store, uint32_t account, struct shelf_quota *out)
{
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(store, account, &rd);

	if (rc == 0)
		rc = shelf_quota_get(rd, out);
	shelf_rd_end(&rd);
	return rc;
}

struct line {
	char name[SHELF_ACCOUNT_NAME_MAX + 2];
	struct shelf_quota q;
};

struct walk {
	struct tool *t;
	struct shelf_buf json;
	uint64_t differ, shown;
	/* top, report: takes each account and pool instead of printing it. */
	void (*quota)(struct walk *w, const char *name, const struct shelf_quota *q);
	uint64_t over; /* report: percent */
	struct line *line;
	size_t lines, cap;
};

static void
print_quota(struct walk *w, const char *name, const struct shelf_quota *q)
{
	char used[32], limit[32], count[32] = "no limit", boxes[32] = "no limit";

	if (w->t->json) {
		if (w->json.len > 1)
			shelf_buf_add_byte(&w->json, ',');
		shelf_buf_add_byte(&w->json, '{');
		tool_json_str(&w->json, "name", shelf_span_str(name));
		tool_json_quota(&w->json, q);
		tool_json_u64(&w->json, "percent", shelf_quota_percent(q));
		shelf_buf_add_byte(&w->json, '}');
		return;
	}
	if (q->limit_messages > 0)
		snprintf(count, sizeof count, "%llu", (unsigned long long)q->limit_messages);
	if (q->limit_mailboxes > 0)
		snprintf(boxes, sizeof boxes, "%llu", (unsigned long long)q->limit_mailboxes);
	tool_print("%-24s %10s of %-10s %8llu messages of %s, %llu mailboxes of %s", name,
	    shelf_size_text(q->used_bytes, used, sizeof used),
	    q->limit_bytes == 0 ? "no limit" : shelf_size_text(q->limit_bytes, limit, sizeof limit),
	    (unsigned long long)q->used_messages, count, (unsigned long long)q->used_mailboxes, boxes);
}

static int
show_one(void *arg, const struct shelf_account *a)
{
	struct walk *w = arg;
	struct shelf_quota q;
	int rc = get_quota(w->t->store, a->id, &q);

	if (rc == 0 && w->quota != NULL)
		w->quota(w, a->name, &q);
	else if (rc == 0)
		print_quota(w, a->name, &q);
	return rc == SHELF_ENOACCOUNT ? 0 : rc;
}

/* A pool looks like an account of the name "@domain". */
static int
show_pool(struct walk *w, struct shelf_span scope)
{
	char name[SHELF_ACCOUNT_NAME_MAX + 2];
	struct shelf_pool pool;
	struct shelf_quota q;
	int rc;

	if (scope.len < 2 || scope.len >= sizeof name || scope.data[0] != '@')
		return 0;
	rc = shelf_pool_get(w->t->store, shelf_span(scope.data + 1, scope.len - 1), &pool);
	if (rc != 0)
		return rc == SHELF_EMISSING ? 0 : rc;
	memcpy(name, scope.data, scope.len);
	name[scope.len] = '\0';
	q = (struct shelf_quota){.limit_bytes = pool.limit_bytes, .limit_messages = pool.limit_messages,
	    .used_bytes = pool.used_bytes, .used_messages = pool.used_messages};
	w->shown++;
	if (w->quota != NULL)
		w->quota(w, name, &q);
	else
		print_quota(w, name, &q);
	return 0;
}

static int
each_pool(void *arg, struct shelf_span scope)
{
	return show_pool(arg, scope);
}

static int
check_one(void *arg, const struct shelf_account *a)
{
	struct walk *w = arg;
	struct shelf_quota kept, counted;
	int rc = shelf_quota_check(w->t->store, a->id, &kept, &counted);

	if (rc == SHELF_ENOACCOUNT)
		return 0;
	if (rc < 0)
		return rc;
	w->differ += rc == 1;
	if (w->t->json) {
		if (w->json.len > 1)
			shelf_buf_add_byte(&w->json, ',');
		shelf_buf_add_byte(&w->json, '{');
		tool_json_str(&w->json, "name", shelf_span_str(a->name));
		tool_json_bool(&w->json, "equal", rc == 0);
		tool_json_key(&w->json, "kept");
		shelf_buf_add_byte(&w->json, '{');
		tool_json_quota(&w->json, &kept);
		shelf_buf_add_str(&w->json, "},\"counted\":{");
		tool_json_quota(&w->json, &counted);
		shelf_buf_add_str(&w->json, "}}");
	} else if (rc == 1) {
		tool_print("%s: kept %llu bytes, %llu messages (held %llu, %llu); "
		           "counted %llu bytes, %llu messages (held %llu, %llu)", a->name,
		    (unsigned long long)kept.used_bytes, (unsigned long long)kept.used_messages,
		    (unsigned long long)kept.held_bytes, (unsigned long long)kept.held_messages,
		    (unsigned long long)counted.used_bytes, (unsigned long long)counted.used_messages,
		    (unsigned long long)counted.held_bytes, (unsigned long long)counted.held_messages);
	}
	return 0;
}

/* FN for the account or the pool named, or for all. */
static int
walk_accounts(struct tool *t, shelf_account_fn *fn, uint64_t *differ_out)
{
	struct walk w = {.t = t};
	struct shelf_account a;
	int rc = tool_args(t, NULL, 0, 1);

	bool pool = rc == 0 && fn == show_one && t->argc == 1 && t->argv[0][0] == '@';

	if (rc == 0)
		rc = tool_open(t);
	if (rc == 0 && t->argc == 1 && !pool)
		rc = tool_account(t, t->argv[0], &a);
	if (rc != 0)
		return rc;
	shelf_buf_add_byte(&w.json, '[');
	if (pool && (rc = show_pool(&w, shelf_span_str(t->argv[0]))) == 0 && w.shown == 0)
		rc = SHELF_EMISSING;
	else if (!pool)
		rc = t->argc == 1 ? fn(&w, &a) : shelf_account_each(t->store, fn, &w);
	if (rc == 0 && t->argc == 0 && fn == show_one)
		rc = shelf_policy_each(t->store, each_pool, &w);
	if (rc == 0 && t->json) {
		shelf_buf_add_byte(&w.json, ']');
		tool_print_buf(&w.json);
	}
	shelf_buf_free(&w.json);
	*differ_out = w.differ;
	return rc == 0 ? EX_OK : tool_fail(t, t->argc == 1 ? t->argv[0] : t->store_dir, rc);
}

int
tool_quota_show(struct tool *t)
{
	uint64_t differ;

	return walk_accounts(t, show_one, &differ);
}

int
tool_quota_check(struct tool *t)
{
	uint64_t differ = 0;
	int rc = walk_accounts(t, check_one, &differ);

	if (rc != EX_OK)
		return rc;
	if (!t->json && differ == 0)
		tool_print("usage kept equals usage counted");
	return differ == 0 ? EX_OK : EX_DATAERR;
}

/* ---- The fullest ----------------------------------------------------------------------------- */

static void
take(struct walk *w, const char *name, const struct shelf_quota *q)
{
	if (shelf_quota_percent(q) < w->over || (w->over > 0 && q->limit_bytes == 0 && q->limit_messages == 0))
		return;
	if (w->lines == w->cap) {
		w->cap = w->cap == 0 ? 64 : w->cap * 2;
		w->line = shelf_realloc(w->line, w->cap * sizeof *w->line);
	}
	snprintf(w->line[w->lines].name, sizeof w->line->name, "%s", name);
	w->line[w->lines++].q = *q;
}

static int
by_bytes(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return x->q.used_bytes != y->q.used_bytes ? (x->q.used_bytes < y->q.used_bytes ? 1 : -1) :
	    strcmp(x->name, y->name);
}

static int
by_percent(const void *a, const void *b)
{
	const struct line *x = a, *y = b;
	unsigned p = shelf_quota_percent(&x->q), q = shelf_quota_percent(&y->q);

	return p != q ? (p < q ? 1 : -1) : by_bytes(a, b);
}

static int
print_sorted(struct walk *w, int (*order)(const void *, const void *), uint64_t limit)
{
	struct tool *t = w->t;
	int rc = tool_open(t);

	if (rc != 0)
		return rc;
	w->quota = take;
	rc = shelf_account_each(t->store, show_one, w);
	if (rc == 0)
		rc = shelf_policy_each(t->store, each_pool, w);
	if (rc == 0 && w->lines > 0)
		qsort(w->line, w->lines, sizeof *w->line, order);
	shelf_buf_add_byte(&w->json, '[');
	for (size_t i = 0; rc == 0 && i < w->lines && i < limit; i++) {
		if (!t->json)
			printf("%4u%%  ", shelf_quota_percent(&w->line[i].q));
		print_quota(w, w->line[i].name, &w->line[i].q);
	}
	if (rc == 0 && t->json) {
		shelf_buf_add_byte(&w->json, ']');
		tool_print_buf(&w->json);
	}
	shelf_buf_free(&w->json);
	free(w->line);
	return rc == 0 ? EX_OK : tool_fail(t, t->store_dir, rc);
}

int
tool_quota_top(struct tool *t)
{
	struct tool_number limit = {.value = 20};
	const char *by = "bytes";
	const struct tool_option options[] = {{"limit", TOOL_COUNT, &limit}, {"by", TOOL_TEXT, &by}, {0}};
	struct walk w = {.t = t};
	int rc = tool_args(t, options, 0, 0);

	if (rc == 0 && strcmp(by, "bytes") != 0 && strcmp(by, "percent") != 0)
		rc = tool_usage(t, "--by %s: bytes or percent", by);
	return rc != 0 ? rc : print_sorted(&w, strcmp(by, "bytes") == 0 ? by_bytes : by_percent,
	    limit.value == 0 ? UINT64_MAX : limit.value);
}

int
tool_quota_report(struct tool *t)
{
	const char *over = "80%";
	const struct tool_option options[] = {{"over", TOOL_TEXT, &over}, {0}};
	struct walk w = {.t = t};
	int rc = tool_args(t, options, 0, 0);
	size_t len = strlen(over);

	if (len > 0 && over[len - 1] == '%')
		len--;
	if (rc == 0 && !shelf_span_u64(shelf_span(over, len), 9999, &w.over))
		rc = tool_usage(t, "--over %s: not a share (80%%)", over);
	return rc != 0 ? rc : print_sorted(&w, by_percent, UINT64_MAX);
}

/* ---- Setting --------------------------------------------------------------------------------- */

static int
set_pool(struct tool *t, bool bytes_given, uint64_t bytes, const struct tool_number *messages)
{
	struct shelf_span scope = shelf_span_str(t->argv[0]);
	struct walk w = {.t = t};
	int rc = 0;

	if (bytes_given)
		rc = shelf_policy_set(t->store, scope, SHELF_POLICY_POOL_BYTES, bytes == 0 ? UINT64_MAX : bytes);
	if (rc == 0 && messages->given)
		rc = shelf_policy_set(t->store, scope, SHELF_POLICY_POOL_MESSAGES,
		    messages->value == 0 ? UINT64_MAX : messages->value);
	if (rc == 0)
		rc = show_pool(&w, scope);
	if (rc != 0)
		return tool_fail(t, t->argv[0], rc);
	if (t->json && w.json.len > 0)
		tool_print_buf(&w.json);
	return EX_OK;
}

int
tool_quota_set(struct tool *t)
{
	struct tool_number messages = {0}, mailboxes = {0};
	const struct tool_option options[] = {
		{"messages", TOOL_COUNT, &messages}, {"mailboxes", TOOL_COUNT, &mailboxes}, {0}};
	struct walk w = {.t = t};
	struct shelf_account a;
	struct shelf_quota q;
	int rc = tool_args(t, options, 1, 2);
	bool standard = rc == 0 && t->argc == 2 && strcmp(t->argv[1], "default") == 0;
	bool pool = rc == 0 && t->argv[0][0] == '@';
	struct tool_number bytes = {.given = rc == 0 && t->argc == 2 && !standard};
	uint64_t otherwise = standard ? 0 : SHELF_QUOTA_KEEP;

	if (rc == 0 && t->argc == 1 && !messages.given && !mailboxes.given)
		rc = tool_usage(t, "nothing to set");
	if (rc == 0 && bytes.given && !tool_size(t->argv[1], &bytes.value))
		rc = tool_usage(t, "%s: not a size (500M, 1G, none, default)", t->argv[1]);
	if (rc == 0 && pool && (mailboxes.given || standard))
		rc = tool_usage(t, "a domain has a limit of bytes and one of messages");
	if (rc == 0)
		rc = tool_open(t);
	if (rc == 0 && pool)
		return set_pool(t, bytes.given, bytes.value, &messages);
	if (rc == 0)
		rc = tool_account(t, t->argv[0], &a);
	if (rc != 0)
		return rc;
	rc = shelf_quota_set(t->store, a.id, tool_limit(&bytes, otherwise), tool_limit(&messages, otherwise),
	    tool_limit(&mailboxes, otherwise));
	if (rc == 0)
		rc = get_quota(t->store, a.id, &q);
	if (rc != 0)
		return tool_fail(t, t->argv[0], rc);
	print_quota(&w, a.name, &q);
	if (t->json)
		tool_print_buf(&w.json);
	return EX_OK;
}
