/*
 * cmd_notify.c - NOTIFY SET, NOTIFY NONE
 *
 *   parse --> what does not fit? NO, BAD --> read what there is --> STATUS of it, if asked --> OK
 *
 * All is made anew and put in the place of what was set before when nothing can go wrong any more.
 * Sources   RFC 5465 3.1, 5, 6, 8.
 */
#include "conf.h"
#include "imap_notify.h"

struct setting {
	struct imap_notify_request request; /* its notify: until it is the session's */
	size_t next;                        /* STATUS */
};

static void
cleanup(struct imap_cmd *c)
{
	struct setting *set = c->data;

	imap_notify_free(&set->request.notify);
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
	int rc = imap_notify_listen(s, set->request.notify);

	/* First to listen, then to look: nothing is lost between. */
	if (rc == 0 && set->request.notify->ngroup > 0)
		rc = imap_watch_begin(s, set->request.notify, &set->request.notify->watch);
	if (rc == SHELF_ELIMIT)
		return imap_no(c, "NOTIFICATIONOVERFLOW", "There are too many mailboxes to watch");
	if (rc != 0)
		return imap_err(c, rc);
	imap_notify_free(&s->notify);
	s->notify = set->request.notify;
	set->request.notify = NULL;
	imap_notify_selected(s);
	if (!set->request.status || s->notify->watch == NULL)
		return imap_completed(c);
	c->run = tell_status;
	return tell_status(c);
}

enum imap_step
imap_cmd_notify(struct imap_cmd *c)
{
	struct setting *set = SHELF_ARENA_NEW(&c->arena, struct setting);
	struct shelf_span text = {0};

	set->request.notify = imap_notify_new();
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
	text = shelf_arena_dup(&set->request.notify->arena, text);
	c->p.at = text.data;
	c->p.end = text.data + text.len;
	c->p.arena = &set->request.notify->arena;
	if (!imap_notify_parse(&c->p, &set->request))
		return imap_parse_failed(c);
	if (set->request.unsupported)
		return imap_no(c, "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName "
		    "SubscriptionChange MailboxMetadataChange ServerMetadataChange)", "There are no other events here");
	if (set->request.names > IMAP_NOTIFY_NAMES_MAX)
		return imap_no(c, "NOTIFICATIONOVERFLOW", "Too many names to watch");
	return install(c);
}
