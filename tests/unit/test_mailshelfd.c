/*
 * test_mailshelfd.c - the daemon as a process: exit codes, ready, reload, stop
 *
 * Runs the mailshelfd that lies beside this program. Its log goes to a file that is read again until
 * what is waited for stands there.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <openssl/x509.h>

#include <mailshelf/mem.h>
#include <mailshelf/store.h>

#include "net_rig.h"
#include "support.h"

enum { ARGS_MAX = 16, WAIT_MS = 20000 };

static char dir[256], cert[64], key[64], other_cert[64], other_key[64], program[4096];
static pid_t daemon_pid;
static int daemon_out;

static void
path_in_dir(char *path, size_t len, const char *name)
{
	ck_assert_int_lt(snprintf(path, len, "%s/%s", dir, name), (int)len);
}

static void
set_up(void)
{
	struct shelf_store_params params = {.partitions = 1, .map_bytes = 64 << 20};
	char path[512];
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 32);

	ck_assert_int_gt(n, 0);
	program[n] = '\0';
	strcpy(strrchr(program, '/') + 1, "mailshelfd");
	support_tmpdir(dir, sizeof(dir));
	path_in_dir(path, sizeof(path), "store");
	ck_assert_int_eq(shelf_store_create(path, &params), 0);
	rig_certificate("one", cert, key);
	rig_certificate("two", other_cert, other_key);
	daemon_pid = 0;
}

static void
tear_down(void)
{
	if (daemon_pid != 0)
		kill(daemon_pid, SIGKILL);
	unlink(cert);
	unlink(key);
	unlink(other_cert);
	unlink(other_key);
	support_rmtree(dir);
}

/* STORE, CERT, KEY, OTHERKEY, DIR/... in an argument stand for what set_up made. */
static char *
filled_in(const char *arg)
{
	char text[600];

	if (strcmp(arg, "STORE") == 0)
		snprintf(text, sizeof(text), "%s/store", dir);
	else if (strcmp(arg, "CERT") == 0)
		return shelf_strdup(cert);
	else if (strcmp(arg, "KEY") == 0)
		return shelf_strdup(key);
	else if (strcmp(arg, "OTHERKEY") == 0)
		return shelf_strdup(other_key);
	else if (strncmp(arg, "DIR/", 4) == 0)
		snprintf(text, sizeof(text), "%s/%s", dir, arg + 4);
	else if (strncmp(arg, "unix:DIR/", 9) == 0)
		snprintf(text, sizeof(text), "unix:%s/%s", dir, arg + 9);
	else
		return shelf_strdup(arg);
	return shelf_strdup(text);
}

static void
start(const char *const *args)
{
	char *argv[ARGS_MAX + 2] = {program}, log[512];
	int out[2], n = 1, fd;

	for (int i = 0; i < ARGS_MAX && args[i] != NULL; i++)
		argv[n++] = filled_in(args[i]);
	path_in_dir(log, sizeof(log), "log");
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	fflush(NULL);
	daemon_pid = fork();
	if (daemon_pid == 0) {
		fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		dup2(fd, STDERR_FILENO);
		dup2(out[1], STDOUT_FILENO);
		execv(program, argv);
		_exit(127);
	}
	ck_assert_int_gt(daemon_pid, 0);
	close(out[1]);
	daemon_out = out[0];
	while (n > 1)
		free(argv[--n]);
}

/* The log so far; static memory. */
static const char *
read_log(void)
{
	static char text[65536];
	char log[512];
	ssize_t n;
	int fd;

	path_in_dir(log, sizeof(log), "log");
	fd = open(log, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	text[n < 0 ? 0 : n] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

static void
wait_log(const char *wanted)
{
	for (int ms = 0; ms < WAIT_MS && strstr(read_log(), wanted) == NULL; ms += 10)
		usleep(10000);
	ck_assert_msg(strstr(read_log(), wanted) != NULL, "no \"%s\" in:\n%s", wanted, read_log());
}

static int
wait_exit(void)
{
	int status = 0;

	for (int ms = 0; ms < WAIT_MS; ms += 10) {
		if (waitpid(daemon_pid, &status, WNOHANG) == daemon_pid) {
			daemon_pid = 0;
			ck_assert_msg(WIFEXITED(status), "signal %d:\n%s", WTERMSIG(status), read_log());
			return WEXITSTATUS(status);
		}
		usleep(10000);
	}
	ck_abort_msg("does not end:\n%s", read_log());
	return -1;
}

static void
wait_ready(void)
{
	char line[16] = "";
	ssize_t n = read(daemon_out, line, sizeof(line) - 1);

	ck_assert_msg(n == 6 && strcmp(line, "ready\n") == 0, "not ready:\n%s", read_log());
}

static int
port_of(const char *service)
{
	char wanted[64];
	const char *line, *port;

	snprintf(wanted, sizeof(wanted), "listening service=%s ", service);
	line = strstr(read_log(), wanted);
	port = line == NULL ? NULL : strstr(line, " port=");
	ck_assert_ptr_nonnull(port);
	return (int)strtol(port + 6, NULL, 10);
}

/* ---- Exit codes ------------------------------------------------------------------------------- */

static const struct {
	const char *args[ARGS_MAX];
	int code;
	const char *text; /* on stderr; "" for nothing special */
} refusals[] = {
	{{"--help"}, EX_OK, ""},
	{{"--version"}, EX_OK, ""},
	{{NULL}, EX_USAGE, "no store"},
	{{"-s", "STORE"}, EX_USAGE, "nothing to listen on"},
	{{"-s", "STORE", "--imapp", "x"}, EX_USAGE, "--imapp: unknown option"},
	{{"-s", "STORE", "--imap"}, EX_USAGE, "a value is missing"},
	{{"-s", "STORE", "--imap", "127.0.0.1:0", "--workers", "0"}, EX_USAGE, "1..1024 threads"},
	{{"-c", "DIR/missing.conf"}, EX_CONFIG, "missing.conf: No such file"},
	{{"-s", "DIR/nowhere", "--imap", "127.0.0.1:0"}, EX_NOINPUT, "no store there"},
	{{"-s", "STORE", "--imap", "127.0.0.1"}, EX_CONFIG, "imap: 127.0.0.1: ADDR:PORT expected"},
	{{"-s", "STORE", "--pop3", "192.0.2.7:0"}, EX_UNAVAILABLE, "pop3: 192.0.2.7:0: cannot bind"},
	{{"-s", "STORE", "--lmtp", "unix:/nonexistent/s"}, EX_UNAVAILABLE, "lmtp: unix:/nonexistent/s"},
	{{"-s", "STORE", "--imaps", "127.0.0.1:0"}, EX_CONFIG, "imaps needs tls_cert and tls_key"},
	{{"-s", "STORE", "--pop3s", "127.0.0.1:0"}, EX_CONFIG, "pop3s needs tls_cert and tls_key"},
	{{"-s", "STORE", "--imap", "127.0.0.1:0", "--tls-cert", "CERT"}, EX_CONFIG, "set together"},
	{{"-s", "STORE", "--imaps", "127.0.0.1:0", "--tls-cert", "CERT", "--tls-key", "OTHERKEY"},
	    EX_CONFIG, "does not belong to the certificate"},
	{{"-s", "STORE", "--lmtp", "127.0.0.1:0", "--delivery-networks", "10.0.0.1/8"}, EX_CONFIG,
	    "delivery_networks: 10.0.0.1/8: the address has bits"},
	{{"-s", "STORE", "--lmtp", "unix:DIR/s", "--unix-mode", "0999"}, EX_CONFIG, "unix_mode: 0999: an octal number"},
	{{"-s", "STORE", "--lmtp", "unix:DIR/s", "--unix-group", "no such"}, EX_CONFIG,
	    "unix_group: no such: no such group"},
	{{"-s", "STORE", "--imap", "127.0.0.1:0", "--pid-file", "DIR/no/pid"}, EX_CANTCREAT, "no/pid"},
};

START_TEST(refuses_to_start)
{
	start(refusals[_i].args);
	ck_assert_int_eq(wait_exit(), refusals[_i].code);
	ck_assert_msg(strstr(read_log(), refusals[_i].text) != NULL, "%s", read_log());
}
END_TEST

START_TEST(port_in_use)
{
	static const char *const first[] = {"-s", "STORE", "--imap", "127.0.0.1:0", NULL};
	char addr[64];
	const char *const second[] = {"-s", "STORE", "--imap", addr, NULL};
	pid_t pid;

	start(first);
	wait_ready();
	snprintf(addr, sizeof(addr), "127.0.0.1:%d", port_of("imap"));
	pid = daemon_pid;
	start(second);
	ck_assert_int_eq(wait_exit(), EX_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(read_log(), "Address already in use"));
	daemon_pid = pid;
	kill(pid, SIGTERM);
	ck_assert_int_eq(wait_exit(), EX_OK);
}
END_TEST

/* ---- A life ----------------------------------------------------------------------------------- */

static bool
exists(const char *name)
{
	char path[512];
	struct stat st;

	path_in_dir(path, sizeof(path), name);
	return lstat(path, &st) == 0;
}

START_TEST(starts_serves_stops)
{
	static const char *const args[] = {"-s", "STORE", "--imap", "127.0.0.1:0", "--pop3",
	    "127.0.0.1:0", "--lmtp", "unix:DIR/lmtp", "--pid-file", "DIR/pid", NULL};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct client imap, pop3, lmtp = {0};
	struct shelf_buf pid = {0};
	struct shelf_store *store;
	char path[512];

	start(args);
	wait_ready();
	path_in_dir(path, sizeof(path), "pid");
	support_read_file(path, &pid);
	ck_assert_int_eq(atoi(shelf_buf_cstr(&pid)), daemon_pid);
	shelf_buf_free(&pid);
	imap = client_connect(port_of("imap"));
	ck_assert_int_eq(strncmp(client_line(&imap), "* OK ", 5), 0);
	pop3 = client_connect(port_of("pop3"));
	ck_assert_int_eq(strncmp(client_line(&pop3), "+OK ", 4), 0);
	ck_assert_int_lt(snprintf(un.sun_path, sizeof(un.sun_path), "%s/lmtp", dir),
	    (int)sizeof(un.sun_path));
	lmtp.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(lmtp.fd, (struct sockaddr *)&un, sizeof(un)), 0);
	ck_assert_int_eq(strncmp(client_line(&lmtp), "220 ", 4), 0);
	kill(daemon_pid, SIGTERM);
	ck_assert_int_eq(wait_exit(), EX_OK);
	/* Said goodbye or not, but ended in order, not by a reset. */
	ck_assert_int_ge(client_rest(&imap), 0);
	ck_assert_int_ge(client_rest(&pop3), 0);
	ck_assert_int_ge(client_rest(&lmtp), 0);
	ck_assert(!exists("pid"));
	ck_assert(!exists("lmtp"));
	wait_log(" info start ");
	wait_log(" info stop signal=SIGTERM");
	wait_log(" info stopped");
	client_close(&imap);
	client_close(&pop3);
	client_close(&lmtp);
	path_in_dir(path, sizeof(path), "store");
	ck_assert_int_eq(shelf_store_open(path, 0, &store), 0);
	shelf_store_close(&store);
}
END_TEST

static void
copy_file(const char *from, const char *name)
{
	struct shelf_buf text = {0};
	char path[512];
	FILE *out;

	support_read_file(from, &text);
	path_in_dir(path, sizeof(path), name);
	out = fopen(path, "w");
	ck_assert_uint_eq(fwrite(text.data, 1, text.len, out), text.len);
	ck_assert_int_eq(fclose(out), 0);
	shelf_buf_free(&text);
}

static void
write_settings(const char *text)
{
	char path[512];
	FILE *out;

	path_in_dir(path, sizeof(path), "conf");
	out = fopen(path, "w");
	fprintf(out, "store = %s/store\ntls_cert = %s/cert\ntls_key = %s/key\n%s", dir, dir, dir, text);
	ck_assert_int_eq(fclose(out), 0);
}

static const char *
name_of_certificate(int port)
{
	static char name[64];
	struct client c = client_connect(port);
	X509 *x509;

	ck_assert(client_tls(&c));
	x509 = SSL_get1_peer_certificate(c.ssl);
	X509_NAME_get_text_by_NID(X509_get_subject_name(x509), NID_commonName, name, sizeof(name));
	X509_free(x509);
	client_close(&c);
	return name;
}

START_TEST(delivery_is_for_some)
{
	static const char *const args[] = {"-c", "DIR/conf", "--lmtp", "127.0.0.1:0", "--mta", "127.0.0.1:0", NULL};
	struct client c;

	copy_file(cert, "cert");
	copy_file(key, "key");
	write_settings("delivery_networks = 192.0.2.0/24 ::1\n");
	start(args);
	wait_ready();
	c = client_connect(port_of("lmtp"));
	ck_assert_int_eq(strncmp(client_line(&c), "554 5.7.1 Access denied", 23), 0);
	ck_assert_int_eq(client_rest(&c), 0);
	client_close(&c);
	c = client_connect(port_of("mta"));
	ck_assert_int_eq(client_rest(&c), 0);
	client_close(&c);
	write_settings("delivery_networks = 192.0.2.0/24 everybody\n");
	kill(daemon_pid, SIGHUP);
	wait_log("delivery_networks: everybody: not an address");
	write_settings("delivery_networks = 192.0.2.0/24, 127.0.0.1\n");
	kill(daemon_pid, SIGHUP);
	wait_log("reload result=ok");
	c = client_connect(port_of("lmtp"));
	ck_assert_int_eq(strncmp(client_line(&c), "220 ", 4), 0);
	client_close(&c);
	kill(daemon_pid, SIGTERM);
	ck_assert_int_eq(wait_exit(), EX_OK);
}
END_TEST

START_TEST(reloads)
{
	static const char *const args[] = {"-c", "DIR/conf", "--imaps", "127.0.0.1:0", NULL};
	struct client silent;
	int port;

	write_settings("log_level = info\n");
	copy_file(cert, "cert");
	copy_file(key, "key");
	start(args);
	wait_ready();
	port = port_of("imaps");
	ck_assert_str_eq(name_of_certificate(port), "one");
	copy_file(other_cert, "cert"); /* the key of the old one: refused, nothing changes */
	kill(daemon_pid, SIGHUP);
	wait_log("reload result=\"nothing changed\"");
	ck_assert_str_eq(name_of_certificate(port), "one");
	copy_file(other_key, "key");
	write_settings("workers = 3\nlogin_timeout_s = 1\n");
	kill(daemon_pid, SIGHUP);
	wait_log("setting needs a restart name=workers");
	wait_log("reload result=ok");
	ck_assert_str_eq(name_of_certificate(port), "two");
	/* A limit holds for the next connection. */
	silent = client_connect(port);
	ck_assert(client_tls(&silent));
	ck_assert_int_eq(strncmp(client_line(&silent), "* OK", 4), 0);
	ck_assert_int_eq(strncmp(client_line(&silent), "* BYE", 5), 0);
	client_close(&silent);
	write_settings("workers = many\n");
	kill(daemon_pid, SIGHUP);
	wait_log("conf:4: workers: must be 1..1024 threads");
	ck_assert_str_eq(name_of_certificate(port), "two");
	kill(daemon_pid, SIGINT);
	ck_assert_int_eq(wait_exit(), EX_OK);
}
END_TEST

Suite *suite_mailshelfd(void);

Suite *
suite_mailshelfd(void)
{
	Suite *suite = suite_create("mailshelfd");
	TCase *tc = tcase_create("mailshelfd");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_loop_test(tc, refuses_to_start, 0, (int)(sizeof(refusals) / sizeof(refusals[0])));
	tcase_add_test(tc, port_in_use);
	tcase_add_test(tc, starts_serves_stops);
	tcase_add_test(tc, delivery_is_for_some);
	tcase_add_test(tc, reloads);
	suite_add_tcase(suite, tc);
	return suite;
}
