/*
 * pop3_commands.c - the commands on the maildrop, CAPA, QUIT
 *
 * What must stay true: every function writes one status line, begins a stream that does, or begins
 * work whose end does.
 */
#include "pop3.h"

#include "auth.h"
#include "conf.h"
#include "net.h"

/* The message number in WORD, or false and a reply. */
static bool
get_number(struct pop3_session *s, struct shelf_span word, uint32_t *seq_out)
{
	uint64_t n;

	if (!shelf_span_u64(word, UINT32_MAX, &n)) {
		pop3_err(s, "Not a message number");
		return false;
	}
	*seq_out = (uint32_t)n;
	return true;
}

/* The message that WORD names, or false and a reply. */
static bool
get_message(struct pop3_session *s, struct shelf_span word, uint32_t *seq_out,
    struct shelf_msg *out)
{
	int rc;

	if (!get_number(s, word, seq_out))
		return false;
	rc = pop3_maildrop_msg(s, *seq_out, out);
	if (rc == SHELF_ENOMESSAGE)
		pop3_err(s, "No such message");
	else if (rc != 0)
		pop3_fail(s, rc, "The message cannot be read");
	return rc == 0;
}

void
pop3_cmd_stat(struct pop3_session *s, const struct pop3_args *args)
{
	/* Clients parse the whole line: nothing behind the numbers. */
	pop3_ok(s, "%u %llu", pop3_maildrop_count(s), (unsigned long long)pop3_maildrop_bytes(s));
}

void
pop3_cmd_list(struct pop3_session *s, const struct pop3_args *args)
{
	struct shelf_msg m;
	uint32_t seq;

	if (args->count == 0) {
		pop3_ok(s, "%u messages (%llu octets)", pop3_maildrop_count(s),
		    (unsigned long long)pop3_maildrop_bytes(s));
		pop3_stream_list(s, POP3_STREAM_LIST);
	} else if (get_message(s, args->word[0], &seq, &m)) {
		pop3_ok(s, "%u %llu", seq, (unsigned long long)m.size);
	}
}

void
pop3_cmd_uidl(struct pop3_session *s, const struct pop3_args *args)
{
	struct pop3_uidls uidls = {0};
	uint32_t seq, uid;
	int rc;

	if (args->count == 0) {
		pop3_ok(s, "%u messages", pop3_maildrop_count(s));
		pop3_stream_list(s, POP3_STREAM_UIDL);
		return;
	}
	if (!get_number(s, args->word[0], &seq))
		return;
	uid = pop3_drop_uid(&s->drop, seq);
	if (uid == 0 || shelf_uidset_has(s->deleted, uid)) {
		pop3_err(s, "No such message");
		return;
	}
	if ((rc = shelf_rd_begin(s->server->store, s->account, &uidls.rd)) == 0)
		rc = pop3_uidl(&uidls, &s->drop, uid);
	shelf_rd_end(&uidls.rd);
	if (rc != 0)
		pop3_fail(s, rc, "The unique-id cannot be read");
	else
		pop3_ok(s, "%u %s", seq, uidls.of);
}

void
pop3_cmd_retr(struct pop3_session *s, const struct pop3_args *args)
{
	struct shelf_msg m;
	uint32_t seq;

	if (get_message(s, args->word[0], &seq, &m))
		pop3_stream_message(s, &m, NULL);
}

void
pop3_cmd_top(struct pop3_session *s, const struct pop3_args *args)
{
	struct pop3_top top = {0};
	struct shelf_msg m;
	uint32_t seq;

	if (!shelf_span_u64(args->word[1], UINT64_MAX, &top.lines)) {
		pop3_err(s, "Not a number of lines");
		return;
	}
	if (get_message(s, args->word[0], &seq, &m))
		pop3_stream_message(s, &m, &top);
}

void
pop3_cmd_dele(struct pop3_session *s, const struct pop3_args *args)
{
	uint32_t seq;
	int rc;

	if (!get_number(s, args->word[0], &seq))
		return;
	rc = pop3_maildrop_delete(s, seq);
	if (rc == SHELF_ENOMESSAGE)
		pop3_err(s, "No such message");
	else if (rc != 0)
		pop3_fail(s, rc, "The message cannot be marked");
	else
		pop3_ok(s, "Message %u will be deleted", seq);
}

void
pop3_cmd_rset(struct pop3_session *s, const struct pop3_args *args)
{
	pop3_maildrop_reset(s);
	pop3_ok(s, "%u messages (%llu octets)", pop3_maildrop_count(s),
	    (unsigned long long)pop3_maildrop_bytes(s));
}

void
pop3_cmd_noop(struct pop3_session *s, const struct pop3_args *args)
{
	pop3_ok(s, "Done");
}

void
pop3_cmd_quit(struct pop3_session *s, const struct pop3_args *args)
{
	if (s->state == POP3_TRANSACTION && pop3_update_needed(s)) {
		pop3_update(s);
		return;
	}
	pop3_ok(s, "Bye");
	net_conn_close(s->conn, "quit");
}
