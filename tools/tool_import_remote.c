/*
 * tool_import_remote.c - `import` from another server: its options, its password; many accounts, one process for each
 *
 * A password or token comes from a file or stdin, is handed to children through a pipe, and is never an argument.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mailshelf/expire.h>
#include <mailshelf/mem.h>

#include "tool_intake.h"
#include "tool_import.h"

enum { SECRET_MAX_BYTES = 16384 };

/* The first line of the file. */
static int
read_secret(struct tool *t, const char *path, struct shelf_buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *room = shelf_buf_reserve(out, SECRET_MAX_BYTES + 1);
	ssize_t n = 0;

	while (fd >= 0 && out->len < SECRET_MAX_BYTES &&
	    (n = read(fd, room + out->len, SECRET_MAX_BYTES - out->len)) > 0)
		out->len += (size_t)n;
	if (fd < 0 || n < 0) {
		tool_say(t, "%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return EX_NOINPUT;
	}
	close(fd);
	for (size_t i = 0; i < out->len; i++)
		if (out->data[i] == '\n' || out->data[i] == '\r')
			out->len = i;
	if (out->len == 0 || out->len == SECRET_MAX_BYTES || memchr(out->data, 0, out->len) != NULL) {
		tool_say(t, "%s: its first line is no password", path);
		return EX_DATAERR;
	}
	return 0;
}

int
import_remote_options(struct tool *t, struct import_remote *r, const char *url)
{
	struct remote_params *p = &r->params;
	int ways = r->password_stdin + (r->password_file != NULL) + (r->token_file != NULL), rc = 0;

	if (!source_remote_url(url, p, &r->arena))
		return tool_usage(t, "not imaps://USER@HOST[:PORT] or imap://..., without a password");
	if (ways != 1)
		return tool_usage(t, "one of --password-stdin, --password-file, --token-file");
	if (r->password_stdin)
		rc = tool_password(t, true, &r->secret);
	else
		rc = read_secret(t, r->password_file != NULL ? r->password_file : r->token_file, &r->secret);
	if (rc != 0)
		return rc;
	p->password = r->token_file == NULL ? shelf_buf_cstr(&r->secret) : NULL;
	p->token = r->token_file != NULL ? shelf_buf_cstr(&r->secret) : NULL;
	p->as = r->as;
	p->ca_file = r->ca_file;
	p->any_certificate = r->any_certificate;
	p->cleartext = r->cleartext;
	p->bytes_per_s = r->throttle.value;
	p->stop = tool_interrupted;
	r->source = (struct source_remote){.params = p, .folders = r->folders.text, .nfolders = r->folders.count,
	    .exclude = r->exclude.text, .nexclude = r->exclude.count, .matches = shelf_expire_matches};
	return 0;
}

void
import_remote_free(struct import_remote *r)
{
	tool_password_wipe(&r->secret);
	shelf_arena_free(&r->arena);
}

bool
import_is_remote(const char *path)
{
	return strncmp(path, "imap://", 7) == 0 || strncmp(path, "imaps://", 8) == 0;
}
