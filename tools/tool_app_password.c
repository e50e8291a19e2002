/*
 * tool_app_password.c - passwords of an account for one program each: add, list, remove
 *
 * What must stay true: the password is printed once, by add, and nowhere else.
 */
#include <string.h>

#include <mailshelf/app_password.h>
#include <mailshelf/mem.h>

#include "tools.h"

static const struct scope {
	const char *name;
	unsigned service;
} scopes[] = {
    {"imap", SHELF_SERVICE_IMAP}, {"pop3", SHELF_SERVICE_POP3}, {"submission", SHELF_SERVICE_SUBMISSION}};
enum { SCOPES = sizeof(scopes) / sizeof(*scopes), SCOPE_TEXT = 32 };

/* "imap,submission"; false: something else. */
static bool
read_scope(const char *text, unsigned *services_out)
{
	*services_out = 0;
	while (*text != '\0') {
		size_t len = strcspn(text, ","), i = 0;

		while (i < SCOPES && (strlen(scopes[i].name) != len || memcmp(scopes[i].name, text, len) != 0))
			i++;
		if (i == SCOPES)
			return false;
		*services_out |= scopes[i].service;
		text += len + (text[len] == ',' ? 1 : 0);
	}
	return *services_out != 0;
}

static const char *
scope_text(unsigned services, char *buf)
{
	buf[0] = '\0';
	for (size_t i = 0; i < SCOPES; i++) {
		if ((services & scopes[i].service) == 0)
			continue;
		if (buf[0] != '\0')
			strcat(buf, ",");
		strcat(buf, scopes[i].name);
	}
	return buf;
}

static void
add_json(struct shelf_buf *b, const struct shelf_app_password *p)
{
	char scope[SCOPE_TEXT];

	tool_json_u64(b, "id", p->id);
	tool_json_str(b, "label", shelf_span_str(p->label));
	tool_json_str(b, "scope", shelf_span_str(scope_text(p->services, scope)));
	tool_json_u64(b, "expires", (uint64_t)p->expires_s);
}

int
tool_app_password_add(struct tool *t)
{
	const char *label = NULL, *scope = "imap,pop3,submission", *expires = "none";
	const struct tool_option options[] = {
		{"label", TOOL_TEXT, &label}, {"scope", TOOL_TEXT, &scope}, {"expires", TOOL_TEXT, &expires}, {0}};
	struct shelf_app_password new = {0};
	char secret[SHELF_APP_SECRET_LEN + 1];
	struct shelf_account a;
	struct shelf_buf b = {0};
	uint32_t lasts_s = 0;
	int rc = tool_args(t, options, 1, 1);

	if (rc == 0 && (label == NULL || strlen(label) > SHELF_APP_LABEL_MAX))
		rc = tool_usage(t, "--label: what it is for, at most %d bytes", SHELF_APP_LABEL_MAX);
	if (rc == 0 && !read_scope(scope, &new.services))
		rc = tool_usage(t, "--scope %s: imap, pop3, submission, or some of them with commas", scope);
	if (rc == 0 && (!tool_duration(expires, &lasts_s) || lasts_s == 0))
		rc = tool_usage(t, "--expires %s: not a time (90d, 36h, none)", expires);
	if (rc == 0)
		rc = tool_open_account(t, &a);
	if (rc != 0)
		return rc;
	memcpy(new.label, label, strlen(label));
	new.expires_s = lasts_s == UINT32_MAX ? 0 : shelf_now_s() + lasts_s;
	rc = shelf_app_password_add(t->store, a.id, &new, secret, &new.id);
	if (rc != 0)
		return tool_fail(t, label, rc);
	if (t->json) {
		shelf_buf_add_byte(&b, '{');
		add_json(&b, &new);
		tool_json_str(&b, "password", shelf_span_str(secret));
		shelf_buf_add_byte(&b, '}');
		tool_print_buf(&b);
	} else {
		tool_print("%s", secret);
	}
	explicit_bzero(secret, sizeof(secret));
	return EX_OK;
}

static void
print_one(const struct shelf_app_password *p)
{
	char scope[SCOPE_TEXT], expires[32] = "never", used[32] = "never";

	if (p->expires_s != 0)
		tool_time_text(p->expires_s, expires);
	if (p->used_s != 0)
		tool_time_text(p->used_s, used);
	tool_print("%3u  %-20s  %-20s  expires %-19s  used %s", p->id, p->label,
	    scope_text(p->services, scope), expires, used);
}

int
tool_app_password_list(struct tool *t)
{
	struct shelf_app_password list[SHELF_APP_PASSWORDS_MAX];
	struct shelf_buf b = {0};
	struct shelf_account a;
	size_t n = 0;
	int rc = tool_args(t, NULL, 1, 1);

	if (rc == 0)
		rc = tool_open_account(t, &a);
	if (rc != 0)
		return rc;
	if ((rc = shelf_app_password_list(t->store, a.id, list, &n)) != 0)
		return tool_fail(t, t->argv[0], rc);
	shelf_buf_add_byte(&b, '[');
	for (size_t i = 0; i < n; i++) {
		if (!t->json) {
			print_one(&list[i]);
			continue;
		}
		shelf_buf_add_str(&b, i > 0 ? ",{" : "{");
		add_json(&b, &list[i]);
		tool_json_u64(&b, "created", (uint64_t)list[i].created_s);
		tool_json_u64(&b, "used", (uint64_t)list[i].used_s);
		shelf_buf_add_byte(&b, '}');
	}
	shelf_buf_add_byte(&b, ']');
	if (t->json)
		tool_print_buf(&b);
	else
		shelf_buf_free(&b);
	return EX_OK;
}

int
tool_app_password_remove(struct tool *t)
{
	struct shelf_account a;
	uint64_t id = 0;
	int rc = tool_args(t, NULL, 2, 2);

	if (rc == 0 && !shelf_span_u64(shelf_span_str(t->argv[1]), UINT32_MAX, &id))
		rc = tool_usage(t, "%s: a number of `app-password list`", t->argv[1]);
	if (rc == 0)
		rc = tool_open_account(t, &a);
	if (rc != 0)
		return rc;
	rc = shelf_app_password_remove(t->store, a.id, (uint32_t)id);
	if (rc != 0)
		return tool_fail(t, t->argv[1], rc);
	if (!t->json)
		tool_print("%s: password %s removed", a.name, t->argv[1]);
	return EX_OK;
}
