/*
 * tool_settings.c - settings: shows and changes what can be set while the store is in use
 */
#include <string.h>

#include "tools.h"

static const char *
value_text(enum shelf_setting_kind kind, uint64_t value, char *buf, size_t len)
{
	static const struct {
		unsigned seconds;
		char unit;
	} units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
	unsigned u = 0;

	switch (kind) {
	case SHELF_SETTING_TIME:
		if (value == UINT32_MAX)
			return "none";
		while (value % units[u].seconds != 0 || value < units[u].seconds)
			if (++u == 3)
				break;
		snprintf(buf, len, "%llu%c", (unsigned long long)(value / units[u].seconds), units[u].unit);
		return buf;
	case SHELF_SETTING_PERCENT:
		snprintf(buf, len, "%llu%%", (unsigned long long)value);
		return buf;
	case SHELF_SETTING_SIZE:
		return shelf_size_text(value, buf, len);
	case SHELF_SETTING_COUNT:
		break;
	}
	snprintf(buf, len, "%llu", (unsigned long long)value);
	return buf;
}

static bool
parse(enum shelf_setting_kind kind, const char *text, uint64_t *value)
{
	struct shelf_span s = shelf_span_str(text);
	uint32_t seconds = 0;
	bool ok;

	switch (kind) {
	case SHELF_SETTING_TIME:
		ok = tool_duration(text, &seconds);
		*value = seconds;
		return ok;
	case SHELF_SETTING_SIZE:
		return shelf_size_parse(text, value);
	case SHELF_SETTING_PERCENT:
		s.len -= s.len > 0 && s.data[s.len - 1] == '%';
		break;
	case SHELF_SETTING_COUNT:
		break;
	}
	return shelf_span_u64(s, UINT64_MAX, value);
}

static void
print_one(const struct tool *t, struct shelf_buf *json, enum shelf_setting id)
{
	const struct shelf_setting_info *info = shelf_setting_info(id);
	uint64_t value = shelf_setting_get(t->store, id);
	char now[32], std[32];

	if (t->json) {
		tool_json_u64(json, info->key, value);
		return;
	}
	tool_print("%-18s %-10s %s (default %s)", info->name,
	    value_text(info->kind, value, now, sizeof now), info->text,
	    value_text(info->kind, info->std, std, sizeof std));
}

static void
print_all(const struct tool *t, unsigned first, unsigned last)
{
	struct shelf_buf json = {0};

	shelf_buf_add_byte(&json, '{');
	for (unsigned id = first; id <= last; id++)
		print_one(t, &json, (enum shelf_setting)id);
	if (t->json) {
		shelf_buf_add_byte(&json, '}');
		tool_print_buf(&json);
		return;
	}
	shelf_buf_free(&json);
}

int
tool_settings(struct tool *t)
{
	enum shelf_setting id = SHELF_SETTINGS;
	uint64_t value = 0;
	int rc = tool_args(t, NULL, 0, 2);

	if (rc == 0 && t->argc > 0 && !shelf_setting_find(shelf_span_str(t->argv[0]), &id))
		rc = tool_usage(t, "%s: no such setting (mailshelf settings lists them)", t->argv[0]);
	if (rc == 0 && t->argc == 2 && !parse(shelf_setting_info(id)->kind, t->argv[1], &value))
		rc = tool_usage(t, "%s %s: not a value (14d, 10%%, 5G, 100)", t->argv[0], t->argv[1]);
	if (rc == 0)
		rc = tool_open(t);
	if (rc != 0)
		return rc;
	if (t->argc == 2 && (rc = shelf_setting_set(t->store, id, value)) == SHELF_EINVALID)
		return tool_usage(t, "%s %s: out of range", t->argv[0], t->argv[1]);
	if (rc != 0)
		return tool_fail(t, t->argv[0], rc);
	print_all(t, t->argc == 0 ? 0 : id, t->argc == 0 ? SHELF_SETTINGS - 1 : id);
	return EX_OK;
}
