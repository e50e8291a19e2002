/*
 * net_networks.c - networks that may connect, as text and in use: "127.0.0.0/8 ::1 192.0.2.7 2001:db8::/32"
 *
 * Every address is taken as IPv6, an IPv4 one as ::ffff:a.b.c.d, so that a listener for both needs one kind of
 * comparison.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include <mailshelf/mem.h>

#include "net_addr.h"

enum { MAPPED_BITS = 96, ADDRESS_BITS = 128, ADDRESS_BYTES = 16 };

struct network {
	uint8_t ip[ADDRESS_BYTES];
	unsigned bits;
};

struct net_networks {
	struct network *list;
	size_t n;
};

static void
map(const void *in4, uint8_t *ip)
{
	memset(ip, 0, 10);
	memset(ip + 10, 0xff, 2);
	memcpy(ip + 12, in4, 4);
}

static bool
same(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	return memcmp(a, b, whole) == 0 && (rest == 0 || ((a[whole] ^ b[whole]) & 0xff << (8 - rest) & 0xff) == 0);
}

/* "192.0.2.0/24", "2001:db8::/32", an address alone. Bits behind the prefix must be 0: who writes them meant another
 * one. */
static const char *
parse_one(const char *word, struct network *out)
{
	static const uint8_t zero[ADDRESS_BYTES];
	char address[INET6_ADDRSTRLEN + 1];
	const char *slash = strchr(word, '/');
	size_t len = slash == NULL ? strlen(word) : (size_t)(slash - word);
	unsigned before = 0;
	uint8_t in4[4], host[ADDRESS_BYTES];
	uint64_t bits;

	if (len >= sizeof(address))
		return "not an address";
	memcpy(address, word, len);
	address[len] = '\0';
	if (inet_pton(AF_INET, address, in4) == 1) {
		map(in4, out->ip);
		before = MAPPED_BITS;
	} else if (inet_pton(AF_INET6, address, out->ip) != 1) {
		return "not an address";
	}
	bits = ADDRESS_BITS - before;
	if (slash != NULL && !shelf_span_u64(shelf_span_str(slash + 1), ADDRESS_BITS - before, &bits))
		return "not a number of bits behind the slash";
	out->bits = before + (unsigned)bits;
	memcpy(host, out->ip, sizeof(host));
	for (unsigned i = 0; i < out->bits; i++)
		host[i / 8] &= (uint8_t) ~(0x80u >> i % 8);
	return memcmp(host, zero, sizeof(zero)) == 0 ? NULL : "the address has bits behind its network";
}

struct net_networks *
net_networks_new(const char *text, char *error, size_t error_len)
{
	struct net_networks *nets = SHELF_NEW(struct net_networks);
	char *copy = shelf_strdup(text), *rest = copy, *word;
	const char *why = NULL;

	while (why == NULL && (word = strtok_r(rest, " ,", &rest)) != NULL) {
		nets->list = shelf_realloc(nets->list, (nets->n + 1) * sizeof(*nets->list));
		if ((why = parse_one(word, &nets->list[nets->n++])) != NULL)
			snprintf(error, error_len, "%.100s: %s", word, why);
	}
	free(copy);
	if (why != NULL)
		net_networks_free(&nets);
	return nets;
}

void
net_networks_free(struct net_networks **nets)
{
	if (*nets == NULL)
		return;
	free((*nets)->list);
	free(*nets);
	*nets = NULL;
}

bool
net_networks_has(const struct net_networks *nets, const struct sockaddr *addr)
{
	uint8_t ip[ADDRESS_BYTES];

	if (addr->sa_family == AF_INET)
		map(&((const struct sockaddr_in *)addr)->sin_addr, ip);
	else if (addr->sa_family == AF_INET6)
		memcpy(ip, &((const struct sockaddr_in6 *)addr)->sin6_addr, sizeof(ip));
	else
		return true; /* a Unix socket: its file says who may */
	for (size_t i = 0; i < nets->n; i++)
		if (same(ip, nets->list[i].ip, nets->list[i].bits))
			return true;
	return false;
}
