/*
 * auth.h - logging in: admission, SASL mechanisms, the price of failing
 *
 * One struct auth serves all doors. A password is checked on a worker; a failure is answered late
 * (the wait doubles with each failure of the same peer address) and counted. The text told to a client
 * never says whether the name exists.
 * Sources   RFC 4616 (PLAIN), draft-murchison-sasl-login (LOGIN), RFC 5802, RFC 7677 (SCRAM).
 */
#ifndef ACCESS_AUTH_H
#define ACCESS_AUTH_H

#include <mailshelf/account.h>

#include "net.h"

struct auth;
struct conf;
struct metrics_text;
struct sasl;

enum { AUTH_INPUT_MAX_EARLY_BYTES = 16 * 1024 }; /* net_conn_input_max() before login */

struct auth *auth_new(struct shelf_store *store, const struct conf *conf);
void auth_free(struct auth **auth);
/* CONF for logins from now on; counters go on. CONF lives as long as AUTH. Any thread. */
void auth_set_conf(struct auth *auth, const struct conf *conf);

/* May this connection send a password now (TLS, loopback, or cleartext_login)? */
bool auth_cleartext_ok(const struct auth *auth, const struct net_conn *conn);

/*
 * auth_login(auth, conn, service, name, password, done)
 *   Copies name and password (wiped after use). done(session, rc, account) comes on the loop:
 *   0 with ACCOUNT; SHELF_EAUTH after the delay; SHELF_EDISABLED; SHELF_ELIMIT too many sessions of this
 *   account (conns_per_account_max); SYSTEM errors (tell "temporary", not "wrong password").
 *   Uses net_conn_work; input is paused until DONE. On 0 the session counts for the account until
 *   auth_logout(). If the connection ends meanwhile DONE is not called (and nothing is counted).
 */
void auth_login(struct auth *auth, struct net_conn *conn, enum shelf_service service,
    struct shelf_span name, struct shelf_span password,
    void (*done)(void *session, int rc, const struct shelf_account *account));
/*
 * auth_still(auth, account, service, seen)
 *   May a session that has logged in go on, or was its account deleted, disabled, the service switched off?
 *   Costs nanoseconds while no account changes.
 *   seen   the session's own, 0 at its start
 */
bool auth_still(struct auth *auth, uint32_t account, enum shelf_service service, uint64_t *seen);
void auth_logout(struct auth *auth, uint32_t account, enum shelf_service service);
/* How logins ended since the process began. */
void auth_metrics(struct metrics_text *t);

/* Whom a front server speaks for. */
struct auth_peer {
	struct net_peer ip; /* zeros: not known */
	char text[64];
	bool tls, loopback;
};
/* IP: an address as text; what is none counts for one that is not known. */
void auth_peer_set(struct auth_peer *peer, struct shelf_span ip);
/* auth_cleartext_ok() for him. */
bool auth_relayed_ok(const struct auth *auth, const struct auth_peer *peer);
/* The same by SASL, behind SASL_READY. SASL is borrowed until DONE, or until the connection has ended. PEER: whose
 * failures it counts for; NULL: the connection's own. */
void auth_login_sasl(struct auth *auth, struct net_conn *conn, enum shelf_service service, struct sasl *sasl,
    const struct auth_peer *peer, void (*done)(void *session, int rc, const struct shelf_account *account));

/* ---- SASL, server side ----------------------------------------------------------------------- */

/* What the mechanisms need to know of a connection. */
struct sasl_for {
	struct shelf_store *store;
	const struct net_conn *conn; /* NULL: there is no channel to bind to */
	bool scram;                  /* the accounts have what it takes */
};
struct sasl_for auth_sasl(const struct auth *auth, const struct net_conn *conn);
/* Names of the mechanisms that are offered, one by one; NULL: no more. *AT is 0 at first, and moves on. */
const char *sasl_offered(const struct sasl_for *who, unsigned *at);

enum sasl_step {
	SASL_CONTINUE, /* send the challenge (decoded bytes) and wait for a response */
	SASL_READY,    /* all has been said: auth_login_sasl */
	SASL_BAD,      /* malformed: end the exchange with BAD or 501 */
};
/* A name in any case; NULL for what is not offered. Store and connection outlive it. */
struct sasl *sasl_new(struct shelf_span mechanism, const struct sasl_for *who);
/* RESPONSE: decoded client bytes; first call: the initial response, or data == NULL when none came
 * (an empty one, "=", has data != NULL and len 0). CHALLENGE lives until the next call. */
enum sasl_step sasl_step(struct sasl *sasl, struct shelf_span response, struct shelf_span *challenge);
/* After SASL_READY. An authorization identity other than empty or the name is never let in. */
struct shelf_span sasl_name(const struct sasl *sasl);
struct shelf_span sasl_password(const struct sasl *sasl); /* empty: the mechanism has none */
/* On a worker: as shelf_account_login. */
int sasl_check(struct sasl *sasl, enum shelf_service service, struct shelf_account *out);
/* When it was right: what the client must still be told, and answer with an empty response, before it is told
 * so; empty: nothing (RFC 4422 3.6, for protocols without data beside their "OK"). */
struct shelf_span sasl_last(const struct sasl *sasl);
void sasl_free(struct sasl **sasl); /* wipes */

#endif
