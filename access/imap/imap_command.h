/*
 * imap_command.h - the dispatcher, as imap_session.c and the commands that wait see it
 */
#ifndef ACCESS_IMAP_COMMAND_H
#define ACCESS_IMAP_COMMAND_H

#include "imap.h"

struct imap_dispatch *imap_dispatch_new(void);
/* Cleans up a running command; nothing more is written. */
void imap_dispatch_free(struct imap_session *s);
/* What net calls; each does as much as can be done now. */
void imap_dispatch_input(struct imap_session *s);
void imap_dispatch_drained(struct imap_session *s);
void imap_dispatch_wake(struct imap_session *s);
/* IMAP_WANT_WAKE is over: imap_work() has come back, or auth_login(). */
void imap_dispatch_resume(struct imap_session *s);
/* The longest line now. */
size_t imap_line_max(const struct imap_session *s);
/* "* BYE text", then the end. Within a response the end alone: octets of a literal that the client
 * still waits for must not be ours. */
void imap_bye(struct imap_session *s, const char *reason, const char *text);
/* May the session go on? False: it has been said goodbye. */
bool imap_account_still(struct imap_session *s);

/* imap_progress.c: does S->cmd keep its client waiting with work of ours? Each time the dispatcher has run. */
void imap_progress_busy(struct imap_session *s, bool busy);
void imap_progress_alarm(struct imap_session *s);

/* Is the user an administrator now? (cmd_capability.c) */
bool imap_is_admin(const struct imap_session *s);

/* imap_reply.c: writes the reply that was set. */
void imap_reply_write(struct imap_cmd *c);

/* cmd_capability.c: "IMAP4rev1 ID ...", as the session may be told now; in ARENA. */
const char *imap_caps_text(const struct imap_session *s, struct shelf_arena *arena);

/* cmd_select.c */
void imap_unselect(struct imap_session *s);

#endif
