"""Rows of engine.py: what their cases are called, and how they are read back for tables."""

import csv
import dataclasses
import pathlib
import re

PARTS = ("attention", "linear", "experts", "rest")  # metrics are part_attention, …
MEMORY = ("weights", "kv_cache", "rest")  # memory_weights, …
TIMES = {"prefill": ("ttft", "s"), "decode": ("tpot", "ms"), "throughput": ("throughput", "tokens/s")}
OURS = "hopskip"


@dataclasses.dataclass(frozen=True, order=True)
class Case:
    """A measurement. `batch`: sequences that decode together; of throughput, requests."""
    shape: str  # of the model, with its layers where they are not all: "llama-3.1-8b of 4 layers"
    measure: str  # one of TIMES
    context: int
    batch: int = 1
    new_tokens: int = 0  # of throughput
    share: float = 0.0  # of the keys that shall be skipped; 0: dense

    def __str__(self):
        what = {"prefill": f"prefill {self.context}",
                "decode": f"decode {self.batch} x {self.context}",
                "throughput": f"throughput {self.batch} x {self.context} + {self.new_tokens}"}[self.measure]
        return f"{self.shape} {what}" + (f", share {self.share:g}" if self.share else "")

    def dense(self):
        return dataclasses.replace(self, share=0.0)


PATTERN = re.compile(r"(?P<shape>.+) (?:(?P<prefill>prefill) (?P<length>\d+)"
                     r"|(?P<decode>decode) (?P<batch>\d+) x (?P<depth>\d+)"
                     r"|(?P<throughput>throughput) (?P<requests>\d+) x (?P<prompt>\d+) \+ (?P<new>\d+))"
                     r"(?:, share (?P<share>[\d.]+))?")


def parse(name):
    """The Case of that name, or None."""
    match = PATTERN.fullmatch(name)
    if not match:
        return None
    group = match.groupdict()
    share = float(group["share"] or 0)
    if group["prefill"]:
        return Case(group["shape"], "prefill", int(group["length"]), share=share)
    if group["decode"]:
        return Case(group["shape"], "decode", int(group["depth"]), int(group["batch"]), share=share)
    return Case(group["shape"], "throughput", int(group["prompt"]), int(group["requests"]), int(group["new"]), share)


@dataclasses.dataclass
class Result:
    """Of one program and case."""
    date: str
    commit: str
    machine: str
    program: str
    values: dict = dataclasses.field(default_factory=dict)  # metric: median
    refused: str = ""


def read(paths):
    """{(card, Case, program without versions): the last Result} of the CSV files."""
    results = {}
    for path in paths:
        with pathlib.Path(path).open(newline="") as file:
            for row in csv.DictReader(file):
                case = parse(row["case"])
                if not case:
                    continue
                key = (row["machine"].split("; ")[3], case, contender(row["program"]))
                result = results.get(key)
                if not result or result.date < row["date"]:
                    result = results[key] = Result(row["date"], row["commit"], row["machine"], row["program"])
                if result.date == row["date"]:
                    if row["metric"] == "refused":
                        result.refused = row["value"]
                    else:
                        result.values[row["metric"]] = float(row["value"])
    return results


def contender(program):
    """"hopskip", or the peer without its versions: "transformers, DynamicCache"."""
    return re.sub(r" \d[^ ,]*", "", program) if not program.startswith(OURS) else OURS
