/* mta_answer.c - what is known of a recipient */
#include "mta.h"

#include <mailshelf/alias.h>
#include <mailshelf/err.h>
#include <mailshelf/message.h>

#include "conf.h"
#include "route.h"

const char *
mta_action(const struct mta_server *server, struct shelf_span recipient, uint64_t size)
{
	struct shelf_span local, domain;
	struct route to = {.n = 0};
	struct route_rules rules;
	bool full = false, defer = false;
	int rc = SHELF_ENOACCOUNT;

	/* The fields of the server that asks, and ours. */
	if (size > 0)
		size += server->conf->lmtp_add_fields ? 2 * ROUTE_FIELDS_BYTES : ROUTE_FIELDS_BYTES;
	if (route_split(recipient, &local, &domain))
		rc = route_find(server->store, server->conf, local, domain, &to);
	for (size_t i = 0; rc == 0 && i < to.n; i++) {
		if ((rc = route_rules(server->store, &to.list[i], &rules)) == 0)
			rc = shelf_deliver_room(server->store, to.list[i].account, size, rules.over, 0, 0);
		full = rc == SHELF_EQUOTA;
		if (full && route_defers(server->store, &to.list[i], &rules))
			defer = true;
		if (rc == 0)
			break; /* one has room: as the door of delivery has it */
		rc = full ? 0 : rc;
	}
	route_free(&to);
	if (rc == SHELF_EDISABLED)
		return "550 5.2.1 Delivery is switched off for this account";
	if (rc != 0 || !full)
		return "DUNNO";
	return defer ? "452 4.2.2 Mailbox full, try again later" : "552 5.2.2 Mailbox full";
}

static int
know_domain(const struct mta_server *server, struct shelf_span domain)
{
	struct shelf_buf name = {0}, targets = {0};
	int rc;

	if (conf_is_local_domain(server->conf, (const char *)domain.data, domain.len))
		return 0;
	shelf_buf_add_byte(&name, '@');
	shelf_buf_add_span(&name, domain);
	rc = shelf_alias_find(server->store, shelf_buf_span(&name), &targets);
	shelf_buf_free(&name);
	shelf_buf_free(&targets);
	return rc == SHELF_EMISSING ? SHELF_ENOACCOUNT : rc;
}

const char *
mta_lookup(const struct mta_server *server, struct shelf_span key)
{
	struct shelf_span local, domain;
	struct route to = {.n = 0};
	int rc = SHELF_ENOACCOUNT;

	if (route_split(key, &local, &domain))
		rc = route_find(server->store, server->conf, local, domain, &to);
	else if (key.len > 0 && shelf_span_find(key, '@', 0) < 0)
		rc = know_domain(server, key);
	route_free(&to);
	if (rc == 0 || rc == SHELF_EDISABLED || rc == SHELF_ELIMIT)
		return "200 OK";
	return rc == SHELF_ENOACCOUNT ? "500 not known" : "400 the store cannot be read now";
}
