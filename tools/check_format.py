#!/usr/bin/env python3
"""Checks that clang-format 14 would leave every tracked C++ file as it is; `make format` puts them right."""

import re
import subprocess
import sys

import tree


def check(root=tree.ROOT):
    files = [str(path) for path in tree.tracked(root) if path.suffix in tree.CPP]
    if not files:
        return []
    done = subprocess.run(["clang-format-14", "--dry-run", "-Werror", f"--style=file:{tree.ROOT}/.clang-format", *files],
                          cwd=root, capture_output=True, text=True)
    problems = sorted(set(re.findall(r"^(\S+:\d+):\d+: error: .*clang-format", done.stderr, re.MULTILINE)))
    if done.returncode and not problems:
        return [f"clang-format-14 failed: {done.stderr.strip()}"]
    return [f"{problem}: not formatted; run 'make format'" for problem in problems]


if __name__ == "__main__":
    sys.exit(tree.report(check()))
