"""test_mbsync.py - isync: a full pull into a Maildir, a second run that changes nothing, flags both ways"""
import os
import re

from daemon import Daemon, expect, message, need, run
from wire import Imap


def configure(d):
    home = os.path.join(d.dir, "home")
    os.makedirs(os.path.join(home, "mail"))
    path = os.path.join(home, "mbsyncrc")
    with open(path, "w") as f:
        f.write("""
IMAPAccount test
Host localhost
Port {port}
User joe
Pass secret
SSLType IMAPS
CertificateFile {cert}

IMAPStore server
Account test

MaildirStore local
Path {home}/mail/
Inbox {home}/mail/INBOX
SubFolders Verbatim

Channel all
Far :server:
Near :local:
Patterns *
Create Both
Expunge Both
SyncState *
""".format(port=d.port["imaps"], cert=d.cert, home=home))
    return home, path


def sync(home, config):
    return run([need("mbsync"), "-c", config, "-a"], env=dict(os.environ, HOME=home))


def state(home):
    """Every file below the Maildir with its bytes; the directories' names too."""
    found = {}
    for top, dirs, files in os.walk(os.path.join(home, "mail")):
        for name in files:
            path = os.path.join(top, name)
            with open(path, "rb") as f:
                found[os.path.relpath(path, home)] = f.read()
        found[os.path.relpath(top, home)] = None
    return found


def bodies(home, box):
    """Message bytes of one folder; mbsync keeps CRLF as LF and adds a field of its own, X-TUID."""
    found = []
    for sub in ("cur", "new"):
        top = os.path.join(home, "mail", box, sub)
        for name in sorted(os.listdir(top)):
            with open(os.path.join(top, name), "rb") as f:
                found.append(re.sub(rb"(?m)^X-TUID: .*\n", b"", f.read(), count=1))
    return sorted(found)


def server_uids_and_flags(d, box):
    m = Imap(d.connect("imap"), "joe", "secret")
    m.ok("EXAMINE " + box)
    lines = sorted(parts[0] for parts in m.ok("FETCH 1:* (UID FLAGS)") if b"FETCH" in parts[0])
    m.ok("LOGOUT")
    return lines


def test_pull_and_flags():
    need("mbsync")
    with Daemon() as d:
        for n in range(60):
            d.deliver("joe", message(n, size=100 + 97 * n)) if n < 20 else None
        m = Imap(d.connect("imap"), "joe", "secret")
        m.ok("CREATE Archive/2026")
        tags = [m.append_start("Archive/2026", message(n, subject="old"), r"(\Seen) ")
            for n in range(100)]
        for tag in tags:
            expect(m.finish(tag)[0].startswith(b"OK"), "APPEND failed")
        m.ok("LOGOUT")

        home, config = configure(d)
        sync(home, config)
        want = sorted(message(n, size=100 + 97 * n).replace(b"\r\n", b"\n") for n in range(20))
        expect(bodies(home, "INBOX") == want, "INBOX came over changed")
        want = sorted(message(n, subject="old").replace(b"\r\n", b"\n") for n in range(100))
        expect(bodies(home, "Archive/2026") == want, "Archive/2026 came over changed")

        before, server = state(home), server_uids_and_flags(d, "INBOX")
        sync(home, config)
        after = state(home)
        changed = [k for k in before.keys() | after.keys() if before.get(k, 0) != after.get(k, 0)]
        expect(not changed, "the second run changed %r" % changed[:5])
        expect(server_uids_and_flags(d, "INBOX") == server, "the second run changed the server")

        # One flag here, one there; one message removed on each side.
        top = os.path.join(home, "mail/INBOX")
        new = sorted(os.listdir(top + "/new")) or []
        cur = sorted(os.listdir(top + "/cur"))
        name = (new + cur)[0]
        sub = "new" if new else "cur"
        with open(os.path.join(top, sub, name), "rb") as f:
            flagged = re.sub(rb"(?m)^X-TUID: .*\n", b"", f.read(), count=1)
        os.rename(os.path.join(top, sub, name),
            os.path.join(top, "cur", name.split(":2,")[0] + ":2,FS"))
        m = Imap(d.connect("imap"), "joe", "secret")
        m.ok("SELECT INBOX")
        answered = m.ok("SEARCH SUBJECT \"message 19\"")[0][0].split()[-1].decode()
        m.ok("STORE %s +FLAGS (\\Answered)" % answered)
        m.ok("SELECT Archive/2026")
        m.ok("STORE 5 +FLAGS (\\Deleted)")
        m.ok("EXPUNGE")
        m.ok("LOGOUT")
        sync(home, config)
        sync(home, config)

        m = Imap(d.connect("imap"), "joe", "secret")
        m.ok("EXAMINE INBOX")
        found = m.ok("SEARCH FLAGGED SEEN")[0][0].split()[2:]
        expect(len(found) == 1, "FLAGGED on the server: %r" % found)
        parts = m.ok("FETCH %s BODY.PEEK[]" % found[0].decode())[0]
        expect(parts[1].replace(b"\r\n", b"\n") == flagged, "the wrong message got the flag")
        m.ok("LOGOUT")
        here = [n for n in os.listdir(top + "/cur") if "R" in n.split(":2,")[-1]]
        expect(len(here) == 1, "answered here: %r" % here)
        expect(len(bodies(home, "Archive/2026")) == 99, "the expunged message is still here")
