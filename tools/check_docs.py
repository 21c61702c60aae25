#!/usr/bin/env python3
"""Checks the documents: the paths and links in them exist, README is short, no path of a developer's machine is named.

A path is what stands in backticks, has a slash and begins with a folder of this tree (or of src/ or include/, as in
an #include). `*` and {a,b} are patterns that must match; a path with <…> is a placeholder.
"""

import itertools
import re
import sys

import tree

README_LINES = 150
BACKTICKS = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"[\w.*{},/+-]+")
FOREIGN = re.compile(r"(?<![\w/.])/(?:work|root|home)/[\w.]")


def expand(pattern):
    """All strings that the {a,b} groups of a pattern stand for."""
    pieces = [piece[1:-1].split(",") if piece.startswith("{") else [piece]
              for piece in re.split(r"(\{[^{}]*\})", pattern)]
    return ["".join(choice) for choice in itertools.product(*pieces)]


def names_a_path(word, root):
    if "/" not in word or not PATH.fullmatch(word) or word.startswith(("/", "-", "build")):
        return False
    first = word.split("/")[0]
    return any((root / base / first).is_dir() for base in ("", "src", "include")) and "*" not in first


def exists(word, root, bases):
    return all(any(any((root / base).glob(name.rstrip("/"))) for base in bases) for name in expand(word))


def check_document(path, text, root):
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        words = [word for quoted in BACKTICKS.findall(line) for word in quoted.split()]
        for word in words:
            word = re.sub(r":\d+$", "", word.rstrip(".,;:"))
            if names_a_path(word, root) and not exists(word, root, ("", "src", "include", path.parent)):
                problems.append(f"{path}:{number}: {word} does not exist")
        for link in LINK.findall(line):
            target = link.split("#")[0]
            if target and "://" not in link and not link.startswith("mailto:"):
                if not (root / path.parent / target).exists():
                    problems.append(f"{path}:{number}: the link to {link} leads nowhere")
        if FOREIGN.search(line):
            problems.append(f"{path}:{number}: names a path of one machine")
    return problems


def check(root=tree.ROOT):
    problems = []
    for path in tree.tracked(root):
        if path.suffix == ".md":
            text = (root / path).read_text()
            problems += check_document(path, text, root)
            if str(path) == "README.md" and len(text.splitlines()) > README_LINES:
                problems.append(f"{path}:1: has {len(text.splitlines())} lines; {README_LINES} are allowed")
    return problems


if __name__ == "__main__":
    sys.exit(tree.report(check()))
