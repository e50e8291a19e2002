"""docs.py - writes the tables of docs/rfc-coverage.md from the .def files

The part between the two marks is made here, what stands around it is written by hand. Rows come out by
RFC and section, so that the file reads in the order in which one checks it.
"""
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILE = os.path.join(ROOT, "docs/rfc-coverage.md")
BEGIN = "<!-- made by `make docs` from the .def files: do not edit below -->"
END = "<!-- made by `make docs`: end -->"
TABLES = (
    ("access/imap/imap_commands.def", "IMAP commands"),
    ("access/imap/imap_caps.def", "IMAP capabilities"),
    ("access/imap/imap_fetch_items.def", "IMAP FETCH items"),
    ("access/imap/imap_search_keys.def", "IMAP SEARCH keys"),
    ("access/pop3/pop3_commands.def", "POP3 commands"),
    ("access/pop3/pop3_caps.def", "POP3 capabilities"),
    ("access/lmtp/lmtp_commands.def", "LMTP commands"),
    ("access/lmtp/lmtp_caps.def", "LMTP extensions"),
)


def rows(path):
    """(name, source): the first and the last string of each row."""
    found = []
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    for row in re.findall(r"^[A-Z0-9_]+\((.*?)\)\s*$", text, flags=re.S | re.M):
        strings = re.findall(r'"((?:[^"\\]|\\.)*)"', row)
        if len(strings) >= 2 and strings[-1].startswith("RFC"):
            found.append((strings[0], strings[-1]))
    return found


def key(row):
    numbers = [int(n) for n in re.findall(r"\d+", row[1].split(",")[0])]
    return numbers, row[0]


def tables():
    lines = []
    for path, title in TABLES:
        if not os.path.exists(os.path.join(ROOT, path)):
            continue
        lines += ["", "### %s" % title, "", "From `%s`." % path, "", "| name | source |", "| --- | --- |"]
        lines += ["| %s | %s |" % (name, source) for name, source in sorted(rows(path), key=key)]
    return "\n".join(lines) + "\n"


def main():
    before = "# RFC coverage\n\n"
    after = "\n"
    if os.path.exists(FILE):
        with open(FILE, encoding="utf-8") as f:
            text = f.read()
        before, _, rest = text.partition(BEGIN)
        if rest:
            after = rest.partition(END)[2]
        else:
            before = before.rstrip("\n") + "\n\n## What the tables say\n\n"
    with open(FILE, "w", encoding="utf-8") as f:
        f.write(before + BEGIN + "\n" + tables() + "\n" + END + after)
    print("docs/rfc-coverage.md: tables written")


main()
