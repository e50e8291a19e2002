/*
 * protocols.h - what the doors offer to the daemon and to the tests
 *
 * Shape     Each door has a server object, shared by all its sessions and all loops, and a row of
 *           functions for net. The server goes into net_conn_params.server. Each door declares the
 *           same names in its own header.
 * Lifetime  A server lives from before the first connection to after the last one: free it when every
 *           loop has ended and the pool is drained, before auth, conf and store.
 * Metrics   _metrics writes what all sessions of a door have counted since the process began (metrics.h).
 * Threads   The server object is used by all loops and workers at once; _new and _free are called by
 *           one thread.
 */
#ifndef ACCESS_PROTOCOLS_H
#define ACCESS_PROTOCOLS_H

struct auth;
struct conf;
struct imap_server;
struct lmtp_server;
struct metrics_text;
struct mta_auth_server;
struct mta_server;
struct net_protocol;
struct pop3_server;
struct shelf_store;

void auth_metrics(struct metrics_text *t);

extern const struct net_protocol imap_protocol;
struct imap_server *imap_server_new(struct shelf_store *store, const struct conf *conf,
    struct auth *auth);
void imap_server_free(struct imap_server **server);
void imap_metrics(struct metrics_text *t);

extern const struct net_protocol pop3_protocol;
struct pop3_server *pop3_server_new(struct shelf_store *store, const struct conf *conf,
    struct auth *auth);
void pop3_server_free(struct pop3_server **server);
void pop3_metrics(struct metrics_text *t);

extern const struct net_protocol lmtp_protocol;
struct lmtp_server *lmtp_server_new(struct shelf_store *store, const struct conf *conf);
void lmtp_server_free(struct lmtp_server **server);
void lmtp_metrics(struct metrics_text *t);

extern const struct net_protocol mta_protocol;
struct mta_server *mta_server_new(struct shelf_store *store, const struct conf *conf);
void mta_server_free(struct mta_server **server);

extern const struct net_protocol mta_auth_protocol;
struct mta_auth_server *mta_auth_server_new(const struct conf *conf, struct auth *auth);
void mta_auth_server_free(struct mta_auth_server **server);

#endif
