"""daemon.py - a real mailshelfd on loopback with a store of its own, for one test

    with Daemon(accounts=[("joe", "secret")]) as d:
        d.port["imap"], d.port["imaps"], ...; d.tool("deliver", "joe", input=b"...")

Leaving the block stops the daemon with SIGTERM and fails the test unless it ends with 0, wrote no
sanitizer report, and `mailshelf check` finds nothing.
"""
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.abspath(os.environ.get("BIN", os.path.join(ROOT, "build/asan")))
DOORS = ("imap", "imaps", "pop3", "pop3s", "lmtp")
# Sanitized programs on a busy machine start slowly.
START_S = 60
STOP_S = 30


class Failed(Exception):
    """A test that did not hold; the text says why."""


class Skipped(Exception):
    """A program this test needs is not installed."""


def need(program):
    path = shutil.which(program)
    if path is None:
        raise Skipped(program + " is not installed")
    return path


def expect(condition, why):
    if not condition:
        raise Failed(why)


def run(argv, timeout=120, ok=(0,), **more):
    """Runs a program, returns its result; Failed when its status is not one of OK (None: any)."""
    if "input" not in more and "stdin" not in more:
        more["stdin"] = subprocess.DEVNULL
    try:
        done = subprocess.run(argv, capture_output=True, timeout=timeout, **more)
    except subprocess.TimeoutExpired as late:
        raise Failed("%s took more than %d s: %r" % (argv[0], timeout, (late.stderr or b"")[-500:]))
    if ok is not None and done.returncode not in ok:
        raise Failed("%s ended with %d: %s %s" % (" ".join(map(str, argv[:6])), done.returncode,
            done.stdout[-500:].decode("utf-8", "replace"),
            done.stderr[-1500:].decode("utf-8", "replace")))
    return done


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def make_certificate(directory, name="localhost"):
    cert, key = os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem")
    run([need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-days", "2", "-subj", "/CN=" + name, "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert])
    return cert, key


class Daemon:
    def __init__(self, accounts=(("joe", "secret"),), settings=(), doors=DOORS):
        """ACCOUNTS: (name, password[, quota]); SETTINGS: more arguments of mailshelfd."""
        self.accounts = accounts
        self.settings = list(settings)
        self.doors = doors
        self.dir = tempfile.mkdtemp(prefix="mailshelf-client-")
        self.store = os.path.join(self.dir, "store")
        self.process = None
        self.log_path = os.path.join(self.dir, "log")
        self.port = {}

    # ---- life ----

    def __enter__(self):
        try:
            self.cert, self.key = make_certificate(self.dir)
            self.tool("init", "--partitions", "1", "--map-size", "8G")
            for account in self.accounts:
                quota = ["--quota", account[2]] if len(account) > 2 else []
                self.tool("account", "add", account[0], *quota, "--password-stdin",
                    input=account[1].encode() + b"\n")
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.stop()
                self.check()
            elif self.process is not None:
                self.process.kill()
                self.process.wait()
                tail = self.log()
                if kind is not Skipped and ("ERROR: " in tail or os.environ.get("VERBOSE")):
                    print(tail[-5000:])
        finally:
            self.remove()

    def remove(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def arguments(self):
        argv = [os.path.join(BIN, "mailshelfd"), "-s", self.store, "--tls-cert", self.cert,
            "--tls-key", self.key]
        for door in self.doors:
            self.port[door] = free_port()
            argv += ["--" + door, "127.0.0.1:%d" % self.port[door]]
        return argv + self.settings

    def start(self):
        for attempt in range(5):
            # A port may be taken between looking and listening: try others then.
            status = self.start_once()
            if status is None:
                return
            if "in use" not in self.log():
                break
        raise Failed("mailshelfd ended with %s: %s" % (status, self.log()[-2000:]))

    def start_once(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.arguments(), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=log)
        os.set_blocking(self.process.stdout.fileno(), False)
        said, end = b"", time.monotonic() + START_S
        while time.monotonic() < end:
            said += self.process.stdout.read() or b""
            if b"ready\n" in said:
                return None
            if self.process.poll() is not None:
                return self.process.returncode
            time.sleep(0.01)
        raise Failed("mailshelfd did not say ready within %d s" % START_S)

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        try:
            status = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failed("mailshelfd did not stop within %d s" % STOP_S)
        self.process.stdout.close()
        log = self.log()
        self.process = None
        expect(status == 0, "mailshelfd ended with %d: %s" % (status, log[-3000:]))
        expect("Sanitizer" not in log and "runtime error" not in log, log[-3000:])

    def check(self):
        """The store is whole and its counters are true."""
        self.tool("check")
        self.tool("quota", "check")

    # ---- asking ----

    def tool(self, *argv, **more):
        return run([os.path.join(BIN, "mailshelf"), "-s", self.store, *argv], **more)

    def deliver(self, account, message):
        self.tool("deliver", account, input=message)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def connect(self, door):
        sock = socket.create_connection(("127.0.0.1", self.port[door]), timeout=60)
        return self.wrap(sock) if door in ("imaps", "pop3s") else sock

    def wrap(self, sock):
        return self.tls().wrap_socket(sock, server_hostname="localhost")

    def tls(self):
        """Trusts this daemon's certificate and nothing else."""
        return ssl.create_default_context(cafile=self.cert)


def message(n, size=200, subject="message", crlf=True):
    """A small message that differs from every other one."""
    lines = ["From: Ann Example <ann@example.org>", "To: joe@example.org",
        "Subject: %s %d" % (subject, n), "Date: Sat, 21 Nov 2026 10:%02d:%02d +0100"
        % (n // 60 % 60, n % 60), "Message-ID: <%s-%d@example.org>" % (subject, n),
        "MIME-Version: 1.0", "Content-Type: text/plain; charset=us-ascii", ""]
    body = "line %d of the text\n.a line that begins with a dot\n" % n
    lines += (body * (1 + size // len(body))).splitlines()
    return ("\r\n" if crlf else "\n").join(lines + [""]).encode()
