/*
 * imap_address.c - whose mailbox a name means
 */
#include "imap_address.h"

int
imap_address_place(struct imap_session *s, struct shelf_span name, struct imap_place *out)
{
	*out = (struct imap_place){s->account, name};
	return 0;
}

int
imap_address_open(struct imap_session *s, struct shelf_span name, struct imap_address *out,
    struct shelf_rd **rd_out)
{
	struct shelf_rd *rd = NULL;
	int rc;

	*out = (struct imap_address){.name = name};
	rc = imap_address_place(s, name, &out->place);
	if (rc == 0)
		rc = shelf_rd_begin(s->store, out->place.account, &rd);
	if (rc == 0)
		rc = shelf_mailbox_find(rd, out->place.path, &out->row);
	if (rc != 0)
		shelf_rd_end(&rd);
	*rd_out = rd;
	return rc;
}

int
imap_address_find(struct imap_session *s, struct shelf_span name, struct imap_address *out)
{
	struct shelf_rd *rd = NULL;
	int rc = imap_address_open(s, name, out, &rd);

	out->row.name = shelf_span(NULL, 0);
	shelf_rd_end(&rd);
	return rc;
}
