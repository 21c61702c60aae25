"""The parts of the GPU benchmark that need no GPU: its cases, its inputs and their answer, its rows and table."""

import ctypes
import re
import subprocess
import sys

import numpy as np
import pytest
import record
from gpu import cases, library, report

TABLE = [(shape, stretches) for _, shape, stretches in cases.standard() + cases.quick()]


def test_the_name_of_a_case_says_all_of_it():
    for shape, stretches in TABLE:
        for variant in cases.variants(stretches):
            got_shape, got = cases.parse_case(cases.case_name(shape, variant))
            assert got_shape == shape
            assert (got.skip, got.share) == (variant.skip, variant.share)
            assert not variant.share or got.stretch == variant.stretch
    assert cases.parse_case("matmul 8192x8192x8192 bf16") is None


def test_no_case_stands_twice_and_every_filter_has_one():
    shapes = [shape for _, shape, _ in cases.standard()]
    assert len(set(shapes)) == len(shapes)
    for table in (cases.standard(), cases.quick()):
        assert {kind for kind, *_ in table} == set(cases.FILTERS)


def test_work_is_that_of_dense_attention():
    assert cases.prefill(64, 4, 1000).flops() == 4 * 64 * 128 * 1000 * 1000 / 2
    assert cases.prefill(64, 4, 1000, q_len=10).flops() == 4 * 64 * 128 * 10 * (990 + 5)
    assert cases.decode(32, 8, 3, 1000).kv_bytes() == 2 * 2 * 3 * 8 * 128 * 1000
    assert cases.decode(32, 8, 3, 1000, kv_type="fp8").kv_bytes() == 2 * 3 * 8 * 128 * 1000
    assert cases.decode(32, 8, 1, 1000).speed(1e-6) == pytest.approx(2 * 2 * 8 * 128 * 1000 / 1e-6 / 1e12)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.9, 1.0])
def test_the_asked_share_of_stretches_is_cold_but_never_the_ends(share):
    cold = cases.cold_stretches(np.random.default_rng(1).random((3, 2, 100)), share)
    assert (cold.sum(-1) == min(round(100 * share), 98)).all()
    assert not cold[..., 0].any() and not cold[..., -1].any()
    assert share in (0.0, 1.0) or (cold[0, 0] != cold[0, 1]).any()


def brute_force_share(cold_keys, shape, rows, keys):
    visible = skipped = 0
    for row in range(0, shape.q_len, rows):
        last = shape.kv_len - shape.q_len + min(row + rows, shape.q_len) - 1
        for key in range(0, last + 1, keys):
            visible += 1
            skipped += cold_keys[key:key + keys].all()
    return skipped / visible


@pytest.mark.parametrize("stretch", [16, 32, 128])
@pytest.mark.parametrize("plan", ["64x16/128 sink-diagonal-inward", "64x128/128 first-to-last", "16*4x32/32 first-to-last"])
@pytest.mark.parametrize("shape", [cases.prefill(4, 2, 1024), cases.prefill(4, 2, 1024, q_len=200), cases.decode(4, 2, 1, 1024)])
def test_expected_share_counts_the_tiles_with_cold_keys_only(shape, plan, stretch):
    cold = cases.cold_stretches(np.random.default_rng(stretch).random(1024 // stretch), 0.5)
    rows, keys = cases.parse_plan(plan)
    expected = brute_force_share(cold.repeat(stretch), shape, rows, keys)
    assert cases.expected_share(cold, stretch, shape, plan) == pytest.approx(expected)


def test_a_skipped_share_that_the_inputs_do_not_have_is_a_problem():
    assert cases.share_problem(0.5, 0.5) is None
    assert cases.share_problem(0.4, 0.5) is None  # said in the notes, but sound
    assert cases.share_problem(0.001, 0.0)
    assert cases.share_problem(0.52, 0.5)


def outcome_of(shape):
    outcome = report.Outcome(shape)
    half = cases.Variant(True, 0.5, 16)
    outcome.add("ours", cases.DENSE, "hopskip kernel", [400.0, 500.0, 600.0])
    outcome.add("cudnn", cases.DENSE, "torch cuDNN", [250.0])
    outcome.skipped[half] = (0.3, 0.5)
    outcome.add("ours", half, "hopskip kernel", [750.0])
    outcome.refuse("flash", "torch flash", "no reason")
    return outcome


def test_rows_have_the_columns_of_every_result():
    rows = outcome_of(cases.prefill(64, 4, 16384)).rows("command", record.origin())
    assert [(row["program"], row["metric"], row["value"], row["unit"] if "unit" in row else None) for row in rows] == [
        ("hopskip kernel", "speed", "500", "TFLOP/s"), ("torch cuDNN", "speed", "250", "TFLOP/s"),
        ("hopskip kernel", "speed", "750", "TFLOP/s"), ("hopskip kernel", "skipped", "30", "%"),
        ("torch flash", "refused", "no reason", None)]
    assert all(set(row) <= set(record.COLUMNS) for row in rows)
    assert (rows[0]["low"], rows[0]["high"]) == ("400", "600")


def test_table_compares_with_own_dense_and_with_each_peer():
    lines = report.table([outcome_of(cases.prefill(64, 4, 16384))], ["cudnn", "flash"]).splitlines()
    assert len(lines) == 3
    assert re.search(r"dense +500 +400–600 +250 +2\.000x$", lines[1])
    assert re.search(r"50 % cold in stretches of 16 +750 +750–750 +30\.0 % +1\.500x +3\.000x$", lines[2])


def test_notes_say_what_is_odd_and_each_remark_once():
    outcomes = [outcome_of(cases.prefill(64, 4, n)) for n in (1024, 2048)]
    outcomes[0].fail(cases.NOTHING, "skips 3 % where nothing is cold")
    text = "\n".join(report.notes(outcomes))
    assert text.count("flash refuses: no reason") == 1
    assert "NOT REPORTED: skips 3 %" in text and "skips 30.0 % although 50.0 %" in text


def test_structs_have_the_layout_of_the_c_side():
    assert [ctypes.sizeof(struct) for struct in (library.Config, library.Sequence, library.Tensors)] == [40, 56, 64]


def bench(*arguments):
    return subprocess.run([sys.executable, str(record.ROOT / "bench/gpu/attention.py"), *arguments],
                          capture_output=True, text=True)


def test_without_the_library_the_way_to_it_is_said(tmp_path):
    done = bench("--library", str(tmp_path))
    assert done.returncode == 1 and not done.stdout
    assert re.fullmatch(r"attention\.py: .*libhopskip_attention_c\.so is not there: build the target .*\n", done.stderr)


def test_cases_can_be_filtered_and_listed():
    listed = bench("--list", "--cases", "decode,fp8", "--match", "batch 64").stdout.splitlines()
    assert listed and all(line.startswith("decode") and "batch 64" in line for line in listed)
    assert "there are prefill, chunked, decode, fp8" in bench("--cases", "none").stderr


@pytest.mark.parametrize("shape", [
    cases.Shape("prefill", 4, 2, 64, 1, 256, 256), cases.Shape("prefill", 4, 2, 64, 1, 100, 256, page=64),
    cases.Shape("decode", 4, 2, 64, 2, 1, 256, page=64), cases.Shape("decode", 4, 2, 64, 2, 1, 256, 0, "fp8")])
def test_inputs_know_the_answer(shape):
    torch = pytest.importorskip("torch")
    from gpu import inputs as tensors
    variant = cases.Variant(True, 0.5, 16)
    inputs = tensors.Inputs(shape, "cpu")
    inputs.set_cold(variant)
    cold = inputs.cold(variant).repeat_interleave(16, -1)
    k, v = (inputs.in_order(kv.float()) for kv in (inputs.k, inputs.v))
    assert torch.equal(k[..., 0].transpose(1, 2) < 0, cold)
    q = inputs.q.float().view(shape.batch, shape.q_len, shape.heads, -1).transpose(1, 2)
    k, v = (kv.transpose(1, 2).repeat_interleave(shape.group, 1) for kv in (k, v))
    visible = torch.ones(shape.q_len, shape.kv_len).tril(shape.kv_len - shape.q_len).bool()
    # Cold keys weigh e^-20: with or without them the answer is the same.
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, visible).transpose(1, 2).reshape(inputs.q.shape)
    exact = inputs.exact(variant)
    assert inputs.problem(out, exact) is None
    inputs.set_cold(cases.DENSE)
    assert float(inputs.k.float()[..., 0].abs().max()) == 0.0
    assert "relative error" in inputs.problem(out, inputs.exact(cases.DENSE))
    assert "relative error" in inputs.problem(out.fill_(float("nan")), exact)
