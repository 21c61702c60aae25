"""What run, chat, info, bench and eval do with the real model."""
import csv
import json
import re

import pytest

KEYS = ["model", "device", "kv_dtype", "prompt_tokens", "generated_tokens", "ttft_s", "prefill_tokens_per_s", "tpot_s", "text",
        "tokens", "prefill", "decode"]
PHASE_KEYS = ["threshold_scale_factor", "tiles", "skipped", "sparsity", "per_layer_head"]


def test_greedy_runs_agree_and_stats_have_their_form(hopskip, model, tmp_path):
    prompt = ["-p", "Name three rivers.", "-n", 12]
    stats, done = hopskip.stats(tmp_path, *prompt)
    again, _ = hopskip.stats(tmp_path, *prompt)
    assert again["tokens"] == stats["tokens"]
    assert list(stats) == KEYS
    assert stats["model"] == "smollm2-135m" and stats["kv_dtype"] == "bf16"
    assert ", KV cache bf16\n" in done.err
    assert stats["generated_tokens"] == len(stats["tokens"]) == 12
    assert 0 < stats["tpot_s"] < stats["ttft_s"] + 10
    assert done.out == stats["text"] + "\n"
    for word in ("TTFT", "TPOT", "tokens/s", "prefill dense", "decode dense"):
        assert word in done.err
    for phase in ("prefill", "decode"):
        assert list(stats[phase]) == PHASE_KEYS
        assert stats[phase]["tiles"] > 0 and stats[phase]["skipped"] == 0
        heads = [head for layer in stats[phase]["per_layer_head"] for head in layer]
        assert len(stats[phase]["per_layer_head"]) == 30 and len(heads) == 270
        assert sum(head["tiles"] for head in heads) == stats[phase]["tiles"]


def test_long_prompt_skips_and_dense_does_not(hopskip, model, tmp_path, long_text):
    prompt = ["-f", "-", "-n", 6]
    sparse, done = hopskip.stats(tmp_path, *prompt, "--threshold-scale-factor", "prefill=300,decode=100", stdin=long_text)
    assert sparse["prompt_tokens"] > 1000
    for phase, factor in (("prefill", 300), ("decode", 100)):
        assert sparse[phase]["threshold_scale_factor"] == factor
        assert 0.05 < sparse[phase]["sparsity"] < 1
        assert sparse[phase]["sparsity"] == pytest.approx(sparse[phase]["skipped"] / sparse[phase]["tiles"])
    assert "factor 300" in done.err and "note" not in done.err
    dense, _ = hopskip.stats(tmp_path, *prompt, "--dense", stdin=long_text)
    for phase in ("prefill", "decode"):
        assert dense[phase]["skipped"] == 0
        assert dense[phase]["tiles"] >= sparse[phase]["tiles"] > 0


def test_a_factor_above_the_length_is_clamped_and_said(hopskip, model, tmp_path):
    prompt = ["-p", "Name three rivers.", "-n", 4]
    large, done = hopskip.stats(tmp_path, *prompt, "--threshold-scale-factor", 1e6)
    larger, _ = hopskip.stats(tmp_path, *prompt, "--threshold-scale-factor", 1e9)
    assert "clamped to 1" in done.err
    assert any("clamped" in notice for notice in large["notices"])
    assert large["tokens"] == larger["tokens"] and large["prefill"]["skipped"] == larger["prefill"]["skipped"]
    assert large["prefill"]["sparsity"] < 1


def test_settings_in_their_order(hopskip, model, tmp_path):
    config = tmp_path / "options.yaml"
    config.write_text("sparse_attention_config:\n  algorithm: skip_softmax\n"
                      "  threshold_scale_factor: {prefill: 10.0, decode: 5.0}\n")
    prompt = ["-p", "hi", "-n", 2]

    def factors(*args):
        stats, _ = hopskip.stats(tmp_path, *prompt, *args)
        return stats["prefill"]["threshold_scale_factor"], stats["decode"]["threshold_scale_factor"]

    assert factors("--config", config) == (10, 5)
    setting = ("--set", "sparse_attention_config.threshold_scale_factor.decode=6")
    assert factors("--extra_llm_api_options", config, *setting) == (10, 6)
    assert factors("--config", config, *setting, "--threshold-scale-factor", "prefill=20") == (20, 6)
    assert factors("--config", config, "--dense") == (0, 0)


def test_profile(hopskip, model, tmp_path):
    fit = {"prefill": {"a": 8.0, "b": 5.0}, "decode": {"a": 1.0, "b": 5.0}}
    profile = {"sparse_attention_config": {"config_groups": {"group_0": {"threshold_scale_factor": fit}}},
               "hopskip": {"min_context": 4096}}
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(profile))
    prompt = ["-p", "hi", "-n", 2, "--profile", path]
    stats, done = hopskip.stats(tmp_path, *prompt, "--target-sparsity", "prefill=0.5")
    assert stats["prefill"]["threshold_scale_factor"] == pytest.approx(8.0 * 2.718281828459045**2.5)
    assert stats["decode"]["threshold_scale_factor"] == 0
    assert stats["prefill"]["skipped"] == 0 and "minimum context of 4096" in done.err
    profile["hopskip"]["model"] = "another"
    path.write_text(json.dumps(profile))
    hopskip.fails(2, "fitted for 'another'", "run", "smollm2-135m", *prompt, "--target-sparsity", "0.5")


def test_stop_raw_and_system(hopskip, model, tmp_path):
    free, _ = hopskip.stats(tmp_path, "-p", "Count: one two three", "--raw", "-n", 12)
    stop = free["text"][3:8]
    stopped, _ = hopskip.stats(tmp_path, "-p", "Count: one two three", "--raw", "-n", 12, "--stop", stop)
    assert stopped["text"] == free["text"][:free["text"].index(stop)]
    plain, _ = hopskip.stats(tmp_path, "-p", "hi", "-n", 1)
    system, _ = hopskip.stats(tmp_path, "-p", "hi", "-n", 1, "--system", "Speak like a pirate, please, and at length.")
    raw, _ = hopskip.stats(tmp_path, "-p", "hi", "-n", 1, "--raw")
    assert raw["prompt_tokens"] < plain["prompt_tokens"] != system["prompt_tokens"]


def test_seed(hopskip, model, tmp_path):
    def tokens(seed):
        return hopskip.stats(tmp_path, "-p", "Tell me a story.", "-n", 8, "--temp", 1.5, "--seed", seed)[0]["tokens"]

    assert tokens(1) == tokens(1) != tokens(2)


def test_sampling_flags_that_do_nothing_are_named(hopskip, model):
    prompt = ["run", "smollm2-135m", "-p", "hi", "-n", 1]
    done = hopskip(*prompt, "--seed", 3, "--top-p", 0.5)
    assert done.err.startswith("note     temperature is 0, which always takes the likeliest token: --top-p, --seed do nothing")
    assert "does nothing" in hopskip(*prompt, "--min-p", 0.1).err
    for words in ([], ["--repeat-penalty", 1.1], ["--seed", 3, "--temp", 0.5]):
        assert "nothing" not in hopskip(*prompt, *words).err


def test_chat(hopskip, model):
    done = hopskip("chat", "smollm2-135m", "-n", 6, stdin="/help\nhi\n/stats\n/reset\nhi\n/exit\nnever read\n")
    assert done.code == 0
    first, second = [line for line in done.out.splitlines() if line]
    assert first == second  # /reset forgets, and greedy repeats itself
    assert "/reset" in done.err and "TTFT" in done.err


def test_info(hopskip, model):
    done = hopskip("info", "smollm2-135m", "--explain")
    assert done.code == 0
    for words in ("backend", "reference", "cuda", "30 layers", "8192 tokens", "sink-diagonal-inward", "(--ctx)"):
        assert words in done.out
    short = hopskip("info")
    assert short.code == 0
    if "attention on cuda:0" in short.out:
        assert "head_dim 256\n" in done.out and "compute capability" in short.out
    else:
        assert re.search("^GPU attention does not run here: (no CUDA device: |this build has no CUDA kernels)", short.out,
                         re.MULTILINE)
    for args in (["--kv-dtype", "fp8"], ["smollm2-135m", "--kv-dtype", "fp8"]):
        hopskip.fails(1, "K and V in fp8", "info", "--device", "cpu", *args)
        told = hopskip("info", "--device", "cpu", *args, "--explain")
        assert told.code == 0 and "KV cache     fp8 does not run: " in told.out and ("30 layers" in told.out) == (len(args) == 3)
    examples = hopskip("bench", "--help").out
    assert all(f"  hopskip bench {name} " in examples for name in ("prefill", "decode", "throughput", "attention"))
    for command in ([], ["run"], ["chat"], ["info"], ["bench"], ["bench", "prefill"], ["eval"]):
        help_text = hopskip(*command, "--help")
        assert help_text.code == 0 and "Usage:" in help_text.out


def test_bench(hopskip, model, tmp_path):
    for phase, extra in (("prefill", []), ("decode", ["-n", 4])):
        path = tmp_path / f"{phase}.csv"
        done = hopskip("bench", phase, "smollm2-135m", "--ctx", "64,128", "--skip", "0,10", "--repeat", 1, "--csv", path,
                       *extra)
        assert done.code == 0, done.err
        rows = list(csv.DictReader(path.open()))
        assert [(row["ctx"], row["factor"]) for row in rows] == [("64", "0"), ("64", "10"), ("128", "0"), ("128", "10")]
        assert all(float(row["tokens/s"]) > 0 for row in rows)
        assert list(rows[0])[-2:] == ["kv_dtype", "seed"] and {row["kv_dtype"] for row in rows} == {"bf16"}
        assert len(done.out.splitlines()) == 5 and "KV cache bf16" in done.err
    done = hopskip("bench", "prefill", "--ctx", "64,512", "smollm2-135m", "--skip", 10, "--repeat", 1, "--kv-tokens", 128)
    assert done.code == 0, done.err
    fits, does_not = (line.split() for line in done.out.splitlines()[1:])
    assert fits[-1] == "-" != fits[2] and does_not == ["512", "10", "-", "-", "-", "-"]
    assert "ctx 512: 512 tokens do not fit the KV cache of 128 (--kv-tokens)" in done.err
    assert "speed-up is against the dense run: --skip 0,… makes one" in done.err


def test_bench_attention(hopskip):
    done = hopskip("bench", "attention", "--device", "cpu", "--ctx", "256", "--cold", "0,0.9", "--repeat", 2)
    assert done.code == 0, done.err
    header, dense, sparse = done.out.splitlines()
    assert "0.0 %" in dense and header.split()[:3] == ["ctx", "cold", "ms"]
    hopskip.fails(2, "--cold", "bench", "attention", "--cold", "2")
    hopskip.fails(1, "of memory to give: take fewer keys (--ctx) or heads", "bench", "attention", "--device", "cpu", "--ctx", 1 << 24,
                  "--phase", "decode", "--heads", 1024, "--kv-heads", 1024)
    hopskip.fails(2, "'nan' is not a number from 0 to 1", "bench", "attention", "--cold", "0,nan")
    hopskip.fails(2, "3", "bench", "attention", "--heads", "4", "--kv-heads", "3")
    hopskip.fails(1, "--device cuda:99: no ", "bench", "attention", "--device", "cuda:99")
    hopskip.fails(2, "cuda:N", "bench", "attention", "--device", "gpu")
    hopskip.fails(2, "--threads", "bench", "attention", "--device", "cuda", "--threads", "2")
    hopskip.fails(2, "--batch 2", "bench", "attention", "--device", "cpu", "--batch", "2")


def test_eval(hopskip, model, tmp_path, long_text):
    text = tmp_path / "text.txt"
    text.write_text(long_text)
    done = hopskip("eval", "smollm2-135m", "ppl", "--text", text, "--windows", 1, "--length", 512, "--decode-from", 500,
                   "--threshold-scale-factor", "0,100", "-o", tmp_path / "report")
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "report/ppl.json").read_text())
    dense, sparse = report["results"]
    assert 1 < dense["perplexity"] < 20
    assert dense["prefill"]["skipped"] == 0 < sparse["prefill"]["skipped"]
    assert sparse["perplexity"] == pytest.approx(dense["perplexity"], rel=0.2)
    assert dense["decode"]["tokens"] == 11 and dense["decode"]["tiles"] > 0
    assert len((tmp_path / "report/ppl.csv").read_text().splitlines()) == 3
    assert (tmp_path / "report/ppl.csv").read_text().splitlines()[1].endswith(",bf16") and report["kv_dtype"] == "bf16"
    hopskip.fails(2, "windows is 0", "eval", "smollm2-135m", "ppl", "--text", text, "--windows", 0)
    hopskip.fails(2, "windows of 4096", "eval", "smollm2-135m", "ppl", "--text", text, "--length", 4096)
