/*
 * disk.c - how full the partitions are, and what is refused for it
 *
 *   ok --> warn --> refuse new mail --> read-only         (settings.def: the marks)
 *      <--      <--                 <--                   when a tenth more than the mark is free
 *
 * A serving process looks every second, in its janitor; another one when it is about to write and has not
 * looked lately. Whoever is refused looks again first, so room that came back is used at once.
 *
 * What must stay true: nothing here is asked by what removes.
 */
#include <mailshelf/log.h>
#include <mailshelf/mem.h>

#include "mail.h"

enum { LOOK_EVERY_MS = 1000 };

const char *
shelf_disk_state_text(enum shelf_disk_state state)
{
	static const char *const texts[] = {"ok", "warn", "refuse", "read-only"};

	return texts[state];
}

/* Is less free than the mark says? WAS: the mark had been reached. */
static bool
short_of(uint64_t free, uint64_t total, uint64_t percent, uint64_t bytes, bool was)
{
	uint64_t mark = total / 100 * percent + total % 100 * percent / 100;

	mark = mark < bytes ? mark : bytes;
	return free < mark || (was && free < mark + mark / 10);
}

static bool
reached(struct shelf_store *s, const struct shelf_disk *d, enum shelf_setting percent,
	enum shelf_setting bytes, bool was)
{
	uint64_t p = shelf_setting_get(s, percent), b = shelf_setting_get(s, bytes);

	return short_of(d->disk_free_bytes, d->disk_bytes, p, b, was) ||
	       short_of(d->map_free_bytes, d->map_bytes, p, b, was);
}

static int
measure(struct shelf_store *s, uint32_t shard, struct shelf_disk *d)
{
	struct kv_stats st;
	uint64_t map_free;
	int rc = kv_stats(s->kv, shard, &st);

	if (rc != 0)
		return rc;
	map_free = st.map_bytes - st.file_bytes + st.free_bytes;
	*d = (struct shelf_disk){
	    .disk_bytes = st.disk_bytes,
	    .disk_free_bytes = st.disk_free_bytes + st.free_bytes,
	    .map_bytes = st.map_bytes > st.reserve_bytes ? st.map_bytes - st.reserve_bytes : 0,
	    .map_free_bytes = map_free > st.reserve_bytes ? map_free - st.reserve_bytes : 0,
	};
	return 0;
}

static void
log_change(uint32_t shard, const struct shelf_disk *d, enum shelf_disk_state was)
{
	shelf_log(d->state > was ? SHELF_LOG_WARN : SHELF_LOG_INFO, "disk", "partition", "%u", shard,
		  "state", "%s", shelf_disk_state_text(d->state), "was", "%s",
		  shelf_disk_state_text(was), "disk_free_bytes", "%llu",
		  (unsigned long long)d->disk_free_bytes, "map_free_bytes", "%llu",
		  (unsigned long long)d->map_free_bytes, NULL);
}

int
mail_disk_look(struct shelf_store *s, uint32_t shard, struct shelf_disk *d)
{
	struct mail_disk *kept = &s->disk[shard];
	enum shelf_disk_state was;
	int rc = measure(s, shard, d);

	if (rc != 0)
		return rc;
	pthread_mutex_lock(&s->disk_lock);
	was = (enum shelf_disk_state)atomic_load(&kept->state);
	/* Of its own: a mark for refusing that was set too high by mistake must not cost held mail. */
	d->low = reached(s, d, SHELF_SETTING_WARN_PERCENT, SHELF_SETTING_WARN_BYTES,
			 atomic_load(&kept->low));
	atomic_store(&kept->low, d->low);
	if (reached(s, d, SHELF_SETTING_READONLY_PERCENT, SHELF_SETTING_READONLY_BYTES,
		    was >= SHELF_DISK_READONLY))
		d->state = SHELF_DISK_READONLY;
	else if (reached(s, d, SHELF_SETTING_REFUSE_PERCENT, SHELF_SETTING_REFUSE_BYTES,
			 was >= SHELF_DISK_REFUSE))
		d->state = SHELF_DISK_REFUSE;
	else if (d->low)
		d->state = SHELF_DISK_WARN;
	atomic_store(&kept->state, (int)d->state);
	atomic_store(&kept->looked_ms, shelf_mono_ms());
	pthread_mutex_unlock(&s->disk_lock);
	/* A tool that runs for a moment says what it is refused; the log is kept by who serves. */
	if (d->state != was && s->serving)
		log_change(shard, d, was);
	return 0;
}

int
shelf_store_disk(struct shelf_store *s, uint32_t partition, struct shelf_disk *out)
{
	struct kv_view *view = NULL;
	int rc;

	if (partition >= kv_shards(s->kv))
		return SHELF_EINVALID;
	if ((rc = mail_disk_look(s, partition, out)) != 0 ||
	    (rc = kv_view_begin_shard(s->kv, partition, &view)) != 0)
		return rc;
	rc = mail_early_count(view, &out->early_messages, &out->early_bytes);
	kv_view_end(&view);
	return rc;
}

void
mail_disk_look_all(struct shelf_store *s)
{
	struct shelf_disk d;

	for (uint32_t shard = 0; shard < kv_shards(s->kv); shard++) {
		int rc = mail_disk_look(s, shard, &d);

		/* Not knowing refuses nothing: what cannot be written fails by itself. */
		if (rc != 0)
			shelf_log(SHELF_LOG_DEBUG, "disk not measured", "partition", "%u", shard,
				  "error", "%s", shelf_err_name(rc), NULL);
	}
}

void
mail_disk_forget(struct shelf_store *s)
{
	for (uint32_t shard = 0; shard < kv_shards(s->kv); shard++)
		atomic_store(&s->disk[shard].looked_ms, 0);
}

int
mail_disk_admit(struct shelf_store *s, uint32_t account, enum shelf_disk_state limit)
{
	struct shelf_disk d;
	struct mail_disk *kept;
	uint32_t shard;
	int64_t looked_ms;
	int rc = kv_shard_of(s->kv, account, &shard);

	if (rc != 0)
		return rc;
	kept = &s->disk[shard];
	looked_ms = atomic_load(&kept->looked_ms);
	if ((int)atomic_load(&kept->state) < (int)limit && looked_ms != 0 &&
	    (s->serving || shelf_mono_ms() - looked_ms < LOOK_EVERY_MS))
		return 0;
	if (mail_disk_look(s, shard, &d) != 0 || d.state < limit)
		return 0;
	return limit == SHELF_DISK_REFUSE ? SHELF_EFULL : SHELF_EREADONLY;
}
