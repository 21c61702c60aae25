"""The engine's logits against transformers in float32: every family, file format and rope, and a real model.

Measured values are printed; run with -rP to see them.
"""
import functools
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import reference_models
import torch
import tree

BUILD = pathlib.Path(os.environ.get("HOPSKIP_BUILD", tree.ROOT / "build"))
SMOLLM2 = tree.cache() / "SmolLM2-135M-Instruct.Q4_1.gguf"
BOOK = tree.cache() / "book.txt"

MIN_SAME_ARGMAX = 0.99
MAX_MEAN_KL = 1e-3
TINY = ["llama", "llama_untied", "llama3_rope", "llama_yarn", "llama_linear", "qwen2", "qwen2_yarn", "qwen2_window",
        "qwen3", "qwen3_untied", "qwen3_moe", "qwen3_moe_mixed"]
# name → probe options: in one prefill, in chunks, and token by token
MODES = {"prefill": [], "chunks": ["--chunk", "20"], "decode": ["--decode-from", "1"]}


@pytest.fixture(scope="session")
def probe(tmp_path_factory):
    binary = BUILD / "logits_probe"
    if not binary.exists():
        pytest.skip(f"{binary} is not built: ninja logits_probe, or set HOPSKIP_BUILD")
    folder = tmp_path_factory.mktemp("probe")

    def run(model, tokens, vocab, *options):
        ids, out = folder / "tokens.txt", folder / "logits.bin"
        ids.write_text(" ".join(map(str, tokens)))
        done = subprocess.run([binary, model, ids, out, *options], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return np.fromfile(out, dtype="<f4").reshape(-1, vocab), json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    subprocess.run([sys.executable, tree.ROOT / "tools/make_tiny_models.py", folder], check=True)
    return folder


def check(what, expected, found, near_tie=reference_models.NEAR_TIE, max_mean_kl=MAX_MEAN_KL):
    result = reference_models.compare(expected, found, near_tie)
    print(what, json.dumps({key: float(f"{value:.3g}") for key, value in result.items()}))
    assert result["same_argmax"] >= MIN_SAME_ARGMAX, what
    assert result["mean_kl"] <= max_mean_kl, what


@pytest.fixture(scope="session")
def naive_error(tiny):
    """What transformers itself loses in bfloat16. These random models amplify rounding far more than trained ones."""

    @functools.cache
    def measure(name):
        golden = json.loads((tiny / name / "golden.json").read_text())
        exact, naive = (reference_models.logits(reference_models.from_folder(tiny / name / "hf", dtype), golden["prompt"])
                        for dtype in (torch.float32, torch.bfloat16))
        return reference_models.compare(exact, naive)

    return measure


@pytest.mark.parametrize("backend,simd", [("reference", ""), ("cpu", "avx2"), ("cpu", "")])
@pytest.mark.parametrize("name", TINY)
def test_tiny_model(tiny, naive_error, probe, name, backend, simd):
    folder = tiny / name
    golden = json.loads((folder / "golden.json").read_text())
    vocab = golden["vocab"]
    limits = {}
    if backend == "cpu" and not simd:  # may multiply in bfloat16: within twice the naive error
        error = naive_error(name)
        limits = {"near_tie": 2 * error["max_abs"], "max_mean_kl": 2 * error["mean_kl"]}
        print(f"{name} transformers in bfloat16", json.dumps(error))
    for file, logits in golden["files"].items():
        expected = np.fromfile(folder / logits, dtype="<f4").reshape(-1, vocab)
        for mode, options in MODES.items():
            options = ["--backend", backend, "--simd", simd, *options]
            found, _ = probe(folder / file, golden["prompt"], vocab, *options)
            check(f"{name}/{file} {backend} {simd} {mode}", expected, found, **limits)


@pytest.fixture(scope="session")
def smollm2():
    """512 tokens of a novel, and transformers' logits of them on the dequantised weights."""
    for path in (SMOLLM2, BOOK):
        if not path.exists():
            pytest.skip(f"{path} is not there: make test fetches it")
    tokens = reference_models.encode_with_gguf(SMOLLM2, BOOK.read_text(encoding="utf-8")[20000:24000])[:512]
    assert len(tokens) == 512
    torch.set_num_threads(2)
    return tokens, reference_models.logits(reference_models.llama_from_gguf(SMOLLM2), tokens)


@pytest.mark.parametrize("simd", ["", "avx2"])
@pytest.mark.parametrize("mode", MODES)
def test_smollm2(smollm2, probe, mode, simd):
    tokens, expected = smollm2
    options = ["--chunk", "200"] if mode == "chunks" else MODES[mode]
    found, run = probe(SMOLLM2, tokens, expected.shape[1], "--backend", "cpu", "--simd", simd, *options)
    check(f"SmolLM2 {run['backend']} {mode}", expected, found)
    if mode == "decode":
        assert run["decode"]["tokens"] == len(tokens) - 1
