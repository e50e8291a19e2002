/*
 * test_salvage.c - a damaged store gives out every message whose pages are whole, and no wrong byte
 *
 * A store of some hundred messages is made once in each test, and copied. Which message needs which pages
 * of its file is read from the whole one: so after any damage it is known what may be lost. What comes out must
 * be a body that was stored; a message none of whose pages was touched must come out under its own
 * account, mailbox and uid.
 */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mailshelf/salvage.h>
#include <openssl/sha.h>

#include "kv_page.h"
#include "mail.h"
#include "store_rig.h"
#include "support.h"

enum { TESTS = 4, SEEDS_EACH = 16, MESSAGES_MAX = 1000, BOXES = 3, HASH = 16 };

static struct rig r;

/* ---- What was stored ------------------------------------------------------------------------------------- */

struct message {
	uint32_t account, mailbox, uid;
	uint32_t flags;
	uint64_t blob;
	uint8_t hash[HASH];
	bool held;
	bool may_be_lost, out;
};

static struct {
	uint64_t base, blob;
} head[MESSAGES_MAX];
static size_t nheads;

static struct message stored[MESSAGES_MAX];
static size_t nstored;
static char part[4400], catalog[4400];

static uint64_t dice;

static uint32_t
roll(uint32_t n)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (uint32_t)(dice >> 11) % n;
}

/* Bodies of all lengths: in a leaf, on overflow pages, of several frames. Every seventh comes twice, with a head and
 * without. */
static unsigned
put(uint32_t account, uint32_t mailbox, unsigned n)
{
	const struct shelf_delivery to[] = {{.account = account, .head = shelf_span_str("Delivered-To: x\r\n")},
	    {.account = account}};
	struct shelf_append_result delivered[2];
	size_t len = n % 97 == 0 ? 700000 : n % 10 == 0 ? 20000 + roll(20000) : 20 + roll(3000);
	struct shelf_append item = {.internaldate_s = 1000000000 + n, .flags = n % 32 & ~SHELF_DELETED};
	struct shelf_append_result result;
	uint8_t *noise = shelf_alloc(len);

	for (size_t i = 0; i < len; i++)
		noise[i] = (uint8_t)(n % 3 == 0 ? 'a' + i % 23 : roll(256));
	ck_assert_int_eq(shelf_draft_new(r.store, &item.draft), 0);
	ck_assert_int_eq(shelf_draft_write(item.draft, "Subject: x\r\n\r\n", 14), 0);
	ck_assert_int_eq(shelf_draft_write(item.draft, noise, len), 0);
	ck_assert_int_eq(shelf_draft_finish(item.draft), 0);
	if (n % 7 == 0) {
		shelf_deliver(r.store, item.draft, to, 2, delivered);
		ck_assert_int_eq(delivered[0].rc | delivered[1].rc, 0);
	} else {
		ck_assert_int_eq(shelf_append(r.store, account, mailbox, &item, 1, &result), 0);
	}
	shelf_draft_free(&item.draft);
	free(noise);
	return n % 7 == 0 ? 2 : 1;
}

static int
keep(void *arg, const struct shelf_salvaged *m, struct shelf_span body)
{
	uint8_t digest[SHA256_DIGEST_LENGTH];
	struct message *s = &stored[nstored++];

	ck_assert_uint_lt(nstored, MESSAGES_MAX);
	SHA256(body.data, body.len, digest);
	*s = (struct message){.account = m->account, .mailbox = m->mailbox, .uid = m->msg.uid,
	    .flags = m->msg.flags, .blob = m->msg.blob, .held = m->held};
	memcpy(s->hash, digest, HASH);
	ck_assert_uint_eq(body.len, m->msg.size);
	return 0;
}

static void
must_not_lose(void *arg, const struct shelf_salvaged *m, const char *why)
{
	ck_abort_msg("uid %u of mailbox %u lost: %s", m->msg.uid, m->mailbox, why);
}

static void
no_note(void *arg, const char *file, const char *text)
{
	ck_abort_msg("%s: %s", file, text);
}

static int
note_head(void *arg, uint64_t base, uint64_t blob)
{
	head[nheads].base = base;
	head[nheads++].blob = blob;
	return 0;
}

static void
note_heads(void)
{
	struct kv_view *view;

	ck_assert_int_eq(kv_view_begin_shard(r.store->kv, 0, &view), 0);
	ck_assert_int_eq(blob_heads_each(view, 0, UINT64_MAX, note_head, NULL), 0);
	kv_view_end(&view);
}

static void
fill(void)
{
	const struct shelf_store_params one = {.partitions = 1, .map_bytes = 256u << 20};
	const struct shelf_salvage_sink sink = {keep, must_not_lose, no_note, NULL};
	struct shelf_uidset *gone = rig_set(10, 14);
	uint32_t box[2];
	unsigned n = 0, messages = 0;

	dice = 88172645463325252u;
	nstored = nheads = 0;
	rig_open(&r, &one);
	box[0] = rig_create(&r, r.joe, "work/old");
	box[1] = rig_create(&r, r.ann, "b\xc3\xb6x");
	while (n++ < 400)
		messages += put(n % 3 == 0 ? r.ann : r.joe, n % 5 != 0 ? r.inbox : box[n % 3 == 0], n);
	rig_fill(&r, r.joe, box[0], 40);
	rig_flag(&r, r.joe, r.inbox, 3, 9, SHELF_FLAGS_ADD, 0, "$label");
	ck_assert_int_eq(shelf_msg_expunge(r.store, r.joe, r.inbox, gone, 0, NULL), 0);
	shelf_uidset_free(&gone);
	note_heads();
	shelf_store_close(&r.store);
	snprintf(part, sizeof part, "%s/kv/part-00/data.mdb", r.path);
	snprintf(catalog, sizeof catalog, "%s/kv/catalog/data.mdb", r.path);
	ck_assert_int_eq(shelf_salvage(r.path, &sink), 0);
	ck_assert_uint_eq(nstored, messages + 40);
	ck_assert_uint_gt(nheads, 50);
}

/* ---- Which message needs which page ---------------------------------------------------------------------- */

static struct kv_pages file;
static struct kv_page *page;

static void
lose_blob(uint64_t blob)
{
	for (size_t i = 0; i < nstored; i++)
		stored[i].may_be_lost |= stored[i].blob == blob;
	for (size_t h = 0; h < nheads; h++)
		if (head[h].base == blob)
			lose_blob(head[h].blob);
}

/* Of a blob, a chunk, a message row; of a dictionary, which every body may need. */
static void
lose_key(struct shelf_span key, struct shelf_span value)
{
	struct mail_mbox m;
	uint32_t a, b, c;

	if (key.len == 8 && base_get_be32(key.data) != 0 && mail_mbox_decode(value, &m) != 0)
		for (size_t i = 0; i < nstored; i++)
			stored[i].may_be_lost = true;
	if (key.len == 8 || (key.len == 12 && base_get_be32(key.data) == 0)) {
		lose_blob(base_get_be64(key.data));
		return;
	}
	if (key.len != 12)
		return;
	a = base_get_be32(key.data);
	b = base_get_be32(key.data + 4);
	c = base_get_be32(key.data + 8);
	for (size_t i = 0; i < nstored; i++)
		stored[i].may_be_lost |=
		    stored[i].account == a && stored[i].mailbox == b && stored[i].uid == c;
}

/* Whatever page NUMBER may hold, live or not. */
static void
touch(uint64_t number)
{
	struct kv_node node;

	if (kv_page_read(&file, number, KV_PAGE_LEAF, page)) {
		for (unsigned i = 0; i < page->nodes; i++)
			if (kv_page_node(&file, page, i, &node))
				lose_key(node.key, node.value);
		return;
	}
	/* On overflow pages: whose is it? */
	for (uint64_t p = 2; p < file.count; p++) {
		if (p == number || !kv_page_read(&file, p, KV_PAGE_LEAF, page))
			continue;
		for (unsigned i = 0; i < page->nodes; i++)
			if (kv_page_node(&file, page, i, &node) && node.page != 0 &&
			    number >= node.page && number <= node.page + node.len / file.bytes)
				lose_key(node.key, node.value);
	}
}

static void
open_file(void)
{
	struct stat st;

	file.fd = open(part, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(file.fd, 0);
	ck_assert_int_eq(fstat(file.fd, &st), 0);
	file.bytes = 4096;
	file.count = (uint64_t)st.st_size / file.bytes;
	page = shelf_alloc(sizeof *page + file.bytes);
}

static void
close_file(void)
{
	close(file.fd);
	free(page);
}

/* ---- Damage ---------------------------------------------------------------------------------------------- */

static void
overwrite(uint64_t number)
{
	uint8_t bytes[4096];

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(roll(4) == 0 ? 0 : roll(256));
	ck_assert_int_eq(pwrite(file.fd, bytes, sizeof bytes, (off_t)(number * file.bytes)), 4096);
}

static void
flip(uint64_t number)
{
	off_t at = (off_t)(number * file.bytes + roll(file.bytes));
	uint8_t byte;

	ck_assert_int_eq(pread(file.fd, &byte, 1, at), 1);
	byte ^= (uint8_t)(1u << roll(8));
	ck_assert_int_eq(pwrite(file.fd, &byte, 1, at), 1);
}

static void
damage(unsigned seed)
{
	uint64_t end = file.count, hit[128];
	unsigned n = 1 + roll(seed % 4 == 0 ? 100 : 12);

	if (seed % 8 == 7)
		end = 2 + roll((uint32_t)file.count - 2);
	for (unsigned i = 0; i < n; i++) {
		hit[i] = roll((uint32_t)file.count);
		touch(hit[i]);
	}
	for (uint64_t p = end; p < file.count; p++)
		touch(p);
	for (unsigned i = 0; i < n; i++) {
		if (seed % 2 == 0)
			overwrite(hit[i]);
		else
			flip(hit[i]);
	}
	if (seed % 16 == 3) { /* both roots */
		overwrite(0);
		overwrite(1);
	}
	ck_assert_int_eq(ftruncate(file.fd, (off_t)(end * file.bytes)), 0);
	if (seed % 4 == 2)
		ck_assert_int_eq(unlink(catalog), 0);
}

/* ---- What comes out -------------------------------------------------------------------------------------- */

struct outcome {
	bool names;
	unsigned lost, notes;
};

static int
take(void *arg, const struct shelf_salvaged *m, struct shelf_span body)
{
	const struct outcome *o = arg;
	uint8_t digest[SHA256_DIGEST_LENGTH];
	bool known = false;

	SHA256(body.data, body.len, digest);
	for (size_t i = 0; i < nstored; i++) {
		struct message *s = &stored[i];

		if (memcmp(s->hash, digest, HASH) != 0)
			continue;
		known = true;
		if (s->account != m->account || s->mailbox != m->mailbox || s->uid != m->msg.uid)
			continue;
		s->out = true;
		if (o->names && !s->may_be_lost)
			ck_assert(shelf_span_is(m->account_name, m->account == r.joe ? "joe" : "ann"));
	}
	ck_assert_msg(known, "bytes that were never stored");
	return 0;
}

static void
count_lost(void *arg, const struct shelf_salvaged *m, const char *why)
{
	((struct outcome *)arg)->lost++;
}

static void
count_note(void *arg, const char *path, const char *text)
{
	printf("%s: %s\n", path + strlen(r.path), text);
	((struct outcome *)arg)->notes++;
}

/* GONE rows that no tree leads to are not believed (salvage_walk.c). */
static unsigned
missed(bool held_too)
{
	unsigned n = 0;

	for (size_t i = 0; i < nstored; i++) {
		if (stored[i].out || stored[i].may_be_lost || (stored[i].held && !held_too))
			continue;
		printf("account %u mailbox %u uid %u is missing\n", stored[i].account,
		    stored[i].mailbox, stored[i].uid);
		n++;
	}
	return n;
}

/* The files as they were, for the next damage. */
static struct shelf_buf whole[2];

static void
put_back(const char *path, const struct shelf_buf *bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes->data, bytes->len), (ssize_t)bytes->len);
	ck_assert_int_eq(close(fd), 0);
	for (size_t i = 0; i < nstored; i++)
		stored[i].may_be_lost = stored[i].out = false;
}

START_TEST(what_is_whole_comes_out)
{
	fill();
	support_read_file(part, &whole[0]);
	support_read_file(catalog, &whole[1]);
	for (unsigned n = 0; n < SEEDS_EACH; n++) {
		unsigned seed = (unsigned)_i * SEEDS_EACH + n;
		struct outcome o = {.names = seed % 4 != 2};
		const struct shelf_salvage_sink sink = {take, count_lost, count_note, &o};

		printf("seed %u\n", seed);
		put_back(part, &whole[0]);
		put_back(catalog, &whole[1]);
		open_file();
		dice = 7919u * seed + 1000003;
		damage(seed);
		close_file();
		ck_assert_int_eq(shelf_salvage(r.path, &sink), 0);
		ck_assert_uint_eq(missed(false), 0);
	}
	shelf_buf_free(&whole[0]);
	shelf_buf_free(&whole[1]);
	support_rmtree(r.dir);
}
END_TEST

/* Roots and branches hold no mail: each of them can go, and nothing is lost. */
START_TEST(no_branch_is_needed)
{
	struct outcome o = {.names = true};
	const struct shelf_salvage_sink sink = {take, count_lost, count_note, &o};
	uint8_t saved[4096];
	unsigned tried = 0;

	fill();
	open_file();
	for (uint64_t p = 0; p < file.count; p++) {
		if (!kv_page_read(&file, p, KV_PAGE_BRANCH | KV_PAGE_META, page))
			continue;
		memcpy(saved, page->data, sizeof saved);
		overwrite(p);
		for (size_t i = 0; i < nstored; i++)
			stored[i].out = false;
		ck_assert_int_eq(shelf_salvage(r.path, &sink), 0);
		ck_assert_uint_eq(missed(false), 0);
		ck_assert_uint_eq(o.lost, 0);
		ck_assert_int_eq(pwrite(file.fd, saved, sizeof saved, (off_t)(p * file.bytes)), 4096);
		tried++;
	}
	ck_assert_uint_gt(tried, 4);
	close_file();
	support_rmtree(r.dir);
}
END_TEST

/* Of one leaf, no more is lost than what is on it; the loss is told. */
START_TEST(a_lost_row_is_told)
{
	struct outcome o = {.names = true};
	const struct shelf_salvage_sink sink = {take, count_lost, count_note, &o};
	struct shelf_span chunk = shelf_span(NULL, 0);
	struct kv_node node;
	unsigned lost = 0;

	fill();
	open_file();
	/* A page of chunks that a message needs: the last of the file that has one. */
	for (uint64_t p = file.count - 1; p > 1 && lost == 0; p--) {
		if (!kv_page_read(&file, p, KV_PAGE_LEAF, page) || page->nodes == 0 ||
		    !kv_page_node(&file, page, 0, &node) || node.key.len != 12 ||
		    base_get_be32(node.key.data) != 0 || node.value.len < 4 || node.value.data[0] != 0x28)
			continue;
		chunk = node.key;
		lose_blob(base_get_be64(chunk.data));
		for (size_t i = 0; i < nstored; i++)
			lost += stored[i].may_be_lost;
		if (lost > 0) {
			touch(p);
			overwrite(p);
		}
	}
	ck_assert_uint_gt(lost, 0);
	close_file();
	ck_assert_int_eq(shelf_salvage(r.path, &sink), 0);
	ck_assert_uint_eq(missed(true), 0);
	support_rmtree(r.dir);
}
END_TEST

/* The generation in use is read; which one that is can be found out without the text, too. */
START_TEST(a_compacted_partition)
{
	struct outcome o = {.names = true};
	const struct shelf_salvage_sink sink = {take, count_lost, count_note, &o};
	struct kv_compacted done;
	char text[4400];

	fill();
	ck_assert_int_eq(shelf_store_open(r.path, 0, &r.store), 0);
	ck_assert_int_eq(kv_compact(r.store->kv, 0, NULL, NULL, &done), 0);
	shelf_store_close(&r.store);
	ck_assert_int_ne(access(part, F_OK), 0);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(shelf_salvage(r.path, &sink), 0);
		ck_assert_uint_eq(missed(true), 0);
		ck_assert_uint_eq(o.lost, 0);
		ck_assert_uint_eq(o.notes, i);
		snprintf(text, sizeof text, "%s/kv/part-00.generation", r.path);
		ck_assert(unlink(text) == 0 || i == 1);
		for (size_t k = 0; k < nstored; k++)
			stored[k].out = false;
	}
	support_rmtree(r.dir);
}
END_TEST

START_TEST(no_store_is_an_error)
{
	struct outcome o = {0};
	const struct shelf_salvage_sink sink = {take, count_lost, count_note, &o};

	ck_assert_int_eq(shelf_salvage("/nonexistent", &sink), SHELF_EMISSING);
}
END_TEST

Suite *suite_salvage(void);
Suite *
suite_salvage(void)
{
	Suite *s = suite_create("salvage");
	TCase *tc = tcase_create("salvage");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, what_is_whole_comes_out, 0, TESTS);
	tcase_add_test(tc, no_branch_is_needed);
	tcase_add_test(tc, a_lost_row_is_told);
	tcase_add_test(tc, a_compacted_partition);
	tcase_add_test(tc, no_store_is_an_error);
	suite_add_tcase(s, tc);
	return s;
}
