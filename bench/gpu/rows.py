"""Reads the rows that attention.py wrote, for tables and plots."""

import csv
import dataclasses
import pathlib
import re

from gpu import cases

PEERS = {"cuDNN": "SDPA cuDNN", "flash": "SDPA flash"}  # name: what its program column holds
EXPANDED = "expanded to all heads"


@dataclasses.dataclass(frozen=True)
class Value:
    median: float
    low: float
    high: float


class Measured:
    """One shape in one run."""

    def __init__(self, shape):
        self.shape = shape
        self.speeds = {}  # (who, Variant): Value; who is "ours" or one of PEERS
        self.skipped = {}  # Variant: share
        self.refused = {}  # peer: reason
        self.expanded = set()  # peers that had K and V expanded to all heads beforehand

    def speed(self, who, variant=cases.DENSE):
        value = self.speeds.get((who, variant))
        return value and value.median

    def best_peer(self):
        """(name, speed) of the fastest peer that took the shape as it is, or None."""
        peers = [(self.speed(name), name) for name in PEERS if self.speed(name) and name not in self.expanded]
        return max(peers)[::-1] if peers else None


@dataclasses.dataclass
class Run:
    date: str
    machine: str
    commit: str
    ceilings: dict = dataclasses.field(default_factory=dict)  # case: (speed, unit)
    measured: dict = dataclasses.field(default_factory=dict)  # Shape: Measured

    @property
    def card(self):
        """The GPU's name: the part of the machine behind CPU, cores and memory."""
        return self.machine.split("; ")[3]

    @property
    def card_state(self):
        """Card, memory, driver, clocks and power limit."""
        return "; ".join(self.machine.split("; ")[3:])


def who_ran(program):
    """"ours", a name of PEERS, or None."""
    if program.startswith("hopskip "):
        return "ours"
    return next((name for name, words in PEERS.items() if words in program), None)


def add(run, row):
    case, who = cases.parse_case(row["case"]), who_ran(row["program"])
    if not case or not who:
        run.ceilings[row["case"]] = (float(row["value"]), row["unit"])
        return
    shape, variant = case
    measured = run.measured.setdefault(shape, Measured(shape))
    if row["metric"] == "speed":
        measured.speeds[who, variant] = Value(*(float(row[column]) for column in ("value", "low", "high")))
        if EXPANDED in row["program"]:
            measured.expanded.add(who)
    elif row["metric"] == "skipped":
        measured.skipped[variant] = float(row["value"]) / 100
    elif row["metric"] == "refused":
        measured.refused[who] = row["value"]


def read(paths):
    """The Runs in these CSV files, oldest first: rows with the same date, machine and commit."""
    runs = {}
    for path in paths:
        with pathlib.Path(path).open(newline="") as file:
            for row in csv.DictReader(file):
                key = (row["date"], row["machine"], row["commit"])
                add(runs.setdefault(key, Run(*key)), row)
    return [runs[key] for key in sorted(runs)]


def newest(runs):
    """{card: {Shape: (Run, Measured)}}: of each shape the last run of that card in which ours ran."""
    cards = {}
    for run in runs:
        for shape, measured in run.measured.items():
            if any(who == "ours" for who, _ in measured.speeds):
                cards.setdefault(run.card, {})[shape] = (run, measured)
    return cards


def number(speed):
    """Three digits, or all before the point."""
    return f"{speed:.0f}" if speed >= 100 else f"{speed:.3g}"


def short(shape):
    """A shape in a few words: "64/4 heads, head_dim 128, 64k" or "32/8 heads, batch 64 × 16k"."""
    def size(tokens):
        return f"{tokens // 1024}k" if tokens % 1024 == 0 else str(tokens)
    words = f"{shape.heads}/{shape.kv_heads} heads"
    if shape.head_dim != 128:
        words += f" of {shape.head_dim}"
    if shape.decode:
        words += f", {shape.batch} × {size(shape.kv_len)}"
    elif shape.q_len == shape.kv_len:
        words += f", {size(shape.kv_len)}"
    else:
        words += f", {size(shape.q_len)} on {size(shape.kv_len)}"
    usual_page = 64 if shape.decode else 0
    if shape.page != usual_page:
        words += f", pages of {shape.page}" if shape.page else ", contiguous"
    return words + (", FP8 K and V" if shape.kv_type == "fp8" else "")


def without_clocks(state):
    """A card_state() without the clock of the moment, by which runs of one card would differ."""
    return re.sub(r"SM \d+ MHz of", "SM up to", state)
