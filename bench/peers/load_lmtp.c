/*
 * load_lmtp.c - deliveries over LMTP by some connections at once
 *
 * A thread for each connection takes the next message, sends MAIL, RCPT and DATA in one go (all servers announce
 * PIPELINING), then the message, and waits for the answer of every recipient: that is one delivery, and its
 * time. The texts are made ready before the clock starts. With CONNECTIONS 0 every message goes to all users
 * at once, on one connection.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

struct run {
	unsigned port, count, users;
	char **user;
	bool to_all;
	struct shelf_buf *text;
	atomic_uint next, delivered, refused;
	double *ms;
	pthread_mutex_t lock; /* over TROUBLE */
	char trouble[256];
};

static void
trouble(struct run *r, const char *what)
{
	pthread_mutex_lock(&r->lock);
	if (r->trouble[0] == '\0')
		snprintf(r->trouble, sizeof(r->trouble), "%s", what);
	pthread_mutex_unlock(&r->lock);
}

/* The last line of a reply decides: "250-..." goes on, "250 ..." ends. */
static bool
reply(struct run *r, struct load_conn *c, char expected)
{
	struct shelf_span line;
	char text[200];

	do {
		if (!load_line(c, &line)) {
			trouble(r, c->error);
			return false;
		}
	} while (line.len > 3 && line.data[3] == '-');
	if (line.len > 0 && line.data[0] == (uint8_t)expected)
		return true;
	snprintf(text, sizeof(text), "%.*s", (int)line.len, (const char *)line.data);
	trouble(r, text);
	return false;
}

/* False: this connection is of no more use. */
static bool
deliver(struct run *r, struct load_conn *c, unsigned i)
{
	struct shelf_buf out = {0};
	unsigned n = r->to_all ? r->users : 1, accepted = 0;
	bool ok;

	shelf_buf_add_str(&out, "MAIL FROM:<sender@example.org>\r\n");
	for (unsigned k = 0; k < n; k++)
		shelf_buf_printf(&out, "RCPT TO:<%s>\r\n", r->user[r->to_all ? k : i % r->users]);
	shelf_buf_add_str(&out, "DATA\r\n");
	ok = load_send(c, out.data, out.len) && reply(r, c, '2');
	shelf_buf_free(&out);
	for (unsigned k = 0; k < n && ok; k++)
		accepted += reply(r, c, '2');
	atomic_fetch_add(&r->refused, n - accepted);
	ok = ok && reply(r, c, '3') && load_send(c, r->text[i].data, r->text[i].len);
	for (unsigned k = 0; k < accepted && ok; k++) {
		if (reply(r, c, '2'))
			atomic_fetch_add(&r->delivered, 1);
		else
			atomic_fetch_add(&r->refused, 1);
	}
	return ok;
}

static void *
connection(void *arg)
{
	struct run *r = arg;
	struct load_conn c;
	unsigned i;
	bool ok = load_connect(&c, r->port, false, 60);

	if (!ok)
		trouble(r, c.error);
	ok = ok && reply(r, &c, '2') && load_send(&c, "LHLO bench.example.org\r\n", 24) && reply(r, &c, '2');
	while (ok && (i = atomic_fetch_add(&r->next, 1)) < r->count) {
		double start = load_ms();

		ok = deliver(r, &c, i);
		r->ms[i] = load_ms() - start;
	}
	load_disconnect(&c);
	return NULL;
}

int
load_lmtp(int argc, char **argv)
{
	struct run r = {.port = (unsigned)atoi(argv[0]), .count = (unsigned)atoi(argv[3]), .user = argv + 6,
	    .users = (unsigned)argc - 6, .lock = PTHREAD_MUTEX_INITIALIZER};
	unsigned first = (unsigned)atoi(argv[2]), threads = (unsigned)atoi(argv[4]);
	uint64_t serial = strtoull(argv[5], NULL, 10);
	struct load_mail mail;
	pthread_t *thread;
	double start, cpu, bytes = 0;
	struct shelf_buf named = {0};

	if (!load_mail_open(&mail, argv[1]))
		load_fail("%s: cannot be read", argv[1]);
	r.to_all = threads == 0;
	threads = threads == 0 ? 1 : threads;
	r.text = calloc(r.count, sizeof(*r.text));
	r.ms = calloc(r.count, sizeof(*r.ms));
	thread = calloc(threads, sizeof(*thread));
	for (unsigned i = 0; i < r.count; i++) {
		load_renamed(mail.message[(first + i) % mail.count], serial + i, &named);
		bytes += (double)named.len;
		load_stuffed(shelf_buf_span(&named), &r.text[i]);
	}
	start = load_ms();
	cpu = load_cpu_ms();
	for (unsigned i = 0; i < threads; i++)
		pthread_create(&thread[i], NULL, connection, &r);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	printf("{\"ok\":%s,\"ms\":%.3f,\"cpu_ms\":%.3f,\"bytes\":%.0f,\"delivered\":%u,\"refused\":%u,\"times\":",
	    atomic_load(&r.delivered) == r.count * (r.to_all ? r.users : 1) ? "true" : "false", load_ms() - start,
	    load_cpu_ms() - cpu, bytes, atomic_load(&r.delivered), atomic_load(&r.refused));
	load_times_json(stdout, r.ms, r.count);
	shelf_buf_clear(&named);
	shelf_buf_add_json(&named, shelf_span_str(r.trouble));
	printf(",\"text\":%s}\n", shelf_buf_cstr(&named));
	shelf_buf_free(&named);
	for (unsigned i = 0; i < r.count; i++)
		shelf_buf_free(&r.text[i]);
	free(r.text);
	free(r.ms);
	free(thread);
	load_mail_close(&mail);
	return 0;
}
