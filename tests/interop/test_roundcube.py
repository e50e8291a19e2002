"""test_roundcube.py - Roundcube in a headless browser: list, open, move, search, delete, the quota's bar

SHOTS=directory keeps pictures of its pages, to be looked at.
"""
import os
import sqlite3
import subprocess
import tempfile
import shutil

from browser import Browser
from daemon import Daemon, Skipped, expect, free_port, message, need
from wire import Imap

HOME = "/var/lib/roundcube"  # as Debian installs it
CONFIG = """<?php
$config = [
    'db_dsnw' => 'sqlite:///%(dir)s/db?mode=0600',
    'imap_host' => 'ssl://localhost:%(port)d',
    'imap_conn_options' => ['ssl' => ['cafile' => '%(dir)s/cert.pem', 'verify_peer' => true]],
    'imap_cache' => 'db', 'messages_cache' => 'db',
    'des_key' => 'twentyfourletterslongkey', 'plugins' => [], 'skin' => 'elastic', 'language' => 'en_US',
    'temp_dir' => '%(dir)s/temp', 'log_dir' => '%(dir)s/logs', 'imap_debug' => true,
    'create_default_folders' => true, 'refresh_interval' => 60, 'quota_zero_as_unlimited' => true,
    'trash_mbox' => 'Trash', 'drafts_mbox' => 'Drafts', 'sent_mbox' => 'Sent', 'junk_mbox' => 'Junk',
];
"""


class Webmail:
    """PHP's own server with Roundcube in it, not as root."""

    def __init__(self, d):
        if not os.path.exists(HOME + "/index.php"):
            raise Skipped("roundcube-core is not installed")
        self.dir, self.port = tempfile.mkdtemp(prefix="mailshelf-roundcube-"), free_port()
        for name in ("temp", "logs", "config"):
            os.mkdir(os.path.join(self.dir, name))
        for name in ("defaults.inc.php", "mimetypes.php"):
            os.symlink(os.path.join("/etc/roundcube", name), os.path.join(self.dir, "config", name))
        shutil.copy(d.cert, self.dir)
        with open(self.dir + "/config/config.inc.php", "w") as f:
            f.write(CONFIG % {"dir": self.dir, "port": d.port["imaps"]})
        with open("/usr/share/roundcube/SQL/sqlite.initial.sql") as f:
            sqlite3.connect(self.dir + "/db").executescript(f.read())
        self.url = "http://127.0.0.1:%d/" % self.port

    def __enter__(self):
        more = {}
        if os.getuid() == 0:
            more = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            for top, dirs, files in os.walk(self.dir):
                for name in ["."] + files:
                    shutil.chown(os.path.join(top, name), "nobody", "nogroup")
        self.php = subprocess.Popen([need("php"), "-S", "127.0.0.1:%d" % self.port, "-t", HOME],
            env=dict(os.environ, ROUNDCUBE_CONFIG_DIR=self.dir + "/config", PHP_CLI_SERVER_WORKERS="4"),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, **more)
        return self

    def __exit__(self, kind, value, trace):
        os.killpg(self.php.pid, 15)
        self.php.wait()
        if kind is not None:
            for name in os.listdir(self.dir + "/logs"):
                with open(os.path.join(self.dir, "logs", name), errors="replace") as f:
                    print("--", name, f.read()[-3000:])
        shutil.rmtree(self.dir, ignore_errors=True)


def rows(subject):
    return "[...document.querySelectorAll('#messagelist tbody tr')].filter(r => r.offsetParent && r.textContent.includes('%s'))" % subject


class Pages:
    def __init__(self, browser, webmail):
        self.b, self.url, self.shots, self.count = browser, webmail.url, os.environ.get("SHOTS"), 0

    def shot(self, name):
        self.count += 1
        if self.shots:
            self.b.shot(os.path.join(self.shots, "roundcube-%d-%s.png" % (self.count, name)))

    def login(self):
        self.b.open(self.url)
        self.b.type("#rcmloginuser", "joe")
        self.b.type("#rcmloginpwd", "secret")
        self.b.click("#rcmloginsubmit")
        self.b.sees(rows("message 39") + ".length == 1", "the newest message")
        self.shot("list")

    def quota(self):
        text = self.b.sees("document.querySelector('#quotadisplay').textContent", "the quota")
        expect("%" in text, "the quota's bar says %r" % text)

    def open_message(self):
        self.b.js("let r = %s[0]; rcmail.message_list.select(r.uid || r.id.slice(6));" % rows("message 38"))
        self.b.js("rcmail.show_message(rcmail.message_list.get_single_selection(), false, true)")
        self.b.frame("#messagecontframe")
        self.b.sees("document.body && document.body.textContent.includes('line 38 of the text')", "the text")
        self.b.frame()
        self.shot("open")

    def select(self, subject):
        self.b.js("rcmail.message_list.select(%s[0].uid)" % rows(subject))

    def move(self, m):
        self.select("message 37")
        self.b.js("rcmail.command('move', 'Work')")
        self.b.sees(rows("message 37") + ".length == 0", "that it is moved")
        # The page takes it away before the server has answered.
        self.b.wait(lambda: b"MESSAGES 1" in m.ok("STATUS Work (MESSAGES)")[0][0], "a message in Work")
        self.open_box("Work")
        self.b.sees(rows("message 37") + ".length == 1", "it in Work")
        self.shot("moved")

    def open_box(self, box):
        self.b.js("rcmail.command('list', arguments[0])", box)
        self.b.sees("rcmail.env.mailbox == '%s' && !rcmail.busy" % box, box)

    def search(self):
        self.open_box("INBOX")
        self.b.sees(rows("message 39") + ".length == 1", "INBOX")
        self.b.type("#mailsearchform", "message 12")
        self.b.js("rcmail.command('search')")
        self.b.sees("document.querySelectorAll('#messagelist tbody tr').length == 1 && " + rows("message 12") +
            ".length == 1", "the one that was searched for")
        self.shot("found")
        self.b.js("rcmail.command('reset-search')")
        self.b.sees(rows("message 39") + ".length == 1", "all again")

    def flag_and_delete(self):
        self.select("message 36")
        self.b.js("rcmail.command('mark', 'flagged')")
        self.b.sees(rows("message 36") + "[0].className.includes('flagged')", "the flag")
        self.select("message 35")
        self.b.js("rcmail.command('delete')")
        self.b.sees(rows("message 35") + ".length == 0", "that it is deleted")

    def sort(self):
        self.b.js("rcmail.command('sort', 'subject_ASC')")
        self.b.sees("document.querySelector('#messagelist tbody tr').textContent.includes('message 0')", "its order")
        self.shot("sorted")

    def arrives(self, d):
        d.deliver("joe", message(99))
        self.b.js("rcmail.command('checkmail')")
        self.b.sees(rows("message 99") + ".length == 1", "what came in")


def test_session():
    with Daemon(accounts=[("joe", "secret", "1M")], settings=["--login-fail-delay-ms", "0"]) as d:
        for n in range(40):
            d.deliver("joe", message(n, size=5000))
        m = Imap(d.connect("imap"), "joe", "secret")
        m.ok("CREATE Work")
        m.ok("SUBSCRIBE Work")
        with Webmail(d) as webmail, Browser() as browser:
            pages = Pages(browser, webmail)
            pages.login()
            pages.quota()
            pages.open_message()
            pages.move(m)
            pages.search()
            pages.flag_and_delete()
            pages.sort()
            pages.arrives(d)
            pages.shot("end")
        m.ok("EXAMINE INBOX")
        for key, want in (("FLAGGED", 1), ('SEEN SUBJECT "message 38"', 1), ('SUBJECT "message 37"', 0), ('SUBJECT "message 35"', 0)):
            found = m.ok("SEARCH " + key)[0][0].split()[2:]
            expect(len(found) == want, "%s: %r" % (key, found))
        m.ok("EXAMINE Trash")
        expect(m.ok('SEARCH SUBJECT "message 35"')[0][0] == b"* SEARCH 1", "it is not in Trash")
