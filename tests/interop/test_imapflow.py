"""test_imapflow.py - imapflow (Node) with QRESYNC, in clear and compressed"""
import os
import shutil

from daemon import Daemon, expect, message, need, run

HERE = os.path.dirname(os.path.abspath(__file__))


def test_session():
    need("node")
    with Daemon(accounts=[("joe", "secret", "10M")]) as d:
        for name in ("package.json", "package-lock.json", "imapflow.js"):
            shutil.copy(os.path.join(HERE, name), d.dir)
        run([need("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], timeout=300, cwd=d.dir)
        for n in range(20):
            d.deliver("joe", message(n))
        done = run(["node", "imapflow.js", str(d.port["imaps"]), d.cert], timeout=120, cwd=d.dir)
        print(done.stdout.decode(), end="")
        expect(done.stdout.endswith(b"done\n"), "it ended early")
