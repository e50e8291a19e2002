"""test_fetchmail.py - fetchmail collects by POP3 or IMAP and hands on to LMTP or to a program"""
import os
import re

from daemon import Daemon, expect, message, need, run
from wire import Pop


def fetch(d, text, ok=(0,)):
    rc = os.path.join(d.dir, "fetchmailrc")
    with open(rc, "w") as f:
        f.write(text)
    os.chmod(rc, 0o600)
    env = dict(os.environ, HOME=d.dir, FETCHMAILHOME=d.dir)
    return run([need("fetchmail"), "-v", "-v", "-f", rc, "--pidfile", os.path.join(d.dir, "fm.pid"),
        "-i", os.path.join(d.dir, "ids")], ok=ok, env=env)


def test_pop3_to_program():
    need("fetchmail")
    with Daemon() as d:
        for n in range(5):
            d.deliver("joe", message(n))
        box = os.path.join(d.dir, "out")
        text = ("poll localhost protocol pop3 uidl port %d user joe password secret sslproto '' keep "
            "no rewrite mda \"cat >> %s\"\n" % (d.port["pop3"], box))
        fetch(d, text)
        with open(box, "rb") as f:
            out = f.read()
        for n in range(5):
            body = message(n).split(b"\r\n\r\n", 1)[1].replace(b"\r\n", b"\n")
            expect(body in out, "message %d did not come whole" % n)
        # Kept messages are known by UIDL: nothing is fetched twice.
        size = os.path.getsize(box)
        done = fetch(d, text, ok=(1,))  # 1: there was no new mail
        expect(os.path.getsize(box) == size, "UIDL did not keep them apart: %r" % done.stdout[-500:])


def test_pop3s_to_lmtp():
    need("fetchmail")
    with Daemon(accounts=[("joe", "secret"), ("ann", "other")],
            settings=["--local-domains", "localhost example.org"]) as d:
        for n in range(5):
            d.deliver("joe", message(n))
        fetch(d, "poll localhost protocol pop3 port %d user joe is ann@localhost here password secret "
            "ssl sslcertck sslcertfile %s fetchall no rewrite lmtp smtphost localhost/%d "
            "smtpname ann@localhost\n" % (d.port["pop3s"], d.cert, d.port["lmtp"]))
        m = Pop(d.connect("pop3"), "ann", "other")
        expect(m.ok("STAT").split()[1] == b"5", "ann has %r" % m.ok("STAT"))
        for n in range(5):
            got = m.multi("RETR %d" % (n + 1))
            # fetchmail adds a Received field in front.
            expect(got.endswith(message(n)), "message %d changed on its way" % n)
            expect(got.startswith(b"Return-Path: <"), "no Return-Path in front")
            expect(len(re.findall(rb"(?im)^received:", got)) == 2, "fetchmail's own field is missing, or ours")
        m.ok("QUIT")
        m = Pop(d.connect("pop3"), "joe", "secret")
        expect(m.ok("STAT").split()[1] == b"0", "they were not removed from joe")
        m.ok("QUIT")


def test_imap_to_program():
    need("fetchmail")
    with Daemon() as d:
        for n in range(3):
            d.deliver("joe", message(n))
        box = os.path.join(d.dir, "out")
        fetch(d, "poll localhost protocol imap port %d user joe password secret ssl sslcertck "
            "sslcertfile %s no rewrite mda \"cat >> %s\"\n" % (d.port["imaps"], d.cert, box))
        with open(box, "rb") as f:
            out = f.read()
        for n in range(3):
            body = message(n).split(b"\r\n\r\n", 1)[1].replace(b"\r\n", b"\n")
            expect(body in out, "message %d did not come whole" % n)
