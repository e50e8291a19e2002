"""test_curl.py - curl: IMAP, IMAPS, POP3, POP3S, APPEND by upload"""
import os

from daemon import Daemon, expect, message, need, run


def curl(d, url, *more, **kw):
    return run([need("curl"), "-sS", "--max-time", "60", "--cacert", d.cert, "-u", "joe:secret", url,
        *more], **kw).stdout


def test_read_everywhere():
    need("curl")
    with Daemon() as d:
        for n in (1, 2):
            d.deliver("joe", message(n))
        for door in ("imap", "imaps"):
            url = "%s://localhost:%d/INBOX;MAILINDEX=2" % (door, d.port[door])
            expect(curl(d, url) == message(2), door + " changed the bytes")
        expect(curl(d, "imap://localhost:%d/INBOX;UID=1" % d.port["imap"], "--ssl-reqd")
            == message(1), "IMAP with STARTTLS changed the bytes")
        for door in ("pop3", "pop3s"):
            url = "%s://localhost:%d/2" % (door, d.port[door])
            expect(curl(d, url) == message(2), door + " changed the bytes")
        expect(curl(d, "pop3://localhost:%d/1" % d.port["pop3"], "--ssl-reqd") == message(1),
            "POP3 with STLS changed the bytes")


def test_upload():
    need("curl")
    with Daemon() as d:
        path = os.path.join(d.dir, "upload")
        big = message(7, size=3_000_000)
        with open(path, "wb") as f:
            f.write(big)
        curl(d, "imap://localhost:%d/INBOX" % d.port["imap"], "-T", path)
        expect(curl(d, "imaps://localhost:%d/INBOX;UID=1" % d.port["imaps"]) == big,
            "3 MB came back changed")


def test_requests():
    need("curl")
    with Daemon() as d:
        d.deliver("joe", message(1))
        base = "imap://localhost:%d/" % d.port["imap"]
        expect(b"INBOX" in curl(d, base), "LIST")
        curl(d, base, "-X", "CREATE Trash")
        expect(b"MESSAGES 1" in curl(d, base, "-X", "STATUS INBOX (MESSAGES)"), "STATUS")
        expect(b"SEARCH 1" in curl(d, base + "INBOX?ALL"), "SEARCH")
        refused = run([need("curl"), "-sS", "-u", "joe:no", base], ok=None)
        expect(refused.returncode == 67, "a wrong password gave %d" % refused.returncode)
