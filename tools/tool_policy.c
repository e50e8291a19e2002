/*
 * tool_policy.c - policy set, policy show
 */
#include <string.h>

#include <mailshelf/mem.h>
#include <mailshelf/policy.h>

#include "tools.h"

static const char *const shows[] = {"all", "since", "newest", "days", "recent"};

static void
show_text(uint64_t value, char *buf, size_t len)
{
	unsigned how = (unsigned)(value >> 32), n = (unsigned)value, month, day;
	int year;

	shelf_civil_from_days(n, &year, &month, &day);
	if (how == SHELF_SHOW_SINCE)
		snprintf(buf, len, "since %04d-%02u-%02u", year, month, day);
	else if (how == SHELF_SHOW_NEWEST || how == SHELF_SHOW_DAYS)
		snprintf(buf, len, "%s %u", shows[how], n);
	else
		snprintf(buf, len, "%s", shows[how]);
}

static const char *
value_text(const struct shelf_policies *p, enum shelf_policy id, char *buf, size_t len)
{
	const struct shelf_policy_info *info = shelf_policy_info(id);
	const char *word = info->choices;
	uint64_t value = p->value[id];

	switch (info->kind) {
	case SHELF_POLICY_KIND_SIZE:
		return shelf_size_text(value, buf, len);
	case SHELF_POLICY_KIND_MAILBOX:
		return p->text[id];
	case SHELF_POLICY_KIND_COUNT:
		snprintf(buf, len, "%llu", (unsigned long long)value);
		return buf;
	case SHELF_POLICY_KIND_SHOW:
		show_text(value, buf, len);
		return buf;
	case SHELF_POLICY_KIND_CHOICE:
		break;
	}
	for (; value > 0 && word != NULL; value--)
		word = strchr(word, ' ') == NULL ? NULL : strchr(word, ' ') + 1;
	snprintf(buf, len, "%.*s", word == NULL ? 0 : (int)strcspn(word, " "), word == NULL ? "" : word);
	return buf;
}

/* "newest" and "500", "all" and NULL. */
static bool
parse_show(const char *how, const char *n, uint64_t *value)
{
	uint64_t number = 0;
	unsigned i = 0;
	int64_t since_s;

	while (i < sizeof shows / sizeof *shows && strcmp(how, shows[i]) != 0)
		i++;
	switch (i) {
	case SHELF_SHOW_ALL:
	case SHELF_SHOW_RECENT:
		if (n != NULL)
			return false;
		break;
	case SHELF_SHOW_SINCE:
		if (n == NULL || strlen(n) != strlen("2026-01-31") || !tool_since(n, &since_s))
			return false;
		number = (uint64_t)since_s / 86400;
		break;
	case SHELF_SHOW_NEWEST:
	case SHELF_SHOW_DAYS:
		if (n == NULL || !shelf_span_u64(shelf_span_str(n), UINT32_MAX, &number) || number == 0)
			return false;
		break;
	default:
		return false;
	}
	*value = shelf_show((enum shelf_show)i, (uint32_t)number);
	return true;
}

static bool
parse_choice(const char *word, const char *text, uint64_t *value)
{
	size_t len = strlen(text);

	for (*value = 0;; ++*value) {
		if (len > 0 && strcspn(word, " ") == len && strncmp(word, text, len) == 0)
			return true;
		if ((word = strchr(word, ' ')) == NULL)
			return false;
		word++;
	}
}

/* MORE: a second word, or NULL. */
static bool
parse(const struct shelf_policy_info *info, const char *text, const char *more, uint64_t *value)
{
	*value = UINT64_MAX;
	if (strcmp(text, "default") == 0)
		return more == NULL;
	if (info->kind == SHELF_POLICY_KIND_SHOW)
		return parse_show(text, more, value);
	if (more != NULL)
		return false;
	switch (info->kind) {
	case SHELF_POLICY_KIND_SIZE:
		return shelf_size_parse(text, value);
	case SHELF_POLICY_KIND_COUNT:
		return shelf_span_u64(shelf_span_str(text), UINT32_MAX, value);
	case SHELF_POLICY_KIND_CHOICE:
		return parse_choice(info->choices, text, value);
	case SHELF_POLICY_KIND_MAILBOX:
	case SHELF_POLICY_KIND_SHOW:
		break;
	}
	*value = 0; /* a name: the engine knows which are good */
	return true;
}

static const char *
values(const struct shelf_policy_info *info)
{
	switch (info->kind) {
	case SHELF_POLICY_KIND_SIZE:
		return "10M, 1G";
	case SHELF_POLICY_KIND_COUNT:
		return "a number";
	case SHELF_POLICY_KIND_MAILBOX:
		return "a mailbox";
	case SHELF_POLICY_KIND_SHOW:
		return "all, since 2026-01-31, newest 500, days 30, recent";
	case SHELF_POLICY_KIND_CHOICE:
		break;
	}
	return info->choices;
}

int
tool_policy_set(struct tool *t)
{
	const struct shelf_policy_info *info;
	enum shelf_policy id;
	uint64_t value;
	int rc = tool_args(t, NULL, 3, 4);

	if (rc != 0)
		return rc;
	if (!shelf_policy_find(shelf_span_str(t->argv[1]), &id))
		return tool_usage(t, "%s: no such policy (mailshelf policy show lists them)", t->argv[1]);
	info = shelf_policy_info(id);
	if (!parse(info, t->argv[2], t->argc == 4 ? t->argv[3] : NULL, &value))
		return tool_usage(t, "%s %s: not a value (%s)", t->argv[1], t->argv[2], values(info));
	if ((rc = tool_open(t)) != 0)
		return rc;
	if (info->kind == SHELF_POLICY_KIND_MAILBOX && value != UINT64_MAX)
		rc = shelf_policy_set_text(t->store, shelf_span_str(t->argv[0]), id, shelf_span_str(t->argv[2]));
	else
		rc = shelf_policy_set(t->store, shelf_span_str(t->argv[0]), id, value);
	return rc == 0 ? EX_OK : tool_fail(t, t->argv[0], rc);
}

struct showing {
	struct tool *t;
	struct shelf_buf json;
	unsigned n;
};

/* What SCOPE has itself, or all that holds for an account. */
static void
show(struct showing *s, struct shelf_span scope, const struct shelf_policies *p, bool all)
{
	char buf[64];

	if (s->t->json) {
		shelf_buf_add_str(&s->json, s->n++ > 0 ? ",{" : "{");
		tool_json_str(&s->json, "scope", scope);
	}
	for (unsigned id = 0; id < SHELF_POLICIES; id++) {
		const struct shelf_policy_info *info = shelf_policy_info((enum shelf_policy)id);
		const char *text = value_text(p, (enum shelf_policy)id, buf, sizeof buf);

		if (!all && !p->set[id])
			continue;
		if (s->t->json && (info->kind == SHELF_POLICY_KIND_SIZE || info->kind == SHELF_POLICY_KIND_COUNT))
			tool_json_u64(&s->json, info->name, p->value[id]);
		else if (s->t->json)
			tool_json_str(&s->json, info->name, shelf_span_str(text));
		else if (all)
			tool_print("%-14s %-8s %s", info->name, *text == '\0' ? "-" : text, info->text);
		else
			tool_print("%.*s %s %s", (int)scope.len, (const char *)scope.data, info->name, text);
	}
	if (s->t->json)
		shelf_buf_add_byte(&s->json, '}');
}

static int
show_scope(void *arg, struct shelf_span scope)
{
	struct showing *s = arg;
	struct shelf_policies p;
	int rc = shelf_policy_own(s->t->store, scope, &p);

	if (rc == 0)
		show(s, scope, &p, false);
	return rc;
}

int
tool_policy_show(struct tool *t)
{
	struct showing s = {.t = t};
	struct shelf_policies p;
	int rc = tool_args(t, NULL, 0, 1);

	if (rc == 0)
		rc = tool_open(t);
	if (rc != 0)
		return rc;
	shelf_buf_add_byte(&s.json, '[');
	if (t->argc == 0) {
		rc = shelf_policy_each(t->store, show_scope, &s);
	} else if ((rc = shelf_policy_get(t->store, shelf_span_str(t->argv[0]), &p)) == 0) {
		show(&s, shelf_span_str(t->argv[0]), &p, true);
	}
	shelf_buf_add_byte(&s.json, ']');
	if (rc == 0 && t->json)
		tool_print_buf(&s.json);
	else
		shelf_buf_free(&s.json);
	return rc == 0 ? EX_OK : tool_fail(t, t->argc == 0 ? t->store_dir : t->argv[0], rc);
}
