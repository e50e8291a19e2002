/*
 * test_net_tls.c - TLS from the start, STARTTLS and what may come behind it, certificates
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <mailshelf/mem.h>

#include "net_rig.h"

static struct rig rig;

START_TEST(tls_from_the_start)
{
	struct client c;

	rig_start(&rig, 1, true, true);
	c = client_pair(&rig);
	ck_assert(client_tls(&c));
	c = client_greeted(c);
	client_send(&c, "tlsinfo\r\ntls\r\n");
	ck_assert_int_eq(strncmp(client_line(&c), "1 TLSv1.", 8), 0);
	ck_assert_str_eq(client_line(&c), "no");
	client_send(&c, "quit\r\n");
	ck_assert_str_eq(client_line(&c), "bye");
	ck_assert_int_eq(client_rest(&c), 0); /* a close_notify, not a broken stream */
	client_close(&c);
	rig_stop(&rig);
}
END_TEST

START_TEST(starttls)
{
	struct client c;

	rig_start(&rig, 1, true, false);
	c = client_greeted(client_pair(&rig));
	client_send(&c, "echo clear\r\n");
	ck_assert_str_eq(client_line(&c), "clear");
	client_send(&c, "tls\r\n");
	ck_assert_str_eq(client_line(&c), "go");
	ck_assert(client_tls(&c));
	client_send(&c, "tlsinfo\r\n");
	ck_assert_int_eq(strncmp(client_line(&c), "1 TLSv1.", 8), 0);
	ck_assert_int_eq(rig.tls_up, 1);
	client_send(&c, "work 20\r\nbig 300000\r\n");
	ck_assert_str_eq(client_line(&c), "worked");
	ck_assert(client_bytes(&c, 300000));
	client_close(&c);
	rig_stop(&rig);
}
END_TEST

START_TEST(starttls_with_input_behind_it_ends)
{
	struct client c;

	rig_start(&rig, 1, true, false);
	c = client_greeted(client_pair(&rig));
	client_send(&c, "tls\r\necho injected\r\n");
	ck_assert_str_eq(client_line(&c), "go");
	ck_assert_int_eq(client_rest(&c), 0);
	ck_assert_str_eq(rig_reason(&rig, 1), "input behind STARTTLS");
	ck_assert_int_eq(rig.tls_up, 0);
	client_close(&c);
	rig_stop(&rig);
}
END_TEST

START_TEST(starttls_with_clear_text_after_it_ends)
{
	struct client c;

	rig_start(&rig, 1, true, false);
	c = client_greeted(client_pair(&rig));
	client_send(&c, "tls\r\n");
	ck_assert_str_eq(client_line(&c), "go");
	client_send(&c, "echo injected\r\n");
	client_rest(&c);
	ck_assert_str_eq(rig_reason(&rig, 1), "TLS handshake failed");
	ck_assert_int_eq(rig.tls_up, 0);
	client_close(&c);
	rig_stop(&rig);
}
END_TEST

/* However the clear text behind the command is cut into packets. */
START_TEST(starttls_injection_in_two_packets)
{
	static const char text[] = "tls\r\necho injected\r\n";
	char first[sizeof(text)] = "";
	const char *line;
	struct client c;

	rig_start(&rig, 1, true, false);
	for (size_t cut = 1; cut < sizeof(text) - 1; cut++) {
		c = client_greeted(client_pair(&rig));
		memcpy(first, text, cut);
		first[cut] = '\0';
		client_send(&c, first);
		usleep((cut % 3) * 1000);
		send(c.fd, text + cut, sizeof(text) - 1 - cut, MSG_NOSIGNAL);
		ck_assert_str_eq(client_line(&c), "go");
		/* What else comes is an alert of TLS at most. */
		line = client_line(&c);
		ck_assert_ptr_null(strstr(line, "injected"));
		client_rest(&c);
		client_close(&c);
	}
	rig_wait(&rig.closed, (int)sizeof(text) - 2);
	ck_assert_int_eq(rig.tls_up, 0);
	rig_stop(&rig);
}
END_TEST

struct wire {
	int from, to;
};

/* Carries every byte by itself. */
static void *
carry(void *arg)
{
	const struct wire *wire = arg;
	char c;

	while (recv(wire->from, &c, 1, 0) == 1 && send(wire->to, &c, 1, MSG_NOSIGNAL) == 1)
		;
	shutdown(wire->to, SHUT_WR);
	return NULL;
}

START_TEST(tls_in_single_bytes)
{
	struct wire there, back;
	pthread_t threads[2];
	struct client server, c = {0};
	int fds[2];

	rig_start(&rig, 1, true, true);
	server = client_pair(&rig);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	there = (struct wire){fds[1], server.fd};
	back = (struct wire){server.fd, fds[1]};
	pthread_create(&threads[0], NULL, carry, &there);
	pthread_create(&threads[1], NULL, carry, &back);
	c.fd = fds[0];
	ck_assert(client_tls(&c));
	c = client_greeted(c);
	client_send(&c, "work 5\r\nbig 40000\r\nquit\r\n");
	ck_assert_str_eq(client_line(&c), "worked");
	ck_assert(client_bytes(&c, 40000));
	ck_assert_str_eq(client_line(&c), "bye");
	ck_assert_int_eq(client_rest(&c), 0);
	client_close(&c);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	client_close(&server);
	close(fds[1]);
	rig_stop(&rig);
}
END_TEST

START_TEST(silent_handshake_is_cut)
{
	struct client c;
	int64_t before = shelf_mono_ms();

	rig_start(&rig, 1, true, true);
	c = client_pair(&rig);
	ck_assert_int_eq(client_rest(&c), 0);
	ck_assert_int_lt(shelf_mono_ms() - before, 5000);
	ck_assert_int_eq(rig.opened, 0);
	client_close(&c);
	c = client_pair(&rig);
	client_send(&c, "this is not a hello of any TLS version\r\n");
	client_rest(&c);
	ck_assert_int_eq(rig.opened, 0);
	client_close(&c);
	rig_stop(&rig);
}
END_TEST

START_TEST(old_tls_is_refused)
{
	struct client c;

	rig_start(&rig, 1, true, true);
	c = client_pair(&rig);
	c.ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_security_level(c.ctx, 0);
	SSL_CTX_set_max_proto_version(c.ctx, TLS1_1_VERSION);
	c.ssl = SSL_new(c.ctx);
	SSL_set_cipher_list(c.ssl, "ALL:@SECLEVEL=0");
	SSL_set_fd(c.ssl, c.fd);
	ck_assert_int_ne(SSL_connect(c.ssl), 1);
	client_close(&c);
	rig_stop(&rig);
}
END_TEST

/* Reading it would have to ask for a password; a daemon must not. */
static void
encrypt_key(const char *file)
{
	FILE *out = fopen(file, "w");
	EVP_PKEY *key = EVP_EC_gen("P-256");

	ck_assert_ptr_nonnull(out);
	ck_assert_int_eq(PEM_write_PKCS8PrivateKey(out, key, EVP_aes_128_cbc(), "x", 1, NULL, NULL), 1);
	fclose(out);
	EVP_PKEY_free(key);
}

START_TEST(tls_files_that_do_not_do)
{
	char cert[64], key[64], other_cert[64], other_key[64], error[512] = "";
	struct net_tls *tls;

	rig_certificate("one", cert, key);
	rig_certificate("two", other_cert, other_key);
	ck_assert_ptr_null(net_tls_new("/nonexistent/cert", key, error, sizeof(error)));
	ck_assert_ptr_nonnull(strstr(error, "/nonexistent/cert"));
	ck_assert_ptr_null(net_tls_new(cert, "/nonexistent/key", error, sizeof(error)));
	ck_assert_ptr_nonnull(strstr(error, "/nonexistent/key"));
	ck_assert_ptr_null(net_tls_new(cert, other_key, error, sizeof(error)));
	ck_assert_ptr_nonnull(strstr(error, "does not belong to the certificate"));
	ck_assert_ptr_null(net_tls_new(key, key, error, sizeof(error)));
	encrypt_key(other_key);
	ck_assert_ptr_null(net_tls_new(other_cert, other_key, error, sizeof(error)));
	ck_assert_msg(strstr(error, "encrypted") != NULL, "%s", error);
	tls = net_tls_new(cert, key, error, sizeof(error));
	ck_assert_ptr_nonnull(tls);
	net_tls_unref(&tls);
	unlink(cert);
	unlink(key);
	unlink(other_cert);
	unlink(other_key);
}
END_TEST

static void
common_name(struct client *c, char *name, int len)
{
	X509 *cert = SSL_get1_peer_certificate(c->ssl);

	X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, len);
	X509_free(cert);
}

START_TEST(certificate_can_be_replaced)
{
	char cert[64], key[64], name[64] = "", error[256];
	struct net_listener_params params;
	struct client old, fresh;
	struct net_tls *tls;

	rig_start(&rig, 1, true, true);
	rig_listen(&rig, "127.0.0.1:0", 10, 0);
	old = client_connect(net_listener_port(rig.listener));
	ck_assert(client_tls(&old));
	old = client_greeted(old);
	rig_certificate("fresh", cert, key);
	tls = net_tls_new(cert, key, error, sizeof(error));
	params = (struct net_listener_params){.conn = rig.params, .conns_max = 10};
	params.conn.tls = tls;
	net_listener_set(rig.listener, &params);
	net_tls_unref(&tls);
	fresh = client_connect(net_listener_port(rig.listener));
	ck_assert(client_tls(&fresh));
	common_name(&fresh, name, sizeof(name));
	ck_assert_str_eq(name, "fresh");
	client_send(&old, "echo goes on\r\n");
	ck_assert_str_eq(client_line(&old), "goes on");
	client_close(&old);
	client_close(&fresh);
	unlink(cert);
	unlink(key);
	rig_stop(&rig);
}
END_TEST

Suite *suite_net_tls(void);

Suite *
suite_net_tls(void)
{
	Suite *suite = suite_create("net_tls");
	TCase *tc = tcase_create("net_tls");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, tls_from_the_start);
	tcase_add_test(tc, starttls);
	tcase_add_test(tc, starttls_with_input_behind_it_ends);
	tcase_add_test(tc, starttls_with_clear_text_after_it_ends);
	tcase_add_test(tc, starttls_injection_in_two_packets);
	tcase_add_test(tc, tls_in_single_bytes);
	tcase_add_test(tc, silent_handshake_is_cut);
	tcase_add_test(tc, old_tls_is_refused);
	tcase_add_test(tc, tls_files_that_do_not_do);
	tcase_add_test(tc, certificate_can_be_replaced);
	suite_add_tcase(suite, tc);
	return suite;
}
