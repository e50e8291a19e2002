/*
 * mailshelf.h - the engine's whole public face
 *
 *   bytes      span.h buf.h arena.h mem.h     errors    err.h err.def     log    log.h
 *   store      store.h   open, snapshots, check, purge
 *              dict.h    compression dictionaries
 *   account    account.h add, login, quota
 *   mailbox    mailbox.h create, rename, status
 *   message    message.h draft, append, deliver, flags, expunge, copy, body
 *              import.h  append once, from a source read again
 *              pop3.h    what POP3 has fetched and hides, unique-ids of other servers
 *              restore.h what was removed and is still held
 *              guard.h   mass deletions that were noticed
 *              partition.h where partitions lie, compaction
 *              expire.h  old mail that goes by itself
 *              warning.h who nears his quota is warned
 *              settings.h what can be set in use; how full the disks are
 *   backup     backup.h  the store in a file, and back
 *   session    view.h    message numbers; news.h   "it changed"
 *   content    mime.h    part tree, envelope; query.h  search; sort.h  order, threads
 */
#ifndef MAILSHELF_H
#define MAILSHELF_H

#include <mailshelf/account.h>
#include <mailshelf/acl.h>
#include <mailshelf/alias.h>
#include <mailshelf/dict.h>
#include <mailshelf/expire.h>
#include <mailshelf/guard.h>
#include <mailshelf/backup.h>
#include <mailshelf/import.h>
#include <mailshelf/log.h>
#include <mailshelf/mailbox.h>
#include <mailshelf/mem.h>
#include <mailshelf/metadata.h>
#include <mailshelf/message.h>
#include <mailshelf/mime.h>
#include <mailshelf/news.h>
#include <mailshelf/partition.h>
#include <mailshelf/policy.h>
#include <mailshelf/pop3.h>
#include <mailshelf/query.h>
#include <mailshelf/restore.h>
#include <mailshelf/settings.h>
#include <mailshelf/sort.h>
#include <mailshelf/stats.h>
#include <mailshelf/uidset.h>
#include <mailshelf/view.h>
#include <mailshelf/warning.h>

#ifndef SHELF_VERSION
#define SHELF_VERSION "0.1.0"
#endif

#endif
