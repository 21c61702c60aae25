#!/usr/bin/env python3
"""Checks that no file that people read is longer than 600 lines."""

import sys

import tree

LINES = 600
SUFFIXES = (*tree.CPP, ".py", ".sh", ".cmake", ".md", ".txt")


def check(root=tree.ROOT):
    problems = []
    for path in tree.tracked(root):
        if path.suffix in SUFFIXES:
            count = len((root / path).read_text(errors="replace").splitlines())
            if count > LINES:
                problems.append(f"{path}:1: has {count} lines; {LINES} are allowed")
    return problems


if __name__ == "__main__":
    sys.exit(tree.report(check()))
