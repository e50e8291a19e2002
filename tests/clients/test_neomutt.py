"""test_neomutt.py - neomutt in a terminal: list, open, flag, search, move, delete, mail that comes meanwhile"""
import os

from daemon import Daemon, expect, message, need
from terminal import Terminal
from wire import Imap

CONFIG = """set folder="imaps://joe@localhost:%(port)d/"
set spoolfile="+INBOX"
set imap_pass="secret"
set certificate_file="%(cert)s"
set ssl_force_tls=yes
set imap_condstore=%(sync)s
set imap_qresync=%(sync)s
set imap_check_subscribed=no
set header_cache="%(home)s/cache"
set timeout=1
set mail_check=1
set imap_idle=yes
set confirmappend=no
set delete=yes
set quit=yes
set move=no
set mark_old=no
set sort=mailbox-order
"""


def play(sync):
    with Daemon() as d:
        home = d.dir
        with open(os.path.join(home, "muttrc"), "w") as f:
            f.write(CONFIG % {"home": home, "port": d.port["imaps"], "cert": d.cert, "sync": sync})
        os.mkdir(os.path.join(home, "cache"))
        for n in range(8):
            d.deliver("joe", message(n))
        m = Imap(d.connect("imap"), "joe", "secret")
        m.ok("CREATE Work")
        program = [need("neomutt"), "-n", "-F", os.path.join(home, "muttrc")]
        with Terminal(home, program, {"HOME": home}) as t:
            t.sees("message 7")
            t.keys("'=", "Enter")
            t.sees("line 0 of the text")       # the first message, its body
            t.keys("'i", "'=", "'jj", "'F")    # the third one is flagged
            t.keys("'=", "'jjj", "'d")         # the fourth goes
            t.keys("'=", "'jjj", "'s", "C-u", "'=Work", "Enter")  # the fifth
            t.sees("message 5")
            t.keys("'$")
            d.deliver("joe", message(50))      # comes while it waits
            t.sees("message 50")
            t.keys("'l", "'~s \"message 6\"", "Enter")
            t.sees("message 6")
            expect("message 7" not in t.screen(), "limit shows others")
            t.keys("'l", "'all", "Enter")
            t.sees("message 7")
            t.keys("'c", "C-u", "'=Work", "Enter")
            t.sees("Work [Msgs:1")
            t.sees("message 4")
            expect("message 7" not in t.screen(), "Work shows what is in INBOX")
            t.keys("'q")
            t.ended()
        m.ok("EXAMINE INBOX")
        for key, want in (("FLAGGED", b"3"), ("SEEN", b"1"), ("SUBJECT \"message 3\"", b""),
                ("SUBJECT \"message 4\"", b"")):
            found = b" ".join(m.ok("SEARCH " + key)[0][0].split()[2:])
            expect(found == want, "%s: %r" % (key, found))
        m.ok("EXAMINE Work")
        expect(m.ok('SEARCH SUBJECT "message 4"')[0][0] == b"* SEARCH 1", "it is not in Work")
        again = [need("neomutt"), "-n", "-F", os.path.join(home, "muttrc")]
        d.deliver("joe", message(60))
        m.ok("SELECT INBOX")
        m.ok("STORE 1 +FLAGS (\\Deleted)")
        m.ok("EXPUNGE")
        with Terminal(home, again, {"HOME": home}) as t:  # with what it kept
            t.sees("message 60")
            expect("message 0" not in t.screen(), "a removed message is still shown")
            t.keys("'q")
            t.ended()


def test_with_qresync():
    play("yes")


def test_without():
    play("no")
