/*
 * imap_address.c - whose mailbox a name means, and what the user may do there
 */
#include "imap_address.h"

static const struct shelf_span others = {(const uint8_t *)IMAP_OTHERS "/", sizeof IMAP_OTHERS};

enum {
	RIGHTS_THAT_SHOW = SHELF_RIGHT_LOOKUP | SHELF_RIGHT_READ | SHELF_RIGHT_INSERT | SHELF_RIGHT_CREATE |
	    SHELF_RIGHT_DELETE | SHELF_RIGHT_ADMIN, /* RFC 4314 4, MYRIGHTS */
};

static bool
is_others(struct shelf_span name)
{
	return shelf_span_is(name, IMAP_OTHERS) || (name.len >= others.len &&
	    memcmp(name.data, others.data, others.len) == 0);
}

/* Does the user have a mailbox of that very name? */
static int
is_own(struct imap_session *s, struct shelf_span name, bool *own)
{
	struct shelf_mailbox row = {0};
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(s->store, s->account, &rd);

	if (rc == 0)
		rc = shelf_mailbox_find(rd, name, &row);
	shelf_rd_end(&rd);
	*own = rc == 0;
	return rc == SHELF_ENOMAILBOX ? 0 : rc;
}

int
imap_address_other(struct imap_session *s, struct shelf_span name, uint32_t *account_out, struct shelf_span *path_out)
{
	struct shelf_account account;
	ptrdiff_t slash;
	size_t end;
	int rc;

	if (!is_others(name) || name.len <= others.len)
		return SHELF_ENOMAILBOX;
	slash = shelf_span_find(name, '/', others.len);
	end = slash < 0 ? name.len : (size_t)slash;
	rc = shelf_account_find(s->store, shelf_span(name.data + others.len, end - others.len), &account);
	if (rc != 0)
		return rc == SHELF_ENOACCOUNT ? SHELF_ENOMAILBOX : rc;
	*account_out = account.id;
	*path_out = slash < 0 ? shelf_span(NULL, 0) : shelf_span(name.data + end + 1, name.len - end - 1);
	return 0;
}

/* "Other Users/NAME/path" */
static int
place_of_other(struct imap_session *s, struct shelf_span name, struct imap_place *out)
{
	struct shelf_buf path = {0};
	struct shelf_span given;
	int rc = imap_address_other(s, name, &out->account, &given);

	if (rc != 0 || given.len == 0)
		return rc != 0 ? rc : SHELF_ENOMAILBOX;
	rc = shelf_mailbox_canonical(given, &path);
	if (rc == 0) /* "inbox" is INBOX there, too */
		out->path = shelf_arena_dup(&s->cmd->arena, shelf_buf_span(&path));
	shelf_buf_free(&path);
	return rc;
}

int
imap_address_place(struct imap_session *s, struct shelf_span name, struct imap_place *out)
{
	bool own = true;
	int rc = 0;

	*out = (struct imap_place){s->account, name};
	if (is_others(name))
		rc = is_own(s, name, &own);
	return rc != 0 || own ? rc : place_of_other(s, name, out);
}

int
imap_address_rights(struct imap_session *s, uint32_t account, struct shelf_rd *rd, uint32_t mailbox,
    unsigned *rights_out)
{
	return shelf_acl_rights(rd, mailbox, s->account_name, account == s->account, rights_out);
}

int
imap_address_open(struct imap_session *s, struct shelf_span name, unsigned needs,
    struct imap_address *out, struct shelf_rd **rd_out)
{
	struct shelf_rd *rd = NULL;
	int rc;

	*out = (struct imap_address){.name = name};
	rc = imap_address_place(s, name, &out->place);
	if (rc == 0)
		rc = shelf_rd_begin(s->store, out->place.account, &rd);
	if (rc == SHELF_ENOACCOUNT && out->place.account != s->account) /* just deleted */
		rc = SHELF_ENOMAILBOX;
	if (rc == 0)
		rc = shelf_mailbox_find(rd, out->place.path, &out->row);
	if (rc == 0)
		rc = imap_address_rights(s, out->place.account, rd, out->row.id, &out->rights);
	if (rc == 0 && ((out->rights & needs) != needs ||
	    (needs == 0 && (out->rights & RIGHTS_THAT_SHOW) == 0)))
		rc = (out->rights & SHELF_RIGHT_LOOKUP) != 0 ? SHELF_ENOPERM : SHELF_ENOMAILBOX;
	if (rc != 0)
		shelf_rd_end(&rd);
	*rd_out = rd;
	return rc;
}

int
imap_address_find(struct imap_session *s, struct shelf_span name, unsigned needs,
    struct imap_address *out)
{
	struct shelf_rd *rd = NULL;
	int rc = imap_address_open(s, name, needs, out, &rd);

	out->row.name = shelf_span(NULL, 0);
	shelf_rd_end(&rd);
	return rc;
}

/* The nearest mailbox above PATH: its rights; none: SHELF_ENOMAILBOX. */
static int
rights_above(struct imap_session *s, const struct imap_place *place, struct shelf_rd *rd, unsigned *rights_out)
{
	struct shelf_span path = place->path;
	struct shelf_mailbox row = {0};

	for (size_t len = path.len; len-- > 0;) {
		int rc;

		if (path.data[len] != '/')
			continue;
		rc = shelf_mailbox_find(rd, shelf_span(path.data, len), &row);
		if (rc == 0)
			return imap_address_rights(s, place->account, rd, row.id, rights_out);
		if (rc != SHELF_ENOMAILBOX)
			return rc;
	}
	return SHELF_ENOMAILBOX;
}

int
imap_address_may_create(struct imap_session *s, const struct imap_place *place)
{
	struct shelf_rd *rd = NULL;
	unsigned rights = 0;
	int rc = shelf_rd_begin(s->store, place->account, &rd);

	if (rc == 0)
		rc = rights_above(s, place, rd, &rights);
	shelf_rd_end(&rd);
	if (rc == SHELF_ENOMAILBOX || rc == SHELF_ENOACCOUNT)
		return place->account == s->account ? 0 : SHELF_ENOPERM;
	return rc != 0 ? rc : (rights & SHELF_RIGHT_CREATE) != 0 ? 0 : SHELF_ENOPERM;
}

const struct shelf_asker *
imap_asker(struct imap_cmd *c, unsigned needs)
{
	struct shelf_asker *asker = SHELF_ARENA_NEW(&c->arena, struct shelf_asker);

	*asker = (struct shelf_asker){c->s->account_name, c->s->account, needs};
	return asker;
}

unsigned
imap_address_needs(uint32_t flags, size_t nkeywords)
{
	unsigned needs = 0;

	if ((flags & SHELF_SEEN) != 0)
		needs |= SHELF_RIGHT_SEEN;
	if ((flags & SHELF_DELETED) != 0)
		needs |= SHELF_RIGHT_DELETE_MESSAGES;
	if ((flags & (SHELF_ANSWERED | SHELF_FLAGGED | SHELF_DRAFT)) != 0 || nkeywords > 0)
		needs |= SHELF_RIGHT_WRITE;
	return needs;
}

uint32_t
imap_address_fixed(unsigned rights)
{
	uint32_t may = 0;

	if ((rights & SHELF_RIGHT_SEEN) != 0)
		may |= SHELF_SEEN;
	if ((rights & SHELF_RIGHT_DELETE_MESSAGES) != 0)
		may |= SHELF_DELETED;
	if ((rights & SHELF_RIGHT_WRITE) != 0)
		may |= SHELF_ANSWERED | SHELF_FLAGGED | SHELF_DRAFT;
	return SHELF_FLAGS_SYSTEM & ~may;
}

bool
imap_address_flags(unsigned rights, struct imap_flags *f)
{
	bool any = f->flags != 0 || f->nkeywords > 0;

	f->flags &= ~imap_address_fixed(rights);
	if ((rights & SHELF_RIGHT_WRITE) == 0)
		f->nkeywords = 0;
	return !any || f->flags != 0 || f->nkeywords > 0;
}
