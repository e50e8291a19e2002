/*
 * tool_audit.c - what was done to a store with this program, and by whom: STORE/audit.log
 *
 * A line of JSON for each verb that may change something, behind its end: time, user, verb, arguments, exit status. No
 * password is an argument, so none stands there. The file only grows; to rotate it, rename it. Logins are in the
 * daemon's log.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <mailshelf/mem.h>

#include "tools.h"

enum { LINE_MAX_BYTES = 64 * 1024 };

/* All others may change something, until somebody puts them here. */
static const char *const only_look[] = {"account list", "account show", "app-password list", "alias list",
	"policy show", "quota show", "quota top", "quota report", "quota check", "mailbox list", "acl show",
	"pop3 list", "export", "expire list", "guard list", "backup verify", "backup ls", "dict list", "bench", "stats",
	"partition list", "who", "audit", "forecast", "version", "help",
	/* A front server's, for each message. */
	"deliver"};

static bool
may_change(const struct tool_verb *verb)
{
	for (size_t i = 0; i < sizeof only_look / sizeof *only_look; i++)
		if (strcmp(verb->name, only_look[i]) == 0)
			return false;
	return true;
}

static void
log_path(const char *store_dir, char *path, size_t len)
{
	snprintf(path, len, "%s/audit.log", store_dir);
}

static const char *
user_name(char *buf, size_t len)
{
	const struct passwd *p = getpwuid(getuid());

	if (p != NULL)
		snprintf(buf, len, "%s", p->pw_name);
	else
		snprintf(buf, len, "%u", (unsigned)getuid());
	return buf;
}

void
tool_audit_begin(const struct tool *t, struct shelf_buf *line)
{
	const char *sudo = getenv("SUDO_USER");
	char user[256], when[32];
	struct tm tm;
	time_t now = time(NULL);

	if (t->verb == NULL || !may_change(t->verb))
		return;
	gmtime_r(&now, &tm);
	strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
	shelf_buf_add_byte(line, '{');
	tool_json_str(line, "time", shelf_span_str(when));
	tool_json_str(line, "user", shelf_span_str(user_name(user, sizeof user)));
	if (sudo != NULL)
		tool_json_str(line, "sudo_user", shelf_span_str(sudo));
	tool_json_str(line, "verb", shelf_span_str(t->verb->name));
	tool_json_key(line, "args");
	for (int i = 0; i < t->argc; i++) {
		shelf_buf_add_byte(line, i == 0 ? '[' : ',');
		shelf_buf_add_json(line, shelf_span_str(t->argv[i]));
	}
	shelf_buf_add_str(line, t->argc == 0 ? "[]" : "]");
}

void
tool_audit_end(const struct tool *t, struct shelf_buf *line, int status)
{
	char path[4200];
	int fd;

	if (line->len > 0 && t->store_dir != NULL && status != EX_USAGE) {
		/* Only where a store is: what was meant for one that is not there has changed nothing. */
		snprintf(path, sizeof path, "%s/mailshelf", t->store_dir);
		if (access(path, F_OK) == 0) {
			shelf_buf_printf(line, ",\"status\":%d}\n", status);
			log_path(t->store_dir, path, sizeof path);
			fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
			if (fd < 0 || write(fd, line->data, line->len) != (ssize_t)line->len)
				tool_say(t, "%s: %s", path, strerror(errno));
			if (fd >= 0)
				close(fd);
		}
	}
	shelf_buf_free(line);
}

/* ---- audit -------------------------------------------------------------------------------------- */

/* A string of a line that stands above, without its quotes; what is escaped stays so. */
static struct shelf_span
value_of(const char *line, const char *name)
{
	char key[32];
	const char *at, *end;

	snprintf(key, sizeof key, "\"%s\":\"", name);
	at = strstr(line, key);
	if (at == NULL)
		return shelf_span("", 0);
	at += strlen(key);
	for (end = at; *end != '\0' && *end != '"'; end++)
		end += *end == '\\' && end[1] != '\0';
	return shelf_span(at, (size_t)(end - at));
}

static bool
is_wanted(const char *line, const char *since, const char *user, const char *verb)
{
	struct shelf_span time = value_of(line, "time");

	if (since != NULL && shelf_span_cmp(time, shelf_span_str(since)) < 0)
		return false;
	if (user != NULL && !shelf_span_is(value_of(line, "user"), user) &&
	    !shelf_span_is(value_of(line, "sudo_user"), user))
		return false;
	return verb == NULL || shelf_text_has(value_of(line, "verb"), shelf_span_str(verb));
}

static void
print_line(const char *line)
{
	struct shelf_span time = value_of(line, "time"), user = value_of(line, "user"), verb = value_of(line, "verb");
	const char *args = strstr(line, "\"args\":["), *status = strrchr(line, ':');
	size_t len = args == NULL ? 0 : strlen(args);
	const char *end = args == NULL ? NULL : memrchr(args, ']', len);

	if (time.len == 0 || end == NULL || status == NULL)
		return; /* somebody else wrote it */
	args += strlen("\"args\":[");
	tool_print("%.*s  %-12.*s  %.*s %.*s%s%.*s", (int)time.len, (const char *)time.data, (int)user.len,
	    (const char *)user.data, (int)verb.len, (const char *)verb.data, (int)(end - args), args,
	    strtol(status + 1, NULL, 10) == 0 ? "" : "  failed: ",
	    strtol(status + 1, NULL, 10) == 0 ? 0 : (int)strspn(status + 1, "0123456789"), status + 1);
}

int
tool_audit(struct tool *t)
{
	const char *since = NULL, *user = NULL, *verb = NULL;
	const struct tool_option options[] = {{"since", TOOL_TEXT, &since}, {"user", TOOL_TEXT, &user},
		{"verb", TOOL_TEXT, &verb}, {0}};
	char path[4200], from[32], *line;
	struct shelf_buf json = {0};
	int64_t since_s;
	struct tm tm;
	time_t at;
	FILE *f;
	int rc = tool_args(t, options, 0, 0);

	if (rc == 0 && since != NULL && !tool_since(since, &since_s))
		rc = tool_usage(t, "--since %s: no time (2h, 3d, 2026-11-21)", since);
	if (rc == 0)
		rc = tool_open(t);
	if (rc != 0)
		return rc;
	if (since != NULL) {
		at = (time_t)since_s;
		gmtime_r(&at, &tm);
		strftime(from, sizeof from, "%Y-%m-%dT%H:%M:%SZ", &tm);
	}
	log_path(t->store_dir, path, sizeof path);
	f = fopen(path, "re");
	if (f == NULL && errno != ENOENT) {
		tool_say(t, "%s: %s", path, strerror(errno));
		return EX_NOINPUT;
	}
	line = shelf_alloc(LINE_MAX_BYTES);
	shelf_buf_add_byte(&json, '[');
	while (f != NULL && fgets(line, LINE_MAX_BYTES, f) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] != '{' || !is_wanted(line, since != NULL ? from : NULL, user, verb))
			continue;
		if (t->json)
			shelf_buf_printf(&json, "%s%s", json.len > 1 ? "," : "", line);
		else
			print_line(line);
	}
	shelf_buf_add_byte(&json, ']');
	if (t->json)
		tool_print_buf(&json);
	shelf_buf_free(&json);
	free(line);
	if (f != NULL)
		fclose(f);
	return EX_OK;
}
