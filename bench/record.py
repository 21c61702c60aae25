"""Runs programs to be measured and appends benchmark results to a CSV file; the columns are described in bench/README.md."""

import csv
import datetime
import fcntl
import os
import pathlib
import shlex
import statistics
import subprocess
import sys

COLUMNS = ["date", "machine", "commit", "program", "command", "case", "metric", "value", "unit", "low",
           "high", "samples"]
ROOT = pathlib.Path(__file__).resolve().parent.parent


def machine():
    """CPU model, usable cores and memory of this machine, in words."""
    cpu, memory = "unknown CPU", 0
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            memory = round(int(line.split()[1]) / 2**20)
    return f"{cpu}; {len(os.sched_getaffinity(0))} cores; {memory} GiB"


def commit():
    """Short hash of the tree's commit; a trailing + says that tracked files differ from it.

    Where the tree was copied without git, HOPSKIP_COMMIT names it.
    """
    if "HOPSKIP_COMMIT" in os.environ:
        return os.environ["HOPSKIP_COMMIT"]

    def git(*arguments):
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True).stdout.strip()
    return (git("rev-parse", "--short", "HEAD") or "none") + ("+" if git("status", "-s", "-uno") else "")


def run(command, **pipes):
    """Runs one command, under an exclusive lock on $HOPSKIP_BENCH_LOCK if that is set; exits if the command fails.

    `pipes` go to Popen. Returns what it wrote to stdout and stderr, where these are pipes, and its peak resident
    memory in MiB.
    """
    with open(os.environ.get("HOPSKIP_BENCH_LOCK", os.devnull)) as lock:
        if "HOPSKIP_BENCH_LOCK" in os.environ:
            fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, text=True, **pipes)
        output, log = (pipe.read() if pipe else "" for pipe in (process.stdout, process.stderr))
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command[0]} failed: {shlex.join(command)} {log[-500:]}")
    return output, log, usage.ru_maxrss / 1024


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def origin():
    """The columns that are the same for all rows of a run, where they are given to row()."""
    return {"date": now(), "machine": machine(), "commit": commit()}


def row(program, command, case, metric, samples, unit, columns=None):
    """One CSV row: the median of `samples` (numbers) with their range. `columns`: an origin()."""
    return (columns or origin()) | {
        "program": program, "command": command, "case": case,
        "metric": metric, "value": f"{statistics.median(samples):.6g}", "unit": unit,
        "low": f"{min(samples):.6g}", "high": f"{max(samples):.6g}", "samples": len(samples)}


def append(path, rows):
    """Adds rows to the CSV at `path`; a new file gets the header first."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)
