"""Writes tiny random checkpoints of every supported family, with golden logits.

    python3 tools/make_tiny_models.py FOLDER [NAME...]

For each model NAME:
    FOLDER/NAME/hf/              Hugging Face layout, float32 safetensors, byte-level BPE tokenizer
    FOLDER/NAME/NAME.f32.gguf    the same weights; .f16.gguf and .q8_0.gguf: rounded to that type
                                 (not of models that GGUF has no form for, nor without the
                                 Python package gguf)
    FOLDER/NAME/golden.json      prompt token ids; vocab; files: path → name of its logits file
    FOLDER/NAME/logits.*.bin     float32 [96][vocab], row-major, little-endian: what transformers
                                 computes in float32 on the weights of that file as dequantised
Seeds are fixed: the same versions of torch and transformers write the same bytes.
"""

import json
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)
from transformers.utils import logging

try:
    import gguf
except ImportError:
    gguf = None

VOCAB = 384
PROMPT_TOKENS = 96  # more than a page of the KV cache
MIN_EXPERT_MARGIN = 0.15  # of router logits, whose deviation is about 1.5
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
BOS, EOS = 1, 2
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TRAINING_TEXT = [
    "It was the best of times, it was the worst of times, it was the age of wisdom,",
    "The quick brown fox jumps over the lazy dog while the other foxes watch and wait.",
    "Once upon a time there was a little engine that skipped what it did not need to read.",
    "Numbers such as 12, 345 and 6789 stand beside words, commas; and (brackets).",
]

FAMILIES = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "qwen3moe": (Qwen3MoeConfig, Qwen3MoeForCausalLM),
}
STORED = ["f32", "f16", "q8_0"]


@dataclass
class Model:
    name: str
    family: str  # as GGUF calls it
    tied: bool
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64  # GPU kernels have 64, 128 and 256; "narrow" models are for the others
    rope: dict = field(default_factory=dict)
    options: dict = field(default_factory=dict)
    gguf: bool = True


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
MODELS = [
    Model("llama", "llama", tied=True, layers=3),
    Model("llama_narrow", "llama", tied=False, head_dim=16),
    Model("llama3_rope", "llama", tied=False, kv_heads=1, rope=LLAMA3),
    Model("llama_yarn", "llama", tied=True, head_dim=128, rope=YARN),
    Model("llama_linear", "llama", tied=True, rope={"rope_type": "linear", "factor": 2.0}),
    Model("qwen2", "qwen2", tied=True),
    Model("qwen2_narrow", "qwen2", tied=False, head_dim=32),
    Model("qwen2_yarn", "qwen2", tied=False, rope=YARN),
    Model("qwen2_window", "qwen2", tied=False, layers=3,
          options={"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}),
    Model("qwen3", "qwen3", tied=True, layers=3, head_dim=128),
    Model("qwen3_untied", "qwen3", tied=False, kv_heads=4),
    Model("qwen3_moe", "qwen3moe", tied=False, layers=3,
          options={"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": True}),
    Model("qwen3_moe_mixed", "qwen3moe", tied=True, layers=4, gguf=False,
          options={"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 40, "norm_topk_prob": False,
                   "decoder_sparse_step": 2, "mlp_only_layers": [3], "use_sliding_window": True, "sliding_window": 8}),
]


def make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TRAINING_TEXT, trainer)
    if tokenizer.get_vocab_size() != VOCAB:
        raise SystemExit(f"the tokenizer has {tokenizer.get_vocab_size()} tokens, not {VOCAB}")
    return tokenizer


def make_model(spec: Model, seed: int):
    config_class, model_class = FAMILIES[spec.family]
    config = config_class(
        vocab_size=VOCAB,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        num_key_value_heads=spec.kv_heads,
        head_dim=spec.head_dim,
        max_position_embeddings=256,
        rms_norm_eps=1e-5,
        tie_word_embeddings=spec.tied,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, **spec.rope},
        bos_token_id=BOS,
        eos_token_id=EOS,
        attn_implementation="eager",
        **spec.options,
    )
    torch.manual_seed(seed)
    model = model_class(config).to(torch.float32).eval()
    with torch.no_grad():  # wider than the usual initialisation, so that attention is not uniform
        for name, weight in model.named_parameters():
            if name.endswith("norm.weight"):
                weight.copy_(1.0 + 0.2 * torch.randn_like(weight))
            elif name.endswith(".bias"):
                weight.copy_(0.3 * torch.randn_like(weight))
            elif "embed_tokens" in name or "lm_head" in name:
                weight.copy_(0.5 * torch.randn_like(weight))
            else:
                weight.copy_(1.5 / math.sqrt(weight.shape[-1]) * torch.randn_like(weight))
    return model


def permute_for_llama(array: np.ndarray, heads: int) -> np.ndarray:
    """Rows (i, i + head_dim / 2) of each head become neighbours, as GGUF's llama files have them."""
    per_head = array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:])
    return per_head.swapaxes(1, 2).reshape(array.shape)


def unpermute_for_llama(array: np.ndarray, heads: int) -> np.ndarray:
    per_head = array.reshape(heads, array.shape[0] // heads // 2, 2, *array.shape[1:])
    return per_head.swapaxes(1, 2).reshape(array.shape)


def llama3_factors(model) -> np.ndarray:
    """What GGUF stores for llama3 rope: plain inverse frequencies over the scaled ones."""
    config = model.config
    exponents = np.arange(0, config.head_dim, 2, dtype=np.float64) / config.head_dim
    plain = config.rope_parameters["rope_theta"] ** -exponents
    return (plain / model.model.rotary_emb.inv_freq.double().numpy()).astype(np.float32)


def permuted_heads(spec: Model, name: str) -> int:
    """Heads whose rows the llama converter permutes in this tensor; 0 for none."""
    if spec.family != "llama":
        return 0
    return spec.heads if ".q_proj." in name else spec.kv_heads if ".k_proj." in name else 0


def write_metadata(writer, spec: Model, config, tokenizer: Tokenizer) -> None:
    writer.add_name(spec.name)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(spec.head_dim)
    writer.add_value_length(spec.head_dim)
    writer.add_rope_dimension_count(spec.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    if "num_experts" in spec.options:
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    rope_type = spec.rope.get("rope_type")
    if rope_type in ("yarn", "linear"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope_type))
        writer.add_rope_scaling_factor(spec.rope["factor"])
    if rope_type == "yarn":
        writer.add_rope_scaling_orig_ctx_len(spec.rope["original_max_position_embeddings"])
    if spec.options.get("use_sliding_window"):
        writer.add_sliding_window(config.sliding_window)
        writer.add_sliding_window_pattern([t == "sliding_attention" for t in config.layer_types])

    description = json.loads(tokenizer.to_str())
    vocab = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    control = {token["id"] for token in description["added_tokens"]}
    merges = [m if isinstance(m, str) else " ".join(m) for m in description["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([token for token, _ in vocab])
    writer.add_token_types(
        [gguf.TokenType.CONTROL if i in control else gguf.TokenType.NORMAL for _, i in vocab]
    )
    writer.add_token_merges(merges)
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOS)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def experts_apart(state: dict) -> dict:
    """transformers keeps gate and up of all experts in one tensor [experts][gate, up][in]; files do not."""
    apart = {}
    for name, weight in state.items():
        if name.endswith("experts.gate_up_proj"):
            gate, up = weight.chunk(2, dim=1)
            apart[name.replace("gate_up_proj", "gate_proj.weight")] = gate
            apart[name.replace("gate_up_proj", "up_proj.weight")] = up
        elif name.endswith("experts.down_proj"):
            apart[name + ".weight"] = weight
        else:
            apart[name] = weight
    return apart


def experts_together(weights: dict) -> dict:
    together = {}
    for name, array in weights.items():
        if name.endswith("experts.gate_proj.weight"):
            up = weights[name.replace("gate_proj", "up_proj")]
            together[name.replace("gate_proj.weight", "gate_up_proj")] = np.concatenate([array, up], axis=1)
        elif name.endswith("experts.down_proj.weight"):
            together[name.removesuffix(".weight")] = array
        else:
            together[name] = array
    return together


def write_gguf(path: Path, spec: Model, model, tokenizer: Tokenizer, kind: str) -> dict:
    """Writes the file and returns the weights as it dequantises, in Hugging Face's layout."""
    stored = gguf.GGMLQuantizationType[kind.upper()]
    writer = gguf.GGUFWriter(path, spec.family)
    write_metadata(writer, spec, model.config, tokenizer)
    writer.add_file_type({"f32": 0, "f16": 1, "q8_0": 7}[kind])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[spec.family.upper()], spec.layers)
    weights = {}
    for name, weight in experts_apart(model.state_dict()).items():
        if spec.tied and name == "lm_head.weight":
            continue
        array = weight.numpy()
        heads = permuted_heads(spec, name)
        if heads:
            array = permute_for_llama(array, heads)
        router = name.endswith("mlp.gate.weight")  # converters leave it as it is
        dtype = stored if array.ndim >= 2 and not router else gguf.GGMLQuantizationType.F32
        data = gguf.quants.quantize(np.ascontiguousarray(array), dtype)
        writer.add_tensor(names.get_name(name, (".weight", ".bias")), data, raw_dtype=dtype)
        array = gguf.quants.dequantize(data, dtype).astype(np.float32).reshape(array.shape)
        weights[name] = unpermute_for_llama(array, heads) if heads else array
    if spec.rope.get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(model))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return experts_together(weights)


@torch.no_grad()
def logits(model, prompt: list[int]) -> np.ndarray:
    return model(torch.tensor([prompt])).logits[0].float().numpy()


@torch.no_grad()
def expert_margin(model, prompt: list[int], top_k: int) -> float:
    """By how much the last token's router prefers the experts it takes to those it leaves, in the closest layer."""
    routers = model(torch.tensor([prompt]), output_router_logits=True).router_logits
    best = torch.stack([router[-1] for router in routers]).sort(descending=True).values
    return float((best[:, top_k - 1] - best[:, top_k]).min())


def make_prompt(spec: Model, model, seed: int) -> list[int]:
    """Random tokens. With experts, only those whose experts are clear: a rounding that swaps two experts changes the
    logits far more than any other, and would hide what the comparison is for."""
    random = np.random.default_rng(seed)
    if "num_experts" not in spec.options:
        return random.integers(len(SPECIAL), VOCAB, PROMPT_TOKENS).tolist()
    prompt = []
    while len(prompt) < PROMPT_TOKENS:
        token = int(random.integers(len(SPECIAL), VOCAB))
        if expert_margin(model, [*prompt, token], spec.options["num_experts_per_tok"]) > MIN_EXPERT_MARGIN:
            prompt.append(token)
    return prompt


@torch.no_grad()
def load(model, weights: dict) -> None:
    for name, parameter in model.state_dict().items():
        if name in weights:
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(weights[name])))


def write_model(folder: Path, spec: Model, tokenizer: Tokenizer, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model = make_model(spec, seed)
    hf = folder / "hf"
    model.save_pretrained(hf)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIAL[BOS],
        eos_token=SPECIAL[EOS],
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(hf)

    prompt = make_prompt(spec, model, seed)
    original = {name: weight.numpy().copy() for name, weight in model.state_dict().items()}
    results = {"hf": logits(model, prompt)}
    for kind in STORED if spec.gguf and gguf else ():
        load(model, original)
        file = f"{spec.name}.{kind}.gguf"
        load(model, write_gguf(folder / file, spec, model, tokenizer, kind))
        results[file] = logits(model, prompt)

    files = {}
    for file, values in results.items():
        files[file] = f"logits.{file.removeprefix(spec.name + '.').removesuffix('.gguf')}.bin"
        (folder / files[file]).write_bytes(values.astype("<f4").tobytes())
    golden = {"prompt": prompt, "vocab": VOCAB, "files": files}
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")


def main() -> None:
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    folder, chosen = Path(sys.argv[1]), sys.argv[2:]
    unknown = set(chosen) - {spec.name for spec in MODELS}
    if unknown:
        raise SystemExit(f"no such model: {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    tokenizer = make_tokenizer()
    for seed, spec in enumerate(MODELS, start=1):
        if not chosen or spec.name in chosen:
            write_model(folder / spec.name, spec, tokenizer, seed)


if __name__ == "__main__":
    main()
