/*
 * cmd_enable.c - ENABLE: what is unknown is passed over
 *
 * Sources   RFC 5161 3.1, 3.2; RFC 9051 6.3.1; RFC 6855 3; RFC 7162 3.2.3; RFC 9586 3.
 */
#include "imap_condstore.h"

enum imap_step
imap_cmd_enable(struct imap_cmd *c)
{
	struct shelf_span name = {0};
	bool condstore = false, qresync = false, uidonly = false, rev2 = false, utf8 = false;

	do {
		if (!imap_parse_sp(&c->p) || !imap_parse_atom(&c->p, &name))
			return imap_parse_failed(c);
		condstore = condstore || shelf_span_is(name, "CONDSTORE");
		qresync = qresync || shelf_span_is(name, "QRESYNC");
		uidonly = uidonly || shelf_span_is(name, "UIDONLY");
		rev2 = rev2 || shelf_span_is(name, "IMAP4rev2");
		utf8 = utf8 || shelf_span_is(name, "UTF8=ACCEPT");
	} while (!imap_at_end(&c->p));
	imap_untagged(c->s, "ENABLED%s%s%s%s%s", rev2 ? " IMAP4rev2" : "", utf8 ? " UTF8=ACCEPT" : "",
	    qresync ? " QRESYNC" : "", condstore ? " CONDSTORE" : "", uidonly ? " UIDONLY" : "");
	c->s->rev2 = c->s->rev2 || rev2;
	c->s->utf8_accept = c->s->utf8_accept || utf8;
	c->s->utf8 = c->s->utf8 || rev2 || utf8;
	c->s->uidonly = c->s->uidonly || uidonly;
	c->s->qresync = c->s->qresync || qresync;
	if (condstore || qresync)
		imap_condstore_enable(c->s);
	return imap_completed(c);
}
