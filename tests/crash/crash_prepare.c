/*
 * crash_prepare.c - the accounts of a new store, and the parent's picture of them
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash.h"

/* Mail enough to make a dictionary of. */
static void
fill(struct crash *c, struct shelf_store *store, uint32_t account)
{
	struct model *m = model_new(c->seed + 2000 + account, 0, 0);
	struct shelf_append item[CRASH_ARCHIVED];
	struct shelf_append_result result;
	struct shelf_buf bytes = {0};

	for (unsigned i = 0; i < CRASH_ARCHIVED; i++) {
		shelf_buf_clear(&bytes);
		model_content(m, i / 2 * 37 % 36, &bytes); /* small ones */
		shelf_buf_printf(&bytes, "%u\r\n", i);
		item[i] = (struct shelf_append){.internaldate_s = model_date(i)};
		if (shelf_draft_new(store, &item[i].draft) != 0 ||
		    shelf_draft_write(item[i].draft, bytes.data, bytes.len) != 0 ||
		    shelf_draft_finish(item[i].draft) != 0)
			support_fatal("no draft");
	}
	if (shelf_append(store, account, CRASH_INBOX, item, CRASH_ARCHIVED, &result) != 0)
		support_fatal("the archive cannot be filled");
	for (unsigned i = 0; i < CRASH_ARCHIVED; i++)
		shelf_draft_free(&item[i].draft);
	shelf_buf_free(&bytes);
	model_free(&m);
}

void
crash_account_name(const struct crash *c, unsigned i, char name[16])
{
	snprintf(name, 16, i < c->threads + CRASH_SHARED ? "user%u" : "archive%u", i);
}

static void
make_accounts(struct crash *c)
{
	struct shelf_store_params params = {.partitions = CRASH_PARTITIONS, .map_bytes = 1u << 30};
	struct shelf_store *store = NULL;
	char name[16];

	if (shelf_store_create(c->dir, &params) != 0 || shelf_store_open(c->dir, 0, &store) != 0)
		support_fatal("no store in %s", c->dir);
	/* So few that the guard has something to do. */
	if (shelf_setting_set(store, SHELF_SETTING_GUARD_MESSAGES, 5) != 0)
		support_fatal("no guard");
	for (unsigned i = 0; i < c->threads + CRASH_SHARED + CRASH_ARCHIVES; i++) {
		struct shelf_account_new account = {.limit_messages = i == 1 ? 40 : 0};
		uint32_t id;

		crash_account_name(c, i, name);
		account.name = shelf_span_str(name);
		if (shelf_account_add(store, &account, 1, NULL, &id) != 0)
			support_fatal("no account");
		if (i >= c->threads + CRASH_SHARED)
			fill(c, store, id);
	}
	shelf_store_close(&store);
}

/* Ids are asked for here, the parent has no store open while a child lives. */
static void
find_accounts(struct crash *c)
{
	struct shelf_store *store = NULL;
	struct shelf_account account;
	char name[16];

	if (shelf_store_open(c->dir, 0, &store) != 0)
		support_fatal("the new store does not open");
	for (unsigned i = 0; i < c->threads + CRASH_SHARED + CRASH_ARCHIVES; i++) {
		crash_account_name(c, i, name);
		if (shelf_account_find(store, shelf_span_str(name), &account) != 0)
			support_fatal("no account %s", name);
		if (i < c->threads)
			c->account[i].id = account.id;
		else if (i < c->threads + CRASH_SHARED)
			c->shared[i - c->threads] = account.id;
		else
			c->archive[i - c->threads - CRASH_SHARED] = account.id;
	}
	shelf_store_close(&store);
}

void
crash_prepare(struct crash *c, const char *dir, unsigned threads, uint64_t seed)
{
	size_t slots = (size_t)threads * CRASH_SENT_MAX;
	int status;
	pid_t pid;

	*c = (struct crash){.threads = threads, .seed = seed};
	snprintf(c->dir, sizeof c->dir, "%s", dir);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		make_accounts(c);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		support_fatal("the store was not made");
	find_accounts(c);
	for (unsigned i = 0; i < threads; i++) {
		c->account[i].model = model_new(seed + i, 0, i == 1 ? 40 : 0);
		c->account[i].box = shelf_zalloc(CRASH_BOXES_MAX * sizeof *c->account[i].box);
	}
	for (unsigned i = 0; i < CRASH_SHARED; i++)
		c->shared_uid[i] = shelf_zalloc(slots * sizeof *c->shared_uid[i]);
	c->shared_acked = shelf_zalloc(slots * sizeof *c->shared_acked);
	c->contents = model_new(seed + 1000, 0, 0);
}

void
crash_free(struct crash *c)
{
	for (unsigned i = 0; i < c->threads; i++) {
		model_free(&c->account[i].model);
		free(c->account[i].box);
	}
	for (unsigned i = 0; i < CRASH_SHARED; i++)
		free(c->shared_uid[i]);
	free(c->shared_acked);
	model_free(&c->contents);
}

void
crash_extra_name(unsigned thread, uint32_t n, char name[32])
{
	snprintf(name, 32, "extra-%u-%u", thread, n);
}
