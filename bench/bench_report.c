/*
 * bench_report.c - figures as a table or as JSON, each with its growth and its promise
 *
 * A figure that misses its promise says MISSED and what was promised, and makes the exit status 1. Growth is
 * the last value over the first.
 */
#include <stdarg.h>
#include <stdio.h>

#include "bench.h"

static double
growth(const struct bench_figure *f)
{
	return f->value[0] > 0 ? f->value[f->n - 1] / f->value[0] : 0;
}

static bool
is_kept(const struct bench_figure *f)
{
	double last = f->value[f->n - 1];

	return f->promise == BENCH_GROWTH  ? growth(f) <= f->limit
	       : f->promise == BENCH_MOST  ? last <= f->limit
	       : f->promise == BENCH_LEAST ? last >= f->limit
					   : true;
}

static void
print_number(double v)
{
	printf(v >= 1000 ? " %11.0f" : v >= 10 ? " %11.1f" : " %11.3f", v);
}

void
bench_report_begin(struct bench *b)
{
	if (!b->json)
		printf("limit of the disk: %.0f flushes/s of 4 KiB by one thread\n", b->flushes_s);
}

void
bench_section(struct bench *b, const char *title, const unsigned *sizes, unsigned n)
{
	if (b->json)
		return;
	printf("\n%-40s %-6s", title, "unit");
	for (unsigned i = 0; i < n; i++)
		printf(" %11u", sizes[i]);
	printf(n > 1 ? " %8s  %s\n" : "\n", "growth", "promise");
	fflush(stdout);
}

static void
print_promise(const struct bench_figure *f)
{
	if (f->promise == BENCH_NO_PROMISE)
		return;
	printf("  %s: ", is_kept(f) ? "kept" : "MISSED");
	printf(f->promise == BENCH_GROWTH ? "grows at most %gx"
	       : f->promise == BENCH_MOST ? "at most %g"
					  : "at least %g",
	    f->limit);
}

static void
add_json(struct bench *b, const struct bench_figure *f)
{
	static const char *const promise[] = {"none", "growth_most", "most", "least"};

	shelf_buf_add_str(&b->out, b->figures == 0 ? "\n{\"name\":" : ",\n{\"name\":");
	shelf_buf_add_json(&b->out, shelf_span_str(f->name));
	shelf_buf_add_str(&b->out, ",\"unit\":");
	shelf_buf_add_json(&b->out, shelf_span_str(f->unit));
	shelf_buf_add_str(&b->out, ",\"values\":[");
	for (unsigned i = 0; i < f->n; i++)
		shelf_buf_printf(&b->out, "%s%.6g", i == 0 ? "" : ",", f->value[i]);
	shelf_buf_printf(&b->out, "],\"growth\":%.4g,\"promise\":\"%s\",\"limit\":%g,\"kept\":%s}",
	    growth(f), promise[f->promise], f->limit, is_kept(f) ? "true" : "false");
}

void
bench_report(struct bench *b, const struct bench_figure *f)
{
	if (b->json) {
		add_json(b, f);
	} else {
		printf("%-40s %-6s", f->name, f->unit);
		for (unsigned i = 0; i < f->n; i++)
			print_number(f->value[i]);
		if (f->n > 1)
			printf(" %7.1fx", growth(f));
		print_promise(f);
		putchar('\n');
		fflush(stdout);
	}
	b->figures++;
	b->missed += !is_kept(f);
}

void
bench_report_one(struct bench *b, const char *name, const char *unit, double value,
    enum bench_promise promise, double limit)
{
	struct bench_figure f = {
	    .name = name, .unit = unit, .value = {value}, .n = 1, .promise = promise, .limit = limit};

	bench_report(b, &f);
}

void
bench_note(struct bench *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(b->json ? stderr : stdout, fmt, ap);
	va_end(ap);
	fputc('\n', b->json ? stderr : stdout);
}

void
bench_report_end(struct bench *b)
{
	if (b->json)
		printf("{\"flushes_s\":%.0f,\"largest\":%u,\"figures\":[%s\n],\"missed\":%u}\n", b->flushes_s,
		    b->largest, shelf_buf_cstr(&b->out), b->missed);
	else
		printf("\n%u figures, %u promises missed\n", b->figures, b->missed);
	shelf_buf_free(&b->out);
}
