/*
 * auth.c - one login: worker, answer or wait, log line
 *
 *   auth_login ──work──► check (worker) ──► checked (loop) ──► done            right
 *                                              └──wait──► answer ──► done      wrong
 *
 * A struct login is the argument of work and wait; whichever callback comes last frees it, wiped. The
 * password is wiped as soon as it has been checked.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>
#include <mailshelf/scram.h>
#include <mailshelf/settings.h>

#include "auth.h"
#include "auth_counts.h"
#include "auth_metrics.h"
#include "conf.h"
#include "net.h"

struct auth {
	struct shelf_store *store;
	_Atomic(const struct conf *) conf; /* replaced by a reload, read once per use */
	struct auth_counts *counts;
};

struct login {
	struct auth *auth;
	struct net_conn *conn;
	enum shelf_service service;
	void (*done)(void *session, int rc, const struct shelf_account *account);
	int rc;
	struct sasl *sasl; /* NULL: name and password are here */
	bool impossible;   /* too long, or NUL: no account has it */
	struct net_peer peer; /* whose failures are counted */
	bool relayed;      /* for FROM, whom a front server speaks for */
	struct auth_peer from;
	size_t name_len, password_len;
	char name[SHELF_ACCOUNT_NAME_MAX + 1];
	uint8_t password[SHELF_PASSWORD_MAX];
	struct shelf_account account;
};

struct auth *
auth_new(struct shelf_store *store, const struct conf *conf)
{
	struct auth *auth = SHELF_NEW(struct auth);
	int rc;

	auth->store = store;
	atomic_init(&auth->conf, conf);
	auth->counts = auth_counts_new();
	if ((rc = shelf_scram_prepare(store)) != 0)
		shelf_log(SHELF_LOG_WARN, "no SCRAM", "error", "%s", shelf_err_name(rc), NULL);
	return auth;
}

void
auth_free(struct auth **authp)
{
	if (*authp != NULL)
		auth_counts_free(&(*authp)->counts);
	free(*authp);
	*authp = NULL;
}

void
auth_set_conf(struct auth *auth, const struct conf *conf)
{
	atomic_store(&auth->conf, conf);
}

bool
auth_cleartext_ok(const struct auth *auth, const struct net_conn *conn)
{
	return net_conn_is_tls(conn) || net_conn_is_loopback(conn) ||
	    atomic_load(&auth->conf)->cleartext_login;
}

void
auth_peer_set(struct auth_peer *peer, struct shelf_span ip)
{
	snprintf(peer->text, sizeof(peer->text), "%.*s", (int)(ip.len < 63 ? ip.len : 63), (const char *)ip.data);
	net_peer_parse(peer->text, &peer->ip, &peer->loopback);
}

bool
auth_relayed_ok(const struct auth *auth, const struct auth_peer *peer)
{
	return peer->tls || peer->loopback || atomic_load(&auth->conf)->cleartext_login;
}

static const char *
service_name(enum shelf_service service)
{
	return service == SHELF_SERVICE_IMAP ? "imap" : service == SHELF_SERVICE_POP3 ? "pop3" :
	    service == SHELF_SERVICE_SUBMISSION ? "submission" : "other";
}

static const char *
tls_text(const struct login *login)
{
	if (login->relayed)
		return login->from.tls ? "yes" : "no";
	return net_conn_is_tls(login->conn) ? net_conn_tls_text(login->conn) : "no";
}

static void
tell_login(const struct login *login)
{
	const struct net_conn *conn = login->conn;
	enum shelf_log_level level = SHELF_LOG_INFO;

	/* System errors are logged where they happen; here they are worth a warning. */
	if (login->rc != 0 && shelf_err_class_of(login->rc) != SHELF_CLASS_REFUSED)
		level = SHELF_LOG_WARN;
	auth_metrics_login(login->service, login->rc);
	shelf_log(level, "login", "service", "%s",
	    service_name(login->service), "account", "%s", login->name, "peer", "%s",
	    login->relayed ? login->from.text : net_conn_peer(conn), "tls", "%s", tls_text(login),
	    "result", "%s", login->rc == 0 ? "ok" : shelf_err_name(login->rc), "conn", "%llu",
	    net_conn_id(conn), NULL);
}

static void
end_login(struct login *login)
{
	explicit_bzero(login, sizeof(*login));
	free(login);
}

/* On a worker. */
static void
check(void *arg)
{
	struct login *login = arg;

	if (login->impossible)
		login->rc = SHELF_EAUTH;
	else if (login->sasl != NULL)
		login->rc = sasl_check(login->sasl, login->service, &login->account);
	else
		login->rc = shelf_account_login(login->auth->store,
		    shelf_span(login->name, login->name_len),
		    shelf_span(login->password, login->password_len), login->service, &login->account);
	explicit_bzero(login->password, sizeof(login->password));
}

static void
answer(void *session, void *arg)
{
	struct login *login = arg;

	if (!net_conn_closing(login->conn))
		login->done(session, login->rc, login->rc == 0 ? &login->account : NULL);
	end_login(login);
}

static void
checked(void *session, void *arg)
{
	struct login *login = arg;
	struct auth *auth = login->auth;
	unsigned failures;

	if (net_conn_closing(login->conn)) {
		/* Nobody to answer, but a wrong guess is counted and told all the same. */
		if (login->rc == SHELF_EAUTH) {
			auth_counts_fail(auth->counts, &login->peer, shelf_mono_ms());
			tell_login(login);
		}
		end_login(login);
		return;
	}
	if (login->rc == 0 && !auth_counts_enter(auth->counts, login->account.id, login->service,
	    atomic_load(&auth->conf)->conns_per_account_max))
		login->rc = SHELF_ELIMIT;
	tell_login(login);
	if (login->rc != SHELF_EAUTH) {
		answer(session, login);
		return;
	}
	failures = auth_counts_fail(auth->counts, &login->peer, shelf_mono_ms());
	net_conn_wait(login->conn, auth_counts_delay_ms(failures, atomic_load(&auth->conf)->login_fail_delay_ms),
	    login, answer);
}

static struct login *
new_login(struct auth *auth, struct net_conn *conn, enum shelf_service service, struct shelf_span name,
    void (*done)(void *session, int rc, const struct shelf_account *account))
{
	struct login *login = SHELF_NEW(struct login);

	login->auth = auth;
	login->conn = conn;
	login->service = service;
	login->done = done;
	login->peer = net_conn_peer_ip(conn);
	/* The log shows the beginning of what is longer than any name. */
	login->name_len = name.len > SHELF_ACCOUNT_NAME_MAX ? SHELF_ACCOUNT_NAME_MAX : name.len;
	if (login->name_len > 0)
		memcpy(login->name, name.data, login->name_len);
	return login;
}

void
auth_login(struct auth *auth, struct net_conn *conn, enum shelf_service service,
    struct shelf_span name, struct shelf_span password,
    void (*done)(void *session, int rc, const struct shelf_account *account))
{
	struct login *login = new_login(auth, conn, service, name, done);

	/* Refused after the same wait as a wrong password. */
	login->impossible = name.len > SHELF_ACCOUNT_NAME_MAX || password.len > SHELF_PASSWORD_MAX ||
	    shelf_span_find(name, '\0', 0) >= 0;
	if (!login->impossible && password.len > 0) {
		memcpy(login->password, password.data, password.len);
		login->password_len = password.len;
	}
	net_conn_work(conn, check, login, checked);
}

void
auth_login_sasl(struct auth *auth, struct net_conn *conn, enum shelf_service service, struct sasl *sasl,
    const struct auth_peer *peer, void (*done)(void *session, int rc, const struct shelf_account *account))
{
	struct login *login = new_login(auth, conn, service, sasl_name(sasl), done);

	login->sasl = sasl;
	if (peer != NULL) {
		login->relayed = true;
		login->from = *peer;
		login->peer = peer->ip;
	}
	net_conn_work(conn, check, login, checked);
}

/* SCRAM is offered where everybody has keys, so that nobody's client takes it and fails; or where an administrator
 * says that those few do not matter. */
struct sasl_for
auth_sasl(const struct auth *auth, const struct net_conn *conn)
{
	uint64_t keyless = 0;
	bool can = shelf_setting_get(auth->store, SHELF_SETTING_SCRAM_ITERATIONS) > 0 &&
	    shelf_scram_without_keys(auth->store, &keyless) == 0;

	return (struct sasl_for){.store = auth->store,
		.conn = conn,
		.scram = can && (keyless == 0 || atomic_load(&auth->conf)->scram_always)};
}

bool
auth_still(struct auth *auth, uint32_t account, enum shelf_service service, uint64_t *seen)
{
	uint64_t version = shelf_accounts_version(auth->store);
	struct shelf_account a;
	int rc;

	if (version == *seen)
		return true;
	rc = shelf_account_get(auth->store, account, &a);
	if (rc == 0)
		*seen = version;
	/* Trouble of the store is told by what the session does next. */
	return rc == 0 ? !a.disabled && (a.services & service) != 0 : rc != SHELF_ENOACCOUNT;
}

void
auth_logout(struct auth *auth, uint32_t account, enum shelf_service service)
{
	auth_counts_leave(auth->counts, account, service);
}
