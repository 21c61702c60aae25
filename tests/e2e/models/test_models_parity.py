"""The engine's logits against transformers in float32: every family, file format and rope, and a real model.

What is allowed is a multiple of what transformers itself loses in bfloat16 on the same tokens: twice that where products
are rounded to bfloat16 (a GPU, the CPU with AVX-512), and no more than that where only K and V are. Measured values are printed; run with -rP to see them. `conftest.py` has
the options.
"""
import functools
import json
import subprocess
import sys

import model_runs
import numpy as np
import pytest
import reference_models
import torch
import tree

SMOLLM2 = tree.cache() / "SmolLM2-135M-Instruct.Q4_1.gguf"
BOOK = tree.cache() / "book.txt"

MIN_SAME_ARGMAX = 0.99
MAX_MEAN_KL = 1e-3  # of a trained model
GPU_HEAD_DIMS = (64, 128, 256)
TINY = ["llama", "llama_narrow", "llama3_rope", "llama_yarn", "llama_linear", "qwen2", "qwen2_narrow", "qwen2_yarn",
        "qwen2_window", "qwen3", "qwen3_untied", "qwen3_moe", "qwen3_moe_mixed"]
# name → probe options: in one prefill, in chunks, token by token with the logits of each read in the middle of its step,
# and as tokens are generated, which a GPU replays as graphs: one sequence, and three in a padded batch.
MODES = {
    "prefill": [],
    "chunks": ["--chunk", "20"],
    "decode": ["--decode-from", "1"],
    "generate": ["--forced-from", "3"],
    "batch": ["--forced-from", "3", "--sequences", "3"],
}


def limits(error, device, simd):
    """Bars from what transformers loses in bfloat16."""
    multiple = 2 if device.startswith("cuda") or (device == "cpu" and not simd) else 1
    return {"near_tie": multiple * error["max_abs"], "mean_kl": multiple * error["mean_kl"],
            "rms": multiple * error["rms"]}


@pytest.fixture(scope="session")
def probe(request, tmp_path_factory):
    binary = model_runs.binaries(request.config) / "logits_probe"
    if not binary.exists():
        pytest.skip(f"{binary} is not built: ninja logits_probe, or set HOPSKIP_BUILD")
    folder = tmp_path_factory.mktemp("probe")

    def run(model, tokens, vocab, *options):
        ids, out = folder / "tokens.txt", folder / "logits.bin"
        ids.write_text(" ".join(map(str, tokens)))
        done = subprocess.run([binary, model, ids, out, *options], capture_output=True, text=True,
                              env=model_runs.environment())
        assert done.returncode == 0, done.stderr
        return np.fromfile(out, dtype="<f4").reshape(-1, vocab), json.loads(done.stdout)

    run.binary = binary
    return run


def rows_of(expected, mode):
    """The rows of `expected` [T][vocab] that the probe writes in a mode."""
    options = dict(zip(MODES[mode][::2], map(int, MODES[mode][1::2])))
    first, sequences = options.get("--forced-from", 1), options.get("--sequences", 1)
    return np.concatenate([expected[first + i - 1:] for i in range(sequences)])


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    subprocess.run([sys.executable, tree.ROOT / "tools/make_tiny_models.py", folder], check=True)
    return folder


def check(what, expected, found, near_tie=reference_models.NEAR_TIE, mean_kl=MAX_MEAN_KL, rms=np.inf):
    """Holds the logits to bars: the arg max where the best two are further apart than near_tie, divergence, error."""
    assert found.shape == expected.shape, what
    result = reference_models.compare(expected, found, near_tie)
    print(what, json.dumps({key: float(f"{value:.3g}") for key, value in result.items()}))
    assert result["same_argmax"] >= MIN_SAME_ARGMAX, what
    assert result["mean_kl"] <= mean_kl, what
    assert result["rms"] <= rms, what


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


@pytest.mark.parametrize("name", TINY)
def test_tiny_model(tiny, naive_error, probe, tmp_path, name, device, simd):
    folder = tiny / name
    golden = json.loads((folder / "golden.json").read_text())
    vocab = golden["vocab"]
    head_dim = json.loads((folder / "hf/config.json").read_text())["head_dim"]
    if device.startswith("cuda") and head_dim not in GPU_HEAD_DIMS:
        (tmp_path / "tokens.txt").write_text("1 2 3")
        done = subprocess.run([probe.binary, folder / "hf", tmp_path / "tokens.txt", tmp_path / "logits.bin",
                               "--device", device], capture_output=True, text=True,
                              env=model_runs.environment())
        assert done.returncode == 1 and f"head_dim {head_dim} is not one of 64, 128, 256" in done.stderr
        assert done.stderr.count("\n") == 1
        return
    error = naive_error(name)
    bars = limits(error, device, simd)
    print(f"{name} transformers in bfloat16", json.dumps(error))
    for file, logits in golden["files"].items():
        expected = np.fromfile(folder / logits, dtype="<f4").reshape(-1, vocab)
        for mode, options in MODES.items():
            options = ["--device", device, "--simd", simd, *options]
            found, _ = probe(folder / file, golden["prompt"], vocab, *options)
            check(f"{name}/{file} {device} {simd} {mode}", rows_of(expected, mode), found, **bars)


@pytest.fixture(scope="session")
def smollm2():
    """512 tokens of a novel, and the model in transformers with the dequantised weights."""
    pytest.importorskip("gguf")
    for path in (SMOLLM2, BOOK):
        if not path.exists():
            pytest.skip(f"{path} is not there: make test fetches it")
    tokens = reference_models.encode_with_gguf(SMOLLM2, BOOK.read_text(encoding="utf-8")[20000:24000])[:512]
    assert len(tokens) == 512
    torch.set_num_threads(2)
    model = reference_models.llama_from_gguf(SMOLLM2)
    expected = reference_models.logits(model, tokens)

    @functools.cache
    def naive():
        return reference_models.compare(expected, reference_models.logits(model.bfloat16(), tokens))

    return tokens, expected, naive


@pytest.mark.parametrize("mode", MODES)
def test_smollm2(smollm2, probe, mode, device, simd):
    if device == "reference":
        pytest.skip("the reference would take minutes")
    tokens, expected, naive = smollm2
    options = ["--chunk", "200"] if mode == "chunks" else MODES[mode]
    found, run = probe(SMOLLM2, tokens, expected.shape[1], "--device", device, "--simd", simd, *options)
    bars = limits(naive(), device, simd) if device.startswith("cuda") else {}
    check(f"SmolLM2 {run['backend']} {mode}", rows_of(expected, mode), found, **bars)
    if mode == "decode":
        assert run["decode"]["tokens"] == len(tokens) - 1
