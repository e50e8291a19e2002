/* dict.c - dictionaries of a store: which there are, and the work of engine/blob by partition and time */
#include <mailshelf/mem.h>

#include "mail.h"

static int
each_of(struct kv_view *view, uint32_t shard, shelf_dict_fn *fn, void *arg)
{
	struct blob_dicts s;
	int rc = blob_dicts_get(view, &s);

	for (uint32_t i = 0; rc == 0 && i < s.count; i++) {
		struct blob_dict_head h;
		struct shelf_dict d = {
		    .partition = shard, .id = s.list[i].id, .blobs = s.list[i].uses};

		if ((rc = blob_dict_head(view, d.id, &h)) != 0)
			return rc == SHELF_EMISSING ? SHELF_ECORRUPT : rc;
		d.kind = (enum shelf_dict_kind)h.kind;
		d.current = s.current[h.kind] == d.id;
		d.created_s = h.created_s;
		d.messages = h.messages;
		d.bytes = h.size;
		rc = fn(arg, &d);
	}
	return rc;
}

int
shelf_dict_each(struct shelf_store *store, shelf_dict_fn *fn, void *arg)
{
	int rc = 0;

	for (uint32_t shard = 0; shard < kv_shards(store->kv) && rc == 0; shard++) {
		struct kv_view *view = NULL;

		if ((rc = kv_view_begin_shard(store->kv, shard, &view)) == 0)
			rc = each_of(view, shard, fn, arg);
		kv_view_end(&view);
	}
	return rc;
}

int
shelf_dict_train(struct shelf_store *store, uint32_t partition,
		 const struct shelf_dict_params *params, struct shelf_dict_report *report)
{
	int rc = blob_dict_train(store->kv, partition, params, report);

	return rc != 0 ? rc : blob_copies_settle(store->kv);
}

int
shelf_dict_recompress(struct shelf_store *store, uint32_t partition, struct shelf_dict_pass *pass,
		      unsigned budget_ms)
{
	int64_t until = shelf_mono_ms() + budget_ms;
	int rc;

	if (partition >= kv_shards(store->kv))
		return SHELF_EINVALID;
	while ((rc = blob_recompress_step(store->kv, partition, pass)) == 1)
		if (shelf_mono_ms() > until)
			return 1;
	return rc;
}

struct pruning {
	uint32_t removed;
};

static int
prune(struct kv_txn *txn, void *arg)
{
	struct pruning *p = arg;

	return blob_dicts_prune(txn, &p->removed);
}

int
shelf_dict_prune(struct shelf_store *store, uint32_t partition, uint32_t *removed_out)
{
	struct pruning p;
	int rc;

	*removed_out = 0;
	if (partition >= kv_shards(store->kv))
		return SHELF_EINVALID;
	do {
		rc = kv_update_shard(store->kv, partition, KV_QUIET, prune, &p);
		if (rc == 0)
			*removed_out += p.removed;
	} while (rc == 0 && p.removed > 0);
	return rc != 0 || *removed_out == 0 ? rc : blob_copies_settle(store->kv);
}
