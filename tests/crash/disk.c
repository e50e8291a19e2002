/*
 * disk.c - the calls that reach the disk: passed on, made to fail, recorded
 *
 * RECORD, one after the other
 *   OFFSET SIZE MEANING
 *   0      4    kind
 *   4      16   file
 *   20     8    offset
 *   28     4    bytes of data
 *   32     ...  data
 *
 * What must stay true: an event is recorded under one lock with the call it tells of, so that their order is
 * the order in which they happened. Nothing here uses a function it stands in front of.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "disk.h"
#include "disk_inside.h"
#include "support.h"

enum { HEAD_BYTES = 32, META_MAX = 4096, META_END = 2 * 4096 };

static struct {
	_Atomic int kind; /* enum disk_kind */
	uint64_t at, times;
	_Atomic uint64_t calls;
	atomic_bool faulted;
} armed;
static __thread unsigned paused;

static pthread_mutex_t record_lock = PTHREAD_MUTEX_INITIALIZER;
static int record_fd = -1;

const char *
disk_kind_name(enum disk_kind kind)
{
	static const char *const names[DISK_KINDS] = {"none", "EIO from write", "half a write", "EINTR from write",
	    "ENOSPC", "EIO from the meta page", "EIO from sync", "no memory"};

	return names[kind];
}

/* ---- Faults ------------------------------------------------------------------------------------- */

void
disk_arm(enum disk_kind kind, uint64_t at)
{
	/* A commit that failed is tried once more: every other time that fails, too. */
	static const uint64_t many[DISK_KINDS] = {[DISK_WRITE_EIO] = 3, [DISK_META_EIO] = 2, [DISK_SYNC_EIO] = 2,
	    [DISK_FULL] = 24, [DISK_MEMORY] = 1, [DISK_WRITE_SHORT] = 1, [DISK_WRITE_EINTR] = 1};

	armed.at = at;
	armed.times = at % 2 == 0 && kind != DISK_FULL ? 1 : many[kind];
	atomic_store(&armed.calls, 0);
	atomic_store(&armed.faulted, false);
	atomic_store(&armed.kind, at == 0 ? DISK_NONE : (int)kind);
}

bool
disk_faulted(void)
{
	return atomic_load(&armed.faulted);
}

bool
disk_over(void)
{
	return disk_faulted() && atomic_load(&armed.calls) + 1 >= armed.at + armed.times;
}

void
disk_pause(void)
{
	paused++;
}

void
disk_resume(void)
{
	paused--;
}

bool
disk_fails(enum disk_kind kind)
{
	uint64_t n;

	if (atomic_load_explicit(&armed.kind, memory_order_relaxed) != (int)kind || paused > 0)
		return false;
	n = atomic_fetch_add(&armed.calls, 1) + 1;
	if (n < armed.at || n >= armed.at + armed.times)
		return false;
	atomic_store(&armed.faulted, true);
	return true;
}

/* ---- Records ------------------------------------------------------------------------------------ */

static void
put(const void *data, size_t len)
{
	if (syscall(SYS_write, record_fd, data, len) != (long)len)
		support_fatal("the record cannot be written");
}

static void
record(enum disk_event_kind kind, const char *file, uint64_t offset, const void *data, size_t len)
{
	uint8_t head[HEAD_BYTES] = {(uint8_t)kind};
	uint32_t len32 = (uint32_t)len;

	memcpy(head + 4, file, strlen(file));
	memcpy(head + 20, &offset, sizeof offset);
	memcpy(head + 28, &len32, sizeof len32);
	put(head, sizeof head);
	if (len > 0)
		put(data, len);
}

/* The directory of FD, when FD is a data.mdb and a record is under way: then the record is locked. */
static bool
record_begin(int fd, char file[16])
{
	char link[64], path[PATH_MAX], *name, *dir;
	ssize_t n;

	if (record_fd < 0)
		return false;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	if (n <= 0)
		return false;
	path[n] = '\0';
	name = strrchr(path, '/');
	if (name == NULL || strcmp(name, "/data.mdb") != 0)
		return false;
	*name = '\0';
	dir = strrchr(path, '/');
	if (dir == NULL || strlen(dir + 1) >= 16)
		return false;
	memset(file, 0, 16);
	memcpy(file, dir + 1, strlen(dir + 1));
	pthread_mutex_lock(&record_lock);
	return true;
}

static enum disk_event_kind
kind_of_write(int fd)
{
	return (fcntl(fd, F_GETFL) & O_DSYNC) != 0 ? DISK_EVENT_WRITE_SYNC : DISK_EVENT_WRITE;
}

void
disk_record(const char *path)
{
	record_fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (record_fd < 0)
		support_fatal("no record at %s", path);
}

void
disk_note(const void *data, size_t len)
{
	pthread_mutex_lock(&record_lock);
	record(DISK_EVENT_NOTE, "", 0, data, len);
	pthread_mutex_unlock(&record_lock);
}

bool
disk_event_next(struct shelf_span record, size_t *pos, struct disk_event *out)
{
	const uint8_t *head = record.data + *pos;
	uint32_t len;

	/* The process may have been stopped at any point of its writing. */
	if (record.len - *pos < HEAD_BYTES)
		return false;
	memcpy(&len, head + 28, sizeof len);
	if (record.len - *pos - HEAD_BYTES < len)
		return false;
	out->kind = (enum disk_event_kind)head[0];
	memcpy(out->file, head + 4, sizeof out->file);
	memcpy(&out->offset, head + 20, sizeof out->offset);
	out->data = shelf_span(head + HEAD_BYTES, len);
	*pos += HEAD_BYTES + len;
	return true;
}

/* ---- The calls ---------------------------------------------------------------------------------- */

/* A write of LEN bytes at OFFSET that must fail: errno is set. *LEN_OUT: how much may be done. */
static bool
write_fails(int fd, uint64_t offset, size_t len, size_t *len_out)
{
	static atomic_bool cut;
	int err = 0;

	*len_out = len;
	if (fd <= STDERR_FILENO || fd == record_fd)
		return false;
	if (disk_fails(DISK_WRITE_EIO))
		err = EIO;
	else if (disk_fails(DISK_WRITE_EINTR))
		err = EINTR;
	else if (disk_fails(DISK_FULL))
		err = ENOSPC;
	else if (len < META_MAX && offset < META_END && disk_fails(DISK_META_EIO))
		err = EIO;
	else if (atomic_exchange(&cut, false))
		err = ENOSPC;
	else if (len > 1 && disk_fails(DISK_WRITE_SHORT)) {
		*len_out = len / 2;
		atomic_store(&cut, true);
	}
	errno = err;
	return err != 0;
}

/* Every other meta page whose write fails is on the disk nevertheless, and not undone. */
static bool
done_all_the_same(size_t len)
{
	return atomic_load(&armed.kind) == DISK_META_EIO && armed.times == 2 && len < META_MAX &&
	       atomic_load(&armed.calls) == armed.at;
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t offset)
{
	char file[16];
	size_t part;
	ssize_t n;

	if (write_fails(fd, (uint64_t)offset, len, &part)) {
		if (done_all_the_same(len))
			syscall(SYS_pwrite64, fd, data, len, offset);
		return -1;
	}
	if (!record_begin(fd, file))
		return (ssize_t)syscall(SYS_pwrite64, fd, data, part, offset);
	record(kind_of_write(fd), file, (uint64_t)offset, data, part);
	n = (ssize_t)syscall(SYS_pwrite64, fd, data, part, offset);
	pthread_mutex_unlock(&record_lock);
	return n;
}

ssize_t
pwrite64(int fd, const void *data, size_t len, off_t offset)
{
	return pwrite(fd, data, len, offset);
}

ssize_t
write(int fd, const void *data, size_t len)
{
	const struct iovec one = {(void *)(uintptr_t)data, len};

	return writev(fd, &one, 1);
}

/* LMDB seeks and then writes runs of pages so. */
ssize_t
writev(int fd, const struct iovec *iov, int count)
{
	off_t offset = (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR);
	size_t len = 0, part;
	char file[16];
	ssize_t n;

	for (int i = 0; i < count; i++)
		len += iov[i].iov_len;
	if (write_fails(fd, offset < 0 ? META_END : (uint64_t)offset, len, &part))
		return -1;
	if (part < len)
		return (ssize_t)syscall(SYS_write, fd, iov[0].iov_base, iov[0].iov_len / 2);
	if (!record_begin(fd, file))
		return (ssize_t)syscall(SYS_writev, fd, iov, count);
	for (int i = 0, at = 0; i < count; at += (int)iov[i++].iov_len)
		record(kind_of_write(fd), file, (uint64_t)offset + (uint64_t)at, iov[i].iov_base, iov[i].iov_len);
	n = (ssize_t)syscall(SYS_writev, fd, iov, count);
	pthread_mutex_unlock(&record_lock);
	return n;
}

static int
sync_file(int fd, long call)
{
	char file[16];
	int rc;

	if (disk_fails(DISK_SYNC_EIO)) {
		errno = EIO;
		return -1;
	}
	if (!record_begin(fd, file))
		return (int)syscall(call, fd);
	rc = (int)syscall(call, fd);
	if (rc == 0)
		record(DISK_EVENT_SYNC, file, 0, NULL, 0);
	pthread_mutex_unlock(&record_lock);
	return rc;
}

int
fdatasync(int fd)
{
	return sync_file(fd, SYS_fdatasync);
}

int
fsync(int fd)
{
	return sync_file(fd, SYS_fsync);
}

int
ftruncate(int fd, off_t size)
{
	char file[16];
	int rc;

	if (disk_fails(DISK_WRITE_EIO)) {
		errno = EIO;
		return -1;
	}
	if (!record_begin(fd, file))
		return (int)syscall(SYS_ftruncate, fd, size);
	record(DISK_EVENT_TRUNCATE, file, (uint64_t)size, NULL, 0);
	rc = (int)syscall(SYS_ftruncate, fd, size);
	pthread_mutex_unlock(&record_lock);
	return rc;
}

/* The engine allocates behind the end of a file and leaves its size alone: nothing to record. */
int
fallocate(int fd, int mode, off_t offset, off_t len)
{
	if (disk_fails(DISK_FULL)) {
		errno = ENOSPC;
		return -1;
	}
	return (int)syscall(SYS_fallocate, fd, mode, offset, len);
}
