"""Token ids, compared one by one with Hugging Face tokenizers on a mixed corpus of 1 MB."""
import array
import json
import subprocess
import unicodedata

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import corpus
import tree

MODEL = tree.cache() / "SmolLM2-135M-Instruct.Q4_1.gguf"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
            r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]
SIZE = 1_000_000


def isolated(pattern: str):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def byte_level(**options):
    return pre_tokenizers.ByteLevel(**{"add_prefix_space": False, "use_regex": False, **options})


FAMILIES = {
    "llama3": (None, [isolated(LLAMA3), byte_level()]),
    "qwen2": (normalizers.NFC(), [isolated(QWEN2), byte_level()]),
    "deepseek": (normalizers.Sequence([]), [isolated(r"\p{N}{1,3}"), isolated("[一-龥぀-ゟ゠-ヿ]+"), isolated(DEEPSEEK), byte_level()]),
    "gpt2_prefix_space": (None, [byte_level(add_prefix_space=True, use_regex=True)]),
    "smollm": (None, [pre_tokenizers.Digits(individual_digits=True), byte_level(use_regex=True)]),
    "digits_then_prefix": (normalizers.NFKC(), [pre_tokenizers.Digits(), byte_level(add_prefix_space=True, use_regex=True)]),
    "merged_with_previous": (normalizers.NFD(), [pre_tokenizers.Split(Regex(r"\s"), "merged_with_previous"), byte_level()]),
    "merged_with_next": (normalizers.NFKD(), [pre_tokenizers.Split(" ", "merged_with_next"), byte_level()]),
    "contiguous": (None, [pre_tokenizers.Split(Regex(r"[\w\s]"), "contiguous"), byte_level()]),
    "removed": (None, [pre_tokenizers.Split(Regex(r"\w+|\S"), "removed", invert=True), byte_level()]),
}


def hopskip_ids(probe, tmp_path, kind, vocabulary, text, *options):
    (tmp_path / "text").write_bytes(text.encode() if isinstance(text, str) else text)
    run = subprocess.run([probe, "encode", kind, str(vocabulary), str(tmp_path / "text"), *options], capture_output=True)
    assert run.returncode == 0, run.stderr.decode()
    return array.array("i", run.stdout).tolist(), json.loads(run.stderr)


def assert_same(ours, theirs, decode):
    for i, (a, b) in enumerate(zip(ours, theirs)):
        assert a == b, f"token {i}: {ours[i - 3:i + 5]} instead of {theirs[i - 3:i + 5]} at {decode(theirs[max(0, i - 6):i + 6])!r}"
    assert len(ours) == len(theirs)


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    """The tokenizer of the real model: as the keys of its GGUF file, and as Hugging Face builds it."""
    gguf = pytest.importorskip("gguf")
    if not MODEL.exists():
        pytest.skip(f"{MODEL} is not there: make run fetches it")
    fields = gguf.GGUFReader(str(MODEL)).fields
    keys = {k: fields[f"tokenizer.ggml.{k}"].contents() for k in ("model", "pre", "tokens", "token_type", "merges")}
    path = tmp_path_factory.mktemp("smollm2") / "keys.json"
    path.write_text(json.dumps(keys))
    vocabulary = {token: i for i, token in enumerate(keys["tokens"])}
    reference = Tokenizer(models.BPE(vocab=vocabulary, merges=[tuple(m.split(" ")) for m in keys["merges"]]))
    reference.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(use_regex=True)])
    reference.decoder = decoders.ByteLevel()
    special = [t for t, kind in zip(keys["tokens"], keys["token_type"]) if kind == 3]
    reference.add_special_tokens(special)
    return path, reference, special


@pytest.mark.parametrize("seed", [7, 8])
def test_smollm2(probe, tmp_path, smollm2, seed):
    path, reference, special = smollm2
    text = corpus.mixed(SIZE, special, seed)
    ours, _ = hopskip_ids(probe, tmp_path, "gguf", path, text)
    assert_same(ours, reference.encode(text).ids, lambda ids: reference.decode(ids, skip_special_tokens=False))


def test_smollm2_prose_round_trips(probe, tmp_path, smollm2):
    path, reference, _ = smollm2
    text = corpus.prose()
    ours, stats = hopskip_ids(probe, tmp_path, "gguf", path, text)
    assert ours == reference.encode(text).ids
    assert stats["round_trip"]


def test_smollm2_special_tokens_as_text(probe, tmp_path, smollm2):
    path, reference, special = smollm2
    text = corpus.mixed(100_000, special)
    ours, _ = hopskip_ids(probe, tmp_path, "gguf", path, text, "plain")
    reference.encode_special_tokens = True
    try:
        assert_same(ours, reference.encode(text).ids, reference.decode)
    finally:
        reference.encode_special_tokens = False


def train(name: str) -> Tokenizer:
    normalizer, steps = FAMILIES[name]
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    text = corpus.mixed(400_000, [], seed=1)
    trainer = trainers.BpeTrainer(vocab_size=3000, special_tokens=SPECIAL, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([text[i:i + 1000] for i in range(0, len(text), 1000)], trainer)
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("<mask>", lstrip=True, rstrip=True),
                          AddedToken("word", single_word=True), AddedToken("ﬁ", normalized=True),
                          AddedToken("<|im_end|><|im_", normalized=False, lstrip=True)])
    return tokenizer


@pytest.mark.parametrize("name", FAMILIES)
def test_trained(probe, tmp_path, name):
    reference = train(name)
    if name == "llama3":  # what Llama 3 has besides its pattern
        saved = json.loads(reference.to_str())
        saved["model"]["ignore_merges"] = True
        reference = Tokenizer.from_str(json.dumps(saved))
        reference.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single="<|im_start|> $A <|im_end|>", special_tokens=[(t, reference.token_to_id(t)) for t in SPECIAL])])
    reference.save(str(tmp_path / "tokenizer.json"))
    text = corpus.mixed(SIZE, SPECIAL + ["<tool_call>", " <mask> ", "\u3000<mask>", "word", " word", "words", "_word", "ﬁ", "<|im_end|><|im_end|>"])
    if name in ("digits_then_prefix", "merged_with_next"):  # the reference's NFKC and NFKD are those of an older Unicode
        text = "".join(c for c in text if unicodedata.ucd_3_2_0.category(c) != "Cn")
    ours, _ = hopskip_ids(probe, tmp_path, "json", tmp_path / "tokenizer.json", text)
    assert_same(ours, reference.encode(text).ids, lambda ids: reference.decode(ids, skip_special_tokens=False))


def test_invalid_utf8_round_trips(probe, tmp_path):
    train("llama3").save(str(tmp_path / "tokenizer.json"))
    text = b"caf\xe9 \xff\xfe<|im_end|>\xf0\x9f\x98 ok \xed\xa0\x80\xe2\x82"
    _, stats = hopskip_ids(probe, tmp_path, "json", tmp_path / "tokenizer.json", text)
    assert stats["round_trip"]


# Takes 0.1 to 0.5 s; a quadratic merge would take hours, so a busy machine does not matter.
SECONDS = 60


@pytest.mark.parametrize("run", [" ", "a", "\n", "ab", "1", "🙂", "!", "é"])
def test_a_megabyte_without_a_break_is_not_quadratic(probe, tmp_path, smollm2, run):
    text = run * (SIZE // len(run.encode()))
    _, stats = hopskip_ids(probe, tmp_path, "gguf", smollm2[0], text)
    assert stats["seconds"] < SECONDS
    train_free = tmp_path / "tokenizer.json"
    saved = json.loads(smollm2[1].to_str())
    saved["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]}
    train_free.write_text(json.dumps(saved))
    _, stats = hopskip_ids(probe, tmp_path, "json", train_free, text)
    assert stats["seconds"] < SECONDS
