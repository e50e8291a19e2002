/*
 * imap_watch_print.c - what a session that watches mailboxes is told: LIST of names, STATUS of messages, METADATA
 *
 *   renames --> names that came and went --> subscriptions --> messages --> annotations
 *
 * What must stay true: a client that does what each response says, in the order in which they come, ends with
 * the names and numbers there are, whatever happened between two looks.
 * Sources   RFC 5465 5.1 - 5.5; RFC 5258 (LIST).
 */
#include <inttypes.h>

#include "imap_list.h"
#include "imap_watch.h"

enum { SLICE_MS = 10, SLICE_BOXES = 16 };

/* ---- Names --------------------------------------------------------------------------------------- */

static const struct imap_box *
find_name(const struct imap_watch *w, struct shelf_span name)
{
	for (size_t i = 0; i < w->n; i++)
		if (shelf_span_eq(w->box[i].name, name))
			return &w->box[i];
	return NULL;
}

static bool
is_below(struct shelf_span name, struct shelf_span upper)
{
	return name.len > upper.len && name.data[upper.len] == '/' &&
	    memcmp(name.data, upper.data, upper.len) == 0;
}

static bool
is_withdrawn(const struct imap_watch *w, struct shelf_span name)
{
	for (size_t i = 0; i < w->ndiff; i++)
		if (w->diff[i].withdrawn && shelf_span_eq(w->diff[i].old.name, name))
			return true;
	return false;
}

/* A subscription in the user's own list: the mailbox may be one of others. */
static void
look_elsewhere(const struct imap_session *s, struct imap_node *node)
{
	for (const struct imap_watch *w = s->notify->watch->next; w != NULL && node->id == 0; w = w->next) {
		const struct imap_box *b = find_name(w, node->name);

		node->id = b == NULL ? 0 : b->id;
		for (size_t i = 0; i < w->n && !node->has_children; i++)
			node->has_children = is_below(w->box[i].name, node->name);
	}
}

/* LIST of a name as it is now, without the end of the line. */
static void
print_list(struct imap_session *s, struct shelf_span name)
{
	const struct imap_watch *w = s->notify->telling;
	const struct imap_box *b = find_name(w, name);
	struct imap_node node = {.name = name};

	if (b != NULL) {
		node.id = b->id;
		node.special_use = b->special_use;
		node.subscribed = b->subscribed;
	}
	if (w->top.len > 0)
		node.subscribed = imap_watch_is_loose(s->notify->watch, name);
	for (size_t i = 0; i < w->n && !node.has_children; i++)
		node.has_children = w->box[i].id != 0 && is_below(w->box[i].name, name);
	if (node.id == 0)
		look_elsewhere(s, &node);
	imap_out_str(s, "* LIST (");
	if (node.id == 0 && is_withdrawn(w, name)) /* RFC 5465 5.9 */
		imap_out_str(s, "\\NoAccess");
	else
		imap_list_attributes(s, &node, true);
	imap_out_str(s, ") \"/\" ");
	imap_out_mailbox(s, name);
}

static bool
wants(const struct imap_watch *w, struct shelf_span name, enum imap_event event)
{
	const struct imap_box *b = find_name(w, name);

	return (imap_watch_events(w, name, b != NULL && b->subscribed) & event) != 0;
}

/* RFC 5465 5.4: a name that comes or goes affects the one above. */
static void
print_parent(struct imap_session *s, struct shelf_span name)
{
	const struct imap_watch *w = s->notify->telling;
	size_t len = name.len;

	while (len > 0 && name.data[len - 1] != '/')
		len--;
	if (len <= w->top.len || !wants(w, shelf_span(name.data, len - 1), IMAP_EVENT_NAME))
		return;
	print_list(s, shelf_span(name.data, len - 1));
	imap_out_str(s, "\r\n");
}

static bool
is_inbox(const struct imap_watch *w, struct shelf_span name)
{
	return shelf_span_is(imap_watch_path(w, name), "INBOX");
}

static bool
is_renamed(const struct imap_difference *d)
{
	return d->old.id != 0 && d->new.id != 0 && !shelf_span_eq(d->old.name, d->new.name);
}

static bool
is_at_or_below(const struct imap_box *b, struct shelf_span top)
{
	return b->id != 0 && (shelf_span_eq(b->name, top) || is_below(b->name, top));
}

/* Is NEW below TOP->new what OLD was below TOP->old? */
static bool
is_carried(const struct imap_difference *top, struct shelf_span old, struct shelf_span new)
{
	size_t from = top->old.name.len, to = top->new.name.len;

	return is_below(old, top->old.name) && is_below(new, top->new.name) &&
	    shelf_span_eq(shelf_span(old.data + from, old.len - from), shelf_span(new.data + to, new.len - to));
}

static bool
is_changed(const struct imap_watch *w, uint32_t id)
{
	for (size_t i = 0; i < w->ndiff; i++)
		if (w->diff[i].new.id == id)
			return true;
	return false;
}

static bool
find_clean(const struct imap_watch *w, const struct imap_difference *d)
{
	bool inbox = is_inbox(w, d->old.name); /* inferiors stay, a new one comes */

	if (inbox && w->top.len > 0)
		return false; /* the new one is not shared as the old one was */
	for (size_t i = 0; i < w->ndiff; i++) {
		const struct imap_difference *e = &w->diff[i];

		if (e == d || (is_renamed(e) && is_carried(d, e->old.name, e->new.name)))
			continue;
		if (is_at_or_below(&e->old, d->new.name) ||
		    (!inbox && (is_at_or_below(&e->old, d->old.name) || is_at_or_below(&e->new, d->old.name))))
			return false;
	}
	for (size_t i = 0; !inbox && i < w->n; i++)
		if (w->box[i].id != 0 && is_below(w->box[i].name, d->old.name) && !is_changed(w, w->box[i].id))
			return false;
	return true;
}

/*
 * A client that hears OLDNAME renames what it knows, inferiors too. It comes to the right names only where
 * nothing else happened to the old or the new one meanwhile; else one name goes and another one comes.
 */
static bool
is_clean(const struct imap_watch *w, struct imap_difference *d)
{
	if (d->clean == IMAP_CLEAN_UNKNOWN)
		d->clean = find_clean(w, d) ? IMAP_CLEAN_YES : IMAP_CLEAN_NO;
	return d->clean == IMAP_CLEAN_YES;
}

/* Did D follow a name above it, that was renamed with it? No news of its own (RFC 5465 5.4). */
static bool
follows(const struct imap_watch *w, const struct imap_difference *d)
{
	for (size_t i = 0; i < w->ndiff; i++)
		if (is_renamed(&w->diff[i]) && is_carried(&w->diff[i], d->old.name, d->new.name) &&
		    !is_inbox(w, w->diff[i].old.name) && is_clean(w, &w->diff[i]))
			return true;
	return false;
}

/* RFC 5465 5.4: the INBOX that comes in the place of a renamed one is no news. */
static bool
is_new_inbox(const struct imap_watch *w, const struct imap_difference *d)
{
	if (d->old.id != 0 || w->top.len > 0 || !is_inbox(w, d->new.name))
		return false;
	for (size_t i = 0; i < w->ndiff; i++)
		if (is_renamed(&w->diff[i]) && is_inbox(w, w->diff[i].old.name))
			return true;
	return false;
}

/* A name that came or went. */
static void
print_one_name(struct imap_session *s, struct shelf_span name)
{
	const struct imap_watch *w = s->notify->telling;
	const struct imap_box *b = find_name(w, name);

	if (imap_watch_is_own(w, name, IMAP_EVENT_NAME, b != NULL && b->id != 0))
		return;
	if (wants(w, name, IMAP_EVENT_NAME)) {
		print_list(s, name);
		imap_out_str(s, "\r\n");
	}
	print_parent(s, name);
}

static void
print_rename(struct imap_session *s, struct imap_difference *d)
{
	const struct imap_watch *w = s->notify->telling;

	if (!is_renamed(d) || !is_clean(w, d) || follows(w, d) ||
	    imap_watch_is_own(w, d->new.name, IMAP_EVENT_NAME, true) ||
	    !(wants(w, d->new.name, IMAP_EVENT_NAME) || wants(w, d->old.name, IMAP_EVENT_NAME)))
		return;
	print_list(s, d->new.name);
	imap_out_str(s, " (\"OLDNAME\" (");
	imap_out_mailbox(s, d->old.name);
	imap_out_str(s, "))\r\n");
}

static void
print_name(struct imap_session *s, struct imap_difference *d)
{
	const struct imap_watch *w = s->notify->telling;
	bool had = d->old.id != 0, has = d->new.id != 0;

	if (is_renamed(d) ? is_clean(w, d) || follows(w, d) : had && has)
		return;
	if (had)
		print_one_name(s, d->old.name);
	if (has && !is_new_inbox(w, d))
		print_one_name(s, d->new.name);
}

/* Was NAME subscribed before, or is it now, in any of the differences? */
static bool
is_subscribed_in(const struct imap_watch *w, struct shelf_span name, bool now)
{
	for (size_t i = 0; i < w->ndiff; i++) {
		const struct imap_box *b = now ? &w->diff[i].new : &w->diff[i].old;

		if (b->name.data != NULL && b->subscribed && shelf_span_eq(b->name, name))
			return true;
	}
	return false;
}

static void
print_subscribed(struct imap_session *s, struct shelf_span name, bool now)
{
	const struct imap_watch *w = s->notify->telling;

	if (is_subscribed_in(w, name, !now) || imap_watch_is_own(w, name, IMAP_EVENT_SUBSCRIPTION, now) ||
	    (imap_watch_events(w, name, true) & IMAP_EVENT_SUBSCRIPTION) == 0)
		return;
	print_list(s, name);
	imap_out_str(s, "\r\n");
}

/* A subscription is of a name, whatever mailbox has that name: with a rename one may go and another one come. */
static void
print_subscription(struct imap_session *s, struct imap_difference *d)
{
	bool now = d->new.name.data != NULL && d->new.subscribed;
	bool before = d->old.name.data != NULL && d->old.subscribed;

	if (now && before && shelf_span_eq(d->old.name, d->new.name))
		return;
	if (before)
		print_subscribed(s, d->old.name, false);
	if (now)
		print_subscribed(s, d->new.name, true);
}

/* ---- Messages ------------------------------------------------------------------------------------ */

enum { MESSAGES = 1, UIDNEXT = 2, UIDVALIDITY = 4, UNSEEN = 8, MODSEQ = 16 };

static void
print_status(struct imap_session *s, const struct imap_box *b, unsigned items)
{
	const char *blank = "";

	imap_out_str(s, "* STATUS ");
	imap_out_mailbox(s, b->name);
	imap_out_str(s, " (");
	for (unsigned item = MESSAGES; item <= MODSEQ; item <<= 1) {
		if ((items & item) == 0)
			continue;
		if (item == MODSEQ)
			imap_outf(s, "%sHIGHESTMODSEQ %" PRIu64, blank, b->modseq);
		else
			imap_outf(s, "%s%s %u", blank,
			    item == MESSAGES ? "MESSAGES" : item == UIDNEXT ? "UIDNEXT" :
			    item == UNSEEN ? "UNSEEN" : "UIDVALIDITY",
			    item == MESSAGES ? b->exists : item == UIDNEXT ? b->uidnext :
			    item == UNSEEN ? b->unseen : b->uidvalidity);
		blank = " ";
	}
	imap_out_str(s, ")\r\n");
}

static bool
is_selected(const struct imap_session *s, const struct imap_watch *w, uint32_t id)
{
	return s->view != NULL && s->owner == w->account && s->mailbox == id;
}

/* Does it have the name of another one that the client knew? */
static bool
is_in_place(const struct imap_watch *w, const struct imap_difference *d)
{
	for (size_t i = 0; i < w->ndiff; i++)
		if (&w->diff[i] != d && w->diff[i].old.id != 0 && shelf_span_eq(w->diff[i].old.name, d->new.name))
			return true;
	return false;
}

/* Was it told of under its old name? */
static bool
was_watched(const struct imap_watch *w, const struct imap_difference *d)
{
	return (imap_watch_events(w, d->old.name, d->old.subscribed) & IMAP_EVENT_MESSAGES) != 0;
}

static void
print_messages(struct imap_session *s, struct imap_difference *d)
{
	const struct imap_watch *w = s->notify->telling;
	static const struct imap_box none = {.uidnext = 1};
	bool fresh = d->old.id == 0 || (is_renamed(d) && (d->clean == IMAP_CLEAN_NO || !was_watched(w, d)));
	const struct imap_box *new = &d->new, *old = fresh ? &none : &d->old;
	unsigned events, items = 0;
	uint32_t came, gone;

	if (new->id == 0 || old->modseq == new->modseq || is_selected(s, w, new->id) ||
	    (d->old.id == 0 && new->uidnext == 1 && !is_in_place(w, d)) ||
	    (w->own_mailbox == new->id && w->own_modseq == new->modseq))
		return;
	events = imap_watch_events(w, new->name, new->subscribed);
	came = new->uidnext - old->uidnext;
	gone = old->exists + came - new->exists;
	if (((events & IMAP_EVENT_NEW) != 0 && came > 0) || ((events & IMAP_EVENT_EXPUNGE) != 0 && gone > 0))
		items |= UIDNEXT | MESSAGES | (s->condstore ? MODSEQ : 0);
	if ((events & IMAP_EVENT_FLAGS) != 0) {
		/* Without mod-sequences nobody could tell which ones changed. */
		if (old->unseen != new->unseen)
			items |= UNSEEN | UIDVALIDITY;
		if (s->condstore)
			items |= MODSEQ | UIDVALIDITY;
		if (old->uidvalidity != new->uidvalidity)
			items |= UIDVALIDITY;
	}
	/* Who was not told before: its name may be one that meant another mailbox. */
	if (fresh && (events & IMAP_EVENT_MESSAGES) != 0)
		items |= UIDNEXT | MESSAGES | UIDVALIDITY | ((events & IMAP_EVENT_FLAGS) != 0 ? UNSEEN : 0);
	if (items != 0)
		print_status(s, new, items);
}

/* Is it time to let others have their turn, before the box number N? */
static enum imap_step
pause_before(struct imap_session *s, size_t n, int64_t start_ms)
{
	if (imap_out_full(s))
		return IMAP_WANT_OUTPUT;
	return n % SLICE_BOXES == 0 && shelf_mono_ms() - start_ms >= SLICE_MS ? IMAP_YIELD : IMAP_DONE;
}

static enum imap_step
print_one(struct imap_session *s, struct imap_watch *w)
{
	/* In this order: a client that hears of an old name must know it still. */
	static void (*const passes[])(struct imap_session *, struct imap_difference *) = {
	    print_rename, print_name, print_subscription, print_messages};
	int64_t start_ms = shelf_mono_ms();
	enum imap_step step;

	for (; w->pass < sizeof passes / sizeof *passes; w->pass++, w->at = 0) {
		for (; w->at < w->ndiff; w->at++) {
			if ((step = pause_before(s, w->at, start_ms)) != IMAP_DONE)
				return step;
			passes[w->pass](s, &w->diff[w->at]);
		}
	}
	for (; w->at < w->told.n; w->at++) {
		if ((step = pause_before(s, w->at, start_ms)) != IMAP_DONE)
			return step;
		imap_watch_print_note(s, w, &w->told.note[w->at]);
	}
	imap_watch_printed(w);
	return IMAP_DONE;
}

enum imap_step
imap_watch_print(struct imap_session *s)
{
	struct imap_notify *n = s->notify;
	enum imap_step step;

	for (; n->telling != NULL; n->telling = n->telling->next)
		if ((step = print_one(s, n->telling)) != IMAP_DONE)
			return step;
	return IMAP_DONE;
}

/* Those of W begin at number FIRST. */
static enum imap_step
status_of_one(struct imap_session *s, const struct imap_watch *w, size_t first, size_t *next)
{
	int64_t start_ms = shelf_mono_ms();
	enum imap_step step;

	for (; *next < first + w->n; ++*next) {
		const struct imap_box *b = &w->box[*next - first];
		unsigned events = imap_watch_events(w, b->name, b->subscribed);

		if ((step = pause_before(s, *next, start_ms)) != IMAP_DONE)
			return step;
		if (b->id == 0 || is_selected(s, w, b->id) || (events & IMAP_EVENT_MESSAGES) == 0)
			continue;
		print_status(s, b, MESSAGES | UIDNEXT | UIDVALIDITY |
		    ((events & IMAP_EVENT_FLAGS) != 0 ? UNSEEN | MODSEQ : 0));
	}
	return IMAP_DONE;
}

enum imap_step
imap_watch_status(struct imap_session *s, size_t *next)
{
	size_t first = 0;
	enum imap_step step = IMAP_DONE;

	for (const struct imap_watch *w = s->notify->watch; w != NULL && step == IMAP_DONE; w = w->next) {
		step = status_of_one(s, w, first, next);
		first += w->n;
	}
	return step;
}
