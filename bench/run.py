#!/usr/bin/env python3
"""run.py [OPTION...]: measures build/hopskip on prompts of four lengths, densely and skipping; prints and records it.

The OPTIONs are those of `hopskip run` for the skipping runs. The two kinds take turns, so that what disturbs the
machine disturbs both. Rows go to bench/results/hopskip_cpu.csv; the cases are those of bench/peers/llama_cpp.py.
"""

import json
import pathlib
import shlex
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
import record  # noqa: E402
import tree  # noqa: E402

MODEL = "smollm2-135m"
GENERATED = 33  # the first token belongs to the prefill: 32 are timed
LENGTHS = [(32, 5), (512, 5), (2048, 3), (8064, 2)]  # prompt tokens, runs of each kind
CHARACTERS_PER_TOKEN = 3.89  # of this book in this model's vocabulary, at these lengths
SKIP = ["--profile", str(record.ROOT / "profiles/smollm2-135m.json"), "--target-sparsity", "prefill=0.5"]
RESULTS = record.ROOT / "bench/results/hopskip_cpu.csv"


def measure(length, repetitions, kinds, book, folder):
    """CSV rows for one prompt length."""
    prompt, stats = folder / "prompt.txt", folder / "stats.json"
    prompt.write_text(book[:int(length * CHARACTERS_PER_TOKEN)], encoding="utf-8")
    samples = {name: [] for name in kinds}
    commands = {name: [str(record.ROOT / "build/hopskip"), "run", MODEL, "--raw", "-f", str(prompt), "-n", str(GENERATED),
                       "--temp", "0", "--ignore-eos", "--stats", str(stats), *options] for name, options in kinds.items()}
    for _ in range(repetitions):
        for name, command in commands.items():
            *_, memory = record.run(command, stdout=subprocess.DEVNULL)
            samples[name].append(json.loads(stats.read_text()) | {"memory": memory})
    rows = []
    for name, results in samples.items():
        options = shlex.join(kinds[name]).replace(f"{record.ROOT}/", "")
        command = f"hopskip run {MODEL} --raw -f PROMPT -n {GENERATED} --temp 0 --ignore-eos {options}"
        tokens = results[0]["prompt_tokens"]
        for case, metric, unit, value in [
                (f"prefill {tokens}, {name}", "speed", "tokens/s", lambda s: s["prefill_tokens_per_s"]),
                (f"prefill {tokens}, {name}", "skipped", "%", lambda s: 100 * s["prefill"]["sparsity"]),
                (f"decode 32 at depth {tokens}, {name}", "speed", "tokens/s", lambda s: 1 / s["tpot_s"]),
                (f"decode 32 at depth {tokens}, {name}", "skipped", "%", lambda s: 100 * s["decode"]["sparsity"]),
                (f"decode 32 at depth {tokens}, {name}", "peak_memory", "MiB", lambda s: s["memory"])]:
            rows.append(record.row(f"hopskip {record.commit()}", command, case, metric, list(map(value, results)), unit))
            print(f"{case}: {metric} {rows[-1]['value']} {unit} ({rows[-1]['low']} to {rows[-1]['high']})", flush=True)
    return rows


def main():
    book = (tree.cache() / "book.txt").read_text(encoding="utf-8")
    kinds = {"dense": ["--dense"], "skipping": sys.argv[1:] or SKIP}
    with tempfile.TemporaryDirectory() as folder:
        for length, repetitions in LENGTHS:
            record.append(RESULTS, measure(length, repetitions, kinds, book, pathlib.Path(folder)))


if __name__ == "__main__":
    main()
