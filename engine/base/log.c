/*
 * log.c - one line per event
 *
 * Each triple is formatted by itself; the format is looked at only for the argument's type, so a
 * value can be escaped whatever it holds.
 */
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <mailshelf/buf.h>
#include <mailshelf/log.h>
#include <mailshelf/mem.h>

static _Atomic int least_level = SHELF_LOG_INFO;

void
shelf_log_level(enum shelf_log_level level)
{
	atomic_store(&least_level, (int)level);
}

static void
add_value(struct shelf_buf *line, struct shelf_span v)
{
	bool quote = v.len == 0;

	for (size_t i = 0; i < v.len && !quote; i++)
		quote = v.data[i] <= ' ' || v.data[i] == '"' || v.data[i] == '=' ||
			v.data[i] >= 0x7f || v.data[i] == '\\';
	if (quote)
		shelf_buf_add_json(line, v);
	else
		shelf_buf_add_span(line, v);
}

static void
add_time(struct shelf_buf *line)
{
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	shelf_buf_printf(line, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ", tm.tm_year + 1900,
			 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
			 now.tv_nsec / 1000000);
}

void
shelf_log(enum shelf_log_level level, const char *event, ...)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};
	struct shelf_buf line = {0};
	const char *key;
	va_list ap;

	if ((int)level < atomic_load(&least_level))
		return;
	add_time(&line);
	shelf_buf_printf(&line, " %s %s", names[level], event);
	va_start(ap, event);
	while ((key = va_arg(ap, const char *)) != NULL) {
		const char *fmt = va_arg(ap, const char *);
		char number[32];

		shelf_buf_printf(&line, " %s=", key);
		if (strcmp(fmt, "%s") == 0) {
			const char *s = va_arg(ap, const char *);

			add_value(&line, shelf_span_str(s == NULL ? "" : s));
			continue;
		}
		if (strcmp(fmt, "%d") == 0)
			snprintf(number, sizeof(number), "%d", va_arg(ap, int));
		else if (strcmp(fmt, "%u") == 0)
			snprintf(number, sizeof(number), "%u", va_arg(ap, unsigned));
		else if (strcmp(fmt, "%zu") == 0)
			snprintf(number, sizeof(number), "%zu", va_arg(ap, size_t));
		else if (strcmp(fmt, "%lld") == 0)
			snprintf(number, sizeof(number), "%lld", va_arg(ap, long long));
		else if (strcmp(fmt, "%llu") == 0)
			snprintf(number, sizeof(number), "%llu", va_arg(ap, unsigned long long));
		else
			SHELF_ASSERT(!"format not known to shelf_log");
		shelf_buf_add_str(&line, number);
	}
	va_end(ap);
	shelf_buf_add_byte(&line, '\n');
	if (write(STDERR_FILENO, line.data, line.len) < 0) {
		/* Nowhere left to complain to. */
	}
	shelf_buf_free(&line);
}
