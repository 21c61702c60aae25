"""The runners count what reports say, and the readers of foreign formats read what they should."""

import bz2
import lzma
import struct
import sys
import zlib

import demo
import fetch_text
import pytest
import record
import run_tests

REPORT = """<testsuites><testsuite>
<testcase name="a" status="run"/><testcase name="b" classname="unit"><failure message="x"/></testcase>
<testcase name="c"><skipped message="no GPU"/></testcase><testcase name="d" status="notrun"/>
</testsuite></testsuites>"""


def test_reports_are_counted(tmp_path):
    path = tmp_path / "report.xml"
    path.write_text(REPORT)
    assert run_tests.read_report(path) == (1, 2, ["unit b"])
    assert run_tests.read_report(tmp_path / "none.xml") == (0, 0, ["no report"])


@pytest.fixture
def steps(monkeypatch, capfd):
    def run(*rows):
        monkeypatch.setattr(run_tests, "STEPS", list(rows))
        monkeypatch.setattr(sys, "argv", ["run_tests.py"])
        with pytest.raises(SystemExit) as exit_:
            run_tests.main()
        return exit_.value.code, capfd.readouterr().out.splitlines()
    return run


def shell(command):
    return ["bash", "-c", command.replace("{", "{{").replace("}", "}}").replace("REPORT", "{report}")]


def writes(report):
    return shell(f"cat > REPORT <<'END'\n{report}\nEND")


def test_the_last_line_sums_the_steps(steps):
    passing = "<testsuite><testcase name='a'/></testsuite>"
    code, lines = steps(("one", writes(passing), True, None), ("two", writes(passing), True, "one"))
    assert code == 0 and lines[-1] == "2 passed, 0 failed, 0 skipped"


def test_a_failure_is_listed_and_later_steps_run(steps):
    code, lines = steps(("one", writes(REPORT), True, None), ("two", shell("echo ran"), False, None))
    assert code == 1 and "one: unit b" in lines and "ran" in lines
    assert lines[-1] == "1 passed, 1 failed, 2 skipped"


def test_a_step_that_needs_a_broken_one_is_not_run(steps):
    code, lines = steps(("one", shell("exit 3"), False, None), ("two", shell("echo ran"), False, "one"))
    assert code == 1 and "ran" not in lines and "one: exit status 3" in lines
    assert "two: not run, because 'one' failed" in lines


@pytest.mark.parametrize("report", ["<testsuite/>", "<testsuite></testsuite>"])
def test_a_step_without_tests_has_failed(steps, report):
    code, lines = steps(("one", writes(report), True, None))
    assert code == 1 and "one: ran no test" in lines


def test_a_crash_after_the_report_is_a_failure(steps):
    code, lines = steps(("one", shell("echo \"<a><testcase name='x'/></a>\" > REPORT; exit 9"), True, None))
    assert code == 1 and "one: exit status 9" in lines


def r_string(text):
    data = text.encode()
    return struct.pack(">ii", 0x8009, len(data)) + data


def r_stream(body):
    return b"X\n" + struct.pack(">iiii", 3, 0, 0, 5) + b"UTF-8" + body


def r_strings(*texts):
    return struct.pack(">ii", 16, len(texts)) + b"".join(map(r_string, texts))


def test_r_strings_are_read():
    assert fetch_text.RReader(r_stream(r_strings("a", "é"))).value() == ["a", "é"]


def test_r_names_make_a_dictionary():
    names = struct.pack(">ii", 0x402, 1) + r_string("names") + r_strings("k") + struct.pack(">i", 254)
    body = struct.pack(">ii", 0x213, 1) + struct.pack(">iii", 13, 1, 7) + names
    assert fetch_text.RReader(r_stream(body)).value() == {"k": [7]}


@pytest.mark.parametrize("data", [b"", b"A\n", r_stream(b"")[:9], r_stream(r_strings("abc"))[:-1],
                                  r_stream(struct.pack(">i", 99))])
def test_damaged_r_data_is_refused(data):
    with pytest.raises(ValueError):
        fetch_text.RReader(data).value()


def test_r_blocks_are_decompressed():
    assert fetch_text.decompress(struct.pack(">i", 1) + zlib.compress(b"a")) == b"a"
    assert fetch_text.decompress(struct.pack(">i", 1) + b"2" + bz2.compress(b"b")) == b"b"
    assert fetch_text.decompress(struct.pack(">i", 1) + b"Z" + lzma.compress(b"c")) == b"c"


def test_results_have_one_header_and_the_median(tmp_path):
    path = tmp_path / "results" / "x.csv"
    for samples in ([3, 1, 2], [5]):
        record.append(path, [record.row("program", "command", "case", "speed", samples, "tokens/s")])
    lines = path.read_text().splitlines()
    assert len(lines) == 3 and lines[0] == ",".join(record.COLUMNS)
    assert lines[1].endswith("case,speed,2,tokens/s,1,3,3") and lines[2].endswith(",5,tokens/s,5,5,1")


def statistics(ttft, sparsity, tokens):
    phase = {"sparsity": sparsity}
    return {"ttft_s": ttft, "prefill_tokens_per_s": 1000 / ttft, "tpot_s": 0.01, "prefill": phase, "decode": phase,
            "tokens": tokens}


def test_the_demonstration_compares_two_runs():
    lines = demo.table(statistics(3.0, 0, [1, 2, 3]), statistics(2.0, 0.5, [1, 2, 4])).splitlines()
    assert lines[1].split() == ["time", "to", "first", "token", "3.00", "s", "2.00", "s", "1.50x"]
    assert lines[4].split()[-2:] == ["50", "%"] and lines[-1].endswith("2 of 3")
    none = demo.table(statistics(3.0, 0, [1]), statistics(2.0, 0, [1]))
    assert "1.50x" not in none  # nothing was skipped: what differs is noise


@pytest.mark.parametrize("tokens, words", [([1, 2], "all 2"), ([1, 2, 3], "all 2"), ([1], "1 of 2"), ([2, 2], "0 of 2")])
def test_agreement_counts_to_the_first_difference(tokens, words):
    assert demo.agreement([1, 2], tokens) == words
