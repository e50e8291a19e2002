/*
 * lmtp_deliver.c - the message: from the input to the draft, from the draft to the mailboxes
 *
 *   WAIT_COMMAND -> WAIT_DATA     lmtp_deliver_begin, from DATA
 *   WAIT_DATA    -> WAIT_COMMIT   lmtp_deliver_end, when the message is kept
 *   WAIT_DATA    -> WAIT_COMMAND  lmtp_deliver_end, when it is not
 *   WAIT_COMMIT  -> WAIT_COMMAND  delivered
 * (with BDAT: WAIT_CHUNK, lmtp_chunk.c)
 *
 * What must stay true: memory does not grow with the message; a message that will not be kept is
 * still read to its end; as many replies as accepted recipients, in their order; an account that
 * was named twice gets one copy, and both replies tell its fate.
 *
 * An address may stand for several accounts. 250 when all have the message. When one cannot take it now,
 * 4xx: it will be sent again, so those who have it note that (shelf_deliver_note) and do not get it twice. When
 * one cannot take it at all, 5xx: the sender is told that not all have it, as if each had been named by itself.
 */
#include "lmtp.h"

#include <stdlib.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "conf.h"
#include "net.h"

/* ---- Receiving ------------------------------------------------------------------------------- */

static void
give_up(struct lmtp_session *s, int rc)
{
	shelf_draft_free(&s->draft);
	s->data_rc = rc;
}

void
lmtp_deliver_take(struct lmtp_session *s, const void *data, size_t len)
{
	int rc;

	s->received += len;
	if (s->data_rc != 0)
		return;
	if (s->received > s->server->conf->message_max_bytes) {
		give_up(s, SHELF_ETOOBIG);
		return;
	}
	rc = shelf_draft_write(s->draft, data, len);
	if (rc != 0)
		give_up(s, rc);
}

static void
sink(void *session, const void *data, size_t len)
{
	lmtp_deliver_take(session, data, len);
}

void
lmtp_deliver_open(struct lmtp_session *s)
{
	struct shelf_buf fields = {0};

	s->received = 0;
	s->messages++;
	s->data_rc = shelf_draft_new(s->server->store, &s->draft);
	if (s->data_rc == 0 && s->server->conf->lmtp_add_fields) {
		lmtp_fields_add(s, &fields);
		s->data_rc = shelf_draft_write(s->draft, fields.data, fields.len);
		shelf_buf_free(&fields);
	}
	if (s->data_rc == 0 && s->naccounts > s->nrcpts) {
		lmtp_path_print(&s->sender, &fields);
		shelf_draft_identify(s->draft, shelf_buf_span(&fields));
		shelf_buf_free(&fields);
	}
}

void
lmtp_deliver_begin(struct lmtp_session *s)
{
	s->data = (struct lmtp_data){LMTP_DATA_LINE};
	lmtp_deliver_open(s);
	if (s->data_rc != 0) {
		lmtp_reply(s, "451 4.3.0", "No message can be taken now");
		lmtp_session_forget(s);
		return;
	}
	s->wait = LMTP_WAIT_DATA;
	lmtp_reply(s, "354", "Send the message, end it with a dot on a line of its own");
}

bool
lmtp_deliver_input(struct lmtp_session *s)
{
	struct shelf_span in = net_conn_in(s->conn);
	bool could_end = lmtp_data_may_end(&s->data);
	size_t used;

	if (in.len == 0)
		return false;
	used = lmtp_data_feed(&s->data, in, sink, s);
	net_conn_consume(s->conn, used);
	if (s->data.state == LMTP_DATA_END) {
		net_conn_deadline(s->conn, 0);
		lmtp_deliver_end(s);
	} else if (lmtp_data_may_end(&s->data)) {
		net_conn_deadline(s->conn, LMTP_PAUSE_S);
	} else if (could_end) {
		net_conn_deadline(s->conn, 0);
	}
	return true;
}

/* ---- Fields of one recipient --------------------------------------------------------------------- */

/* Each head costs a hash of the message: beyond so many bytes of these all recipients get the same one. */
enum { HEADS_MAX_BYTES = 64 << 20 };

static bool
has_heads(const struct lmtp_session *s)
{
	return s->nrcpts > 1 && s->server->conf->lmtp_add_fields;
}

/* One for each recipient, or one for all. */
static size_t
count_heads(const struct lmtp_session *s)
{
	if (!has_heads(s))
		return 0;
	return s->received <= HEADS_MAX_BYTES / s->nrcpts ? s->nrcpts : 1;
}

/* ---- Delivering ------------------------------------------------------------------------------ */

struct job {
	struct lmtp_session *session; /* its recipients: nobody else touches them meanwhile */
	struct shelf_store *store;
	struct shelf_draft *draft;
	struct shelf_delivery *list; /* by account, each once; mailboxes are of the session's routes */
	struct shelf_append_result *results;
	size_t n;
	struct shelf_buf *heads; /* NHEADS: none, one for all, or one for each recipient */
	size_t nheads;
	int rc;                      /* of finishing the draft */
};

static int
by_account(const void *a, const void *b)
{
	uint32_t x = ((const struct shelf_delivery *)a)->account;
	uint32_t y = ((const struct shelf_delivery *)b)->account;

	return (x > y) - (x < y);
}

/* Of one account's first what is not refused. */
static int
by_account_and_fate(const void *a, const void *b)
{
	int x = ((const struct shelf_delivery *)a)->refused, y = ((const struct shelf_delivery *)b)->refused;
	int order = by_account(a, b);

	return order != 0 ? order : (x != 0) - (y != 0);
}

/* The one place that decides where a message goes in an account, and with which flags. */
static struct shelf_delivery
delivery_to(const struct lmtp_session *s, const struct lmtp_account *a, struct shelf_span head)
{
	struct shelf_delivery d = {.account = a->to.account, .existing = true, .over = a->rules.over,
				   .refused = a->refused, .head = head};

	if (s->server->conf->extension_mailbox)
		d.mailbox = shelf_span_str(a->to.mailbox);
	return d;
}

static struct shelf_span
head_of(const struct job *job, size_t rcpt)
{
	return job->nheads == 0 ? shelf_span(NULL, 0) : shelf_buf_span(&job->heads[job->nheads > 1 ? rcpt : 0]);
}

static struct job *
new_job(struct lmtp_session *s)
{
	struct job *job = SHELF_NEW(struct job);
	size_t n = 0;

	job->session = s;
	job->store = s->server->store;
	job->draft = s->draft;
	s->draft = NULL;
	job->list = shelf_zalloc(s->naccounts * sizeof(*job->list));
	job->results = shelf_zalloc(s->naccounts * sizeof(*job->results));
	job->nheads = count_heads(s);
	job->heads = shelf_zalloc(job->nheads * sizeof(*job->heads));
	for (size_t i = 0; i < job->nheads; i++)
		lmtp_fields_add_head(s, job->nheads > 1 ? &s->rcpts[i] : NULL, &job->heads[i]);
	for (size_t i = 0; i < s->nrcpts; i++)
		for (size_t k = 0; k < s->rcpts[i].n; k++)
			job->list[n++] = delivery_to(s, &s->rcpts[i].list[k], head_of(job, i));
	SHELF_ASSERT(n == s->naccounts);
	qsort(job->list, n, sizeof(*job->list), by_account_and_fate);
	n = 0;
	for (size_t i = 0; i < s->naccounts; i++)
		if (n == 0 || job->list[i].account != job->list[n - 1].account)
			job->list[n++] = job->list[i];
	job->n = n;
	return job;
}

/* JOB is NULL when the message was not kept. */
static int
outcome(const struct lmtp_session *s, const struct job *job, uint32_t account)
{
	struct shelf_delivery key = {.account = account};
	struct shelf_delivery *row;

	if (job == NULL || job->rc != 0)
		return job == NULL ? s->data_rc : job->rc;
	row = bsearch(&key, job->list, job->n, sizeof(*job->list), by_account);
	SHELF_ASSERT(row != NULL);
	return job->results[row - job->list].rc;
}

struct fate {
	const char *text; /* of the reply: of a refusal for now, else of one for good, else that of 250 */
	size_t stored;
};

static struct fate
fate_of(const struct lmtp_session *s, const struct job *job, const struct lmtp_rcpt *rcpt)
{
	struct fate f = {lmtp_reply_text(0, false), 0};

	for (size_t i = 0; i < rcpt->n; i++) {
		const struct lmtp_account *a = &rcpt->list[i];
		int rc = outcome(s, job, a->to.account);

		f.stored += rc == 0;
		if (rc != 0 && f.text[0] != '4')
			f.text = lmtp_reply_text(rc, a->rules.defer);
	}
	return f;
}

/* Some behind this address have the message, and it will be sent to it again. */
static void
note_those_who_have_it(const struct job *job, const struct lmtp_rcpt *rcpt)
{
	for (size_t i = 0; i < rcpt->n; i++) {
		uint32_t account = rcpt->list[i].to.account;
		int rc;

		if (outcome(job->session, job, account) != 0)
			continue;
		rc = shelf_deliver_note(job->store, account, shelf_draft_identity(job->draft));
		if (rc != 0)
			shelf_log(SHELF_LOG_WARN, "lmtp delivery", "account", "%s", rcpt->list[i].to.name, "result",
			    "%s", "stored, may come twice", "error", "%s", shelf_err_name(rc), NULL);
	}
}

static void
run_job(void *arg)
{
	struct job *job = arg;

	if ((job->rc = shelf_draft_finish(job->draft)) != 0)
		return;
	shelf_deliver(job->store, job->draft, job->list, job->n, job->results);
	for (size_t i = 0; i < job->session->nrcpts; i++) {
		const struct lmtp_rcpt *rcpt = &job->session->rcpts[i];
		struct fate f;

		for (size_t k = 0; k < rcpt->n; k++)
			if (outcome(job->session, job, rcpt->list[k].to.account) == SHELF_EQUOTA)
				rcpt->list[k].rules.defer =
				    route_defers(job->store, &rcpt->list[k].to, &rcpt->list[k].rules);
		f = fate_of(job->session, job, rcpt);
		if (f.stored > 0 && f.text[0] == '4')
			note_those_who_have_it(job, rcpt);
	}
}

static void
note(struct lmtp_session *s, const char *account, const char *sender, int rc)
{
	enum shelf_err_class class = shelf_err_class_of(rc);
	bool trouble = class != SHELF_CLASS_OK && class != SHELF_CLASS_REFUSED &&
	    class != SHELF_CLASS_MISSING && class != SHELF_CLASS_CALLER;

	shelf_log(trouble ? SHELF_LOG_WARN : SHELF_LOG_INFO, "lmtp delivery", "account", "%s",
	    account, "from", "%s", sender, "bytes", "%llu", (unsigned long long)s->received,
	    "peer", "%s", net_conn_peer(s->conn), "result", "%s",
	    rc == 0 ? "stored" : shelf_err_name(rc), "conn", "%llu", net_conn_id(s->conn), NULL);
}

/* The one reply for an address. Texts of refusals begin with a status of nine characters. */
static void
tell(struct lmtp_session *s, const struct lmtp_rcpt *rcpt, const char *sender, const struct job *job)
{
	struct fate f = fate_of(s, job, rcpt);

	for (size_t i = 0; i < rcpt->n; i++)
		note(s, rcpt->list[i].to.name, sender, outcome(s, job, rcpt->list[i].to.account));
	lmtp_metrics_delivery(f.text);
	if (f.stored == 0 || f.stored == rcpt->n)
		net_conn_printf(s->conn, "%s\r\n", f.text);
	else
		net_conn_printf(s->conn, "%.9s Not stored for all behind this address: %s\r\n", f.text, f.text + 10);
}

/* Replies for all recipients; the transaction is over. */
static void
tell_all(struct lmtp_session *s, const struct job *job)
{
	struct shelf_buf sender = {0};

	lmtp_metrics_message(s->received);
	lmtp_path_print(&s->sender, &sender);
	for (size_t i = 0; i < s->nrcpts; i++)
		tell(s, &s->rcpts[i], shelf_buf_cstr(&sender), job);
	shelf_buf_free(&sender);
	if (s->close_after)
		net_conn_close(s->conn, "message ended by a pause");
	s->wait = LMTP_WAIT_COMMAND;
	lmtp_session_forget(s);
}

static void
job_done(void *session, void *arg)
{
	struct lmtp_session *s = session;
	struct job *job = arg;

	tell_all(s, job);
	shelf_draft_free(&job->draft);
	for (size_t i = 0; i < job->nheads; i++)
		shelf_buf_free(&job->heads[i]);
	free(job->heads);
	free(job->list);
	free(job->results);
	free(job);
	lmtp_session_go(s);
}

void
lmtp_deliver_end(struct lmtp_session *s)
{
	if (s->data_rc != 0) {
		tell_all(s, NULL);
		return;
	}
	s->wait = LMTP_WAIT_COMMIT;
	net_conn_work(s->conn, run_job, new_job(s), job_done);
}
