/*
 * tool_progress.c - the bar on stderr, and being interrupted
 *
 * A bar is drawn with a carriage return over itself, on terminals only; files and pipes get whole
 * lines, and only when asked for.
 */
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tools.h"

enum { DRAW_MS = 100, LINE_MS = 10000, BAR_CELLS = 24 };

static volatile sig_atomic_t interrupted;

static void
on_signal(int sig)
{
	interrupted = 1;
}

void
tool_catch_interrupts(void)
{
	/* SA_RESETHAND: whoever cannot wait presses Ctrl-C again. Not SA_RESTART: a read of stdin ends. */
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

bool
tool_interrupted(void)
{
	return interrupted != 0;
}

void
tool_progress_begin(struct tool_progress *p, bool asked)
{
	*p = (struct tool_progress){.tty = isatty(STDERR_FILENO) == 1, .start_ms = shelf_mono_ms()};
	p->shown = p->tty || asked;
	p->last_ms = p->start_ms;
}

static void
add_time_left(struct shelf_buf *b, int64_t elapsed_ms, uint64_t done, uint64_t total)
{
	double left;

	if (done == 0 || done >= total || elapsed_ms < 500)
		return;
	left = (double)elapsed_ms / 1000 * ((double)(total - done) / (double)done);
	if (left >= 3600)
		shelf_buf_printf(b, "  %d h %02d min left", (int)(left / 3600), (int)(left / 60) % 60);
	else if (left >= 60)
		shelf_buf_printf(b, "  %d min %02d s left", (int)(left / 60), (int)left % 60);
	else
		shelf_buf_printf(b, "  %d s left", (int)left + 1);
}

static size_t
columns(void)
{
	struct winsize w;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 10 ? w.ws_col : 80;
}

static void
draw(struct tool_progress *p, struct shelf_buf *line)
{
	size_t width = columns() - 1;
	struct shelf_buf b = {0};

	if (line->len > width)
		line->len = width;
	shelf_buf_add_byte(&b, '\r');
	shelf_buf_add(&b, line->data, line->len);
	for (size_t i = line->len; i < p->last_width; i++)
		shelf_buf_add_byte(&b, ' ');
	p->last_width = line->len;
	fwrite(b.data, 1, b.len, stderr);
	fflush(stderr);
	shelf_buf_free(&b);
}

void
tool_progress_step(struct tool_progress *p, uint64_t done, uint64_t total, const char *fmt, ...)
{
	int64_t now = shelf_mono_ms();
	struct shelf_buf line = {0};
	va_list ap;

	if (!p->shown || now - p->last_ms < (p->tty ? DRAW_MS : LINE_MS))
		return;
	p->last_ms = now;
	if (done > total)
		done = total;
	if (total > 0 && p->tty) {
		int cells = (int)((double)done / (double)total * BAR_CELLS);

		shelf_buf_add_byte(&line, '[');
		for (int i = 0; i < BAR_CELLS; i++)
			shelf_buf_add_byte(&line, i < cells ? '#' : '.');
		shelf_buf_add_str(&line, "] ");
	}
	if (total > 0)
		shelf_buf_printf(&line, "%3d %%  ", (int)((double)done / (double)total * 100));
	va_start(ap, fmt);
	shelf_buf_vprintf(&line, fmt, ap);
	va_end(ap);
	add_time_left(&line, now - p->start_ms, done, total);
	if (p->tty)
		draw(p, &line);
	else
		fprintf(stderr, "%.*s\n", (int)line.len, (const char *)line.data);
	shelf_buf_free(&line);
}

void
tool_progress_end(struct tool_progress *p)
{
	struct shelf_buf none = {0};

	if (!p->tty || p->last_width == 0)
		return;
	draw(p, &none);
	fputc('\r', stderr);
	p->last_width = 0;
	shelf_buf_free(&none);
}
