"""run.py [-j JOBS] [-d DIRECTORY] [NAME...] - the tests with real clients; NAME: those whose name contains it

Every function test_* of every test_*.py here, or in DIRECTORY, is a test. A test is skipped only when a program that it
needs is not installed.
"""
import concurrent.futures
import importlib
import os
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

from daemon import Failed, Skipped  # noqa: E402


def collect(directory, wanted):
    tests = []
    sys.path.insert(0, directory)
    for file in sorted(os.listdir(directory)):
        if not (file.startswith("test_") and file.endswith(".py")):
            continue
        module = importlib.import_module(file[:-3])
        for name in dir(module):
            function = getattr(module, name)
            if name.startswith("test_") and function.__module__ == module.__name__:
                label = file[5:-3] + "." + name[5:]
                if not wanted or any(w in label for w in wanted):
                    tests.append((label, function))
    return tests


def play(label, function):
    start = time.monotonic()
    try:
        function()
        outcome, why = "ok", ""
    except Skipped as skipped:
        outcome, why = "skip", str(skipped)
    except Failed as failed:
        outcome, why = "FAIL", str(failed)
    except Exception as broken:
        outcome, why = "FAIL", "%s: %s\n%s" % (type(broken).__name__, broken, traceback.format_exc())
    print("%s %s %s(%.1f s)" % (outcome, label, why + " " if why else "", time.monotonic() - start),
        flush=True)
    return outcome


def option(argv, name, default):
    if name not in argv:
        return default
    at = argv.index(name)
    value = argv[at + 1]
    del argv[at:at + 2]
    return value


def main(argv):
    jobs = int(option(argv, "-j", 2))
    directory = os.path.abspath(option(argv, "-d", HERE))
    tests = collect(directory, argv)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        outcomes = list(pool.map(lambda t: play(*t), tests))
    if outcomes.count("skip"):
        print("skipped: %d" % outcomes.count("skip"))
    print("clients: %d passed, %d failed" % (outcomes.count("ok"), outcomes.count("FAIL")))
    return 0 if "FAIL" not in outcomes and "ok" in outcomes else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
