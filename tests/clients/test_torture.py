"""test_torture.py - the strange messages of the corpus, in and out, byte for byte

MAILSHELF_CORPUS names the corpus (default: ../shared/corpus beside the tree). Without it the messages
made here are all there is: the worst line ends, dots and sizes that a file could have.
"""
import os
import random

from daemon import Daemon, ROOT, expect
from wire import Imap, Lmtp, Pop

WINDOW = 32


def corpus():
    top = os.environ.get("MAILSHELF_CORPUS", os.path.join(os.path.dirname(ROOT), "shared/corpus"))
    found = []
    for directory, dirs, files in os.walk(os.path.join(top, "torture")):
        dirs.sort()
        for name in sorted(files):
            if name.endswith(".eml"):
                path = os.path.join(directory, name)
                with open(path, "rb") as f:
                    found.append((os.path.relpath(path, top), f.read()))
    return found


def made():
    """Line ends and dots in every order, and sizes around the limits of buffers and frames."""
    rng = random.Random(20261121)
    pieces = [b"\r\n", b"\n", b"\r", b".", b"..", b"\r\n.", b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"a", b"\xff",
        b"Subject: x", b": ", b"--", b"\t"]
    for n in range(200):
        yield "made-%d" % n, b"".join(rng.choice(pieces) for _ in range(rng.randrange(1, 60)))
    for size in (1, 2, 4095, 4096, 4097, 65535, 65536, 65537, 262143, 262144, 262145, 524288, 3000000):
        yield "size-%d" % size, bytes(rng.choice(b"abcdefg \n") for _ in range(997)) * (size // 997) \
            + b"x" * (size % 997)
    yield "one-line", b"x" * 1000000
    yield "random", bytes(rng.randrange(1, 256) for _ in range(300000))


def messages():
    return [(name, data) for name, data in list(made()) + corpus() if data]


def test_imap_append_and_fetch():
    with Daemon() as d:
        m = Imap(d.connect("imap"), "joe", "secret")
        kept, running = [], []

        def finish():
            name, data, tag = running.pop(0)
            status, _ = m.finish(tag)
            expect(status.startswith(b"OK"), "%s: APPEND says %r" % (name, status))
            kept.append((name, data))

        for name, data in messages():
            running.append((name, data, m.append_start("INBOX", data)))
            if len(running) == WINDOW:
                finish()
        while running:
            finish()
        m.ok("SELECT INBOX")
        for first in range(1, len(kept) + 1, 50):
            last = min(first + 49, len(kept))
            answers = m.ok("FETCH %d:%d (RFC822.SIZE BODY.PEEK[] BINARY.PEEK[])" % (first, last))
            bodies = [parts for parts in answers if len(parts) > 1]
            expect(len(bodies) == last - first + 1, "%d answers of %d" % (len(bodies), last - first + 1))
            for parts, (name, data) in zip(bodies, kept[first - 1:last]):
                # BODY[] cannot say NUL (docs/deviations.md), BINARY[] can.
                expect(parts[1] == data.replace(b"\0", b"\x80"), "%s came back changed" % name)
                expect(parts[3] == data, "%s came back changed from BINARY" % name)
                expect((b"~{" in parts[2]) == (b"\0" in data), "%s: wrong literal" % name)
                expect(b"RFC822.SIZE %d" % len(data) in parts[0] + parts[-1], "%s: size" % name)
        # Structure and envelope of everything: the answer only has to be well-formed and complete.
        answers = m.ok("FETCH 1:* (ENVELOPE BODYSTRUCTURE)")
        expect(len(answers) == len(kept), "%d structures of %d" % (len(answers), len(kept)))
        m.ok("LOGOUT")


def test_lmtp_and_retr():
    with Daemon(settings=["--lmtp-add-fields", "no"]) as d:
        lmtp = Lmtp(d.connect("lmtp"))
        kept = []
        for name, data in messages():
            # A message ends with a line end in LMTP; CR CR LF . CR LF is no end of DATA that a server
            # should trust, so no message ends in CR CR LF here.
            if data.endswith(b"\r") or data.endswith(b"\r\r\n"):
                data += b"end"
            data = data if data.endswith(b"\r\n") else data + b"\r\n"
            reply = lmtp.deliver(data, "joe")[0]
            if b"\0" in data and reply.startswith(b"5"):
                continue
            expect(reply.startswith(b"250"), "%s: %r" % (name, reply))
            kept.append((name, data))
        lmtp.expect("221", "QUIT")
        pop = Pop(d.connect("pop3"), "joe", "secret")
        for n, (name, data) in enumerate(kept, 1):
            expect(pop.multi("RETR %d" % n) == data, "%s came back changed" % name)
        pop.ok("QUIT")
