/*
 * regress_main.c - a main for the fuzz targets without libFuzzer: plays files, then mutations of them
 *
 * usage: regress_NAME [-m MUTATIONS] [-s SEED] FILE|DIRECTORY ...
 * What must stay true: the same seed and files give the same inputs, so a failure can be played again.
 * When an input ends the process, it is left in $TMPDIR and named on stderr. A missing directory is an
 * empty one: a target without a corpus starts from nothing but mutations.
 */
#include <errno.h>
#include <fts.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mailshelf/mem.h>

enum { INPUT_MAX = 1 << 20, MUTATED_MAX = 8192, INPUT_TIMEOUT_S = 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

struct inputs {
	struct shelf_buf *list;
	size_t count;
};

static const char *program;
static struct shelf_span current;
static uint64_t state;

static uint32_t
dice(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 20) % below;
}

/* Leaves the input that was being played; called while the process dies. */
static void
leave_input(void)
{
	const char *dir = getenv("TMPDIR");
	char path[4200];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s-%d.input", dir != NULL ? dir : "/tmp", program, (int)getpid());
	f = fopen(path, "wb");
	if (f == NULL)
		return;
	fwrite(current.data, 1, current.len, f);
	fclose(f);
	fprintf(stderr, "the input is in %s\n", path);
}

static void
on_signal(int number)
{
	fprintf(stderr, "%s: signal %d%s\n", program, number,
	    number == SIGALRM ? ", an input took too long" : "");
	leave_input();
	_exit(1);
}

static void
play(const uint8_t *data, size_t len)
{
	/* An own allocation of just this size, so that reading one byte beyond is seen. */
	uint8_t *copy = shelf_alloc(len == 0 ? 1 : len);

	if (len > 0)
		memcpy(copy, data, len);
	current = shelf_span(copy, len);
	alarm(INPUT_TIMEOUT_S);
	LLVMFuzzerTestOneInput(copy, len);
	alarm(0);
	free(copy);
}

static void
add_file(struct inputs *in, const char *path)
{
	struct shelf_buf bytes = {0};
	FILE *f = fopen(path, "rb");

	if (f == NULL) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(2);
	}
	bytes.len = fread(shelf_buf_reserve(&bytes, INPUT_MAX), 1, INPUT_MAX, f);
	fclose(f);
	in->list = shelf_realloc(in->list, (in->count + 1) * sizeof *in->list);
	in->list[in->count++] = bytes;
}

static int
by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void
collect(struct inputs *in, char **paths)
{
	FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	FTSENT *e;

	while (fts != NULL && (e = fts_read(fts)) != NULL)
		if (e->fts_info == FTS_F)
			add_file(in, e->fts_path);
	if (fts != NULL)
		fts_close(fts);
}

/* One small change: a byte, a piece cut out, doubled, or taken from another input. */
static void
mutate(struct shelf_buf *b, const struct inputs *in)
{
	static const char *const pieces[] = {"\r\n", "\n", "\0", "\"", "(", ")", "{1}", "{4294967296+}",
	    "\\", "=?", "?=", "--", ";", ":", "*", "%", "&", "&-", "<", ">", "[", "]", "\xff", "\xc3", "=",
	    "4294967295", "18446744073709551616", " "};
	uint32_t at = dice((uint32_t)b->len + 1), n;
	const struct shelf_buf *other;

	switch (dice(6)) {
	case 0:
		if (at < b->len)
			b->data[at] = (uint8_t)dice(256);
		break;
	case 1:
		if (at < b->len)
			b->data[at] ^= (uint8_t)(1u << dice(8));
		break;
	case 2:
		n = at < b->len ? 1 + dice((uint32_t)b->len - at) : 0;
		memmove(b->data + at, b->data + at + n, b->len - at - n);
		b->len -= n;
		break;
	case 3:
		n = dice((uint32_t)b->len - at + 1);
		shelf_buf_reserve(b, n);
		shelf_buf_add(b, b->data + at, n);
		break;
	case 4: {
		const char *piece = pieces[dice(sizeof pieces / sizeof *pieces)];

		n = *piece == '\0' ? 1 : (uint32_t)strlen(piece);
		shelf_buf_reserve(b, n);
		memmove(b->data + at + n, b->data + at, b->len - at);
		memcpy(b->data + at, piece, n);
		b->len += n;
		break;
	}
	default:
		other = &in->list[dice((uint32_t)in->count)];
		b->len = at;
		n = dice((uint32_t)other->len + 1);
		shelf_buf_add(b, other->data + n, other->len - n);
	}
	if (b->len > MUTATED_MAX)
		b->len = MUTATED_MAX;
}

int
main(int argc, char **argv)
{
	struct inputs in = {0};
	struct shelf_buf b = {0};
	unsigned long mutations = 1000;
	size_t files;
	int c;

	program = strrchr(argv[0], '/') != NULL ? strrchr(argv[0], '/') + 1 : argv[0];
	state = 88172645463325252u;
	while ((c = getopt(argc, argv, "m:s:")) != -1) {
		if (c == 'm')
			mutations = strtoul(optarg, NULL, 10);
		else if (c == 's')
			state ^= strtoull(optarg, NULL, 10) * 0x9e3779b97f4a7c15u;
		else
			return 64;
	}
	if (LLVMFuzzerInitialize != NULL)
		LLVMFuzzerInitialize(&argc, &argv);
	if (__sanitizer_set_death_callback != NULL)
		__sanitizer_set_death_callback(leave_input);
	signal(SIGALRM, on_signal);
	signal(SIGABRT, on_signal);
	if (optind < argc)
		collect(&in, argv + optind);
	for (size_t i = 0; i < in.count; i++)
		play(in.list[i].data, in.list[i].len);
	files = in.count;
	if (in.count == 0) {
		in.list = SHELF_NEW(struct shelf_buf);
		in.count = 1;
		play(NULL, 0);
	}
	for (unsigned long i = 0; i < mutations; i++) {
		const struct shelf_buf *from = &in.list[dice((uint32_t)in.count)];
		uint32_t steps = 1 + dice(in.count == 1 ? 60 : 6);

		shelf_buf_clear(&b);
		shelf_buf_add(&b, from->data, from->len < MUTATED_MAX ? from->len : MUTATED_MAX);
		while (steps-- > 0)
			mutate(&b, &in);
		play(b.data, b.len);
	}
	printf("%s: %zu files, %lu mutations\n", program, files, mutations);
	for (size_t i = 0; i < in.count; i++)
		shelf_buf_free(&in.list[i]);
	free(in.list);
	shelf_buf_free(&b);
	return 0;
}
