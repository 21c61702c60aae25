#!/usr/bin/env python3
"""llama_cpp.py CHROOT [CASE...]: runs llama-bench inside CHROOT and records it in bench/results/llama_cpp_cpu.csv.

A CASE is a string of llama-bench options. Peak memory is that of the whole llama-bench process.
"""

import json
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "bench"))
import record  # noqa: E402

CASES = ["-p 512 -n 0", "-p 0 -n 32", "-p 2048 -n 0 -r 3", "-p 8192 -n 0 -r 1", "-p 0 -n 32 -d 8192 -r 1"]
RESULTS = ROOT / "bench/results/llama_cpp_cpu.csv"


def version(chroot):
    packages = subprocess.run(
        ["chroot", chroot, "dpkg-query", "-W", "-f", "${source:Package} ${Version}\n", "llama.cpp-tools", "libggml0"],
        capture_output=True, text=True, check=True).stdout
    return ", ".join(packages.split("\n")).strip(", ")


def main():
    chroot, cases = sys.argv[1], sys.argv[2:] or CASES
    program = version(chroot)
    for case in cases:
        arguments = ["llama-bench", "-m", "/tmp/model.gguf", "-fa", "1", "-t", "2", *shlex.split(case), "-o", "jsonl"]
        output, log, memory = record.run(["chroot", chroot, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        backend = re.search(r"libggml-cpu-(\w+)\.so", log)
        label = f"{program}, {backend.group(1) if backend else 'unknown'} backend"
        rows = []
        for line in filter(None, output.splitlines()):
            result = json.loads(line)
            name = (f"prefill {result['n_prompt']}" if result["n_prompt"] else f"decode {result['n_gen']}")
            if result["n_depth"]:
                name += f" at depth {result['n_depth']}"
            rows.append(record.row(label, shlex.join(arguments), name, "speed", result["samples_ts"], "tokens/s"))
            rows.append(record.row(label, shlex.join(arguments), name, "peak_memory", [memory], "MiB"))
            print(f"{name}: {rows[-2]['value']} tokens/s ({rows[-2]['low']} to {rows[-2]['high']}), {memory:.0f} MiB")
        record.append(RESULTS, rows)


if __name__ == "__main__":
    main()
