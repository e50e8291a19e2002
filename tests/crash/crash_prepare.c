/*
 * crash_prepare.c - the accounts of a new store, and the parent's picture of them
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash.h"

static void
make_accounts(struct crash *c)
{
	struct shelf_store_params params = {.partitions = 2, .map_bytes = 1u << 30};
	struct shelf_store *store = NULL;
	char name[16];

	if (shelf_store_create(c->dir, &params) != 0 || shelf_store_open(c->dir, 0, &store) != 0)
		support_fatal("no store in %s", c->dir);
	for (unsigned i = 0; i < c->threads + CRASH_SHARED; i++) {
		struct shelf_account_new account = {.limit_messages = i == 1 ? 40 : 0};
		uint32_t id;

		snprintf(name, sizeof name, "user%u", i);
		account.name = shelf_span_str(name);
		if (shelf_account_add(store, &account, 1, NULL, &id) != 0)
			support_fatal("no account");
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
	for (unsigned i = 0; i < c->threads + CRASH_SHARED; i++) {
		snprintf(name, sizeof name, "user%u", i);
		if (shelf_account_find(store, shelf_span_str(name), &account) != 0)
			support_fatal("no account %s", name);
		if (i < c->threads)
			c->account[i].id = account.id;
		else
			c->shared[i - c->threads] = account.id;
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
