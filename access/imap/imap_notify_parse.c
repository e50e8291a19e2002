/*
 * imap_notify_parse.c - what stands behind NOTIFY SET: groups of mailboxes and the events wanted of them
 *
 * What must stay true: MessageNew and MessageExpunge are in a group both or neither, FlagChange only with them;
 * of the selected mailbox there are only those.
 * Sources   RFC 5465 5, 6, 8.
 */
#include <stdlib.h>

#include "imap_notify.h"

static bool
parse_name(struct imap_parser *p, struct imap_notify_request *r, struct imap_notify_group *g)
{
	struct shelf_span name = {0};

	if (!imap_parse_mailbox(p, &name))
		return false;
	if (++r->names > IMAP_NOTIFY_NAMES_MAX)
		return true; /* refused when all of it has been read */
	if (g->nname == g->name_cap) {
		g->name_cap = g->name_cap == 0 ? 4 : g->name_cap * 2;
		g->name = shelf_realloc(g->name, g->name_cap * sizeof *g->name);
	}
	g->name[g->nname++] = name;
	return true;
}

static bool
parse_names(struct imap_parser *p, struct imap_notify_request *r, struct imap_notify_group *g)
{
	if (!imap_parse_sp(p))
		return false;
	if (!imap_at(p, '('))
		return parse_name(p, r, g);
	if (!imap_parse_open(p))
		return false;
	do {
		if (!parse_name(p, r, g))
			return false;
	} while (imap_try(p, ' '));
	return imap_parse_close(p);
}

static bool
parse_filter(struct imap_parser *p, struct imap_notify_request *r, struct imap_notify_group *g)
{
	static const struct {
		const char *name;
		enum imap_filter filter;
	} filters[] = {
		{"SELECTED", IMAP_FILTER_SELECTED},
		{"SELECTED-DELAYED", IMAP_FILTER_DELAYED},
		{"INBOXES", IMAP_FILTER_PERSONAL},
		{"PERSONAL", IMAP_FILTER_PERSONAL},
		{"SUBSCRIBED", IMAP_FILTER_SUBSCRIBED},
		{"SUBTREE", IMAP_FILTER_SUBTREE},
		{"MAILBOXES", IMAP_FILTER_MAILBOXES},
	};
	struct shelf_span name = {0};
	size_t i = 0;

	if (!imap_parse_atom(p, &name))
		return false;
	while (i < sizeof filters / sizeof *filters && !shelf_span_is(name, filters[i].name))
		i++;
	if (i == sizeof filters / sizeof *filters)
		return imap_parse_fail(p, "unknown mailbox filter");
	g->filter = filters[i].filter;
	if (g->filter == IMAP_FILTER_SUBTREE || g->filter == IMAP_FILTER_MAILBOXES)
		return parse_names(p, r, g);
	return true;
}

static bool
is_selected(const struct imap_notify_group *g)
{
	return g->filter == IMAP_FILTER_SELECTED || g->filter == IMAP_FILTER_DELAYED;
}

/* "MessageNew (UID FLAGS)" */
static bool
parse_event(struct imap_parser *p, struct imap_notify_request *r, struct imap_notify_group *g)
{
	static const struct {
		const char *name;
		enum imap_event event;
	} events[] = {
		{"MessageNew", IMAP_EVENT_NEW},
		{"MessageExpunge", IMAP_EVENT_EXPUNGE},
		{"FlagChange", IMAP_EVENT_FLAGS},
		{"MailboxName", IMAP_EVENT_NAME},
		{"SubscriptionChange", IMAP_EVENT_SUBSCRIPTION},
		{"MailboxMetadataChange", IMAP_EVENT_METADATA},
		{"ServerMetadataChange", IMAP_EVENT_SERVER_METADATA},
	};
	struct imap_parser look;
	struct shelf_span name = {0};
	enum imap_event event = 0;

	if (!imap_parse_atom(p, &name))
		return false;
	for (size_t i = 0; i < sizeof events / sizeof *events; i++)
		if (shelf_span_is(name, events[i].name))
			event = events[i].event;
	r->unsupported = r->unsupported || event == 0;
	g->events |= event;
	look = *p;
	if (event != IMAP_EVENT_NEW || !imap_try(&look, ' ') || !imap_at(&look, '('))
		return true;
	if (!is_selected(g))
		return imap_parse_fail(p, "attributes are of the selected mailbox only");
	r->notify->has_items = true;
	return imap_parse_sp(p) && imap_fetch_parse(p, false, &r->notify->items);
}

static bool
parse_events(struct imap_parser *p, struct imap_notify_request *r, struct imap_notify_group *g)
{
	if (imap_try_word(p, "NONE"))
		return true;
	if (!imap_parse_open(p))
		return false;
	do {
		if (!parse_event(p, r, g))
			return false;
	} while (imap_try(p, ' '));
	return imap_parse_close(p);
}

/* RFC 5465 5, 6.1: what must go together, and what must not. */
static bool
check_group(struct imap_parser *p, struct imap_notify_request *r, const struct imap_notify_group *g)
{
	bool comes = (g->events & IMAP_EVENT_NEW) != 0, goes = (g->events & IMAP_EVENT_EXPUNGE) != 0;

	if (comes != goes)
		return imap_parse_fail(p, "MessageNew and MessageExpunge go together");
	if ((g->events & IMAP_EVENT_FLAGS) != 0 && !comes)
		return imap_parse_fail(p, "FlagChange goes with MessageNew and MessageExpunge");
	if (!is_selected(g))
		return true;
	if (r->has_selected)
		return imap_parse_fail(p, "SELECTED twice");
	r->has_selected = true;
	if ((g->events & ~(unsigned)IMAP_EVENT_MESSAGES) != 0)
		return imap_parse_fail(p, "of the selected mailbox only events of messages can be had");
	r->notify->selected = g->events;
	r->notify->delayed = g->filter == IMAP_FILTER_DELAYED;
	return true;
}

/* "(PERSONAL (MessageNew MessageExpunge))" */
static bool
parse_group(struct imap_parser *p, struct imap_notify_request *r)
{
	struct imap_notify *n = r->notify;
	struct imap_notify_group g = {0};
	bool ok = imap_parse_open(p) && parse_filter(p, r, &g) && imap_parse_sp(p) &&
	    parse_events(p, r, &g) && check_group(p, r, &g) && imap_parse_close(p);

	if (!ok || is_selected(&g) || g.events == 0) {
		free(g.name);
		return ok;
	}
	if (n->ngroup == n->group_cap) {
		n->group_cap = n->group_cap == 0 ? 4 : n->group_cap * 2;
		n->group = shelf_realloc(n->group, n->group_cap * sizeof *n->group);
	}
	n->group[n->ngroup++] = g;
	return true;
}

bool
imap_notify_parse(struct imap_parser *p, struct imap_notify_request *r)
{
	if (!imap_parse_sp(p))
		return false;
	if (imap_try_word(p, "STATUS")) {
		r->status = true;
		if (!imap_parse_sp(p))
			return false;
	}
	do {
		if (!parse_group(p, r))
			return false;
	} while (imap_try(p, ' '));
	return imap_parse_end(p);
}
