/*
 * control.h - what an operator asks a running daemon: who is here, and that somebody goes
 *
 * Shape     A door on a Unix socket, STORE/run/PID.sock, for whoever may open the store. A line is a request, the
 *           answer are lines of JSON and "." on a line:
 *             who                 {"id":7,"service":"imap","account":"joe","peer":"...","tls":"...","since_s":...,
 *                                 "idle_s":...}, one for each connection that is logged in
 *             kick account NAME   {"kicked":2}
 *             kick id N           {"kicked":1}
 *           Anything else: {"error":"..."}.
 * Threads   Each loop looks at its own connections; a worker asks all loops and waits.
 */
#ifndef ACCESS_CONTROL_H
#define ACCESS_CONTROL_H

#include <mailshelf/store.h>

struct net_listener;
struct net_loop;
struct net_pool;

struct control_server;
/* LOOPS live until the server is freed, behind the last connection. NULL: *ERROR says why not. */
struct control_server *control_server_new(struct shelf_store *store, const char *dir, struct net_loop **loops,
    unsigned nloops, struct net_pool *pool, char *error, size_t error_len);
/* No connection from now on. */
void control_server_close(struct control_server *server);
void control_server_free(struct control_server **server);

#endif
