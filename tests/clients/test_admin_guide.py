"""test_admin_guide.py - the lines of docs/admin-guide.md, one after the other, beside a running daemon"""
import os
import re
import subprocess

from daemon import BIN, Daemon, expect, make_certificate, message
from wire import Imap

GUIDE = os.path.join(os.path.dirname(__file__), "../../docs/admin-guide.md")


class Guide(Daemon):
    """The store is made by the guide, too."""

    def __enter__(self):
        self.work = os.path.join(self.dir, "work")
        os.makedirs(os.path.join(self.work, "disk2"))
        with open(os.path.join(self.work, "old.mbox"), "wb") as f:
            for n in range(20):
                f.write(b"From ann@example.org Mon Jan  5 10:00:00 2026\n" + message(n, crlf=False) + b"\n")
        for name in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(self.work, "Maildir", name))
        for n in range(20, 30):
            with open(os.path.join(self.work, "Maildir/cur/%d.M1.host:2,S" % n), "wb") as f:
                f.write(message(n))
        return self

    def run(self, lines):
        env = {**os.environ, "MAILSHELF_STORE": self.store, "PATH": BIN + ":" + os.environ["PATH"]}
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", lines], cwd=self.work, env=env, capture_output=True, timeout=300)
        expect(done.returncode == 0, "%s\n%s\n%s" % (lines, done.stdout[-1000:], done.stderr[-2000:]))
        return done.stdout.decode()


def sections():
    with open(GUIDE, encoding="utf-8") as f:
        text = f.read()
    parts = re.split(r"^## (\d+)\..*\n", text, flags=re.M)
    return {int(n): "".join(re.findall(r"```sh\n(.*?)```", body, flags=re.S)) for n, body in zip(parts[1::2], parts[2::2])}


def test_the_guide_is_true():
    tasks = sections()
    expect(sorted(tasks) == list(range(1, 11)), sorted(tasks))
    with Guide(accounts=()) as d:
        d.run(tasks[1])
        d.cert, d.key = make_certificate(d.dir)
        d.start()
        said = d.run(tasks[2])
        expect("Archive" in said and "20 messages found, 20 stored" in said, said)
        d.run(tasks[3])
        d.run(tasks[4])
        m = Imap(d.connect("imap"), "joe@example.org", "correct-horse")
        m.ok("SELECT INBOX")
        m.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
        m.ok("EXPUNGE")
        d.run(tasks[5])
        status = b"".join(b"".join(p) for p in m.ok("STATUS INBOX (MESSAGES)"))
        expect(b"MESSAGES 20" in status, "undelete brought back %r" % status)
        said = d.run(tasks[6])
        expect("Archive" in said, said)
        for n in range(7, 10):
            d.run(tasks[n])
        said = d.run(tasks[10])
        expect("joe@example.org" in said and "1 sessions ended" in said, said)
