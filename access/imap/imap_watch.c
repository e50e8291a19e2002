/*
 * imap_watch.c - the mailboxes of an account, as a session that watches them knows them
 *
 *   look: which ones changed (the engine knows the last few; else all are read) --> old and new side by side
 *   print: LIST and STATUS of each difference, as the client does not read in pieces
 *
 * What must stay true: `box` is sorted by id (0, a subscription without a mailbox, by name in front); its
 * bytes stay within the setting; `modseq` is the version of the account that it shows.
 * Sources   RFC 5465 5, 5.1 - 5.5, 5.8; RFC 5258 (LIST).
 */
#include <inttypes.h>
#include <stdlib.h>

#include "conf.h"
#include "imap_list.h"
#include "imap_notify.h"

enum { DIFFERENCES_MAX = 1000, OWN_MAX = 8, SLICE_MS = 10, SLICE_BOXES = 16 };

struct box {
	uint32_t id, uidvalidity, uidnext, exists, unseen;
	uint64_t modseq;
	unsigned special_use;
	bool subscribed;
	struct shelf_span name; /* malloc'ed */
};

struct difference {
	struct box old, new; /* name.data NULL: not there */
};

struct own_name {
	uint64_t name; /* hash */
	enum imap_event event;
	bool there;
};

struct imap_watch {
	const struct imap_notify *notify;
	struct box *box;
	size_t n, cap, bytes, bytes_max;
	uint64_t modseq;
	struct difference *diff; /* found and not printed yet, from NEXT on */
	size_t ndiff, diff_cap, next;
	uint32_t own_mailbox;    /* this session changed its messages, at OWN_MODSEQ; 0: none */
	uint64_t own_modseq;
	struct own_name own[OWN_MAX];
	unsigned nown;
};

/* ---- The list ------------------------------------------------------------------------------------ */

static size_t
bytes_of(const struct box *b)
{
	return sizeof *b + b->name.len;
}

static void
free_box(struct box *b)
{
	free((void *)(uintptr_t)b->name.data);
	b->name = shelf_span(NULL, 0);
}

static struct box
box_of(const struct shelf_mailbox *m)
{
	struct box b = {
	    .id = m->exists_now ? m->id : 0,
	    .uidvalidity = m->uidvalidity,
	    .uidnext = m->uidnext,
	    .exists = m->exists,
	    .unseen = m->unseen,
	    .modseq = m->highestmodseq,
	    .special_use = m->special_use,
	    .subscribed = m->subscribed,
	};
	uint8_t *name = shelf_alloc(m->name.len);

	memcpy(name, m->name.data, m->name.len);
	b.name = shelf_span(name, m->name.len);
	return b;
}

static int
compare_names(struct shelf_span a, struct shelf_span b)
{
	int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int
compare_boxes(const void *x, const void *y)
{
	const struct box *a = x, *b = y;

	if (a->id != b->id)
		return a->id < b->id ? -1 : 1;
	return a->id != 0 ? 0 : compare_names(a->name, b->name);
}

static size_t
place_of(const struct imap_watch *w, const struct box *b)
{
	size_t low = 0, high = w->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (compare_boxes(&w->box[mid], b) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int
add_box(void *arg, const struct shelf_mailbox *m)
{
	struct imap_watch *w = arg;

	if (w->n == w->cap) {
		w->cap = w->cap == 0 ? 32 : w->cap * 2;
		w->box = shelf_realloc(w->box, w->cap * sizeof *w->box);
	}
	w->box[w->n] = box_of(m);
	w->bytes += bytes_of(&w->box[w->n++]);
	return w->bytes > w->bytes_max ? SHELF_ELIMIT : 0;
}

static void
clear(struct imap_watch *w)
{
	for (size_t i = 0; i < w->n; i++)
		free_box(&w->box[i]);
	free(w->box);
	w->box = NULL;
	w->n = w->cap = w->bytes = 0;
}

static void
forget_differences(struct imap_watch *w)
{
	for (size_t i = 0; i < w->ndiff; i++) {
		free_box(&w->diff[i].old);
		free_box(&w->diff[i].new);
	}
	w->ndiff = w->next = 0;
}

void
imap_watch_free(struct imap_watch **watch)
{
	struct imap_watch *w = *watch;

	*watch = NULL;
	if (w == NULL)
		return;
	clear(w);
	forget_differences(w);
	free(w->diff);
	free(w);
}

/* All names of the account, in the order of the list. */
static int
read_all(struct imap_watch *w, struct shelf_rd *rd)
{
	int rc = shelf_mailbox_each(rd, add_box, w);

	if (rc == 0 && w->n > 0)
		qsort(w->box, w->n, sizeof *w->box, compare_boxes);
	w->modseq = shelf_rd_modseq(rd);
	return rc;
}

int
imap_watch_begin(struct imap_session *s, const struct imap_notify *notify, struct imap_watch **out)
{
	struct imap_watch *w = SHELF_NEW(struct imap_watch);
	struct shelf_rd *rd = NULL;
	int rc = shelf_rd_begin(s->store, s->account, &rd);

	w->notify = notify;
	w->bytes_max = (size_t)s->server->conf->imap_notify_max_bytes;
	if (rc == 0)
		rc = read_all(w, rd);
	shelf_rd_end(&rd);
	if (rc != 0)
		imap_watch_free(&w);
	*out = w;
	return rc;
}

/* ---- Looking ------------------------------------------------------------------------------------- */

static struct box
copy_of(const struct box *b)
{
	struct box copy = *b;
	uint8_t *name = NULL;

	if (b->name.data == NULL)
		return copy;
	name = shelf_alloc(b->name.len);
	memcpy(name, b->name.data, b->name.len);
	copy.name.data = name;
	return copy;
}

static bool
is_same(const struct box *a, const struct box *b)
{
	return a->modseq == b->modseq && a->uidvalidity == b->uidvalidity && a->subscribed == b->subscribed &&
	    a->special_use == b->special_use && shelf_span_eq(a->name, b->name);
}

/* OLD is taken over; NEW, which is in the list, is copied. Either may be NULL. */
static int
add_difference(struct imap_watch *w, struct box *old, const struct box *new)
{
	struct difference d = {0};

	if (w->ndiff == w->diff_cap) {
		w->diff_cap = w->diff_cap == 0 ? 16 : w->diff_cap * 2;
		w->diff = shelf_realloc(w->diff, w->diff_cap * sizeof *w->diff);
	}
	if (old != NULL)
		d.old = *old;
	if (new != NULL)
		d.new = copy_of(new);
	w->diff[w->ndiff++] = d;
	return w->ndiff > DIFFERENCES_MAX ? SHELF_ELIMIT : 0;
}

/* One mailbox that the engine names. 1: a subscription has lost its mailbox or got one, all are to be read. */
static int
look_at(struct imap_watch *w, struct shelf_rd *rd, uint32_t id)
{
	struct box key = {.id = id}, new = {0};
	struct shelf_mailbox m;
	size_t at = place_of(w, &key);
	bool had = at < w->n && w->box[at].id == id, has;
	int rc = shelf_mailbox_get(rd, id, &m);

	if (rc != 0 && rc != SHELF_ENOMAILBOX)
		return rc;
	has = rc == 0;
	if (!had && !has)
		return 0;
	if (!had || !has || !shelf_span_eq(w->box[at].name, m.name)) {
		if ((had && w->box[at].subscribed) || (has && m.subscribed))
			return 1;
	}
	if (!had) {
		if ((rc = add_box(w, &m)) != 0)
			return rc;
		new = w->box[w->n - 1];
		memmove(w->box + at + 1, w->box + at, (w->n - 1 - at) * sizeof *w->box);
		w->box[at] = new;
		return add_difference(w, NULL, &new);
	}
	key = w->box[at];
	w->bytes -= bytes_of(&key);
	if (!has) {
		memmove(w->box + at, w->box + at + 1, (--w->n - at) * sizeof *w->box);
		return add_difference(w, &key, NULL);
	}
	w->box[at] = box_of(&m);
	w->bytes += bytes_of(&w->box[at]);
	if (is_same(&key, &w->box[at])) {
		free_box(&key);
		return 0;
	}
	rc = add_difference(w, &key, &w->box[at]);
	return rc == 0 && w->bytes > w->bytes_max ? SHELF_ELIMIT : rc;
}

/* Side by side: what was there and what is. OLD is used up. */
static int
compare_lists(struct imap_watch *w, struct box *old, size_t nold)
{
	size_t i = 0, j = 0;
	int rc = 0;

	while (rc == 0 && (i < nold || j < w->n)) {
		int order = i == nold ? 1 : j == w->n ? -1 : compare_boxes(&old[i], &w->box[j]);
		struct box *a = order <= 0 ? &old[i++] : NULL;
		const struct box *b = order >= 0 ? &w->box[j++] : NULL;

		if (a != NULL && b != NULL && is_same(a, b))
			free_box(a);
		else
			rc = add_difference(w, a, b);
	}
	while (i < nold)
		free_box(&old[i++]);
	return rc;
}

static int
look_at_all(struct imap_watch *w, struct shelf_rd *rd)
{
	struct box *old = w->box;
	size_t nold = w->n;
	int rc;

	w->box = NULL;
	w->n = w->cap = w->bytes = 0;
	rc = read_all(w, rd);
	if (rc == 0) {
		rc = compare_lists(w, old, nold);
	} else {
		for (size_t i = 0; i < nold; i++)
			free_box(&old[i]);
	}
	free(old);
	return rc;
}

int
imap_watch_look(struct imap_session *s)
{
	struct imap_watch *w = s->notify->watch;
	uint32_t ids[SHELF_CHANGED_MAX];
	struct shelf_rd *rd = NULL;
	unsigned n = 0;
	bool all;
	int rc = shelf_rd_begin(s->store, s->account, &rd);

	if (rc != 0)
		return rc;
	if (shelf_rd_modseq(rd) == w->modseq)
		goto out;
	rc = shelf_mailbox_changed(rd, w->modseq, ids, &n);
	all = rc == SHELF_ELIMIT;
	if (all)
		rc = 0;
	for (unsigned i = 0; i < n && !all && rc == 0; i++) {
		all = ids[i] == 0;
		if (!all && (rc = look_at(w, rd, ids[i])) == 1) {
			all = true;
			rc = 0;
		}
	}
	if (rc == 0 && all)
		rc = look_at_all(w, rd);
	/* Others may have changed it before: then it is told, too. */
	if (w->own_modseq != w->modseq + 1)
		w->own_mailbox = 0;
	if (rc == 0)
		w->modseq = shelf_rd_modseq(rd);
out:
	shelf_rd_end(&rd);
	return rc;
}

/* ---- Own changes --------------------------------------------------------------------------------- */

void
imap_watch_own(struct imap_session *s, uint32_t account, uint32_t mailbox, uint64_t modseq)
{
	if (s->notify == NULL || s->notify->watch == NULL || account != s->account)
		return;
	s->notify->watch->own_mailbox = mailbox;
	s->notify->watch->own_modseq = modseq;
}

static uint64_t
hash_of(struct shelf_span name)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < name.len; i++)
		hash = (hash ^ name.data[i]) * 0x100000001b3u;
	return hash;
}

void
imap_watch_own_name(struct imap_session *s, struct shelf_span name, enum imap_event event, bool there)
{
	struct imap_watch *w = s->notify == NULL ? NULL : s->notify->watch;

	if (w != NULL && w->nown < OWN_MAX)
		w->own[w->nown++] = (struct own_name){hash_of(name), event, there};
}

static bool
is_own(const struct imap_watch *w, struct shelf_span name, enum imap_event event, bool there)
{
	uint64_t hash = hash_of(name);

	for (unsigned i = 0; i < w->nown; i++)
		if (w->own[i].name == hash && w->own[i].event == event && w->own[i].there == there)
			return true;
	return false;
}

/* ---- Names --------------------------------------------------------------------------------------- */

static const struct box *
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

/* LIST of a name as it is now, without the end of the line. */
static void
print_list(struct imap_session *s, struct shelf_span name)
{
	const struct imap_watch *w = s->notify->watch;
	const struct box *b = find_name(w, name);
	struct imap_node node = {.name = name};

	if (b != NULL) {
		node.id = b->id;
		node.special_use = b->special_use;
		node.subscribed = b->subscribed;
	}
	for (size_t i = 0; i < w->n && !node.has_children; i++)
		node.has_children = w->box[i].id != 0 && is_below(w->box[i].name, name);
	imap_out_str(s, "* LIST (");
	imap_list_attributes(s, &node, true);
	imap_out_str(s, ") \"/\" ");
	imap_out_mailbox(s, name);
}

static bool
wants(const struct imap_watch *w, struct shelf_span name, enum imap_event event)
{
	const struct box *b = find_name(w, name);

	return (imap_notify_events(w->notify, name, b != NULL && b->subscribed) & event) != 0;
}

/* RFC 5465 5.4: a name that comes or goes affects the one above. */
static void
print_parent(struct imap_session *s, struct shelf_span name)
{
	size_t len = name.len;

	while (len > 0 && name.data[len - 1] != '/')
		len--;
	if (len == 0 || !wants(s->notify->watch, shelf_span(name.data, len - 1), IMAP_EVENT_NAME))
		return;
	print_list(s, shelf_span(name.data, len - 1));
	imap_out_str(s, "\r\n");
}

static bool
is_renamed(const struct difference *d)
{
	return d->old.id != 0 && d->new.id != 0 && !shelf_span_eq(d->old.name, d->new.name);
}

/* Did D follow a name above it, that was renamed with it? No news of its own. */
static bool
follows(const struct imap_watch *w, const struct difference *d)
{
	for (size_t i = 0; i < w->ndiff; i++) {
		const struct difference *up = &w->diff[i];
		struct shelf_span rest;

		if (!is_renamed(up) || !is_below(d->old.name, up->old.name) ||
		    !is_below(d->new.name, up->new.name))
			continue;
		rest = shelf_span(d->old.name.data + up->old.name.len, d->old.name.len - up->old.name.len);
		if (d->new.name.len - up->new.name.len == rest.len &&
		    memcmp(d->new.name.data + up->new.name.len, rest.data, rest.len) == 0)
			return true;
	}
	return false;
}

static bool
inbox_was_renamed(const struct imap_watch *w)
{
	for (size_t i = 0; i < w->ndiff; i++)
		if (is_renamed(&w->diff[i]) && shelf_span_is(w->diff[i].old.name, "INBOX"))
			return true;
	return false;
}

static void
print_name(struct imap_session *s, const struct difference *d)
{
	const struct imap_watch *w = s->notify->watch;
	bool has = d->new.id != 0, had = d->old.id != 0, renamed = is_renamed(d);
	struct shelf_span name = has ? d->new.name : d->old.name;

	if ((has && had && !renamed) || (!has && !had) ||
	    is_own(w, name, IMAP_EVENT_NAME, has) || (renamed && follows(w, d)) ||
	    (!had && shelf_span_is(name, "INBOX") && inbox_was_renamed(w)))
		return;
	if (wants(w, name, IMAP_EVENT_NAME) || (renamed && wants(w, d->old.name, IMAP_EVENT_NAME))) {
		print_list(s, name);
		if (renamed) {
			imap_out_str(s, " (\"OLDNAME\" (");
			imap_out_mailbox(s, d->old.name);
			imap_out_str(s, "))");
		}
		imap_out_str(s, "\r\n");
	}
	if (!renamed)
		print_parent(s, name);
}

/* Was NAME subscribed before, or is it now, in any of the differences? */
static bool
is_subscribed_in(const struct imap_watch *w, struct shelf_span name, bool now)
{
	for (size_t i = 0; i < w->ndiff; i++) {
		const struct box *b = now ? &w->diff[i].new : &w->diff[i].old;

		if (b->name.data != NULL && b->subscribed && shelf_span_eq(b->name, name))
			return true;
	}
	return false;
}

/* A subscription is of a name, whatever mailbox has that name. */
static void
print_subscription(struct imap_session *s, const struct difference *d)
{
	const struct imap_watch *w = s->notify->watch;
	bool now = d->new.name.data != NULL && d->new.subscribed;
	bool before = d->old.name.data != NULL && d->old.subscribed;
	struct shelf_span name = now ? d->new.name : d->old.name;

	if (now == before || is_subscribed_in(w, name, !now) || is_own(w, name, IMAP_EVENT_SUBSCRIPTION, now) ||
	    (imap_notify_events(w->notify, name, true) & IMAP_EVENT_SUBSCRIPTION) == 0)
		return;
	print_list(s, name);
	imap_out_str(s, "\r\n");
}

/* ---- Messages ------------------------------------------------------------------------------------ */

enum { MESSAGES = 1, UIDNEXT = 2, UIDVALIDITY = 4, UNSEEN = 8, MODSEQ = 16 };

static void
print_status(struct imap_session *s, const struct box *b, unsigned items)
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
is_selected(const struct imap_session *s, uint32_t id)
{
	return s->view != NULL && s->owner == s->account && s->mailbox == id;
}

static void
print_messages(struct imap_session *s, const struct difference *d)
{
	const struct imap_watch *w = s->notify->watch;
	const struct box *old = &d->old, *new = &d->new;
	unsigned events, items = 0;
	uint32_t came, gone;

	if (old->id == 0 || new->id == 0 || old->modseq == new->modseq || is_selected(s, new->id) ||
	    (w->own_mailbox == new->id && w->own_modseq == new->modseq))
		return;
	events = imap_notify_events(w->notify, new->name, new->subscribed);
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

enum imap_step
imap_watch_print(struct imap_session *s)
{
	struct imap_watch *w = s->notify->watch;
	int64_t start_ms = shelf_mono_ms();
	enum imap_step step;

	for (; w->next < w->ndiff; w->next++) {
		if ((step = pause_before(s, w->next, start_ms)) != IMAP_DONE)
			return step;
		print_name(s, &w->diff[w->next]);
		print_subscription(s, &w->diff[w->next]);
		print_messages(s, &w->diff[w->next]);
	}
	forget_differences(w);
	w->nown = 0;
	w->own_mailbox = 0;
	return IMAP_DONE;
}

enum imap_step
imap_watch_status(struct imap_session *s, size_t *next)
{
	const struct imap_watch *w = s->notify->watch;
	int64_t start_ms = shelf_mono_ms();
	enum imap_step step;

	for (; *next < w->n; ++*next) {
		const struct box *b = &w->box[*next];
		unsigned events = imap_notify_events(w->notify, b->name, b->subscribed);

		if ((step = pause_before(s, *next, start_ms)) != IMAP_DONE)
			return step;
		if (b->id == 0 || is_selected(s, b->id) || (events & IMAP_EVENT_MESSAGES) == 0)
			continue;
		print_status(s, b, MESSAGES | UIDNEXT | UIDVALIDITY |
		    ((events & IMAP_EVENT_FLAGS) != 0 ? UNSEEN | MODSEQ : 0));
	}
	return IMAP_DONE;
}
