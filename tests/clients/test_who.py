"""test_who.py - who is logged in, and that somebody goes: `who`, `kick`"""
import json
import os
import subprocess
import time

from daemon import BIN, Daemon, Failed, expect
from wire import Imap, Pop


def who(d, *args):
    return json.loads(d.tool("who", "--json", *args).stdout)


def wait_for(d, n):
    end = time.monotonic() + 30
    while len(who(d)) != n:
        if time.monotonic() > end:
            raise Failed("%d sessions, not %d" % (len(who(d)), n))
        time.sleep(0.1)


def test_who_and_kick():
    with Daemon(accounts=[("joe", "secret"), ("ann@example.org", "secret")]) as d:
        expect(who(d) == [], "somebody is there")
        early = Imap(d.connect("imap"))
        joe = Imap(d.connect("imaps"), "joe", "secret")
        idle = Imap(d.connect("imap"), "joe", "secret")
        idle.ok("SELECT INBOX")
        idle.start("IDLE")
        expect(idle.line().startswith(b"+"), "IDLE was not taken")
        ann = Pop(d.connect("pop3"), "ann@example.org", "secret")
        got = who(d)
        expect(sorted((s["account"], s["service"], s["tls"] != "") for s in got) == [("ann@example.org", "pop3", False),
            ("joe", "imap", False), ("joe", "imap", True)], got)
        expect(all(s["daemon"] == d.process.pid and s["peer"].startswith("127.0.0.1:") and s["idle_s"] < 60 and
            abs(s["since_s"] - time.time()) < 60 for s in got), got)
        expect(len(who(d, "joe")) == 2 and len(who(d, "nobody")) == 0, "filter")
        text = d.tool("who").stdout.decode()
        expect(text.count("\n") == 3 and "%d." % d.process.pid in text, text)
        # One by its number; then all of an account. Others go on.
        tls = [s for s in got if s["tls"]][0]
        expect(json.loads(d.tool("kick", "%d.%d" % (d.process.pid, tls["id"]), "--json").stdout) == {"kicked": 1}, "kick")
        expect(joe.line() == b"* BYE Ended by the operator" and joe.ended(), "no BYE")
        wait_for(d, 2)
        expect(json.loads(d.tool("kick", "joe", "--json").stdout) == {"kicked": 1}, "kick joe")
        expect(idle.line().startswith(b"* BYE"), "IDLE goes on")
        ann.ok("STAT")
        expect(json.loads(d.tool("kick", "ann@example.org", "--json").stdout) == {"kicked": 1}, "kick ann")
        expect(ann.ended(), "POP3 goes on")
        expect(json.loads(d.tool("kick", "joe", "--json").stdout) == {"kicked": 0}, "nobody is left")
        early.ok("NOOP")
        d.tool("kick", "nobody", ok=(67,))
        # What is no request; a socket that nobody answers at goes.
        path = os.path.join(d.store, "run", "%d.sock" % d.process.pid)
        expect(os.stat(path).st_mode & 0o777 == 0o600, "the socket is open to others")
        with open(os.path.join(d.store, "run", "x.sock"), "w"):
            pass
        expect(who(d) == [], "another file")
        os.unlink(os.path.join(d.store, "run", "x.sock"))
        early.close()
        d.stop()
        expect(not os.path.exists(path), "the socket stays")
        d.tool("who", ok=(69,))
        d.start()
