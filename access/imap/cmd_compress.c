/*
 * cmd_compress.c - COMPRESS
 *
 * Sources   RFC 4978 3.
 */
#include "imap_command.h"
#include "net.h"

static void
start(struct imap_session *s)
{
	net_conn_compress(s->conn);
}

enum imap_step
imap_cmd_compress(struct imap_cmd *c)
{
	struct shelf_span name = {0};

	if (!imap_parse_sp(&c->p) || !imap_parse_atom(&c->p, &name) || !imap_parse_end(&c->p))
		return imap_parse_failed(c);
	if (!shelf_span_is(name, "DEFLATE"))
		return imap_bad(c, "unknown compression mechanism");
	if (net_conn_compresses(c->s->conn))
		return imap_no(c, "COMPRESSIONACTIVE", "DEFLATE is active already");
	c->after = start;
	return imap_ok(c, "DEFLATE active");
}
