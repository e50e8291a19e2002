/* tool_check.c - check: proves the invariants of the store and verifies every body */
#include "tools.h"

struct findings {
	const struct tool *t;
	struct tool_progress progress;
	struct shelf_buf json;
	uint64_t count;
};

static void
on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct findings *f = arg;

	tool_progress_step(&f->progress, done, total, "%llu findings", (unsigned long long)f->count);
}

static void
on_finding(void *arg, unsigned invariant, uint32_t account, const char *text)
{
	struct findings *f = arg;

	f->count++;
	if (f->t->json) {
		if (f->json.data[f->json.len - 1] != '[')
			shelf_buf_add_byte(&f->json, ',');
		shelf_buf_add_byte(&f->json, '{');
		tool_json_u64(&f->json, "invariant", invariant);
		tool_json_u64(&f->json, "account", account);
		tool_json_str(&f->json, "text", shelf_span_str(text));
		shelf_buf_add_byte(&f->json, '}');
		return;
	}
	tool_progress_end(&f->progress);
	if (account == 0)
		tool_print("invariant %u: %s", invariant, text);
	else
		tool_print("invariant %u: account %u: %s", invariant, account, text);
}

int
tool_check(struct tool *t)
{
	struct findings f = {.t = t};
	bool progress = false;
	const char *salvage = NULL, *format = "maildir";
	const struct tool_option options[] = {{"progress", TOOL_FLAG, &progress},
		{"salvage", TOOL_TEXT, &salvage}, {"format", TOOL_TEXT, &format}, {0}};
	int rc = tool_args(t, options, 0, 0);

	if (rc == 0 && salvage != NULL)
		return tool_salvage(t, salvage, format, progress);
	if (rc == 0)
		rc = tool_open(t);
	if (rc != 0)
		return rc;
	shelf_buf_add_str(&f.json, "{\"findings\":[");
	tool_progress_begin(&f.progress, progress);
	rc = shelf_store_check(t->store, on_progress, on_finding, &f);
	tool_progress_end(&f.progress);
	if (t->json) {
		shelf_buf_add_byte(&f.json, ']');
		tool_json_u64(&f.json, "count", f.count);
		tool_json_bool(&f.json, "complete", rc == 0);
		shelf_buf_add_byte(&f.json, '}');
		tool_print_buf(&f.json);
	} else if (rc == 0) {
		tool_print("%llu findings", (unsigned long long)f.count);
	}
	shelf_buf_free(&f.json);
	if (rc != 0)
		return tool_fail(t, "stopped before the end", rc);
	return f.count == 0 ? EX_OK : EX_DATAERR;
}
