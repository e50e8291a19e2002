/*
 * metrics_store.c - what the store takes, by partition, and what its commits cost
 *
 * The sums are kept by the engine: a scrape costs a few lookups a partition, however much mail there is. A partition
 * that cannot be read ends the scrape: numbers that leave it out would look as if mail had gone.
 */
#include "metrics.h"

#include <stddef.h>
#include <stdlib.h>

#include <mailshelf/mem.h>
#include <mailshelf/stats.h>

struct gauge {
	const char *name, *unit, *help;
	size_t offset; /* of a uint64_t in struct shelf_partition_stats */
};
#define AT(member) offsetof(struct shelf_partition_stats, member)
static const struct gauge gauges[] = {
    {"mailshelf_accounts", NULL, "Accounts", AT(totals.accounts)},
    {"mailshelf_messages", NULL, "Messages, held ones not counted", AT(totals.messages)},
    {"mailshelf_message_bytes", "bytes", "Size of these messages as delivered: what quotas count",
	AT(totals.message_bytes)},
    {"mailshelf_held_messages", NULL, "Removed messages that can still be brought back",
	AT(totals.held_messages)},
    {"mailshelf_held_bytes", "bytes", "Size of removed messages as delivered", AT(totals.held_bytes)},
    {"mailshelf_physical_bytes", "bytes", "Stored for bodies, each once", AT(physical_bytes)},
    {"mailshelf_saved_bytes", "bytes", "What storing equal bodies once saves", AT(saved_bytes)},
    {"mailshelf_file_bytes", "bytes", "Of the data file, up to the last page in use", AT(file_bytes)},
    {"mailshelf_free_bytes", "bytes", "Of the data file, free for reuse", AT(free_bytes)},
    {"mailshelf_reclaimable_bytes", "bytes", "Room for new mail without a larger file",
	AT(reclaimable_bytes)},
    {"mailshelf_disk_free_bytes", "bytes", "Free on the disk where the partition lies",
	AT(disk_free_bytes)},
};
#undef AT

static void
write_partitions(struct metrics_text *t, const struct shelf_partition_stats *stats, uint32_t n)
{
	for (size_t g = 0; g < sizeof(gauges) / sizeof(*gauges); g++) {
		metrics_family(t, METRICS_GAUGE, gauges[g].name, gauges[g].unit, gauges[g].help);
		for (uint32_t i = 0; i < n; i++) {
			uint64_t value;

			memcpy(&value, (const char *)&stats[i] + gauges[g].offset, sizeof(value));
			metrics_sample(t, value, "partition=\"%u\"", i);
		}
	}
}

static void
write_commits(struct metrics_text *t, const struct shelf_store_stats *stats)
{
	metrics_family(t, METRICS_COUNTER, "mailshelf_commits", NULL,
	    "Transactions of this process that are on disk");
	metrics_value(t, stats->commits);
	metrics_family(t, METRICS_COUNTER, "mailshelf_updates", NULL,
	    "Changes in these transactions: the size of a group is updates / commits");
	metrics_value(t, stats->updates);
	metrics_family(t, METRICS_HISTOGRAM, "mailshelf_commit_seconds", "seconds",
	    "What it took to write a transaction and sync it");
	metrics_durations(t, &stats->commit_durations);
	metrics_family(t, METRICS_COUNTER, "mailshelf_slow_snapshots", NULL,
	    "Snapshots of this process that lived longer than two seconds; each is a mistake of the program");
	metrics_value(t, stats->slow_views);
}

int
metrics_store(struct metrics_text *t, struct shelf_store *store)
{
	struct shelf_store_stats all;
	struct shelf_partition_stats *stats;
	int rc = shelf_store_stats(store, &all);

	if (rc != 0)
		return rc;
	stats = shelf_zalloc(all.partitions * sizeof(*stats));
	for (uint32_t i = 0; i < all.partitions && rc == 0; i++)
		rc = shelf_stats_partition(store, i, &stats[i]);
	if (rc == 0) {
		write_partitions(t, stats, all.partitions);
		write_commits(t, &all);
	}
	free(stats);
	return rc;
}
