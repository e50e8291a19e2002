"""rows.py - the groups of rows, in the order they run, and which rows of them are wanted

A group measures rows that share what comes before them (a mailbox that is filled, connections that are opened). ROWS= names
groups, or rows of them; a group leaves out what it can of the rows that nobody wants.
"""
import figures
import rows_connections
import rows_delivery
import rows_mailbox

GROUPS = {
    "bulk": rows_delivery.bulk,
    "lmtp": rows_delivery.lmtp,
    "mailbox": rows_mailbox.mailbox,
    "fanout": rows_connections.fanout,
    "idle": rows_connections.idle,
    "restart": rows_connections.restart,
    "mixed": rows_connections.mixed,
}

OF = {
    "bulk": {"import", "disk", "disk-read"},
    "lmtp": {r for r in figures.ROWS if r.startswith("lmtp-")},
    "fanout": {r for r in figures.ROWS if r.startswith("fanout-")},
    "idle": {r for r in figures.ROWS if r.startswith("idle-")},
    "restart": {"restart"},
    "mixed": {r for r in figures.ROWS if r.startswith("mixed-")},
}
OF["mailbox"] = set(figures.ROWS) - set().union(*OF.values())


def wanted(names, group):
    """The rows of GROUP that NAMES (groups, rows, or "all") ask for."""
    if "all" in names or group in names:
        return set(OF[group])
    return OF[group] & set(names)
