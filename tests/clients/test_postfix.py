"""test_postfix.py - what a front server asks, line by line; and Debian's Postfix in front, as docs/postfix.md says"""
import base64
import os
import pwd
import re
import shutil
import smtplib
import subprocess
import tempfile
import time

from daemon import BIN, Daemon, Failed, Skipped, expect, free_port, message, need, run
from test_scram import proof
from wire import Pop


class Asker:
    """The door --mta: lines that end with LF."""

    def __init__(self, sock):
        self.file = sock.makefile("rwb")

    def get(self, key):
        self.file.write(b"get %s\n" % key)
        self.file.flush()
        return self.file.readline()[:3]

    def policy(self, **attributes):
        lines = ["%s=%s\n" % item for item in {"request": "smtpd_access_policy", **attributes}.items()]
        self.file.write("".join(lines).encode() + b"\n")
        self.file.flush()
        answer = self.file.readline()
        expect(self.file.readline() == b"\n", "no empty line behind %r" % answer)
        return answer.rstrip(b"\n").decode()


def with_door(accounts, *settings):
    port, auth = free_port(), free_port()
    d = Daemon(accounts=accounts, settings=["--mta", "127.0.0.1:%d" % port, "--mta-auth", "127.0.0.1:%d" % auth,
        "--local-domains", "example.org", "--login-fail-delay-ms", "100", *settings])
    d.port["mta"], d.port["mta-auth"] = port, auth
    return d


def test_questions():
    with with_door([("joe", "secret"), ("full", "x", "10"), ("later", "x", "10"), ("off", "x")]) as d:
        d.tool("policy", "set", "later", "over_quota", "defer")
        d.tool("account", "set", "off", "--delivery", "off")
        d.tool("alias", "set", "sales@example.org", "full", "joe")
        d.tool("alias", "set", "@other.example", "@example.org")
        a = Asker(d.connect("mta"))
        for key, code in ((b"joe@example.org", b"200"), (b"JOE+x@example.org", b"200"), (b"off@example.org", b"200"),
                (b"full@other.example", b"200"), (b"sales@example.org", b"200"), (b"no@example.org", b"500"),
                (b"joe@elsewhere.example", b"500"), (b"joe", b"500"), (b"@example.org", b"500"), (b"", b"500"),
                (b"example.org", b"200"), (b"other.example", b"200"), (b"elsewhere.example", b"500"),
                (b"j%6fe%40example.org", b"200"), (b"j%6", b"500"), (b"%zz", b"500"), (b"joe%00@example.org", b"500"),
                (b"a b c@example.org", b"500")):
            expect(a.get(key) == code, "%r is not %r" % (key, code))
        for to, start in (("joe@example.org", "action=DUNNO"), ("full@example.org", "action=552 5.2.2 "),
                ("later@other.example", "action=452 4.2.2 "), ("off@example.org", "action=550 5.2.1 "),
                ("sales@example.org", "action=DUNNO"), ("no@example.org", "action=DUNNO"), ("", "action=DUNNO"),
                ("full@elsewhere.example", "action=DUNNO")):
            answer = a.policy(protocol_state="RCPT", recipient=to, size="100", sender="x=y@example.net")
            expect(answer.startswith(start), "%s: %r" % (to, answer))
        # Without a size: is there room for anything at all? Two requests at once, and a lookup between.
        expect(a.policy(recipient="full@example.org") == "action=DUNNO", "an empty box is full")
        a.file.write(b"recipient=joe@example.org\n\nget no@example.org\nrecipient=full@example.org\nsize=11\n\n")
        a.file.flush()
        got = b"".join(a.file.readline() for _ in range(5))
        expect(got == b"action=DUNNO\n\n500 not known\naction=552 5.2.2 Mailbox full\n\n", got)
        for bad in (b"hello\n", b"\n", b"x=y\n" * 300, b"recipient=" + b"x" * 9000 + b"\n"):
            a = Asker(d.connect("mta"))
            a.file.write(bad)
            a.file.flush()
            expect(a.file.read() == b"", "%r was answered" % bad[:20])


def netstring(text):
    return b"%d:%s," % (len(text), text)


def test_socketmap():
    with with_door([("joe", "secret")]) as d:
        d.tool("alias", "set", "@other.example", "@example.org")
        for request, answer in ((b"recipients joe@example.org", b"OK known"), (b"recipients JOE+x@other.example", b"OK known"),
                (b"recipients no@example.org", b"NOTFOUND "), (b"recipients example.org", b"NOTFOUND "),
                (b"recipients ", b"NOTFOUND "), (b"recipients joe\0@example.org", b"NOTFOUND "),
                (b"domains example.org", b"OK known"), (b"domains other.example", b"OK known"),
                (b"domains elsewhere.example", b"NOTFOUND "), (b"domains joe@example.org", b"NOTFOUND "),
                (b"users joe", b"PERM "), (b"recipients", b"PERM "), (b"", b"PERM ")):
            with d.connect("mta") as s:
                # Byte by byte, and twice in one piece.
                for byte in netstring(request):
                    s.sendall(bytes([byte]))
                one = s.recv(4096)
                expect(re.fullmatch(rb"\d+:%s.*," % re.escape(answer), one), "%r: %r" % (request, one))
                s.sendall(netstring(request) * 2)
                got = b""
                while len(got) < 2 * len(one):
                    got += s.recv(4096)
                expect(got == one * 2, "%r twice: %r" % (request, got))
        for bad in (b"5:abcdef,", b"007:domains,", b"9999999:x", b"1x", b"12,"):
            with d.connect("mta") as s:
                s.sendall(bad)
                expect(s.recv(4096) == b"", "%r was answered" % bad)
        need("postmap")
        table = "socketmap:inet:127.0.0.1:%d:" % d.port["mta"]
        for key, name, status in (("joe@example.org", "recipients", 0), ("no@example.org", "recipients", 1),
                ("example.org", "domains", 0), ("elsewhere.example", "domains", 1)):
            got = run(["postmap", "-q", key, table + name], ok=None)
            expect(got.returncode == status, "postmap -q %s %s: %s" % (key, name, got))
        got = run(["postmap", "-q", "x", table + "users"], ok=None)
        expect(got.returncode == 1 and b"the tables are" in got.stderr, got)


MAIN = """compatibility_level = 3.6
queue_directory = %(dir)s/queue
data_directory = %(dir)s/data
maillog_file = %(dir)s/maillog
maillog_file_prefixes = %(dir)s
inet_interfaces = loopback-only
inet_protocols = ipv4
myhostname = mx.example.net
mydestination =
mynetworks =
alias_maps =
alias_database =
local_recipient_maps =
minimal_backoff_time = 2s
queue_run_delay = 2s
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 100000
smtpd_hard_error_limit = 100000
"""
MASTER = """127.0.0.1:%(port)d inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
showq unix n - n - - showq
flush unix n - n 1000? 0 flush
lmtp unix - - n - - lmtp
smtp unix - - n - - smtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


def documented(d, name):
    """The lines of docs/postfix.md for this file, with this daemon's ports and certificate."""
    path = os.path.join(os.path.dirname(__file__), "../../docs/postfix.md")
    with open(path, encoding="utf-8") as f:
        whole = f.read()
    text = whole.split("```%s\n" % name)[1].split("```")[0]
    for there, here in (("127.0.0.1:2525", "127.0.0.1:%d" % d.port["mta"]), ("127.0.0.1:24", "127.0.0.1:%d" % d.port["lmtp"]),
            ("127.0.0.1:2526", "127.0.0.1:%d" % d.port["mta-auth"]), ("/etc/ssl/mail/cert.pem", d.cert),
            ("/etc/ssl/mail/key.pem", d.key)):
        expect(there in whole, "docs/postfix.md has no %s any more" % there)
        text = text.replace(there, here)
    return text


class Postfix:
    def __init__(self, d, program=False):
        need("postfix")
        if os.geteuid() != 0:
            raise Skipped("Postfix needs root")
        # Postfix works as a user of its own, who may not get into the directory of the tests.
        self.dir, self.port, self.submission = tempfile.mkdtemp(prefix="mailshelf-postfix-", dir="/tmp"), free_port(), free_port()
        self.conf = os.path.join(self.dir, "conf")
        owner = pwd.getpwnam("postfix").pw_uid
        os.chmod(self.dir, 0o755)
        for name in ("conf", "queue", "data"):
            os.mkdir(os.path.join(self.dir, name))
        os.chown(os.path.join(self.dir, "data"), owner, -1)
        values = {"dir": self.dir, "port": self.port}
        main, master = documented(d, "main.cf"), documented(d, "master.cf")
        if program:
            main = re.sub(r"^virtual_transport = .*\n", "", main, flags=re.M) + documented(d, "main.cf-program")
            main += "mydestination = mx.example.net\n"
            master += "local unix - n n - - local\n" + documented(d, "master.cf-program")
            master = master.replace("user=mailshelf", "user=nobody").replace("/usr/bin/mailshelf -s /srv/mail",
                "%s/mailshelf -s %s" % (d.dir, d.store)).replace("/etc/mailshelfd.conf", d.dir + "/conf")
        with open(os.path.join(self.conf, "main.cf"), "w") as f:
            f.write(MAIN % values + main)
        with open(os.path.join(self.conf, "master.cf"), "w") as f:
            f.write(MASTER % values)
            f.write(master.replace("submission", "127.0.0.1:%d" % self.submission))

    def __enter__(self):
        try:
            run(["postfix", "-c", self.conf, "start"])
        except Failed:
            shutil.rmtree(self.dir)
            raise
        return self

    def __exit__(self, *_):
        subprocess.run(["postfix", "-c", self.conf, "stop"], capture_output=True, timeout=60)
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self):
        with open(os.path.join(self.dir, "maillog"), errors="replace") as f:
            return f.read()

    def wait_empty(self, seconds=120):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if b"queue is empty" in run(["postqueue", "-c", self.conf, "-p"]).stdout:
                return
            time.sleep(0.5)
        raise Failed("the queue is not empty: " + self.log()[-2000:])


def count(d, name):
    pop = Pop(d.connect("pop3"), name, "secret")
    n = int(pop.ok("STAT").split()[1])
    pop.ok("QUIT")
    return n


def test_postfix_in_front():
    need("postfix")
    names = ["user%02d" % n for n in range(40)] + ["full%d" % n for n in range(5)] + ["later%d" % n for n in range(5)]
    accounts = [(n, "secret") + (("100",) if n[0] in "fl" else ()) for n in names] + [("sender", "secret")]
    with with_door(accounts) as d:
        for n in range(5):
            d.tool("policy", "set", "later%d" % n, "over_quota", "defer")
        d.tool("alias", "set", "sales@example.org", "user00", "user01")
        sent, refused = {name: 0 for name in names}, {}
        with Postfix(d) as postfix:
            s = smtplib.SMTP("127.0.0.1", postfix.port, timeout=60)
            for n in range(1000):
                to = (names + ["nobody%d" % i for i in range(5)])[n % (len(names) + 5)]
                try:
                    s.sendmail("sender@example.org", [to + "@example.org"], message(n))
                    sent[to] += 1
                except smtplib.SMTPRecipientsRefused as e:
                    code = list(e.recipients.values())[0][0]
                    refused[to.rstrip("0123456789"), code] = refused.get((to.rstrip("0123456789"), code), 0) + 1
            s.sendmail("sender@example.org", ["sales@example.org", "user02+x@example.org"], message(1000))
            try:
                s.sendmail("sender@example.org", ["joe@elsewhere.example"], message(1001))
                raise Failed("an open relay")
            except smtplib.SMTPRecipientsRefused:
                pass
            s.quit()
            postfix.wait_empty()
            expect(set(refused) == {("full", 552), ("later", 452), ("nobody", 550)}, refused)
            for name in ("user00", "user01", "user02"):
                sent[name] += 1
            expect(sum(sent.values()) + sum(refused.values()) == 1003, "%r %r" % (sent, refused))
            for name in names:
                expect(count(d, name) == sent[name], "%s has %d of %d: %s" % (name, count(d, name), sent[name],
                    postfix.log()[-3000:]))
            expect(count(d, "sender") == 0, "something bounced: " + postfix.log()[-3000:])
            # Full behind Postfix's back, between RCPT and delivery: the sender gets the bounce, with our code.
            s = smtplib.SMTP("127.0.0.1", postfix.port, timeout=60)
            s.ehlo()
            s.mail("sender@example.org")
            expect(s.rcpt("user03@example.org")[0] == 250, "user03 was refused")
            d.tool("quota", "set", "user03", "100")
            expect(s.data(message(1002))[0] == 250, "the message was refused")
            s.quit()
            postfix.wait_empty()
            expect(count(d, "user03") == sent["user03"], "user03 got it all the same")
            pop = Pop(d.connect("pop3"), "sender", "secret")
            bounce = pop.multi("RETR 1")
            expect(b"5.2.2" in bounce and b"user03@example.org" in bounce, bounce[-2000:])
            expect(bounce.startswith(b"Return-Path: <>\r\nDelivered-To: sender@example.org\r\n"), bounce[:300])
            pop.ok("QUIT")


def test_postfix_with_the_program():
    need("postfix")
    with with_door([("user0", "secret"), ("full", "secret", "100"), ("daemon", "secret"), ("sender", "secret")]) as d:
        with open(d.dir + "/conf", "w") as f:
            f.write("local_domains = example.org mx.example.net\n")
        # It is started as another user than this one, who may not get to where it was built.
        os.chmod(d.dir, 0o755)
        shutil.copy(os.path.join(BIN, "mailshelf"), d.dir)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "nobody", d.store, d.dir + "/conf"], check=True)
        d.tool("quota", "set", "full", "none")
        with Postfix(d, program=True) as postfix:
            s = smtplib.SMTP("127.0.0.1", postfix.port, timeout=60)
            s.sendmail("sender@example.org", ["user0@example.org", "USER0+x@example.org"], message(1))
            s.sendmail("sender@example.org", ["daemon@mx.example.net"], message(2))
            s.ehlo()
            s.mail("sender@example.org")
            expect(s.rcpt("full@example.org")[0] == 250, "full was refused")
            d.tool("quota", "set", "full", "100")
            expect(s.data(message(3))[0] == 250, "the message was refused")
            s.quit()
            postfix.wait_empty()
            got = [count(d, name) for name in ("user0", "full", "daemon", "sender")]
            expect(got == [2, 0, 1, 1], "%r: %s" % (got, postfix.log()[-3000:]))
            pop = Pop(d.connect("pop3"), "daemon", "secret")
            text = pop.multi("RETR 1")
            expect(text.startswith(b"Return-Path: <sender@example.org>\r\nDelivered-To: daemon@mx.example.net\r\n"), text[:300])
            pop.ok("QUIT")


# ---- logging in -------------------------------------------------------------------------------------------

class Auth:
    """The door --mta-auth, as Postfix speaks to it."""

    def __init__(self, d):
        self.file = d.connect("mta-auth").makefile("rwb")
        self.said = []
        while not self.said or self.said[-1] != b"DONE":
            self.said.append(self.line())
        self.send(b"VERSION\t1\t1", b"CPID\t4711")

    def line(self):
        return self.file.readline().rstrip(b"\n")

    def send(self, *lines):
        self.file.write(b"".join(line + b"\n" for line in lines))
        self.file.flush()

    def ask(self, line):
        self.send(line)
        return self.line()

    def plain(self, n, name, password, params=b"service=smtp\trip=192.0.2.1\tsecured"):
        return self.ask(b"AUTH\t%d\tPLAIN\t%s\tresp=%s" % (n, params,
            base64.b64encode(b"\0" + name + b"\0" + password)))


def test_auth_lines():
    with with_door([("joe", "secret"), ("off", "secret"), ("mute", "secret")]) as d:
        d.tool("account", "set", "off", "--submission", "off")
        d.tool("account", "set", "mute", "--imap", "off", "--pop3", "off")
        a = Auth(d)
        expect(a.said[0].startswith(b"VERSION\t1\t"), a.said)
        for want in (b"MECH\tPLAIN\tplaintext", b"MECH\tSCRAM-SHA-256\tmutual-auth"):
            expect(want in a.said, a.said)
        expect(not any(b"PLUS" in line for line in a.said), a.said)
        expect(any(line.startswith(b"COOKIE\t") and len(line) == 39 for line in a.said), a.said)
        expect(a.plain(1, b"JOE", b"secret") == b"OK\t1\tuser=joe", "joe is not let in")
        expect(a.plain(2, b"joe", b"wrong") == b"FAIL\t2", "a wrong password")
        expect(a.plain(3, b"nobody", b"secret") == b"FAIL\t3", "an unknown name")
        expect(a.plain(4, b"off", b"secret").startswith(b"FAIL\t4\tuser_disabled"), "submission is off")
        expect(a.plain(5, b"mute", b"secret") == b"OK\t5\tuser=mute", "mute is not let in")
        # In clear from elsewhere, from this host; an IPv6 address.
        clear = b"service=smtp\trip=192.0.2.1"
        expect(a.plain(6, b"joe", b"secret", clear).startswith(b"FAIL\t6\treason="), "in clear")
        expect(a.plain(7, b"joe", b"secret", b"service=smtp\trip=127.0.0.1") == b"OK\t7\tuser=joe", "loopback")
        expect(a.plain(8, b"joe", b"secret", b"rip=2001:db8::1\tsecured=tls\tnologin") == b"OK\t8\tuser=joe", "IPv6")
        # Without an initial response; LOGIN; cancelled; another request in between; both at once.
        expect(a.ask(b"AUTH\t9\tPLAIN\tservice=smtp\tsecured") == b"CONT\t9\t", "no challenge")
        expect(a.ask(b"CONT\t9\tAGpvZQBzZWNyZXQ=") == b"OK\t9\tuser=joe", "PLAIN in two steps")
        expect(a.ask(b"AUTH\t10\tLOGIN\tsecured\tresp=am9l") == b"CONT\t10\tUGFzc3dvcmQ6", "LOGIN")
        expect(a.ask(b"CANCEL\t10") == b"FAIL\t10", "CANCEL")
        expect(a.ask(b"AUTH\t11\tLOGIN\tsecured").startswith(b"CONT\t11\t"), "LOGIN")
        expect(a.ask(b"AUTH\t12\tPLAIN\tsecured\tresp=!").startswith(b"FAIL\t11\t"), "two at once")
        expect(a.line().startswith(b"FAIL\t12\treason=malformed"), "not Base64")
        expect(a.ask(b"AUTH\t13\tCRAM-MD5\tsecured").startswith(b"FAIL\t13\treason=unknown"), "CRAM-MD5")
        expect(a.ask(b"AUTH\t14\tPLAIN\tsecured\tresp=").startswith(b"FAIL\t14\treason=malformed"), "an empty response")
        a.send(b"AUTH\t15\tPLAIN\tsecured\tresp=AGpvZQBzZWNyZXQ=", b"AUTH\t16\tPLAIN\tsecured\tresp=AGpvZQB3cm9uZw==")
        expect([a.line(), a.line()] == [b"OK\t15\tuser=joe", b"FAIL\t16"], "two requests in one packet")
        # SCRAM ends with the server's proof and an empty answer.
        challenge = a.ask(b"AUTH\t17\tSCRAM-SHA-256\tsecured\tresp=" + base64.b64encode(b"n,,n=joe,r=abc")).split(b"\t")
        message, verifier = proof(b"n=joe,r=abc", base64.b64decode(challenge[2]))
        expect(a.ask(b"CONT\t17\t" + base64.b64encode(message)) == b"CONT\t17\t" + base64.b64encode(verifier), "SCRAM")
        expect(a.ask(b"CONT\t17\t") == b"OK\t17\tuser=joe", "SCRAM's end")
        for bad in (b"CONT\t18\tAAAA", b"AUTH\tx\tPLAIN", b"VERSION\t2\t0", b"x" * 20000):
            b = Auth(d)
            b.send(bad)
            expect(b.line() == b"", "%r was answered" % bad[:20])


def test_auth_delays():
    """A client's failures count together, whatever door they come through."""
    with with_door([("joe", "secret")], "--login-fail-delay-ms", "200") as d:
        def took(function):
            start = time.monotonic()
            function()
            return time.monotonic() - start
        a, b = Auth(d), Auth(d)
        first = took(lambda: a.plain(1, b"joe", b"wrong", b"rip=127.0.0.1"))
        second = took(lambda: b.plain(1, b"joe", b"wrong", b"rip=127.0.0.1"))
        with d.connect("imap") as s:
            s.recv(4096)
            s.sendall(b"a login joe wrong\r\n")
            third = took(lambda: s.recv(4096))
        other = took(lambda: a.plain(2, b"joe", b"wrong", b"rip=192.0.2.7\tsecured"))
        expect(first >= 0.2 and second >= 0.4 and third >= 0.8 and 0.2 <= other < third, (first, second, third, other))


def test_postfix_submission():
    need("postfix")
    with with_door([("joe", "secret"), ("off", "secret"), ("ann", "secret")]) as d, Postfix(d) as postfix:
        d.tool("account", "set", "off", "--submission", "off")

        def client():
            s = smtplib.SMTP("localhost", postfix.submission, timeout=60)
            s.starttls(context=d.tls())
            s.ehlo()
            return s
        for n, mechanism in enumerate(("PLAIN", "LOGIN")):
            s = client()
            s.user, s.password = "joe", "secret"
            expect(s.auth(mechanism, getattr(s, "auth_" + mechanism.lower()))[0] == 235, mechanism)
            s.sendmail("joe@example.org", ["ann@example.org"], message(n))
            s.quit()
        s = client()
        expect("SCRAM-SHA-256" in s.esmtp_features["auth"].split(), s.esmtp_features)
        try:
            s.sendmail("joe@example.org", ["ann@example.org"], message(9))
            raise Failed("mail was taken without a login")
        except smtplib.SMTPRecipientsRefused:
            pass
        for name, password in (("joe", "wrong"), ("nobody", "secret"), ("off", "secret")):
            try:
                client().login(name, password)
                raise Failed("%s was let in" % name)
            except smtplib.SMTPAuthenticationError as e:
                expect(e.smtp_code == 535, e)
        need("gsasl")
        for mechanism, password, status in (("SCRAM-SHA-256", "secret", 0), ("SCRAM-SHA-1", "secret", 0),
                ("SCRAM-SHA-256", "wrong", 1)):
            got = run(["gsasl", "--smtp", "--starttls", "--no-cb", "--x509-ca-file", d.cert, "--connect",
                "localhost:%d" % postfix.submission, "-a", "joe", "-p", password, "-m", mechanism], ok=None, input=b"")
            expect((got.returncode != 0) == status, "%s: %s" % (mechanism, got))
        postfix.wait_empty()
        expect(count(d, "ann") == 2, "not all mail arrived: " + postfix.log()[-3000:])
        # The store's daemon is away: a temporary failure, not a wrong password.
        d.stop()
        try:
            s = client()
            s.login("joe", "secret")
            raise Failed("joe was let in by nobody")
        except (smtplib.SMTPResponseException, smtplib.SMTPServerDisconnected, smtplib.SMTPNotSupportedError):
            pass
        d.start()
