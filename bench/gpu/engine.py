#!/usr/bin/env python3
"""Measures the whole engine and transformers on models of random weights in the same shape, on one GPU, in turn.

Hopskip runs first, a process for each case, dense and with known shares of keys to skip; then transformers with torch's
SDPA, whose key-value cache is filled with random numbers for decoding. Rows of bench/README.md's columns go to --csv as
they come. --budget bounds the seconds: what does not fit any more is left out, and said.
"""

import argparse
import csv
import functools
import importlib
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import record  # noqa: E402
from gpu import card, engine_rows, engine_shapes  # noqa: E402
from gpu.engine_rows import Case  # noqa: E402

PREFILL = [32768, 131072]
DECODE = {4096: [1, 8, 64], 32768: [1, 8], 131072: [1]}
THROUGHPUT = [(64, 10000, 128)]  # requests, prompt, new tokens
PEERS = {"dynamic": "DynamicCache", "compiled": "StaticCache, torch.compile"}  # --peers: what their program is called
MEASURES = list(engine_rows.TIMES)


class Refused(Exception):
    """Why a case is not measured, in a line."""


def integers(text):
    return [int(word) for word in text.split(",")]


def depth(text):
    """"4096:1,8,64" → (4096, [1, 8, 64])."""
    context, _, batches = text.partition(":")
    return int(context), integers(batches or "1")


def arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hopskip", type=pathlib.Path, default=record.ROOT / "build/hopskip", help="the binary [build/hopskip]")
    parser.add_argument("--shape", default="llama-3.1-8b", choices=list(engine_shapes.SHAPES))
    parser.add_argument("--layers", type=int, default=0, help="only so many [all]")
    parser.add_argument("--cases", type=lambda text: text.split(","), default=MEASURES, help=f"of {','.join(MEASURES)}")
    parser.add_argument("--prefill", type=integers, default=PREFILL, metavar="N,…", help="prompt lengths")
    parser.add_argument("--decode", type=depth, nargs="+", default=list(DECODE.items()), metavar="CTX:BATCH,…",
                        help="depths and numbers of sequences")
    parser.add_argument("--shares", default="0,0.5", help="of keys to skip")
    parser.add_argument("--steps", type=int, default=24, help="decode steps of each")
    parser.add_argument("--repeat", type=int, default=2, help="prompts of each length")
    parser.add_argument("--peers", default="dynamic,compiled", help=f"of {','.join(PEERS)}; '' for none")
    parser.add_argument("--budget", type=float, default=480.0, help="seconds for everything")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="cpu: to try the script")
    parser.add_argument("--csv", type=pathlib.Path, help="append the rows here")
    parser.add_argument("--commit", help="of this tree, where git cannot tell; also HOPSKIP_COMMIT")
    options = parser.parse_args(argv)
    options.peers = [name for name in options.peers.split(",") if name]
    for given, known in ((options.cases, MEASURES), (options.peers, PEERS)):
        unknown = set(given) - set(known)
        if unknown:
            parser.error(f"no '{unknown.pop()}'; there are {', '.join(known)}")
    if options.commit:
        os.environ["HOPSKIP_COMMIT"] = options.commit
    return options


class Run:
    """The rows of this run, and the time that is left."""

    def __init__(self, options, columns):
        self.options, self.columns = options, columns
        self.end = time.monotonic() + options.budget
        self.rows = []

    def left(self):
        return self.end - time.monotonic()

    def keep(self, rows):
        self.rows += rows
        if self.options.csv:
            record.append(self.options.csv, rows)

    def refuse(self, program, command, case, reason):
        self.keep([self.columns | {"program": program, "command": command, "case": str(case), "metric": "refused",
                                   "value": reason, "samples": 0}])
        self.say(case, program, f"not measured: {reason}")

    @staticmethod
    def say(case, program, words):
        print(f"{case}: {program}: {words}", file=sys.stderr, flush=True)


def model_name(options):
    return options.shape + (f" of {options.layers} layers" if options.layers else "")


def hopskip_cases(options):
    """[(Case of the row with the largest batch, arguments of hopskip bench)], a process each."""
    shape = ["--shape", options.shape] + (["--layers", str(options.layers)] if options.layers else [])
    common = shape + ["--skip-share", options.shares, "--device", options.device]
    name, cases = model_name(options), []
    if "prefill" in options.cases:
        cases += [(Case(name, "prefill", context),
                   ["prefill", *common, "--ctx", str(context), "--repeat", str(options.repeat)]) for context in options.prefill]
    if "decode" in options.cases:
        cases += [(Case(name, "decode", context, max(batches)),
                   ["decode", *common, "--ctx", str(context), "--batch", ",".join(map(str, batches)), "-n", str(options.steps)])
                  for context, batches in options.decode]
    if "throughput" in options.cases:
        cases += [(Case(name, "throughput", context, requests, new),
                   ["throughput", *common, "--ctx", str(context), "--requests", str(requests), "-n", str(new)])
                  for requests, context, new in THROUGHPUT]
    return cases


def hopskip_rows(name, text, program, command, columns):
    """CSV rows from what `hopskip bench … --csv` wrote, and the cases that it refused: [(Case, reason)]."""
    rows, refused = [], []
    for line in csv.DictReader(text.splitlines()):
        measure = line["measure"]
        case = Case(name, measure, int(line["ctx"]), int(line["batch"]),
                    int(line["new_tokens"]) if measure == "throughput" else 0, float(line["share"]))
        if line["why_not"]:
            refused.append((case, line["why_not"]))
            continue
        metric, unit = engine_rows.TIMES[measure]
        scale = {"s": 1.0, "ms": 1e3}.get(unit)
        low, median, high = (float(line[column]) for column in ("low", "seconds", "high"))
        if scale:
            values = [scale * seconds for seconds in (median, low, high)]
        else:  # a rate, of which the shortest time is the highest
            values = [float(line["tokens_per_s"]) * median / seconds for seconds in (median, high, low)]

        def add(metric, unit, value, low=None, high=None, samples=1):
            rows.append(columns | {
                "program": program, "command": command, "case": str(case), "metric": metric, "value": f"{value:.6g}", "unit": unit,
                "low": f"{value if low is None else low:.6g}", "high": f"{value if high is None else high:.6g}",
                "samples": samples})
        add(metric, unit, *values, samples=int(line["samples"]))
        for phase in ("prefill", "decode"):
            if line[f"skipped_{phase}"]:
                add(f"skipped_{phase}", "%", 100 * float(line[f"skipped_{phase}"]))
        for part in engine_rows.PARTS:
            if line[f"{part}_s"]:
                add(f"part_{part}", "ms", 1e3 * float(line[f"{part}_s"]))
        for kind in engine_rows.MEMORY:
            if line[f"{kind}_bytes"]:
                add(f"memory_{kind}", "GB", float(line[f"{kind}_bytes"]) / 1e9)
    return rows, refused


def measure_hopskip(run):
    binary = run.options.hopskip
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    program = f"hopskip {version.removeprefix('hopskip').strip()} {run.options.device}"
    for case, words in hopskip_cases(run.options):
        command = shlex.join(["hopskip", "bench", *words])
        if run.left() < 5:
            run.refuse(program, command, case, "the time is up")
            continue
        with tempfile.TemporaryDirectory() as folder:
            path, start = pathlib.Path(folder) / "rows.csv", time.monotonic()
            try:
                done = subprocess.run([binary, "bench", *words, "--csv", path], capture_output=True, text=True, timeout=run.left())
            except subprocess.TimeoutExpired:
                run.refuse(program, command, case, "the time is up")
                continue
            print(done.stdout, end="", file=sys.stderr)
            if done.returncode:
                run.refuse(program, command, case, (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1])
                continue
            rows, refused = hopskip_rows(model_name(run.options), path.read_text(), program, command, run.columns)
        run.keep(rows)
        for refused_case, reason in refused:
            run.refuse(program, command, refused_case, reason)
        run.say(case, program, f"{time.monotonic() - start:.1f} s")


class Transformers:
    """A model of random weights on the device, and its caches."""

    def __init__(self, torch, transformers, options, context):
        self.torch, self.transformers, self.options = torch, transformers, options
        self.config = engine_shapes.config(transformers, options.shape, options.layers, context)
        # Beforehand: not all that is imported on first use bears torch.device() around it.
        importlib.import_module("torch._dynamo")
        importlib.import_module(f"transformers.models.{self.config.model_type}.modeling_{self.config.model_type}")
        previous = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        try:
            with torch.device(options.device):
                self.model = transformers.AutoModelForCausalLM.from_config(self.config, attn_implementation="sdpa").eval()
        finally:
            torch.set_default_dtype(previous)
        self.compiled = None

    def ids(self, batch, length):
        return self.torch.randint(self.config.vocab_size, (batch, length), device=self.options.device)

    def wait(self):
        if self.options.device == "cuda":
            self.torch.cuda.synchronize()

    def timed(self, call):
        self.wait()
        start = time.perf_counter()
        call()
        self.wait()
        return time.perf_counter() - start

    def forward(self, model, ids, **arguments):
        with self.torch.no_grad():
            return model(input_ids=ids, use_cache=True, logits_to_keep=1, **arguments)

    def prefill(self, case):
        """Seconds of prompts; the first one is for warming up."""
        ids = self.ids(1, case.context)
        self.forward(self.model, ids[:, :256])
        call = functools.partial(self.forward, self.model, ids)
        return [self.timed(call) for _ in range(self.options.repeat + 1)][1:]

    def cache(self, peer, case, length):
        """A cache with `context` random keys and values of each sequence, and room for `length` tokens."""
        shape = (case.batch, self.config.num_key_value_heads, case.context, self.config.head_dim)
        if peer == "dynamic":
            cache = self.transformers.DynamicCache()
        else:
            cache = self.transformers.StaticCache(config=self.config, max_cache_len=length)
        places = {"cache_position": self.torch.arange(case.context, device=self.options.device)}
        for layer in range(self.config.num_hidden_layers):
            keys, values = (self.torch.randn(shape, dtype=self.torch.bfloat16, device=self.options.device) for _ in range(2))
            cache.update(keys, values, layer, places)
        return cache

    def decode(self, peer, case):
        """Seconds of steps."""
        settling = 8 if peer == "compiled" else 3  # what is compiled or captured, and then replayed
        steps = self.options.steps + settling
        cache = self.cache(peer, case, case.context + steps)
        model = self.model
        if peer == "compiled":
            if self.compiled is None:  # it has no truth value
                self.compiled = self.torch.compile(self.model, mode="reduce-overhead", fullgraph=True, dynamic=False)
            model = self.compiled
        ids, seconds = self.ids(case.batch, 1), []
        for step in range(steps):
            place = self.torch.full((1,), case.context + step, device=self.options.device)
            positions = place.expand(case.batch, 1).contiguous()
            seconds.append(self.timed(functools.partial(
                self.forward, model, ids, past_key_values=cache, position_ids=positions, cache_position=place)))
        return seconds[settling:]


def peer_cases(options):
    """[(Case, peer)]: all that run eagerly before those that compile."""
    name, cases = model_name(options), []
    if "prefill" in options.cases and options.peers:
        cases += [(Case(name, "prefill", context), None) for context in options.prefill]
    for peer in options.peers:
        if "decode" in options.cases:
            cases += [(Case(name, "decode", context, batch), peer) for context, batches in options.decode for batch in batches]
    return cases


def measure_peers(run, torch, transformers):
    options = run.options
    command = command_line(options)
    longest = max(options.prefill + [context + 256 for context, _ in options.decode])
    peer_model = None
    for case, peer in peer_cases(options):
        program = f"transformers {transformers.__version__} torch {torch.__version__} SDPA, {PEERS.get(peer, 'one pass')}"
        try:
            if run.left() < 5:
                raise Refused("the time is up")
            start = time.monotonic()
            peer_model = peer_model or Transformers(torch, transformers, options, longest)
            seconds = peer_model.prefill(case) if peer is None else peer_model.decode(peer, case)
        except Refused as error:
            run.refuse(program, command, case, str(error))
            continue
        except torch.OutOfMemoryError:
            run.refuse(program, command, case, "out of memory")
            torch.cuda.empty_cache()
            continue
        except Exception as error:  # noqa: BLE001  a peer that fails in a case is a result, and others go on
            run.refuse(program, command, case, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300])
            continue
        metric, unit = engine_rows.TIMES[case.measure]
        scale = 1e3 if unit == "ms" else 1.0
        run.keep([record.row(program, command, str(case), metric, [scale * s for s in seconds], unit, run.columns)])
        run.say(case, program, f"{scale * statistics.median(seconds):.4g} {unit} ({time.monotonic() - start:.1f} s)")
        if options.device == "cuda":
            torch.cuda.empty_cache()


def command_line(options):
    """How to get the same rows again, without the paths of this machine."""
    words = ["bench/gpu/engine.py", "--shape", options.shape, "--cases", ",".join(options.cases), "--shares", options.shares,
             "--steps", str(options.steps), "--repeat", str(options.repeat), "--peers", ",".join(options.peers),
             "--prefill", ",".join(map(str, options.prefill)), "--decode"]
    words += [f"{context}:{','.join(map(str, batches))}" for context, batches in options.decode]
    return shlex.join(words + (["--layers", str(options.layers)] if options.layers else []))


def summary(rows):
    """One line a case and program: what was measured."""
    lines = []
    for row in rows:
        if row["metric"] in ("ttft", "tpot", "throughput", "skipped_prefill", "skipped_decode", "refused"):
            lines.append(f"{row['case']:<50} {row['metric']:<16} {row['value']:>10} {row.get('unit', ''):<9} {row['program']}")
    return "\n".join(lines)


def main():
    options = arguments()
    if not options.hopskip.is_file():
        sys.exit(f"engine.py: {options.hopskip} is not there: build the target hopskip, or name the binary with --hopskip")
    columns = record.origin()
    torch = transformers = None
    try:
        import torch
        import transformers
    except ImportError as error:
        print(f"engine.py: {error}: peers are left out", file=sys.stderr)
    if options.device == "cuda":
        if torch is None or not torch.cuda.is_available():
            sys.exit("engine.py: no CUDA device is visible to torch")
        columns["machine"] += f"; {card.description(torch)}"
    else:
        columns["machine"] += "; CPU"
    run = Run(options, columns)
    measure_hopskip(run)
    if torch and transformers:
        measure_peers(run, torch, transformers)
    print(summary(run.rows))
    return 0 if any(row["metric"] != "refused" for row in run.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
