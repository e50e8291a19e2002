"""test_app_password.py - passwords for one program: where they open, when they do not"""
import json
import re
import time

from daemon import Daemon, expect, message, need
from test_scram import gsasl
from wire import Imap, Pop


def made(d, label, *more):
    said = d.tool("app-password", "add", "joe", "--label", label, *more).stdout.decode()
    found = re.search(r"\b[a-z0-9]{4}(-[a-z0-9]{4}){4}\b", said)
    expect(found is not None, "no password in %r" % said)
    return found.group(0)


def imap_opens(d, password):
    m = Imap(d.connect("imap"))
    said = m.do("LOGIN joe %s" % password)[0]
    m.sock.close()
    expect(said.startswith(b"OK") or said.startswith(b"NO"), said)
    return said.startswith(b"OK")


def pop_opens(d, password):
    p = Pop(d.connect("pop3"))
    p.ok("USER joe")
    said = p.do("PASS " + password)
    p.sock.close()
    return said.startswith(b"+OK")


def listed(d):
    return json.loads(d.tool("app-password", "list", "joe", "--json").stdout)


def test_scope_and_removal():
    with Daemon(settings=("--login-fail-delay-ms", "0")) as d:
        d.deliver("joe", message(1))
        phone = made(d, "phone", "--scope", "imap")
        printer = made(d, "printer", "--scope", "pop3")
        expect(imap_opens(d, phone) and not pop_opens(d, phone), "phone is for IMAP")
        expect(pop_opens(d, printer) and not imap_opens(d, printer), "printer is for POP3")
        expect(imap_opens(d, "secret") and pop_opens(d, "secret"), "the account's own password")
        rows = {row["label"]: row for row in listed(d)}
        expect(set(rows) == {"phone", "printer"}, rows)
        d.tool("app-password", "remove", "joe", str(rows["phone"]["id"]))
        expect(not imap_opens(d, phone), "it was removed")
        expect(pop_opens(d, printer), "the other one was not")
        # With the services switched off no password opens them.
        d.tool("account", "set", "joe", "--pop3", "off")
        expect(not pop_opens(d, printer), "POP3 is off")


def test_expiry_and_new_password():
    with Daemon(settings=("--login-fail-delay-ms", "0")) as d:
        short = made(d, "short", "--expires", "1s")
        tablet = made(d, "tablet")
        time.sleep(2)
        expect(not imap_opens(d, short), "it has expired")
        d.tool("account", "passwd", "joe", "--none")
        expect(imap_opens(d, tablet) and not imap_opens(d, "secret"), "without a password of its own")


def test_scram():
    need("gsasl")
    with Daemon(settings=("--login-fail-delay-ms", "10")) as d:
        laptop = made(d, "laptop")
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"):
            expect(gsasl(d, mechanism, "--no-cb", password=laptop, tls=False).returncode == 0, mechanism)
            expect(gsasl(d, mechanism, "--no-cb", password="secret", tls=False).returncode == 0, mechanism + " of the account")
            expect(gsasl(d, mechanism, "--no-cb", password=laptop[:-1] + "!", tls=False).returncode != 0, mechanism + " wrong")
