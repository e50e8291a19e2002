"""test_import_remote.py - `import` from another server over IMAP: from a mailshelfd, and from a server that lies"""
import hashlib
import imaplib
import json
import os
import re
import socket
import subprocess
import threading

from daemon import BIN, Daemon, expect, message
from wire import Imap

EX_USAGE, EX_DATAERR, EX_NOINPUT, EX_TEMPFAIL, EX_NOPERM = 64, 65, 66, 75, 77


class To:
    """Imports into joe of D."""

    def __init__(self, d):
        self.d, self.store = d, d.store

    def run(self, url, *options, secret=b"secret\n", account="joe"):
        done = subprocess.run([os.path.join(BIN, "mailshelf"), "-s", self.store, "import", account, url, "--json",
            "--password-stdin", *options], input=secret, capture_output=True, timeout=120)
        expect(b"ERROR: " not in done.stderr, done.stderr[-3000:])
        done.report = json.loads(done.stdout) if done.stdout.strip() else None
        return done

    def counts(self, *args, status=0, **more):
        done = self.run(*args, **more)
        expect(done.returncode == status, "%d: %r" % (done.returncode, done.stderr[-2000:]))
        r = done.report
        expect(r["found"] == r["stored"] + r["already_there"] + r["skipped"], r)
        return r["found"], r["stored"], r["already_there"], r["skipped"]


def mail_of(d, name, password="secret"):
    """{mailbox: sorted [(sha, flags, date)]} as IMAP shows it."""
    m = imaplib.IMAP4("127.0.0.1", d.port["imap"])
    m.login(name, password)
    out = {}
    for line in m.list()[1]:
        box = re.search(rb'(?:"((?:[^"\\]|\\.)*)"|(\S+))$', line)
        box = (box.group(1) or box.group(2)).decode()
        count = int(m.select('"%s"' % box, readonly=True)[1][0])
        rows = []
        for part in m.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")[1] if count else []:
            if isinstance(part, tuple):
                flags = re.search(rb"FLAGS \(([^)]*)\)", part[0]).group(1).replace(b"\\Recent", b"").split()
                rows.append((hashlib.sha256(part[1]).hexdigest(), tuple(sorted(flags)),
                    re.search(rb'INTERNALDATE "([^"]*)"', part[0]).group(1)))
        out[box] = sorted(rows)
    m.logout()
    return out


def fill(d):
    m = Imap(d.connect("imap"), "old", "secret")
    m.ok('CREATE "Archive/2025"')
    m.ok('CREATE Gesendet (USE (\\Sent))')
    m.ok('CREATE "&AOQ-rger &- Co"')
    m.ok("CREATE empty")
    raw = imaplib.IMAP4("127.0.0.1", d.port["imap"])
    raw.login("old", "secret")
    for n in range(300):
        box = ("INBOX", "Archive/2025", "Gesendet", '"&AOQ-rger &- Co"')[n % 4]
        body = message(n, 200 + n % 5 * 3000) if n % 50 else message(n, 400000)
        if n % 7 == 3:
            body = body.replace(b"\r\n", b"\n", 3) + b"tail without an end"
        flags = " ".join([("", "\\Seen", "\\Flagged \\Answered", "$Label1 work")[n % 4 if n % 3 else 0]])
        date = '"%02d-Nov-2020 10:%02d:00 +0%d00"' % (1 + n % 28, n % 60, n % 10)
        expect(raw.append(box, "(%s)" % flags, date, body)[0] == "OK", n)
    raw.logout()


def test_from_another_mailshelf():
    with Daemon(accounts=[("old", "secret")]) as old, Daemon(accounts=[("joe", "secret"), ("ann", "secret", "30k")]) as new:
        fill(old)
        to = To(new)
        url = "imaps://old@127.0.0.1:%d" % old.port["imaps"]
        trust = ["--ca-file", old.cert]
        expect(to.counts(url, "--dry-run", *trust) == (300, 300, 0, 0), "dry run")
        expect(to.counts(url, *trust) == (300, 300, 0, 0), "first")
        was, got = mail_of(old, "old"), mail_of(new, "joe")
        expect(was == got, "%r\n%r" % ({k: len(v) for k, v in was.items()}, {k: len(v) for k, v in got.items()}))
        m = Imap(new.connect("imap"), "joe", "secret")
        expect(b"\\Sent" in b"".join(b"".join(p) for p in m.ok('LIST "" Gesendet')), "its use is lost")
        # Again, and with what came since: what is there is known by its uid, and not read.
        s = imaplib.IMAP4("127.0.0.1", old.port["imap"])
        s.login("old", "secret")
        s.append("INBOX", None, None, message(1000))
        s.logout()
        done = to.run(url, *trust)
        expect((done.report["stored"], done.report["already_there"]) == (1, 300), done.report)
        expect(done.report["bytes"] == len(message(1000)), done.report)
        expect(to.counts(url, *trust) == (301, 0, 301, 0), "nothing is new")
        # Under another name the server is another one: by STARTTLS, all is read, and known by what it says.
        done = to.run("imap://old@localhost:%d/" % old.port["imap"], *trust)
        expect((done.report["stored"], done.report["already_there"]) == (0, 301), done.report)
        expect(done.report["bytes"] > 300000, done.report)
        # Only some folders; below another mailbox it is mail that is not there.
        expect(to.counts(url, "--folder", "Archive/*", "--mailbox", "copy", *trust) == (75, 75, 0, 0), "a folder")
        expect(to.counts(url, "--exclude", "*", *trust) == (0, 0, 0, 0), "none")
        # No room: what fits is in, and it goes on later.
        done = to.run(url, *trust, account="ann")
        expect(done.returncode == 73 and 0 < done.report["stored"] < 50, (done.returncode, done.report))
        new.tool("quota", "set", "ann", "none")
        found = to.counts(url, *trust, account="ann")
        expect(found[0] == 301 and found[1] + found[2] == 301 and found[2] == done.report["stored"], found)
        # Refused.
        done = to.run(url, *trust, secret=b"wrong\n")
        expect(done.returncode == EX_NOPERM, (done.returncode, done.stderr))
        done = to.run(url)
        expect(done.returncode == EX_TEMPFAIL and b"certificate" in done.stderr, done.stderr)
        done = to.run("imaps://old@127.0.0.1:1")
        expect(done.returncode == EX_TEMPFAIL and b"refused" in done.stderr, done.stderr)
        for bad in ("imaps://old:secret@127.0.0.1", "imaps://127.0.0.1", "imaps://@h", "imap://a%4@h", "imaps://a@h/x"):
            expect(to.run(bad).returncode == EX_USAGE, bad)


def uids_of(d, name):
    m = imaplib.IMAP4("127.0.0.1", d.port["imap"])
    m.login(name, "secret")
    m.select("INBOX", readonly=True)
    out = [m.response("UIDVALIDITY")[1], m.fetch("1:*", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]]
    m.logout()
    return out


def test_uids_are_kept():
    """From Dovecot's Maildir to one server, and by IMAP to another: clients of any of them know what they have."""
    with Daemon(accounts=[("old", "secret")]) as old, Daemon(accounts=[("joe", "secret")]) as new:
        md = os.path.join(old.dir, "md")
        for sub in ("cur", "new"):
            os.makedirs(os.path.join(md, sub))
        lines = ["3 V1275660208 N100"]
        for n in range(40):
            with open(os.path.join(md, "cur", "%d.x.host:2,S" % (100 - n)), "wb") as f:
                f.write(message(n))
            lines.append("%d :%d.x.host" % (7 * n + 3, 100 - n))
        with open(os.path.join(md, "dovecot-uidlist"), "w") as f:
            f.write("\n".join(lines) + "\n")
        old.tool("import", "old", md, "--keep-uids")
        was = uids_of(old, "old")
        expect(was[0] == [b"1275660208"] and b"UID 276 " in was[1][-2][0], was)
        to = To(new)
        url = "imaps://old@127.0.0.1:%d" % old.port["imaps"]
        done = to.run(url, "--keep-uids", "--ca-file", old.cert)
        expect(done.returncode == 0 and done.report["with_uid"] == done.report["stored"] == 40, done.report)
        expect(uids_of(new, "joe") == was, "other uids")
        s = imaplib.IMAP4("127.0.0.1", old.port["imap"])
        s.login("old", "secret")
        s.append("INBOX", None, None, message(1000))
        s.logout()
        done = to.run(url, "--keep-uids", "--ca-file", old.cert)
        expect(done.report["with_uid"] == done.report["stored"] == 1, done.report)
        expect(uids_of(new, "joe") == uids_of(old, "old"), "other uids")


# ---- A server that lies -----------------------------------------------------------------------------------

class Fake(threading.Thread):
    """One connection: greeting, then for each command that begins with a key of SCRIPT its lines; "" is the rest."""

    def __init__(self, script, greeting=b"* OK [CAPABILITY IMAP4rev1] hello\r\n"):
        super().__init__(daemon=True)
        self.script, self.greeting = script, greeting
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.start()

    def run(self):
        try:
            c, _ = self.socket.accept()
            c.settimeout(60)
            c.sendall(self.greeting)
            f = c.makefile("rb")
            for line in f:
                tag, _, rest = line.rstrip(b"\r\n").partition(b" ")
                for key, answer in self.script.items():
                    if rest.upper().startswith(key):
                        c.sendall(answer.replace(b"TAG", tag))
                        break
                else:
                    c.sendall(tag + b" OK done\r\n")
                if b"CLOSE-NOW" in answer:
                    break
            c.close()
        except OSError:
            pass


LIST = b'* LIST () "." INBOX\r\nTAG OK\r\n'
ONE = b"* 1 FETCH (UID 7 FLAGS () INTERNALDATE \" 5-Nov-2020 10:00:00 +0000\" RFC822.SIZE 20)\r\n"
EXAMINE = b"* 1 EXISTS\r\n* OK [UIDVALIDITY 4] x\r\nTAG OK\r\n"


def script(body, rows=ONE + b"TAG OK\r\n", names=LIST):
    return {b"LIST": names, b"EXAMINE": EXAMINE, b"UID FETCH 1:*": rows, b"UID FETCH 7": body,
        b"CAPABILITY": b"* CAPABILITY IMAP4rev1\r\nTAG OK\r\n", b"LOGIN": b"TAG OK\r\n"}


WHOLE = b"* 1 FETCH (BODY[] {13}\r\nSubject: x\r\n\n UID 7 FLAGS (\\Seen))\r\nTAG OK\r\n"
# What it answers, the exit status, (stored, skipped).
LIES = (
    (script(WHOLE), 0, (1, 0)),
    # Quoted; with what was not asked for; for a uid that nobody asked for; not at all; NIL; refused.
    (script(b'* 1 FETCH (UID 7 BODY[] "Subject: q")\r\n* 9 EXPUNGE\r\nTAG OK\r\n'), 0, (1, 0)),
    (script(b"* 1 FETCH (UID 8 BODY[] {1}\r\nx)\r\n" + WHOLE), 0, (1, 0)),
    (script(b"TAG OK\r\n"), EX_DATAERR, (0, 1)),
    (script(b"* 1 FETCH (UID 7 BODY[] NIL)\r\nTAG OK\r\n"), EX_DATAERR, (0, 1)),
    (script(b"TAG NO no\r\n"), EX_DATAERR, (0, 1)),
    # It ends in the middle; says BYE; a literal that is none, or far too long where no message is.
    (script(b"* 1 FETCH (UID 7 BODY[] {1000}\r\nSubject: CLOSE-NOW"), EX_TEMPFAIL, (0, 1)),
    (script(b"* BYE CLOSE-NOW\r\n"), EX_TEMPFAIL, (0, 1)),
    (script(b"* 1 FETCH (UID 7 BODY[] {x}\r\n"), EX_DATAERR, (0, 1)),
    (script(b"* 1 FETCH (UID 7 FLAGS {4000000000}\r\n"), EX_DATAERR, (0, 1)),
    (script(WHOLE, names=b"* LIST (" + b"x " * 70000 + b') "." INBOX\r\nTAG OK\r\n'), EX_DATAERR, (0, 1)),
    (script(WHOLE, names=b'* LIST () "." "' + b"x" * 2000000 + b'"\r\nTAG OK\r\n'), EX_DATAERR, (0, 1)),
    (script(WHOLE, names=b'* LIST () "." "no end\r\nTAG OK\r\n'), EX_DATAERR, (0, 1)),
    # Names that may not be mailboxes here, or that climb; parentheses without sense; lines of nothing.
    (script(WHOLE, names=b'* LIST () "." "../../etc"\r\n* LIST ((((( () "/" x\r\n\r\n* LIST\r\n* X\r\n'
        b'* LIST () NIL "a&b"\r\nTAG OK\r\n'), 0, (3, 0)),
    (script(WHOLE, rows=b"* 1 FETCH (UID 0)\r\n* 1 FETCH\r\n* 1 FETCH (UID 99999999999 FLAGS (\r\n" + ONE + ONE +
        b"TAG OK\r\n"), 0, (1, 0)),
    (script(b"m99999 OK what\r\n"), EX_DATAERR, (0, 1)),
    # NO to the listing is no empty folder; NO behind a row ends nothing; fewer than it said there are.
    (script(WHOLE, rows=b"TAG NO [UNAVAILABLE] disk error\r\n"), EX_DATAERR, (0, 1)),
    (script(WHOLE, rows=ONE + b"TAG NO [EXPUNGEISSUED] some\r\n"), 0, (1, 0)),
    (script(WHOLE, rows=b"TAG OK\r\n"), EX_DATAERR, (0, 1)),
    # Keywords that are none here, one with a bracket, which is no section; a row that comes in two pieces.
    (script(WHOLE, rows=b"* 1 FETCH (FLAGS (\"a b(c\" \xff foo[bar $ok) UID 7 RFC822.SIZE 20)\r\nTAG OK\r\n"), 0, (1, 0)),
    (script(WHOLE, rows=ONE + b"* 1 FETCH (UID 7 FLAGS (\\Seen))\r\nTAG OK\r\n"), 0, (1, 0)),
    # Two bodies for one message; far more rows than messages.
    (script(b"* 1 FETCH (UID 7 BODY[] {1}\r\nx BODY[] {1}\r\ny)\r\nTAG OK\r\n"), EX_DATAERR, (0, 1)),
    (script(WHOLE, rows=ONE * 20000 + b"TAG OK\r\n"), 73, (0, 1)),
)


def test_servers_that_lie():
    with Daemon() as d:
        to = To(d)
        for n, (answers, status, want) in enumerate(LIES):
            fake = Fake(answers)
            done = to.run("imap://u%d@127.0.0.1:%d" % (n, fake.port), "--cleartext", "--mailbox", "lie%d" % n)
            got = (done.report["stored"], done.report["skipped"]) if done.report else None
            expect((done.returncode, got) == (status, want), "%d: %d %r %r" % (n, done.returncode, got, done.stderr[-1500:]))
        for greeting, status in ((b"* BYE busy\r\n", EX_TEMPFAIL), (b"SSH-2.0-x\r\n", EX_DATAERR),
                (b"* OK [CAPABILITY POP3] x\r\n", EX_DATAERR), (b"", EX_TEMPFAIL)):
            fake = Fake({b"": b"CLOSE-NOW"}, greeting)
            if not greeting:
                fake.socket.shutdown(socket.SHUT_RDWR)
            done = to.run("imap://u@127.0.0.1:%d" % fake.port, "--cleartext")
            expect(done.returncode == status, "%r: %d %r" % (greeting, done.returncode, done.stderr))
        # A row in two pieces keeps its date.
        m = Imap(d.connect("imap"), "joe", "secret")
        m.ok("EXAMINE lie%d/INBOX" % [n for n, (a, _, _) in enumerate(LIES) if b"UID 7 FLAGS (\\Seen))" in a[b"UID FETCH 1:*"]][0])
        got = b"".join(b"".join(p) for p in m.ok("FETCH 1 (FLAGS INTERNALDATE)"))
        expect(b" 5-Nov-2020 10:00:00 +0000" in got and b"\\Seen" in got, got)
        # Who is let in without a word is not asked in clear.
        fake = Fake(script(WHOLE), b"* PREAUTH hi\r\n")
        done = to.run("imap://u@127.0.0.1:%d" % fake.port)
        expect(done.returncode == EX_TEMPFAIL and b"no TLS" in done.stderr, done.stderr)
        # Without TLS and without leave no password is sent.
        fake = Fake(script(WHOLE))
        done = to.run("imap://u@127.0.0.1:%d" % fake.port)
        expect(done.returncode == EX_TEMPFAIL and b"no TLS" in done.stderr, done.stderr)


def test_many_accounts():
    names = ["joe", "ann", "eve"]
    with Daemon(accounts=[(n, "pass " + n + '",') for n in names]) as old, Daemon(accounts=[(n, "x") for n in names]) as new:
        for n, name in enumerate(names):
            for k in range(20 * (n + 1)):
                old.deliver(name, message(100 * n + k))
        path = os.path.join(new.dir, "many.csv")
        row = '%s,imaps://%s@127.0.0.1:%d,"pass %s"","\n'
        with open(path, "w") as f:
            f.write("# account,url,password\n\n" + "".join(row % (n, n, old.port["imaps"], n) for n in names))
            f.write("nobody,imaps://joe@127.0.0.1:%d,x\n" % old.port["imaps"])

        def many(*args):
            done = subprocess.run([os.path.join(BIN, "mailshelf"), "-s", new.store, "import-many", path, *args],
                capture_output=True, timeout=120)
            expect(b"ERROR: " not in done.stderr, done.stderr[-3000:])
            return done

        done = many("--parallel", "2", "--json", "--", "--ca-file", old.cert)
        got = {r["account"]: r for r in json.loads(done.stdout)}
        expect(done.returncode == EX_TEMPFAIL and len(got) == 4, (done.returncode, got))
        expect([got[n]["report"]["stored"] for n in names] == [20, 40, 60], got)
        expect(got["nobody"]["status"] == 67 and b"nobody: " in done.stderr, (got["nobody"], done.stderr))
        done = many("--", "--ca-file", old.cert)
        expect(b"joe: complete" in done.stdout and b"3 accounts complete, 1 not" in done.stdout, done.stdout)
        for bad in ("joe", "joe,http://x,y", "joe,imaps://joe:TOPSECRET@localhost,x", 'joe,"imaps://a@b,c', "joe,imaps://a@b,", "joe,imaps://a@b,c,d"):
            with open(path, "w") as f:
                f.write("# one\n" + bad + "\n")
            done = many()
            expect(done.returncode == EX_DATAERR and b"many.csv:2: " in done.stderr, (bad, done))
            expect(b"TOPSECRET" not in done.stderr + done.stdout, done.stderr)
