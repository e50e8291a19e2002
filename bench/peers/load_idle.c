/*
 * load_idle.c - many connections that wait in IDLE, and how soon they hear of a delivery
 *
 * Some threads connect, log in, SELECT and IDLE, as fast as the server lets them; that is the rate. Then stdin says:
 *
 *     fanout ROUNDS    delivers to the first user, over and over: when did the first, the middle and the last of the
 *                      connections hear of it, from the moment the message's last byte was sent (the commit is in it)
 *     quit             (or the end of stdin) closes all
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

enum { WAIT_MS = 10000, ROUND_PAUSE_US = 300000 };

struct idle {
	unsigned port, connections, lmtp_port, users;
	bool tls;
	const char *password;
	char **user;
	struct load_conn *c;
	atomic_uint next, ready;
	pthread_mutex_t lock;
	char trouble[300];
};

static bool
begin(struct idle *w, unsigned i, char *why, size_t why_len)
{
	struct load_conn *c = &w->c[i];
	struct load_answer a = {0};
	char command[256];
	bool ok = load_connect(c, w->port, w->tls, 120) && load_read(c, LOAD_LINE, false, &a);

	snprintf(command, sizeof(command), "LOGIN %s %s", w->user[i % w->users], w->password);
	ok = ok && load_imap(c, command, false, &a) && a.good && load_imap(c, "SELECT INBOX", false, &a) && a.good &&
	     load_send(c, "lg0 IDLE\r\n", 10) && load_read(c, LOAD_PLUS, false, &a);
	if (!ok)
		snprintf(why, why_len, "%s", c->error[0] ? c->error : a.text);
	load_answer_free(&a);
	free(c->buf); /* ten thousand of them */
	c->buf = NULL;
	c->len = 0;
	return ok;
}

static void *
connecting(void *arg)
{
	struct idle *w = arg;
	char why[256];
	unsigned i;

	while ((i = atomic_fetch_add(&w->next, 1)) < w->connections) {
		if (begin(w, i, why, sizeof(why))) {
			atomic_fetch_add(&w->ready, 1);
			continue;
		}
		pthread_mutex_lock(&w->lock);
		snprintf(w->trouble, sizeof(w->trouble), "connection %u: %s", i, why);
		pthread_mutex_unlock(&w->lock);
		atomic_store(&w->next, w->connections); /* the others would fail, too */
	}
	return NULL;
}

static bool
says(struct load_conn *lmtp, const char *text, unsigned replies)
{
	struct shelf_span line = {0};

	if (!load_send(lmtp, text, strlen(text)))
		return false;
	while (replies > 0) {
		if (!load_line(lmtp, &line))
			return false;
		if (line.len > 3 && line.data[3] != '-') {
			if (line.data[0] > '3')
				return false;
			replies--;
		}
	}
	return true;
}

/* Whether this connection has heard of a new message by now. */
static bool
heard(struct load_conn *c)
{
	struct shelf_span line;
	bool exists = false;

	do {
		if (!load_line(c, &line))
			return false;
		exists |= line.len > 7 && memcmp(line.data + line.len - 6, "EXISTS", 6) == 0;
	} while (load_pending(c));
	return exists;
}

/* Times of all connections in MS; how many have heard. */
static unsigned
deliver_and_listen(struct idle *w, struct load_conn *lmtp, unsigned round, double *ms, struct pollfd *p)
{
	char text[512];
	double start;
	unsigned count = 0;

	snprintf(text, sizeof(text), "MAIL FROM:<sender@example.org>\r\nRCPT TO:<%s>\r\nDATA\r\n", w->user[0]);
	if (!says(lmtp, text, 3))
		return 0;
	for (unsigned i = 0; i < w->connections; i++)
		p[i] = (struct pollfd){.fd = w->c[i].fd, .events = POLLIN};
	snprintf(text, sizeof(text),
	    "From: sender@example.org\r\nSubject: fan-out %u\r\n"
	    "Message-ID: <fan.%u.%.0f@bench.example.org>\r\n\r\nHello\r\n.\r\n", round, round, load_ms());
	start = load_ms();
	if (!load_send(lmtp, text, strlen(text)))
		return 0;
	while (count < w->connections && load_ms() - start < WAIT_MS && poll(p, w->connections, 1000) >= 0)
		for (unsigned i = 0; i < w->connections; i++)
			if (p[i].revents != 0 && heard(&w->c[i])) {
				ms[count++] = load_ms() - start;
				p[i].fd = -1;
			}
	return says(lmtp, "NOOP\r\n", 2) ? count : 0;
}

static void
fan_out(struct idle *w, unsigned rounds)
{
	double *ms = calloc(w->connections, sizeof(*ms)), *first = calloc(rounds, sizeof(*first)),
	       *half = calloc(rounds, sizeof(*half)), *last = calloc(rounds, sizeof(*last));
	struct pollfd *p = calloc(w->connections, sizeof(*p));
	struct load_conn lmtp;
	struct shelf_span line;
	unsigned done = 0, count = w->connections;

	if (load_connect(&lmtp, w->lmtp_port, false, 60) && load_line(&lmtp, &line) &&
	    says(&lmtp, "LHLO bench.example.org\r\n", 1))
		for (; done < rounds; done++) {
			usleep(ROUND_PAUSE_US);
			count = deliver_and_listen(w, &lmtp, done, ms, p);
			if (count < w->connections)
				break;
			first[done] = ms[0];
			half[done] = ms[count / 2];
			last[done] = ms[count - 1];
		}
	printf("{\"ok\":%s,\"heard\":%u,\"first\":", done == rounds ? "true" : "false", count);
	load_times_json(stdout, first, done);
	printf(",\"half\":");
	load_times_json(stdout, half, done);
	printf(",\"last\":");
	load_times_json(stdout, last, done);
	printf("}\n");
	load_disconnect(&lmtp);
	free(p);
	free(ms);
	free(first);
	free(half);
	free(last);
}

int
load_idle(int argc, char **argv)
{
	struct idle w = {.port = (unsigned)atoi(argv[0]), .tls = atoi(argv[1]) != 0,
	    .connections = (unsigned)atoi(argv[2]), .lmtp_port = (unsigned)atoi(argv[4]), .password = argv[5],
	    .user = argv + 6, .users = (unsigned)argc - 6, .lock = PTHREAD_MUTEX_INITIALIZER};
	unsigned threads = (unsigned)atoi(argv[3]), rounds;
	pthread_t *thread = calloc(threads, sizeof(*thread));
	double start = load_ms(), cpu = load_cpu_ms();
	char line[64];

	w.c = calloc(w.connections, sizeof(*w.c));
	for (unsigned i = 0; i < w.connections; i++)
		w.c[i].fd = -1;
	for (unsigned i = 0; i < threads; i++)
		pthread_create(&thread[i], NULL, connecting, &w);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	printf("{\"ok\":%s,\"ready\":%u,\"ms\":%.3f,\"cpu_ms\":%.3f,\"text\":\"%s\"}\n",
	    atomic_load(&w.ready) == w.connections ? "true" : "false", atomic_load(&w.ready), load_ms() - start,
	    load_cpu_ms() - cpu, w.trouble);
	while (fgets(line, sizeof(line), stdin) != NULL && strncmp(line, "quit", 4) != 0)
		if (sscanf(line, "fanout %u", &rounds) == 1)
			fan_out(&w, rounds);
	for (unsigned i = 0; i < w.connections; i++)
		load_disconnect(&w.c[i]);
	free(w.c);
	free(thread);
	return 0;
}
