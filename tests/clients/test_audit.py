"""test_audit.py - what was done to a store stands in its audit.log, and `audit` finds it"""
import json
import os

from daemon import Daemon, expect


def test_audit():
    with Daemon() as d:
        d.tool("quota", "set", "joe", "1G")
        d.tool("quota", "show", "joe")
        d.tool("quota", "set", "nobody", "1G", ok=(67,))
        d.tool("quota", "set", "joe", "much", ok=(64,))
        d.tool("account", "passwd", "joe", "--password-stdin", input=b"topsecret\n")
        d.tool("deliver", "joe", input=b"Subject: x\r\n\r\n\r\n")
        lines = json.loads(d.tool("audit", "--json").stdout)
        verbs = [(line["verb"], line["status"]) for line in lines]
        expect(verbs == [("init", 0), ("account add", 0), ("quota set", 0), ("quota set", 67), ("account passwd", 0)], verbs)
        expect(lines[2]["args"] == ["joe", "1G"] and lines[2]["user"] and lines[2]["time"].endswith("Z"), lines[2])
        expect("topsecret" not in json.dumps(lines), "a password is in it")
        text = d.tool("audit", "--verb", "quota").stdout.decode()
        expect(text.count("\n") == 2 and "failed: 67" in text and '"joe","1G"' in text, text)
        expect(d.tool("audit", "--user", "somebody-else").stdout == b"", "another user")
        expect(len(json.loads(d.tool("audit", "--since", "1h", "--json").stdout)) == 5, "since")
        expect(d.tool("audit", "--since", "2999-01-01").stdout == b"", "the future")
        path = os.path.join(d.store, "audit.log")
        expect(os.stat(path).st_mode & 0o777 == 0o600, "others may read it")
        with open(path, "a") as f:
            f.write("rubbish\n{\"half\n")
        expect(len(json.loads(d.tool("audit", "--json", "--verb", "passwd").stdout)) == 1, "rubbish")
