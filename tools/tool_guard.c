/*
 * tool_guard.c - guard list, guard clear: mass deletions that were noticed
 */
#include <string.h>

#include "tools.h"

struct reports {
	struct tool *t;
	const char *name; /* of the account whose events come */
	struct shelf_buf json;
	uint64_t n;
};

static const char *
how_text(unsigned how, char *buf, size_t len)
{
	snprintf(buf, len, "%s%s%s", (how & SHELF_GUARD_EXPUNGE) != 0 ? " expunge" : "",
	    (how & SHELF_GUARD_POP3) != 0 ? " pop3" : "",
	    (how & SHELF_GUARD_MAILBOX) != 0 ? " mailbox" : "");
	return buf[0] == ' ' ? buf + 1 : buf;
}

static int
on_event(void *arg, const struct shelf_guard_event *e)
{
	struct reports *r = arg;
	char first[32], last[32], until[32], how[32], size[32];

	r->n++;
	if (!r->t->json) {
		tool_print("%s  %s to %s: %llu of %llu messages, %s, by %s; %s%s%s", r->name,
		    tool_time_text(e->first_s, first), tool_time_text(e->last_s, last),
		    (unsigned long long)e->messages, (unsigned long long)e->of_messages,
		    shelf_size_text(e->bytes, size, sizeof size), how_text(e->how, how, sizeof how),
		    e->held ? "held until " : "not held", e->held ? tool_time_text(e->until_s, until) : "",
		    e->extending ? " (some not yet)" : "");
		return 0;
	}
	if (r->json.len > 1)
		shelf_buf_add_byte(&r->json, ',');
	shelf_buf_add_byte(&r->json, '{');
	tool_json_str(&r->json, "account", shelf_span_str(r->name));
	tool_json_u64(&r->json, "first_s", (uint64_t)e->first_s);
	tool_json_u64(&r->json, "last_s", (uint64_t)e->last_s);
	tool_json_u64(&r->json, "messages", e->messages);
	tool_json_u64(&r->json, "bytes", e->bytes);
	tool_json_u64(&r->json, "of_messages", e->of_messages);
	tool_json_str(&r->json, "by", shelf_span_str(how_text(e->how, how, sizeof how)));
	tool_json_bool(&r->json, "held", e->held);
	tool_json_u64(&r->json, "until_s", e->held ? (uint64_t)e->until_s : 0);
	tool_json_bool(&r->json, "extending", e->extending);
	shelf_buf_add_byte(&r->json, '}');
	return 0;
}

static int
list_one(void *arg, const struct shelf_account *a)
{
	struct reports *r = arg;
	int rc;

	r->name = a->name;
	rc = shelf_guard_each(r->t->store, a->id, on_event, r);
	return rc == SHELF_ENOACCOUNT ? 0 : rc;
}

static int
clear_one(void *arg, const struct shelf_account *a)
{
	struct reports *r = arg;
	unsigned cleared;
	int rc = shelf_guard_clear(r->t->store, a->id, &cleared);

	r->n += cleared;
	return rc == SHELF_ENOACCOUNT ? 0 : rc;
}

/* FN for the account named, or for all. */
static int
walk(struct reports *r, shelf_account_fn *fn)
{
	struct tool *t = r->t;
	struct shelf_account a;
	int rc;

	if (t->argc == 0) {
		rc = shelf_account_each(t->store, fn, r);
		return rc == 0 ? EX_OK : tool_fail(t, t->store_dir, rc);
	}
	rc = tool_account(t, t->argv[0], &a);
	if (rc != EX_OK)
		return rc;
	rc = fn(r, &a);
	return rc == 0 ? EX_OK : tool_fail(t, t->argv[0], rc);
}

int
tool_guard_list(struct tool *t)
{
	struct reports r = {.t = t};
	int rc = tool_args(t, NULL, 0, 1);

	if (rc == 0)
		rc = tool_open(t);
	if (rc != 0)
		return rc;
	shelf_buf_add_byte(&r.json, '[');
	rc = walk(&r, list_one);
	shelf_buf_add_byte(&r.json, ']');
	if (rc == EX_OK && t->json)
		tool_print_buf(&r.json);
	else
		shelf_buf_free(&r.json);
	if (rc == EX_OK && !t->json && r.n == 0)
		tool_print("no mass deletions");
	return rc;
}

int
tool_guard_clear(struct tool *t)
{
	struct reports r = {.t = t};
	bool all = false;
	const struct tool_option options[] = {{"all", TOOL_FLAG, &all}, {0}};
	int rc = tool_args(t, options, 0, 1);

	if (rc == 0 && all == (t->argc == 1))
		rc = tool_usage(t, "an account or --all");
	if (rc == 0)
		rc = tool_open(t);
	if (rc == 0)
		rc = walk(&r, clear_one);
	if (rc != EX_OK)
		return rc;
	if (!t->json) {
		tool_print("%llu cleared", (unsigned long long)r.n);
		return EX_OK;
	}
	shelf_buf_add_byte(&r.json, '{');
	tool_json_u64(&r.json, "cleared", r.n);
	shelf_buf_add_byte(&r.json, '}');
	tool_print_buf(&r.json);
	return EX_OK;
}
