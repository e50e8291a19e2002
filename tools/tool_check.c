/* tool_check.c - check: proves the invariants of the store, verifies every body, puts counters right */
#include "tools.h"

struct findings {
	const struct tool *t;
	struct tool_progress progress;
	struct shelf_buf json, repaired; /* two arrays */
	uint64_t count, repairs;
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

static void
on_repaired(void *arg, uint32_t account, const char *text)
{
	struct findings *f = arg;

	f->repairs++;
	if (f->t->json) {
		if (f->repaired.len > 0)
			shelf_buf_add_byte(&f->repaired, ',');
		shelf_buf_add_byte(&f->repaired, '{');
		tool_json_u64(&f->repaired, "account", account);
		tool_json_str(&f->repaired, "text", shelf_span_str(text));
		shelf_buf_add_byte(&f->repaired, '}');
		return;
	}
	tool_progress_end(&f->progress);
	if (account == 0)
		tool_print("repaired: %s", text);
	else
		tool_print("repaired: account %u %s", account, text);
}

static void
print_json_end(struct findings *f, bool repair, uint64_t left, bool complete)
{
	shelf_buf_add_byte(&f->json, ']');
	if (repair) {
		shelf_buf_add_str(&f->json, ",\"repaired\":[");
		shelf_buf_add_span(&f->json, shelf_buf_span(&f->repaired));
		shelf_buf_add_byte(&f->json, ']');
		tool_json_u64(&f->json, "left", left);
	}
	tool_json_u64(&f->json, "count", f->count);
	tool_json_bool(&f->json, "complete", complete);
	shelf_buf_add_byte(&f->json, '}');
	tool_print_buf(&f->json);
}

int
tool_check(struct tool *t)
{
	struct findings f = {.t = t};
	bool progress = false, repair = false;
	uint64_t left = 0;
	const char *salvage = NULL, *format = "maildir";
	const struct tool_option options[] = {{"progress", TOOL_FLAG, &progress}, {"repair", TOOL_FLAG, &repair},
		{"salvage", TOOL_TEXT, &salvage}, {"format", TOOL_TEXT, &format}, {0}};
	int rc = tool_args(t, options, 0, 0);

	if (rc == 0 && salvage != NULL && repair)
		return tool_usage(t, "--repair and --salvage exclude each other");
	if (rc == 0 && salvage != NULL)
		return tool_salvage(t, salvage, format, progress);
	if (rc == 0)
		rc = tool_open(t);
	if (rc != 0)
		return rc;
	shelf_buf_add_str(&f.json, "{\"findings\":[");
	tool_progress_begin(&f.progress, progress);
	rc = repair ? shelf_store_repair(t->store, on_progress, on_finding, on_repaired, &f, &left)
		    : shelf_store_check(t->store, on_progress, on_finding, &f);
	if (!repair)
		left = f.count;
	tool_progress_end(&f.progress);
	if (t->json)
		print_json_end(&f, repair, left, rc == 0);
	else if (rc == 0 && repair)
		tool_print("%llu findings, %llu numbers repaired, %llu findings left", (unsigned long long)f.count,
			   (unsigned long long)f.repairs, (unsigned long long)left);
	else if (rc == 0)
		tool_print("%llu findings", (unsigned long long)f.count);
	shelf_buf_free(&f.json);
	shelf_buf_free(&f.repaired);
	if (rc != 0)
		return tool_fail(t, "stopped before the end", rc);
	return left == 0 ? EX_OK : EX_DATAERR;
}
