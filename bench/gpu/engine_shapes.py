"""The shapes of hopskip bench --shape as transformers' configurations: fields of the models' published config.json."""

LLAMA3 = {
    "model_type": "llama", "vocab_size": 128256, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "head_dim": 128,
    "num_key_value_heads": 8, "tie_word_embeddings": False}
LLAMA3_ROPE = {
    "rope_theta": 500000.0, "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192}
QWEN3 = {"vocab_size": 151936, "rms_norm_eps": 1e-6, "head_dim": 128, "num_attention_heads": 32, "tie_word_embeddings": False}

SHAPES = {
    "llama-3.1-8b": (LLAMA3 | {
        "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "intermediate_size": 14336}, LLAMA3_ROPE),
    "llama-3.3-70b": (LLAMA3 | {
        "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64, "intermediate_size": 28672}, LLAMA3_ROPE),
    "qwen3-8b": (QWEN3 | {
        "model_type": "qwen3", "hidden_size": 4096, "num_hidden_layers": 36, "num_key_value_heads": 8,
        "intermediate_size": 12288, "max_position_embeddings": 40960}, {"rope_theta": 1e6, "rope_type": "default"}),
    "qwen3-30b-a3b": (QWEN3 | {
        "model_type": "qwen3_moe", "hidden_size": 2048, "num_hidden_layers": 48, "num_key_value_heads": 4,
        "intermediate_size": 6144, "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8,
        "norm_topk_prob": True, "max_position_embeddings": 262144}, {"rope_theta": 1e7, "rope_type": "default"}),
    "tiny": ({
        "model_type": "llama", "vocab_size": 4096, "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 512, "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6, "tie_word_embeddings": False}, {"rope_theta": 1e6, "rope_type": "default"}),
}


def config(transformers, shape, layers=0, context=0):
    """A transformers configuration; `layers` of them (0: all), with room for `context` tokens."""
    fields, rope = (dict(part) for part in SHAPES[shape])
    fields["num_hidden_layers"] = layers or fields["num_hidden_layers"]
    fields["max_position_embeddings"] = max(context, fields["max_position_embeddings"])
    if int(transformers.__version__.split(".")[0]) >= 5:
        fields["rope_parameters"] = rope
    else:
        fields["rope_theta"] = rope.pop("rope_theta")
        if rope["rope_type"] != "default":
            fields["rope_scaling"] = rope
    return transformers.AutoConfig.for_model(fields.pop("model_type"), **fields)
