#!/usr/bin/env python3
"""Loads a checkpoint of several GB and watches the process's memory.

    python3 tests/gpu/loading.py BINARIES [--device cuda] [--gib 6] [--folder FOLDER]

Writes random BF16 weights in the shape of Llama 3 8B, with as many layers as --gib allows, as several safetensors files,
lets BINARIES/logits_probe load them, and prints GB/s and the peaks of resident memory: all of it, what is the process's
own (anonymous), and what is the file's or shared (the kernel may take it back). Fails where a peak is above --limit-gib.
The folder, by default in /dev/shm, is deleted again.
"""
import argparse
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

HIDDEN, INNER, HEADS, KV_HEADS, HEAD_DIM, VOCAB = 4096, 14336, 32, 8, 128, 128256
GIB = 1 << 30
SHARD_BYTES = 2 * GIB
BLOCK = 64 << 20
WATCHED = ("VmRSS", "RssAnon", "RssFile", "RssShmem")


def tensors(layers):
    """(name, shape) of all tensors, in the order of the files."""
    yield "model.embed_tokens.weight", (VOCAB, HIDDEN)
    for i in range(layers):
        layer = f"model.layers.{i}."
        yield layer + "input_layernorm.weight", (HIDDEN,)
        yield layer + "post_attention_layernorm.weight", (HIDDEN,)
        yield layer + "self_attn.q_proj.weight", (HEADS * HEAD_DIM, HIDDEN)
        yield layer + "self_attn.k_proj.weight", (KV_HEADS * HEAD_DIM, HIDDEN)
        yield layer + "self_attn.v_proj.weight", (KV_HEADS * HEAD_DIM, HIDDEN)
        yield layer + "self_attn.o_proj.weight", (HIDDEN, HEADS * HEAD_DIM)
        yield layer + "mlp.gate_proj.weight", (INNER, HIDDEN)
        yield layer + "mlp.up_proj.weight", (INNER, HIDDEN)
        yield layer + "mlp.down_proj.weight", (HIDDEN, INNER)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCAB, HIDDEN)


def size(shape):
    return 2 * int(np.prod(shape))


def write_shard(path, part, block):
    header, end = {}, 0
    for name, shape in part:
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size(shape)]}
        end += size(shape)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for begin in range(0, end, len(block)):
            file.write(block[:min(len(block), end - begin)])
    return end


def write_checkpoint(folder, gib):
    per_layer = sum(size(shape) for _, shape in tensors(1)) - sum(size(shape) for _, shape in tensors(0))
    layers = max(1, round((gib * GIB - sum(size(shape) for _, shape in tensors(0))) / per_layer))
    values = np.random.default_rng(1).standard_normal(BLOCK // 2, dtype=np.float32) * 0.02
    block = memoryview((values.view(np.uint32) >> 16).astype("<u2").tobytes())
    shards = [[]]
    for tensor in tensors(layers):
        if shards[-1] and sum(size(shape) for _, shape in shards[-1]) + size(tensor[1]) > SHARD_BYTES:
            shards.append([])
        shards[-1].append(tensor)
    total, weight_map = 0, {}
    for i, part in enumerate(shards, 1):
        name = f"model-{i:05}-of-{len(shards):05}.safetensors"
        total += write_shard(folder / name, part, block)
        weight_map |= {tensor: name for tensor, _ in part}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}))
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": INNER,
        "num_hidden_layers": layers, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM,
        "vocab_size": VOCAB, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
        "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16"}))
    return total, layers, len(shards)


def watch(process, peaks):
    """Highest values of the process's resident memory, in bytes, until it ends."""
    while process.poll() is None:
        try:
            lines = pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines()
        except OSError:
            break
        for line in lines:
            key, _, value = line.partition(":")
            if key in WATCHED:
                peaks[key] = max(peaks[key], int(value.split()[0]) * 1024)
        time.sleep(0.005)


def environment():
    """Of the probe: HOPSKIP_LIBRARY_PATH is for the built programs, and not for Python's own libraries."""
    own = os.environ.get("HOPSKIP_LIBRARY_PATH")
    return os.environ | ({"LD_LIBRARY_PATH": own} if own else {})


def load(binaries, folder, device):
    """What the probe says of the load, and the peaks of its memory."""
    (folder / "tokens.txt").write_text("1 2 3 4")
    process = subprocess.Popen(
        [binaries / "logits_probe", folder, folder / "tokens.txt", folder / "logits.bin", "--device", device,
         "--kv-tokens", "256"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    peaks = dict.fromkeys(WATCHED, 0)
    watcher = threading.Thread(target=watch, args=(process, peaks))
    watcher.start()
    out, err = process.communicate()
    watcher.join()
    if process.returncode:
        sys.exit(f"loading.py: the probe failed: {err.strip()}")
    if not np.isfinite(np.fromfile(folder / "logits.bin", dtype="<f4")).all():
        sys.exit("loading.py: the logits are not finite")
    return json.loads(out), peaks


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binaries", type=pathlib.Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--gib", type=float, default=6.0)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("/dev/shm"))
    parser.add_argument("--limit-gib", type=float, default=2.0)
    parser.add_argument("--limited", choices=WATCHED, default="VmRSS",
                        help="what may not pass the limit; the CPU computes from the file's own pages: RssAnon")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="hopskip-loading-", dir=options.folder))
    try:
        total, layers, shards = write_checkpoint(folder, options.gib)
        print(f"checkpoint: {total / GIB:.2f} GiB, {layers} layers, {shards} files in {folder.parent}", flush=True)
        for run in ("first load", "second load"):  # the first one starts the GPU
            report, peaks = load(options.binaries, folder, options.device)
            seconds = report["load_seconds"]
            print(f"{run}: {report['backend']}: {seconds:.2f} s, {total / seconds / 1e9:.1f} GB/s; peaks of memory, GiB: "
                  + ", ".join(f"{key} {value / GIB:.2f}" for key, value in peaks.items()), flush=True)
            if peaks[options.limited] > options.limit_gib * GIB:
                sys.exit(f"loading.py: {options.limited} was above {options.limit_gib} GiB")
            if peaks["VmRSS"] == 0:
                sys.exit("loading.py: the memory was not seen")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
