#!/usr/bin/env python3
"""Measures the GPU attention library and its peers over the same inputs, in turn, in this one process.

Ours runs dense, with Skip Softmax on and nothing to skip, and with known shares of cold keys; torch's SDPA runs through
cuDNN and through its flash kernel. Every output is judged first against float64 on some rows, every skipped share
against the inputs: what fails is not timed and the exit status is 1. Then all take turns, with the L2 cache flushed in
between. Rows of bench/README.md's columns go to --csv; a table comes last.
"""

import argparse
import functools
import os
import pathlib
import re
import shlex
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import record  # noqa: E402
from gpu import card, cases, library, report  # noqa: E402

DEVICE = "cuda"
BUILD = record.ROOT / "build"
FLUSH_BYTES = 1 << 30  # many times L2; writing it also gives the host time to queue the call that is timed
RESERVE_BYTES = 3 << 29  # of the card's memory: the kernels' workspaces
WARM_UP_ROUNDS = 1
MIN_ROUNDS, MAX_ROUNDS = 5, 60
SECONDS = {"standard": (2.0, 240), "quick": (0.8, 60)}  # of timing a shape, of everything


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", type=pathlib.Path, default=os.environ.get("HOPSKIP_BUILD", BUILD),
                        help=f"{library.NAME}, or the folder with it and libhopskip_attention.so [build]")
    parser.add_argument("--quick", action="store_true", help="a few cases, one minute")
    parser.add_argument("--cases", type=lambda text: text.split(","), default=list(cases.FILTERS),
                        help=f"which of {','.join(cases.FILTERS)}")
    parser.add_argument("--match", default="", help="only shapes whose name matches this regular expression")
    parser.add_argument("--peers", default="cudnn,flash", help="'' for none")
    parser.add_argument("--seconds", type=float, help="of timing, each shape")
    parser.add_argument("--budget", type=float, help="seconds after which no further shape is begun")
    parser.add_argument("--csv", type=pathlib.Path, help="append the rows here")
    parser.add_argument("--commit", help="of this tree, where git cannot tell; also HOPSKIP_COMMIT")
    parser.add_argument("--list", action="store_true", help="name the shapes and end; needs no GPU")
    options = parser.parse_args()
    unknown = set(options.cases) - set(cases.FILTERS)
    if unknown:
        parser.error(f"--cases: no '{unknown.pop()}'; there are {', '.join(cases.FILTERS)}")
    options.peers = [name for name in options.peers.split(",") if name]
    per_shape, total = SECONDS["quick" if options.quick else "standard"]
    options.seconds = options.seconds or per_shape
    options.budget = options.budget or total
    if options.commit:
        os.environ["HOPSKIP_COMMIT"] = options.commit
    return options


def chosen(options):
    table = cases.quick() if options.quick else cases.standard()
    return [(shape, stretches) for kind, shape, stretches in table
            if kind in options.cases and re.search(options.match, str(shape))]


class Clock:
    """Times calls on the GPU; the seconds of what was begun come with finish()."""

    def __init__(self, torch):
        self._torch = torch
        self._flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device=DEVICE)
        self._running = []

    def begin(self, call):
        start, stop = (self._torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._flush.zero_()
        start.record()
        call()
        stop.record()
        self._running.append((start, stop))

    def finish(self):
        self._torch.cuda.synchronize()
        seconds = [start.elapsed_time(stop) / 1e3 for start, stop in self._running]
        self._running = []
        return seconds


def rounds(clock, calls, seconds):
    """Runs (prepare, call) pairs in turn for so long, and gives each one's list of seconds."""
    samples = [[] for _ in calls]
    begin = time.monotonic()
    while len(samples[0]) < MIN_ROUNDS + WARM_UP_ROUNDS or (
            time.monotonic() - begin < seconds and len(samples[0]) < MAX_ROUNDS + WARM_UP_ROUNDS):
        for prepare, call in calls:
            prepare()
            clock.begin(call)
        for times, elapsed in zip(samples, clock.finish()):
            times.append(elapsed)
    return [times[WARM_UP_ROUNDS:] for times in samples]


def ceilings(torch, clock):
    """[(program, case, TFLOP/s or TB/s samples, unit)] of cuBLAS and of a copy."""
    a, b = (torch.randn(8192, 8192, dtype=torch.bfloat16, device=DEVICE) for _ in range(2))
    product = torch.empty_like(a)
    source = torch.randn(1 << 30, dtype=torch.bfloat16, device=DEVICE)
    target = torch.empty_like(source)
    nothing = lambda: None  # noqa: E731
    multiply, copy = rounds(clock, [(nothing, lambda: torch.matmul(a, b, out=product)),
                                    (nothing, lambda: target.copy_(source))], 1.0)
    return [(f"torch {torch.__version__} cuBLAS", "matmul 8192x8192x8192 bf16",
             [2 * 8192**3 / seconds / 1e12 for seconds in multiply], "TFLOP/s"),
            (f"torch {torch.__version__} copy", "device copy 2 GiB",
             [2 * source.nbytes / seconds / 1e12 for seconds in copy], "TB/s")]


def judge(ours, inputs, variant, exact, outcome):
    """Runs ours once; whether its output and skipped share are what the inputs ask for."""
    share, expected = ours.skipped(), 0.0
    if variant.share:
        cold = inputs.cold(variant).cpu().numpy()
        expected = cases.expected_share(cold, variant.stretch, inputs.shape, ours.plan)
    problem = inputs.problem(ours.out, exact) or cases.share_problem(share, expected)
    if problem:
        outcome.fail(variant, problem)
        return False
    outcome.skipped[variant] = (share, expected)
    return True


def admit(name, inputs, exact, outcome):
    """A peer that takes this shape and computes the same, or None."""
    from gpu import contenders
    try:
        peer = contenders.Peer(name, inputs)
    except contenders.Refused as refusal:
        outcome.refuse(name, contenders.peer_version(name), str(refusal))
        return None
    problem = inputs.problem(peer.output(), exact)
    if problem:
        outcome.refuse(name, peer.program, f"computes something else: {problem}")
        return None
    return peer


def measure(clock, c, shape, stretches, options):
    """A report.Outcome of all variants and peers of one shape."""
    from gpu import contenders, inputs as tensors
    outcome = report.Outcome(shape)
    inputs = tensors.Inputs(shape, DEVICE)
    ours = {skip: contenders.Ours(c, inputs, skip) for skip in (False, True)}
    entries = []  # (who, variant, contender), in the order of their turns
    for variant in cases.variants(stretches):
        inputs.set_cold(variant)
        exact = inputs.exact(variant)
        if judge(ours[variant.skip], inputs, variant, exact, outcome):
            entries.append(("ours", variant, ours[variant.skip]))
        if variant == cases.DENSE:
            peers = [(name, admit(name, inputs, exact, outcome)) for name in options.peers]
            entries += [(name, variant, peer) for name, peer in peers if peer]
    calls = [(functools.partial(inputs.set_cold, variant), contender.run) for _, variant, contender in entries]
    for (who, variant, contender), seconds in zip(entries, rounds(clock, calls, options.seconds)):
        outcome.add(who, variant, contender.program, [shape.speed(s) for s in seconds])
    return outcome


def why_not(torch, shape, begin, budget):
    """Why a shape is not measured; None where it can be."""
    free = torch.cuda.mem_get_info()[0] - RESERVE_BYTES
    if time.monotonic() - begin > budget:
        return "the time is up"
    if shape.device_bytes() > free:
        return f"{shape.device_bytes() / 2**30:.0f} GiB do not fit into {free / 2**30:.0f} GiB of free memory"
    return None


def command_line(options):
    """How to get the same rows again, without the paths of this machine."""
    words = ["bench/gpu/attention.py"] + ["--quick"] * options.quick
    if options.cases != list(cases.FILTERS):
        words += ["--cases", ",".join(options.cases)]
    if options.match:
        words += ["--match", options.match]
    return shlex.join(words + ["--peers", ",".join(options.peers), "--seconds", f"{options.seconds:g}"])


def measure_all(torch, c, shapes, options):
    """Measures, records and prints; the outcomes, and a line for each shape that has none."""
    begin, clock = time.monotonic(), Clock(torch)
    columns = record.origin()
    command = command_line(options)
    limits = ceilings(torch, clock)
    columns["machine"] += f"; {card.description(torch)}"  # now, while the clocks are those of work
    print(columns["machine"], file=sys.stderr)
    keep = functools.partial(record.append, options.csv) if options.csv else lambda rows: None
    keep([record.row(program, command, case, "speed", samples, unit, columns) for program, case, samples, unit in limits])
    for _, case, samples, unit in limits:
        print(f"{case}: {statistics.median(samples):.4g} {unit}", file=sys.stderr)
    outcomes, left_out = [], []
    broken = None
    for number, (shape, stretches) in enumerate(shapes, 1):
        start, problem = time.monotonic(), broken or why_not(torch, shape, begin, options.budget)
        if not problem:
            try:
                outcomes.append(measure(clock, c, shape, stretches, options))
                keep(outcomes[-1].rows(command, columns))
            except (library.LibraryError, torch.OutOfMemoryError) as error:
                problem = str(error).splitlines()[0]
            except RuntimeError as error:  # after an illegal access nothing else runs in this process
                problem = broken = str(error).splitlines()[0]
            if not broken:
                torch.cuda.empty_cache()
        if problem:
            left_out.append(f"{shape}: not measured: {problem}")
        print(f"[{number}/{len(shapes)}] {shape}: {problem or f'{time.monotonic() - start:.1f} s'}", file=sys.stderr,
              flush=True)
    return outcomes, left_out


def main():
    options = arguments()
    shapes = chosen(options)
    if options.list:
        print("\n".join(str(shape) for shape, _ in shapes))
        return 0
    if not shapes:
        sys.exit("attention.py: no case is left by --cases and --match")
    try:
        c = library.load(options.library)
        import torch
    except library.LibraryError as error:
        sys.exit(f"attention.py: {error}")
    except ImportError as error:
        sys.exit(f"attention.py: {error}; the benchmark works on torch's tensors")
    if not torch.cuda.is_available():
        sys.exit("attention.py: no CUDA device is visible to torch")
    outcomes, left_out = measure_all(torch, c, shapes, options)
    print(report.table(outcomes, options.peers))
    print("\n".join(report.notes(outcomes) + left_out))
    return 1 if not outcomes or any(outcome.failures for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
