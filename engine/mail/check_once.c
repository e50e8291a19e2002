/*
 * check_once.c - notes of mail that will come again (29)
 */
#include "mail_check.h"

int
check_once(struct check *k, uint32_t shard)
{
	struct kv_view *view = NULL;
	struct shelf_span key, value;
	struct kv_scan scan;
	int rc;

	if ((rc = kv_view_begin_shard(k->store->kv, shard, &view)) != 0)
		return rc;
	kv_view_account(view, k->account);
	rc = kv_scan_open(view, KV_ONCE, shelf_span(NULL, 0), shelf_span(NULL, 0), &scan);
	while (rc == 0 && (rc = kv_scan_next(&scan, &key, &value)) == 1) {
		rc = 0;
		if (!mail_once_readable(key, value))
			check_found(k, 29, "a note of mail that will come again cannot be read");
	}
	kv_scan_close(&scan);
	kv_view_end(&view);
	return rc;
}
