/*
 * source_input.c - a file as a stream of bytes, gzip and zstd undone
 *
 * What a file is packed with is told by its first bytes, not its name. A packed stream that stops in
 * the middle is damage, never an early end: half a message must not pass for a whole one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>
#include <zstd.h>

#include <mailshelf/mem.h>

#include "source.h"

enum { IN_BYTES = 256 * 1024, ZSTD_WINDOW_LOG_MAX = 27 };

struct source_input {
	int fd;
	enum { PLAIN, GZIP, ZSTD } packed;
	uint8_t *in;
	size_t pos, len;
	bool eof;        /* of the file */
	bool between;    /* packed: no frame is open */
	bool started;    /* packed: a first frame was there */
	uint64_t taken;  /* bytes read from the file */
	int64_t mtime_s;
	const char *why;
	z_stream gz;
	ZSTD_DCtx *zstd;
};

const char *
source_input_why(const struct source_input *in)
{
	return in->why;
}

uint64_t
source_input_packed(const struct source_input *in)
{
	return in->taken;
}

int64_t
source_input_mtime(const struct source_input *in)
{
	return in->mtime_s;
}

void
source_input_close(struct source_input **inp)
{
	struct source_input *in = *inp;

	if (in == NULL)
		return;
	*inp = NULL;
	if (in->packed == GZIP)
		inflateEnd(&in->gz);
	ZSTD_freeDCtx(in->zstd);
	if (in->fd > STDIN_FILENO)
		close(in->fd);
	free(in->in);
	free(in);
}

/* More bytes of the file behind those not yet used. False on an error. */
static bool
refill(struct source_input *in)
{
	ssize_t n;

	if (in->pos > 0) {
		memmove(in->in, in->in + in->pos, in->len - in->pos);
		in->len -= in->pos;
		in->pos = 0;
	}
	while (!in->eof && in->len < IN_BYTES) {
		n = read(in->fd, in->in + in->len, IN_BYTES - in->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			in->why = "cannot be read (input/output error)";
			return false;
		}
		in->eof = n == 0;
		in->len += (size_t)n;
		in->taken += (uint64_t)n;
		if (n > 0)
			break;
	}
	return true;
}

static bool
detect(struct source_input *in)
{
	static const uint8_t gzip[2] = {0x1f, 0x8b}, zstd[4] = {0x28, 0xb5, 0x2f, 0xfd};

	/* A pipe may give fewer bytes than the magic at first. */
	while (!in->eof && in->len < sizeof zstd) {
		if (!refill(in))
			return false;
	}
	in->between = true;
	if (in->len >= 2 && memcmp(in->in, gzip, 2) == 0) {
		if (inflateInit2(&in->gz, 15 + 16) != Z_OK) {
			in->why = "no memory to unpack it";
			return false;
		}
		in->packed = GZIP;
	} else if (in->len >= 4 && memcmp(in->in, zstd, 4) == 0) {
		in->zstd = ZSTD_createDCtx();
		if (in->zstd == NULL ||
		    ZSTD_isError(ZSTD_DCtx_setParameter(in->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX))) {
			in->why = "no memory to unpack it";
			return false;
		}
		in->packed = ZSTD;
	}
	return true;
}

struct source_input *
source_input_open(const char *path, unsigned flags, const char **why_out)
{
	struct source_input *in = SHELF_NEW(struct source_input);
	struct stat st;
	/* O_NONBLOCK: opening a FIFO must not hang; regular files do not care. */
	int mode = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

	in->fd = -1;
	if (strcmp(path, "-") == 0)
		in->fd = STDIN_FILENO;
	else
		in->fd = open(path, mode | ((flags & SOURCE_NOFOLLOW) != 0 ? O_NOFOLLOW : 0));
	if (in->fd < 0) {
		in->why = errno == ENOENT ? "does not exist" : errno == ELOOP ? "is a symbolic link" :
		    errno == EACCES ? "no permission to read it" : "cannot be opened";
		goto fail;
	}
	if (fstat(in->fd, &st) != 0 || (in->fd != STDIN_FILENO && !S_ISREG(st.st_mode))) {
		in->why = "is not a regular file";
		goto fail;
	}
	in->mtime_s = in->fd == STDIN_FILENO ? shelf_now_s() : (int64_t)st.st_mtime;
	in->in = shelf_alloc(IN_BYTES);
	if (!detect(in))
		goto fail;
	return in;

fail:
	*why_out = in->why;
	source_input_close(&in);
	return NULL;
}

static ptrdiff_t
read_plain(struct source_input *in, void *out, size_t len)
{
	size_t n;

	if (in->pos == in->len && !in->eof && !refill(in))
		return -1;
	n = in->len - in->pos < len ? in->len - in->pos : len;
	memcpy(out, in->in + in->pos, n);
	in->pos += n;
	return (ptrdiff_t)n;
}

/* Unpacks what is buffered; *MADE_OUT bytes came out. False: damaged. */
static bool
unpack_gzip(struct source_input *in, void *out, size_t len, size_t *made_out)
{
	int rc;

	if (in->between && inflateReset(&in->gz) != Z_OK)
		return false;
	in->between = false;
	in->gz.next_in = in->in + in->pos;
	in->gz.avail_in = (uInt)(in->len - in->pos);
	in->gz.next_out = out;
	in->gz.avail_out = (uInt)len;
	rc = inflate(&in->gz, Z_NO_FLUSH);
	in->pos = in->len - in->gz.avail_in;
	*made_out = len - in->gz.avail_out;
	if (rc == Z_STREAM_END)
		in->between = true;
	return rc == Z_OK || rc == Z_STREAM_END || rc == Z_BUF_ERROR;
}

static bool
unpack_zstd(struct source_input *in, void *out, size_t len, size_t *made_out)
{
	ZSTD_inBuffer from = {in->in, in->len, in->pos};
	ZSTD_outBuffer to = {out, len, 0};
	size_t rc = ZSTD_decompressStream(in->zstd, &to, &from);

	in->pos = from.pos;
	*made_out = to.pos;
	in->between = rc == 0;
	return !ZSTD_isError(rc);
}

/* Behind a frame: the end, zeros that pad the file (tapes, gzip's own tool takes them), or more. */
static bool
at_end(struct source_input *in)
{
	if (!in->between || !in->started)
		return false;
	for (;;) {
		while (in->packed == GZIP && in->pos < in->len && in->in[in->pos] == 0)
			in->pos++;
		if (in->pos < in->len)
			return false;
		if (in->eof)
			return true;
		if (!refill(in))
			return false;
	}
}

ptrdiff_t
source_input_read(struct source_input *in, void *out, size_t len)
{
	size_t made = 0;
	bool ok;

	if (in->packed == PLAIN)
		return read_plain(in, out, len);
	while (made == 0) {
		size_t before;
		bool behind;

		if (at_end(in))
			return 0;
		if (in->pos == in->len && !in->eof && !refill(in))
			return -1;
		before = in->pos;
		behind = in->between && in->started;
		ok = in->packed == GZIP ? unpack_gzip(in, out, len, &made) : unpack_zstd(in, out, len, &made);
		in->started = true;
		if (!ok && behind) {
			/* What was packed is whole; what follows is not part of it. */
			in->why = "something behind the packed data is left out";
			in->pos = in->len = 0;
			in->eof = in->between = true;
			return 0;
		}
		if (!ok) {
			in->why = "packed data is damaged";
			return -1;
		}
		if (made == 0 && in->pos == before && !in->between) {
			if (in->eof) {
				in->why = "packed data is cut short";
				return -1;
			}
			if (!refill(in))
				return -1;
		}
	}
	return (ptrdiff_t)made;
}
