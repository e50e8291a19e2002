/*
 * test_auth.c - logging in against a real store; the price of failing; sessions of an account
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "auth.h"
#include "auth_counts.h"
#include "conf.h"
#include "net_rig.h"
#include "support.h"

/* ---- Counting ----------------------------------------------------------------------------------- */

static struct net_peer
peer_number(unsigned n)
{
	struct net_peer peer = {{0}};

	memcpy(peer.ip + 12, &n, 4);
	peer.ip[10] = peer.ip[11] = 0xff;
	return peer;
}

START_TEST(delays_double)
{
	ck_assert_uint_eq(auth_counts_delay_ms(1, 1000), 1000);
	ck_assert_uint_eq(auth_counts_delay_ms(2, 1000), 2000);
	ck_assert_uint_eq(auth_counts_delay_ms(4, 1000), 8000);
	ck_assert_uint_eq(auth_counts_delay_ms(5, 1000), 8000);
	ck_assert_uint_eq(auth_counts_delay_ms(1000000, 1), 8000);
	ck_assert_uint_eq(auth_counts_delay_ms(3, 0), 0);
	ck_assert_uint_eq(auth_counts_delay_ms(7, 60000), 60000);
}
END_TEST

START_TEST(failures_are_counted_by_address)
{
	struct auth_counts *counts = auth_counts_new();
	struct net_peer a = peer_number(1), b = peer_number(2);

	ck_assert_uint_eq(auth_counts_fail(counts, &a, 1000), 1);
	ck_assert_uint_eq(auth_counts_fail(counts, &a, 2000), 2);
	ck_assert_uint_eq(auth_counts_fail(counts, &b, 2000), 1);
	ck_assert_uint_eq(auth_counts_fail(counts, &a, 3000), 3);
	/* Ten minutes of peace, and it begins again. */
	ck_assert_uint_eq(auth_counts_fail(counts, &a, 3000 + 10 * 60 * 1000), 4);
	ck_assert_uint_eq(auth_counts_fail(counts, &a, 3001 + 20 * 60 * 1000), 1);
	auth_counts_free(&counts);
}
END_TEST

/* However many addresses fail, the newest is remembered and the memory stays what it is. */
START_TEST(many_addresses_do_not_grow_it)
{
	struct auth_counts *counts = auth_counts_new();

	for (unsigned i = 1; i <= 200000; i++) {
		struct net_peer peer = peer_number(i);

		ck_assert_uint_eq(auth_counts_fail(counts, &peer, i), 1);
		ck_assert_uint_eq(auth_counts_fail(counts, &peer, i), 2);
	}
	auth_counts_free(&counts);
}
END_TEST

START_TEST(sessions_are_counted_by_account_and_service)
{
	struct auth_counts *counts = auth_counts_new();

	for (uint32_t account = 1; account <= 1000; account++) {
		ck_assert(auth_counts_enter(counts, account, SHELF_SERVICE_IMAP, 2));
		ck_assert(auth_counts_enter(counts, account, SHELF_SERVICE_IMAP, 2));
		ck_assert(!auth_counts_enter(counts, account, SHELF_SERVICE_IMAP, 2));
		ck_assert(auth_counts_enter(counts, account, SHELF_SERVICE_POP3, 2));
	}
	for (uint32_t account = 1; account <= 1000; account++) {
		auth_counts_leave(counts, account, SHELF_SERVICE_IMAP);
		ck_assert(auth_counts_enter(counts, account, SHELF_SERVICE_IMAP, 2));
		ck_assert(!auth_counts_enter(counts, account, SHELF_SERVICE_IMAP, 2));
		auth_counts_leave(counts, account, SHELF_SERVICE_IMAP);
		auth_counts_leave(counts, account, SHELF_SERVICE_IMAP);
		auth_counts_leave(counts, account, SHELF_SERVICE_POP3);
	}
	for (int i = 0; i < 100; i++)
		ck_assert(auth_counts_enter(counts, 7, SHELF_SERVICE_POP3, 0)); /* no limit */
	auth_counts_free(&counts);
}
END_TEST

/* ---- Logging in: a protocol of lines "NAME PASSWORD" ------------------------------------------ */

static char dir[256];
static struct shelf_store *store;
static struct conf *conf;
static struct auth *auth;
static struct rig rig;

struct session {
	struct net_conn *conn;
	uint32_t account;
};

static void
login_done(void *arg, int rc, const struct shelf_account *account)
{
	struct session *s = arg;

	ck_assert(!net_conn_closing(s->conn));
	ck_assert((rc == 0) == (account != NULL));
	if (rc == 0) {
		s->account = account->id;
		net_conn_printf(s->conn, "welcome %s\r\n", account->name);
	} else {
		net_conn_printf(s->conn, "%s\r\n", shelf_err_name(rc));
	}
}

static void
login_input(void *arg)
{
	struct session *s = arg;
	struct shelf_span in = net_conn_in(s->conn), name, password;
	ptrdiff_t end = shelf_span_find(in, '\n', 0), blank = shelf_span_find(in, ' ', 0);

	if (end < 0 || net_conn_working(s->conn))
		return;
	ck_assert(blank >= 0 && blank < end);
	name = shelf_span(in.data, (size_t)blank);
	password = shelf_span(in.data + blank + 1, (size_t)(end - blank - 1));
	/* Copied: the bytes may go as soon as this returns. */
	auth_login(auth, s->conn, SHELF_SERVICE_IMAP, name, password, login_done);
	net_conn_consume(s->conn, (size_t)end + 1);
}

static void *
login_open(struct net_conn *conn, void *server)
{
	struct session *s = SHELF_NEW(struct session);

	s->conn = conn;
	ck_assert(auth_cleartext_ok(auth, conn)); /* a socketpair is this machine */
	rig.opened++;
	return s;
}

static void
login_close(void *arg, const char *reason)
{
	struct session *s = arg;

	if (s->account != 0)
		auth_logout(auth, s->account, SHELF_SERVICE_IMAP);
	free(s);
	rig.closed++;
}

static const struct net_protocol login_protocol = {
	.name = "login",
	.open = login_open,
	.input = login_input,
	.close = login_close,
};

static void
set(const char *name, const char *value)
{
	char error[256];

	ck_assert_msg(conf_set(conf, name, value, error, sizeof(error)), "%s", error);
}

static void
set_up(void)
{
	struct shelf_account_new accounts[] = {
		{.name = shelf_span_str("joe"), .password = shelf_span_str("secret")},
		{.name = shelf_span_str("off"), .password = shelf_span_str("secret")},
		{.name = shelf_span_str("mute")},
	};
	/* Small: ThreadSanitizer leaves little address space. */
	struct shelf_store_params params = {.partitions = 1, .map_bytes = 64 << 20};
	uint32_t ids[3];

	support_tmpdir(dir, sizeof(dir));
	ck_assert_int_eq(rmdir(dir), 0);
	ck_assert_int_eq(shelf_store_create(dir, &params), 0);
	ck_assert_int_eq(shelf_store_open(dir, 0, &store), 0);
	ck_assert_int_eq(shelf_account_add(store, accounts, 3, NULL, ids), 0);
	ck_assert_int_eq(shelf_account_set_services(store, ids[1], SHELF_SERVICE_ALL, true), 0);
	shelf_log_level(SHELF_LOG_ERROR);
	conf = conf_new();
	set("login_fail_delay_ms", "100");
	set("conns_per_account_max", "2");
	auth = auth_new(store, conf);
	rig_start(&rig, 1, false, false);
	rig.params.protocol = &login_protocol;
}

static void
tear_down(void)
{
	rig_stop(&rig);
	auth_free(&auth);
	conf_free(&conf);
	shelf_store_close(&store);
	support_rmtree(dir);
}

START_TEST(right_and_wrong)
{
	struct client c = client_pair(&rig);
	char line[1200];
	int64_t before, one, two;

	client_send(&c, "JOE secret\n");
	ck_assert_str_eq(client_line(&c), "welcome joe");
	client_close(&c);
	c = client_pair(&rig);
	before = shelf_mono_ms();
	client_send(&c, "joe wrong\n");
	ck_assert_str_eq(client_line(&c), "AUTH");
	one = shelf_mono_ms() - before;
	client_send(&c, "nobody secret\n");
	ck_assert_str_eq(client_line(&c), "AUTH");
	two = shelf_mono_ms() - before - one;
	ck_assert_int_ge(one, 100);
	ck_assert_int_ge(two, 200);
	client_send(&c, "mute \n");
	ck_assert_str_eq(client_line(&c), "AUTH");
	client_send(&c, "off secret\n");
	ck_assert_str_eq(client_line(&c), "DISABLED");
	memset(line, 'x', sizeof(line));
	memcpy(line + 1000, " secret\n", 9);
	set("login_fail_delay_ms", "0");
	client_send(&c, line); /* longer than any name */
	ck_assert_str_eq(client_line(&c), "AUTH");
	line[3] = ' '; /* a short name, a password longer than any */
	client_send(&c, line);
	ck_assert_str_eq(client_line(&c), "AUTH");
	client_send(&c, "joe secret\n"); /* whatever came before */
	ck_assert_str_eq(client_line(&c), "welcome joe");
	client_close(&c);
}
END_TEST

START_TEST(sessions_of_an_account)
{
	struct client c[3];

	for (int i = 0; i < 3; i++) {
		c[i] = client_pair(&rig);
		client_send(&c[i], "joe secret\n");
		ck_assert_str_eq(client_line(&c[i]), i < 2 ? "welcome joe" : "LIMIT");
	}
	client_close(&c[0]);
	rig_wait(&rig.closed, 1);
	client_send(&c[2], "joe secret\n");
	ck_assert_str_eq(client_line(&c[2]), "welcome joe");
	client_close(&c[1]);
	client_close(&c[2]);
}
END_TEST

/* Leaving during the check or the wait neither calls done nor counts a session. */
START_TEST(leaving_before_the_answer)
{
	struct client c;

	set("login_fail_delay_ms", "60000");
	for (int i = 0; i < 10; i++) {
		c = client_pair(&rig);
		client_send(&c, i % 2 == 0 ? "joe secret\n" : "joe wrong\n");
		if (i % 4 == 1)
			usleep(150000); /* into the wait */
		client_close(&c);
	}
	/* Those that wait do not notice that the peer is gone; the stop ends them at once. */
	rig_wait(&rig.closed, 5);
	c = client_pair(&rig);
	client_send(&c, "joe secret\n");
	ck_assert_str_eq(client_line(&c), "welcome joe");
	client_close(&c);
}
END_TEST

Suite *suite_auth(void);

Suite *
suite_auth(void)
{
	Suite *suite = suite_create("auth");
	TCase *counting = tcase_create("counting");
	TCase *login = tcase_create("login");

	tcase_add_test(counting, delays_double);
	tcase_add_test(counting, failures_are_counted_by_address);
	tcase_add_test(counting, many_addresses_do_not_grow_it);
	tcase_add_test(counting, sessions_are_counted_by_account_and_service);
	suite_add_tcase(suite, counting);
	tcase_add_checked_fixture(login, set_up, tear_down);
	tcase_set_timeout(login, 60);
	tcase_add_test(login, right_and_wrong);
	tcase_add_test(login, sessions_of_an_account);
	tcase_add_test(login, leaving_before_the_answer);
	suite_add_tcase(suite, login);
	return suite;
}
