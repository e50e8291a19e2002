"""servers.py - the four servers of the comparison, each in a directory of its own, on loopback, without privileges

All four run at once; the rows take turns with them. Passwords: Dovecot compares plain text, Cyrus plain text from sasldb,
mailshelf remembers a verified login (a keyed hash in memory), so no row is about password hashes.
"""
import contextlib
import glob
import os
import shutil
import signal
import socket
import subprocess
import time

import accounting
from client import RowFailed, Session

HERE = os.path.dirname(os.path.abspath(__file__))
PASSWORD = "secret"
PORTS = ("imap", "imaps", "pop3", "lmtp")
START_S = 60


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def call(argv, timeout=120, **more):
    if "input" not in more:
        more["stdin"] = subprocess.DEVNULL
    try:
        done = subprocess.run(argv, capture_output=True, timeout=timeout, **more)
    except subprocess.TimeoutExpired:
        raise RowFailed("%s took more than %d s" % (os.path.basename(argv[0]), timeout))
    if done.returncode != 0:
        raise RowFailed("%s ended with %d: %s" % (" ".join(map(str, argv[:8])), done.returncode,
            (done.stdout + done.stderr).decode(errors="replace")[-300:]))
    return done.stdout.decode(errors="replace")


class Server:
    def __init__(self, bench):
        self.bench = bench
        self.dir = os.path.join(bench.dir, self.name)
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        self.own()
        self.users, self.process, self.group = set(), None, accounting.Group(self.name)
        self.port = {}
        self.environment = dict(os.environ)
        self.prepare()

    def own(self):
        """All below DIR belongs to the user that the server runs as."""
        if self.bench.user:
            call(["chown", "-R", self.bench.user + ":" + self.bench.user_group, self.dir])

    def template(self, name, path, **more):
        with open(os.path.join(HERE, name)) as f:
            text = f.read()
        values = dict(DIR=self.dir, USER=self.bench.user or self.bench.me, GROUP=self.bench.user_group, CERT=self.bench.cert,
            KEY=self.bench.private_key, PASSWORD=PASSWORD, **{p.upper(): str(self.port[p]) for p in PORTS}, **more)
        for key, value in values.items():
            text = text.replace("@%s@" % key, value)
        with open(path, "w") as f:
            f.write(text)

    def drop(self, *more):
        """What goes in front of a command that runs as the server's user."""
        user = ("--reuid", self.bench.user, "--regid", self.bench.user_group, "--clear-groups") if self.bench.user else ()
        return ["setpriv", *user, *more] if user or more else []

    def start(self):
        """Until it has answered; how long that took in ms."""
        for port in PORTS:
            self.port.setdefault(port, free_port())
        argv = self.command()
        begin = time.monotonic()
        with open(os.path.join(self.dir, "output"), "ab") as log:
            self.process = subprocess.Popen(self.drop("--pdeathsig", "TERM") + argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=self.group.enter, env=self.environment, cwd=self.dir, start_new_session=True)
        self.group.root = self.process.pid
        while time.monotonic() - begin < START_S:
            try:
                with socket.create_connection(("127.0.0.1", self.port["imap"]), timeout=START_S) as s:
                    if s.recv(100).startswith(b"* OK"):
                        return (time.monotonic() - begin) * 1e3
            except OSError:
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.002)
        raise RowFailed("does not start: " + self.output())

    def output(self):
        with open(os.path.join(self.dir, "output"), errors="replace") as f:
            return f.read()[-300:]

    def stop(self):
        if self.process is None:
            return
        family = self.group.pids()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
        for how in (None, signal.SIGTERM, signal.SIGKILL):  # children that outlive it: Cyrus' idled does
            family = [p for p in family if self.of_ours(p)]
            for pid in family if how else ():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, how)
            end = time.monotonic() + 5
            while any(self.of_ours(p) for p in family) and time.monotonic() < end:
                time.sleep(0.02)

    def of_ours(self, pid):
        """Still the process that we know: it has our directory on its command line, or is in our group."""
        if self.group.path:
            return pid in self.group.pids()
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as f:
                return self.dir.encode() in f.read()
        except OSError:
            return False

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def session(self, user=None, tls=False, protocol="imap"):
        """A connection, logged in as USER."""
        s = Session(self.bench.load, self.bench.limit)
        try:
            s.open(protocol, self.port["imaps" if tls else protocol], tls)
            if user and protocol == "imap":
                s.imap("LOGIN %s %s" % (user, PASSWORD))
        except BaseException:
            s.close()
            raise
        return s

    def need_users(self, names):
        new = [n for n in names if n not in self.users]
        if new:
            self.add_users(new)
            self.users.update(new)

    def timed_import(self, user, maildir, limit):
        """Seconds."""
        begin = time.monotonic()
        self.import_mail(user, maildir, limit)
        return time.monotonic() - begin

    def disk_bytes(self):
        """Blocks of everything that is the store: mail, index, caches, free pages."""
        call(["sync"])
        total = 0
        for path in self.stores():
            total += int(call(["du", "-s", "-B1", path]).split()[0])
        return total


class Mailshelf(Server):
    name, title = "mailshelf", "mailshelf"

    def prepare(self):
        self.store = os.path.join(self.dir, "store")
        self.tool("init")

    def tool(self, *argv, **more):
        return call(self.drop() + [os.path.join(self.bench.bin, "mailshelf"), "-s", self.store, *argv], **more)

    def command(self):
        argv = [os.path.join(self.bench.bin, "mailshelfd"), "-s", self.store, "--tls-cert", self.bench.cert,
            "--tls-key", self.bench.private_key, "--conns-max", "30000", "--conns-per-account-max", "0"]
        for port in PORTS:
            argv += ["--" + port, "127.0.0.1:%d" % self.port[port]]
        return argv

    def add_users(self, names):
        self.tool("account", "add", "--batch", input="".join("%s %s -\n" % (n, PASSWORD) for n in names).encode())

    def import_mail(self, user, maildir, limit):
        self.tool("import", user, maildir, "--format", "maildir", timeout=limit)

    def stores(self):
        return [self.store]

    def version(self):
        return self.tool("version").strip()


class Dovecot(Server):
    settings = ""

    def prepare(self):
        for port in PORTS:
            self.port[port] = free_port()
        self.conf = os.path.join(self.dir, "dovecot.conf")
        os.mkdir(os.path.join(self.dir, "mail"))
        self.template("dovecot.conf.in", self.conf, LOCATION=self.location, SETTINGS=self.settings)
        self.own()

    def command(self):
        return ["/usr/sbin/dovecot", "-F", "-c", self.conf]

    def add_users(self, names):
        pass

    def import_mail(self, user, maildir, limit):
        call(self.drop() + ["/usr/bin/doveadm", "-c", self.conf, "import", "-s", "-u", user, "maildir:" + maildir, "", "all"],
            timeout=limit)

    def stores(self):
        return [os.path.join(self.dir, "mail")]

    def version(self):
        return call(["/usr/sbin/dovecot", "--version"]).split()[0]


class Mdbox(Dovecot):
    name, title = "mdbox", "Dovecot mdbox+zstd"
    location = "mdbox:~/mdbox"
    settings = "mail_plugins = $mail_plugins zlib\nplugin {\n  zlib_save = zstd\n}"


class Maildir(Dovecot):
    name, title = "maildir", "Dovecot Maildir"
    location = "maildir:~/Maildir"


class Cyrus(Server):
    name, title = "cyrus", "Cyrus"

    def prepare(self):
        for port in PORTS:
            self.port[port] = free_port()
        root = os.path.join(self.bench.packages, "cyrus")
        self.programs = os.path.join(root, "usr/lib/cyrus/bin")
        self.environment["LD_LIBRARY_PATH"] = ":".join(glob.glob(os.path.join(root, "usr/lib/*-linux-gnu")))
        self.environment["CYRUS_USER"] = self.bench.user or self.bench.me
        for path in ("spool", "sieve", "conf", *("conf/" + d for d in ("db", "lock", "log", "msg", "proc", "ptclient", "socket"))):
            os.mkdir(os.path.join(self.dir, path))
        self.conf = os.path.join(self.dir, "imapd.conf")
        self.template("imapd.conf.in", self.conf)
        self.template("cyrus.conf.in", os.path.join(self.dir, "cyrus.conf"), BIN=self.programs, CONF=self.conf)
        self.password("admin")
        self.own()

    def password(self, user):
        call(["saslpasswd2", "-p", "-c", "-f", os.path.join(self.dir, "sasldb2"), user], input=PASSWORD.encode())

    def command(self):
        return [os.path.join(self.programs, "master"), "-C", self.conf, "-M", os.path.join(self.dir, "cyrus.conf"),
            "-p", os.path.join(self.dir, "pid"), "-D"]

    def add_users(self, names):
        for name in names:
            self.password(name)
        with self.session("admin") as s:
            for name in names:
                s.imap("CREATE user/%s" % name)

    def import_mail(self, user, maildir, limit):
        """Files into the spool, then an index over them: as Cyrus' documentation tells to migrate."""
        path = call(self.drop() + [os.path.join(self.programs, "mbpath"), "-C", self.conf, "user/" + user], env=self.environment).strip()
        call(self.drop() + ["cp", "-r", os.path.join(os.path.dirname(maildir), "numbered") + "/.", path], timeout=limit)
        call(self.drop() + [os.path.join(self.programs, "reconstruct"), "-C", self.conf, "user/" + user], env=self.environment, timeout=limit)

    def stores(self):
        return [os.path.join(self.dir, "spool"), os.path.join(self.dir, "conf")]

    def version(self):
        with self.session() as s:
            return s.imap("ID NIL")["head"].split('"version" "')[1].split('"')[0]


ALL = (Mailshelf, Mdbox, Maildir, Cyrus)
