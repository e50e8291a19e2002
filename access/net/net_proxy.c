/*
 * net_proxy.c - who is behind a proxy, as the first bytes of its connection say
 *
 * The PROXY protocol of HAProxy, which nginx and others speak too, in both versions:
 *
 *   1   "PROXY TCP4 192.0.2.1 198.51.100.7 4711 143" CRLF, at most 107 bytes; "PROXY UNKNOWN ..." CRLF
 *   2   signature 12 | version 4 bits, command 4 bits | family 4 bits, transport 4 bits | length 2 | addresses | TLVs:
 *       type 1 | length 2 | value. TLV 0x20 says that the client's connection is TLS.
 *
 * It is asked of those addresses only that the operator calls proxies, and then it must be there: who could choose
 * could be anybody. Not one byte behind it is read, for what follows may be TLS.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "net_addr.h"
#include "net_inside.h"

enum {
	V1_MIN = 15, /* "PROXY UNKNOWN" CRLF */
	V1_MAX = 107,
	V2_HEAD = 16,
	V2_MAX = 4096, /* behind the head; what proxies send has some hundred */
	TLV_TLS = 0x20,
	TLV_TLS_VERSION = 0x21,
	TLS_CLIENT = 1, /* bit: the client's connection is TLS */
	TLV_TLS_HEAD = 5,
};
static const uint8_t signature[12] = "\r\n\r\n\0\r\nQUIT\n";

struct net_proxy {
	size_t have, need;
	uint8_t bytes[V2_HEAD + V2_MAX];
};

struct net_proxy *
net_proxy_new(void)
{
	struct net_proxy *p = SHELF_NEW(struct net_proxy);

	p->need = V1_MIN;
	return p;
}

/* What the header says of the client. */
struct client {
	struct sockaddr_storage addr; /* ss_family AF_UNSPEC: it is the proxy's own connection, or unknown */
	bool tls;
	struct shelf_span version;
};

/* ---- Version 1 ---------------------------------------------------------------------------------- */

static bool
parse_address(int family, const char *ip, const char *port, struct client *out)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&out->addr;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&out->addr;
	uint64_t n;

	if (!shelf_span_u64(shelf_span_str(port), 65535, &n))
		return false;
	out->addr.ss_family = (sa_family_t)family;
	if (family == AF_INET) {
		in->sin_port = htons((uint16_t)n);
		return inet_pton(AF_INET, ip, &in->sin_addr) == 1;
	}
	in6->sin6_port = htons((uint16_t)n);
	return inet_pton(AF_INET6, ip, &in6->sin6_addr) == 1;
}

/* LINE without its end. */
static bool
parse_v1(char *line, struct client *out)
{
	char *word[6], *rest = line;
	size_t n = 0;

	while (n < 6 && (word[n] = strsep(&rest, " ")) != NULL)
		n++;
	if (n >= 2 && strcmp(word[1], "UNKNOWN") == 0)
		return true;
	if (n != 6 || rest != NULL || (strcmp(word[1], "TCP4") != 0 && strcmp(word[1], "TCP6") != 0))
		return false;
	return parse_address(word[1][3] == '4' ? AF_INET : AF_INET6, word[2], word[4], out);
}

/* ---- Version 2 ---------------------------------------------------------------------------------- */

static size_t
be16(const uint8_t *p)
{
	return (size_t)p[0] << 8 | p[1];
}

/* The first value of TYPE among the TLVs in BYTES. */
static bool
find_tlv(struct shelf_span bytes, uint8_t type, struct shelf_span *out)
{
	for (size_t at = 0; bytes.len - at >= 3;) {
		size_t len = be16(bytes.data + at + 1);

		if (bytes.len - at - 3 < len)
			return false;
		*out = shelf_span(bytes.data + at + 3, len);
		if (bytes.data[at] == type)
			return true;
		at += 3 + len;
	}
	return false;
}

static void
take_tls(struct shelf_span tlvs, struct client *out)
{
	struct shelf_span tls;

	if (!find_tlv(tlvs, TLV_TLS, &tls) || tls.len < TLV_TLS_HEAD || (tls.data[0] & TLS_CLIENT) == 0)
		return;
	out->tls = true;
	if (!find_tlv(shelf_span(tls.data + TLV_TLS_HEAD, tls.len - TLV_TLS_HEAD), TLV_TLS_VERSION, &out->version))
		out->version = shelf_span_str("TLS");
}

static bool
parse_v2(const uint8_t *bytes, size_t len, struct client *out)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&out->addr;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&out->addr;
	const uint8_t *body = bytes + V2_HEAD;
	size_t left = len - V2_HEAD, addresses = 0;
	uint8_t command = bytes[12] & 15, family = bytes[13];

	if (bytes[12] >> 4 != 2 || command > 1)
		return false;
	if (command == 0)
		return true; /* the proxy looks whether we are there */
	if (family == 0x11) {
		addresses = 12;
		if (left < addresses)
			return false;
		in->sin_family = AF_INET;
		memcpy(&in->sin_addr, body, 4);
		memcpy(&in->sin_port, body + 8, 2);
	} else if (family == 0x21) {
		addresses = 36;
		if (left < addresses)
			return false;
		in6->sin6_family = AF_INET6;
		memcpy(&in6->sin6_addr, body, 16);
		memcpy(&in6->sin6_port, body + 32, 2);
	} else {
		return true; /* not of the Internet: nothing is known of it */
	}
	take_tls(shelf_span(body + addresses, left - addresses), out);
	return true;
}

/* ---- On a connection ------------------------------------------------------------------------------ */

static enum net_proxy_outcome
refuse(struct net_conn *conn, const char *why)
{
	shelf_log(SHELF_LOG_WARN, "proxy refused", "service", "%s", conn->protocol->name, "peer", "%s", conn->peer,
	    "reason", "%s", why, NULL);
	return NET_PROXY_BAD;
}

/* The connection is the client's from here on. */
static enum net_proxy_outcome
apply(struct net_conn *conn, const struct client *client)
{
	struct net_peer peer;
	const char *why;
	char text[96], version[16] = "";

	if (client->addr.ss_family == AF_UNSPEC)
		return NET_PROXY_DONE;
	peer = net_addr_peer((const struct sockaddr *)&client->addr, text, sizeof(text));
	conn->loopback = net_addr_is_loopback((const struct sockaddr *)&client->addr);
	if (conn->listener != NULL && (why = net_listener_move(conn, &peer)) != NULL)
		return refuse(conn, why);
	conn->peer_ip = peer;
	free(conn->peer);
	conn->peer = shelf_strdup(text);
	if (!client->tls)
		return NET_PROXY_DONE;
	for (size_t i = 0; i < client->version.len && i < sizeof(version) - 1; i++)
		version[i] = client->version.data[i] > ' ' && client->version.data[i] < 0x7f
				 ? (char)client->version.data[i] : '?';
	conn->tls_text = shelf_alloc(32);
	snprintf(conn->tls_text, 32, "%s/proxy", version);
	return NET_PROXY_DONE;
}

/* Enough bytes for a decision: more are wanted (p->need grows), it is whole, or none. */
static enum net_proxy_outcome
look(struct net_conn *conn, struct net_proxy *p)
{
	struct client client = {.tls = false};

	if (memcmp(p->bytes, signature, sizeof(signature)) == 0) {
		if (p->have < V2_HEAD) {
			p->need = V2_HEAD;
			return NET_PROXY_MORE;
		}
		if (be16(p->bytes + 14) > V2_MAX)
			return refuse(conn, "a PROXY header that is too long");
		if (p->have < V2_HEAD + be16(p->bytes + 14)) {
			p->need = V2_HEAD + be16(p->bytes + 14);
			return NET_PROXY_MORE;
		}
		return parse_v2(p->bytes, p->have, &client) ? apply(conn, &client)
							    : refuse(conn, "a PROXY header that makes no sense");
	}
	if (memcmp(p->bytes, "PROXY ", 6) != 0)
		return refuse(conn, "no PROXY header (proxy_networks)");
	if (p->bytes[p->have - 1] != '\n') {
		p->need = p->have + 1;
		return p->need <= V1_MAX ? NET_PROXY_MORE : refuse(conn, "a PROXY header that is too long");
	}
	if (p->bytes[p->have - 2] != '\r' || memchr(p->bytes, 0, p->have) != NULL)
		return refuse(conn, "a PROXY header that makes no sense");
	p->bytes[p->have - 2] = '\0';
	return parse_v1((char *)p->bytes, &client) ? apply(conn, &client)
						   : refuse(conn, "a PROXY header that makes no sense");
}

enum net_proxy_outcome
net_proxy_read(struct net_conn *conn)
{
	struct net_proxy *p = conn->proxy;
	enum net_proxy_outcome outcome = NET_PROXY_MORE;

	while (outcome == NET_PROXY_MORE) {
		ssize_t n = recv(conn->fd, p->bytes + p->have, p->need - p->have, MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return NET_PROXY_MORE;
		if (n <= 0)
			return NET_PROXY_BAD;
		p->have += (size_t)n;
		if (p->have == p->need)
			outcome = look(conn, p);
	}
	return outcome;
}
