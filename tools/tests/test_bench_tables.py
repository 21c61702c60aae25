"""Tables and plots of the GPU benchmark: from CSV rows to a document and to SVG."""

import subprocess
import sys
import xml.etree.ElementTree

import plot
import pytest
import record
import tables
from gpu import cases, report, rows

MACHINE = "CPU; 16 cores; 128 GiB; NVIDIA H100; 79 GiB; driver 580; SM 1400 MHz of 1980 MHz; memory 2619 MHz; limit 700 W"
PREFILL = cases.prefill(64, 4, 65536)
DECODE = cases.decode(32, 8, 64, 65536, kv_type="fp8")


def outcome(shape, dense):
    result = report.Outcome(shape)
    for variant in cases.variants({128: (0.5,), 16: (0.5, 0.75)}):
        if variant.skip:
            result.skipped[variant] = (0.4 if variant.share == 0.75 else variant.share, variant.share)
        result.add("ours", variant, "hopskip sm90", [dense * (1 + variant.share)])
    if shape == PREFILL:
        result.add("cudnn", cases.DENSE, "torch 2 SDPA cuDNN 9", [500.0])
        result.add("flash", cases.DENSE, "torch 2 SDPA flash, K and V expanded to all heads beforehand", [900.0])
    else:
        result.refuse("cudnn", "torch 2 SDPA cuDNN 9", "one dtype, please.")
    return result


def write(path, date, *outcomes):
    columns = {"date": date, "machine": MACHINE, "commit": "abc"}
    record.append(path, [record.row("torch 2 cuBLAS", "command", "matmul", "speed", [700.0], "TFLOP/s", columns)])
    for each in outcomes:
        record.append(path, each.rows("command", columns))


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "gpu_h100.csv"
    write(path, "2026-01-02T00:00:00Z", outcome(PREFILL, 600.0), outcome(DECODE, 4.0))
    write(path, "2026-01-01T00:00:00Z", outcome(PREFILL, 111.0))
    return path


def test_a_table_row_has_the_last_run_and_its_ratio_to_the_best_peer(results):
    lines = tables.section([results]).splitlines()
    assert lines[:2] == ["### NVIDIA H100", "NVIDIA H100; 79 GiB; driver 580; SM up to 1980 MHz; memory 2619 MHz; limit 700 W. "
                         "Commit abc. matmul 700 TFLOP/s."]
    assert "| 64/4 heads, 64k | 128 | 600 (1.20 ×) | 600 (1.20 ×) |  | 900 (1.80 ×) |  |  | 500 | 900* |" in lines
    assert "|  | 16 |  |  |  | 900 (1.80 ×) | 1050 (2.10 ×, 40 % skipped) |  |  |  |" in lines
    assert "| 32/8 heads, 64 × 64k, FP8 K and V | 128 | 4 | 4 |  | 6 |  |  | – | – |" in lines
    assert "- cuDNN refuses (one dtype, please): 32/8 heads, 64 × 64k, FP8 K and V." in lines
    assert any(line.startswith("- \\* K and V were expanded") for line in lines)


def test_shapes_have_different_short_names():
    shapes = [shape for _, shape, _ in cases.standard()]
    assert len({rows.short(shape) + shape.phase for shape in shapes}) == len(shapes)


def test_a_document_gets_the_tables_between_its_comments():
    document = f"a\n{tables.BEGIN}\nold\n{tables.END}\nz\n"
    new = tables.updated(document, "new\ntext")
    assert new == f"a\n{tables.BEGIN}\nnew\ntext\n{tables.END}\nz\n"
    assert tables.updated(new, "new\ntext") == new
    with pytest.raises(ValueError):
        tables.updated("no comments", "new")


def test_the_document_is_up_to_date():
    done = subprocess.run([sys.executable, str(record.ROOT / "bench/tables.py"), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_plot_is_xml_with_a_line_for_each_stretch_and_peer(results, tmp_path):
    done = subprocess.run([sys.executable, str(record.ROOT / "bench/plot.py"), str(results), "-o", str(tmp_path / "svg")],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [name.rsplit("/", 1)[1] for name in done.stdout.split()] == ["nvidia_h100_prefill.svg", "nvidia_h100_decode.svg"]
    words = [element.text for element in xml.etree.ElementTree.parse(tmp_path / "svg/nvidia_h100_prefill.svg").iter()
             if element.tag.endswith("text")]
    for name, last in [("stretches of 128", "900"), ("stretches of 16", "900"), ("skip off", "600"), ("cuDNN", "500")]:
        assert name in words and f"{name}: {last}" in words
    assert "flash (K, V expanded)" in words


def test_a_plot_of_nothing_says_so(tmp_path):
    path = tmp_path / "empty.csv"
    record.append(path, [])
    done = subprocess.run([sys.executable, str(record.ROOT / "bench/plot.py"), str(path)], capture_output=True, text=True)
    assert done.returncode == 1 and "no such rows" in done.stderr


def test_labels_are_moved_apart_and_stay_above_the_axis():
    assert plot.spread([10.0, 12.0, 300.0], 16, 290.0) == [10.0, 26.0, 290.0]
    assert plot.spread([288.0, 289.0], 16, 290.0) == [274.0, 290.0]


@pytest.mark.parametrize("top, step", [(1200, 200), (5.2, 1), (0.7, 0.2), (90, 20)])
def test_marks_of_an_axis_are_round(top, step):
    assert plot.nice_step(top) == pytest.approx(step)
