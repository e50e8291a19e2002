/*
 * mta_auth.h - logins that a front server takes: Postfix's submission and Exim's, with the accounts of this store
 *
 * Shape     The client's side of Dovecot's authentication protocol, version 1: lines of words between tabs, that end
 *           with LF. Ours first: VERSION, MECH..., SPID, CUID, COOKIE, DONE; then AUTH and CONT of theirs
 *           are answered with CONT, OK or FAIL. One exchange at a time on a connection, as those two have it.
 * Promise   Who is asked for counts as at the other doors: the delay of a failure goes by the address that the front
 *           server names, and the account needs the service `submission`.
 * Threads   Everything runs on the connection's loop; passwords and proofs are checked on workers.
 */
#ifndef ACCESS_MTA_AUTH_H
#define ACCESS_MTA_AUTH_H

struct auth;
struct conf;
struct net_protocol;

struct mta_auth_server {
	struct auth *auth;
	const struct conf *conf;
};
extern const struct net_protocol mta_auth_protocol;
struct mta_auth_server *mta_auth_server_new(const struct conf *conf, struct auth *auth);
void mta_auth_server_free(struct mta_auth_server **server);

#endif
