/*
 * tool_dict.c - dict list, train, recompress, prune: the dictionaries mail is compressed with
 *
 * All of them go over the partitions, or take the one that --partition names.
 */
#include <string.h>

#include "tools.h"

struct span_of_partitions {
	uint32_t from, to;
};

/* After tool_args(): opens the store, finds which partitions are meant. */
static int
open_partitions(struct tool *t, const struct tool_number *partition, struct span_of_partitions *p)
{
	struct shelf_store_stats stats;
	int rc = tool_open(t);

	if (rc != 0)
		return rc;
	if ((rc = shelf_store_stats(t->store, &stats)) != 0)
		return tool_fail(t, t->store_dir, rc);
	*p = (struct span_of_partitions){0, stats.partitions};
	if (!partition->given)
		return 0;
	if (partition->value >= stats.partitions)
		return tool_usage(t, "--partition %llu: the store has partitions 0..%u",
		    (unsigned long long)partition->value, stats.partitions - 1);
	p->from = (uint32_t)partition->value;
	p->to = p->from + 1;
	return 0;
}

static const char *
kind_text(enum shelf_dict_kind kind)
{
	return kind == SHELF_DICT_BODY ? "bodies" : "derived";
}

/* "17.8 %" less, or more; permille of WAS. */
static const char *
saved_text(uint64_t was, uint64_t is, char *buf, size_t len)
{
	double percent = was == 0 ? 0 : 100.0 * ((double)was - (double)is) / (double)was;

	snprintf(buf, len, "%.1f %% %s", percent < 0 ? -percent : percent,
	    percent < 0 ? "larger" : "smaller");
	return buf;
}

/* ---- list ------------------------------------------------------------------------------------------ */

struct listing {
	const struct tool *t;
	struct span_of_partitions which;
	struct shelf_buf json;
};

static int
list_one(void *arg, const struct shelf_dict *d)
{
	struct listing *l = arg;
	char size[32], when[32], origin[48];

	if (d->partition < l->which.from || d->partition >= l->which.to)
		return 0;
	if (l->t->json) {
		if (l->json.data[l->json.len - 1] != '[')
			shelf_buf_add_byte(&l->json, ',');
		shelf_buf_add_byte(&l->json, '{');
		tool_json_u64(&l->json, "partition", d->partition);
		tool_json_u64(&l->json, "id", d->id);
		tool_json_str(&l->json, "kind", shelf_span_str(kind_text(d->kind)));
		tool_json_bool(&l->json, "current", d->current);
		tool_json_u64(&l->json, "created_s", (uint64_t)d->created_s);
		tool_json_u64(&l->json, "messages", d->messages);
		tool_json_u64(&l->json, "bytes", d->bytes);
		tool_json_u64(&l->json, "blobs", d->blobs);
		shelf_buf_add_byte(&l->json, '}');
		return 0;
	}
	snprintf(origin, sizeof origin, "from %u messages", d->messages);
	tool_print("partition %u  dictionary %u  %-7s  %s  %s  %s  used by %llu%s", d->partition, d->id,
	    kind_text(d->kind), shelf_size_text(d->bytes, size, sizeof size),
	    tool_time_text(d->created_s, when), d->messages == 0 ? "of the program" : origin,
	    (unsigned long long)d->blobs, d->current ? "  current" : "");
	return 0;
}

int
tool_dict_list(struct tool *t)
{
	struct tool_number partition = {0};
	const struct tool_option options[] = {{"partition", TOOL_COUNT, &partition}, {0}};
	struct listing l = {.t = t};
	int rc = tool_args(t, options, 0, 0);

	if (rc != 0 || (rc = open_partitions(t, &partition, &l.which)) != 0)
		return rc;
	shelf_buf_add_byte(&l.json, '[');
	rc = shelf_dict_each(t->store, list_one, &l);
	if (rc == 0 && t->json) {
		shelf_buf_add_byte(&l.json, ']');
		tool_print_buf(&l.json);
	}
	shelf_buf_free(&l.json);
	return rc == 0 ? EX_OK : tool_fail(t, t->store_dir, rc);
}

/* ---- train ----------------------------------------------------------------------------------------- */

static void
add_trial(struct shelf_dict_trial *sum, const struct shelf_dict_trial *one)
{
	sum->learned += one->learned;
	sum->tested += one->tested;
	sum->raw += one->raw;
	sum->without += one->without;
	sum->before += one->before;
	/* What is not kept compresses nothing. */
	sum->after += one->id != 0 ? one->after : one->before;
}

static void
json_trial(struct shelf_buf *b, const char *key, const struct shelf_dict_trial *r)
{
	tool_json_key(b, key);
	shelf_buf_add_byte(b, '{');
	tool_json_u64(b, "learned", r->learned);
	tool_json_u64(b, "tested", r->tested);
	tool_json_u64(b, "dictionary_bytes", r->bytes);
	tool_json_u64(b, "raw_bytes", r->raw);
	tool_json_u64(b, "without_bytes", r->without);
	tool_json_u64(b, "before_bytes", r->before);
	tool_json_u64(b, "after_bytes", r->after);
	tool_json_u64(b, "id", r->id);
	shelf_buf_add_byte(b, '}');
}

static void
print_trial(uint32_t partition, const char *what, const struct shelf_dict_trial *r)
{
	char raw[32], without[32], before[32], after[32], saved[32];

	if (r->bytes == 0) {
		tool_print("partition %u: %s: %u messages are too few to learn from", partition, what,
		    r->learned);
		return;
	}
	tool_print("partition %u: %s: learned from %u messages, tried on %u others", partition, what,
	    r->learned, r->tested);
	tool_print("  %s; without a dictionary %s, as before %s, now %s: %s than without",
	    shelf_size_text(r->raw, raw, sizeof raw),
	    shelf_size_text(r->without, without, sizeof without),
	    shelf_size_text(r->before, before, sizeof before),
	    shelf_size_text(r->after, after, sizeof after),
	    saved_text(r->without, r->after, saved, sizeof saved));
	if (r->id != 0)
		tool_print("  dictionary %u is current from now on", r->id);
	else
		tool_print("  not better than before: not kept");
}

/* All bodies, those too large for a dictionary included. */
static void
print_bodies(const struct shelf_dict_report *sum)
{
	const struct shelf_dict_trial *r = &sum->kind[SHELF_DICT_BODY];
	uint64_t raw = r->raw + sum->large_raw, without = r->without + sum->large_stored;
	uint64_t before = r->before + sum->large_stored, after = r->after + sum->large_stored;
	char saved[32];

	if (raw == 0)
		return;
	tool_print("bodies of any size, %u messages that were not learned from: stored bytes by message bytes",
	    r->tested + sum->large);
	tool_print("  without a dictionary %.4f, as before %.4f, now %.4f: %s than without",
	    (double)without / (double)raw, (double)before / (double)raw, (double)after / (double)raw,
	    saved_text(without, after, saved, sizeof saved));
}

static void
print_report(const struct tool *t, uint32_t partition, const struct shelf_dict_report *r, struct shelf_buf *json)
{
	if (!t->json) {
		print_trial(partition, "bodies up to 64 KiB", &r->kind[SHELF_DICT_BODY]);
		print_trial(partition, "derived data", &r->kind[SHELF_DICT_DERIVED]);
		return;
	}
	if (json->data[json->len - 1] != '[')
		shelf_buf_add_byte(json, ',');
	shelf_buf_add_byte(json, '{');
	tool_json_u64(json, "partition", partition);
	json_trial(json, "bodies", &r->kind[SHELF_DICT_BODY]);
	json_trial(json, "derived", &r->kind[SHELF_DICT_DERIVED]);
	tool_json_u64(json, "large", r->large);
	tool_json_u64(json, "large_raw_bytes", r->large_raw);
	tool_json_u64(json, "large_stored_bytes", r->large_stored);
	shelf_buf_add_byte(json, '}');
}

int
tool_dict_train(struct tool *t)
{
	struct tool_number partition = {0}, size = {0}, sample = {0};
	const struct tool_option options[] = {{"partition", TOOL_COUNT, &partition},
		{"size", TOOL_SIZE, &size}, {"sample", TOOL_COUNT, &sample}, {0}};
	struct shelf_dict_report one, sum = {0};
	struct span_of_partitions p;
	struct shelf_buf json = {0};
	int rc = tool_args(t, options, 0, 0);

	if (rc != 0)
		return rc;
	if (size.given && (size.value < 1024 || size.value > 1024 * 1024))
		return tool_usage(t, "--size: must be 1K..1M");
	if (sample.given && (sample.value < 1 || sample.value > 100000))
		return tool_usage(t, "--sample: must be 1..100000");
	if ((rc = open_partitions(t, &partition, &p)) != 0)
		return rc;
	tool_catch_interrupts();
	shelf_buf_add_byte(&json, '[');
	for (uint32_t i = p.from; i < p.to && rc == 0 && !tool_interrupted(); i++) {
		const struct shelf_dict_params params = {(uint32_t)size.value, (uint32_t)sample.value};

		if ((rc = shelf_dict_train(t->store, i, &params, &one)) != 0)
			break;
		print_report(t, i, &one, &json);
		for (unsigned k = 0; k < SHELF_DICT_KINDS; k++)
			add_trial(&sum.kind[k], &one.kind[k]);
		sum.large += one.large;
		sum.large_raw += one.large_raw;
		sum.large_stored += one.large_stored;
	}
	if (rc == 0 && t->json) {
		shelf_buf_add_byte(&json, ']');
		tool_print_buf(&json);
	} else if (rc == 0) {
		print_bodies(&sum);
	}
	shelf_buf_free(&json);
	if (rc != 0)
		return tool_fail(t, t->store_dir, rc);
	return tool_interrupted() ? EX_TEMPFAIL : EX_OK;
}

/* ---- recompress ------------------------------------------------------------------------------------ */

static void
print_pass(const struct tool *t, const struct shelf_dict_pass *sum, bool finished)
{
	struct shelf_buf b = {0};
	char before[32], after[32];

	if (!t->json) {
		tool_print("%llu messages compressed anew, their bodies from %s to %s",
		    (unsigned long long)sum->blobs, shelf_size_text(sum->before, before, sizeof before),
		    shelf_size_text(sum->after, after, sizeof after));
		return;
	}
	shelf_buf_add_byte(&b, '{');
	tool_json_u64(&b, "blobs", sum->blobs);
	tool_json_u64(&b, "before_bytes", sum->before);
	tool_json_u64(&b, "after_bytes", sum->after);
	tool_json_bool(&b, "finished", finished);
	shelf_buf_add_byte(&b, '}');
	tool_print_buf(&b);
}

static int
recompress_one(struct tool *t, uint32_t partition, struct tool_progress *progress,
    struct shelf_dict_pass *sum)
{
	struct shelf_dict_pass pass = {0};
	int rc;

	do {
		rc = shelf_dict_recompress(t->store, partition, &pass, 100);
		tool_progress_step(progress, pass.next, pass.end, "partition %u, %llu messages anew",
		    partition, (unsigned long long)pass.blobs);
	} while (rc == 1 && !tool_interrupted());
	sum->blobs += pass.blobs;
	sum->before += pass.before;
	sum->after += pass.after;
	return rc;
}

int
tool_dict_recompress(struct tool *t)
{
	struct tool_number partition = {0};
	bool asked = false;
	const struct tool_option options[] = {{"partition", TOOL_COUNT, &partition},
		{"progress", TOOL_FLAG, &asked}, {0}};
	struct shelf_dict_pass sum = {0};
	struct tool_progress progress;
	struct span_of_partitions p;
	int rc = tool_args(t, options, 0, 0);

	if (rc != 0 || (rc = open_partitions(t, &partition, &p)) != 0)
		return rc;
	tool_catch_interrupts();
	tool_progress_begin(&progress, asked);
	for (uint32_t i = p.from; i < p.to && rc == 0; i++)
		rc = recompress_one(t, i, &progress, &sum);
	tool_progress_end(&progress);
	print_pass(t, &sum, rc == 0);
	if (rc < 0)
		return tool_fail(t, t->store_dir, rc);
	if (rc == 0)
		return EX_OK;
	tool_say(t, "%s: interrupted, the next run goes on from here", t->store_dir);
	return EX_TEMPFAIL;
}

/* ---- prune ----------------------------------------------------------------------------------------- */

int
tool_dict_prune(struct tool *t)
{
	struct tool_number partition = {0};
	const struct tool_option options[] = {{"partition", TOOL_COUNT, &partition}, {0}};
	struct span_of_partitions p;
	struct shelf_buf b = {0};
	uint64_t removed = 0;
	int rc = tool_args(t, options, 0, 0);

	if (rc != 0 || (rc = open_partitions(t, &partition, &p)) != 0)
		return rc;
	for (uint32_t i = p.from, n; i < p.to && rc == 0; i++) {
		rc = shelf_dict_prune(t->store, i, &n);
		removed += n;
	}
	if (rc != 0)
		return tool_fail(t, t->store_dir, rc);
	if (!t->json) {
		tool_print("%llu dictionaries removed", (unsigned long long)removed);
		return EX_OK;
	}
	shelf_buf_add_byte(&b, '{');
	tool_json_u64(&b, "removed", removed);
	shelf_buf_add_byte(&b, '}');
	tool_print_buf(&b);
	return EX_OK;
}
