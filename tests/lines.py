#!/usr/bin/env python3
"""Lines of code and of comment in each room of src/, without blank lines and without tests.

    tests/lines.py [COMMIT]        the working tree, or a commit
"""

import re
import subprocess
import sys
from collections import defaultdict

ROOMS = ["wire", "session", "dialect", "proxy", "net"]


def git(*arguments):
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


def files(commit):
    listed = git("ls-tree", "-r", "--name-only", commit, "src") if commit else git("ls-files", "-co", "--exclude-standard", "src")
    for path in listed.split():
        if path.endswith(".rs") and "/tests" not in path:
            try:
                yield path, git("show", f"{commit}:{path}") if commit else open(path).read()
            except FileNotFoundError:
                continue


def count(text):
    """Code and comment, up to the tests at the end of a file."""
    code = comment = 0
    for line in re.split(r"^#\[cfg\(test\)\]\nmod tests \{", text, flags=re.M)[0].splitlines():
        line = line.strip()
        if line.startswith("//"):
            comment += 1
        elif line:
            code += 1
    return code, comment


def main():
    commit = sys.argv[1] if len(sys.argv) > 1 else None
    sums = defaultdict(lambda: [0, 0])
    for path, text in files(commit):
        room = path.split("/")[1].removesuffix(".rs")
        for at, lines in enumerate(count(text)):
            sums[room][at] += lines
    for room in ROOMS + sorted(set(sums) - set(ROOMS)):
        print(f"{room:12} {sums[room][0]:6} code {sums[room][1]:6} comment")
    print(f"{'all':12} {sum(c for c, _ in sums.values()):6} code {sum(c for _, c in sums.values()):6} comment")


main()
