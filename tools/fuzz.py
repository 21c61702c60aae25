#!/usr/bin/env python3
"""Runs the target of every fuzz/fuzz_*.cc for a while, as many at once as there are cores.

Inputs found on the way are kept in the cache directory, so that the next run starts from them; the seeds are in
fuzz/corpus/<target>/. An input that breaks a target stays in build-fuzz/ and its path is printed.
"""

import argparse
import concurrent.futures
import os
import subprocess
import time
import xml.etree.ElementTree as xml

import tree

BUILD = tree.ROOT / "build-fuzz"


def run(target, seconds):
    """Runs one target; returns its exit status, the last lines of its log and the seconds it took."""
    found = tree.cache() / "fuzz" / target.name
    found.mkdir(parents=True, exist_ok=True)
    seeds = tree.ROOT / "fuzz/corpus" / target.name.removeprefix("fuzz_")
    command = [target, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1",
               f"-artifact_prefix={BUILD}/{target.name}-", found, *([seeds] if seeds.is_dir() else [])]
    start = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace")
    return done.returncode, done.stdout.splitlines()[-60:], time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--report", help="write a JUnit file")
    arguments = parser.parse_args()
    targets = sorted(BUILD / source.stem for source in (tree.ROOT / "fuzz").glob("fuzz_*.cc"))
    unbuilt = [target.name for target in targets if not target.exists()]
    if unbuilt:
        parser.error(f"{unbuilt[0]} is not built: tools/build.sh fuzz")
    suite, failed = xml.Element("testsuite", name="fuzz"), 0
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = pool.map(lambda target: run(target, arguments.seconds), targets)
        for target, (code, log, seconds) in zip(targets, results):
            case = xml.SubElement(suite, "testcase", classname="fuzz", name=target.name, time=f"{seconds:.1f}")
            runs = [line.split()[-1] for line in log if line.startswith("stat::number_of_executed_units:")]
            print(f"{target.name}: {'FAILED' if code else 'ok'}, {''.join(runs) or '?'} inputs in {seconds:.0f} s", flush=True)
            if code:
                failed += 1
                xml.SubElement(case, "failure").text = f"exit status {code}"
                print(*log, sep="\n", flush=True)
    if arguments.report:
        xml.ElementTree(suite).write(arguments.report)
    raise SystemExit(1 if failed or not targets else 0)


if __name__ == "__main__":
    main()
