/*
 * single_list.c - what is in a store, as sorted lines
 *
 * What must stay true: two stores with the same mail give the same lines, whenever they were made. A line of a
 * message begins with "mail" and its email id, so that all of one body stand together; of a held one with "mail",
 * the id and "held".
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/mem.h>
#include <mailshelf/pop3.h>
#include <mailshelf/restore.h>

#include "single.h"

struct walk {
	struct single *s;
	const struct shelf_account *account;
	struct shelf_rd *rd;
	struct shelf_buf *out;
	uint32_t *mailbox;
	size_t count;
};

static void
add_span(struct shelf_buf *out, struct shelf_span s)
{
	shelf_buf_add_byte(out, ' ');
	shelf_buf_add_json(out, s);
}

static void
add_mail(struct walk *w, const struct shelf_msg *m, const char *what, uint32_t mailbox)
{
	shelf_buf_add_str(w->out, "mail ");
	for (size_t i = 0; i < sizeof m->email_id; i++)
		shelf_buf_printf(w->out, "%02x", m->email_id[i]);
	shelf_buf_printf(w->out, " %s %s %u uid %u flags %x keywords %" PRIx64 " size %" PRIu64 " date %" PRId64 "\n",
	    what, w->account->name, mailbox, m->uid, m->flags, m->keywords[0], m->size,
	    m->internaldate_s < 1500000000 ? m->internaldate_s : 0 /* now */);
}

static int
add_mailbox(void *arg, const struct shelf_mailbox *m)
{
	struct walk *w = arg;

	shelf_buf_printf(w->out, "mailbox %s %u subscribed %d use %u", w->account->name, m->id, m->subscribed,
	    m->special_use);
	add_span(w->out, m->name);
	shelf_buf_add_byte(w->out, '\n');
	if (m->exists_now) {
		w->mailbox = shelf_realloc(w->mailbox, (w->count + 1) * sizeof *w->mailbox);
		w->mailbox[w->count++] = m->id;
	}
	return 0;
}

static int
add_pop3(struct walk *w, uint32_t mailbox, uint32_t uid)
{
	struct shelf_pop3_state state;
	char uidl[SHELF_UIDL_MAX + 1];
	uint32_t of;
	int rc = shelf_pop3_get(w->rd, mailbox, uid, &state);

	if (rc == 0 && (state.hidden || state.fetched_s != 0))
		shelf_buf_printf(w->out, "pop3 %s %u %u hidden %d fetched %" PRId64 "\n", w->account->name, mailbox,
		    uid, state.hidden, state.fetched_s);
	if (rc == 0 && (rc = shelf_uidl_next(w->rd, mailbox, uid, &of, uidl)) == 1 && of == uid)
		shelf_buf_printf(w->out, "pop3 %s %u %u uidl %s\n", w->account->name, mailbox, uid, uidl);
	return rc < 0 ? rc : 0;
}

static int
add_messages(struct walk *w, uint32_t mailbox)
{
	struct shelf_msg m = {0};
	int rc = 0;

	for (uint32_t uid = 1; rc == 0; uid = m.uid + 1)
		if ((rc = shelf_msg_next(w->rd, mailbox, uid, SHELF_MSG_ALL, &m)) == 0) {
			add_mail(w, &m, "there", mailbox);
			rc = add_pop3(w, mailbox, m.uid);
		}
	return rc == SHELF_ENOMESSAGE ? 0 : rc;
}

static int
add_held(void *arg, const struct shelf_held *h)
{
	add_mail(arg, &h->msg, "held", h->mailbox);
	return 0;
}

static int
add_deleted(void *arg, const struct shelf_deleted_mailbox *m)
{
	struct walk *w = arg;

	shelf_buf_printf(w->out, "deleted %s %u messages %u", w->account->name, m->id, m->messages);
	add_span(w->out, m->name);
	shelf_buf_add_byte(w->out, '\n');
	return 0;
}

static int
add_account(void *arg, const struct shelf_account *a)
{
	const struct walk *all = arg;
	struct walk w = {.s = all->s, .account = a, .out = all->out};
	struct shelf_quota q;
	int rc = shelf_rd_begin(w.s->store, a->id, &w.rd);

	if (rc == 0)
		rc = shelf_quota_get(w.rd, &q);
	if (rc == 0)
		shelf_buf_printf(w.out, "account %s services %u disabled %d limit %" PRIu64 " %" PRIu64 "\n", a->name,
		    a->services, a->disabled, q.limit_bytes, q.limit_messages);
	if (rc == 0 && a->id != w.s->last)
		rc = shelf_mailbox_each(w.rd, add_mailbox, &w);
	for (size_t i = 0; rc == 0 && i < w.count; i++)
		rc = add_messages(&w, w.mailbox[i]);
	shelf_rd_end(&w.rd);
	if (rc == 0)
		rc = shelf_held_each(w.s->store, a->id, add_held, &w);
	if (rc == 0)
		rc = shelf_deleted_mailbox_each(w.s->store, a->id, add_deleted, &w);
	free(w.mailbox);
	return rc;
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int
single_list(struct single *s, struct single_lines *out)
{
	struct walk w = {.s = s, .out = &out->text};
	char *at, *end;
	int rc;

	*out = (struct single_lines){0};
	shelf_buf_printf(&out->text, "setting hold %" PRIu64 "\n", shelf_setting_get(s->store, SHELF_SETTING_HOLD));
	rc = shelf_account_each(s->store, add_account, &w);
	shelf_buf_cstr(&out->text);
	for (at = (char *)out->text.data; (end = strchr(at, '\n')) != NULL; at = end + 1) {
		*end = '\0';
		out->line = shelf_realloc(out->line, (out->n + 1) * sizeof *out->line);
		out->line[out->n++] = at;
	}
	qsort(out->line, out->n, sizeof *out->line, by_text);
	return rc;
}

void
single_lines_free(struct single_lines *l)
{
	shelf_buf_free(&l->text);
	free(l->line);
	*l = (struct single_lines){0};
}

/* ---- Comparing ----------------------------------------------------------------------------------------- */

static bool
has(const struct single_lines *l, const char *line)
{
	return l->n > 0 && bsearch(&line, l->line, l->n, sizeof *l->line, by_text) != NULL;
}

enum { ID_END = 5 + 32 /* "mail " and the email id in hexadecimal */ };

static bool
is_held(const char *line)
{
	return strncmp(line, "mail ", 5) == 0 && strncmp(line + ID_END, " held", 5) == 0;
}

/* Every line of A, but of what is held unless HELD, is in B or C. */
static bool
each_in(const struct single_lines *a, const struct single_lines *b, const struct single_lines *c, bool held,
    const char *text, struct shelf_buf *why)
{
	for (size_t i = 0; i < a->n; i++)
		if ((held || !is_held(a->line[i])) && !has(b, a->line[i]) && (c == NULL || !has(c, a->line[i]))) {
			shelf_buf_printf(why, "%s: %s", text, a->line[i]);
			return false;
		}
	return true;
}

bool
single_same(const struct single_lines *a, const struct single_lines *b, struct shelf_buf *why)
{
	return each_in(a, b, NULL, true, "too much", why) && each_in(b, a, NULL, true, "missing", why);
}

bool
single_same_but_held(const struct single_lines *is, const struct single_lines *after, struct shelf_buf *why)
{
	return each_in(is, after, NULL, true, "too much", why) && each_in(after, is, NULL, false, "missing", why);
}

/* Lines of the body that LINE is of. */
static size_t
count_of(const struct single_lines *l, const char *line)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		n += strncmp(l->line[i], line, ID_END) == 0;
	return n;
}

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

bool
single_between(const struct single_lines *is, const struct single_lines *before, const struct single_lines *after,
    bool held_may_go, struct shelf_buf *why)
{
	const char *seen = "";

	if (!each_in(is, before, after, true, "neither before nor after", why))
		return false;
	for (size_t i = 0; i < before->n; i++) {
		const char *line = before->line[i];

		if (has(after, line) && !has(is, line)) {
			shelf_buf_printf(why, "missing, and was there before and after: %s", line);
			return false;
		}
		if (held_may_go || strncmp(line, "mail ", 5) != 0 || strncmp(line, seen, ID_END) == 0)
			continue;
		seen = line;
		if (count_of(is, line) < least(count_of(before, line), count_of(after, line))) {
			shelf_buf_printf(why, "a message is lost: %s", line);
			return false;
		}
	}
	return true;
}

static size_t
there_of(const struct single_lines *l, const char *line)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		n += strncmp(l->line[i], line, ID_END) == 0 && !is_held(l->line[i]);
	return n;
}

bool
single_as_many(const struct single_lines *is, const struct single_lines *before, struct shelf_buf *why)
{
	const char *seen = "";

	for (size_t i = 0; i < before->n; i++) {
		const char *line = before->line[i];

		if (strncmp(line, "mail ", 5) != 0 || strncmp(line, seen, ID_END) == 0)
			continue;
		seen = line;
		if (there_of(is, line) != there_of(before, line)) {
			shelf_buf_printf(why, "%zu instead of %zu times: %s", there_of(is, line),
			    there_of(before, line), line);
			return false;
		}
	}
	return true;
}
