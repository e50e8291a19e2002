"""test_turns.py - no command keeps its loop to itself, and a reader that is slow costs nobody else anything

One loop. What a command may take between two returns to it is counted by the daemon (net_turn.c); here it must come back so
often that a turn prints some hundred KiB or looks at some thousand messages at most, in counts that do not depend on the
machine. bench/imap_turns.py measures the same with a million messages.
"""
import re
import select
import signal
import socket
import struct
import time

from daemon import Daemon, expect, message
from wire import Imap

MESSAGES, MAILBOXES = 1 << 15, 400
# Ten times what a turn takes in a release build, for sanitizers: still far below what a whole mailbox takes.
CPU_US = 200000


def turns(d):
    before = d.log().count(" info loop ")
    d.process.send_signal(signal.SIGUSR1)
    while d.log().count(" info loop ") == before:
        time.sleep(0.01)
    line = [line for line in d.log().splitlines() if " info loop " in line][-1]
    return {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", line)}


def fill(client):
    client.ok("CREATE Big")
    client.finish(client.append_start("Big", message(1)))
    client.ok("SELECT Big")
    have = 1
    while have < MESSAGES:
        client.ok("COPY 1:%d Big" % min(have, MESSAGES - have))
        have *= 2


def test_large_mailbox():
    with Daemon(settings=["--loops", "1"]) as d:
        joe, other = (Imap(d.connect("imap"), "joe", "secret") for _ in range(2))
        fill(joe)
        other.ok("SELECT Big")
        for client, command, least in ((joe, "FETCH 1:* (UID FLAGS RFC822.SIZE)", 12),
                (joe, "UID SEARCH UNSEEN", 3), (joe, "STORE 1:* +FLAGS.SILENT (\\Seen)", 1), (other, "NOOP", 6),
                (joe, "STORE 1:* +FLAGS (\\Flagged)", 8), (joe, "COPY 1:1000 INBOX", 1),
                (joe, "UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1)", 12), (joe, "STORE 1:* +FLAGS.SILENT (\\Deleted)", 1),
                (joe, "EXPUNGE", 6), (other, "NOOP", 6)):
            turns(d)
            client.ok(command)
            t = turns(d)
            expect(t["turns"] >= least, "%s came back %d times only" % (command, t["turns"]))
            expect(t["slowest_cpu_us"] < CPU_US, "%s kept the loop for %d us" % (command, t["slowest_cpu_us"]))
        expect(not joe.ok("UID SEARCH ALL")[0][0].split()[2:], "some are left")


def test_many_mailboxes():
    with Daemon(settings=["--loops", "1"]) as d:
        joe = Imap(d.connect("imap"), "joe", "secret")
        tags = [joe.start("CREATE %s" % "/".join("level%d" % (n // 10 ** k) for k in (2, 1, 0)))
            for n in range(MAILBOXES)]
        for tag in tags:
            joe.finish(tag)
        turns(d)
        listed = joe.ok('LIST "" "*" RETURN (CHILDREN STATUS (MESSAGES UNSEEN SIZE))')
        t = turns(d)
        expect(len([p for p in listed if p[0].startswith(b"* LIST")]) >= MAILBOXES, "%d listed" % len(listed))
        expect(t["slowest_cpu_us"] < CPU_US, "LIST kept the loop for %d us" % t["slowest_cpu_us"])


def test_slow_reader():
    """Nobody reads what comes; the session waits without memory, the others do not wait."""
    whole = b"Subject: long\r\n\r\n" + (b"x" * 76 + b"\r\n") * 300000
    with Daemon(settings=["--loops", "1"]) as d:
        slow, other = (Imap(d.connect("imap"), "joe", "secret") for _ in range(2))
        slow.finish(slow.append_start("INBOX", whole))
        slow.ok("SELECT INBOX")
        tag = slow.start("FETCH 1 BODY.PEEK[]")
        time.sleep(0.3)
        before = turns(d)
        for _ in range(100):
            other.ok("NOOP")
        t = turns(d)
        expect(t["turns"] <= 200, "%d turns for 100 NOOPs: who waits for a reader runs" % t["turns"])
        expect(before["slowest_cpu_us"] < CPU_US, "FETCH kept the loop for %d us" % before["slowest_cpu_us"])
        status, told = slow.finish(tag)
        expect(status.startswith(b"OK") and told[0][1] == whole, "FETCH changed the message")
        expect(turns(d)["turns"] >= len(whole) // (1 << 20), "it was not sent in pieces")


def long_message(size):
    line = b"x" * 76 + b"\r\n"
    return b"Subject: long\r\n\r\n" + line * (size // len(line))


def test_search_in_bodies():
    """Bodies are read by workers: whatever they hold, the loop is free, and so is a worker for who writes."""
    size = 99 << 20
    with Daemon(settings=["--loops", "1", "--workers", "2", "--imap-progress-ms", "100"]) as d:
        joe, other = (Imap(d.connect("imap"), "joe", "secret") for _ in range(2))
        joe.finish(joe.append_start("INBOX", long_message(size)))
        for client in (joe, other):
            client.ok("SELECT INBOX")
        turns(d)
        tag = joe.start("SEARCH TEXT nothing")
        for n in range(3):
            other.ok("NOOP")
            other.finish(other.append_start("INBOX", message(n)))
            other.ok("STORE 1 %sFLAGS (\\Flagged)" % "+-"[n % 2])
        waits = not select.select([joe.sock], [], [], 0)[0] or b"INPROGRESS" in joe.sock.recv(1 << 16, socket.MSG_PEEK)
        status, told = joe.finish(tag)
        expect(waits, "others were answered after the search, not beside it")
        expect(status.startswith(b"OK") and [b"* SEARCH"] in told, "SEARCH: %r %r" % (status, told))
        turns(d)
        joe.ok("SEARCH TEXT nothing")
        t = turns(d)
        # Workers do it, the loop only asks them how far they are: a slice of its own would take 10 ms.
        expect(t["slowest_cpu_us"] < 6000, "a search kept the loop for %d us" % t["slowest_cpu_us"])


def test_search_given_up():
    """Nobody searches for a client that has hung up."""
    with Daemon(settings=["--loops", "1"]) as d:
        joe, other = (Imap(d.connect("imap"), "joe", "secret") for _ in range(2))
        joe.finish(joe.append_start("INBOX", long_message(4 << 20)))
        joe.ok("SELECT INBOX")
        for _ in range(7):
            joe.ok("COPY 1:* INBOX")
        before = time.monotonic()
        joe.ok("SEARCH BODY nothing")
        whole = time.monotonic() - before
        joe.start("SEARCH BODY nothing")
        other.ok("NOOP")
        joe.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        joe.close()
        before = time.monotonic()
        while "imap logout" not in d.log():
            expect(time.monotonic() - before < max(1, whole / 2), "the search goes on for nobody")
            time.sleep(0.005)
