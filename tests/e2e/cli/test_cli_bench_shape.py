"""hopskip bench --shape: random weights in a known shape, the skipped share that was asked for, times by part."""
import csv
import re

import pytest


def rows_of(hopskip, tmp_path, *args):
    path = tmp_path / "rows.csv"
    done = hopskip("bench", *args, "--csv", path, "--device", "cpu")
    assert done.code == 0, done.err
    assert "hot or cold" in done.err
    return list(csv.DictReader(path.open())), done


@pytest.mark.parametrize("shape", ["tiny", "tiny-moe"])
def test_prefill(hopskip, tmp_path, shape):
    rows, done = rows_of(hopskip, tmp_path, "prefill", "--shape", shape, "--ctx", "2048", "--skip-share", "0,0.5,0.75",
                         "--repeat", 1)
    assert [row["share"] for row in rows] == ["0", "0.5", "0.75"]
    assert float(rows[0]["skipped_prefill"]) == 0
    for row in rows:
        assert float(row["skipped_prefill"]) == pytest.approx(float(row["share"]), abs=0.08)
        assert float(row["seconds"]) > 0
        assert float(row["tokens_per_s"]) == pytest.approx(2048 / float(row["seconds"]), rel=1e-3)
        parts = {part: float(row[f"{part}_s"]) for part in ("attention", "linear", "experts", "rest")}
        assert parts["attention"] > 0 and parts["linear"] > 0 and parts["rest"] > 0
        assert (parts["experts"] > 0) == (shape == "tiny-moe")
    header = done.out.splitlines()[0]
    assert "TTFT s" in header and "attention ms" in header and ("experts ms" in header) == (shape == "tiny-moe")
    assert done.out.splitlines()[-1].startswith("memory  KV cache of")


def test_decode(hopskip, tmp_path):
    rows, done = rows_of(hopskip, tmp_path, "decode", "--shape", "tiny", "--layers", 2, "--ctx", "1024,2048", "--batch", "3,1",
                         "--skip-share", "0,0.5", "-n", 6)
    assert [(row["ctx"], row["batch"], row["share"]) for row in rows] == [
        (ctx, batch, share) for ctx in ("1024", "2048") for batch in ("1", "3") for share in ("0", "0.5")]
    for row in rows:
        assert row["layers"] == "2" and row["samples"] == "6"
        assert float(row["skipped_decode"]) == pytest.approx(float(row["share"]), abs=0.08)
        assert float(row["tokens_per_s"]) == pytest.approx(int(row["batch"]) / float(row["seconds"]), rel=1e-3)
        assert float(row["attention_s"]) > 0 and row["why_not"] == ""
    assert len(done.out.splitlines()) == 10 and "TPOT ms" in done.out


def test_throughput(hopskip, tmp_path):
    rows, _ = rows_of(hopskip, tmp_path, "throughput", "--shape", "tiny", "--ctx", "1024", "-n", 16, "--requests", 5, "--running",
                      2)
    for row in rows:
        assert float(row["skipped_prefill"]) == pytest.approx(float(row["share"]), abs=0.08)
        assert float(row["skipped_decode"]) == pytest.approx(float(row["share"]), abs=0.08)
        assert float(row["tokens_per_s"]) == pytest.approx(5 * (1024 + 16) / float(row["seconds"]), rel=1e-3)


def test_speed_up_is_against_the_dense_row(hopskip, tmp_path):
    prefill = ["bench", "prefill", "--shape", "tiny", "--layers", 1, "--device", "cpu", "--repeat", 1, "--no-parts"]
    done = hopskip(*prefill, "--ctx", "512,1024", "--skip-share", "0.5,0")
    header, *lines = done.out.splitlines()[:5]
    assert header.split()[-1] == "speed-up"
    assert [line.split()[-1] == "1.00x" for line in lines[1::2]] == [True, True]
    assert "dense run" not in done.err
    done = hopskip(*prefill, "--ctx", 512, "--skip-share", "0.5,0.25")
    assert [line.split()[-1] for line in done.out.splitlines()[1:3]] == ["-", "-"]
    assert "speed-up is against the dense run: --skip-share 0,… makes one" in done.err


def test_csv_says_what_else_was_chosen(hopskip, tmp_path):
    rows, done = rows_of(hopskip, tmp_path, "throughput", "--shape", "tiny", "--layers", 1, "--ctx", 256, "-n", 2, "--requests", 3,
                         "--running", 2, "--seed", 7, "--kv-dtype", "f16")
    assert list(rows[0])[-4:] == ["why_not", "kv_dtype", "running", "seed"]  # behind those of before
    assert {(row["batch"], row["kv_dtype"], row["running"], row["seed"]) for row in rows} == {("3", "f16", "2", "7")}
    assert "KV cache f16" in done.err.splitlines()[0]
    rows, _ = rows_of(hopskip, tmp_path, "decode", "--shape", "tiny", "--layers", 1, "--ctx", 256, "-n", 2, "--batch", "1,2")
    assert [row["running"] for row in rows] == [row["batch"] for row in rows]


@pytest.mark.parametrize("args", [["prefill", "--repeat", 1], ["throughput", "--requests", 2, "-n", 2]], ids=["prefill", "throughput"])
def test_what_does_not_fit_leaves_the_other_rows(hopskip, tmp_path, args):
    rows, done = rows_of(hopskip, tmp_path, *args, "--shape", "tiny", "--layers", 1, "--ctx", "64,1024", "--kv-tokens", 256)
    assert [bool(row["why_not"]) for row in rows] == [False, False, True, True]
    assert "1024 tokens needs a KV cache of" in rows[2]["why_not"] and rows[2]["why_not"].endswith("256 fit (--kv-tokens)")
    assert done.out.splitlines()[3].split()[-1] == "-"


def test_a_cache_of_just_the_prompt_is_enough(hopskip, tmp_path):
    rows, _ = rows_of(hopskip, tmp_path, "prefill", "--shape", "tiny", "--layers", 1, "--ctx", 256, "--kv-tokens", 256, "--repeat", 1)
    assert [row["why_not"] for row in rows] == ["", ""]


def test_notes_on_lengths(hopskip):
    prefill = ["bench", "prefill", "--shape", "tiny", "--layers", 1, "--device", "cpu", "--repeat", 1, "--no-parts"]
    done = hopskip(*prefill, "--ctx", 200, "--skip-share", "0,0.5")
    assert "ctx 200 is too short for a share of 0.5" in done.err and "share of 0:" not in done.err
    done = hopskip(*prefill, "--ctx", "1024,32800", "--skip-share", 0)
    assert "ctx 32800: beyond the 32768 tokens that tiny is made for" in done.err and "ctx 1024" not in done.err


def test_what_the_machine_has_no_memory_for(hopskip):
    # 141 TB: the smallest shape, whose weights fit anywhere, with a cache that fits nowhere.
    done = hopskip("bench", "decode", "--shape", "tiny", "--ctx", 1 << 30, "--batch", 64, "--device", "cpu")
    assert done.code == 1 and done.out == ""
    first, *_, last = done.err.splitlines()
    assert first.startswith("tiny, 4 layers, random weights, on cpu")  # before the weights are made
    assert re.match(r"hopskip: tiny shape: the weights need 0\.0 GB and a KV cache of \d+ tokens 14\d{4}\.\d GB", last)
    assert last.endswith("take a shorter context (--ctx), fewer kv_tokens (--kv-tokens) or fewer sequences at a time, or fewer --layers")
    done = hopskip("bench", "decode", "--shape", "tiny", "--layers", 1, "--ctx", 1 << 30, "--batch", 127, "--device", "cpu")
    assert done.code == 1 and "--layers" not in done.err


def test_without_parts_and_what_does_not_fit(hopskip):
    done = hopskip("bench", "prefill", "--shape", "tiny", "--ctx", "256", "--skip-share", "0", "--no-parts", "--repeat", 1)
    assert done.code == 0 and "attention ms" not in done.out and "hot or cold" not in done.err
    done = hopskip("bench", "decode", "--shape", "tiny", "--ctx", "512", "--batch", "1,8", "--skip-share", "0", "-n", 2, "--set",
                   "kv_cache_config.max_tokens=1024")
    assert done.code == 0, done.err
    assert "8 sequences of 512 tokens need a KV cache of" in done.err
    assert [line.split()[:2] for line in done.out.splitlines()[1:3]] == [["512", "1"], ["512", "8"]]


def test_wrong_use(hopskip):
    hopskip.fails(2, "give a MODEL, or --shape", "bench", "prefill")
    hopskip.fails(2, "excludes", "bench", "prefill", "smollm2-135m", "--shape", "tiny")
    hopskip.fails(2, "excludes", "bench", "prefill", "--shape", "tiny", "--skip", "10")
    hopskip.fails(2, "--shape", "bench", "decode", "smollm2-135m", "--batch", "2")
    hopskip.fails(2, "there are llama-3.1-8b, qwen3-8b", "bench", "decode", "--shape", "llama")
    hopskip.fails(2, "'smollm2-135m' means nothing to 'hopskip bench throughput'", "bench", "throughput", "smollm2-135m")
    hopskip.fails(2, "did you mean '--shape'?", "bench", "prefill", "--shapee", "x")
    hopskip.fails(2, "did you mean '--shape'?", "bench", "prefill", "--ctx", "64", "--shapee=tiny", "smollm2-135m")
    hopskip.fails(2, "'128' is a number: lists are written with commas", "bench", "prefill", "--shape", "tiny", "--ctx", 64, 128)
    hopskip.fails(2, "'nan' is not a number from 0 to 1", "bench", "prefill", "--shape", "tiny", "--skip-share", "nan")
    hopskip.fails(2, "--csv: the name is empty", "bench", "prefill", "--shape", "tiny", "--csv", "")
    for seed in ("99999999999999999999", "-1"):
        hopskip.fails(2, f"'{seed}' is not a whole number from 0", "bench", "prefill", "--shape", "tiny", "--seed", seed)
    hopskip.fails(2, "--chunk 4 is too small for --batch 8", "bench", "decode", "--shape", "tiny", "--batch", "1,8", "--chunk", 4)
    hopskip.fails(2, "--chunk 4 is too small for --running 8", "bench", "throughput", "--shape", "tiny", "--running", 8, "--chunk", 4)
    hopskip.fails(2, "9 layers", "bench", "decode", "--shape", "tiny", "--layers", 9)
    hopskip.fails(2, "--shape is required", "bench", "throughput")
    hopskip.fails(2, "--skip-share says", "bench", "prefill", "--shape", "tiny", "--set",
                  "sparse_attention_config.threshold_scale_factor=10")
