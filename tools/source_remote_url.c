/* source_remote_url.c - "imaps://joe%40example.org@imap.example.org:993" */
#include <mailshelf/mem.h>

#include "source_remote.h"

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %XX undone; NULL: not so, or a control character. */
static char *
decode(struct shelf_arena *arena, const char *s, size_t len)
{
	char *out = shelf_arena_alloc(arena, len + 1);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int c = (uint8_t)s[i];

		if (s[i] == '%') {
			int high = i + 2 < len ? hex(s[i + 1]) : -1, low = high < 0 ? -1 : hex(s[i + 2]);

			if (low < 0)
				return NULL;
			c = 16 * high + low;
			i += 2;
		}
		if (c < ' ' || c == 0x7f)
			return NULL;
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return n > 0 ? out : NULL;
}

bool
source_remote_url(const char *url, struct remote_params *params, struct shelf_arena *arena)
{
	bool tls = strncmp(url, "imaps://", 8) == 0;
	const char *at, *host, *end, *port;
	char *user;

	if (!tls && strncmp(url, "imap://", 7) != 0)
		return false;
	url += tls ? 8 : 7;
	at = strrchr(url, '@');
	if (at == NULL || memchr(url, ':', (size_t)(at - url)) != NULL || memchr(url, '/', (size_t)(at - url)) != NULL)
		return false;
	user = decode(arena, url, (size_t)(at - url));
	host = at + 1;
	end = host + strcspn(host, "/");
	if (user == NULL || (*end == '/' && end[1] != '\0'))
		return false;
	if (*host == '[') { /* an address of IPv6 */
		const char *bracket = memchr(host, ']', (size_t)(end - host));

		if (bracket == NULL || (bracket + 1 != end && bracket[1] != ':'))
			return false;
		port = bracket + 1;
		host++;
		params->host = shelf_arena_printf(arena, "%.*s", (int)(bracket - host), host);
	} else {
		port = memchr(host, ':', (size_t)(end - host));
		if (port == NULL)
			port = end;
		params->host = shelf_arena_printf(arena, "%.*s", (int)(port - host), host);
	}
	params->port = tls ? "993" : "143";
	if (port < end)
		params->port = shelf_arena_printf(arena, "%.*s", (int)(end - port - 1), port + 1);
	params->tls = tls;
	params->user = user;
	return *params->host != '\0' && *params->port != '\0';
}
