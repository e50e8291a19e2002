"""report.py - bench/RESULTS.md, its charts and results.json, from what was measured

Everything that was measured is in the table, and so is what could not be: a row without a value says why.
"""
import json
import os
import shutil
import statistics
import subprocess

import figures

TITLES = {"mailshelf": "mailshelf", "mdbox": "Dovecot mdbox+zstd", "maildir": "Dovecot Maildir", "cyrus": "Cyrus"}
PALETTE = {"mailshelf": "#1b6ca8", "mdbox": "#d9822b", "maildir": "#e8b86d", "cyrus": "#7a9e7e"}


def number(v):
    """Three digits that count, thousands apart."""
    if v is None:
        return ""
    if v and abs(v) < 0.001:
        return "%.1g" % v
    if abs(v) < 9.995:
        return "%.3g" % v
    return "{:,.1f}".format(v) if abs(v) < 99.95 else "{:,.0f}".format(v)


def times(v):
    return "" if v is None else number(v) + "x"


def size_key(text):
    unit = {"k": 1000, "M": 1000000}.get(text[-1:], 1)
    return int(text.rstrip("kM") or 0) * unit


def cells(results, row):
    """(size text, cell) of each size that was measured."""
    found = []
    for key, cell in results["rows"].items():
        name, _, size = key.partition("@")
        if name == row.name:
            found.append((size, cell))
    return sorted(found, key=lambda item: size_key(item[0]) if item[0] else 0)


def value(cell, server):
    """Text of a server's column."""
    c = cell.get(server, {})
    if c.get("values"):
        return number(statistics.median(c["values"]))
    return "failed" if c.get("note") else "not run"


def table_line(row, size, cell):
    peer, over = figures.best(row, cell)
    kept, goal = figures.verdict(row, cell)
    title = row.title + (" · " + size if size else "")
    columns = [title, row.unit] + [value(cell, s) for s in figures.SERVERS]
    columns += ["%s (%s)" % (times(over), TITLES[peer]) if peer else "", times(figures.cpu_advantage(row, cell)), goal, kept]
    return "| " + " | ".join(columns) + " |"


def table(results, rows):
    lines = ["| | unit | " + " | ".join(TITLES[s] for s in figures.SERVERS) + " | times better than the best | less CPU than the best | goal | |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |"]
    notes = []
    for row in rows:
        found = cells(results, row)
        if not found:
            lines.append("| %s | %s | not run | | | | | | %s | |" % (row.title, row.unit, figures.verdict(row, {})[1]))
        for size, cell in found:
            lines.append(table_line(row, size, cell))
            notes += ["- %s%s, %s: %s" % (row.title, " · " + size if size else "", TITLES[s], cell[s]["note"])
                for s in figures.SERVERS if cell.get(s, {}).get("note")]
    return lines + ([""] + notes if notes else [])


def counts(results):
    met = missed = open_ = 0
    for row in figures.ROWS.values():
        found = cells(results, row)
        if row.goal is None and row.limit is None:
            continue
        for _, cell in found:
            kept = figures.verdict(row, cell)[0]
            met, missed, open_ = met + (kept == "met"), missed + (kept == "MISSED"), open_ + (kept == "?")
        open_ += not found
    return met, missed, open_


def missed_lines(results):
    lines = []
    for row in figures.ROWS.values():
        for size, cell in cells(results, row):
            kept, goal = figures.verdict(row, cell)
            if kept == "MISSED":
                peer, over = figures.best(row, cell)
                ours = number(statistics.median(cell["mailshelf"]["values"]))
                lines.append("- %s%s: %s %s%s; goal: %s" % (row.title, " · " + size if size else "", ours, row.unit,
                    ", %s of %s" % (times(over), TITLES[peer]) if peer else "", goal))
    return lines


def different_finds(results):
    lines = []
    for key, found in sorted(results.get("found", {}).items()):
        if len(set(found.values())) > 1:
            lines.append("- %s: %s" % (key, ", ".join("%s %d" % (TITLES[s], found[s]) for s in figures.SERVERS if s in found)))
    return lines


INTRO = """# Measured against Dovecot and Cyrus

Made by `make bench-peers` (see README.md); do not edit. All four servers run at once on loopback, without privileges, and take turns
in each row; "times better" is the median over the rounds of the ratio within a round (times and bytes: theirs over ours; rates: ours over theirs), against the peer that comes out best. CPU is what the
server's processes took for the same work. The same bytes for all. What is durable: deliveries and appends are flushed by all before they are
acknowledged; flag changes are flushed by mailshelf and Cyrus, not by Dovecot's defaults. mailshelf and Dovecot run as they come,
except limits on connections and Dovecot's login processes, which run in their fast mode; Cyrus has Debian's defaults (duplicate suppression, expunge
delayed). Passwords cost next to nothing in all four. Connections are warm in the page cache. Mailboxes up to 10k hold whole mail, larger ones tiny mail (450 bytes).
"""


def text(results, charts):
    m = results.get("machine", {})
    lines = [INTRO]
    if m:
        lines.append("Machine: %s, %d cores, %d GiB, Linux %s, %s; a 4 KiB append with fdatasync takes %.2f ms (median).\n" % (m["cpu"],
            m["cores"], m["memory_gib"], m["kernel"], m["file_system"], m["flush_ms"]))
    lines.append("Versions: " + "; ".join("%s %s" % (s["title"], s["version"] or "(%s)" % s.get("note")) for s in results.get("servers", {}).values()) + ".\n")
    dates = sorted({c["date"] for c in results["rows"].values() if "date" in c})
    loads = [c["load"] for c in results["rows"].values() if "load" in c]
    if dates:
        lines.append("Measured %s; load of the machine when rows began: %.1f to %.1f. Bulk rows: %s.\n" % (" to ".join(sorted({dates[0], dates[-1]})),
            min(loads), max(loads), results.get("corpus", "not run")))
    lines.append("Goals: %d met, %d missed, %d not decided.\n" % counts(results))
    for name in charts:
        lines.append("![%s](results/%s)\n" % (name[:-4], name))
    for title, rows in figures.SECTIONS:
        lines += ["## " + title, ""] + table(results, rows) + [""]
    missed = missed_lines(results)
    lines += ["## Missed", ""] + (missed or ["Nothing that was measured."]) + [""]
    found = different_finds(results)
    if found:
        lines += ["## Searches that did not find the same number of messages", ""] + found + [""]
    return "\n".join(lines)


# ---- Charts -------------------------------------------------------------------------------------------------

def plot(out, name, script, data):
    if shutil.which("gnuplot") is None:
        return []
    path = os.path.join(out, "results", name)
    with open(path + ".data", "w") as f:
        f.write(data)
    try:
        done = subprocess.run(["gnuplot"], input=("set terminal svg size 900,%d font 'sans,12' background '#ffffff'\nset output '%s'\n" %
            (script[0], path) + script[1].replace("DATA", path + ".data")).encode(), capture_output=True)
    finally:
        os.remove(path + ".data")
    return [name] if done.returncode == 0 and os.path.exists(path) else []


def chart_advantages(results, out):
    lines = []
    for row in reversed(list(figures.ROWS.values())):
        found = [(s, c) for s, c in cells(results, row) if figures.best(row, c)[1]]
        if found:
            size, cell = found[-1]
            kept = figures.verdict(row, cell)[0]
            lines.append('"%s%s" %g %d' % (row.name, " " + size if size else "", figures.best(row, cell)[1],
                {"met": 1, "MISSED": 2}.get(kept, 3)))
    if not lines:
        return []
    script = """set logscale x
set grid x
set key bottom right
set title 'times better than the best of the three (right of 1: mailshelf is)'
set yrange [-1:%d]
set style fill solid
set arrow from 1, graph 0 to 1, graph 1 nohead lc '#444444'
plot for [k=1:3] 'DATA' using (1):($0):(1):($3 == k ? $2 : 1):($0-0.35):($0+0.35):ytic(1) with boxxyerror lc rgb word('#1b6ca8 #c0392b #999999', k) title word('goal-met goal-missed no-goal', k)
""" % len(lines)
    return plot(out, "advantages.svg", (80 + 17 * len(lines), script), "\n".join(lines) + "\n")


def chart_delivery(results, out):
    lines = []
    for n in (1, 8, 32):
        cell = dict(cells(results, figures.ROWS["lmtp-%d" % n])).get("", {})
        values = [statistics.median(cell[s]["values"]) if cell.get(s, {}).get("values") else 0 for s in figures.SERVERS]
        if any(values):
            lines.append('"%d" %s' % (n, " ".join("%g" % v for v in values)))
    if not lines:
        return []
    script = """set style data histogram
set style fill solid
set grid y
set key top left
set title 'durable deliveries a second, by connections'
set yrange [0:*]
plot %s
""" % ", ".join("'DATA' using %d:xtic(1) title '%s' lc rgb '%s'" % (i + 2, TITLES[s], PALETTE[s]) for i, s in enumerate(figures.SERVERS))
    return plot(out, "delivery.svg", (420, script), "\n".join(lines) + "\n")


def chart_growth(results, out):
    charts = []
    for name in ("select", "fetch-flags", "search-flags", "qresync"):
        found = [(size_key(s), c) for s, c in cells(results, figures.ROWS[name]) if s]
        lines = ["%d %s" % (size, " ".join("%g" % statistics.median(c[s]["values"]) if c.get(s, {}).get("values") else "nan"
            for s in figures.SERVERS)) for size, c in found]
        if len(lines) < 2:
            continue
        script = """set logscale xy
set grid
set key top left
set title '%s, ms by messages'
plot %s
""" % (figures.ROWS[name].title.replace("'", ""), ", ".join("'DATA' using 1:%d with linespoints lw 2 title '%s' lc rgb '%s'" %
            (i + 2, TITLES[s], PALETTE[s]) for i, s in enumerate(figures.SERVERS)))
        charts += plot(out, "growth-%s.svg" % name, (420, script), "\n".join(lines) + "\n")
    return charts


def write(results, out):
    os.makedirs(os.path.join(out, "results"), exist_ok=True)
    charts = chart_advantages(results, out) + chart_delivery(results, out) + chart_growth(results, out)
    with open(os.path.join(out, "results", "results.json"), "w") as f:
        json.dump(results, f, indent=1, sort_keys=True)
        f.write("\n")
    with open(os.path.join(out, "RESULTS.md"), "w") as f:
        f.write(text(results, charts))
