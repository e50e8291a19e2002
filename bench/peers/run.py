"""run.py - mailshelf, Dovecot (mdbox + zstd, Maildir) and Cyrus in one run; docs in ../README.md

    run.py --bin build/release --dir build/peers [--sizes 10k,100k] [--rows lmtp,mailbox,...] [--rounds N]

What was measured goes into DIR/results.json at once, beside what earlier runs measured of other rows, and then into
bench/RESULTS.md with its charts. A row that a server cannot do, or not in time, is told in the table; the others go on.
"""
import argparse
import datetime
import getpass
import grp
import json
import os
import platform
import pwd
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import client  # noqa: E402
import figures  # noqa: E402
import report  # noqa: E402
import rows  # noqa: E402
import servers  # noqa: E402
from client import RowFailed  # noqa: E402

UNITS = {"": 1, "k": 1000, "m": 1000000}


def size_of(text):
    match = re.fullmatch(r"(\d+)([km]?)", text.strip().lower())
    if not match or int(match.group(1)) == 0:
        raise argparse.ArgumentTypeError("no size: %r (2k, 10k, 100k, 1m)" % text)
    return int(match.group(1)) * UNITS[match.group(2)]


def name_of(size):
    return "%dM" % (size // 1000000) if size % 1000000 == 0 else "%dk" % (size // 1000) if size % 1000 == 0 else str(size)


class Bench:
    """The run: where, with what, and what was measured so far."""

    def __init__(self, options):
        self.options = options
        self.bin, self.dir = os.path.abspath(options.bin), os.path.abspath(options.dir)
        self.packages = self.dir + "/packages"
        self.load = os.path.join(self.bin, "bench_load")
        self.limit, self.me = options.limit, getpass.getuser()
        # Mail servers run as nobody when root starts the comparison.
        self.user = "nobody" if os.getuid() == 0 else None
        self.user_group = grp.getgrgid(pwd.getpwnam(self.user or self.me).pw_gid).gr_name
        self.path = os.path.join(self.dir, "results.json")
        self.serial = int(time.time()) * 1000000
        self.servers, self.corpora = {}, {}
        self.results = {"rows": {}}
        if os.path.exists(self.path):
            with open(self.path) as f:
                self.results = json.load(f)
        self.fresh = set()
        self.until = time.monotonic() + options.total

    # ---- results ----

    def key(self, row, size=None):
        return row if size is None else "%s@%s" % (row, name_of(size))

    def cell(self, row, size, server):
        """Where samples of this run go; what earlier runs had there is forgotten at the first."""
        key = self.key(row, size)
        if key not in self.fresh:
            self.fresh.add(key)
            self.results["rows"][key] = {"date": datetime.date.today().isoformat(), "load": os.getloadavg()[0]}
        return self.results["rows"][key].setdefault(server, {"values": [], "cpu": [], "client": []})

    def sample(self, row, size, server, value, cpu_ms=None, client_ms=None):
        if row not in figures.ROWS:
            raise KeyError(row)
        cell = self.cell(row, size, server.name)
        cell["values"].append(value)
        if cpu_ms is not None:
            cell["cpu"].append(cpu_ms)
        if client_ms is not None:
            cell["client"].append(client_ms)
        self.say("  %-18s %-10s %12.4g %-12s CPU %s ms, client %s ms" % (self.key(row, size), server.name, value,
            figures.ROWS[row].unit, "-" if cpu_ms is None else "%.4g" % cpu_ms, "-" if client_ms is None else "%.4g" % client_ms))

    def compare(self, row, size, server, answer):
        """Servers must find the same number of messages: who finds others did other work."""
        numbers = answer["blanks"] - 2 - answer["text"].count(" ")
        found = self.results.setdefault("found", {}).setdefault(self.key(row, size), {})
        found[server.name] = numbers

    def note(self, row, size, server, text):
        self.cell(row, size, server.name if hasattr(server, "name") else server)["note"] = text
        self.say("  %-18s %-10s %s" % (self.key(row, size), getattr(server, "name", server), text))

    def say(self, text):
        print(text, flush=True)

    def save(self):
        with open(self.path + ".new", "w") as f:
            json.dump(self.results, f, indent=1, sort_keys=True)
        os.rename(self.path + ".new", self.path)

    # ---- mail ----

    def corpus(self, kind, count):
        """A file of COUNT messages for bench_load; its facts."""
        if (kind, count) not in self.corpora:
            path = os.path.join(self.dir, "mail-%s-%d" % (kind, count))
            source = os.path.abspath(self.options.corpus) if kind == "real" else kind
            facts = json.loads(subprocess.run([self.load, "corpus", path, str(count), "1", source], check=True,
                capture_output=True).stdout)
            os.chmod(path, 0o644)
            self.corpora[kind, count] = dict(facts, path=path)
        return self.corpora[kind, count]

    def mail_for(self, size):
        """Whole mail up to 10,000, tiny mail beyond: what reads no bodies is the same with both."""
        return self.corpus("mail" if size <= 10000 else "tiny", size)

    # ---- life ----

    def prepare(self):
        os.makedirs(self.dir, exist_ok=True)
        os.chmod(self.dir, 0o755)
        self.cert, self.private_key = os.path.join(self.dir, "cert.pem"), os.path.join(self.dir, "key.pem")
        if not os.path.exists(self.cert):
            servers.call(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                "3650", "-subj", "/CN=localhost", "-keyout", self.private_key, "-out", self.cert])
        os.chmod(self.private_key, 0o644)
        if self.user:
            probe = os.path.join(self.dir, "cert.pem")
            if subprocess.run(["setpriv", "--reuid", self.user, "--clear-groups", "--regid", self.user_group, "test", "-r",
                    probe]).returncode != 0:
                sys.exit("%s cannot reach %s: give another DIR=" % (self.user, self.dir))

    def begin(self):
        for kind in servers.ALL:
            if kind.name not in self.options.servers:
                continue
            server = None
            try:
                server = kind(self)
                server.start()
                self.servers[kind.name] = server
                self.results.setdefault("servers", {})[kind.name] = {"title": kind.title, "version": server.version()}
            except RowFailed as why:
                self.say("%s: %s" % (kind.title, why))
                self.results.setdefault("servers", {})[kind.name] = {"title": kind.title, "version": "", "note": str(why)}
                if server is not None:
                    self.servers.pop(kind.name, None)
                    self.put_away(server)

    def end(self):
        for server in self.servers.values():
            self.put_away(server)
        for corpus in self.corpora.values():
            os.remove(corpus["path"])

    def put_away(self, server):
        server.stop()
        server.group.remove()
        if not self.options.keep:
            shutil.rmtree(server.dir, ignore_errors=True)

    def turns(self, number):
        """The servers, another one first in each round."""
        names = list(self.servers)
        at = number % max(len(names), 1)
        return [self.servers[n] for n in names[at:] + names[:at]]

    def over(self):
        """The time of the whole run."""
        return time.monotonic() > self.until

    def attempt(self, server, wanted, size, function):
        """Runs FUNCTION; a failure is a note in each of the rows WANTED. Whether it went well."""
        if self.over():
            for row in wanted:  # what an earlier run measured is worth more than this
                if self.key(row, size) in self.fresh or self.key(row, size) not in self.results["rows"]:
                    self.note(row, size, server, "not run: the time of the whole run was over")
            return False
        try:
            if not server.alive():
                server.stop()
                server.start()
            function()
            return True
        except RowFailed as why:
            text = str(why)
        except Exception as broken:
            text = "%s: %s" % (type(broken).__name__, broken)
            traceback.print_exc()
        for row in wanted:
            self.note(row, size, server, text[:200])
        return False


def machine(directory):
    cpu = "unknown"
    with open("/proc/cpuinfo") as f:
        found = re.search(r"model name\s*:\s*(.*)", f.read())
        cpu = found.group(1) if found else cpu
    with open("/proc/meminfo") as f:
        memory = int(re.search(r"MemTotal:\s+(\d+)", f.read()).group(1)) // 1048576
    path, times = os.path.join(directory, "flush"), []
    with open(path, "wb") as f:
        for _ in range(200):
            start = time.monotonic()
            f.write(b"x" * 4096)
            f.flush()
            os.fdatasync(f.fileno())
            times.append((time.monotonic() - start) * 1e3)
    os.remove(path)
    kind = servers.call(["stat", "-f", "-c", "%T", directory]).strip()
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_gib": memory, "kernel": platform.release(), "file_system": kind,
        "flush_ms": sorted(times)[100]}


def options_of(argv):
    parser = argparse.ArgumentParser(prog="bench-peers")
    parser.add_argument("--bin", default="build/release")
    parser.add_argument("--dir", default="build/peers")
    parser.add_argument("--out", default="bench")
    parser.add_argument("--corpus", default=os.environ.get("MAILSHELF_CORPUS", "../shared/corpus"))
    parser.add_argument("--sizes", default="10k")
    parser.add_argument("--rows", default="all", help="groups or rows, separated by commas: " + " ".join(rows.GROUPS))
    parser.add_argument("--servers", default=",".join(figures.SERVERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--deliveries", type=int, default=1000, help="in a run of LMTP")
    parser.add_argument("--idle", default="500,2000", help="connections")
    parser.add_argument("--idle-most", type=int, default=10000, help="connections for mailshelf alone")
    parser.add_argument("--mixed", type=int, default=60, help="seconds of steady load for each server")
    parser.add_argument("--limit", type=int, default=120, help="seconds that one command may take")
    parser.add_argument("--total", type=int, default=3600, help="seconds after which no further row begins")
    parser.add_argument("--report", action="store_true", help="only write the report again")
    parser.add_argument("--keep", action="store_true", help="leave the stores")
    options = parser.parse_args(argv)
    options.sizes = [size_of(s) for s in options.sizes.split(",")]
    options.idle = [int(n) for n in options.idle.split(",") if n]
    options.servers = options.servers.split(",")
    options.rows = [r for r in options.rows.split(",") if r]
    return options


def main(argv):
    options = options_of(argv)
    unknown = [r for r in options.rows if r != "all" and r not in rows.GROUPS and r not in figures.ROWS]
    if unknown:
        sys.exit("no row %s; groups: %s" % (unknown[0], " ".join(rows.GROUPS)))
    bench = Bench(options)
    if options.report:
        report.write(bench.results, options.out)
        return 0
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # the servers stop, too
    bench.prepare()
    bench.results["machine"] = machine(bench.dir)
    try:
        bench.begin()
        for name, group in rows.GROUPS.items():
            wanted = rows.wanted(options.rows, name)
            if not wanted:
                continue
            begin = time.monotonic()
            bench.say("== " + name)
            try:
                group(bench, wanted)
            except Exception:  # our own mistake in one group is not the end of the others
                traceback.print_exc()
            bench.say("-- %s took %.0f s" % (name, time.monotonic() - begin))
            bench.save()
            report.write(bench.results, options.out)
    finally:
        bench.end()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
