/*
 * tool_alias.c - alias set, alias delete, alias list
 */
#include <limits.h>
#include <stdlib.h>

#include <mailshelf/alias.h>

#include "tools.h"

static int
set_alias(struct tool *t, int ntargets)
{
	struct shelf_span *targets = shelf_zalloc((size_t)(ntargets + 1) * sizeof(*targets));
	int rc;

	for (int i = 0; i < ntargets; i++)
		targets[i] = shelf_span_str(t->argv[i + 1]);
	rc = shelf_alias_set(t->store, shelf_span_str(t->argv[0]), targets, (size_t)ntargets);
	free(targets);
	return rc == 0 ? EX_OK : tool_fail(t, t->argv[0], rc);
}

int
tool_alias_set(struct tool *t)
{
	int rc = tool_args(t, NULL, 2, INT_MAX);

	if (rc == 0)
		rc = tool_open(t);
	return rc == 0 ? set_alias(t, t->argc - 1) : rc;
}

int
tool_alias_delete(struct tool *t)
{
	int rc = tool_args(t, NULL, 1, 1);

	if (rc == 0)
		rc = tool_open(t);
	return rc == 0 ? set_alias(t, 0) : rc;
}

struct listing {
	struct tool *t;
	struct shelf_buf json;
	uint64_t n;
};

static int
list_one(void *arg, struct shelf_span address, struct shelf_span targets)
{
	struct listing *l = arg;
	struct shelf_buf line = {0};
	bool first = true;

	if (l->t->json) {
		if (l->n > 0)
			shelf_buf_add_byte(&l->json, ',');
		shelf_buf_add_byte(&l->json, '{');
		tool_json_str(&l->json, "address", address);
		shelf_buf_add_str(&l->json, ",\"targets\":[");
	}
	for (size_t pos = 0; pos < targets.len; pos += strlen((const char *)targets.data + pos) + 1) {
		const char *target = (const char *)targets.data + pos;

		shelf_buf_printf(&line, " %s", target);
		if (l->t->json && !first)
			shelf_buf_add_byte(&l->json, ',');
		if (l->t->json)
			shelf_buf_add_json(&l->json, shelf_span_str(target));
		first = false;
	}
	l->n++;
	if (l->t->json)
		shelf_buf_add_str(&l->json, "]}");
	else
		tool_print("%.*s %s", (int)address.len, (const char *)address.data, shelf_buf_cstr(&line));
	shelf_buf_free(&line);
	return 0;
}

int
tool_alias_list(struct tool *t)
{
	struct listing l = {.t = t};
	int rc = tool_args(t, NULL, 0, 0);

	if (rc == 0)
		rc = tool_open(t);
	if (rc != 0)
		return rc;
	shelf_buf_add_byte(&l.json, '[');
	rc = shelf_alias_each(t->store, list_one, &l);
	shelf_buf_add_byte(&l.json, ']');
	if (rc == 0 && t->json)
		tool_print_buf(&l.json);
	else
		shelf_buf_free(&l.json);
	if (rc == 0 && !t->json && l.n == 0)
		tool_print("no aliases");
	return rc == 0 ? EX_OK : tool_fail(t, t->store_dir, rc);
}
