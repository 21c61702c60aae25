#!/usr/bin/env python3
"""Builds and tests everything: each row of STEPS runs even if an earlier one failed; the last line is the sum.

A step that runs no test has failed. Arguments name the steps to run; without any, all of them run.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORES = str(len(os.sched_getaffinity(0)))
FUZZ_SECONDS = os.environ.get("HOPSKIP_FUZZ_SECONDS", "60")
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": f"suppressions={ROOT}/tools/tsan.supp:second_deadlock_stack=1",
}


def build(preset):
    return ["tools/build.sh", preset]


def ctest(preset, *arguments):
    return ["ctest", "--preset", preset, "--parallel", CORES, "--output-junit", "{report}", "--progress", *arguments]


def pytest(*folders):
    return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml={report}", *folders]


# Sanitizers slow the code down by 5 to 20 times: they run the tests of single modules, not the whole product.
FAST = ["--label-regex", "unit|property|parity"]

# name, command, whether it writes a JUnit report, the step it needs
STEPS = [
    ("build release", build("release"), False, None),
    ("ctest release", ctest("release"), True, "build release"),
    ("pytest", pytest("tests", "tools/tests"), True, "build release"),
    ("build asan-ubsan", build("asan-ubsan"), False, None),
    ("ctest asan-ubsan", ctest("asan-ubsan", *FAST), True, "build asan-ubsan"),
    ("build tsan", build("tsan"), False, None),
    ("ctest tsan", ctest("tsan", *FAST), True, "build tsan"),
    ("build fuzz", build("fuzz"), False, None),
    ("fuzz", ["tools/fuzz.py", "--seconds", FUZZ_SECONDS, "--report", "{report}"], True, "build fuzz"),
]


def read_report(path):
    """Passed, failed and skipped tests of a JUnit file, and the names of those that failed."""
    passed, skipped, failures = 0, 0, []
    if not path.exists():
        return 0, 0, ["no report"]
    for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failures.append(f"{case.get('classname', '')} {case.get('name')}".strip())
        elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            skipped += 1
        else:
            passed += 1
    return passed, skipped, failures


def main():
    os.chdir(ROOT)
    wanted = sys.argv[1:] or [name for name, *_ in STEPS]
    unknown = set(wanted) - {name for name, *_ in STEPS}
    if unknown:
        sys.exit(f"run_tests.py: no step '{unknown.pop()}'; there are: {', '.join(name for name, *_ in STEPS)}")
    environment = os.environ | SANITIZER_OPTIONS | {"HOPSKIP_BUILD": str(ROOT / "build"), "HOPSKIP_PYTHON": sys.executable}
    total = {"passed": 0, "failed": 0, "skipped": 0}
    failures, lines, broken = [], [], set()
    for name, command, reports, needs in STEPS:
        if name not in wanted:
            continue
        print(f"=== {name}", flush=True)
        if needs in broken:
            broken.add(name)
            failures.append(f"{name}: not run, because '{needs}' failed")
            lines.append(f"{name:<18} not run")
            continue
        with tempfile.TemporaryDirectory() as folder:
            report = pathlib.Path(folder) / "report.xml"
            start = time.monotonic()
            code = subprocess.run([part.format(report=report) for part in command], env=environment,
                                  stdin=subprocess.DEVNULL).returncode
            seconds = time.monotonic() - start
            passed, skipped, failed = read_report(report) if reports else (0, 0, [])
        if reports and not failed and passed + skipped == 0:
            failed = ["ran no test"]
        if code and not failed:
            failed = [f"exit status {code}"]
        if failed:
            broken.add(name)
        failures += [f"{name}: {failure}" for failure in failed]
        total["passed"] += passed
        total["skipped"] += skipped
        counts = f"{passed:5} passed {len(failed):3} failed {skipped:3} skipped" if reports else "failed" if failed else ""
        lines.append(f"{name:<18} {seconds:7.1f} s  {counts}".rstrip())
    total["failed"] = len(failures)
    print("\n=== steps", *lines, sep="\n")
    if failures:
        print("\n=== failures", *failures, sep="\n")
    print("\n" + ", ".join(f"{count} {word}" for word, count in total.items()), flush=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
