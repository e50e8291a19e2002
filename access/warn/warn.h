/*
 * warn.h - tells owners that their mailbox is nearly full: a message, a program
 *
 * Shape     A thread of the daemon looks every second whom the engine says to warn (mailshelf/warning.h), stores
 *           messages and runs the hook. Of several daemons on one store one does so (a lock on STORE/warnings.lock).
 *           Alerts are the IMAP door's.
 * Hook      Run without a shell, in a process group of its own, with nothing but PATH and MAILSHELF_... in its
 *           environment, stdin empty; what it says goes into the log, 1,000 bytes of it. It ends, or is killed when its
 *           time is up: then it has been told. When the daemon ends before that it is killed, and run again
 *           by the next daemon. One that cannot be started is tried again a minute later.
 * Threads   warner_set_conf from any; the others from one.
 */
#ifndef ACCESS_WARN_H
#define ACCESS_WARN_H

#include <sys/types.h>

#include <mailshelf/mailshelf.h>

struct conf;

struct warner;
/* NULL: no thread. CONF must live until another one is set and the warner has been freed. */
struct warner *warner_new(struct shelf_store *store, const struct conf *conf);
void warner_set_conf(struct warner *w, const struct conf *conf);
void warner_free(struct warner **w); /* NULL accepted; kills hooks that run */

/* ---- The message (warn_text.c) ------------------------------------------------------------------ */

enum { WARN_TEMPLATE_MAX_BYTES = 64 * 1024 };
/* What POP3 fetched DAYS ago or longer and left in INBOX. */
struct warn_left {
	unsigned days;
	uint64_t messages, bytes;
};
SHELF_CHECK int warn_left_count(struct shelf_store *store, uint32_t account, unsigned days, struct warn_left *out);
/*
 * warn_text_make(w, left, template, hostname, out)
 *   A whole message in wire form. %{account} %{percent} %{threshold} %{level} %{used} %{limit} %{messages}
 *   %{message_limit} %{hostname} %{pop3_messages} %{pop3_size} %{pop3_days} are replaced; so are, alone on a line,
 *   %{usage} by a line for each limit and %{pop3} by a paragraph about LEFT, or nothing when that is nothing.
 *   template  fields, an empty line, the text, with LF or CRLF; the fields From, To, Date, Message-ID, MIME-Version,
 *             Content-Type, Content-Transfer-Encoding, Auto-Submitted are added where they are missing. Empty: the
 *             default text
 *   returns   false: the template has no fields with a Subject in front, or is not UTF-8
 */
bool warn_text_make(const struct shelf_warning *w, const struct warn_left *left, struct shelf_span template,
    const char *hostname, struct shelf_buf *out);

/* ---- The programs (warn_hook.c) ----------------------------------------------------------------- */

struct warn_hooks;
struct warn_hooks *warn_hooks_new(void);
void warn_hooks_free(struct warn_hooks **hooks); /* kills what runs */
/* 0 started; SHELF_EBUSY it runs for that account already, or MAX do; SHELF_EIO cannot be started, SHELF_EMISSING there
 * is no such program. */
SHELF_CHECK int warn_hooks_start(struct warn_hooks *hooks, const char *program, const struct shelf_warning *w,
    const char *store, unsigned max, unsigned timeout_s);
/* Reads what they say, kills those whose time is up. ENDED is called for each that has come to its end. Returns how
 * many run. */
typedef void warn_ended_fn(void *arg, const struct shelf_warning *w);
unsigned warn_hooks_look(struct warn_hooks *hooks, warn_ended_fn *ended, void *arg);

#endif
