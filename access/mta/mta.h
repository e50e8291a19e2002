/*
 * mta.h - what a front server asks before it takes mail: is this recipient known, is there room
 *
 * Shape     Three protocols of Postfix on one door. Two are lines that end with LF, told apart line by line:
 *           a request of its policy service (lines NAME=VALUE, then an empty one; SMTPD_POLICY_README) is answered
 *           with "action=..." and an empty line; a request of a table ("get KEY", tcp_table(5)) with one line.
 *           A connection whose first byte is a digit asks tables in netstrings (socketmap_table(5)).
 * Promise   A policy request is only ever refused for a mailbox of ours that is full or switched off.
 *           For names we do not know, and when the store cannot be read, the answer is DUNNO: they may
 *           be aliases of the front server, and whoever delivers is told the truth. Whether a name is
 *           known is for the table.
 * Threads   Everything runs on the connection's loop; the store is only read.
 */
#ifndef ACCESS_MTA_H
#define ACCESS_MTA_H

#include <mailshelf/buf.h>
#include <mailshelf/err.h>

struct conf;
struct lineproto;
struct net_conn;
struct net_protocol;
struct shelf_store;

enum { MTA_LINE_MAX_BYTES = 8192, MTA_LINES_MAX = 200 };

struct mta_server {
	struct shelf_store *store;
	const struct conf *conf;
};
extern const struct net_protocol mta_protocol;
struct mta_server *mta_server_new(struct shelf_store *store, const struct conf *conf);
void mta_server_free(struct mta_server **server);

/* The answer to a policy request: "DUNNO", or a reply of SMTP. SIZE 0: not known. */
const char *mta_action(const struct mta_server *server, struct shelf_span recipient, uint64_t size);
/* The answer to "get KEY", without its line end: "200 ...", "400 ...", "500 ...". KEY: an address, or a domain. */
const char *mta_lookup(const struct mta_server *server, struct shelf_span key);

/* The first netstring of IN: 1 (its content, and how many bytes it took), 0 not all of it is there, SHELF_ESYNTAX. */
SHELF_CHECK int mta_socketmap_cut(struct shelf_span in, size_t *used, struct shelf_span *request);
/* "OK known", "NOTFOUND ", "TEMP ...", "PERM ...", for a request "recipients ADDRESS" or "domains DOMAIN". */
const char *mta_socketmap_answer(const struct mta_server *server, struct shelf_span request);

#endif
