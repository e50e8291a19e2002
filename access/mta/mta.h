/*
 * mta.h - what a front server asks before it takes mail: is this recipient known, is there room
 *
 * Shape     Two protocols of Postfix on one door, told apart line by line, all of them lines that end with LF:
 *           a request of its policy service (lines NAME=VALUE, then an empty one; SMTPD_POLICY_README) is answered
 *           with "action=..." and an empty line; a request of a table ("get KEY", tcp_table(5)) with one line.
 * Promise   A policy request is only ever refused for a mailbox of ours that is full or switched off.
 *           For names we do not know, and when the store cannot be read, the answer is DUNNO: they may
 *           be aliases of the front server, and whoever delivers is told the truth. Whether a name is
 *           known is for the table.
 * Threads   Everything runs on the connection's loop; the store is only read.
 */
#ifndef ACCESS_MTA_H
#define ACCESS_MTA_H

#include <mailshelf/buf.h>

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

#endif
