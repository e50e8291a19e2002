/*
 * tool_expire.c - expire add, list, remove, run: old mail that goes by itself
 */
#include <string.h>
#include <strings.h>

#include "tools.h"

static const struct {
	const char *name;
	uint32_t bit;
} flags[] = {{"\\Seen", SHELF_SEEN}, {"\\Answered", SHELF_ANSWERED}, {"\\Flagged", SHELF_FLAGGED},
	{"\\Deleted", SHELF_DELETED}, {"\\Draft", SHELF_DRAFT}};
static const char *const by_options[] = {"older", "saved", "fetched"};

/* With or without the backslash. */
static bool
flag_bits(const struct tool_texts *names, uint32_t *bits, const char **bad)
{
	for (uint32_t i = 0; i < names->count; i++) {
		uint32_t bit = 0;

		for (size_t f = 0; f < sizeof flags / sizeof *flags; f++)
			if (strcasecmp(names->text[i], flags[f].name) == 0 ||
			    strcasecmp(names->text[i], flags[f].name + 1) == 0)
				bit = flags[f].bit;
		if (bit == 0) {
			*bad = names->text[i];
			return false;
		}
		*bits |= bit;
	}
	return true;
}

static void
flag_names(uint32_t bits, struct shelf_buf *b)
{
	for (size_t f = 0; f < sizeof flags / sizeof *flags; f++)
		if ((bits & flags[f].bit) != 0)
			shelf_buf_printf(b, "%s%s", b->len > 0 ? " " : "", flags[f].name);
}

/* ---- add, remove ----------------------------------------------------------------------------- */

/* Exactly one of the ages. */
static int
take_age(struct tool *t, const char *const *age, struct shelf_expire_rule *rule)
{
	const char *given = NULL;

	for (unsigned i = 0; i < 3; i++) {
		if (age[i] == NULL)
			continue;
		if (given != NULL)
			return tool_usage(t, "only one of --older, --saved, --fetched");
		given = age[i];
		rule->by = (enum shelf_expire_by)i;
	}
	if (given == NULL)
		return tool_usage(t, "--older, --saved or --fetched must say how old");
	if (!tool_duration(given, &rule->age_s) || rule->age_s == 0 || rule->age_s == UINT32_MAX)
		return tool_usage(t, "%s: not an age (14d, 36h)", given);
	return 0;
}

int
tool_expire_add(struct tool *t)
{
	struct tool_texts with = {.count = 0}, without = {.count = 0};
	const char *age[3] = {NULL}, *mailbox = "INBOX", *bad = "";
	const struct tool_option options[] = {{"older", TOOL_TEXT, &age[0]}, {"saved", TOOL_TEXT, &age[1]},
		{"fetched", TOOL_TEXT, &age[2]}, {"mailbox", TOOL_TEXT, &mailbox}, {"flag", TOOL_TEXTS, &with},
		{"not-flag", TOOL_TEXTS, &without}, {0}};
	struct shelf_expire_rule rule = {.id = 0};
	uint32_t id;
	int rc = tool_args(t, options, 1, 1);

	if (rc == 0)
		rc = take_age(t, age, &rule);
	if (rc == 0 && (!flag_bits(&with, &rule.flags, &bad) || !flag_bits(&without, &rule.not_flags, &bad)))
		rc = tool_usage(t, "%s: no flag (\\Seen, \\Answered, \\Flagged, \\Deleted, \\Draft)", bad);
	if (rc == 0 && (rule.flags & rule.not_flags) != 0)
		rc = tool_usage(t, "a flag cannot be both there and not there");
	if (rc == 0 && (mailbox[0] == '\0' || strlen(mailbox) > SHELF_EXPIRE_PATTERN_MAX))
		rc = tool_usage(t, "--mailbox: a pattern has 1 to %d bytes", SHELF_EXPIRE_PATTERN_MAX);
	if (rc == 0)
		rc = tool_open(t);
	if (rc != 0)
		return rc;
	snprintf(rule.pattern, sizeof rule.pattern, "%s", mailbox);
	rc = shelf_expire_add(t->store, shelf_span_str(t->argv[0]), &rule, &id);
	if (rc != 0)
		return tool_fail(t, t->argv[0], rc);
	if (t->json)
		tool_print("{\"id\":%u}", id);
	else
		tool_print("%s: rule %u", t->argv[0], id);
	return EX_OK;
}

int
tool_expire_remove(struct tool *t)
{
	uint64_t id = 0;
	int rc = tool_args(t, NULL, 2, 2);

	if (rc == 0 && !shelf_span_u64(shelf_span_str(t->argv[1]), UINT32_MAX, &id))
		rc = tool_usage(t, "%s: not the number of a rule", t->argv[1]);
	if (rc == 0)
		rc = tool_open(t);
	if (rc != 0)
		return rc;
	rc = shelf_expire_remove(t->store, shelf_span_str(t->argv[0]), (uint32_t)id);
	return rc == 0 ? EX_OK : tool_fail(t, t->argv[0], rc);
}

/* ---- list ------------------------------------------------------------------------------------ */

struct listing {
	struct tool *t;
	struct shelf_buf json;
};

static int
list_one(void *arg, struct shelf_span scope, const struct shelf_expire_rule *rule)
{
	struct listing *l = arg;
	struct shelf_buf with = {0}, without = {0};

	flag_names(rule->flags, &with);
	flag_names(rule->not_flags, &without);
	if (l->t->json) {
		shelf_buf_add_str(&l->json, l->json.len > 1 ? ",{" : "{");
		tool_json_str(&l->json, "scope", scope);
		tool_json_u64(&l->json, "id", rule->id);
		tool_json_str(&l->json, "mailbox", shelf_span_str(rule->pattern));
		tool_json_str(&l->json, "by", shelf_span_str(by_options[rule->by]));
		tool_json_u64(&l->json, "age_s", rule->age_s);
		tool_json_str(&l->json, "flags", shelf_buf_span(&with));
		tool_json_str(&l->json, "not_flags", shelf_buf_span(&without));
		shelf_buf_add_byte(&l->json, '}');
	} else {
		bool days = rule->age_s % 86400 == 0, hours = rule->age_s % 3600 == 0;

		tool_print("%.*s %u: %s %s %u%s%s%s%s%s", (int)scope.len, (const char *)scope.data, rule->id,
		    rule->pattern, by_options[rule->by], rule->age_s / (days ? 86400 : hours ? 3600 : 1),
		    days ? "d" : hours ? "h" : "s", with.len > 0 ? " with " : "", shelf_buf_cstr(&with),
		    without.len > 0 ? " without " : "", shelf_buf_cstr(&without));
	}
	shelf_buf_free(&with);
	shelf_buf_free(&without);
	return 0;
}

int
tool_expire_list(struct tool *t)
{
	struct listing l = {.t = t};
	int rc = tool_args(t, NULL, 0, 0);

	if (rc == 0)
		rc = tool_open(t);
	if (rc != 0)
		return rc;
	shelf_buf_add_byte(&l.json, '[');
	rc = shelf_expire_each(t->store, list_one, &l);
	if (rc == 0 && t->json) {
		shelf_buf_add_byte(&l.json, ']');
		tool_print_buf(&l.json);
	}
	shelf_buf_free(&l.json);
	return rc == 0 ? EX_OK : tool_fail(t, t->store_dir, rc);
}

/* ---- run ------------------------------------------------------------------------------------- */

struct run {
	struct tool *t;
	bool dry_run;
	struct tool_progress progress;
	struct shelf_expired sum;
	struct shelf_buf json;
};

static int
step(void *arg, const struct shelf_expired *so_far)
{
	struct run *r = arg;

	tool_progress_step(&r->progress, 0, 0, "%llu messages looked at, %llu %s",
	    (unsigned long long)(r->sum.looked + so_far->looked),
	    (unsigned long long)(r->sum.messages + so_far->messages), r->dry_run ? "would go" : "gone");
	return tool_interrupted() ? SHELF_ECANCELLED : 0;
}

static int
run_one(void *arg, const struct shelf_account *a)
{
	struct run *r = arg;
	struct shelf_expired e;
	char size[32];
	int rc = shelf_expire_run(r->t->store, a->id, shelf_now_s(), r->dry_run, step, r, &e);

	r->sum.looked += e.looked;
	r->sum.messages += e.messages;
	r->sum.bytes += e.bytes;
	if (rc == SHELF_ENOACCOUNT || (rc == 0 && e.messages == 0))
		return 0;
	if (r->t->json) {
		shelf_buf_add_str(&r->json, r->json.len > 0 ? ",{" : "{");
		tool_json_str(&r->json, "name", shelf_span_str(a->name));
		tool_json_u64(&r->json, "messages", e.messages);
		tool_json_u64(&r->json, "bytes", e.bytes);
		shelf_buf_add_byte(&r->json, '}');
	} else if (e.messages > 0) {
		tool_progress_end(&r->progress);
		tool_print("%s: %llu messages, %s", a->name, (unsigned long long)e.messages,
		    shelf_size_text(e.bytes, size, sizeof size));
	}
	return rc;
}

static void
print_sum(struct run *r, int rc)
{
	struct shelf_buf b = {0};
	char size[32];

	if (!r->t->json) {
		tool_print("%llu messages looked at, %llu %s, %s", (unsigned long long)r->sum.looked,
		    (unsigned long long)r->sum.messages, r->dry_run ? "would go" : "removed (held: undelete)",
		    shelf_size_text(r->sum.bytes, size, sizeof size));
		return;
	}
	shelf_buf_add_byte(&b, '{');
	tool_json_bool(&b, "dry_run", r->dry_run);
	tool_json_bool(&b, "complete", rc == 0);
	tool_json_u64(&b, "looked", r->sum.looked);
	tool_json_u64(&b, "messages", r->sum.messages);
	tool_json_u64(&b, "bytes", r->sum.bytes);
	tool_json_key(&b, "accounts");
	shelf_buf_add_byte(&b, '[');
	shelf_buf_add_span(&b, shelf_buf_span(&r->json));
	shelf_buf_add_str(&b, "]}");
	tool_print_buf(&b);
}

int
tool_expire_run(struct tool *t)
{
	const char *name = NULL;
	struct run r = {.t = t};
	bool progress = false;
	const struct tool_option options[] = {{"dry-run", TOOL_FLAG, &r.dry_run}, {"account", TOOL_TEXT, &name},
		{"progress", TOOL_FLAG, &progress}, {0}};
	struct shelf_account a;
	int rc = tool_args(t, options, 0, 0);

	if (rc == 0)
		rc = tool_open(t);
	if (rc == 0 && name != NULL)
		rc = tool_account(t, name, &a);
	if (rc != 0)
		return rc;
	tool_catch_interrupts();
	tool_progress_begin(&r.progress, progress);
	rc = name != NULL ? run_one(&r, &a) : shelf_account_each(t->store, run_one, &r);
	tool_progress_end(&r.progress);
	if (rc == 0 || rc == SHELF_ECANCELLED)
		print_sum(&r, rc);
	shelf_buf_free(&r.json);
	return rc == 0 ? EX_OK : tool_fail(t, name != NULL ? name : t->store_dir, rc);
}
