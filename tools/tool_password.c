/*
 * tool_password.c - taking a password: from stdin, or typed twice without echo
 *
 * Passwords are never arguments (anybody can read those) and never printed. The terminal's echo is
 * restored on every way out, an interrupt included.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "tools.h"

enum { POLL_MS = 200 };

void
tool_password_wipe(struct shelf_buf *b)
{
	if (b->cap > 0)
		explicit_bzero(b->data, b->cap);
	shelf_buf_free(b);
}

/* One byte of stdin: 1, 0 at the end, -1. The signal may go to another thread and not end a read, so
 * the flag is looked at. */
static ssize_t
read_byte(char *c)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

	while (poll(&p, 1, POLL_MS) <= 0) {
		if (tool_interrupted()) {
			errno = EINTR;
			return -1;
		}
	}
	return read(STDIN_FILENO, c, 1);
}

/* The first line of stdin without its end, byte by byte: what follows belongs to somebody else. */
static int
read_line(struct tool *t, struct shelf_buf *out)
{
	uint8_t *room;
	char c = '\0';
	ssize_t n;

	/* One allocation: growing would leave copies of the secret in freed memory. */
	room = shelf_buf_reserve(out, SHELF_PASSWORD_MAX + 2);
	while ((n = read_byte(&c)) == 1 && c != '\n') {
		if (out->len > SHELF_PASSWORD_MAX) {
			tool_say(t, "password: longer than %d bytes", SHELF_PASSWORD_MAX);
			return EX_DATAERR;
		}
		room[out->len++] = (uint8_t)c;
	}
	if (n < 0) {
		tool_say(t, "password: %s", errno == EINTR ? "interrupted" : "stdin cannot be read");
		return errno == EINTR ? EX_TEMPFAIL : EX_IOERR;
	}
	if (out->len > 0 && out->data[out->len - 1] == '\r')
		out->len--;
	if (out->len > SHELF_PASSWORD_MAX) {
		tool_say(t, "password: longer than %d bytes", SHELF_PASSWORD_MAX);
		return EX_DATAERR;
	}
	if (out->len == 0 || memchr(out->data, '\0', out->len) != NULL) {
		tool_say(t, "password: %s", out->len == 0 ? "empty" : "holds a NUL byte");
		return EX_DATAERR;
	}
	return EX_OK;
}

static int
prompt(struct tool *t, const char *text, struct shelf_buf *out)
{
	struct termios before, silent;
	int rc;

	if (tcgetattr(STDIN_FILENO, &before) != 0) {
		tool_say(t, "password: terminal cannot be set up");
		return EX_IOERR;
	}
	silent = before;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) != 0) {
		tool_say(t, "password: terminal cannot be set up");
		return EX_IOERR;
	}
	fputs(text, stderr);
	fflush(stderr);
	rc = read_line(t, out);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	fputc('\n', stderr);
	return rc;
}

int
tool_password(struct tool *t, bool from_stdin, struct shelf_buf *out)
{
	struct shelf_buf again = {0};
	int rc;

	if (from_stdin)
		return read_line(t, out);
	if (isatty(STDIN_FILENO) != 1)
		return 1;
	tool_catch_interrupts();
	rc = prompt(t, "Password: ", out);
	if (rc == 0)
		rc = prompt(t, "Again: ", &again);
	if (rc == 0 && !shelf_span_eq(shelf_buf_span(out), shelf_buf_span(&again))) {
		tool_say(t, "password: the two are not the same");
		rc = EX_DATAERR;
	}
	tool_password_wipe(&again);
	return rc;
}
