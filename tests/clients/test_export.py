"""test_export.py - `export` of what options choose, and as tar: the bytes that were stored, read by Python's tarfile"""
import io
import os
import subprocess
import tarfile

from daemon import BIN, Daemon, expect, message
from wire import Imap

LONG = "/".join("level %d with a name that goes on" % n for n in range(5))


def append(m, box, body, more=""):
    status, _ = m.finish(m.append_start('"%s"' % box, body, more))
    expect(status.startswith(b"OK"), status)


def export(d, path, *args, ok=(0,)):
    return d.tool("export", "joe", path, "--format", "tar", *args, ok=ok)


def names(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as t:
        return {i.name: (t.extractfile(i).read(), i.mtime) for i in t.getmembers()}


def test_tar_and_search():
    with Daemon() as d:
        m = Imap(d.connect("imap"), "joe", "secret")
        m.ok('CREATE "%s"' % LONG)
        bodies = [message(n, 100 + n * 997) for n in range(10)] + [b"Subject: =?utf-8?q?=C3=84rger?=\n\nbare\nends", b""]
        for n, body in enumerate(bodies[:-1]):
            append(m, "INBOX", body, '(%s) "%02d-Nov-2020 10:00:00 +0000" ' % (("\\Seen", "\\Flagged", "")[n % 3], n + 1))
        append(m, LONG, message(99))
        path = os.path.join(d.dir, "all.tar")
        export(d, path)
        with open(path, "rb") as f:
            data = f.read()
        got = names(data)
        expect(len(data) % 512 == 0 and len(got) == len(bodies), sorted(got))
        for n, body in enumerate(bodies[:-1]):
            expect(got["INBOX/%010d.eml" % (n + 1)] == (body, 1604224800 + 86400 * n), n)
        expect(got[LONG + "/0000000001.eml"][0] == message(99), sorted(got))
        # The same mail, the same bytes; and out of a pipe.
        export(d, path + "2")
        with open(path + "2", "rb") as f:
            expect(f.read() == data, "another archive")
        expect(export(d, "-").stdout == data, "the pipe has other bytes")
        export(d, path, ok=(73,)) # it is there
        done = subprocess.run([os.path.join(BIN, "mailshelf"), "-s", d.store, "export", "joe", "/dev/full", "--format", "tar"],
            capture_output=True, timeout=60)
        expect(done.returncode != 0, "a full disk is no error")
        # What options choose.
        for args, want in ((("--since", "2020-11-04", "--before", "2020-11-06"), [4, 5]), (("--subject", "ÄRGER"), [11]),
                (("--subject", "message 7"), [8]), (("--flagged",), [2, 5, 8, 11]), (("--seen", "--since", "2020-11-07"), [7, 10]),
                (("--unseen", "--from", "ann@EXAMPLE", "--before", "2020-11-06"), [2, 3, 5]), (("--text", "line 3 of"), [4]),
                (("--to", "nobody"), [])):
            got = names(export(d, "-", "--mailbox", "INBOX", *args).stdout)
            expect(sorted(got) == ["INBOX/%010d.eml" % uid for uid in want], "%r: %r" % (args, sorted(got)))
        out = os.path.join(d.dir, "found")
        d.tool("export", "joe", out, "--format", "eml", "--subject", "message 99")
        expect([f for _, _, files in os.walk(out) for f in files] == ["0000000001.eml"], "eml of a search")
        d.tool("export", "joe", out + "2", "--format", "eml", "--since", "yesterday", ok=(64,))
