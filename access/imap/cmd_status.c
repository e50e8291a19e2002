/*
 * cmd_status.c - STATUS and the table of its items
 *
 * Every item but RECENT is a field of the mailbox's row, so STATUS costs the same for any size.
 * Sources   RFC 3501 6.3.10, RFC 9051 6.3.11, RFC 8438 (SIZE), RFC 7889 4 (APPENDLIMIT),
 *           RFC 9208 4.1.4 (DELETED, DELETED-STORAGE), RFC 8474 4.3 (MAILBOXID), RFC 7162 3.1.7 (HIGHESTMODSEQ).
 */
#include "conf.h"
#include "imap_condstore.h"
#include "imap_objectid.h"
#include "imap_status.h"

struct source {
	struct imap_session *s;
	struct shelf_rd *rd;
	const struct imap_address *at;
	const struct shelf_mailbox *row; /* at's */
};

typedef int item_fn(const struct source *from, uint64_t *out);

static int
item_messages(const struct source *from, uint64_t *out)
{
	*out = from->row->exists;
	return 0;
}

static int
item_recent(const struct source *from, uint64_t *out)
{
	struct shelf_view *view = NULL;
	int rc = 0;

	*out = 0;
	if (from->row->recent_from >= from->row->uidnext)
		return 0;
	rc = shelf_view_open(from->rd, from->row->id, &view);
	if (rc == 0)
		*out = shelf_view_count(view) + 1 -
		    shelf_view_seq_from(view, from->row->recent_from);
	shelf_view_close(&view);
	return rc;
}

static int
item_uidnext(const struct source *from, uint64_t *out)
{
	*out = from->row->uidnext;
	return 0;
}

static int
item_uidvalidity(const struct source *from, uint64_t *out)
{
	*out = from->row->uidvalidity;
	return 0;
}

static int
item_unseen(const struct source *from, uint64_t *out)
{
	*out = from->row->unseen;
	return 0;
}

static int
item_size(const struct source *from, uint64_t *out)
{
	*out = from->row->bytes;
	return 0;
}

static int
item_deleted(const struct source *from, uint64_t *out)
{
	*out = from->row->deleted;
	return 0;
}

static int
item_deleted_storage(const struct source *from, uint64_t *out)
{
	*out = (from->row->deleted_bytes + 1023) / 1024;
	return 0;
}

static int
item_appendlimit(const struct source *from, uint64_t *out)
{
	*out = from->s->server->conf->message_max_bytes;
	return 0;
}

static int
item_highestmodseq(const struct source *from, uint64_t *out)
{
	imap_condstore_enable(from->s);
	*out = from->row->highestmodseq;
	return 0;
}

/* The only one that is no number: printed by print_value. */
static int
item_mailboxid(const struct source *from, uint64_t *out)
{
	*out = from->row->id;
	return 0;
}

static const struct {
	const char *name;
	item_fn *get;
} items[] = {
    {"MESSAGES", item_messages},
    {"RECENT", item_recent},
    {"UIDNEXT", item_uidnext},
    {"UIDVALIDITY", item_uidvalidity},
    {"UNSEEN", item_unseen},
    {"SIZE", item_size},
    {"DELETED", item_deleted},
    {"DELETED-STORAGE", item_deleted_storage},
    {"APPENDLIMIT", item_appendlimit},
    {"MAILBOXID", item_mailboxid},
    {"HIGHESTMODSEQ", item_highestmodseq},
};
enum { ITEMS = sizeof items / sizeof *items };

bool
imap_status_parse(struct imap_parser *p, unsigned *items_out)
{
	struct shelf_span name = {0};
	unsigned i = 0;

	*items_out = 0;
	if (!imap_parse_open(p))
		return false;
	do {
		if (!imap_parse_atom(p, &name))
			return false;
		for (i = 0; i < ITEMS && !shelf_span_is(name, items[i].name); i++)
			continue;
		if (i == ITEMS)
			return imap_parse_fail(p, "unknown STATUS item");
		*items_out |= 1U << i;
	} while (imap_try(p, ' '));
	return imap_parse_close(p);
}

static void
print_value(const struct source *from, unsigned item, uint64_t value)
{
	struct imap_session *s = from->s;
	char id[IMAP_OBJECT_ID_BYTES];

	if (items[item].get != item_mailboxid) {
		imap_outf(s, "%s %llu", items[item].name, (unsigned long long)value);
		return;
	}
	imap_mailbox_id(from->at->place.account, (uint32_t)value, id);
	imap_outf(s, "%s (%s)", items[item].name, id);
}

int
imap_status_print(struct imap_session *s, struct shelf_rd *rd, const struct imap_address *a,
    unsigned wanted)
{
	const struct source from = {s, rd, a, &a->row};
	uint64_t values[ITEMS] = {0};
	const char *blank = "";
	unsigned i = 0;
	int rc = 0;

	for (i = 0; i < ITEMS && rc == 0; i++)
		if ((wanted >> i & 1) != 0)
			rc = items[i].get(&from, &values[i]);
	if (rc != 0)
		return rc;
	imap_out_str(s, "* STATUS ");
	imap_out_mailbox(s, a->name);
	imap_out_str(s, " (");
	for (i = 0; i < ITEMS; i++) {
		if ((wanted >> i & 1) == 0)
			continue;
		imap_out_str(s, blank);
		print_value(&from, i, values[i]);
		blank = " ";
	}
	imap_out_str(s, ")\r\n");
	return 0;
}

enum imap_step
imap_cmd_status(struct imap_cmd *c)
{
	struct imap_address at = {0};
	struct shelf_span name = {0};
	struct shelf_rd *rd = NULL;
	unsigned wanted = 0;
	int rc = 0;

	if (!imap_parse_sp(&c->p) || !imap_parse_mailbox(&c->p, &name) || !imap_parse_sp(&c->p) ||
	    !imap_status_parse(&c->p, &wanted) || !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	rc = imap_address_open(c->s, name, SHELF_RIGHT_READ, &at, &rd);
	if (rc == 0)
		rc = imap_status_print(c->s, rd, &at, wanted);
	shelf_rd_end(&rd);
	return rc == 0 ? imap_completed(c) : imap_err(c, rc);
}
