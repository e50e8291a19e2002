/*
 * tool_move.c - account move, partition drain: accounts go to other partitions while they are used
 *
 * Each account is moved whole or stays; what is interrupted may be run again.
 */
#include <stdlib.h>
#include <string.h>

#include <mailshelf/mem.h>

#include "tools.h"

struct moving {
	struct tool *t;
	struct shelf_mover *mover;
	struct tool_progress progress;
	struct shelf_buf json;
	uint32_t from;   /* drained; SHELF_CATALOG: one account is moved */
	uint32_t to;     /* asked for; SHELF_CATALOG: where there is most room */
	bool dry_run;
	const char *name; /* of the account that moves */
	uint32_t *ids;
	size_t n, cap, moved, at;
	int worst; /* exit status of those that stayed */
};

static bool
on_step(void *arg, const struct shelf_moved *m)
{
	struct moving *mv = arg;

	tool_progress_step(&mv->progress, m->messages, m->total, "%s to partition %u", mv->name, m->to);
	return !tool_interrupted();
}

static void
json_line(struct moving *mv, const char *name, const struct shelf_moved *m)
{
	shelf_buf_add_str(&mv->json, mv->json.data[mv->json.len - 1] == '[' ? "{" : ",{");
	tool_json_str(&mv->json, "account", shelf_span_str(name));
	tool_json_u64(&mv->json, "from", m->from);
	tool_json_u64(&mv->json, "to", m->to);
	tool_json_u64(&mv->json, "messages", mv->dry_run ? m->total : m->messages);
	if (!mv->dry_run) {
		tool_json_u64(&mv->json, "bodies", m->bodies);
		tool_json_u64(&mv->json, "body_bytes", m->body_bytes);
		tool_json_u64(&mv->json, "changes", m->changes);
		tool_json_u64(&mv->json, "closed_ms", m->closed_ms);
	}
	shelf_buf_add_byte(&mv->json, '}');
}

static void
tell(struct moving *mv, const char *name, const struct shelf_moved *m)
{
	if (mv->t->json)
		json_line(mv, name, m);
	else if (mv->dry_run)
		tool_print("%s: %llu messages would go from partition %u to %u", name, (unsigned long long)m->total,
		    m->from, m->to);
	else if (m->from == m->to)
		tool_print("%s: in partition %u already", name, m->to);
	else
		tool_print("%s: %llu messages moved from partition %u to %u", name, (unsigned long long)m->messages,
		    m->from, m->to);
}

static int
stays(struct moving *mv, const struct shelf_account *a, int rc)
{
	if (rc == SHELF_ECANCELLED)
		tool_say(mv->t, "%s: interrupted, it stays in partition %u", a->name, a->partition);
	else if (rc == SHELF_EBUSY)
		tool_say(mv->t, "%s: stays in partition %u, which is being compacted or left by another account; or it "
		    "is written faster than it can be copied", a->name, a->partition);
	else if (rc == SHELF_EFULL)
		tool_say(mv->t, "%s: stays in partition %u: no room for it elsewhere", a->name, a->partition);
	else
		return tool_fail(mv->t, a->name, rc);
	return rc == SHELF_EFULL ? tool_exit_of(rc) : EX_TEMPFAIL;
}

static int
count_messages(struct tool *t, uint32_t account, uint64_t *out)
{
	struct shelf_rd *rd = NULL;
	struct shelf_quota q = {0};
	int rc = shelf_rd_begin(t->store, account, &rd);

	if (rc == 0)
		rc = shelf_quota_get(rd, &q);
	shelf_rd_end(&rd);
	*out = q.used_messages + q.held_messages;
	return rc;
}

static int
move_one(struct moving *mv, const struct shelf_account *a)
{
	struct shelf_moved m = {.from = a->partition, .to = mv->to};
	int rc = mv->to != SHELF_CATALOG ? 0 : shelf_partition_choose(mv->t->store, a->partition, &m.to);

	mv->name = a->name;
	if (rc == 0 && mv->dry_run)
		rc = count_messages(mv->t, a->id, &m.total);
	else if (rc == 0)
		rc = shelf_account_move(mv->mover, a->id, m.to, &m);
	tool_progress_end(&mv->progress);
	if (rc != 0)
		return stays(mv, a, rc);
	mv->moved++;
	tell(mv, a->name, &m);
	return EX_OK;
}

/* ---- What to move -------------------------------------------------------------------------------- */

static int
partition_number(struct tool *t, const char *what, const char *text, uint32_t *out)
{
	struct shelf_store_stats stats;
	uint64_t n;
	int rc = shelf_store_stats(t->store, &stats);

	if (rc != 0)
		return tool_fail(t, t->store_dir, rc);
	if (!shelf_span_u64(shelf_span_str(text), stats.partitions - 1, &n))
		return tool_usage(t, "%s %s: not a partition (0..%u)", what, text, stats.partitions - 1);
	*out = (uint32_t)n;
	return 0;
}

static void
begin(struct moving *mv, struct tool *t, bool progress)
{
	mv->mover = shelf_mover_new(t->store, on_step, mv);
	tool_catch_interrupts();
	tool_progress_begin(&mv->progress, progress);
	shelf_buf_add_str(&mv->json, "{\"moved\":[");
}

static void
end(struct moving *mv, int rc)
{
	shelf_mover_free(&mv->mover);
	shelf_buf_add_byte(&mv->json, ']');
	tool_json_bool(&mv->json, "finished", rc == 0);
	shelf_buf_add_byte(&mv->json, '}');
	if (mv->t->json)
		tool_print_buf(&mv->json);
	shelf_buf_free(&mv->json);
	free(mv->ids);
}

int
tool_account_move(struct tool *t)
{
	struct moving mv = {.t = t, .from = SHELF_CATALOG, .to = SHELF_CATALOG};
	const char *to = NULL;
	bool progress = false;
	const struct tool_option options[] = {{"partition", TOOL_TEXT, &to}, {"dry-run", TOOL_FLAG, &mv.dry_run},
	    {"progress", TOOL_FLAG, &progress}, {0}};
	struct shelf_account a;
	int rc = tool_args(t, options, 1, 1);

	if (rc == 0)
		rc = tool_open(t);
	if (rc == 0 && to != NULL)
		rc = partition_number(t, "--partition", to, &mv.to);
	if (rc == 0)
		rc = tool_account(t, t->argv[0], &a);
	if (rc != 0)
		return rc;
	begin(&mv, t, progress);
	rc = move_one(&mv, &a);
	end(&mv, rc);
	return rc;
}

static int
take_id(void *arg, const struct shelf_account *a)
{
	struct moving *mv = arg;

	if (a->partition != mv->from)
		return 0;
	if (mv->n == mv->cap) {
		mv->cap = mv->cap == 0 ? 256 : mv->cap * 2;
		mv->ids = shelf_realloc(mv->ids, mv->cap * sizeof *mv->ids);
	}
	mv->ids[mv->n++] = a->id;
	return 0;
}

/* One that stays does not keep the others from going; no room does, and who interrupts. */
static int
drain(struct moving *mv)
{
	struct shelf_account a;
	int rc = shelf_account_each(mv->t->store, take_id, mv);

	if (rc != 0)
		return tool_fail(mv->t, mv->t->store_dir, rc);
	for (; mv->at < mv->n; mv->at++) {
		rc = shelf_account_get(mv->t->store, mv->ids[mv->at], &a);
		if (rc == SHELF_ENOACCOUNT || (rc == 0 && a.partition != mv->from))
			continue; /* deleted, or moved by somebody else */
		rc = rc != 0 ? tool_fail(mv->t, mv->t->store_dir, rc) : move_one(mv, &a);
		if (rc == EX_CANTCREAT || tool_interrupted())
			return rc;
		mv->worst = rc == EX_OK || mv->worst == EX_DATAERR ? mv->worst : rc;
	}
	return mv->worst;
}

int
tool_partition_drain(struct tool *t)
{
	struct moving mv = {.t = t, .to = SHELF_CATALOG};
	const char *to = NULL;
	bool progress = false;
	const struct tool_option options[] = {{"to", TOOL_TEXT, &to}, {"dry-run", TOOL_FLAG, &mv.dry_run},
	    {"progress", TOOL_FLAG, &progress}, {0}};
	int rc = tool_args(t, options, 1, 1);

	if (rc == 0)
		rc = tool_open(t);
	if (rc == 0)
		rc = partition_number(t, "partition", t->argv[0], &mv.from);
	if (rc == 0 && to != NULL)
		rc = partition_number(t, "--to", to, &mv.to);
	if (rc == 0 && mv.to == mv.from)
		rc = tool_usage(t, "--to %s: that is the one to drain", to);
	if (rc != 0)
		return rc;
	begin(&mv, t, progress);
	rc = drain(&mv);
	if (!t->json)
		tool_print("partition %u: %zu of %zu accounts %s", mv.from, mv.moved, mv.n,
		    mv.dry_run ? "would go" : "moved");
	end(&mv, rc);
	return rc;
}
