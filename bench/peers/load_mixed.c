/*
 * load_mixed.c - what a day is like: readers and deliveries at a steady rate, and how long each waits
 *
 * Each IMAP connection has its share of OPERATIONS/S, one delivering connection all of DELIVERIES/S. When an
 * operation is due is fixed beforehand, and its time counts from then: a server that falls behind cannot hide
 * it by making the client wait. Of 100 operations 40 read a body, 20 list 50 messages, 20 change a flag, 10 ask
 * for changes (NOOP), 5 STATUS, 5 search for unseen mail.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "load.h"

enum kind { BODY, LISTING, FLAG, NOOP, STATUS, UNSEEN, DELIVERY, KINDS };
enum { MESSAGES = 500 };

static const char *const kind_name[KINDS] = {"body", "listing", "flag", "noop", "status", "unseen", "delivery"};

struct mixed {
	unsigned port, lmtp_port, connections, users;
	double seconds, operations_s, deliveries_s, begin;
	uint64_t serial;
	const char *password;
	char **user;
	struct load_mail mail;
	pthread_mutex_t lock; /* over all below */
	double *ms[KINDS];
	unsigned n[KINDS], room[KINDS], failed;
	char trouble[256];
};

struct worker {
	struct mixed *m;
	unsigned number;
};

static void
note(struct mixed *m, enum kind kind, double ms)
{
	pthread_mutex_lock(&m->lock);
	if (m->n[kind] == m->room[kind]) {
		m->room[kind] = m->room[kind] == 0 ? 1024 : m->room[kind] * 2;
		m->ms[kind] = realloc(m->ms[kind], m->room[kind] * sizeof(double));
	}
	m->ms[kind][m->n[kind]++] = ms;
	pthread_mutex_unlock(&m->lock);
}

static void
note_trouble(struct mixed *m, const char *text)
{
	pthread_mutex_lock(&m->lock);
	m->failed++;
	if (m->trouble[0] == '\0')
		snprintf(m->trouble, sizeof(m->trouble), "%s", text);
	pthread_mutex_unlock(&m->lock);
}

/* Sleeps until operation N of RATE a second is due; when that was, or 0 after the end. */
static double
due(const struct mixed *m, double n, double rate)
{
	double at = m->begin + n * 1e3 / rate, wait = at - load_ms();

	if (at > m->begin + m->seconds * 1e3)
		return 0;
	if (wait > 0)
		usleep((useconds_t)(wait * 1e3));
	return at;
}

static enum kind
choose(uint64_t *r, char *command, size_t len)
{
	unsigned p = bench_random(r) % 100, n = 1 + bench_random(r) % MESSAGES;

	if (p < 40) {
		snprintf(command, len, "FETCH %u BODY.PEEK[]", n);
		return BODY;
	}
	if (p < 60) {
		n = n > MESSAGES - 50 ? MESSAGES - 50 : n;
		snprintf(command, len, "FETCH %u:%u (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)", n, n + 49);
		return LISTING;
	}
	if (p < 80) {
		snprintf(command, len, "STORE %u %cFLAGS.SILENT (\\Flagged)", n, bench_random(r) % 2 ? '+' : '-');
		return FLAG;
	}
	if (p < 95) {
		snprintf(command, len, p < 90 ? "NOOP" : "STATUS INBOX (MESSAGES UNSEEN UIDNEXT)");
		return p < 90 ? NOOP : STATUS;
	}
	snprintf(command, len, "SEARCH UNSEEN");
	return UNSEEN;
}

static void *
reading(void *arg)
{
	struct worker *w = arg;
	struct mixed *m = w->m;
	uint64_t r = w->number + 1;
	double share = m->operations_s / m->connections, at;
	struct load_conn c;
	struct load_answer a = {0};
	char command[256];
	bool ok = load_connect(&c, m->port, false, 60) && load_read(&c, LOAD_LINE, false, &a);

	snprintf(command, sizeof(command), "LOGIN %s %s", m->user[w->number % m->users], m->password);
	ok = ok && load_imap(&c, command, false, &a) && a.good && load_imap(&c, "SELECT INBOX", false, &a) && a.good;
	for (double n = (w->number + 0.5) / m->connections; ok && (at = due(m, n, share)) > 0; n++) {
		enum kind kind = choose(&r, command, sizeof(command));

		ok = load_imap(&c, command, false, &a) && a.good;
		note(m, kind, load_ms() - at);
	}
	if (!ok)
		note_trouble(m, c.error[0] ? c.error : a.text);
	load_answer_free(&a);
	load_disconnect(&c);
	return NULL;
}

static bool
talk(struct load_conn *c, const void *data, size_t len, unsigned replies)
{
	struct shelf_span line;

	if (!load_send(c, data, len))
		return false;
	while (replies > 0) {
		if (!load_line(c, &line))
			return false;
		if (line.len > 3 && line.data[3] == '-')
			continue;
		if (line.len == 0 || line.data[0] > '3') {
			snprintf(c->error, sizeof(c->error), "%.*s", (int)(line.len < 100 ? line.len : 100),
			    (const char *)line.data);
			return false;
		}
		replies--;
	}
	return true;
}

static void *
delivering(void *arg)
{
	struct mixed *m = arg;
	struct load_conn c;
	struct shelf_span line;
	struct shelf_buf named = {0}, text = {0};
	double at;
	bool ok = load_connect(&c, m->lmtp_port, false, 60) && load_line(&c, &line) &&
		  talk(&c, "LHLO bench.example.org\r\n", 24, 1);

	for (unsigned n = 0; ok && (at = due(m, n, m->deliveries_s)) > 0; n++) {
		char envelope[256];

		load_renamed(m->mail.message[n % m->mail.count], m->serial + n, &named);
		shelf_buf_clear(&text);
		load_stuffed(shelf_buf_span(&named), &text);
		snprintf(envelope, sizeof(envelope), "MAIL FROM:<sender@example.org>\r\nRCPT TO:<%s>\r\nDATA\r\n",
		    m->user[n % m->users]);
		ok = talk(&c, envelope, strlen(envelope), 3) && talk(&c, text.data, text.len, 1);
		note(m, DELIVERY, load_ms() - at);
	}
	if (!ok)
		note_trouble(m, c.error);
	shelf_buf_free(&named);
	shelf_buf_free(&text);
	load_disconnect(&c);
	return NULL;
}

int
load_mixed(int argc, char **argv)
{
	struct mixed m = {.port = (unsigned)atoi(argv[0]), .lmtp_port = (unsigned)atoi(argv[1]),
	    .seconds = atof(argv[3]), .connections = (unsigned)atoi(argv[4]), .operations_s = atof(argv[5]),
	    .deliveries_s = atof(argv[6]), .serial = strtoull(argv[7], NULL, 10), .password = argv[8],
	    .user = argv + 9, .users = (unsigned)argc - 9, .lock = PTHREAD_MUTEX_INITIALIZER};
	pthread_t *thread = calloc(m.connections + 1, sizeof(*thread));
	struct worker *worker = calloc(m.connections, sizeof(*worker));
	struct shelf_buf said = {0};
	double cpu = load_cpu_ms();

	if (!load_mail_open(&m.mail, argv[2]))
		load_fail("%s: cannot be read", argv[2]);
	m.begin = load_ms() + 1000; /* until then all have logged in */
	for (unsigned i = 0; i < m.connections; i++) {
		worker[i] = (struct worker){&m, i};
		pthread_create(&thread[i], NULL, reading, &worker[i]);
	}
	pthread_create(&thread[m.connections], NULL, delivering, &m);
	for (unsigned i = 0; i <= m.connections; i++)
		pthread_join(thread[i], NULL);
	shelf_buf_add_json(&said, shelf_span_str(m.trouble));
	printf("{\"ok\":%s,\"cpu_ms\":%.3f,\"text\":%s,\"kinds\":{", m.failed == 0 ? "true" : "false",
	    load_cpu_ms() - cpu, shelf_buf_cstr(&said));
	for (int k = 0; k < KINDS; k++) {
		printf("%s\"%s\":", k ? "," : "", kind_name[k]);
		load_times_json(stdout, m.ms[k], m.n[k]);
		free(m.ms[k]);
	}
	printf("}}\n");
	shelf_buf_free(&said);
	load_mail_close(&m.mail);
	free(thread);
	free(worker);
	return 0;
}
