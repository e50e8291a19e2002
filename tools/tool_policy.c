/*
 * tool_policy.c - policy set, policy show
 */
#include <string.h>

#include <mailshelf/policy.h>

#include "tools.h"

static const char *
value_text(const struct shelf_policy_info *info, uint64_t value, char *buf, size_t len)
{
	const char *word = info->choices;

	if (info->kind == SHELF_POLICY_KIND_SIZE)
		return shelf_size_text(value, buf, len);
	if (info->kind == SHELF_POLICY_KIND_COUNT) {
		snprintf(buf, len, "%llu", (unsigned long long)value);
		return buf;
	}
	for (; value > 0 && word != NULL; value--)
		word = strchr(word, ' ') == NULL ? NULL : strchr(word, ' ') + 1;
	snprintf(buf, len, "%.*s", word == NULL ? 0 : (int)strcspn(word, " "), word == NULL ? "" : word);
	return buf;
}

static bool
parse(const struct shelf_policy_info *info, const char *text, uint64_t *value)
{
	const char *word = info->choices;
	size_t len = strlen(text);

	if (strcmp(text, "default") == 0) {
		*value = UINT64_MAX;
		return true;
	}
	if (info->kind == SHELF_POLICY_KIND_SIZE)
		return shelf_size_parse(text, value);
	if (info->kind == SHELF_POLICY_KIND_COUNT)
		return shelf_span_u64(shelf_span_str(text), UINT32_MAX, value);
	for (*value = 0;; ++*value) {
		if (len > 0 && strcspn(word, " ") == len && strncmp(word, text, len) == 0)
			return true;
		if ((word = strchr(word, ' ')) == NULL)
			return false;
		word++;
	}
}

int
tool_policy_set(struct tool *t)
{
	enum shelf_policy id;
	uint64_t value;
	int rc = tool_args(t, NULL, 3, 3);

	if (rc != 0)
		return rc;
	if (!shelf_policy_find(shelf_span_str(t->argv[1]), &id))
		return tool_usage(t, "%s: no such policy (mailshelf policy show lists them)", t->argv[1]);
	if (!parse(shelf_policy_info(id), t->argv[2], &value))
		return tool_usage(t, "%s %s: not a value (%s)", t->argv[1], t->argv[2],
		    shelf_policy_info(id)->kind == SHELF_POLICY_KIND_CHOICE ? shelf_policy_info(id)->choices :
		    shelf_policy_info(id)->kind == SHELF_POLICY_KIND_SIZE ? "10M, 1G" : "a number");
	if ((rc = tool_open(t)) != 0)
		return rc;
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
	char text[64];

	if (s->t->json) {
		shelf_buf_add_str(&s->json, s->n++ > 0 ? ",{" : "{");
		tool_json_str(&s->json, "scope", scope);
	}
	for (unsigned id = 0; id < SHELF_POLICIES; id++) {
		const struct shelf_policy_info *info = shelf_policy_info((enum shelf_policy)id);

		if (!all && !p->set[id])
			continue;
		value_text(info, p->value[id], text, sizeof text);
		if (s->t->json && info->kind != SHELF_POLICY_KIND_CHOICE)
			tool_json_u64(&s->json, info->name, p->value[id]);
		else if (s->t->json)
			tool_json_str(&s->json, info->name, shelf_span_str(text));
		else if (all)
			tool_print("%-14s %-8s %s", info->name, text, info->text);
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
