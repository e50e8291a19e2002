/*
 * mailshelfd.c - the daemon: settings, listeners, loops, signals
 *
 * The main thread starts everything and then only waits for signals; they are blocked in all threads,
 * so no handler runs anywhere. Order of starting: settings, store, servers, listeners, loops; of
 * stopping: listeners, loops (sessions say goodbye, work comes back), workers, servers, store.
 * Exit codes are those of sysexits.h; what is wrong stands on stderr.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <mailshelf/mailshelf.h>

#include "auth.h"
#include "conf_args.h"
#include "control.h"
#include "net.h"
#include "protocols.h"
#include "scrape.h"
#include "warn.h"

enum { LOOPS_MAX = 256, LINE_EXTRA_BYTES = 4096, INPUT_MIN_BYTES = 64 * 1024 };

static const char imap_busy[] = "* BYE [UNAVAILABLE] Too many connections, try again later\r\n";
static const char pop3_busy[] = "-ERR [SYS/TEMP] Too many connections, try again later\r\n";
static const char lmtp_busy[] = "421 4.3.2 Too many connections, try again later\r\n";
static const char lmtp_denied[] = "554 5.7.1 Access denied (delivery_networks)\r\n";

/* One row for each listener that can be asked for. */
enum door_id { DOOR_IMAP, DOOR_IMAPS, DOOR_POP3, DOOR_POP3S, DOOR_LMTP, DOOR_MTA, DOOR_MTA_AUTH, DOORS };
static const struct door {
	const char *setting;
	const struct net_protocol *protocol;
	bool tls_at_once;
	const char *busy;
	const char *denied; /* NULL: anybody may connect */
} doors[DOORS] = {
	[DOOR_IMAP] = {"imap", &imap_protocol, false, imap_busy},
	[DOOR_IMAPS] = {"imaps", &imap_protocol, true, imap_busy},
	[DOOR_POP3] = {"pop3", &pop3_protocol, false, pop3_busy},
	[DOOR_POP3S] = {"pop3s", &pop3_protocol, true, pop3_busy},
	[DOOR_LMTP] = {"lmtp", &lmtp_protocol, false, lmtp_busy, lmtp_denied},
	[DOOR_MTA] = {"mta", &mta_protocol, false, "", ""},
	[DOOR_MTA_AUTH] = {"mta_auth", &mta_auth_protocol, false, "", ""},
};

/* Settings and the servers that were made with them. A reload makes another generation for connections from then
 * on; open ones keep theirs, so all live until the daemon stops. */
struct generation {
	struct generation *older;
	struct conf *conf;
	struct networks {
		struct net_networks *delivery, *proxies;
	} networks;
	struct imap_server *imap;
	struct pop3_server *pop3;
	struct lmtp_server *lmtp;
	struct mta_server *mta;
	struct mta_auth_server *mta_auth;
};

struct daemon {
	struct conf_args args;
	const struct conf *conf;      /* of the newest generation */
	struct generation *newest;
	struct shelf_store *store;
	struct auth *auth;
	struct warner *warner;
	struct net_tls *tls;
	struct net_pool *pool;
	struct net_loop *loops[LOOPS_MAX];
	pthread_t threads[LOOPS_MAX];
	unsigned nloops, nthreads;
	struct net_listener *listeners[DOORS];
	struct scrape scrape;
	struct metrics_server *metrics;
	struct control_server *control; /* NULL: it cannot be asked */
	char *pid_file; /* that was written */
};

static int
complain(int code, const char *text)
{
	fprintf(stderr, "mailshelfd: %s\n", text);
	return code;
}

/* ---- Settings --------------------------------------------------------------------------------- */

static const char *
door_address(const struct conf *conf, enum door_id id)
{
	const char *const at[DOORS] = {conf->imap, conf->imaps, conf->pop3, conf->pop3s, conf->lmtp, conf->mta,
		conf->mta_auth};

	return at[id];
}

static void
set_log_level(const struct conf *conf)
{
	const char *level = conf->log_level == NULL ? "info" : conf->log_level;

	shelf_log_level(strcmp(level, "debug") == 0 ? SHELF_LOG_DEBUG :
	    strcmp(level, "warn") == 0 ? SHELF_LOG_WARN :
	    strcmp(level, "error") == 0 ? SHELF_LOG_ERROR : SHELF_LOG_INFO);
}

/* NULL in *TLS_OUT when no certificate is set. */
static bool
load_tls(const struct conf *conf, struct net_tls **tls_out, char *error, size_t error_len)
{
	*tls_out = NULL;
	if (conf->tls_cert == NULL && conf->tls_key == NULL) {
		for (int i = 0; i < DOORS; i++) {
			if (doors[i].tls_at_once && door_address(conf, i) != NULL) {
				snprintf(error, error_len, "%s needs tls_cert and tls_key", doors[i].setting);
				return false;
			}
		}
		return true;
	}
	if (conf->tls_cert == NULL || conf->tls_key == NULL) {
		snprintf(error, error_len, "tls_cert and tls_key must be set together");
		return false;
	}
	*tls_out = net_tls_new(conf->tls_cert, conf->tls_key, error, error_len);
	return *tls_out != NULL;
}

static void
free_networks(struct networks *n)
{
	net_networks_free(&n->delivery);
	net_networks_free(&n->proxies);
}

static bool
load_networks(const struct conf *conf, struct networks *out, char *error, size_t error_len)
{
	const struct {
		const char *setting, *text;
		struct net_networks **out;
	} rows[] = {{"delivery_networks", conf->delivery_networks, &out->delivery},
		{"proxy_networks", conf->proxy_networks, &out->proxies}};
	char why[256];

	*out = (struct networks){NULL, NULL};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		*rows[i].out = net_networks_new(rows[i].text == NULL ? "" : rows[i].text, why, sizeof(why));
		if (*rows[i].out == NULL) {
			snprintf(error, error_len, "%s: %s", rows[i].setting, why);
			free_networks(out);
			return false;
		}
	}
	return true;
}

struct unix_file {
	int mode;
	gid_t group; /* 0: none is set */
};

static bool
unix_file_of(const struct conf *conf, struct unix_file *out, char *error, size_t error_len)
{
	const char *mode = conf->unix_mode == NULL ? "" : conf->unix_mode;
	const struct group *group = conf->unix_group == NULL ? NULL : getgrnam(conf->unix_group);
	size_t digits = strspn(mode, "01234567");

	if (digits < 3 || digits > 4 || mode[digits] != '\0' || (strtol(mode, NULL, 8) & ~0777) != 0) {
		snprintf(error, error_len, "unix_mode: %.20s: an octal number such as 0660", mode);
		return false;
	}
	if (conf->unix_group != NULL && group == NULL) {
		snprintf(error, error_len, "unix_group: %.100s: no such group", conf->unix_group);
		return false;
	}
	*out = (struct unix_file){(int)strtol(mode, NULL, 8), group == NULL ? 0 : group->gr_gid};
	return true;
}

static int
read_settings(struct daemon *d)
{
	char error[512];
	bool any = false;
	struct unix_file file;

	struct conf *conf = conf_args_load(&d->args, error, sizeof(error));

	if (conf == NULL)
		return complain(EX_CONFIG, error);
	d->newest = SHELF_NEW(struct generation);
	d->newest->conf = conf;
	d->conf = conf;
	if (d->conf->store == NULL)
		return complain(EX_USAGE, "no store: give -s STORE (--help shows the options)");
	for (int i = 0; i < DOORS; i++)
		any = any || door_address(d->conf, i) != NULL;
	if (!any)
		return complain(EX_USAGE, "nothing to listen on: give at least one of --imap, --imaps, "
		    "--pop3, --pop3s, --lmtp, --mta, --mta-auth");
	if (!load_tls(d->conf, &d->tls, error, sizeof(error)) ||
	    !load_networks(d->conf, &d->newest->networks, error, sizeof(error)) ||
	    !unix_file_of(d->conf, &file, error, sizeof(error)))
		return complain(EX_CONFIG, error);
	set_log_level(d->conf);
	if (d->tls == NULL && (d->conf->imap != NULL || d->conf->pop3 != NULL))
		shelf_log(SHELF_LOG_WARN, "no certificate", "effect", "%s", d->conf->cleartext_login ?
		    "passwords travel in clear" : "login from this host only", NULL);
	return 0;
}

/* ---- Starting ----------------------------------------------------------------------------------- */

static void
set_limits(void)
{
	struct rlimit files, none = {0, 0};

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	/* A core would hold passwords, mail and the private key. */
	setrlimit(RLIMIT_CORE, &none);
#ifndef __SANITIZE_ADDRESS__ /* whose search for leaks reads its own process */
	prctl(PR_SET_DUMPABLE, 0);
#endif
	umask(0077);
}

static void
block_signals(sigset_t *waited_for)
{
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(waited_for);
	sigaddset(waited_for, SIGTERM);
	sigaddset(waited_for, SIGINT);
	sigaddset(waited_for, SIGHUP);
	sigaddset(waited_for, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, waited_for, NULL);
}

static int
open_store(struct daemon *d)
{
	int rc = shelf_store_open(d->conf->store, SHELF_OPEN_SERVE, &d->store);
	char text[512];

	if (rc == 0)
		return 0;
	snprintf(text, sizeof(text), "%s: %s", d->conf->store,
	    rc == SHELF_EMISSING ? "no store there (mailshelf init makes one)" : shelf_err_text(rc));
	switch (rc) {
	case SHELF_EMISSING:
		return complain(EX_NOINPUT, text);
	case SHELF_EBUSY:
	case SHELF_ENOMEM:
		return complain(EX_TEMPFAIL, text);
	case SHELF_EVERSION:
	case SHELF_ECORRUPT:
		return complain(EX_DATAERR, text);
	case SHELF_EIO:
	case SHELF_EFULL:
		return complain(EX_IOERR, text);
	default:
		return complain(EX_SOFTWARE, text);
	}
}

static void
make_loops(struct daemon *d)
{
	unsigned n = (unsigned)d->conf->loops;
	cpu_set_t cpus;

	if (n == 0 && sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		n = (unsigned)CPU_COUNT(&cpus);
	n = n == 0 ? 1 : n > LOOPS_MAX ? LOOPS_MAX : n;
	for (; d->nloops < n; d->nloops++)
		d->loops[d->nloops] = net_loop_new();
}

static void
make_servers(struct daemon *d)
{
	struct generation *g = d->newest;

	g->imap = imap_server_new(d->store, g->conf, d->auth);
	g->pop3 = pop3_server_new(d->store, g->conf, d->auth);
	g->lmtp = lmtp_server_new(d->store, g->conf);
	g->mta = mta_server_new(d->store, g->conf);
	g->mta_auth = mta_auth_server_new(g->conf, d->auth);
}

static struct net_listener_params
listener_params(const struct daemon *d, enum door_id id)
{
	const struct generation *g = d->newest;
	const struct conf *conf = g->conf;
	void *const servers[DOORS] = {g->imap, g->imap, g->pop3, g->pop3, g->lmtp, g->mta,
		g->mta_auth};
	size_t line = (size_t)conf->line_max_bytes + LINE_EXTRA_BYTES;

	return (struct net_listener_params){
		.conn = {
			.protocol = doors[id].protocol,
			.server = servers[id],
			.pool = d->pool,
			.tls = d->tls,
			.tls_at_once = doors[id].tls_at_once,
			.input_max_bytes = line < INPUT_MIN_BYTES ? INPUT_MIN_BYTES : line,
			.handshake_timeout_s = (unsigned)conf->login_timeout_s,
		},
		.conns_max = (unsigned)conf->conns_max,
		.conns_per_peer_max = (unsigned)conf->conns_per_peer_max,
		.busy = doors[id].busy,
		.from = doors[id].denied == NULL ? NULL : g->networks.delivery,
		.denied = doors[id].denied,
		.proxies = doors[id].denied == NULL ? g->networks.proxies : NULL,
	};
}

/* What cannot be listened on: a status of sysexits and a line. */
static int
cannot_listen(const char *setting, const char *error)
{
	int code = errno == EINVAL ? EX_CONFIG : errno == EACCES || errno == EPERM ? EX_NOPERM : EX_UNAVAILABLE;
	char text[600];

	snprintf(text, sizeof(text), "%s: %s", setting, error);
	return complain(code, text);
}

static int
listen_at(struct daemon *d, enum door_id id, const char *addr)
{
	struct net_listener_params params = listener_params(d, id);
	struct unix_file file;
	char error[512];

	if (!unix_file_of(d->conf, &file, error, sizeof(error))) /* it could be told when the settings were read */
		return complain(EX_CONFIG, error);
	params.unix_mode = file.mode;
	params.unix_group = file.group;
	d->listeners[id] = net_listener_new(d->loops, d->nloops, addr, &params, error, sizeof(error));
	if (d->listeners[id] == NULL)
		return cannot_listen(doors[id].setting, error);
	shelf_log(SHELF_LOG_INFO, "listening", "service", "%s", doors[id].setting, "address", "%s", addr,
	    "port", "%d", net_listener_port(d->listeners[id]), NULL);
	return 0;
}

static void *
run_loop(void *arg)
{
	net_loop_run(arg);
	return NULL;
}

static int
start_loops(struct daemon *d)
{
	for (; d->nthreads < d->nloops; d->nthreads++) {
		int rc = pthread_create(&d->threads[d->nthreads], NULL, run_loop, d->loops[d->nthreads]);

		if (rc != 0)
			return complain(EX_OSERR, "cannot start a thread for each loop");
	}
	return 0;
}

static int
start_metrics(struct daemon *d)
{
	struct metrics_source source = {scrape_fill, scrape_health, &d->scrape};
	char error[512];

	d->scrape = (struct scrape){.store = d->store, .loops = d->loops, .nloops = d->nloops,
	    .start_s = shelf_now_s()};
	for (int i = 0; i < DOORS; i++) {
		if (d->listeners[i] == NULL)
			continue;
		d->scrape.doors[d->scrape.ndoors].service = doors[i].setting;
		d->scrape.doors[d->scrape.ndoors++].listener = d->listeners[i];
	}
	d->metrics = metrics_server_new(d->conf->metrics, &source, error, sizeof(error));
	if (d->metrics == NULL)
		return cannot_listen("metrics", error);
	shelf_log(SHELF_LOG_INFO, "listening", "service", "%s", "metrics", "address", "%s", d->conf->metrics,
	    "port", "%d", metrics_server_port(d->metrics), NULL);
	return 0;
}

/* A path may be too long for a socket: mail goes on without. */
static void
start_control(struct daemon *d)
{
	char error[512];

	d->control = control_server_new(d->store, d->conf->store, d->loops, d->nloops, d->pool, error, sizeof(error));
	if (d->control == NULL)
		shelf_log(SHELF_LOG_WARN, "cannot be asked who is logged in", "reason", "%s", error, NULL);
}

static int
write_pid_file(struct daemon *d)
{
	const char *file = d->conf->pid_file;
	char text[512];
	int fd;
	bool ok;

	if (file == NULL)
		return 0;
	fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	ok = fd >= 0 && fchmod(fd, 0644) == 0 && dprintf(fd, "%d\n", (int)getpid()) > 0;
	if (fd >= 0 && close(fd) != 0)
		ok = false;
	if (!ok) {
		snprintf(text, sizeof(text), "%s: %s", file, strerror(errno));
		return complain(EX_CANTCREAT, text);
	}
	d->pid_file = shelf_strdup(file);
	return 0;
}

static int
start(struct daemon *d)
{
	int rc = read_settings(d);

	if (rc == 0)
		rc = open_store(d);
	if (rc != 0)
		return rc;
	make_loops(d);
	d->pool = net_pool_new((unsigned)d->conf->workers, (unsigned)d->conf->search_threads);
	d->auth = auth_new(d->store, d->conf);
	make_servers(d);
	for (int i = 0; i < DOORS && rc == 0; i++) {
		if (door_address(d->conf, i) != NULL)
			rc = listen_at(d, i, door_address(d->conf, i));
	}
	if (rc == 0)
		start_control(d);
	if (rc == 0 && d->conf->metrics != NULL)
		rc = start_metrics(d);
	if (rc == 0)
		rc = write_pid_file(d);
	if (rc == 0)
		rc = start_loops(d);
	if (rc == 0 && (d->warner = warner_new(d->store, d->conf)) == NULL)
		rc = complain(EX_OSERR, "cannot start a thread for quota warnings");
	return rc;
}

/* ---- Running ------------------------------------------------------------------------------------ */

/* What is bound to a thing that was made at the start: the store, a socket, a thread. */
static bool
needs_restart(const char *name)
{
	static const char *const names[] = {"store", "imap", "imaps", "pop3", "pop3s", "lmtp", "mta", "mta_auth",
		"metrics", "pid_file", "loops", "workers", "search_threads", "unix_mode", "unix_group"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

/* FRESH and *TLS become those of all connections from now on. */
static void
apply(struct daemon *d, struct conf *fresh, struct net_tls **tls, const struct networks *networks)
{
	struct generation *g = SHELF_NEW(struct generation);
	const struct conf_row *rows;
	size_t n;

	rows = conf_rows(&n);
	for (size_t i = 0; i < n; i++) {
		if (needs_restart(rows[i].name) && !conf_same(d->conf, fresh, &rows[i]))
			shelf_log(SHELF_LOG_WARN, "setting needs a restart", "name", "%s", rows[i].name, NULL);
	}
	g->conf = fresh;
	g->networks = *networks;
	g->older = d->newest;
	d->newest = g;
	d->conf = fresh;
	net_tls_unref(&d->tls);
	d->tls = *tls;
	*tls = NULL;
	set_log_level(fresh);
	auth_set_conf(d->auth, fresh);
	warner_set_conf(d->warner, fresh);
	make_servers(d);
	for (int i = 0; i < DOORS; i++) {
		struct net_listener_params params = listener_params(d, i);

		if (d->listeners[i] != NULL)
			net_listener_set(d->listeners[i], &params);
	}
}

static void
reload(struct daemon *d)
{
	char error[512];
	struct net_tls *tls = NULL;
	struct networks networks = {NULL, NULL};
	struct conf *fresh = conf_args_load(&d->args, error, sizeof(error));
	bool ok = fresh != NULL && load_tls(fresh, &tls, error, sizeof(error)) &&
	    load_networks(fresh, &networks, error, sizeof(error));

	/* A TLS listener that is open now needs a certificate, whatever the new file says of it. */
	if (ok && tls == NULL &&
	    (d->listeners[DOOR_IMAPS] != NULL || d->listeners[DOOR_POP3S] != NULL)) {
		snprintf(error, sizeof(error), "a TLS listener is open: tls_cert and tls_key must stay");
		ok = false;
	}
	if (!ok) {
		shelf_log(SHELF_LOG_ERROR, "reload", "result", "%s", "nothing changed", "reason", "%s", error,
		    NULL);
		conf_free(&fresh);
		net_tls_unref(&tls);
		free_networks(&networks);
		return;
	}
	apply(d, fresh, &tls, &networks);
	shelf_log(SHELF_LOG_INFO, "reload", "result", "%s", "ok", NULL);
}

/* What kept each loop busy since the last such line (net.h). */
static void
log_turns(struct daemon *d)
{
	for (unsigned i = 0; i < d->nloops; i++) {
		struct net_turns t = net_loop_take_turns(d->loops[i]);

		shelf_log(SHELF_LOG_INFO, "loop", "number", "%u", i, "conns", "%u",
		    net_loop_conns(d->loops[i]), "turns", "%llu", t.count, "p99_us", "%llu", t.p99_us,
		    "slowest_us", "%llu", t.slowest_us, "slowest_cpu_us", "%llu", t.slowest_cpu_us,
		    "slow", "%llu", t.slow, "slow_cpu", "%llu", t.slow_cpu, NULL);
	}
}

static void
serve(struct daemon *d, const sigset_t *signals)
{
	int sig = 0;

	shelf_log(SHELF_LOG_INFO, "start", "version", "%s", SHELF_VERSION, "store", "%s",
	    d->conf->store, "loops", "%u", d->nloops, "pid", "%d", (int)getpid(), NULL);
	puts("ready");
	fflush(stdout);
	for (;;) {
		if (sigwait(signals, &sig) != 0)
			continue;
		if (sig == SIGHUP)
			reload(d);
		else if (sig == SIGUSR1)
			log_turns(d);
		else
			break;
	}
	log_turns(d);
	shelf_log(SHELF_LOG_INFO, "stop", "signal", "%s", sig == SIGINT ? "SIGINT" : "SIGTERM", NULL);
}

/* Also of a daemon that has not got far. */
static void
stop(struct daemon *d)
{
	metrics_server_free(&d->metrics);
	control_server_close(d->control);
	for (int i = 0; i < DOORS; i++)
		net_listener_free(&d->listeners[i]);
	for (unsigned i = 0; i < d->nloops; i++)
		net_loop_stop(d->loops[i]);
	for (unsigned i = 0; i < d->nthreads; i++)
		pthread_join(d->threads[i], NULL);
	warner_free(&d->warner);
	net_pool_free(&d->pool);
	for (unsigned i = 0; i < d->nloops; i++)
		net_loop_free(&d->loops[i]);
	for (struct generation *g = d->newest; g != NULL; g = g->older) {
		imap_server_free(&g->imap);
		pop3_server_free(&g->pop3);
		lmtp_server_free(&g->lmtp);
		mta_server_free(&g->mta);
		mta_auth_server_free(&g->mta_auth);
	}
	control_server_free(&d->control);
	auth_free(&d->auth);
	shelf_store_close(&d->store);
	net_tls_unref(&d->tls);
	if (d->pid_file != NULL)
		unlink(d->pid_file);
	free(d->pid_file);
	for (struct generation *g = d->newest, *older; g != NULL; g = older) {
		older = g->older;
		conf_free(&g->conf);
		free_networks(&g->networks);
		free(g);
	}
	conf_args_free(&d->args);
}

int
main(int argc, char **argv)
{
	struct daemon d = {0};
	sigset_t signals;
	char error[512];
	int rc;

	if (!conf_args_parse(&d.args, argc, argv, error, sizeof(error))) {
		complain(EX_USAGE, error);
		return complain(EX_USAGE, "--help shows the options");
	}
	if (d.args.help || d.args.man || d.args.version) {
		if (d.args.help)
			conf_args_help(stdout);
		else if (d.args.man)
			conf_args_man(stdout);
		else
			puts("mailshelfd " SHELF_VERSION);
		conf_args_free(&d.args);
		return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
	}
	set_limits();
	block_signals(&signals);
	rc = start(&d);
	if (rc == 0)
		serve(&d, &signals);
	stop(&d);
	if (rc == 0)
		shelf_log(SHELF_LOG_INFO, "stopped", NULL);
	return rc;
}
