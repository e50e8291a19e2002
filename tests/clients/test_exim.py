"""test_exim.py - Debian's Exim in front, as docs/exim.md says: over LMTP, and with the delivery program"""
import glob
import os
import re
import shutil
import smtplib
import subprocess
import tempfile
import time

from daemon import BIN, Failed, Skipped, expect, free_port, message
from test_postfix import count, with_door

USERS = "root:x:0:0:root:/root:/bin/sh\nmail:x:8:8::/:/bin/false\nDebian-exim:x:65533:65533::/:/bin/false\n"
GROUPS = "root:x:0:\nmail:x:8:\nDebian-exim:x:65533:\n"

CONFIG = """exim_path = %(exim)s
keep_environment = LD_PRELOAD : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP : ASAN_OPTIONS
spool_directory = %(dir)s/spool
log_file_path = %(dir)s/%%slog
pid_file_path = %(dir)s/pid
primary_hostname = mx.example.net
local_interfaces = 127.0.0.1
daemon_smtp_ports = %(port)d
tls_advertise_hosts =
host_lookup =
rfc1413_hosts =
acl_smtp_rcpt = rcpt
never_users =
queue_only = true
exim_user = %(user)s
exim_group = %(user)s
%(main)s
begin acl
rcpt:
%(acl)s
  accept domains = +ours
  deny message = relay not permitted
begin routers
%(routers)s
begin transports
%(transports)s
%(pipe)s
begin retry
* * F,1h,2s
"""


def unpacked(directory):
    """The programs of Debian's packages, without installing them beside Postfix; and the environment they need."""
    got = subprocess.run(["apt-get", "download", "-q", "exim4-daemon-light", "libnss-wrapper"], cwd=directory,
        capture_output=True, timeout=120)
    packages = glob.glob(directory + "/*.deb")
    if got.returncode != 0 or len(packages) != 2:
        raise Skipped("Exim's package cannot be had")
    for package in packages:
        subprocess.run(["dpkg", "-x", package, directory + "/root"], check=True)
    with open(directory + "/passwd", "w") as f:
        f.write(USERS)
    with open(directory + "/group", "w") as f:
        f.write(GROUPS)
    wrapper = glob.glob(directory + "/root/usr/lib/*/libnss_wrapper.so")[0]
    return directory + "/root/usr/sbin/exim4", {"LD_PRELOAD": wrapper, "NSS_WRAPPER_PASSWD": directory + "/passwd",
        "NSS_WRAPPER_GROUP": directory + "/group"}


def documented(d):
    """The parts of docs/exim.md: main, acl, routers, transports, pipe; with this daemon's ports."""
    path = os.path.join(os.path.dirname(__file__), "../../docs/exim.md")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    lines = text.split("```exim\n")[1].split("```")[0]
    pipe = text.split("```exim-pipe\n")[1].split("```")[0]
    expect("port = 24\n" in lines and "2525" in lines and "/usr/bin/mailshelf -s /srv/mail" in pipe,
        "docs/exim.md is another")
    lines = lines.replace("127.0.0.1:2525", "127.0.0.1:%d" % d.port["mta"]).replace("port = 24\n",
        "port = %d\n" % d.port["lmtp"])
    pipe = pipe.replace("/usr/bin/mailshelf -s /srv/mail", "%s/mailshelf -s %s" % (d.dir, d.store))
    pipe = pipe.replace("/etc/mailshelfd.conf", d.dir + "/conf").replace("user = mailshelf", "user = Debian-exim")
    parts = re.split(r"^# (?:main part|in the ACL.*|routers|transports)\n", lines, flags=re.M)
    return dict(zip(("main", "acl", "routers", "transports"), parts[1:]), pipe=pipe)


class Exim:
    def __init__(self, d, transport):
        if os.geteuid() != 0:
            raise Skipped("Exim needs root")
        self.dir, self.port = tempfile.mkdtemp(prefix="mailshelf-exim-", dir="/tmp"), free_port()
        self.env = dict(os.environ)
        os.chmod(self.dir, 0o777)
        exim = shutil.which("exim4")
        try:
            if exim is None:
                exim, more = unpacked(self.dir)
                self.env.update(more)
            if b"Exim version" not in subprocess.run([exim, "-bV"], env=self.env, capture_output=True).stdout:
                raise Skipped("Exim does not run here")
            with open(d.dir + "/conf", "w") as f:
                f.write("local_domains = example.org\n")
            # The program is started as another user than this one, who may not get to where it was built.
            os.chmod(d.dir, 0o755)
            shutil.copy(os.path.join(BIN, "mailshelf"), d.dir)
            subprocess.run(["chown", "-R", "65533:65533", d.store, d.dir + "/conf"], check=True)
            parts = documented(d)
            parts["routers"] = parts["routers"].replace("mailshelf_lmtp", transport)
            os.mkdir(self.dir + "/spool", 0o777)
            os.chmod(self.dir + "/spool", 0o777)
            with open(self.dir + "/conf", "w") as f:
                f.write(CONFIG % {"exim": exim, "dir": self.dir, "port": self.port, "user": "Debian-exim", **parts})
        except BaseException:
            shutil.rmtree(self.dir)
            raise
        self.command = [exim, "-C", self.dir + "/conf"]

    def run(self, *args):
        return subprocess.run(self.command + list(args), env=self.env, capture_output=True, text=True, timeout=60)

    def __enter__(self):
        self.process = subprocess.Popen(self.command + ["-bdf"], env=self.env, stderr=subprocess.PIPE)
        for _ in range(300):
            try:
                smtplib.SMTP("127.0.0.1", self.port, timeout=60).quit()
                return self
            except OSError:
                time.sleep(0.1)
        self.process.kill()
        why = self.process.stderr.read()
        shutil.rmtree(self.dir, ignore_errors=True)
        raise Failed("Exim does not answer: %r" % why)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)
        self.process.stderr.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self):
        text = ""
        for path in glob.glob(self.dir + "/*log"):
            with open(path, errors="replace") as f:
                text += f.read()
        return text

    def wait_queue(self, n, seconds=120):
        """Queue runs by root: the unpacked programs work for nobody else."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.run("-qff")
            if self.run("-bpc").stdout.strip() == str(n):
                return
            time.sleep(0.5)
        raise Failed("%s in the queue: %s" % (self.run("-bp").stdout, self.log()[-3000:]))


def in_front(transport):
    names = ["user%d" % n for n in range(4)]
    with with_door([(n, "secret") for n in names] + [("full", "secret", "100"), ("later", "secret", "100"),
            ("sender", "secret")]) as d, Exim(d, transport) as exim:
        d.tool("policy", "set", "later", "over_quota", "defer")
        d.tool("alias", "set", "sales@example.org", "user0", "user1")
        s = smtplib.SMTP("127.0.0.1", exim.port, timeout=60)
        for to, code in (("nobody@example.org", 550), ("joe@elsewhere.example", 550)):
            try:
                s.sendmail("sender@example.org", [to], message(1))
                raise Failed(to + " was taken")
            except smtplib.SMTPRecipientsRefused as e:
                expect(e.recipients[to][0] == code, e.recipients)
        for n in range(20):
            to = ["user%d@example.org" % (n % 4), "USER%d+x@Example.org" % ((n + 1) % 4)]
            s.sendmail("sender@example.org", to, message(n))
        s.sendmail("sender@example.org", ["sales@example.org"], message(100))
        exim.wait_queue(0)
        for name, n in zip(names, (11, 11, 10, 10)):
            expect(count(d, name) == n, "%s has %d: %s" % (name, count(d, name), exim.log()[-3000:]))
        expect(count(d, "sender") == 0, "something bounced: " + exim.log()[-3000:])
        # Full: for good, which is given up, or for now, which stays in the queue until there is room. (The bounce is a
        # child process of the mail's own user, for whom unpacked programs do not work: the log tells as much.)
        s.sendmail("sender@example.org", ["full@example.org", "later@example.org"], message(101))
        exim.wait_queue(1)
        log = exim.log()
        expect("** full@example.org" in log and "== later@example.org" in log and "** later" not in log, log[-3000:])
        d.tool("quota", "set", "later", "none")
        s.quit()
        exim.run("-qff")
        expect(count(d, "later") == 1 and count(d, "full") == 0, exim.log()[-3000:])


def test_exim_with_lmtp():
    in_front("mailshelf_lmtp")


def test_exim_with_the_program():
    in_front("mailshelf_pipe")
