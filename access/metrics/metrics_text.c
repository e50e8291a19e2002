/* metrics_text.c - families and samples in the text format of OpenMetrics 1.0 */
#include "metrics.h"

static const char *const kinds[] = {
    [METRICS_COUNTER] = "counter",
    [METRICS_GAUGE] = "gauge",
    [METRICS_INFO] = "info",
    [METRICS_HISTOGRAM] = "histogram",
};

void
metrics_family(struct metrics_text *t, enum metrics_kind kind, const char *name, const char *unit,
    const char *help)
{
	t->family = name;
	t->kind = kind;
	shelf_buf_printf(&t->out, "# TYPE %s %s\n", name, kinds[kind]);
	if (unit != NULL)
		shelf_buf_printf(&t->out, "# UNIT %s %s\n", name, unit);
	shelf_buf_printf(&t->out, "# HELP %s %s\n", name, help);
}

static void
begin_sample(struct metrics_text *t)
{
	shelf_buf_add_str(&t->out, t->family);
	if (t->kind == METRICS_COUNTER)
		shelf_buf_add_str(&t->out, "_total");
	else if (t->kind == METRICS_INFO)
		shelf_buf_add_str(&t->out, "_info");
}

static void
begin_labelled(struct metrics_text *t, const char *labels_fmt, va_list ap)
{
	begin_sample(t);
	shelf_buf_add_byte(&t->out, '{');
	shelf_buf_vprintf(&t->out, labels_fmt, ap);
	shelf_buf_add_str(&t->out, "} ");
}

static void
add_seconds(struct metrics_text *t, uint64_t us)
{
	shelf_buf_printf(&t->out, "%llu.%06llu", (unsigned long long)(us / 1000000),
	    (unsigned long long)(us % 1000000));
}

void
metrics_value(struct metrics_text *t, uint64_t value)
{
	begin_sample(t);
	shelf_buf_printf(&t->out, " %llu\n", (unsigned long long)value);
}

void
metrics_value_us(struct metrics_text *t, uint64_t us)
{
	begin_sample(t);
	shelf_buf_add_byte(&t->out, ' ');
	add_seconds(t, us);
	shelf_buf_add_byte(&t->out, '\n');
}

void
metrics_sample(struct metrics_text *t, uint64_t value, const char *labels_fmt, ...)
{
	va_list ap;

	va_start(ap, labels_fmt);
	begin_labelled(t, labels_fmt, ap);
	va_end(ap);
	shelf_buf_printf(&t->out, "%llu\n", (unsigned long long)value);
}

void
metrics_seconds(struct metrics_text *t, uint64_t us, const char *labels_fmt, ...)
{
	va_list ap;

	va_start(ap, labels_fmt);
	begin_labelled(t, labels_fmt, ap);
	va_end(ap);
	add_seconds(t, us);
	shelf_buf_add_byte(&t->out, '\n');
}

/* A bound of 2^n us is not reached by what bucket n counts, so it may stand as "less than or equal". */
void
metrics_durations(struct metrics_text *t, const struct shelf_durations *d)
{
	unsigned long long below = 0;

	for (unsigned n = 0; n < SHELF_DURATIONS_BUCKETS; n++) {
		below += d->bucket[n];
		shelf_buf_printf(&t->out, "%s_bucket{le=\"", t->family);
		if (n + 1 < SHELF_DURATIONS_BUCKETS)
			add_seconds(t, 1ULL << n);
		else
			shelf_buf_add_str(&t->out, "+Inf");
		shelf_buf_printf(&t->out, "\"} %llu\n", below);
	}
	shelf_buf_printf(&t->out, "%s_count %llu\n%s_sum ", t->family, below, t->family);
	add_seconds(t, d->total_us);
	shelf_buf_add_byte(&t->out, '\n');
}

void
metrics_end(struct metrics_text *t)
{
	shelf_buf_add_str(&t->out, "# EOF\n");
}
