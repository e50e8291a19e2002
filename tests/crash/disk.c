/*
 * disk.c - the calls that reach the disk: passed on, made to fail, recorded
 *
 * What must stay true: an event is recorded under one lock with the call it tells of, so that their order is
 * the order in which they happened. Nothing here uses a function it stands in front of.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "disk_inside.h"

enum { META_MAX = 4096, META_END = 2 * 4096 };

static struct {
	_Atomic int kind; /* enum disk_kind */
	uint64_t at, times;
	_Atomic uint64_t calls;
	atomic_bool faulted;
} armed;
static __thread unsigned paused;

const char *
disk_kind_name(enum disk_kind kind)
{
	static const char *const names[DISK_KINDS] = {"none", "EIO from write", "half a write", "EINTR from write",
	    "ENOSPC", "EIO from the meta page", "EIO from sync", "no memory"};

	return names[kind];
}

/* ---- Faults ------------------------------------------------------------------------------------- */

void
disk_arm_times(enum disk_kind kind, uint64_t at, uint64_t times)
{
	armed.at = at;
	armed.times = times;
	atomic_store(&armed.calls, 0);
	atomic_store(&armed.faulted, false);
	atomic_store(&armed.kind, at == 0 ? DISK_NONE : (int)kind);
}

void
disk_arm(enum disk_kind kind, uint64_t at)
{
	/* A commit that failed is tried once more: every other time that fails, too. */
	static const uint64_t many[DISK_KINDS] = {[DISK_WRITE_EIO] = 3, [DISK_META_EIO] = 2, [DISK_SYNC_EIO] = 2,
	    [DISK_FULL] = 24, [DISK_MEMORY] = 1, [DISK_WRITE_SHORT] = 1, [DISK_WRITE_EINTR] = 1};

	disk_arm_times(kind, at, at % 2 == 0 && kind != DISK_FULL ? 1 : many[kind]);
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

static enum disk_event_kind
kind_of_write(int fd)
{
	return (fcntl(fd, F_GETFL) & O_DSYNC) != 0 ? DISK_EVENT_WRITE_SYNC : DISK_EVENT_WRITE;
}

/* ---- The calls ---------------------------------------------------------------------------------- */

/* A write of LEN bytes at OFFSET that must fail: errno is set. *LEN_OUT: how much may be done. */
static bool
write_fails(int fd, uint64_t offset, size_t len, size_t *len_out)
{
	static atomic_bool cut;
	int err = 0;

	*len_out = len;
	if (fd <= STDERR_FILENO || disk_is_record(fd))
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
	char path[DISK_PATH_MAX];
	size_t part;
	ssize_t n;

	if (write_fails(fd, (uint64_t)offset, len, &part)) {
		if (done_all_the_same(len))
			syscall(SYS_pwrite64, fd, data, len, offset);
		return -1;
	}
	if (!disk_record_begin(fd, path))
		return (ssize_t)syscall(SYS_pwrite64, fd, data, part, offset);
	disk_record_event(kind_of_write(fd), path, (uint64_t)offset, data, part);
	n = (ssize_t)syscall(SYS_pwrite64, fd, data, part, offset);
	disk_record_end();
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
	char path[DISK_PATH_MAX];
	ssize_t n;

	for (int i = 0; i < count; i++)
		len += iov[i].iov_len;
	if (write_fails(fd, offset < 0 ? META_END : (uint64_t)offset, len, &part))
		return -1;
	if (part < len)
		return (ssize_t)syscall(SYS_write, fd, iov[0].iov_base, iov[0].iov_len / 2);
	if (!disk_record_begin(fd, path))
		return (ssize_t)syscall(SYS_writev, fd, iov, count);
	for (int i = 0, at = 0; i < count; at += (int)iov[i++].iov_len)
		disk_record_event(kind_of_write(fd), path, (uint64_t)offset + (uint64_t)at,
		    iov[i].iov_base, iov[i].iov_len);
	n = (ssize_t)syscall(SYS_writev, fd, iov, count);
	disk_record_end();
	return n;
}

static int
sync_file(int fd, long call)
{
	char path[DISK_PATH_MAX];
	int rc;

	if (disk_fails(DISK_SYNC_EIO)) {
		errno = EIO;
		return -1;
	}
	if (!disk_record_begin(fd, path))
		return (int)syscall(call, fd);
	rc = (int)syscall(call, fd);
	if (rc == 0)
		disk_record_event(DISK_EVENT_SYNC, path, 0, NULL, 0);
	disk_record_end();
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
	char path[DISK_PATH_MAX];
	int rc;

	if (disk_fails(DISK_WRITE_EIO)) {
		errno = EIO;
		return -1;
	}
	if (!disk_record_begin(fd, path))
		return (int)syscall(SYS_ftruncate, fd, size);
	disk_record_event(DISK_EVENT_TRUNCATE, path, (uint64_t)size, NULL, 0);
	rc = (int)syscall(SYS_ftruncate, fd, size);
	disk_record_end();
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

/* ---- Directories --------------------------------------------------------------------------------- */

static int
open_file(int dir, const char *name, int flags, mode_t mode)
{
	char path[DISK_PATH_MAX];
	bool was_there;
	int fd;

	if ((flags & O_CREAT) == 0 || !disk_record_begin_at(dir, name, path))
		return (int)syscall(SYS_openat, dir, name, flags, mode);
	was_there = syscall(SYS_faccessat, dir, name, F_OK) == 0;
	fd = (int)syscall(SYS_openat, dir, name, flags, mode);
	if (fd >= 0 && !was_there)
		disk_record_event(DISK_EVENT_CREATE, path, 0, NULL, 0);
	else if (fd >= 0 && (flags & O_TRUNC) != 0)
		disk_record_event(DISK_EVENT_TRUNCATE, path, 0, NULL, 0);
	disk_record_end();
	return fd;
}

static mode_t
mode_of(int flags, va_list ap)
{
	return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
}

int
open(const char *name, int flags, ...)
{
	va_list ap;
	int fd;

	va_start(ap, flags);
	fd = open_file(AT_FDCWD, name, flags, mode_of(flags, ap));
	va_end(ap);
	return fd;
}

int
openat(int dir, const char *name, int flags, ...)
{
	va_list ap;
	int fd;

	va_start(ap, flags);
	fd = open_file(dir, name, flags, mode_of(flags, ap));
	va_end(ap);
	return fd;
}

int
mkdir(const char *name, mode_t mode)
{
	char path[DISK_PATH_MAX];
	int rc;

	if (!disk_record_begin_at(AT_FDCWD, name, path))
		return (int)syscall(SYS_mkdirat, AT_FDCWD, name, mode);
	rc = (int)syscall(SYS_mkdirat, AT_FDCWD, name, mode);
	if (rc == 0)
		disk_record_event(DISK_EVENT_MKDIR, path, 0, NULL, 0);
	disk_record_end();
	return rc;
}

int
renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	char path[DISK_PATH_MAX], next[DISK_PATH_MAX];
	int rc;

	if (!disk_record_path(to_dir, to, next) || !disk_record_begin_at(from_dir, from, path))
		return (int)syscall(SYS_renameat, from_dir, from, to_dir, to);
	rc = (int)syscall(SYS_renameat, from_dir, from, to_dir, to);
	if (rc == 0)
		disk_record_event(DISK_EVENT_RENAME, path, 0, next, strlen(next));
	disk_record_end();
	return rc;
}

int
rename(const char *from, const char *to)
{
	return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int
unlinkat(int dir, const char *name, int flags)
{
	char path[DISK_PATH_MAX];
	int rc;

	if (!disk_record_begin_at(dir, name, path))
		return (int)syscall(SYS_unlinkat, dir, name, flags);
	rc = (int)syscall(SYS_unlinkat, dir, name, flags);
	if (rc == 0)
		disk_record_event(DISK_EVENT_UNLINK, path, 0, NULL, 0);
	disk_record_end();
	return rc;
}

int
unlink(const char *name)
{
	return unlinkat(AT_FDCWD, name, 0);
}

int
rmdir(const char *name)
{
	return unlinkat(AT_FDCWD, name, AT_REMOVEDIR);
}
