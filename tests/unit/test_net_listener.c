/*
 * test_net_listener.c - addresses, limits, refusals, running out of descriptors
 */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net_addr.h"
#include "net_rig.h"

static struct rig rig;

START_TEST(many_connections_on_many_loops)
{
	enum { N = 400 };
	struct client c[N];
	unsigned on_loop[4];

	rig_start(&rig, 4, false, false);
	rig_listen(&rig, "127.0.0.1:0", N, 0);
	for (int i = 0; i < N; i++)
		c[i] = client_connect(net_listener_port(rig.listener));
	for (int i = 0; i < N; i++) {
		c[i] = client_greeted(c[i]);
		client_send(&c[i], i % 3 == 0 ? "work 5\r\n" : "echo worked\r\n");
	}
	for (int i = 0; i < N; i++)
		ck_assert_str_eq(client_line(&c[i]), "worked");
	for (int i = 0; i < 4; i++) {
		on_loop[i] = net_loop_conns(rig.loops[i]);
		ck_assert_uint_eq(on_loop[i], N / 4);
	}
	for (int i = 0; i < N; i++)
		client_close(&c[i]);
	rig_wait(&rig.closed, N);
	rig_stop(&rig);
}
END_TEST

START_TEST(full_listener_says_so)
{
	struct client c[3];

	rig_start(&rig, 1, false, false);
	rig_listen(&rig, "127.0.0.1:0", 2, 1); /* one for each address, but loopback is exempt */
	for (int i = 0; i < 3; i++)
		c[i] = client_connect(net_listener_port(rig.listener));
	c[0] = client_greeted(c[0]);
	c[1] = client_greeted(c[1]);
	ck_assert_str_eq(client_line(&c[2]), "busy");
	ck_assert_int_eq(client_rest(&c[2]), 0);
	client_close(&c[2]);
	client_close(&c[0]);
	rig_wait(&rig.closed, 1);
	/* The place is free again, at the latest when the descriptor has been closed. */
	for (int i = 0; i < 100 && net_loop_conns(rig.loops[0]) > 1; i++)
		usleep(10000);
	c[0] = client_greeted(client_connect(net_listener_port(rig.listener)));
	client_close(&c[0]);
	client_close(&c[1]);
	rig_stop(&rig);
}
END_TEST

/* Another address than loopback is needed to be counted: one of the machine's own. */
static bool
own_address(struct sockaddr_in *in)
{
	struct sockaddr_in far = {.sin_family = AF_INET, .sin_port = htons(53)};
	socklen_t len = sizeof(*in);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	bool ok;

	far.sin_addr.s_addr = htonl(0xc0000201); /* 192.0.2.1, nothing is sent */
	ok = connect(fd, (struct sockaddr *)&far, sizeof(far)) == 0 &&
	    getsockname(fd, (struct sockaddr *)in, &len) == 0 &&
	    ntohl(in->sin_addr.s_addr) >> 24 != 127 && in->sin_addr.s_addr != 0;
	close(fd);
	return ok;
}

START_TEST(one_address_has_its_limit)
{
	struct sockaddr_in in = {0};
	struct client c[3];
	char line[16];

	if (!own_address(&in))
		return; /* a machine without network */
	rig_start(&rig, 1, false, false);
	rig_listen(&rig, "*:0", 100, 2);
	in.sin_port = htons((uint16_t)net_listener_port(rig.listener));
	for (int i = 0; i < 3; i++) {
		c[i].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		c[i].ssl = NULL;
		c[i].ctx = NULL;
		ck_assert_int_eq(connect(c[i].fd, (struct sockaddr *)&in, sizeof(in)), 0);
	}
	c[0] = client_greeted(c[0]);
	c[1] = client_greeted(c[1]);
	ck_assert_str_eq(client_line(&c[2]), "busy");
	for (int i = 0; i < 3; i++)
		client_close(&c[i]);
	snprintf(line, sizeof(line), "%d", rig.opened);
	ck_assert_str_eq(line, "2");
	rig_stop(&rig);
}
END_TEST

START_TEST(unix_socket)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	char addr[128], error[256];
	struct net_listener_params params = {.conns_max = 10};
	struct net_listener *second;
	struct client c = {0};
	struct stat st;
	int fd;

	snprintf(un.sun_path, sizeof(un.sun_path), "/tmp/mailshelf-net-%d.sock", (int)getpid());
	snprintf(addr, sizeof(addr), "unix:%s", un.sun_path);
	/* A leftover of somebody who was killed. */
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	close(fd);
	rig_start(&rig, 1, false, false);
	rig_listen(&rig, addr, 10, 1);
	ck_assert_int_eq(stat(un.sun_path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0660);
	params.conn = rig.params;
	second = net_listener_new(rig.loops, 1, addr, &params, error, sizeof(error));
	ck_assert_ptr_null(second); /* in use: not stolen */
	ck_assert_int_eq(errno, EADDRINUSE);
	c.fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(c.fd, (struct sockaddr *)&un, sizeof(un)), 0);
	c = client_greeted(c);
	client_close(&c);
	rig_stop(&rig);
	ck_assert_int_ne(stat(un.sun_path, &st), 0);
}
END_TEST

START_TEST(unix_socket_has_the_mode_it_is_told)
{
	struct net_listener_params params = {.conns_max = 10, .unix_mode = 0606, .unix_group = getgid()};
	char addr[128], error[256];
	struct stat st;

	snprintf(addr, sizeof(addr), "unix:/tmp/mailshelf-net-%d.sock", (int)getpid());
	rig_start(&rig, 1, false, false);
	params.conn = rig.params;
	rig.listener = net_listener_new(rig.loops, 1, addr, &params, error, sizeof(error));
	ck_assert_ptr_nonnull(rig.listener);
	ck_assert_int_eq(stat(addr + 5, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0606);
	rig_stop(&rig);
}
END_TEST

/* "" or the only address of a list, and a peer. */
static const struct {
	const char *networks, *peer;
	bool has;
} memberships[] = {
	{"", "127.0.0.1", false},
	{"127.0.0.0/8 ::1", "127.9.9.9", true},
	{"127.0.0.0/8,::1", "::1", true},
	{"127.0.0.0/8 ::1", "::2", false},
	{"127.0.0.0/8 ::1", "128.0.0.1", false},
	{"192.0.2.7", "192.0.2.7", true},
	{"192.0.2.7", "192.0.2.6", false},
	{"192.0.2.7/32", "::ffff:192.0.2.7", true},
	{"192.0.2.128/25", "192.0.2.127", false},
	{"192.0.2.128/25", "192.0.2.255", true},
	{"10.0.0.0/9", "10.127.255.255", true},
	{"10.0.0.0/9", "10.128.0.0", false},
	{"0.0.0.0/0", "203.0.113.9", true},
	{"0.0.0.0/0", "2001:db8::1", false},
	{"::/0", "203.0.113.9", true},
	{"::/0", "2001:db8::1", true},
	{"2001:db8::/33", "2001:db8:7fff::1", true},
	{"2001:db8::/33", "2001:db8:8000::1", false},
	{"192.0.2.0/24 2001:db8::1", "2001:db8::1", true},
};

START_TEST(networks_have_their_addresses)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr *addr = (struct sockaddr *)&in6;
	struct net_networks *nets;
	char error[256];

	nets = net_networks_new(memberships[_i].networks, error, sizeof(error));
	ck_assert_ptr_nonnull(nets);
	if (inet_pton(AF_INET, memberships[_i].peer, &in.sin_addr) == 1)
		addr = (struct sockaddr *)&in;
	else
		ck_assert_int_eq(inet_pton(AF_INET6, memberships[_i].peer, &in6.sin6_addr), 1);
	ck_assert_int_eq(net_networks_has(nets, addr), memberships[_i].has);
	net_networks_free(&nets);
}
END_TEST

START_TEST(what_is_no_network)
{
	static const char *const bad[] = {"x", "127.0.0.1/33", "127.0.0.1/", "127.0.0.0/-1", "::1/129",
		"10.0.0.1/8", "::1 y", "2001:db8::1/64", "127.0.0.0/8/8", "1.2.3", "[::1]",
		"1234:1234:1234:1234:1234:1234:1234:1234:1234:1234"};
	char error[256];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(net_networks_new(bad[i], error, sizeof(error)) == NULL, "%s", bad[i]);
}
END_TEST

static const struct {
	const char *addr;
	int error; /* 0: listens */
} addresses[] = {
	{"127.0.0.1:0", 0},
	{"*:0", 0},
	{"localhost:0", 0},
	{"127.0.0.1", EINVAL},
	{"127.0.0.1:", EINVAL},
	{"127.0.0.1:65536", EINVAL},
	{"127.0.0.1:imap", EINVAL},
	{":143", EINVAL},
	{"::1:143", EINVAL},
	{"[::1:143", EINVAL},
	{"", EINVAL},
	{"unix:", EINVAL},
	{"256.1.1.1:0", EINVAL},
	{"192.0.2.7:0", EADDRNOTAVAIL},
	{"unix:/nonexistent/dir/socket", ENOENT},
};

START_TEST(addresses_are_understood)
{
	struct net_loop *loop = net_loop_new();
	struct net_listener_params params = {.conns_max = 1, .conn = {.protocol = &rig_protocol}};
	char error[256] = "";
	struct net_listener *listener =
	    net_listener_new(&loop, 1, addresses[_i].addr, &params, error, sizeof(error));

	if (addresses[_i].error == 0) {
		ck_assert_msg(listener != NULL, "%s", error);
		ck_assert_int_gt(net_listener_port(listener), 0);
	} else {
		ck_assert_int_eq(errno, addresses[_i].error);
		ck_assert_ptr_null(listener);
		ck_assert_msg(strncmp(error, addresses[_i].addr, strlen(addresses[_i].addr)) == 0, "%s",
		    error);
	}
	net_listener_free(&listener);
	net_loop_free(&loop);
}
END_TEST

START_TEST(port_in_use)
{
	struct net_loop *loop = net_loop_new();
	struct net_listener_params params = {.conns_max = 1, .conn = {.protocol = &rig_protocol}};
	char error[256], addr[64];
	struct net_listener *first, *second;

	first = net_listener_new(&loop, 1, "127.0.0.1:0", &params, error, sizeof(error));
	ck_assert_ptr_nonnull(first);
	snprintf(addr, sizeof(addr), "127.0.0.1:%d", net_listener_port(first));
	second = net_listener_new(&loop, 1, addr, &params, error, sizeof(error));
	ck_assert_int_eq(errno, EADDRINUSE);
	ck_assert_ptr_null(second);
	ck_assert_ptr_nonnull(strstr(error, addr));
	net_listener_free(&first);
	net_loop_free(&loop);
}
END_TEST

/* Out of descriptors the loop sleeps between attempts, and goes on when there are some again. */
START_TEST(accept_does_not_spin_without_descriptors)
{
	struct rlimit limit, low;
	struct rusage before, after;
	struct client c;
	int port;
	long ms;

	rig_start(&rig, 1, false, false);
	rig_listen(&rig, "127.0.0.1:0", 10, 0);
	port = net_listener_port(rig.listener);
	c = client_greeted(client_connect(port));
	client_close(&c);
	rig_wait(&rig.closed, 1);
	c.fd = socket(AF_INET, SOCK_STREAM, 0); /* ours, before there are none */
	getrlimit(RLIMIT_NOFILE, &limit);
	low = limit;
	low.rlim_cur = (rlim_t)c.fd; /* at most what is open: accept4 has nothing left */
	setrlimit(RLIMIT_NOFILE, &low);
	{
		struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		ck_assert_int_eq(connect(c.fd, (struct sockaddr *)&in, sizeof(in)), 0);
	}
	getrusage(RUSAGE_SELF, &before);
	usleep(500000);
	getrusage(RUSAGE_SELF, &after);
	ms = (after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec -
	    before.ru_stime.tv_sec) * 1000 + (after.ru_utime.tv_usec - before.ru_utime.tv_usec +
	    after.ru_stime.tv_usec - before.ru_stime.tv_usec) / 1000;
	ck_assert_int_lt(ms, 200);
	ck_assert_int_eq(rig.opened, 1);
	setrlimit(RLIMIT_NOFILE, &limit);
	c = client_greeted(c);
	client_close(&c);
	rig_stop(&rig);
}
END_TEST

Suite *suite_net_listener(void);

Suite *
suite_net_listener(void)
{
	Suite *suite = suite_create("net_listener");
	TCase *tc = tcase_create("net_listener");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, many_connections_on_many_loops);
	tcase_add_test(tc, full_listener_says_so);
	tcase_add_test(tc, one_address_has_its_limit);
	tcase_add_test(tc, unix_socket);
	tcase_add_test(tc, unix_socket_has_the_mode_it_is_told);
	tcase_add_loop_test(tc, networks_have_their_addresses, 0,
	    (int)(sizeof(memberships) / sizeof(memberships[0])));
	tcase_add_test(tc, what_is_no_network);
	tcase_add_test(tc, port_in_use);
	tcase_add_test(tc, accept_does_not_spin_without_descriptors);
	tcase_add_loop_test(tc, addresses_are_understood, 0,
	    (int)(sizeof(addresses) / sizeof(addresses[0])));
	suite_add_tcase(suite, tc);
	return suite;
}
