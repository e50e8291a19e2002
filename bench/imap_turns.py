"""imap_turns.py [MESSAGES [MAILBOXES]] - does any IMAP command keep a loop from its other connections?

A mailbox of MESSAGES (1,000,000), a tree of MAILBOXES (10,000). Each command runs alone on the only loop of a release
build; its line tells how long it took, the longest turn between two returns to the loop (by the clock and in CPU time, which
other programs on the machine do not change), how many turns took more than 20 ms of CPU, and what the daemon's own
memory (RssAnon) grew to at most while it ran; then others' NOOPs beside a reader that is slow. The last lines are about
20,000 different messages of some KiB with as many workers for searches as named, and others' NOOPs beside a search.
"""
import base64
import os
import random
import re
import signal
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ.setdefault("BIN", os.path.join(ROOT, "build/release"))
sys.path.insert(0, os.path.join(ROOT, "tests/clients"))

from daemon import Daemon, Failed, message  # noqa: E402
from wire import Imap  # noqa: E402

SLOW_CPU_US, MEMORY_KIB, BODIES = 20000, 8 * 1024, 20000


class Watch:
    """The daemon's anonymous memory at its highest, sampled."""

    def __init__(self, pid):
        self.path, self.most, self.stop = "/proc/%d/status" % pid, 0, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def now(self):
        with open(self.path) as f:
            return int(re.search(r"RssAnon:\s+(\d+)", f.read()).group(1))

    def run(self):
        while not self.stop.is_set():
            self.most = max(self.most, self.now())
            time.sleep(0.002)

    def __enter__(self):
        self.first = self.now()
        self.thread.start()
        return self

    def __exit__(self, *failed):
        self.stop.set()
        self.thread.join()


def turns(d):
    """The numbers of the loop since the last call."""
    before = d.log().count(" info loop ")
    d.process.send_signal(signal.SIGUSR1)
    while d.log().count(" info loop ") == before:
        time.sleep(0.01)
    line = [line for line in d.log().splitlines() if " info loop " in line][-1]
    return {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", line)}


class Reader(Imap):
    """Reads what it is sent without looking at it: Python must not be what is slow."""

    def drain(self, tag, pause=0, piece=1 << 20):
        end, tail, count = tag.encode() + b" ", b"\r\n" + self.buffer, 0
        self.buffer = b""
        while True:
            at = tail.find(b"\r\n" + end)
            if at >= 0 and tail.find(b"\r\n", at + 2) >= 0:
                return tail[at + 2:tail.find(b"\r\n", at + 2)][len(end):], count
            data = self.sock.recv(piece)
            if not data:
                raise Failed("the server closed the connection")
            count += len(data)
            tail = tail[-300:] + data
            if pause:
                time.sleep(pause)


class Bench:
    def __init__(self, d, messages, mailboxes):
        self.d, self.messages, self.mailboxes, self.missed = d, messages, mailboxes, 0
        self.joe = Reader(d.connect("imap"), "joe", "secret")
        self.joe.sock.settimeout(600)

    def run(self, command, client=None, show=None):
        client = client or self.joe
        turns(self.d)
        with Watch(self.d.process.pid) as watch:
            start = time.monotonic()
            status, count = client.drain(client.start(command))
            took = time.monotonic() - start
        t = turns(self.d)
        missed = t["slow_cpu"] > 0 or watch.most - watch.first > MEMORY_KIB
        self.missed += missed
        print("%-46s %6.2f s %8.1f MiB  turns %6d  longest %6.1f ms, CPU %6.1f ms  slow %3d  memory +%6d KiB%s%s" % (
            (show or command)[:46], took, count / 1048576, t["turns"], t["slowest_us"] / 1e3, t["slowest_cpu_us"] / 1e3,
            t["slow_cpu"], watch.most - watch.first, "  MISSED" if missed else "",
            "" if status.startswith(b"OK") else "  " + status.decode()[:60]), flush=True)

    def fill(self):
        self.joe.ok("CREATE Big")
        self.joe.finish(self.joe.append_start("Big", message(1)))
        self.joe.ok("SELECT Big")
        have = 1
        while have < self.messages:
            n = min(have, self.messages - have, 100000)
            self.joe.drain(self.joe.start("COPY 1:%d Big" % n))
            have += n

    def large(self):
        run = self.run
        run("SELECT Big")
        run("FETCH 1:* (FLAGS)")
        run("FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)")
        run("FETCH 1:* (UID FLAGS ENVELOPE)")
        run("FETCH 1:* (UID FLAGS BODYSTRUCTURE)")
        run("UID SEARCH ALL")
        run("SEARCH UNSEEN")
        run("UID SEARCH RETURN (COUNT) UNSEEN")
        run("SEARCH RETURN (SAVE) UNSEEN")
        run("SEARCH RETURN (COUNT) NOT $")
        run("STATUS Big (MESSAGES UNSEEN SIZE DELETED)")
        other = Reader(self.d.connect("imap"), "joe", "secret")
        other.sock.settimeout(600)
        other.ok("SELECT Big")
        run("STORE 1:* +FLAGS.SILENT (\\Seen)")
        run("NOOP", other, "NOOP of another session, 1:* changed")
        run("STORE 1:* +FLAGS (\\Flagged)")
        run("SEARCH KEYWORD nothing")
        run("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1)")
        self.joe.ok("CREATE Copy")
        run("COPY 1:%d Copy" % (self.messages // 10))
        run("MOVE 1:%d Copy" % (self.messages // 10))
        # Every second one goes: the sets have as many ranges as messages.
        odd = ",".join(str(n) for n in range(1, 10000, 2))
        run("STORE %s +FLAGS.SILENT (\\Deleted)" % odd, show="STORE 1,3,5,...,9999")
        run("EXPUNGE", show="EXPUNGE of 5,000, scattered")
        run("NOOP", other, "NOOP of another session, EXPUNGEs")
        run("STORE 1:* +FLAGS.SILENT (\\Deleted)")
        sync = Reader(self.d.connect("imap"), "joe", "secret")
        sync.sock.settimeout(600)
        sync.ok("ENABLE QRESYNC")
        sync.ok("SELECT Copy")
        uv = re.search(rb"UIDVALIDITY (\d+)", b" ".join(p[0] for p in self.joe.ok("STATUS Big (UIDVALIDITY)"))).group(1)
        run("EXPUNGE", show="EXPUNGE of all")
        run("NOOP", other, "NOOP of another session, EXPUNGE of all")
        run("SELECT Big (QRESYNC (%s 1))" % uv.decode(), sync)
        run("SELECT Copy", sync)

    def tree(self):
        for n in range(self.mailboxes - 300):  # the tree's inner nodes are mailboxes, too
            name = "/".join("%s%d" % ("level" * 5, n // 10 ** k) for k in range(3, -1, -1))
            tag = self.joe.start("CREATE %s" % name)
            if n % 100 == 99:
                self.joe.drain(tag)
        self.joe.drain(self.joe.start("NOOP"))
        for command in ('LIST "" *', 'LIST "" "*" RETURN (CHILDREN SPECIAL-USE STATUS (MESSAGES UNSEEN SIZE))',
                'LIST (SUBSCRIBED RECURSIVEMATCH) "" % RETURN (CHILDREN)', 'LSUB "" *', 'LIST "" %',
                "GETQUOTAROOT INBOX"):
            self.run(command)

    def long_message(self):
        size = (100 << 20) - 1000  # within the default limit of a message
        line = b"x" * 76 + b"\r\n"
        whole = b"Subject: long\r\n\r\n" + line * (size // len(line))
        self.joe.ok("SELECT INBOX")
        status, _ = self.joe.drain(self.joe.append_start("INBOX", whole))
        if not status.startswith(b"OK"):
            raise Failed("APPEND: %r" % status)
        self.run("FETCH 1 BODY.PEEK[]")
        self.run("FETCH 1 BODY.PEEK[]<1000000.5000000>")
        self.run("SEARCH TEXT nothing")
        self.beside("FETCH 1 BODY.PEEK[]", 0.001, "a slow reader of 100 MiB")

    def bodies(self):
        """Text of random words, half of it in base64, as mail has it; no two messages are alike."""
        r, path = random.Random(1), os.path.join(self.d.dir, "bodies.mbox")
        words = ["".join(r.choices("etaoinshrdlucmfwypvbgkqjxz", k=r.randint(2, 10))) for _ in range(5000)]
        with open(path, "wb") as f:
            for n in range(BODIES):
                text = "\n".join(" ".join(r.choices(words, k=10)) for _ in range(r.randint(20, 150))).encode() + b"\n"
                coded = n % 2 == 0
                f.write(b"From x@example.org Sat Nov 21 10:00:00 2026\nFrom: Ann <ann@example.org>\nTo: joe@example.org\n"
                    b"Date: Sat, 21 Nov 2026 10:00:00 +0000\nSubject: %d\nMessage-ID: <%d@example.org>\n%s\n%s\n" % (
                        n, n, b"Content-Transfer-Encoding: base64\n" if coded else b"",
                        base64.encodebytes(text) if coded else text))
        self.d.tool("import", "joe", path, timeout=1200)
        self.joe.ok("SELECT INBOX")
        for command in ("SEARCH UNSEEN", "SEARCH SUBJECT nothing", "SEARCH BODY nothing", "SEARCH TEXT nothing",
                "FETCH 1:* (UID FLAGS ENVELOPE)",
                "FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (DATE FROM SUBJECT)])"):
            self.run(command)
        self.beside("SEARCH BODY nothing", 0, "a search in bodies")

    def beside(self, command, pause, what):
        """What others wait beside a client whose command takes long; PAUSE: it reads slowly."""
        turns(self.d)
        done, times = threading.Event(), []

        def others():
            client = Imap(self.d.connect("imap"), "joe", "secret")
            while not done.is_set():
                start = time.monotonic()
                client.ok("NOOP")
                times.append(time.monotonic() - start)
                time.sleep(0.005)
        thread = threading.Thread(target=others)
        thread.start()
        slow = Reader(self.d.connect("imap"), "joe", "secret")
        slow.sock.settimeout(600)
        slow.ok("SELECT INBOX")
        with Watch(self.d.process.pid) as watch:
            status, count = slow.drain(slow.start(command), pause, 1 << 16)
        done.set()
        thread.join()
        times.sort()
        t = turns(self.d)
        print("NOOP beside %s: %d, p50 %.1f ms, p95 %.1f ms, longest %.1f ms; memory +%d KiB; slow turns %d" % (
            what, len(times), times[len(times) // 2] * 1e3, times[len(times) * 95 // 100] * 1e3, times[-1] * 1e3,
            watch.most - watch.first, t["slow_cpu"]))


def main(argv):
    messages = int(argv[0]) if argv else 1000000
    mailboxes = int(argv[1]) if len(argv) > 1 else 10000
    with Daemon(settings=["--loops", "1"]) as d:
        bench = Bench(d, messages, mailboxes)
        bench.long_message()
        bench.fill()
        bench.large()
        bench.tree()
        missed = bench.missed
    for threads in sorted({1, os.cpu_count()}):
        with Daemon(settings=["--loops", "1", "--search-threads", str(threads)]) as d:
            print("workers for searches: %d" % threads)
            bench = Bench(d, 0, 0)
            bench.bodies()
            missed += bench.missed
    print("%d missed" % missed)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
