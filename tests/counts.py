"""Counts what a run of the tests came to, from nextest's JUnit file.

counts.py FILE GROUP SECONDS   prints "PASSED FAILED FLAKY", then each test that failed, with its panics;
                               on stderr, a line with the slowest
counts.py --table FILE         prints a Markdown table: test, result, seconds; with date and commit
"""

import datetime
import re
import subprocess
import sys
import xml.etree.ElementTree as tree


def cases(path):
    """Each test: its name, its outcome, its seconds, and what it printed if it failed."""
    for suite in tree.parse(path).getroot().iter("testsuite"):
        for case in suite.iter("testcase"):
            name = f"{case.get('classname')} {case.get('name')}"
            if case.find("failure") is not None or case.find("error") is not None:
                outcome = "failed"
            elif case.find("flakyFailure") is not None or case.find("flakyError") is not None:
                outcome = "flaky"
            else:
                outcome = "passed"
            yield name, outcome, float(case.get("time") or 0), "".join(case.itertext())


def count(path, group, seconds):
    found = list(cases(path))
    number = {outcome: sum(1 for case in found if case[1] == outcome) for outcome in ("passed", "failed", "flaky")}
    slowest = sorted(found, key=lambda case: -case[2])[:3]
    print(
        f"{group}: {len(found)} tests in {seconds} s: {number['passed']} passed, {number['failed']} failed, "
        f"{number['flaky']} flaky; slowest: " + ", ".join(f"{name} {time:.0f} s" for name, _, time, _ in slowest),
        file=sys.stderr,
    )
    print(number["passed"] + number["flaky"], number["failed"], number["flaky"])
    for name, outcome, _, said in found:
        if outcome != "passed":
            print(f"{outcome.upper()}: {name}")
            panics = re.findall(r"panicked at (\S+):\n(.*)", said)
            for place, message in dict.fromkeys(panics):
                print(f"  {place} {message[:200]}")


def table(path):
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    print("# The heavy tests, as they last ran\n")
    print(f"`tests/all --services`, {datetime.date.today()}, commit {commit.stdout.strip()}.\n")
    print("| test | result | seconds |\n|---|---|--:|")
    for name, outcome, seconds, _ in sorted(cases(path)):
        print(f"| `{name}` | {outcome} | {seconds:.0f} |")


if sys.argv[1] == "--table":
    table(sys.argv[2])
else:
    count(sys.argv[1], sys.argv[2], sys.argv[3])
