"""test_pop3_clients.py - mpop and getmail leave mail on the server for two computers; unique-ids of an old server"""
import os
import re

from daemon import Daemon, expect, message, need, run
from wire import Pop


def mpop(d, computer, extra=""):
    """A computer that keeps mail on the server: how many messages its mailbox has now."""
    home = os.path.join(d.dir, computer)
    os.makedirs(home, exist_ok=True)
    rc, box = os.path.join(home, "mpoprc"), os.path.join(home, "box")
    with open(rc, "w") as f:
        f.write("account default\nhost localhost\nport %d\nuser joe\npassword secret\nauth user\ntls on\n"
            "tls_starttls on\ntls_trust_file %s\nkeep on\nuidls_file %s/uidls\ndelivery mbox %s\n%s" %
            (d.port["pop3"], d.cert, home, box, extra))
    os.chmod(rc, 0o600)
    run([need("mpop"), "-C", rc], env=dict(os.environ, HOME=home))
    return count(box)


def getmail(d, computer, delete="false"):
    home = os.path.join(d.dir, computer)
    os.makedirs(home, exist_ok=True)
    rc, box = os.path.join(home, "getmailrc"), os.path.join(home, "box")
    open(box, "a").close()
    with open(rc, "w") as f:
        f.write("[retriever]\ntype = SimplePOP3SSLRetriever\nserver = localhost\nport = %d\nusername = joe\n"
            "password = secret\nca_certs = %s\n[destination]\ntype = MDA_external\npath = /bin/sh\n"
            "arguments = ('-c', '(echo From x; cat) >> %s')\nallow_root_commands = true\n"
            "[options]\nread_all = false\ndelete = %s\nverbose = 1\n" % (d.port["pop3s"], d.cert, box, delete))
    os.chmod(rc, 0o600)
    run([need("getmail"), "--getmaildir", home, "--rcfile", rc], env=dict(os.environ, HOME=home))
    return count(box)


def count(box):
    with open(box, "rb") as f:
        return len(re.findall(rb"(?m)^From ", f.read()))


def two_computers(fetch):
    with Daemon() as d:
        for n in range(4):
            d.deliver("joe", message(n))
        expect(fetch(d, "desk") == 4, "the first computer did not get four")
        expect(fetch(d, "desk") == 4, "the first computer took something twice")
        d.deliver("joe", message(4))
        expect(fetch(d, "lap") == 5, "the second computer did not get all five")
        expect(fetch(d, "desk") == 5, "the first computer did not get the new one alone")
        expect(fetch(d, "lap") == 5, "the second computer took something twice")
        m = Pop(d.connect("pop3"), "joe", "secret")
        expect(m.ok("STAT").split()[1] == b"5", "they did not stay: %r" % m.ok("STAT"))
        m.ok("QUIT")


def test_mpop_for_two_computers():
    need("mpop")
    two_computers(mpop)


def test_getmail_for_two_computers():
    need("getmail")
    two_computers(getmail)


def test_getmail_deletes():
    need("getmail")
    with Daemon() as d:
        d.tool("policy", "set", "joe", "pop3_delete", "hide")
        for n in range(3):
            d.deliver("joe", message(n))
        expect(getmail(d, "desk", "true") == 3, "getmail did not get three")
        m = Pop(d.connect("pop3"), "joe", "secret")
        expect(m.ok("STAT").split()[1] == b"0", "what getmail deleted is still shown")
        m.ok("QUIT")
        # A second computer asks for what is recent.
        m = Pop(d.connect("pop3"), "recent:joe", "secret")
        expect(m.ok("STAT").split()[1] == b"3", "recent: does not show it")
        m.ok("QUIT")


def test_mpop_goes_on_from_an_old_server():
    """The client knows what Dovecot called its mail; behind the import it fetches only what is new."""
    need("mpop")
    with Daemon() as d:
        md = os.path.join(d.dir, "md")
        for sub in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(md, sub))
        rows = ["3 V1275660208 N5 G3085f01b7f11094c501100008c4a11c1"]
        for n in range(4):
            with open(os.path.join(md, "cur", "%d.x.host:2,S" % (1700000000 + n)), "wb") as f:
                f.write(message(n))
            rows.append("%d :%d.x.host" % (n + 1, 1700000000 + n))
        with open(os.path.join(md, "dovecot-uidlist"), "w") as f:
            f.write("\n".join(rows) + "\n")
        d.tool("import", "joe", md, "--uidl", "dovecot")
        home = os.path.join(d.dir, "desk")
        os.makedirs(home)
        with open(os.path.join(home, "uidls"), "w") as f:
            f.write(" 4 localhost joe\n" + "".join("%08x%08x\n" % (n + 1, 1275660208) for n in range(4)))
        open(os.path.join(home, "box"), "w").close()
        expect(mpop(d, "desk") == 0, "mail that the client has was fetched again")
        d.deliver("joe", message(4))
        expect(mpop(d, "desk") == 1, "the new message did not come alone")
