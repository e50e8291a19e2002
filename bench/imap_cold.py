"""imap_cold.py [MIB [LIMIT_MIB]] - a store larger than memory: does one who reads cold bodies stall the others?

MIB (4096) of mail in the store, the daemon in a memory cgroup of LIMIT_MIB (512; needs root and cgroups), its file out
of the page cache. One client reads bodies here and there on the only loop, lists headers, searches; another one says
NOOP. Promised: the p95 of NOOP is below 50 ms. The store goes into $DIR (build/), which should be on a disk. Without cgroups the file is thrown out of the
page cache again and again instead.
"""
import base64
import glob
import os
import random
import shutil
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ.setdefault("BIN", os.path.join(ROOT, "build/release"))
sys.path.insert(0, os.path.join(ROOT, "tests/clients"))
tempfile.tempdir = os.path.abspath(os.environ.get("DIR", os.path.join(ROOT, "build")))

from daemon import Daemon, run  # noqa: E402
from imap_turns import Reader, turns  # noqa: E402
from wire import Imap  # noqa: E402

SIZE, SECONDS, PROMISED_MS = 256 << 10, 20, 50


class Limited:
    """A memory cgroup (version 1 or 2) for one process; None of it where it cannot be made."""

    def __init__(self, mib):
        self.path, self.bytes = None, mib << 20
        for root, name in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
            path = os.path.join(root, "mailshelf-%d" % os.getpid())
            try:
                os.mkdir(path)
                with open(os.path.join(path, name), "w") as f:
                    f.write(str(self.bytes))
                self.path = path
                return
            except OSError:
                if os.path.isdir(path):
                    os.rmdir(path)

    def take(self, pid):
        if self.path:
            with open(os.path.join(self.path, "cgroup.procs"), "w") as f:
                f.write(str(pid))

    def remove(self):
        if self.path:
            os.rmdir(self.path)


def forget(store):
    """What is clean goes out of the page cache."""
    for path in glob.glob(store + "/**", recursive=True):
        if os.path.isfile(path):
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def fill(d, mib):
    """An mbox of bytes that do not compress, some hundred MiB at a time."""
    path = os.path.join(d.dir, "mail.mbox")
    r, number = random.Random(1), 0
    for _ in range((mib + 255) // 256):
        with open(path, "wb") as f:
            for _ in range((256 << 20) // (SIZE * 3 // 4)):
                number += 1
                text = base64.encodebytes(r.randbytes(SIZE * 3 // 4))
                f.write(b"From x@example.org Sat Nov 21 10:00:00 2026\nSubject: %d\n\n%s\n" % (number, text))
        d.tool("import", "joe", path, timeout=1200)
    os.remove(path)
    return number


def reader(d, count, done, read, batch):
    client = Reader(d.connect("imap"), "joe", "secret")
    client.sock.settimeout(120)
    client.ok("SELECT INBOX")
    r = random.Random(2)
    while not done.is_set():
        numbers = sorted(r.sample(range(1, count + 1), batch))
        client.drain(client.start("FETCH %s BODY.PEEK[]" % ",".join(map(str, numbers))))
        read.append(batch)


def all_at_once(d, command):
    """A client whose one command is about all messages; it ends with it."""
    def run(d, count, done, read, batch):
        client = Reader(d.connect("imap"), "joe", "secret")
        client.sock.settimeout(600)
        client.ok("SELECT INBOX")
        client.drain(client.start(command))
        read.append(count)
        done.set()
    return run


def measure(d, count, name, batch, readers, limited, reader=reader, seconds=SECONDS):
    done, read, times = threading.Event(), [], []
    forget(d.store)
    threads = [threading.Thread(target=reader, args=(d, count, done, read, batch)) for _ in range(readers)]
    turns(d)
    begun = time.monotonic()
    for t in threads:
        t.start()
    client = Imap(d.connect("imap"), "joe", "secret")
    client.ok("SELECT INBOX")
    while time.monotonic() < begun + seconds and not done.is_set():
        start = time.monotonic()
        client.ok("NOOP")
        times.append(time.monotonic() - start)
        time.sleep(0.005)
        if not limited and len(times) % 20 == 0:
            forget(d.store)
    done.set()
    for t in threads:
        t.join()
    times.sort()
    took = time.monotonic() - begun
    p95, t = times[len(times) * 95 // 100] * 1e3, turns(d)
    print("%-30s %5d messages, %5.1f s, %5d a second; NOOP p50 %.1f ms, p95 %.1f ms, longest %.1f ms; longest turn %.1f ms, "
        "of its CPU %.1f ms%s" % (name, sum(read), took, sum(read) / took, times[len(times) // 2] * 1e3,
            p95, times[-1] * 1e3, t["slowest_us"] / 1e3, t["slowest_cpu_us"] / 1e3,
            "  MISSED" if p95 > PROMISED_MS else ""), flush=True)
    return p95 > PROMISED_MS


def main(argv):
    mib = int(argv[0]) if argv else 4096
    limited = Limited(int(argv[1]) if len(argv) > 1 else 512)
    try:
        with Daemon(settings=["--loops", "1"]) as d:
            count = fill(d, mib)
            run(["sync"])
            limited.take(d.process.pid)
            stored = sum(os.path.getsize(p) for p in glob.glob(d.store + "/**", recursive=True) if os.path.isfile(p))
            print("%d messages, files of %d MiB, %s" % (count, stored >> 20, "memory limited to %d MiB"
                % (limited.bytes >> 20) if limited.path else "no cgroups: thrown out of the page cache"), flush=True)
            missed = measure(d, count, "one reader, one at a time", 1, 1, limited.path)
            missed |= measure(d, count, "one reader, 50 at a time", 50, 1, limited.path)
            missed |= measure(d, count, "four readers, 50 at a time", 50, 4, limited.path)
            for command in ("FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)])", "SEARCH SUBJECT nothing",
                    "SORT (SUBJECT) UTF-8 ALL", "SEARCH BODY nothing"):
                missed |= measure(d, count, command[:30], 0, 1, limited.path, all_at_once(d, command), 300)
            d.check = lambda: None  # reads it all again, under the limit
    finally:
        limited.remove()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
