"""test_offlineimap.py - offlineimap3 over TLS: a Maildir and the server, both ways"""
import os
import re

from daemon import Daemon, expect, message, need, run
from wire import Imap

CONFIG = """[general]
accounts = joe
metadata = %(home)s/meta
ui = basic
[Account joe]
localrepository = here
remoterepository = there
[Repository here]
type = Maildir
localfolders = %(home)s/mail
sync_deletes = yes
[Repository there]
type = IMAP
remotehost = localhost
remoteport = %(port)d
ssl = yes
sslcacertfile = %(cert)s
remoteuser = joe
remotepass = secret
auth_mechanisms = PLAIN
usecompression = %(compress)s
"""


def sync(home):
    done = run([need("offlineimap"), "-c", os.path.join(home, "config"), "-o", "-u", "basic"],
        env=dict(os.environ, HOME=home), timeout=180)
    said = done.stdout + done.stderr
    expect(b"ERROR" not in said and b"Traceback" not in said, said[-1500:].decode("utf-8", "replace"))


def files(home, box):
    found = {}
    for sub in ("new", "cur"):
        folder = os.path.join(home, "mail", box, sub)
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), "rb") as f:
                found[os.path.join(folder, name)] = f.read()
    return found


def by_subject(home, box, subject):
    return next(p for p, text in files(home, box).items() if re.search(rb"(?m)^Subject: %s\r?$" % subject, text))


def both_ways(compress):
    with Daemon() as d:
        home = d.dir
        with open(os.path.join(home, "config"), "w") as f:
            f.write(CONFIG % {"home": home, "port": d.port["imaps"], "cert": d.cert, "compress": compress})
        m = Imap(d.connect("imap"), "joe", "secret")
        m.ok("CREATE Archive/2026")
        for n in range(12):
            d.deliver("joe", message(n))
            m.finish(m.append_start("Archive/2026", message(100 + n), r"(\Seen) "))
        sync(home)
        boxes = sorted(os.listdir(os.path.join(home, "mail")))
        expect("INBOX" in boxes and "Archive.2026" in boxes, "mailboxes: %r" % boxes)
        got = sorted(text.replace(b"\r\n", b"\n") for text in files(home, "INBOX").values())
        expect(got == sorted(message(n, crlf=False) for n in range(12)), "the bytes changed on their way")

        # Here: one answered, one removed, one new. There: one flagged, one removed.
        path = by_subject(home, "INBOX", b"message 3")
        base = os.path.basename(path).split(":2,")[0]
        os.rename(path, os.path.join(home, "mail/INBOX/cur", base + ":2,RS"))
        os.remove(by_subject(home, "INBOX", b"message 4"))
        with open(os.path.join(home, "mail/INBOX/cur/1.new.here:2,S"), "wb") as f:
            f.write(message(77, crlf=False))
        m.ok("SELECT INBOX")
        m.ok("STORE 6 +FLAGS (\\Flagged)")
        m.ok("STORE 7 +FLAGS (\\Deleted)")
        m.ok("EXPUNGE")
        m.ok("CLOSE")
        sync(home)
        sync(home)
        m.ok("EXAMINE INBOX")
        texts = [p[0] for p in m.ok("SEARCH ALL")]
        expect(len(texts[0].split()) == 2 + 11, "there: %r" % texts)
        for key, n in (("ANSWERED", 3), ("FLAGGED", 5), ("SUBJECT \"message 77\"", 77)):
            found = m.ok("SEARCH " + key)[0][0].split()[2:]
            expect(len(found) == 1, "%s there: %r" % (key, found))
            parts = m.ok("FETCH %s BODY.PEEK[HEADER.FIELDS (SUBJECT)]" % found[0].decode())[0]
            expect(b"message %d\r\n" % n in parts[1], "%s is %r" % (key, parts))
        expect(not m.ok('SEARCH SUBJECT "message 4"')[0][0].split()[2:], "the removed one is still there")
        expect(len(files(home, "INBOX")) == 11, "here: %d" % len(files(home, "INBOX")))
        flagged = by_subject(home, "INBOX", b"message 5")
        expect("F" in flagged.split(":2,")[1], "flagged here: " + flagged)


def test_both_ways():
    both_ways("no")


def test_compressed():
    both_ways("yes")
