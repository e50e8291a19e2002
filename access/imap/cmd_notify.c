/*
 * cmd_notify.c - NOTIFY SET, NOTIFY NONE
 *
 *   parse --> what does not fit? NO, BAD --> read what there is --> STATUS of it, if asked --> OK
 *
 * All is made anew and put in the place of what was set before when nothing can go wrong any more.
 * Sources   RFC 5465 3.1, 5, 6, 8.
 */
#include <stdlib.h>

#include "conf.h"
#include "imap_notify.h"

enum { NAMES_MAX = 1000 };

struct setting {
	struct imap_notify *notify; /* until it is the session's */
	bool status;
	bool has_selected, unsupported;
	size_t names;
	size_t next; /* STATUS */
};

static void
cleanup(struct imap_cmd *c)
{
	struct setting *set = c->data;

	imap_notify_free(&set->notify);
}

/* ---- Arguments ----------------------------------------------------------------------------------- */

static bool
parse_name(struct imap_parser *p, struct setting *set, struct imap_notify_group *g)
{
	struct shelf_span name = {0};

	if (!imap_parse_mailbox(p, &name))
		return false;
	if (++set->names > NAMES_MAX)
		return true; /* refused when all of it has been read */
	if (g->nname == g->name_cap) {
		g->name_cap = g->name_cap == 0 ? 4 : g->name_cap * 2;
		g->name = shelf_realloc(g->name, g->name_cap * sizeof *g->name);
	}
	g->name[g->nname++] = name;
	return true;
}

static bool
parse_names(struct imap_parser *p, struct setting *set, struct imap_notify_group *g)
{
	if (!imap_parse_sp(p))
		return false;
	if (!imap_at(p, '('))
		return parse_name(p, set, g);
	if (!imap_parse_open(p))
		return false;
	do {
		if (!parse_name(p, set, g))
			return false;
	} while (imap_try(p, ' '));
	return imap_parse_close(p);
}

static bool
parse_filter(struct imap_parser *p, struct setting *set, struct imap_notify_group *g)
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
		return parse_names(p, set, g);
	return true;
}

static bool
is_selected(const struct imap_notify_group *g)
{
	return g->filter == IMAP_FILTER_SELECTED || g->filter == IMAP_FILTER_DELAYED;
}

/* "MessageNew (UID FLAGS)" */
static bool
parse_event(struct imap_parser *p, struct setting *set, struct imap_notify_group *g)
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
	};
	struct imap_parser look;
	struct shelf_span name = {0};
	enum imap_event event = 0;

	if (!imap_parse_atom(p, &name))
		return false;
	for (size_t i = 0; i < sizeof events / sizeof *events; i++)
		if (shelf_span_is(name, events[i].name))
			event = events[i].event;
	set->unsupported = set->unsupported || event == 0;
	g->events |= event;
	look = *p;
	if (event != IMAP_EVENT_NEW || !imap_try(&look, ' ') || !imap_at(&look, '('))
		return true;
	if (!is_selected(g))
		return imap_parse_fail(p, "attributes are of the selected mailbox only");
	set->notify->has_items = true;
	return imap_parse_sp(p) && imap_fetch_parse(p, false, &set->notify->items);
}

static bool
parse_events(struct imap_parser *p, struct setting *set, struct imap_notify_group *g)
{
	if (imap_try_word(p, "NONE"))
		return true;
	if (!imap_parse_open(p))
		return false;
	do {
		if (!parse_event(p, set, g))
			return false;
	} while (imap_try(p, ' '));
	return imap_parse_close(p);
}

/* RFC 5465 5, 6.1: what must go together, and what must not. */
static bool
check_group(struct imap_parser *p, struct setting *set, const struct imap_notify_group *g)
{
	bool comes = (g->events & IMAP_EVENT_NEW) != 0, goes = (g->events & IMAP_EVENT_EXPUNGE) != 0;

	if (comes != goes)
		return imap_parse_fail(p, "MessageNew and MessageExpunge go together");
	if ((g->events & IMAP_EVENT_FLAGS) != 0 && !comes)
		return imap_parse_fail(p, "FlagChange goes with MessageNew and MessageExpunge");
	if (!is_selected(g))
		return true;
	if (set->has_selected)
		return imap_parse_fail(p, "SELECTED twice");
	set->has_selected = true;
	if ((g->events & ~(unsigned)IMAP_EVENT_MESSAGES) != 0)
		return imap_parse_fail(p, "of the selected mailbox only events of messages can be had");
	set->notify->selected = g->events;
	set->notify->delayed = g->filter == IMAP_FILTER_DELAYED;
	return true;
}

/* "(PERSONAL (MessageNew MessageExpunge))" */
static bool
parse_group(struct imap_parser *p, struct setting *set)
{
	struct imap_notify *n = set->notify;
	struct imap_notify_group g = {0};
	bool ok = imap_parse_open(p) && parse_filter(p, set, &g) && imap_parse_sp(p) &&
	    parse_events(p, set, &g) && check_group(p, set, &g) && imap_parse_close(p);

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

static bool
parse_set(struct imap_parser *p, struct setting *set)
{
	if (!imap_parse_sp(p))
		return false;
	if (imap_try_word(p, "STATUS")) {
		set->status = true;
		if (!imap_parse_sp(p))
			return false;
	}
	do {
		if (!parse_group(p, set))
			return false;
	} while (imap_try(p, ' '));
	return imap_parse_end(p);
}

/* ---- The command --------------------------------------------------------------------------------- */

static enum imap_step
tell_status(struct imap_cmd *c)
{
	struct setting *set = c->data;
	enum imap_step step = imap_watch_status(c->s, &set->next);

	return step != IMAP_DONE ? step : imap_completed(c);
}

static enum imap_step
install(struct imap_cmd *c)
{
	struct imap_session *s = c->s;
	struct setting *set = c->data;
	int rc = imap_notify_listen(s, set->notify);

	/* First to listen, then to look: nothing is lost between. */
	if (rc == 0 && set->notify->ngroup > 0)
		rc = imap_watch_begin(s, set->notify, &set->notify->watch);
	if (rc == SHELF_ELIMIT)
		return imap_no(c, "NOTIFICATIONOVERFLOW", "There are too many mailboxes to watch");
	if (rc != 0)
		return imap_err(c, rc);
	imap_notify_free(&s->notify);
	s->notify = set->notify;
	set->notify = NULL;
	imap_notify_selected(s);
	if (!set->status || s->notify->watch == NULL)
		return imap_completed(c);
	c->run = tell_status;
	return tell_status(c);
}

enum imap_step
imap_cmd_notify(struct imap_cmd *c)
{
	struct setting *set = SHELF_ARENA_NEW(&c->arena, struct setting);
	struct shelf_span text = {0};

	set->notify = imap_notify_new();
	c->data = set;
	c->cleanup = cleanup;
	if (!imap_parse_sp(&c->p))
		return imap_parse_failed(c);
	if (imap_try_word(&c->p, "NONE"))
		return imap_parse_end(&c->p) ? install(c) : imap_parse_failed(c);
	if (!imap_try_word(&c->p, "SET"))
		return imap_bad(c, "NOTIFY: SET or NONE expected");
	/* What is read of the rest lives as long as the setting. */
	text = shelf_span(c->p.at, (size_t)(c->p.end - c->p.at));
	if (text.len > c->s->server->conf->imap_notify_max_bytes)
		return imap_no(c, "NOTIFICATIONOVERFLOW", "That is too much to watch");
	text = shelf_arena_dup(&set->notify->arena, text);
	c->p.at = text.data;
	c->p.end = text.data + text.len;
	c->p.arena = &set->notify->arena;
	if (!parse_set(&c->p, set))
		return imap_parse_failed(c);
	if (set->unsupported)
		return imap_no(c, "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName "
		    "SubscriptionChange)", "There are no other events here");
	if (set->names > NAMES_MAX)
		return imap_no(c, "NOTIFICATIONOVERFLOW", "Too many names to watch");
	return install(c);
}
