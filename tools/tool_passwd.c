/*
 * tool_passwd.c - `account import`: accounts of a passwd-file, as Dovecot reads it, or of /etc/shadow's form
 *
 *   user:{SCHEME}hash:uid:gid:gecos:home:shell:extra fields
 *
 * Taken are the name, the password's hash and, of the extra fields, quota_rule=*:storage=SIZE:messages=N (userdb_ in
 * front of it or not). Lines are numbered; one that cannot be used does not stop the others.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mailshelf/mem.h>

#include "tools.h"

enum { BATCH = 64, LINE_MAX_BYTES = 8192, FIELDS = 8 };

struct passwd {
	struct tool *t;
	const char *path, *scheme; /* of hashes that do not say theirs; NULL: crypt(3) */
	bool update, dry_run;
	uint64_t added, updated, there, bad;
	/* The batch. */
	struct shelf_account_new list[BATCH];
	uint64_t line[BATCH];
	char *text[BATCH], *hash[BATCH];
	size_t text_len[BATCH];
	size_t n;
};

static void
bad_line(struct passwd *p, uint64_t line, const char *name, const char *why)
{
	p->bad++;
	tool_say(p->t, "%s:%llu: %s%s%s", p->path, (unsigned long long)line, name, *name != '\0' ? ": " : "", why);
}

/* "*:storage=1G:messages=1000"; a bare number of storage is kilobytes. False: it makes no sense. */
static bool
take_quota(char *rule, struct shelf_account_new *out)
{
	char *save = NULL, *word = strtok_r(rule, ":", &save);

	if (word == NULL || (strcmp(word, "*") != 0 && strchr(word, '=') == NULL))
		return true; /* a rule of one mailbox */
	for (word = strchr(word, '=') != NULL ? word : strtok_r(NULL, ":", &save); word != NULL;
	     word = strtok_r(NULL, ":", &save)) {
		char *value = strchr(word, '=');
		uint64_t n;

		if (value == NULL)
			continue; /* "ignore" and the like */
		*value++ = '\0';
		if (strcmp(word, "messages") == 0 && shelf_span_u64(shelf_span_str(value), INT64_MAX, &n))
			out->limit_messages = n;
		else if (strcmp(value, "0") == 0)
			continue; /* no limit */
		else if (strcmp(word, "bytes") == 0 && tool_size(value, &n))
			out->limit_bytes = n;
		else if (strcmp(word, "storage") == 0 && tool_size(value, &n) && n <= INT64_MAX / 1024)
			out->limit_bytes = strspn(value, "0123456789") == strlen(value) ? n * 1024 : n;
		else
			return false;
	}
	return true;
}

/* The fields of a line; the last one has what is left. */
static size_t
split(char *line, char *field[FIELDS])
{
	size_t n = 0;

	while (n < FIELDS) {
		field[n++] = line;
		line = n < FIELDS ? strchr(line, ':') : NULL;
		if (line == NULL)
			break;
		*line++ = '\0';
	}
	return n;
}

/* NULL, or what is wrong with it. TEXT is cut to pieces, and lives as long as the batch. */
static const char *
take_line(struct passwd *p, char *text, size_t i)
{
	struct shelf_account_new *a = &p->list[i];
	char *field[FIELDS], *save = NULL, *word;
	size_t n = split(text, field);

	*a = (struct shelf_account_new){.name = shelf_span_str(field[0])};
	if (n < 2)
		return "not user:password:...";
	/* "*", "!": no password will do. */
	if (field[1][0] != '\0' && strchr("*!", field[1][0]) == NULL) {
		struct shelf_buf b = {0};

		if (p->scheme != NULL && field[1][0] != '{')
			shelf_buf_printf(&b, "{%s}", p->scheme);
		shelf_buf_add_str(&b, field[1]);
		p->hash[i] = shelf_strdup(shelf_buf_cstr(&b));
		tool_password_wipe(&b);
		a->hash = shelf_span_str(p->hash[i]);
	}
	word = n == FIELDS ? strtok_r(field[7], " \t", &save) : NULL;
	for (; word != NULL; word = strtok_r(NULL, " \t", &save)) {
		if (strncmp(word, "userdb_", 7) == 0)
			word += 7;
		if (strncmp(word, "quota_rule=", 11) == 0 && !take_quota(word + 11, a))
			return "its quota_rule makes no sense";
	}
	return NULL;
}

static void
forget(struct passwd *p, size_t i)
{
	if (p->hash[i] != NULL)
		explicit_bzero(p->hash[i], strlen(p->hash[i]));
	free(p->hash[i]);
	if (p->text[i] != NULL)
		explicit_bzero(p->text[i], p->text_len[i]);
	free(p->text[i]);
	p->hash[i] = p->text[i] = NULL;
}

/* ---- Storing ----------------------------------------------------------------------------------- */

static int
update(struct passwd *p, size_t i)
{
	struct shelf_account a;
	int rc = shelf_account_find(p->t->store, p->list[i].name, &a);

	if (rc == 0 && p->list[i].hash.len == 0)
		return SHELF_EEXISTS;
	return rc != 0 || p->dry_run ? rc : shelf_account_set_hash(p->t->store, a.id, p->list[i].hash);
}

static void
settle(struct passwd *p, size_t i, int rc)
{
	bool was_there = rc == SHELF_EEXISTS;

	if (was_there && p->update)
		rc = update(p, i);
	p->added += rc == 0 && !was_there;
	p->updated += rc == 0 && was_there;
	p->there += rc == SHELF_EEXISTS;
	if (rc == SHELF_EEXISTS)
		rc = 0;
	if (rc != 0)
		bad_line(p, p->line[i], p->text[i], rc == SHELF_EINVALID ?
		    "its password is hashed in a way that is not known here" : shelf_err_text(rc));
}

/* What a dry run can say without writing. */
static int
would_add(struct passwd *p, size_t i)
{
	struct shelf_account a;
	int rc = shelf_account_find(p->t->store, p->list[i].name, &a);

	if ((rc == 0 || rc == SHELF_ENOACCOUNT) && p->list[i].hash.len > 0 && !shelf_hash_known(p->list[i].hash))
		return SHELF_EINVALID;
	return rc == 0 ? SHELF_EEXISTS : rc == SHELF_ENOACCOUNT ? 0 : rc;
}

static int
store_batch(struct passwd *p)
{
	int rcs[BATCH] = {0}, rc = 0;

	if (p->n > 0 && !p->dry_run)
		rc = shelf_account_add(p->t->store, p->list, p->n, rcs, NULL);
	for (size_t i = 0; i < p->n; i++) {
		if (p->dry_run)
			rcs[i] = would_add(p, i);
		settle(p, i, rcs[i]);
		forget(p, i);
	}
	p->n = 0;
	return rc != 0 && shelf_err_class_of(rc) >= SHELF_CLASS_BUSY ? rc : 0;
}

static int
read_file(struct passwd *p, FILE *f)
{
	char *line = shelf_alloc(LINE_MAX_BYTES);
	uint64_t number = 0;
	int rc = 0;

	while (rc == 0 && !tool_interrupted() && fgets(line, LINE_MAX_BYTES, f) != NULL) {
		const char *why;

		number++;
		if (strchr(line, '\n') == NULL && strlen(line) == LINE_MAX_BYTES - 1) {
			bad_line(p, number, "", "too long");
			for (int c = 0; c != '\n' && c != EOF;)
				c = getc(f);
			continue;
		}
		line[strcspn(line, "\r\n")] = '\0';
		if (line[0] == '\0' || line[0] == '#')
			continue;
		p->text[p->n] = shelf_strdup(line);
		p->text_len[p->n] = strlen(line);
		p->line[p->n] = number;
		if ((why = take_line(p, p->text[p->n], p->n)) != NULL) {
			/* A line without a colon may be anything, a password too. */
			bad_line(p, number, strlen(line) > strlen(p->text[p->n]) ? p->text[p->n] : "", why);
			forget(p, p->n);
		} else if (++p->n == BATCH) {
			rc = store_batch(p);
		}
	}
	if (rc == 0)
		rc = store_batch(p);
	if (rc == 0 && ferror(f))
		rc = SHELF_EIO;
	explicit_bzero(line, LINE_MAX_BYTES);
	free(line);
	return rc;
}

static void
report(const struct passwd *p)
{
	struct shelf_buf b = {0};

	if (!p->t->json) {
		tool_print("%llu accounts %s, %llu %s, %llu already there, %llu lines refused",
		    (unsigned long long)p->added, p->dry_run ? "would be added" : "added",
		    (unsigned long long)p->updated,
		    p->dry_run ? "would get their password" : "got their password", (unsigned long long)p->there,
		    (unsigned long long)p->bad);
		return;
	}
	shelf_buf_add_byte(&b, '{');
	tool_json_bool(&b, "dry_run", p->dry_run);
	tool_json_u64(&b, "added", p->added);
	tool_json_u64(&b, "updated", p->updated);
	tool_json_u64(&b, "already_there", p->there);
	tool_json_u64(&b, "refused", p->bad);
	shelf_buf_add_byte(&b, '}');
	tool_print_buf(&b);
}

int
tool_account_import(struct tool *t)
{
	struct passwd *p = SHELF_NEW(struct passwd);
	const struct tool_option options[] = {{"scheme", TOOL_TEXT, &p->scheme}, {"update", TOOL_FLAG, &p->update},
		{"dry-run", TOOL_FLAG, &p->dry_run}, {0}};
	FILE *f = NULL;
	int rc = tool_args(t, options, 1, 1);

	if (rc == 0)
		rc = tool_open(t);
	p->t = t;
	if (rc == 0) {
		p->path = t->argv[0];
		f = strcmp(p->path, "-") == 0 ? stdin : fopen(p->path, "re");
		if (f == NULL) {
			tool_say(t, "%s: %s", p->path, strerror(errno));
			rc = EX_NOINPUT;
		}
	}
	if (rc == 0) {
		tool_catch_interrupts();
		rc = read_file(p, f);
		report(p);
		if (rc != 0)
			rc = tool_fail(t, p->path, rc);
		else if (tool_interrupted())
			rc = EX_TEMPFAIL;
		else if (p->bad > 0)
			rc = EX_DATAERR;
	}
	if (f != NULL && f != stdin)
		fclose(f);
	free(p);
	return rc;
}
