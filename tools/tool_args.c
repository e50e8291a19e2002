/*
 * tool_args.c - options of the verbs, and the values they take
 *
 * Options may stand anywhere behind the verb, as --name VALUE or --name=VALUE.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tools.h"

uint64_t
tool_limit(const struct tool_number *n, uint64_t otherwise)
{
	return !n->given ? otherwise : n->value == 0 ? SHELF_QUOTA_NONE : n->value;
}

bool
tool_size(const char *s, uint64_t *bytes_out)
{
	if (strcmp(s, "none") == 0 || strcmp(s, "-") == 0) {
		*bytes_out = 0;
		return true;
	}
	/* 0 means "no limit" to the engine, which nobody who writes 0 expects. */
	return shelf_size_parse(s, bytes_out) && *bytes_out > 0;
}

bool
tool_duration(const char *s, uint32_t *seconds_out)
{
	static const struct {
		char unit;
		uint32_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
	size_t len = strlen(s);
	uint64_t n;

	if (strcmp(s, "none") == 0) {
		*seconds_out = UINT32_MAX;
		return true;
	}
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		if (len < 2 || s[len - 1] != units[i].unit)
			continue;
		if (!shelf_span_u64(shelf_span(s, len - 1), (UINT32_MAX - 1) / units[i].seconds, &n) || n == 0)
			return false;
		*seconds_out = (uint32_t)n * units[i].seconds;
		return true;
	}
	return false;
}

bool
tool_since(const char *s, int64_t *out)
{
	unsigned month, day, hour = 0, minute = 0, second = 0, m, d;
	int year, y, at = 0, end = 0;
	uint32_t ago;

	if (tool_duration(s, &ago)) {
		*out = shelf_now_s() - ago;
		return ago != UINT32_MAX;
	}
	if (sscanf(s, "%4d-%2u-%2u%n", &year, &month, &day, &at) != 3 || at != 10)
		return false;
	if (s[at] == ' ' || s[at] == 'T') {
		if (sscanf(s + at + 1, "%2u:%2u%n:%2u%n", &hour, &minute, &end, &second, &end) < 2)
			return false;
		at += 1 + end;
	}
	*out = shelf_days_from_civil(year, month, day) * 86400;
	shelf_civil_from_days(*out / 86400, &y, &m, &d);
	*out += hour * 3600 + minute * 60 + second;
	return s[at] == '\0' && year >= 1970 && y == year && m == month && d == day && hour < 24 &&
	    minute < 60 && second < 60;
}

static const struct {
	const char *name;
	unsigned bit;
} uses[] = {
	{"All", SHELF_USE_ALL}, {"Archive", SHELF_USE_ARCHIVE}, {"Drafts", SHELF_USE_DRAFTS},
	{"Flagged", SHELF_USE_FLAGGED}, {"Junk", SHELF_USE_JUNK}, {"Sent", SHELF_USE_SENT},
	{"Trash", SHELF_USE_TRASH},
};

bool
tool_special_use(const char *s, unsigned *use_out)
{
	if (*s == '\\')
		s++;
	for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
		if (strcasecmp(s, uses[i].name) == 0) {
			*use_out = uses[i].bit;
			return true;
		}
	}
	return false;
}

const char *
tool_special_use_text(unsigned use, char *buf, size_t len)
{
	size_t at = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
		if ((use & uses[i].bit) == 0 || at >= len)
			continue;
		at += (size_t)snprintf(buf + at, len - at, "%s\\%s", at > 0 ? " " : "", uses[i].name);
	}
	return buf;
}

static int
take_number(struct tool *t, const struct tool_option *o, const char *text)
{
	struct tool_number *n = o->value;
	bool ok;

	n->given = true;
	if (o->kind == TOOL_SIZE) {
		ok = tool_size(text, &n->value);
	} else if (o->kind == TOOL_COUNT) {
		n->value = 0;
		ok = strcmp(text, "none") == 0 ||
		    (shelf_span_u64(shelf_span_str(text), UINT64_MAX, &n->value) && n->value > 0);
	} else {
		n->value = strcmp(text, "on") == 0 || strcmp(text, "yes") == 0;
		ok = n->value == 1 || strcmp(text, "off") == 0 || strcmp(text, "no") == 0;
	}
	if (ok)
		return 0;
	return tool_usage(t, "--%s %s: %s", o->name, text,
	    o->kind == TOOL_SIZE ? "not a size (500M, 1G, none)" :
	    o->kind == TOOL_COUNT ? "not a number above 0, nor none" : "neither on nor off");
}

static int
take_value(struct tool *t, const struct tool_option *o, const char *text)
{
	if (o->kind == TOOL_TEXTS) {
		struct tool_texts *list = o->value;

		if (list->count == sizeof list->text / sizeof *list->text)
			return tool_usage(t, "--%s: given too often", o->name);
		list->text[list->count++] = text;
		return 0;
	}
	if (o->kind != TOOL_TEXT)
		return take_number(t, o, text);
	*(const char **)o->value = text;
	return 0;
}

/* Behind the dashes. "-s" is --store, "-m" the first option of the verb that takes a value and begins so. "": none. */
static const char *
long_name(const char *arg, const struct tool_option *options)
{
	if (arg[1] == '-')
		return arg + 2;
	if (arg[1] == '\0' || arg[2] != '\0')
		return "";
	if (arg[1] == 's')
		return "store";
	for (const struct tool_option *o = options; o != NULL && o->name != NULL; o++)
		if (o->kind == TOOL_TEXT && o->name[0] == arg[1])
			return o->name;
	return "";
}

/* One option at argv[*i]: its own, or one every verb has. */
static int
take_option(struct tool *t, const struct tool_option *options, int argc, char **argv, int *i)
{
	const struct tool_option own[] = {
		{"json", TOOL_FLAG, &t->json}, {"store", TOOL_TEXT, &t->store_dir}, {0}};
	const struct tool_option *lists[] = {own, options};
	const char *name = long_name(argv[*i], options);
	const char *value = strchr(name, '=');
	size_t len = value == NULL ? strlen(name) : (size_t)(value++ - name);

	for (size_t l = 0; l < 2; l++) {
		for (const struct tool_option *o = lists[l]; o != NULL && o->name != NULL; o++) {
			if (strlen(o->name) != len || memcmp(o->name, name, len) != 0)
				continue;
			if (o->kind == TOOL_FLAG) {
				if (value != NULL)
					return tool_usage(t, "--%s: takes no value", o->name);
				*(bool *)o->value = true;
				return 0;
			}
			if (value == NULL && *i + 1 >= argc)
				return tool_usage(t, "%s: value missing", argv[*i]);
			return take_value(t, o, value != NULL ? value : argv[++*i]);
		}
	}
	return tool_usage(t, "%s: unknown option", argv[*i]);
}

int
tool_args(struct tool *t, const struct tool_option *options, int min, int max)
{
	int argc = t->argc, kept = 0;
	bool ended = false;

	for (int i = 0; i < argc; i++) {
		char *arg = t->argv[i];

		if (!ended && strcmp(arg, "--") == 0) {
			ended = true;
		} else if (!ended && arg[0] == '-' && arg[1] != '\0') {
			int rc = take_option(t, options, argc, t->argv, &i);

			if (rc != 0)
				return rc;
		} else {
			t->argv[kept++] = arg;
		}
	}
	t->argc = kept;
	if (kept < min)
		return tool_usage(t, "argument missing");
	if (kept > max)
		return tool_usage(t, "%s: one argument too many", t->argv[max]);
	return 0;
}
