#!/usr/bin/env python3
"""demo.py [OPTION...]: asks one question about five chapters of a novel, densely and with Skip Softmax, and compares.

The OPTIONs are those of `hopskip run` for the second run; without any, half of the prefill's tiles are to be skipped.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

import tree

MODEL = "smollm2-135m"
CHAPTERS = 5  # 7,661 of the 8,192 tokens that the model can see
QUESTION = "Summarize what happens in these chapters in a few sentences."
GENERATED = 64
SKIP = ["--profile", str(tree.ROOT / "profiles/smollm2-135m.json"), "--target-sparsity", "prefill=0.5"]


def prompt():
    book = (tree.cache() / "book.txt").read_text(encoding="utf-8")
    chapters = [match.start() for match in re.finditer(r"^Chapter \d+$", book, re.MULTILINE)]
    return f"Read the beginning of this novel.\n\n{book[:chapters[CHAPTERS]].strip()}\n\n{QUESTION}"


def run(title, options, folder):
    """Generates an answer with these options and returns the statistics that hopskip wrote."""
    stats = folder / "stats.json"
    command = [str(tree.ROOT / "build/hopskip"), "run", MODEL, "-f", str(folder / "prompt.txt"), "-n", str(GENERATED),
               "--temp", "0", "--stats", str(stats), *options]
    shown = " ".join(options).replace(f"{tree.ROOT}/", "")
    print(f"\n{title}: hopskip {' '.join(command[1:3])} -f PROMPT {' '.join(command[5:9])} {shown}".rstrip(), flush=True)
    code = subprocess.run(command, stdin=subprocess.DEVNULL).returncode
    if code:
        sys.exit(f"hopskip: the demonstration's run '{title}' ended with status {code}")
    return json.loads(stats.read_text())


def agreement(expected, tokens):
    """How far two answers are the same, in words."""
    same = next((i for i, pair in enumerate(zip(expected, tokens)) if pair[0] != pair[1]),
                min(len(expected), len(tokens)))
    return f"{same} of {len(expected)}" if same < len(expected) else f"all {len(expected)}"


# title, phase, value of one run's statistics, format, whether the table shows how many times faster the second run is
ROWS = [
    ("time to first token", "prefill", lambda s: s["ttft_s"], "{:.2f} s", lambda dense, skip: dense / skip),
    ("prefill", "prefill", lambda s: s["prefill_tokens_per_s"], "{:,.0f} tokens/s", lambda dense, skip: skip / dense),
    ("time per output token", "decode", lambda s: s["tpot_s"] * 1000, "{:.1f} ms", lambda dense, skip: dense / skip),
    ("tiles skipped, prefill", "prefill", lambda s: s["prefill"]["sparsity"] * 100, "{:.0f} %", None),
    ("tiles skipped, decode", "decode", lambda s: s["decode"]["sparsity"] * 100, "{:.0f} %", None),
]


def table(dense, skip):
    lines = [("", "dense", "Skip Softmax", "speed-up")]
    for title, phase, value, form, ratio in ROWS:
        pair = value(dense), value(skip)
        shown = ratio and min(pair) > 0 and skip[phase]["sparsity"] > 0  # a phase that skipped nothing is noise
        lines.append((title, *map(form.format, pair), f"{ratio(*pair):.2f}x" if shown else ""))
    lines.append(("tokens as in the dense answer", "", agreement(dense["tokens"], skip["tokens"]), ""))
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                               for i, (cell, width) in enumerate(zip(line, widths))).rstrip() for line in lines)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "prompt.txt").write_text(prompt(), encoding="utf-8")
        dense = run("dense", ["--dense"], folder)
        skip = run("Skip Softmax", sys.argv[1:] or SKIP, folder)
    print(f"\n{dense['prompt_tokens']:,} prompt tokens, {dense['generated_tokens']} generated, {MODEL}, "
          f"{dense['device']}\n\n{table(dense, skip)}")


if __name__ == "__main__":
    main()
