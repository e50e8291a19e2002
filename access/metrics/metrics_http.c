/*
 * metrics_http.c - GET /metrics and GET /health
 *
 * libmicrohttpd with a thread of its own, apart from the loops that serve mail: a scrape reads the store and may wait
 * for the disk. What must stay true: nothing a client sends is used but method and path; connections, their
 * memory and their time have a bound.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <microhttpd.h>

#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "metrics.h"
#include "net_addr.h"

enum { CONNECTIONS_MAX = 16, CONNECTION_BYTES = 16 * 1024, TIMEOUT_S = 10 };

struct metrics_server {
	struct metrics_source source;
	struct MHD_Daemon *daemon;
	int port;
};

static enum MHD_Result
answer(struct MHD_Connection *conn, unsigned status, const char *type, struct shelf_span body)
{
	struct MHD_Response *response =
	    MHD_create_response_from_buffer(body.len, (void *)body.data, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result result = MHD_NO;

	if (response == NULL)
		return MHD_NO;
	if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type) == MHD_YES)
		result = MHD_queue_response(conn, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result
answer_text(struct MHD_Connection *conn, unsigned status, const char *text)
{
	struct shelf_buf line = {0};
	enum MHD_Result result;

	shelf_buf_printf(&line, "%s\n", text);
	result = answer(conn, status, "text/plain; charset=utf-8", shelf_buf_span(&line));
	shelf_buf_free(&line);
	return result;
}

static enum MHD_Result
answer_metrics(struct metrics_server *server, struct MHD_Connection *conn)
{
	struct metrics_text t = {0};
	int rc = server->source.fill(server->source.arg, &t);
	enum MHD_Result result;

	if (rc == 0) {
		metrics_end(&t);
		result = answer(conn, MHD_HTTP_OK,
		    "application/openmetrics-text; version=1.0.0; charset=utf-8", shelf_buf_span(&t.out));
	} else {
		result = answer_text(conn, MHD_HTTP_SERVICE_UNAVAILABLE, shelf_err_text(rc));
	}
	shelf_buf_free(&t.out);
	return result;
}

static enum MHD_Result
on_request(void *arg, struct MHD_Connection *conn, const char *url, const char *method, const char *version,
    const char *body, size_t *body_len, void **state)
{
	struct metrics_server *server = arg;
	int rc;

	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return answer_text(conn, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET");
	if (strcmp(url, "/metrics") == 0)
		return answer_metrics(server, conn);
	if (strcmp(url, "/health") != 0)
		return answer_text(conn, MHD_HTTP_NOT_FOUND, "there are /metrics and /health");
	rc = server->source.health(server->source.arg);
	return answer_text(conn, rc == 0 ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE,
	    rc == 0 ? "ok" : shelf_err_text(rc));
}

static void
log_trouble(void *arg, const char *fmt, va_list ap)
{
	char text[256];

	vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\r\n")] = '\0';
	shelf_log(SHELF_LOG_WARN, "metrics", "reason", "%s", text, NULL);
}

/* Who gives a port alone means this host. */
static int
listen_on(const char *addr, char *error, size_t error_len)
{
	char full[64];

	if (strncmp(addr, "unix:", 5) == 0) {
		snprintf(error, error_len, "%s: must be ADDR:PORT, or a port alone", addr);
		errno = EINVAL;
		return -1;
	}
	snprintf(full, sizeof(full), "127.0.0.1:%s", addr);
	return net_addr_listen(addr[strspn(addr, "0123456789")] == '\0' ? full : addr, 0, 0, error, error_len);
}

struct metrics_server *
metrics_server_new(const char *addr, const struct metrics_source *source, char *error, size_t error_len)
{
	struct metrics_server *server;
	int fd = listen_on(addr, error, error_len);

	if (fd < 0)
		return NULL;
	server = SHELF_NEW(struct metrics_server);
	server->source = *source;
	server->port = net_addr_port(fd);
	server->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO | MHD_USE_ERROR_LOG,
	    0, NULL, NULL, on_request, server, MHD_OPTION_EXTERNAL_LOGGER, log_trouble, NULL,
	    MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES, MHD_OPTION_CONNECTION_TIMEOUT,
	    (unsigned)TIMEOUT_S, MHD_OPTION_END);
	if (server->daemon == NULL) {
		snprintf(error, error_len, "%s: the HTTP server cannot be started", addr);
		close(fd);
		free(server);
		errno = ENOMEM;
		return NULL;
	}
	return server;
}

int
metrics_server_port(const struct metrics_server *server)
{
	return server->port;
}

void
metrics_server_free(struct metrics_server **serverp)
{
	struct metrics_server *server = *serverp;

	*serverp = NULL;
	if (server == NULL)
		return;
	MHD_stop_daemon(server->daemon);
	free(server);
}
