"""Bad input: exit code 2 for wrong use and 1 for failure, one line that names the thing, nothing half-written."""
import json
import subprocess

import pytest

RUN = ["run", "smollm2-135m", "-p", "hi"]

USAGE = [
    ([], "A subcommand is required"),
    (["rum"], "did you mean 'run'?"),
    (["run"], "MODEL is required"),
    (["run", "smollm2-135m"], "give -p TEXT or -f FILE"),
    (["run", "smollm2-135m", "-p", ""], "the prompt is empty"),
    (["run", "smollm2-135m", "-p", b"ab\xffc"], "byte 0xff at offset 2"),
    ([*RUN, "-f", "x"], "--prompt excludes --file"),
    ([*RUN, "--temprature", "3"], "did you mean '--temperature'?"),
    ([*RUN, "extra"], "'extra' means nothing"),
    ([*RUN, "--threads", "abc"], "--threads = abc"),
    ([*RUN, "--top-k", "3000000000"], "--top-k = 3000000000: no number, or too large a one"),
    ([*RUN, "-n", "99999999999999999999"], "is not a whole number, or too large"),
    ([*RUN, "--seed", "-1"], "'-1' is not a whole number from 0 to"),
    ([*RUN, "--frobnicate=3"], "'--frobnicate' means nothing"),
    ([*RUN, "--top-p", "2"], "top_p is 2"),
    (["chat", "smollm2-135m", "--temp", "-1"], "temperature is -1"),
    (["chat", "smollm2-135m", "--top-p", "2"], "top_p is 2"),
    (["chat", "smollm2-135m", "-n", "-3"], "max_tokens is -3"),
    (["chat", "smollm2-135m", "--stop", ""], "stop string is empty"),
    (["run", "smollm2-135m", "-p"], "--prompt: a value is missing"),
    ([*RUN, "-p", "ho"], "--prompt: given more than once"),
    (["eval", "smollm2-135m", "ppl missing", "--text", "x"], "ppl missing not in {ppl}"),
    (["eval", "smollm2-135m", "At Most 1 required but received", "--text", "x"], "received not in {ppl}"),
    ([*RUN, "--threads", "x missing"], "--threads = x missing: no number"),
    ([*RUN, "--set", "chunk_tokens=x"], "--set chunk_tokens=x: chunk_tokens"),
    (["info", "--threads", "9999"], "threads is 9999"),
    (["bench", "prefill", "smollm2-135m", "--set", "sparse_attention_config.threshold_scale_factor=3"], "--skip says which factors"),
    (["info", "--kv-dtype", "bogus"], "no dtype 'bogus' for the KV cache"),
    (["calibrate", "smollm2-135m", "--text", "x", "-o", "y", "--target-sparsity", "nan"], "target_sparsity for prefill is nan"),
    ([*RUN, "--threads", "-1"], "threads is -1"),
    ([*RUN, "--chunk", "0"], "--chunk"),
    ([*RUN, "--ctx", "-4"], "--ctx: Value -4"),
    ([*RUN, "--device", "tpu"], "no device 'tpu'"),
    ([*RUN, "--kv-dtype", "f8"], "no dtype 'f8'"),
    ([*RUN, "--threshold-scale-factor", "-5"], "-5"),
    ([*RUN, "--threshold-scale-factor", "nan"], "nan"),
    ([*RUN, "--threshold-scale-factor", "inf"], "inf"),
    ([*RUN, "--threshold-scale-factor", "decode=-1"], "threshold_scale_factor for decode is -1"),
    ([*RUN, "--threshold-scale-factor", "prefil=1"], "'prefil=1'"),
    ([*RUN, "--threshold-scale-factor", "1e"], "'1e' is not a number"),
    ([*RUN, "--target-sparsity", "1.5"], "target_sparsity for prefill is 1.5"),
    ([*RUN, "--target-sparsity", "-0.1"], "-0.1"),
    ([*RUN, "--dense", "--target-sparsity", "0.5"], "excludes"),
    ([*RUN, "--set", "threads"], "give KEY=VALUE"),
    ([*RUN, "--set", "treads=2"], "did you mean 'threads'?"),
    (["eval", "smollm2-135m", "nonsense", "--text", "x"], "nonsense"),
    (["run", "smollm2-135m", "-f", ""], "--file: the name is empty"),
    ([*RUN, "--stats", ""], "--stats: the name is empty"),
    ([*RUN, "--config", ""], "--config: the name is empty"),
    (["calibrate", "smollm2-135m", "--text", "", "-o", "x"], "--text: the name is empty"),
    (["eval", "smollm2-135m", "ppl", "--text", "x", "-o", ""], "--output: the name is empty"),
    (["bench", "prefil"], "did you mean 'prefill'?"),
]

USAGE_WITH_MODEL = [
    (["--target-sparsity", "0.5"], "target_sparsity needs a profile"),
    (["--target-sparsity", "0.5"], "made by calibration ('hopskip calibrate')"),
    (["--set", "chunk_tokens=1", "--set", "max_batch_size=2"], "chunk_tokens (--chunk) is 1; it must be at least"),
    (["--top-p", "2"], "top_p is 2"),
    (["--simd", "mmx"], "unknown instruction set 'mmx'"),
    (["--temp", "-1"], "temperature"),
    (["-n", "-3"], "max_tokens is -3"),
    (["--stop", ""], "stop string is empty"),
    (["--ctx", "999999"], "999999"),
    (["--ctx", "20"], "too long for a context of 20"),
    (["--ctx", "20"], "raise context (--ctx), at most to 8192"),
]


def name(case):
    return " ".join(map(str, case[0][-3:]))


@pytest.mark.parametrize("args, message", USAGE, ids=map(name, USAGE))
def test_usage(hopskip, args, message):
    if any(isinstance(arg, bytes) for arg in args):
        args = [arg.decode(errors="surrogateescape") if isinstance(arg, bytes) else arg for arg in args]
    hopskip.fails(2, message, *args)


@pytest.mark.parametrize("args, message", USAGE_WITH_MODEL, ids=map(name, USAGE_WITH_MODEL))
def test_usage_that_the_model_decides(hopskip, model, args, message):
    hopskip.fails(2, message, *RUN, *args)


def test_files_that_are_not_there(hopskip, tmp_path):
    missing = tmp_path / "missing"
    hopskip.fails(1, f"no such file: {missing}", "run", "smollm2-135m", "-f", missing)
    hopskip.fails(1, f"no such file: {missing}", *RUN, "--config", missing)
    hopskip.fails(1, f"no such file: {missing}", "bench", "prefill", "smollm2-135m", "--text", missing)
    hopskip.fails(1, f"cannot write {missing}/x.json", *RUN, "--stats", missing / "x.json")
    hopskip.fails(2, "is a folder", "run", "smollm2-135m", "-f", tmp_path)
    text = tmp_path / "text.txt"
    text.write_text("some words")
    hopskip.fails(1, f"cannot make the folder {text}/x: ", "eval", "smollm2-135m", "ppl", "--text", text, "-o", text / "x")


def test_models_that_are_not_there(hopskip, tmp_path):
    elsewhere = {"HOPSKIP_CACHE": str(tmp_path), "HF_HUB_CACHE": str(tmp_path)}
    hopskip.fails(1, "no model 'nosuch.gguf'", "run", "nosuch.gguf", "-p", "hi")
    hopskip.fails(1, "hf download org/name", "run", "org/name", "-p", "hi", env=elsewhere)
    hopskip.fails(1, "tools/fetch_model.sh", *RUN, env=elsewhere)


def test_devices_that_cannot_do_it(hopskip, model):
    hopskip.fails(1, "device 'cuda:99' does not run here (cuda: ", *RUN, "--device", "cuda:99")
    hopskip.fails(1, "the device 'cpu' runs everywhere", *RUN, "--device", "cuda:99")
    hopskip.fails(1, "device 'cuda:99' does not run here (cuda: ", "info", "--device", "cuda:99")
    hopskip.fails(2, "device 'cuda:x' is not cuda:N", *RUN, "--device", "cuda:x")
    hopskip.fails(2, "--kv-tokens", *RUN, "--kv-tokens", "0")
    hopskip.fails(1, "'avx2' is for the cpu", *RUN, "--device", "reference", "--simd", "avx2")
    hopskip.fails(1, "K and V in fp8: use bf16 or f16, or a GPU", *RUN, "--kv-dtype", "fp8")


def test_what_the_machine_has_no_memory_for(hopskip, model):
    hopskip.fails(1, "a KV cache of 1073741824 tokens", *RUN, "--kv-tokens", 1 << 30)
    hopskip.fails(1, "GB of memory to give; take a shorter context (--ctx), fewer kv_tokens (--kv-tokens)", *RUN, "--kv-tokens", 1 << 30)


def test_a_context_that_the_machine_has_no_memory_for(hopskip, model, tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemAvailable: 150000 kB\n")  # after the weights are loaded, too
    small = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f'mount --bind {meminfo} /proc/meminfo && exec "$@"', "sh"]

    def run(*args):
        return subprocess.run([*small, *args], capture_output=True, text=True, timeout=120)

    try:
        seen = run("cat", "/proc/meminfo").stdout
    except FileNotFoundError:
        seen = ""
    if seen != meminfo.read_text():
        pytest.skip("no other /proc/meminfo can be mounted here")
    notice = "KV cache of 6208 tokens: there is memory for no more of the context of 8192"
    done = run(hopskip.binary, *RUN, "-n", "2", "--stats", str(tmp_path / "stats.json"))
    assert done.returncode == 0 and done.stderr.splitlines()[0] == f"note  {notice}", done.stderr
    assert json.loads((tmp_path / "stats.json").read_text())["notices"] == [notice]
    assert f"note         {notice}" in run(hopskip.binary, "info", "smollm2-135m").stdout
    done = run(hopskip.binary, "run", "smollm2-135m", "-p", "a " * 7000)
    assert done.returncode == 2 and "too long for a KV cache of 6208 tokens" in done.stderr
    assert "end other programs, or take a smaller model" in done.stderr and "fp8" not in done.stderr
    done = run(hopskip.binary, *RUN, "--ctx", "8192")  # who asks for it gets it, or hears why not
    assert done.returncode == 1 and "take a shorter context (--ctx)" in done.stderr
    assert run(hopskip.binary, *RUN, "-n", "2", "--ctx", "256").stderr.count("note") == 0


def test_a_prompt_that_the_kv_cache_bounds(hopskip, model, long_text):
    hopskip.fails(2, "too long for a KV cache of 128 tokens: shorten it, or raise kv_tokens (--kv-tokens)", "run", "smollm2-135m", "-f",
                  "-", "--kv-tokens", 100, stdin=long_text)


def test_profile_that_is_missing(hopskip, model, tmp_path):
    hopskip.fails(1, "missing.json", *RUN, "--target-sparsity", "0.5", "--profile", tmp_path / "missing.json")
    bad = tmp_path / "bad.json"
    bad.write_text("{bad")
    hopskip.fails(1, f"{bad}: no valid JSON (at byte 2 of 4)", *RUN, "--target-sparsity", "0.5", "--profile", bad)


@pytest.mark.parametrize("size", [0, 3, 24, 5000, 2_000_000])
def test_truncated_gguf(hopskip, model, tmp_path, size):
    path = tmp_path / "short.gguf"
    with open(model, "rb") as file:
        path.write_bytes(file.read(size))
    hopskip.fails(1, "short.gguf", "run", path, "-p", "hi")


def test_prompt_file_that_is_not_utf8(hopskip, tmp_path):
    path = tmp_path / "latin1.txt"
    path.write_bytes("caf\u00e9".encode("latin-1"))
    hopskip.fails(2, f"{path} is not UTF-8: byte 0xe9 at offset 3", "run", "smollm2-135m", "-f", path)
    path.write_bytes(b"")
    hopskip.fails(2, f"{path} is empty", "run", "smollm2-135m", "-f", path)
    hopskip.fails(2, "the text on stdin is empty", "run", "smollm2-135m", "-f", "-")


def test_yaml(hopskip, tmp_path):
    path = tmp_path / "bad.yaml"
    for text, message in [("sparse_attention_config:\n  target_sparsty: 0.5\n", "target_sparsity"),
                          ("sparse_attention_config: {threshold_scale_factor: -3}", "is -3"),
                          ("threads: [1, 2]", "not a list"),
                          ("a: [", "line ")]:
        path.write_text(text)
        for flag in ("--config", "--extra_llm_api_options"):
            hopskip.fails(2, message, *RUN, flag, path)


def test_failure_writes_no_stats(hopskip, model, tmp_path):
    stats = tmp_path / "stats.json"
    hopskip.fails(2, "max_tokens", *RUN, "-n", "-1", "--stats", stats)
    assert list(tmp_path.iterdir()) == []
