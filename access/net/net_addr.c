/*
 * net_addr.c - addresses as text and as sockets
 *
 * Accepted: "127.0.0.1:143", "[::1]:143", "localhost:143", "*:143" (IPv6 and IPv4 on one socket where
 * the machine has both), "unix:/path". The port is always a number.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <mailshelf/mem.h>

#include "net_addr.h"
#include "net_inside.h"

/* ---- Peers ------------------------------------------------------------------------------------ */

struct net_peer
net_addr_peer(const struct sockaddr *addr, char *text, size_t text_len)
{
	struct net_peer peer = {{0}};
	char ip[INET6_ADDRSTRLEN] = "?";
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;
	const struct sockaddr_in *in = (const struct sockaddr_in *)addr;

	if (addr->sa_family == AF_INET) {
		peer.ip[10] = peer.ip[11] = 0xff;
		memcpy(peer.ip + 12, &in->sin_addr, 4);
		inet_ntop(AF_INET, &in->sin_addr, ip, sizeof(ip));
		snprintf(text, text_len, "%s:%u", ip, ntohs(in->sin_port));
	} else if (addr->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		memcpy(peer.ip, &in6->sin6_addr, 16);
		inet_ntop(AF_INET, peer.ip + 12, ip, sizeof(ip));
		snprintf(text, text_len, "%s:%u", ip, ntohs(in6->sin6_port));
	} else if (addr->sa_family == AF_INET6) {
		memcpy(peer.ip, &in6->sin6_addr, 8);
		inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof(ip));
		snprintf(text, text_len, "[%s]:%u", ip, ntohs(in6->sin6_port));
	} else {
		snprintf(text, text_len, "unix");
	}
	return peer;
}

bool
net_addr_is_loopback(const struct sockaddr *addr)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;

	if (addr->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)addr)->sin_addr.s_addr) >> 24 == 127;
	if (addr->sa_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) ||
		    (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) && in6->sin6_addr.s6_addr[12] == 127);
	return true;
}

/* ---- Listening -------------------------------------------------------------------------------- */

static int
refuse(char *error, size_t error_len, const char *addr, const char *why)
{
	snprintf(error, error_len, "%s: %s", addr, why);
	errno = EINVAL;
	return -1;
}

/* Closes FD and tells errno's text; errno stays. */
static int
fail(int fd, char *error, size_t error_len, const char *addr, const char *what)
{
	int saved = errno;

	snprintf(error, error_len, "%s: %s: %s", addr, what, strerror(saved));
	if (fd >= 0)
		close(fd);
	errno = saved;
	return -1;
}

/* A socket file that nobody listens on any more is a leftover of a killed server. */
static bool
is_stale(const struct sockaddr_un *un)
{
	struct stat st;
	bool stale = false;
	int fd;

	if (lstat(un->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	if (connect(fd, (const struct sockaddr *)un, sizeof(*un)) != 0)
		stale = errno == ECONNREFUSED;
	close(fd);
	return stale;
}

static int
listen_unix(const char *addr, int mode, gid_t group, char *error, size_t error_len)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	const char *path = addr + strlen("unix:");
	int fd;

	if (*path == '\0' || strlen(path) >= sizeof(un.sun_path))
		return refuse(error, error_len, addr, "the path must have 1 to 107 bytes");
	memcpy(un.sun_path, path, strlen(path) + 1);
	if (is_stale(&un))
		unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&un, sizeof(un)) != 0)
		return fail(fd, error, error_len, addr, "cannot bind");
	/* Nobody can connect between bind and listen, so nobody gets in with the umask's mode. */
	if ((group != 0 && chown(path, (uid_t)-1, group) != 0) ||
	    chmod(path, mode == 0 ? 0660 : (mode_t)mode) != 0 || listen(fd, NET_BACKLOG) != 0) {
		unlink(path);
		return fail(fd, error, error_len, addr, "cannot listen");
	}
	return fd;
}

static int
listen_ip(const struct sockaddr *sa, socklen_t len, bool both, const char *addr, char *error,
    size_t error_len)
{
	int one = 1, only = !both;
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return fail(fd, error, error_len, addr, "no socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (sa->sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
	if (bind(fd, sa, len) != 0)
		return fail(fd, error, error_len, addr, "cannot bind");
	if (listen(fd, NET_BACKLOG) != 0)
		return fail(fd, error, error_len, addr, "cannot listen");
	return fd;
}

static int
listen_any(in_port_t port, const char *addr, char *error, size_t error_len)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = port};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = port};
	int fd = listen_ip((struct sockaddr *)&in6, sizeof(in6), true, addr, error, error_len);

	if (fd < 0 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
		fd = listen_ip((struct sockaddr *)&in, sizeof(in), false, addr, error, error_len);
	return fd;
}

static int
listen_host(const char *host, const char *port, const char *addr, char *error, size_t error_len)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *found = NULL;
	int rc = getaddrinfo(host, port, &hints, &found);
	int fd;

	if (rc != 0)
		return refuse(error, error_len, addr, gai_strerror(rc));
	fd = listen_ip(found->ai_addr, found->ai_addrlen, false, addr, error, error_len);
	rc = errno;
	freeaddrinfo(found);
	errno = rc;
	return fd;
}

int
net_addr_listen(const char *addr, int mode, gid_t group, char *error, size_t error_len)
{
	const char *colon = strrchr(addr, ':');
	const char *from = addr;
	char host[256];
	size_t len;
	uint64_t port;

	if (strncmp(addr, "unix:", 5) == 0)
		return listen_unix(addr, mode, group, error, error_len);
	if (colon == NULL || !shelf_span_u64(shelf_span_str(colon + 1), 65535, &port))
		return refuse(error, error_len, addr, "ADDR:PORT expected, PORT a number up to 65535");
	len = (size_t)(colon - addr);
	if (len == 1 && addr[0] == '*')
		return listen_any(htons((uint16_t)port), addr, error, error_len);
	if (len >= 2 && addr[0] == '[' && addr[len - 1] == ']') {
		from++;
		len -= 2;
	} else if (memchr(addr, ':', len) != NULL) {
		return refuse(error, error_len, addr, "an IPv6 address needs brackets, [::1]:143");
	}
	if (len == 0 || len >= sizeof(host))
		return refuse(error, error_len, addr, "ADDR:PORT expected, or *:PORT for every address");
	memcpy(host, from, len);
	host[len] = '\0';
	return listen_host(host, colon + 1, addr, error, error_len);
}

int
net_addr_port(int fd)
{
	struct sockaddr_storage addr = {0};
	socklen_t len = sizeof(addr);

	if (getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
		return 0;
	if (addr.ss_family == AF_INET)
		return ntohs(((struct sockaddr_in *)&addr)->sin_port);
	if (addr.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&addr)->sin6_port);
	return 0;
}

void
net_peer_parse(const char *text, struct net_peer *out, bool *loopback_out)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	struct sockaddr_in in = {.sin_family = AF_INET};
	const struct sockaddr *addr = NULL;
	char unused[64];

	*out = (struct net_peer){{0}};
	if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
		addr = (const struct sockaddr *)&in;
	else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
		addr = (const struct sockaddr *)&in6;
	*loopback_out = addr != NULL && net_addr_is_loopback(addr);
	if (addr != NULL)
		*out = net_addr_peer(addr, unused, sizeof(unused));
}
