// The container: well-formed files, and every way we know to break one.
#include "weights/gguf.h"

#include <gtest/gtest.h>

#include "support/error_matchers.h"
#include "support/tiny_gguf.h"
#include "weights/formats.h"
#include "weights/gguf_names.h"

namespace hopskip {
namespace {

using test::Bytes;
using test::GgufWriter;
using test::random_tensor;

GgufFile parse(const std::vector<std::byte>& bytes) { return parse_gguf(bytes, "x.gguf"); }

TEST(Gguf, ReadsEveryScalarTypeAndArrays) {
  GgufWriter out;
  out.u16("u16", 65535);
  out.u32("u32", 7);
  out.f32("f32", 0.5f);
  out.boolean("bool", true);
  out.text("text", "words");
  out.texts("texts", {"a", "", "c"});
  out.i32s("i32s", {-1, 2});
  out.raw_pair("i8", 1, Bytes().put<int8_t>(-3).span());
  out.raw_pair("u64", 10, Bytes().put<uint64_t>(1ull << 40).span());
  out.raw_pair("f64", 12, Bytes().put<double>(0.25).span());
  const std::vector<std::byte> bytes = out.bytes();
  const GgufMetadata metadata = parse(bytes).metadata;
  EXPECT_EQ(metadata.integer("u16"), 65535);
  EXPECT_EQ(metadata.integer("u32"), 7);
  EXPECT_EQ(metadata.integer("i8"), -3);
  EXPECT_EQ(metadata.integer("u64"), int64_t{1} << 40);
  EXPECT_EQ(metadata.real("f32"), 0.5);
  EXPECT_EQ(metadata.real("f64"), 0.25);
  EXPECT_EQ(metadata.boolean("bool"), true);
  EXPECT_EQ(metadata.text("text"), "words");
  EXPECT_EQ(*metadata.texts("texts"), (std::vector<std::string_view>{"a", "", "c"}));
  EXPECT_EQ(*metadata.integers("i32s"), (std::vector<int64_t>{-1, 2}));
  EXPECT_EQ(metadata.integer("absent"), std::nullopt);
  EXPECT_ERROR(ErrorCode::kCorrupt, "'text' is not an integer", metadata.integer("text"));
  EXPECT_ERROR(ErrorCode::kCorrupt, "'i32s' is not an array of strings", metadata.texts("i32s"));
}

TEST(Gguf, TensorsPointIntoTheFileWithTheOutermostDimensionFirst) {
  GgufWriter out;
  const auto matrix = random_tensor("m", DType::kQ8_0, {3, 64}, 1);
  const auto cube = random_tensor("c", DType::kF16, {2, 3, 5}, 2);
  out.tensor(matrix);
  out.tensor(cube);
  const std::vector<std::byte> bytes = out.bytes();
  const GgufFile file = parse(bytes);
  ASSERT_EQ(file.tensors.size(), 2u);
  EXPECT_EQ(file.tensors[0].name, "m");
  EXPECT_EQ(file.tensors[0].view.rank, 2);
  EXPECT_EQ(file.tensors[0].view.shape[0], 3);
  EXPECT_EQ(file.tensors[0].view.shape[1], 64);
  EXPECT_EQ(file.tensors[1].view.shape[2], 5);
  for (const auto& [tensor, stored] :
       {std::pair{file.tensors[0], matrix}, {file.tensors[1], cube}}) {
    ASSERT_EQ(tensor.view.bytes(), static_cast<int64_t>(stored.bytes.size()));
    EXPECT_EQ(std::memcmp(tensor.view.data, stored.bytes.data(), stored.bytes.size()), 0);
    EXPECT_GE(tensor.view.data, bytes.data());
    EXPECT_EQ((tensor.view.as<std::byte>() - bytes.data()) % 32, 0);
  }
}

TEST(Gguf, EveryTruncationIsAnErrorAndNeverACrash) {
  GgufWriter out = test::tiny_gguf("llama", DType::kQ4_0);
  out.texts("tokenizer.ggml.tokens", {"a", "b"});
  std::vector<std::byte> bytes = out.bytes();
  // The last tensor's data need no padding after them.
  const std::vector<std::byte> whole = bytes;
  const GgufFile file = parse(whole);
  const TensorView& last = file.tensors.back().view;
  const size_t end = last.as<std::byte>() - whole.data() + last.bytes();
  for (size_t size = 0; size < end; size += size < 4096 ? 1 : 61) {
    // An exact allocation, so that a sanitizer sees one byte too many.
    const std::vector<std::byte> cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_ERROR(ErrorCode::kCorrupt, "x.gguf", parse(cut));
  }
  bytes.resize(end);
  EXPECT_NO_THROW(parse(bytes));
}

TEST(Gguf, SingleBytesOfTheHeaderMayBeAnything) {
  const std::vector<std::byte> whole = test::tiny_gguf("llama", DType::kQ4_0).bytes();
  for (size_t i = 0; i < 2048; ++i) {
    for (const int value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      std::vector<std::byte> bytes = whole;
      bytes[i] = static_cast<std::byte>(value);
      try {
        const GgufFile parts[] = {parse(bytes)};
        assemble_gguf(parts, "x.gguf");
      } catch (const Error& error) {
        ASSERT_NE(error.code(), ErrorCode::kInternal) << error.what();
      }
    }
  }
}

TEST(Gguf, RefusesOtherMagicVersionsAndByteOrder) {
  GgufWriter out;
  std::vector<std::byte> bytes = out.bytes();
  bytes[0] = std::byte{'X'};
  EXPECT_ERROR(ErrorCode::kCorrupt, "does not begin with 'GGUF'", parse(bytes));
  out.version = 1;
  EXPECT_ERROR(ErrorCode::kUnsupported, "version 1", parse(out.bytes()));
  out.version = 2;
  EXPECT_NO_THROW(parse(out.bytes()));
  out.version = 3u << 24;
  EXPECT_ERROR(ErrorCode::kUnsupported, "big-endian", parse(out.bytes()));
}

TEST(Gguf, RefusesCountsThatTheFileCannotHold) {
  for (const uint64_t count : {uint64_t{1}, uint64_t{65536}, uint64_t{65537}, ~uint64_t{0}}) {
    GgufWriter pairs, tensors;
    pairs.pair_count = count;
    tensors.tensor_count = count;
    EXPECT_ERROR(ErrorCode::kCorrupt, "x.gguf", parse(pairs.bytes()));
    EXPECT_ERROR(ErrorCode::kCorrupt, "x.gguf", parse(tensors.bytes()));
  }
}

TEST(Gguf, RefusesGiantStringsAndArrays) {
  for (const uint64_t size : {uint64_t{1} << 20, (uint64_t{16} << 20) + 1, ~uint64_t{0}}) {
    GgufWriter text, array;
    text.raw_pair("k", 8, Bytes().put(size).span());
    array.raw_pair("k", 9, Bytes().put<uint32_t>(4).put(size).span());
    EXPECT_ERROR(ErrorCode::kCorrupt, "x.gguf", parse(text.bytes()));
    EXPECT_ERROR(ErrorCode::kCorrupt, "does not fit", parse(array.bytes()));
  }
}

TEST(Gguf, RefusesTypesThatDoNotExistAndNestedArrays) {
  GgufWriter unknown, nested, huge;
  unknown.raw_pair("k", 13, Bytes().put<uint64_t>(0).span());
  nested.raw_pair("k", 9, Bytes().put<uint32_t>(9).put<uint64_t>(1).span());
  huge.raw_pair("k", 10, Bytes().put(~uint64_t{0}).span());
  EXPECT_ERROR(ErrorCode::kCorrupt, "value type 13", parse(unknown.bytes()));
  EXPECT_ERROR(ErrorCode::kUnsupported, "array of arrays", parse(nested.bytes()));
  EXPECT_ERROR(ErrorCode::kCorrupt, "out of range", parse(huge.bytes()));
}

TEST(Gguf, RefusesTwins) {
  GgufWriter keys = test::tiny_gguf();
  keys.u32("llama.block_count", 2);
  EXPECT_ERROR(ErrorCode::kCorrupt, "'llama.block_count' stands twice", parse(keys.bytes()));
  GgufWriter tensors = test::tiny_gguf();
  tensors.tensor(random_tensor("blk.0.attn_q.weight", DType::kF32, {64, 64}, 1));
  const std::vector<std::byte> bytes = tensors.bytes();
  const GgufFile parts[] = {parse(bytes)};
  EXPECT_ERROR(ErrorCode::kCorrupt, "'blk.0.attn_q.weight' stands twice",
               assemble_gguf(parts, "x"));
}

TEST(Gguf, RefusesTensorsThatOverlapOrLeaveTheFile) {
  const auto tensor = random_tensor("a", DType::kF32, {64}, 1);  // 256 bytes
  const auto with_offset = [&](uint64_t offset) {
    GgufWriter out;
    out.tensor(tensor, 0);
    out.tensor(random_tensor("b", DType::kF32, {64}, 2), offset);
    return out.bytes();
  };
  EXPECT_NO_THROW(parse(with_offset(256)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "'a' and 'b' overlap", parse(with_offset(224)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "overlap", parse(with_offset(0)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "ends beyond", parse(with_offset(288)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "ends beyond", parse(with_offset(~uint64_t{31})));
  EXPECT_ERROR(ErrorCode::kCorrupt, "no multiple of the alignment", parse(with_offset(260)));
}

TEST(Gguf, RefusesImpossibleShapes) {
  const auto with_shape = [](std::vector<int64_t> shape, DType dtype) {
    GgufWriter out;
    out.tensor({"t", dtype, std::move(shape), std::vector<std::byte>(64)});
    return out.bytes();
  };
  EXPECT_NO_THROW(parse(with_shape({1, 2, 2, 4}, DType::kF32)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "0 dimensions", parse(with_shape({}, DType::kF32)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "5 dimensions",
               parse(with_shape({1, 1, 1, 1, 4}, DType::kF32)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "impossible shape", parse(with_shape({4, 0}, DType::kF32)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "out of range", parse(with_shape({-1}, DType::kF32)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "impossible shape",
               parse(with_shape({1ll << 40, 1ll << 40}, DType::kF32)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "impossible size",
               parse(with_shape({1ll << 31, 1ll << 31}, DType::kF32)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "no whole number of q8_0 blocks",
               parse(with_shape({2, 16}, DType::kQ8_0)));
}

TEST(Gguf, RefusesBadAlignment) {
  for (const uint32_t alignment : {0u, 1u, 4u, 24u, 1u << 17}) {
    GgufWriter out;
    out.u32("general.alignment", alignment);
    EXPECT_ERROR(ErrorCode::kCorrupt, "alignment", parse(out.bytes()));
  }
  GgufWriter out;
  out.alignment = 4096;
  out.u32("general.alignment", 4096);
  out.tensor(random_tensor("t", DType::kF32, {4}, 1));
  const std::vector<std::byte> bytes = out.bytes();
  EXPECT_EQ((parse(bytes).tensors[0].view.as<std::byte>() - bytes.data()) % 4096, 0);
}

TEST(Gguf, NamesTensorAndTypeThatItCannotRead) {
  const auto with_type = [](uint32_t type) {
    GgufWriter out;
    out.tensor(random_tensor("blk.7.ffn_up.weight", DType::kF32, {256}, 1), 0, type);
    return out.bytes();
  };
  EXPECT_ERROR(ErrorCode::kUnsupported, "'blk.7.ffn_up.weight' has type IQ2_XXS; supported are F32",
               parse(with_type(16)));
  EXPECT_ERROR(ErrorCode::kUnsupported, "has type 999", parse(with_type(999)));
}

TEST(GgufNames, TranslatesKnownNamesAndKeepsOthers) {
  EXPECT_EQ(hf_name_of_gguf("token_embd.weight"), "model.embed_tokens.weight");
  EXPECT_EQ(hf_name_of_gguf("output.weight"), "lm_head.weight");
  EXPECT_EQ(hf_name_of_gguf("blk.12.attn_q.bias"), "model.layers.12.self_attn.q_proj.bias");
  EXPECT_EQ(hf_name_of_gguf("blk.0.ffn_norm.weight"),
            "model.layers.0.post_attention_layernorm.weight");
  EXPECT_EQ(hf_name_of_gguf("blk.3.ffn_gate_inp.weight"), "model.layers.3.mlp.gate.weight");
  EXPECT_EQ(hf_name_of_gguf("blk.3.ffn_down_exps.weight"),
            "model.layers.3.mlp.experts.*.down_proj.weight");
  EXPECT_EQ(hf_name_of_gguf("blk.3.attn_k_norm.weight"), "model.layers.3.self_attn.k_norm.weight");
  for (const char* other : {"rope_freqs.weight", "blk.x.attn_q.weight", "blk.1.unknown.weight",
                            "blk.", "blk..attn_q.weight", "", "output"}) {
    EXPECT_EQ(hf_name_of_gguf(other), other);
  }
}

}  // namespace
}  // namespace hopskip
