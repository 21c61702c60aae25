"""Streams that are closed or full, and a machine that gives too few threads."""
import resource
import subprocess

import pytest

RUN = ["run", "smollm2-135m", "-p", "hi", "-n", "2"]


def shell(hopskip, redirection, *args):
    """Runs the program with a redirection as a shell writes it; returns exit code and both outputs."""
    done = subprocess.run(["bash", "-c", f'"$@" {redirection}', "bash", hopskip.binary, *map(str, args)],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_output_that_goes_nowhere_is_a_failure(hopskip, model, redirection):
    for args in (RUN, ["info"], ["--help"]):
        code, _, err = shell(hopskip, redirection, *args)
        assert code == 1
        assert err.splitlines()[-1].startswith("hopskip: stdout cannot be written")


def test_closed_stderr_drops_the_summary_only(hopskip, model, tmp_path):
    stats = tmp_path / "stats.json"
    code, out, _ = shell(hopskip, "2>&-", *RUN, "--stats", stats)
    assert code == 0 and out and stats.read_text().startswith("{")
    assert shell(hopskip, "2>&-", "run", "nosuch.gguf", "-p", "hi")[:2] == (1, "")


def test_messages_hold_no_control_characters(hopskip, tmp_path):
    hopskip.fails(2, "' [31m red'", *RUN, "--device", "\x1b[31m\rred")


def test_threads_that_cannot_be_started(hopskip, model):
    limit = 6 << 30  # each thread's stack takes address space
    done = subprocess.run([hopskip.binary, *RUN, "--threads", "1024"], capture_output=True, text=True, timeout=60,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
    assert done.returncode == 1
    assert "of 1024 threads could be started" in done.stderr and done.stderr.count("\n") == 1


def test_text_without_an_end(hopskip):
    hopskip.fails(2, "/dev/zero has more than", "run", "smollm2-135m", "-f", "/dev/zero")
