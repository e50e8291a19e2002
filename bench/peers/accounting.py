"""accounting.py - what a server's processes took: CPU time, bytes written, memory, sync calls

CPU time comes from a cgroup of its own where one can be made (processes that are gone count, too, and it has nanoseconds),
from /proc otherwise (ticks of 10 ms). Bytes written are those that the kernel will write to the disk for them
(write_bytes of /proc/PID/io); a process that ends leaves its numbers to its parent.
"""
import os
import re
import signal
import subprocess
import time

CGROUPS = (("/sys/fs/cgroup/cpuacct", "cpuacct.usage"), ("/sys/fs/cgroup", "cpu.stat"))
SYNCS = ("fsync", "fdatasync", "msync", "sync_file_range", "syncfs")
WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2")


def children(root):
    """ROOT and all its descendants."""
    parent = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name) as f:
                    parent[int(name)] = int(f.read().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                pass
    found, grown = {root}, True
    while grown:
        more = {p for p, up in parent.items() if up in found and p not in found}
        grown = bool(more)
        found |= more
    return sorted(found)


class Group:
    """The processes of one server."""

    def __init__(self, name):
        self.path, self.root = None, None
        for top, file in CGROUPS:
            path = os.path.join(top, "mailbench-%d-%s" % (os.getpid(), name))
            try:
                os.mkdir(path)
            except OSError:
                continue
            if os.path.exists(os.path.join(path, file)):
                self.path, self.file = path, os.path.join(path, file)
                break
            os.rmdir(path)

    def enter(self):
        """In the child, before it becomes the server."""
        if self.path:
            with open(os.path.join(self.path, "cgroup.procs"), "w") as f:
                f.write(str(os.getpid()))

    def remove(self):
        for _ in range(50):
            try:
                if self.path:
                    os.rmdir(self.path)
                return
            except OSError:
                time.sleep(0.1)

    def pids(self):
        if self.path:
            with open(os.path.join(self.path, "cgroup.procs")) as f:
                return [int(line) for line in f]
        return children(self.root)

    def cpu_ms(self):
        if not self.path:
            return sum(self.ticks(p) for p in self.pids()) * 1e3 / os.sysconf("SC_CLK_TCK")
        with open(self.file) as f:
            text = f.read()
        usec = re.search(r"usage_usec (\d+)", text)
        return int(usec.group(1)) / 1e3 if usec else int(text) / 1e6

    @staticmethod
    def ticks(pid):
        try:
            with open("/proc/%d/stat" % pid) as f:
                return sum(map(int, f.read().rsplit(")", 1)[1].split()[11:15]))
        except OSError:
            return 0

    def written(self):
        total = 0
        for pid in self.pids():
            try:
                with open("/proc/%d/io" % pid) as f:
                    total += int(re.search(r"^write_bytes: (\d+)", f.read(), re.M).group(1))
            except OSError:
                pass
        return total

    def memory_kib(self):
        """Proportional set size: what is shared counts once."""
        total = 0
        for pid in self.pids():
            try:
                with open("/proc/%d/smaps_rollup" % pid) as f:
                    total += int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1))
            except OSError:
                pass
        return total


def synchronous(pids):
    """Files open such that each write is on the disk when it returns: (pid, fd)."""
    found = set()
    for pid in pids:
        try:
            for fd in os.listdir("/proc/%d/fdinfo" % pid):
                with open("/proc/%d/fdinfo/%s" % (pid, fd)) as f:
                    if int(re.search(r"flags:\s+(\d+)", f.read()).group(1), 8) & os.O_DSYNC:
                        found.add((pid, int(fd)))
        except OSError:
            pass
    return found


def parse_trace(text, owner, dsync):
    """How many calls in an strace made the disk flush. OWNER: the process of each thread; DSYNC: see synchronous()."""
    count = 0
    for line in text.splitlines():
        call = re.match(r"(\d+)\s+(\w+)\((\d+)?", line)
        if not call:
            continue
        pid, name, fd = int(call.group(1)), call.group(2), call.group(3)
        if name in SYNCS:
            count += 1
        elif name in WRITES and fd is not None and (owner.get(pid, pid), int(fd)) in dsync:
            count += 1
    return count


class Trace:
    """Counts sync calls of a server while it runs; slows it down, so nothing is timed meanwhile."""

    def __init__(self, group, path):
        self.group, self.path = group, path

    def __enter__(self):
        pids = self.group.pids()
        self.owner = {int(t): p for p in pids if os.path.isdir("/proc/%d/task" % p) for t in os.listdir("/proc/%d/task" % p)}
        self.dsync = synchronous(pids)
        writes = ",".join(WRITES) if self.dsync else ""
        self.process = subprocess.Popen(["strace", "-f", "-qq", "-o", self.path, "-e",
            "trace=" + ",".join(SYNCS) + ("," + writes if writes else "")] + [a for p in pids for a in ("-p", str(p))],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        end = time.monotonic() + 20
        while not all(self.traced(t) for t in self.owner) and time.monotonic() < end:
            time.sleep(0.05)
        return self

    @staticmethod
    def traced(pid):
        try:
            with open("/proc/%d/status" % pid) as f:
                return re.search(r"TracerPid:\s+(\d+)", f.read()).group(1) != "0"
        except OSError:
            return True

    def __exit__(self, *failed):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        with open(self.path, errors="replace") as f:
            self.syncs = parse_trace(f.read(), self.owner, self.dsync)
