/*
 * tool_quota.c - limits and usage: set, show, check
 */
#include <string.h>

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

struct walk {
	struct tool *t;
	struct shelf_buf json;
	uint64_t differ;
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

	if (rc == 0)
		print_quota(w, a->name, &q);
	return rc == SHELF_ENOACCOUNT ? 0 : rc;
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

/* FN for the account named, or for all. */
static int
walk_accounts(struct tool *t, shelf_account_fn *fn, uint64_t *differ_out)
{
	struct walk w = {.t = t};
	struct shelf_account a;
	int rc = tool_args(t, NULL, 0, 1);

	if (rc == 0)
		rc = tool_open(t);
	if (rc == 0 && t->argc == 1)
		rc = tool_account(t, t->argv[0], &a);
	if (rc != 0)
		return rc;
	shelf_buf_add_byte(&w.json, '[');
	rc = t->argc == 1 ? fn(&w, &a) : shelf_account_each(t->store, fn, &w);
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
	uint64_t bytes = 0;

	if (rc == 0 && t->argc == 1 && !messages.given && !mailboxes.given)
		rc = tool_usage(t, "nothing to set");
	if (rc == 0 && t->argc == 2 && !tool_size(t->argv[1], &bytes))
		rc = tool_usage(t, "%s: not a size (500M, 1G, none)", t->argv[1]);
	if (rc == 0)
		rc = tool_open(t);
	if (rc == 0)
		rc = tool_account(t, t->argv[0], &a);
	if (rc != 0)
		return rc;
	rc = get_quota(t->store, a.id, &q);
	if (rc == 0)
		rc = shelf_quota_set(t->store, a.id, t->argc == 2 ? bytes : q.limit_bytes,
		    messages.given ? messages.value : q.limit_messages,
		    mailboxes.given ? mailboxes.value : q.limit_mailboxes);
	if (rc == 0)
		rc = get_quota(t->store, a.id, &q);
	if (rc != 0)
		return tool_fail(t, t->argv[0], rc);
	print_quota(&w, a.name, &q);
	if (t->json)
		tool_print_buf(&w.json);
	return EX_OK;
}
