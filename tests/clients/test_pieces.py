"""test_pieces.py - a large part, decoded by the server, read in pieces: every octet right, and decoded once

What it costs is the daemon's CPU time, against that of reading the part as a whole.
"""
import base64
import os
import random

from daemon import Daemon, expect
from wire import Imap

SIZE = 6 << 20
PIECE = 64 << 10


def message(data, lines):
    """Base64 in lines as long as LINES says, for as often as it takes."""
    text, out, at = base64.b64encode(data), [], 0
    while at < len(text):
        for n in lines:
            out.append(text[at:at + n])
            at += n
    return b"Subject: x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n" + \
        b"\r\n".join(out) + b"\r\n"


def cpu(d):
    with open("/proc/%d/stat" % d.process.pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def append(m, text):
    status, _ = m.finish(m.append_start("INBOX", text))
    expect(status.startswith(b"OK"), "APPEND: %r" % status)


def read(m, uid, start, count):
    tag = m.start("UID FETCH %d BINARY.PEEK[1]<%d.%d>" % (uid, start, count))
    status, responses = m.finish(tag)
    expect(status.startswith(b"OK"), "a piece: %r" % status)
    literals = [part for response in responses for part in response[1:2]]
    return literals[0] if literals else b""


def test_in_order():
    data = random.Random(5).randbytes(SIZE)
    with Daemon() as d:
        m = Imap(d.connect("imap"), "joe", "secret")
        append(m, message(data, [76]))
        append(m, message(data, [1, 76, 7, 0, 500, 3]))
        m.ok("SELECT INBOX")
        for uid in (1, 2):
            before = cpu(d)
            expect(read(m, uid, 0, SIZE * 2) == data, "the whole part")
            whole = cpu(d) - before
            got = []
            before = cpu(d)
            for start in range(0, SIZE + PIECE, PIECE):
                got.append(read(m, uid, start, PIECE))
            pieces = cpu(d) - before
            expect(b"".join(got) == data, "the pieces")
            print("uid %d: whole %.2f s, %d pieces %.2f s" % (uid, whole, len(got), pieces))
            # Decoding from the front each time is 48 times the whole.
            expect(pieces < 8 * whole + 0.5, "%d pieces cost %.2f s, the whole %.2f s" % (len(got), pieces, whole))


def test_anywhere():
    rng = random.Random(6)
    data = rng.randbytes(1 << 20)
    with Daemon() as d:
        m = Imap(d.connect("imap"), "joe", "secret")
        append(m, message(data, [76]))
        append(m, message(data[::-1], [11, 60, 0, 2]))
        m.ok("SELECT INBOX")
        at = [0, 0]
        for n in range(200):
            which = rng.randrange(2)
            start = rng.choice([at[which], rng.randrange(len(data) + 100), max(0, at[which] - rng.randrange(70000))])
            count = rng.choice([1, 3, 4096, PIECE])
            want = (data, data[::-1])[which][start:start + count]
            expect(read(m, which + 1, start, count) == want, "%d octets at %d" % (count, start))
            at[which] = start + count
