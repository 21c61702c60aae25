"""hopskip bench --shape: random weights in a known shape, the skipped share that was asked for, times by part."""
import csv

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
    hopskip.fails(2, "9 layers", "bench", "decode", "--shape", "tiny", "--layers", 9)
    hopskip.fails(2, "--shape is required", "bench", "throughput")
    hopskip.fails(2, "--skip-share says", "bench", "prefill", "--shape", "tiny", "--set",
                  "sparse_attention_config.threshold_scale_factor=10")
