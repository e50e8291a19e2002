/*
 * tool_account.c - accounts: add, list, show, set, passwd, delete
 */
#include <string.h>
#include <unistd.h>

#include "tools.h"

static void
add_services_json(struct shelf_buf *b, const struct shelf_account *a)
{
	tool_json_bool(b, "imap", (a->services & SHELF_SERVICE_IMAP) != 0);
	tool_json_bool(b, "pop3", (a->services & SHELF_SERVICE_POP3) != 0);
	tool_json_bool(b, "delivery", (a->services & SHELF_SERVICE_DELIVERY) != 0);
	tool_json_bool(b, "admin", (a->services & SHELF_SERVICE_ADMIN) != 0);
	tool_json_bool(b, "submission", (a->services & SHELF_SERVICE_SUBMISSION) != 0);
	tool_json_bool(b, "disabled", a->disabled);
	tool_json_bool(b, "password", a->has_password);
}

static void
add_account_json(struct shelf_buf *b, const struct shelf_account *a)
{
	tool_json_str(b, "name", shelf_span_str(a->name));
	tool_json_u64(b, "id", a->id);
	add_services_json(b, a);
	tool_json_u64(b, "created", (uint64_t)a->created_s);
	tool_json_u64(b, "partition", a->partition);
}

static const char *
services_text(const struct shelf_account *a, char *buf, size_t len)
{
	if (a->disabled)
		snprintf(buf, len, "disabled");
	else
		snprintf(buf, len, "%-5s%-5s%-9s%-11s%s%s", (a->services & SHELF_SERVICE_IMAP) != 0 ? "imap" : "",
		    (a->services & SHELF_SERVICE_POP3) != 0 ? "pop3" : "",
		    (a->services & SHELF_SERVICE_DELIVERY) != 0 ? "delivery" : "",
		    (a->services & SHELF_SERVICE_SUBMISSION) != 0 ? "submission" : "",
		    (a->services & SHELF_SERVICE_ADMIN) != 0 ? "admin " : "",
		    a->has_password ? "" : "no password");
	return buf;
}

/* ---- add ----------------------------------------------------------------------------------------- */

static int
report_added(struct tool *t, const struct shelf_account_new *new, uint32_t id, bool password)
{
	struct shelf_buf b = {0};

	if (t->json) {
		shelf_buf_add_byte(&b, '{');
		tool_json_str(&b, "name", new->name);
		tool_json_u64(&b, "id", id);
		tool_json_bool(&b, "password", password);
		shelf_buf_add_byte(&b, '}');
		tool_print_buf(&b);
		return EX_OK;
	}
	tool_print("account %.*s added%s", (int)new->name.len, (const char *)new->name.data,
	    password ? "" : " without a password: no login until `account passwd` sets one");
	return EX_OK;
}

int
tool_account_add(struct tool *t)
{
	struct tool_number quota = {0}, messages = {0}, mailboxes = {0};
	bool from_stdin = false, batch = false, progress = false;
	const struct tool_option options[] = {
		{"quota", TOOL_SIZE, &quota}, {"quota-messages", TOOL_COUNT, &messages},
		{"quota-mailboxes", TOOL_COUNT, &mailboxes},
		{"password-stdin", TOOL_FLAG, &from_stdin}, {"batch", TOOL_FLAG, &batch},
		{"progress", TOOL_FLAG, &progress}, {0}};
	struct shelf_account_new new = {0};
	struct shelf_buf password = {0};
	uint32_t id = 0;
	int one = 0, rc = tool_args(t, options, 0, 1);

	if (rc != 0)
		return rc;
	if (batch && (t->argc > 0 || quota.given || messages.given || mailboxes.given || from_stdin))
		return tool_usage(t, "--batch: takes names, passwords and quotas from stdin only");
	if (!batch && t->argc == 0)
		return tool_usage(t, "argument missing");
	if (!batch && progress)
		return tool_usage(t, "--progress: only with --batch");
	rc = tool_open(t);
	if (rc != 0)
		return rc;
	if (batch)
		return tool_account_batch(t, progress);
	rc = tool_password(t, from_stdin, &password);
	if (rc > 1)
		goto out;
	new.name = shelf_span_str(t->argv[0]);
	new.password = shelf_buf_span(&password);
	new.limit_bytes = tool_limit(&quota, 0);
	new.limit_messages = tool_limit(&messages, 0);
	new.limit_mailboxes = tool_limit(&mailboxes, 0);
	rc = shelf_account_add(t->store, &new, 1, &one, &id);
	if (rc != 0)
		rc = tool_fail(t, t->argv[0], one != 0 ? one : rc);
	else
		rc = report_added(t, &new, id, password.len > 0);
out:
	tool_password_wipe(&password);
	return rc;
}

/* ---- list and show ------------------------------------------------------------------------------- */

struct listing {
	const struct tool *t;
	struct shelf_buf json;
};

static int
list_one(void *arg, const struct shelf_account *a)
{
	struct listing *l = arg;
	char services[64];

	if (!l->t->json) {
		tool_print("%-32s %s", a->name, services_text(a, services, sizeof services));
		return 0;
	}
	if (l->json.len > 1)
		shelf_buf_add_byte(&l->json, ',');
	shelf_buf_add_byte(&l->json, '{');
	add_account_json(&l->json, a);
	shelf_buf_add_byte(&l->json, '}');
	return 0;
}

int
tool_account_list(struct tool *t)
{
	struct listing l = {.t = t};
	int rc = tool_args(t, NULL, 0, 0);

	if (rc == 0)
		rc = tool_open(t);
	if (rc != 0)
		return rc;
	shelf_buf_add_byte(&l.json, '[');
	rc = shelf_account_each(t->store, list_one, &l);
	if (rc == 0 && t->json) {
		shelf_buf_add_byte(&l.json, ']');
		tool_print_buf(&l.json);
	}
	shelf_buf_free(&l.json);
	return rc == 0 ? EX_OK : tool_fail(t, t->store_dir, rc);
}

static int
count_mailbox(void *arg, const struct shelf_mailbox *m)
{
	*(uint64_t *)arg += m->exists_now;
	return 0;
}

static void
print_account(const struct tool *t, const struct shelf_account *a, const struct shelf_quota *q,
    uint64_t mailboxes)
{
	char one[64], two[64];
	struct shelf_buf b = {0};

	if (t->json) {
		shelf_buf_add_byte(&b, '{');
		add_account_json(&b, a);
		tool_json_u64(&b, "mailboxes", mailboxes);
		tool_json_quota(&b, q);
		shelf_buf_add_byte(&b, '}');
		tool_print_buf(&b);
		return;
	}
	tool_print("name       %s", a->name);
	tool_print("id         %u (partition %u)", a->id, a->partition);
	tool_print("created    %s UTC", tool_time_text(a->created_s, one));
	tool_print("services   %s", services_text(a, one, sizeof one));
	tool_print("password   %s", a->has_password ? "set" : "none: no login");
	if (q->limit_mailboxes == 0)
		tool_print("mailboxes  %llu", (unsigned long long)mailboxes);
	else
		tool_print("mailboxes  %llu of %llu", (unsigned long long)mailboxes,
		    (unsigned long long)q->limit_mailboxes);
	tool_print("messages   %llu, %s", (unsigned long long)q->used_messages,
	    shelf_size_text(q->used_bytes, one, sizeof one));
	if (q->limit_messages == 0)
		tool_print("limits     %s", tool_limit_text(q->limit_bytes, one, sizeof one));
	else
		tool_print("limits     %s, %llu messages", tool_limit_text(q->limit_bytes, one, sizeof one),
		    (unsigned long long)q->limit_messages);
	tool_print("held       %llu, %s", (unsigned long long)q->held_messages,
	    shelf_size_text(q->held_bytes, two, sizeof two));
}

int
tool_account_show(struct tool *t)
{
	struct shelf_account a;
	struct shelf_rd *rd = NULL;
	struct shelf_quota q;
	uint64_t mailboxes = 0;
	int rc = tool_args(t, NULL, 1, 1);

	if (rc == 0)
		rc = tool_open_account(t, &a);
	if (rc != 0)
		return rc;
	rc = shelf_rd_begin(t->store, a.id, &rd);
	if (rc == 0)
		rc = shelf_quota_get(rd, &q);
	if (rc == 0)
		rc = shelf_mailbox_each(rd, count_mailbox, &mailboxes);
	shelf_rd_end(&rd);
	if (rc != 0)
		return tool_fail(t, t->argv[0], rc);
	print_account(t, &a, &q, mailboxes);
	return EX_OK;
}

/* ---- set, passwd, delete ------------------------------------------------------------------------- */

static void
switch_service(unsigned *services, unsigned bit, const struct tool_number *to)
{
	if (to->given)
		*services = to->value != 0 ? *services | bit : *services & ~bit;
}

int
tool_account_set(struct tool *t)
{
	struct tool_number imap = {0}, pop3 = {0}, delivery = {0}, submission = {0}, admin = {0}, disabled = {0};
	const struct tool_option options[] = {
		{"imap", TOOL_ONOFF, &imap}, {"pop3", TOOL_ONOFF, &pop3},
		{"delivery", TOOL_ONOFF, &delivery}, {"submission", TOOL_ONOFF, &submission},
		{"admin", TOOL_ONOFF, &admin},
		{"disabled", TOOL_ONOFF, &disabled}, {0}};
	struct shelf_account a;
	struct shelf_buf b = {0};
	char text[64];
	int rc = tool_args(t, options, 1, 1);

	if (rc == 0 && !imap.given && !pop3.given && !delivery.given && !submission.given &&
	    !admin.given && !disabled.given)
		rc = tool_usage(t, "nothing to set");
	if (rc == 0)
		rc = tool_open_account(t, &a);
	if (rc != 0)
		return rc;
	switch_service(&a.services, SHELF_SERVICE_IMAP, &imap);
	switch_service(&a.services, SHELF_SERVICE_POP3, &pop3);
	switch_service(&a.services, SHELF_SERVICE_DELIVERY, &delivery);
	switch_service(&a.services, SHELF_SERVICE_SUBMISSION, &submission);
	switch_service(&a.services, SHELF_SERVICE_ADMIN, &admin);
	if (disabled.given)
		a.disabled = disabled.value != 0;
	rc = shelf_account_set_services(t->store, a.id, a.services, a.disabled);
	if (rc != 0)
		return tool_fail(t, t->argv[0], rc);
	if (t->json) {
		shelf_buf_add_byte(&b, '{');
		tool_json_str(&b, "name", shelf_span_str(a.name));
		add_services_json(&b, &a);
		shelf_buf_add_byte(&b, '}');
		tool_print_buf(&b);
	} else {
		tool_print("%s: %s", a.name, services_text(&a, text, sizeof text));
	}
	return EX_OK;
}

int
tool_account_passwd(struct tool *t)
{
	bool from_stdin = false, none = false;
	const struct tool_option options[] = {
		{"password-stdin", TOOL_FLAG, &from_stdin}, {"none", TOOL_FLAG, &none}, {0}};
	struct shelf_buf password = {0};
	struct shelf_account a;
	int rc = tool_args(t, options, 1, 1);

	if (rc == 0 && from_stdin && none)
		rc = tool_usage(t, "--none: not together with --password-stdin");
	if (rc == 0)
		rc = tool_open_account(t, &a);
	if (rc == 0 && !none)
		rc = tool_password(t, from_stdin, &password);
	if (rc == 1)
		rc = tool_usage(t, "no terminal to ask for the password: give --password-stdin");
	if (rc == 0) {
		rc = shelf_account_set_password(t->store, a.id, shelf_buf_span(&password));
		if (rc != 0)
			rc = tool_fail(t, t->argv[0], rc);
		else if (!t->json)
			tool_print("%s: password %s", a.name, none ? "removed: no login" : "set");
	}
	tool_password_wipe(&password);
	return rc;
}

static bool
confirmed(const char *name)
{
	char line[SHELF_ACCOUNT_NAME_MAX + 3] = "";

	fprintf(stderr, "All mail of %s goes. Type the name to go on: ", name);
	fflush(stderr);
	if (fgets(line, sizeof line, stdin) == NULL)
		return false;
	line[strcspn(line, "\r\n")] = '\0';
	return strcmp(line, name) == 0;
}

int
tool_account_delete(struct tool *t)
{
	bool yes = false;
	const struct tool_option options[] = {{"yes", TOOL_FLAG, &yes}, {0}};
	struct shelf_account a;
	int rc = tool_args(t, options, 1, 1);

	if (rc == 0)
		rc = tool_open_account(t, &a);
	if (rc != 0)
		return rc;
	if (!yes && isatty(STDIN_FILENO) != 1)
		return tool_usage(t, "no terminal to ask: give --yes");
	if (!yes && !confirmed(a.name)) {
		tool_say(t, "%s: not deleted", a.name);
		return EX_NOPERM;
	}
	rc = shelf_account_delete(t->store, a.id);
	if (rc != 0)
		return tool_fail(t, t->argv[0], rc);
	if (!t->json)
		tool_print("account %s deleted", a.name);
	return EX_OK;
}
