#!/usr/bin/env python3
"""Checks every quoted #include of src/, apps/ and include/ against cmake/layers.txt.

A module includes itself, what its line grants, and the public headers. Public headers include public headers only.
Applications may include what the line "apps" grants (without it: every module), and what bench/ measures.
"""

import re
import sys

import tree

INCLUDE = re.compile(r'\s*#\s*include\s+"([^"]+)"')


def read_layers(text):
    """module → the modules granted to it; a row naming an unknown or later module is a problem: arrows go down."""
    layers, problems = {}, []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        module, _, granted = line.partition(":")
        layers[module] = set(granted.split())
        problems += [f"cmake/layers.txt:{number}: {module} builds on {lower}, which no line above names"
                     for lower in sorted(layers[module] - (layers.keys() - {module}))]
    return layers, problems


def why_not(path, included, layers):
    """The reason for which the file at `path` may not include `included`, or None."""
    owner = path.parts[1] if path.parts[0] == "src" else path.parts[0]
    target = included.split("/")[0]
    if target == "hopskip":
        return None
    if owner == "include":
        return "a public header includes public headers only"
    if owner == "apps" and target == "bench":
        return None
    if target not in layers:
        return None if owner == "apps" and "/" not in included else f"'{target}' is not a module of cmake/layers.txt"
    granted = layers.get(owner, set(layers) if owner == "apps" else set()) | {owner}
    return None if target in granted else f"cmake/layers.txt does not grant {target} to {owner}"


def check(root=tree.ROOT):
    layers, problems = read_layers((root / "cmake/layers.txt").read_text())
    for path in tree.tracked(root):
        if path.suffix not in tree.CPP or path.parts[0] not in ("src", "apps", "include"):
            continue
        if path.parts[0] == "src" and path.parts[1] not in layers:
            problems.append(f"{path}:1: module {path.parts[1]} has no line in cmake/layers.txt")
            continue
        for number, line in enumerate((root / path).read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            reason = why_not(path, match.group(1), layers) if match else None
            if reason:
                problems.append(f'{path}:{number}: #include "{match.group(1)}": {reason}')
    return problems


if __name__ == "__main__":
    sys.exit(tree.report(check()))
