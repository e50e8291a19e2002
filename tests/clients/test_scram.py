"""test_scram.py - SCRAM with other people's libraries: GNU SASL (gsasl, mpop) and Cyrus SASL (mbsync)"""
import base64
import hashlib
import hmac
import os
import re

from daemon import Daemon, expect, message, need, run
from test_mbsync import configure, sync

NAMES = ("SCRAM-SHA-256", "SCRAM-SHA-1")


def gsasl(d, mechanism, *more, password="secret", tls=True):
    """An IMAP login by gsasl; its status, 0 or not."""
    argv = [need("gsasl"), "--imap", "--connect", "localhost:%d" % d.port["imap"], "-a", "joe", "-p", password,
        "-m", mechanism, "--hostname", "localhost", *more]
    argv += ["--starttls", "--x509-ca-file", d.cert] if tls else ["--no-starttls"]
    return run(argv, ok=None, input=b"", timeout=60)


def test_gsasl():
    need("gsasl")
    with Daemon(settings=["--login-fail-delay-ms", "10"]) as d:
        for name in NAMES:
            expect(gsasl(d, name, "--no-cb", tls=False).returncode == 0, name + " without TLS")
            expect(gsasl(d, name, password="wrong", tls=False).returncode != 0, name + " with a wrong password")
            for version in ("1.3", "1.2"):
                priority = "--priority=NORMAL:-VERS-ALL:+VERS-TLS" + version
                got = gsasl(d, name + "-PLUS", priority)
                expect(got.returncode == 0, "%s-PLUS, TLS %s: %s" % (name, version, got))
                got = gsasl(d, name + "-PLUS", priority, password="wrong")
                expect(got.returncode != 0, "%s-PLUS, TLS %s, a wrong password" % (name, version))
        log = d.log()
        expect(log.count("result=ok") == 6 and log.count("result=AUTH") == 6, log[-3000:])


def test_mpop():
    need("mpop")
    with Daemon() as d:
        d.deliver("joe", message(1))
        for name in NAMES:
            path, box = os.path.join(d.dir, "mpoprc"), os.path.join(d.dir, "box-" + name)
            with open(path, "w") as f:
                f.write("account default\nhost localhost\nport %d\nuser joe\npassword secret\nauth %s\ntls on\n"
                    "tls_starttls off\ntls_trust_file %s\ndelivery mbox %s\nkeep on\nuidls_file %s\n"
                    % (d.port["pop3s"], name.lower(), d.cert, box, box + ".uidls"))
            os.chmod(path, 0o600)
            run(["mpop", "-C", path, "-q"])
            with open(box, "rb") as f:
                expect(b"Subject: message 1" in f.read(), name)


def test_mbsync():
    need("mbsync")
    with Daemon() as d:
        d.deliver("joe", message(1))
        home, path = configure(d)
        with open(path) as f:
            text = f.read()
        for n, name in enumerate(NAMES):
            with open(path, "w") as f:
                f.write(text.replace("Pass secret\n", "Pass secret\nAuthMechs %s\n" % name))
            d.deliver("joe", message(2 + n))
            sync(home, path)
        expect(len(os.listdir(os.path.join(home, "mail/INBOX/new"))) == 3, "not all came")


def test_old_accounts():
    """Nobody is offered what he cannot use: SCRAM comes when the last password has keys."""
    with Daemon(accounts=[], settings=["--login-fail-delay-ms", "10"]) as d:
        d.tool("settings", "scram_iterations", "0")
        d.tool("account", "add", "joe", "--password-stdin", input=b"secret\n")
        d.tool("settings", "scram_iterations", "4096")
        d.stop()
        d.start()

        def offered():
            with d.connect("imap") as s:
                return b"SCRAM" in s.recv(4096)
        expect(not offered(), "SCRAM is offered")
        with d.connect("imap") as s:
            s.recv(4096)
            s.sendall(b"a login joe secret\r\n")
            expect(b"a OK" in s.recv(4096), "no login")
        expect(offered(), "SCRAM is not offered")


def first_answer(d, name):
    """Salt and iterations that NAME is told."""
    with d.connect("imap") as s:
        s.recv(4096)
        s.sendall(b"a authenticate SCRAM-SHA-256 "
            + base64.b64encode(b"n,,n=%s,r=abc" % name) + b"\r\n")
        line = base64.b64decode(s.recv(4096)[2:])
        s.sendall(b"*\r\n")
        expect(b"a BAD" in s.recv(4096), "a cancelled exchange goes on")
        return re.sub(rb"^r=[^,]*", b"", line)


def test_strangers():
    with Daemon() as d:
        expect(first_answer(d, b"nobody") == first_answer(d, b"nobody") != first_answer(d, b"joe"), "salts")
        salt = first_answer(d, b"nobody")
        d.stop()
        d.start()
        expect(first_answer(d, b"nobody") == salt, "a stranger's salt has changed")


def proof(first, challenge, password=b"secret"):
    """The last message, and what the server must say then (RFC 5802 3)."""
    fields = dict(f.split(b"=", 1) for f in challenge.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", password, base64.b64decode(fields[b"s"]), int(fields[b"i"]))
    key = hmac.digest(salted, b"Client Key", "sha256")
    bare = b"c=biws,r=" + fields[b"r"]
    text = b",".join([first, challenge, bare])
    sign = hmac.digest(hashlib.sha256(key).digest(), text, "sha256")
    verifier = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), text, "sha256")
    mine = base64.b64encode(bytes(a ^ b for a, b in zip(key, sign)))
    return bare + b",p=" + mine, b"v=" + base64.b64encode(verifier)


def exchange(sock, command, end):
    """Up to the server's proof; then END is sent. The last line that comes back."""
    f = sock.makefile("rwb")

    def say(line):
        f.write(line + b"\r\n")
        f.flush()
        return f.readline().rstrip(b"\r\n")
    f.readline()
    first = b"n=joe,r=abc"
    challenge = base64.b64decode(say(command + b" " + base64.b64encode(b"n,," + first))[2:])
    message, verifier = proof(first, challenge)
    expect(base64.b64decode(say(base64.b64encode(message))[2:]) == verifier, "the server's proof is wrong")
    return say(end)


def test_last_word():
    """The client agrees to the server's proof with an empty line; whoever does not is not in, and not counted."""
    doors = (("imap", b"a authenticate SCRAM-SHA-256", b"a OK", b"a BAD"), ("pop3", b"AUTH SCRAM-SHA-256", b"+OK", b"-ERR"))
    with Daemon(settings=["--conns-per-account-max", "1"]) as d:
        for door, command, good, bad in doors:
            for end in (b"*", b"AAAA", b"noop"):
                with d.connect(door) as s:
                    expect(exchange(s, command, end).startswith(bad), "%s took %r" % (door, end))
            # No answer at all: it is gone as soon as the peer is.
            with d.connect(door) as s:
                exchange(s, command, b"*")
                with d.connect(door) as other:
                    expect(exchange(other, command, b"").startswith(good), door + " lets nobody in")
        expect(d.log().count("result=LIMIT") == 0, "somebody was counted")
