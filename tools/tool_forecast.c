/*
 * tool_forecast.c - `forecast`: when a disk is full, if it goes on as it did
 *
 * The store keeps a look at each partition for each day (stats.h). For each disk the bytes in use of its partitions
 * are added up, day by day, and a line is laid through the last days (least squares). What lies on the disk beside the
 * store is taken to stay as it is.
 */
#include <stdlib.h>
#include <string.h>

#include <mailshelf/mem.h>
#include <mailshelf/partition.h>
#include <mailshelf/settings.h>
#include <mailshelf/stats.h>

#include "tools.h"

enum { DAY_S = 86400, DAYS_MAX = 3660, DISKS_MAX = SHELF_PARTITIONS_MAX };

struct disk {
	uint64_t device, bytes, free_bytes;
	char *path;
	unsigned partitions;
	/* By days back from today: bytes in use, and how many partitions said so. */
	uint64_t used[DAYS_MAX];
	unsigned said[DAYS_MAX];
	double per_day;
	unsigned days; /* looked at */
};

struct forecast {
	struct tool *t;
	struct disk *disk[DISKS_MAX];
	unsigned ndisks;
	uint64_t days;
	int64_t today;
	struct disk *at; /* of the partition at hand */
};

static int
take_partition(void *arg, const struct shelf_partition *p)
{
	struct forecast *f = arg;

	f->at = NULL;
	for (unsigned i = 0; i < f->ndisks && f->at == NULL; i++)
		if (f->disk[i]->device == p->device)
			f->at = f->disk[i];
	if (f->at == NULL) {
		f->at = f->disk[f->ndisks++] = SHELF_NEW(struct disk);
		f->at->device = p->device;
		f->at->path = shelf_strdup(p->path);
		f->at->bytes = p->disk_bytes;
		f->at->free_bytes = p->disk_free_bytes;
	}
	f->at->partitions++;
	return 0;
}

static int
take_day(void *arg, const struct shelf_history *h)
{
	struct forecast *f = arg;
	int64_t back = f->today - h->day_s / DAY_S;

	if (back >= 0 && back < DAYS_MAX) {
		f->at->used[back] += h->file_bytes - h->free_bytes;
		f->at->said[back]++;
	}
	return 0;
}

/* The slope through the days on which all partitions of the disk were looked at. */
static void
lay_line(const struct forecast *f, struct disk *d)
{
	double n = 0, x = 0, y = 0, xx = 0, xy = 0;

	for (unsigned back = 0; back < f->days; back++) {
		double day = -(double)back, used = (double)d->used[back];

		if (d->said[back] != d->partitions)
			continue;
		n++;
		x += day;
		y += used;
		xx += day * day;
		xy += day * used;
	}
	d->days = (unsigned)n;
	d->per_day = n < 2 ? 0 : (n * xy - x * y) / (n * xx - x * x);
}

/* Days until less than so much is free; negative: never. A mark counts when its percent and its bytes are passed. */
static double
days_until(const struct disk *d, uint64_t percent, uint64_t bytes)
{
	uint64_t mark = d->bytes / 100 * percent;

	mark = bytes < mark ? bytes : mark;
	if (d->free_bytes <= mark)
		return 0;
	return d->per_day > 0 ? (double)(d->free_bytes - mark) / d->per_day : -1;
}

struct outlook {
	double warn, refuse, full;
};

static struct outlook
look_ahead(const struct forecast *f, const struct disk *d)
{
	struct shelf_store *s = f->t->store;
	uint64_t warn = shelf_setting_get(s, SHELF_SETTING_WARN_PERCENT),
	    refuse = shelf_setting_get(s, SHELF_SETTING_REFUSE_PERCENT);

	return (struct outlook){days_until(d, warn, shelf_setting_get(s, SHELF_SETTING_WARN_BYTES)),
	    days_until(d, refuse, shelf_setting_get(s, SHELF_SETTING_REFUSE_BYTES)), days_until(d, 0, 0)};
}

static const char *
days_text(double days, char *buf, size_t len)
{
	if (days < 0)
		snprintf(buf, len, "never");
	else if (days == 0)
		snprintf(buf, len, "now");
	else
		snprintf(buf, len, "in %.0f days", days);
	return buf;
}

static void
print_disk(const struct forecast *f, const struct disk *d)
{
	struct outlook o = look_ahead(f, d);
	char free_text[32], size_text[32], grows[32], warn[32], refuse[32], full[32];

	tool_print("disk of %s and %u partitions: %s of %s free", d->path, d->partitions,
	    shelf_size_text(d->free_bytes, free_text, sizeof free_text),
	    shelf_size_text(d->bytes, size_text, sizeof size_text));
	if (d->days < 2)
		tool_print("  %u days were looked at: two are needed", d->days);
	else if (d->per_day <= 0)
		tool_print("  it does not grow (%u days were looked at)", d->days);
	else
		tool_print("  grows by %s a day (%u days were looked at): warns %s, refuses mail %s, full %s",
		    shelf_size_text((uint64_t)d->per_day, grows, sizeof grows), d->days,
		    days_text(o.warn, warn, sizeof warn), days_text(o.refuse, refuse, sizeof refuse),
		    days_text(o.full, full, sizeof full));
}

/* null where it is never reached, or nobody knows. */
static void
add_days(struct shelf_buf *b, const char *name, const struct disk *d, double days)
{
	tool_json_key(b, name);
	if (d->days < 2 || days < 0)
		shelf_buf_add_str(b, "null");
	else
		shelf_buf_printf(b, "%.1f", days);
}

static void
print_json(const struct forecast *f)
{
	struct shelf_buf b = {0};

	shelf_buf_add_byte(&b, '[');
	for (unsigned i = 0; i < f->ndisks; i++) {
		const struct disk *d = f->disk[i];
		struct outlook o = look_ahead(f, d);

		shelf_buf_add_str(&b, i == 0 ? "{" : ",{");
		tool_json_str(&b, "path", shelf_span_str(d->path));
		tool_json_u64(&b, "partitions", d->partitions);
		tool_json_u64(&b, "disk_bytes", d->bytes);
		tool_json_u64(&b, "free_bytes", d->free_bytes);
		tool_json_u64(&b, "days_looked_at", d->days);
		tool_json_key(&b, "bytes_per_day");
		if (d->days < 2)
			shelf_buf_add_str(&b, "null");
		else
			shelf_buf_printf(&b, "%.0f", d->per_day);
		add_days(&b, "warns_in_days", d, o.warn);
		add_days(&b, "refuses_in_days", d, o.refuse);
		add_days(&b, "full_in_days", d, o.full);
		shelf_buf_add_byte(&b, '}');
	}
	shelf_buf_add_byte(&b, ']');
	tool_print_buf(&b);
}

int
tool_forecast(struct tool *t)
{
	struct tool_number days = {0};
	const struct tool_option options[] = {{"days", TOOL_COUNT, &days}, {0}};
	struct forecast f = {.t = t, .today = shelf_now_s() / DAY_S};
	int rc = tool_args(t, options, 0, 0);

	f.days = days.given ? days.value : 30;
	if (rc == 0 && (f.days < 2 || f.days > DAYS_MAX))
		rc = tool_usage(t, "--days: 2 to %d", DAYS_MAX);
	if (rc == 0)
		rc = tool_open(t);
	if (rc != 0)
		return rc;
	for (uint32_t i = 0; rc == 0 && shelf_partition_get(t->store, i, take_partition, &f) == 0; i++)
		rc = shelf_stats_history(t->store, i, take_day, &f);
	for (unsigned i = 0; i < f.ndisks; i++)
		lay_line(&f, f.disk[i]);
	if (rc != 0)
		rc = tool_fail(t, t->store_dir, rc);
	else if (t->json)
		print_json(&f);
	for (unsigned i = 0; i < f.ndisks; i++) {
		if (rc == 0 && !t->json)
			print_disk(&f, f.disk[i]);
		free(f.disk[i]->path);
		free(f.disk[i]);
	}
	return rc;
}
