"""What transformers computes in float32 from the weights that a checkpoint holds, in either format."""
import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

# GGUF block tensors → Hugging Face names; the fact is the file format's own list of tensor names.
BLOCK_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TOP_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def llama_from_gguf(path):
    """A LlamaForCausalLM with the dequantised weights of a GGUF file of architecture "llama"."""
    import gguf

    reader = gguf.GGUFReader(str(path))

    def value(key):
        return reader.fields[f"llama.{key}"].contents()

    heads, kv_heads = value("attention.head_count"), value("attention.head_count_kv")
    state = {}
    for tensor in reader.tensors:
        weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        stem, kind = tensor.name.rsplit(".", 1)
        if stem in TOP_NAMES:
            name = TOP_NAMES[stem]
        else:
            _, layer, part = stem.split(".")
            name = f"model.layers.{layer}.{BLOCK_NAMES[part]}"
            if part in ("attn_q", "attn_k"):
                weight = unpermuted(weight, heads if part == "attn_q" else kv_heads)
        state[f"{name}.{kind}"] = torch.from_numpy(np.ascontiguousarray(weight))
    tied = "lm_head.weight" not in state
    if tied:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    config = LlamaConfig(
        vocab_size=state["model.embed_tokens.weight"].shape[0],
        hidden_size=value("embedding_length"),
        intermediate_size=value("feed_forward_length"),
        num_hidden_layers=value("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=value("context_length"),
        rms_norm_eps=value("attention.layer_norm_rms_epsilon"),
        rope_theta=value("rope.freq_base"),
        tie_word_embeddings=tied,
    )
    model = LlamaForCausalLM(config)
    model.load_state_dict(state)
    return model.float().eval()


def unpermuted(weight, heads):
    """GGUF stores each head's rows as pairs (2i, 2i + 1); transformers wants (i, i + head_dim / 2)."""
    rows = weight.reshape(heads, weight.shape[0] // heads // 2, 2, -1)
    return rows.swapaxes(1, 2).reshape(weight.shape)


def from_folder(path, dtype):
    return AutoModelForCausalLM.from_pretrained(path, dtype=dtype).eval()


def logits(model, tokens):
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].float().numpy()


NEAR_TIE = 0.05  # logits closer than that may change places


def compare(expected, found, near_tie=NEAR_TIE):
    """Agreement of two logit arrays [T][vocab]: the share of positions with the same arg max, over those where the
    best two of `expected` lie further apart than `near_tie`, and the Kullback-Leibler divergence, nats a position."""
    best = np.sort(expected, axis=1)[:, -2:]
    clear = best[:, 1] - best[:, 0] > near_tie
    same = expected.argmax(1) == found.argmax(1)

    def log_softmax(x):
        x = x.astype(np.float64) - x.max(1, keepdims=True)
        return x - np.log(np.exp(x).sum(1, keepdims=True))

    p, q = log_softmax(expected), log_softmax(found)
    divergence = (np.exp(p) * (p - q)).sum(1)
    return {
        "positions": len(same),
        "clear": int(clear.sum()),
        "same_argmax": float(same[clear].mean()) if clear.any() else 1.0,
        "mean_kl": float(divergence.mean()),
        "max_kl": float(divergence.max()),
        "rms": float(np.sqrt(np.mean((expected - found).astype(np.float64) ** 2))),
        "max_abs": float(np.abs(expected - found).max()),
    }


def encode_with_gguf(path, text):
    """Token ids of text under a GGUF file's byte-level BPE vocabulary."""
    import gguf
    from tokenizers import Tokenizer, models, pre_tokenizers

    fields = gguf.GGUFReader(str(path)).fields
    vocabulary = {token: i for i, token in enumerate(fields["tokenizer.ggml.tokens"].contents())}
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return tokenizer.encode(text).ids
