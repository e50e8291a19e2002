/*
 * net_addr.h - addresses as text and as sockets
 *
 * Errors    net_addr_listen returns -1, a text in ERROR, and errno: EINVAL for an address that makes
 *           no sense, else what the system said.
 */
#ifndef ACCESS_NET_ADDR_H
#define ACCESS_NET_ADDR_H

#include <sys/socket.h>

#include "net.h"

/* TEXT for logs, "192.0.2.1:4711"; the result for counting (net.h). */
struct net_peer net_addr_peer(const struct sockaddr *addr, char *text, size_t text_len);
/* 127/8, ::1, or not an IP address at all. */
bool net_addr_is_loopback(const struct sockaddr *addr);
/* A listening, non-blocking descriptor. MODE, GROUP: of net_listener_params. */
int net_addr_listen(const char *addr, int mode, gid_t group, char *error, size_t error_len);
/* A Unix socket's peer always is. */
bool net_networks_has(const struct net_networks *nets, const struct sockaddr *addr);
/* Of a bound descriptor; 0 for a Unix socket. */
int net_addr_port(int fd);

#endif
