"""The parts of the engine's benchmark that need no GPU: its cases, its rows, its tables, its peers' configurations."""

import re

import pytest
import record
import tables
from gpu import engine, engine_rows, engine_shapes
from gpu.engine_rows import Case

MACHINE = "CPU; 16 cores; 128 GiB; NVIDIA H100; 79 GiB; driver 580; SM 1400 MHz of 1980 MHz; memory 2619 MHz; limit 700 W"
COLUMNS = {"date": "2026-01-01T00:00:00Z", "machine": MACHINE, "commit": "abc"}
HEADER = ("shape,layers,device,measure,ctx,batch,new_tokens,chunk,share,skipped_prefill,skipped_decode,seconds,low,high,samples,"
          "tokens_per_s,attention_s,linear_s,experts_s,rest_s,weights_bytes,kv_cache_bytes,rest_bytes,why_not\n")
PREFILL = "m,32,gpu,prefill,32768,1,0,2048,{},{},,{},1.5,2.5,3,16384,0.5,1,0,0.25,16000000000,4000000000,1000000000,\n"
DECODE = "m,32,gpu,decode,4096,8,24,2048,{},,{},{},0.004,0.02,24,800,0.002,0.006,0,0.001,,,,\n"


@pytest.mark.parametrize("case", [
    Case("llama-3.1-8b", "prefill", 32768), Case("llama-3.1-8b", "prefill", 131072, share=0.5),
    Case("llama-3.3-70b of 16 layers", "decode", 4096, 64, share=0.75), Case("m", "throughput", 8192, 64, 128, 0.5)])
def test_a_case_is_read_from_its_name(case):
    assert engine_rows.parse(str(case)) == case


def test_names_of_other_benchmarks_are_no_cases():
    assert engine_rows.parse("matmul 8192x8192x8192 bf16") is None
    assert engine_rows.parse("decode 32 at depth 8192") is None


def test_rows_of_hopskip():
    text = HEADER + PREFILL.format(0.5, 0.49, 2) + DECODE.format(0, 0, 0.01)
    text += "m,32,gpu,throughput,100,4,28,2048,0,0,0,2,1,4,3,256,,,,,,,,\n"
    text += "m,32,gpu,decode,4096,64,24,2048,0,,,,,,,,,,,,,,,64 sequences do not fit\n"
    rows, refused = engine.hopskip_rows("m", text, "hopskip 1 cuda", "command", COLUMNS)
    values = {(row["case"], row["metric"]): row for row in rows}
    ttft = values["m prefill 32768, share 0.5", "ttft"]
    assert (ttft["value"], ttft["low"], ttft["high"], ttft["unit"], ttft["samples"]) == ("2", "1.5", "2.5", "s", 3)
    assert values["m prefill 32768, share 0.5", "skipped_prefill"]["value"] == "49"
    assert values["m prefill 32768, share 0.5", "part_linear"]["value"] == "1000"
    assert values["m prefill 32768, share 0.5", "memory_weights"]["value"] == "16"
    assert values["m decode 8 x 4096", "tpot"]["value"] == "10"
    rate = values["m throughput 4 x 100 + 28", "throughput"]
    assert (rate["value"], rate["low"], rate["high"]) == ("256", "128", "512")
    assert refused == [(Case("m", "decode", 4096, 64), "64 sequences do not fit")]
    assert set(rows[0]) == set(record.COLUMNS)


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "engine_h100.csv"
    text = HEADER + PREFILL.format(0, 0, 2) + PREFILL.format(0.5, 0.5, 1.6) + DECODE.format(0, 0, 0.01) + DECODE.format(0.5, 0.44, 0.008)
    rows, _ = engine.hopskip_rows("m", text, "hopskip 1 cuda", "command", COLUMNS)
    peer = "transformers 5.1 torch 2.8.0+cu128 SDPA, "
    rows += [record.row(peer + "one pass", "c", "m prefill 32768", "ttft", [5.0], "s", COLUMNS),
             record.row(peer + "DynamicCache", "c", "m decode 8 x 4096", "tpot", [30.0], "ms", COLUMNS),
             record.row(peer + "StaticCache, torch.compile", "c", "m decode 8 x 4096", "tpot", [20.0], "ms", COLUMNS)]
    rows.append(COLUMNS | {"program": peer + "DynamicCache", "command": "c", "case": "m decode 64 x 4096", "metric": "refused",
                           "value": "out of memory", "samples": 0})
    record.append(path, rows)
    old, _ = engine.hopskip_rows("m", HEADER + PREFILL.format(0, 0, 99), "hopskip 0 cuda", "command",
                                 COLUMNS | {"date": "2025-01-01T00:00:00Z"})
    record.append(path, old)
    return path


def test_tables(results):
    lines = tables.engine_section([results]).splitlines()
    assert lines[0] == "### NVIDIA H100"
    assert "| case | transformers torch SDPA, one pass | dense | 50 % | of dense | of 50 % |" in lines
    assert ("| 32768 | 5 s | 2 s (2.50 ×) | 1.6 s (3.12 ×, 1.25 × dense) | attention 29 %, linear 57 %, rest 14 % | "
            "attention 29 %, linear 57 %, rest 14 % |") in lines
    assert any(line.startswith("| 8 x 4096 | 30 ms | 20 ms | 10 ms (2.00 ×) | 8 ms (2.50 ×, 1.25 × dense, 44 % skipped) |")
               for line in lines)
    assert "- transformers torch SDPA, DynamicCache is not measured (out of memory): decode 64 x 4096." in lines
    assert "Memory in use at prefill 32768: weights 16.0 GB, KV cache 4.0 GB, rest 1.0 GB." in lines


def test_arguments_and_commands():
    options = engine.arguments(["--shape", "qwen3-8b", "--decode", "2048:1,4", "512", "--cases", "decode,prefill"])
    assert options.decode == [(2048, [1, 4]), (512, [1])]
    words = [words for _, words in engine.hopskip_cases(options)]
    assert len(words) == 4 and ["--batch", "1,4"] == words[2][words[2].index("--batch"):][:2]
    assert "--decode 2048:1,4 512:1" in engine.command_line(options)
    assert [peer for _, peer in engine.peer_cases(options)] == [None, None] + ["dynamic"] * 3 + ["compiled"] * 3
    with pytest.raises(SystemExit):
        engine.arguments(["--peers", "vllm"])


def test_shapes_are_those_of_the_program():
    source = (record.ROOT / "src/weights/synthetic.cc").read_text(encoding="utf-8")
    table = source[source.index("constexpr Shape kShapes[]"):].split("};")[0]
    assert set(engine_shapes.SHAPES) == set(re.findall(r'\{"([^"]+)"', table)) - {"tiny-moe"}


def test_configurations_have_the_published_sizes():
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    sizes = {"llama-3.1-8b": 8030261248, "llama-3.3-70b": 70553706496, "qwen3-8b": 8190735360, "qwen3-30b-a3b": 30532122624}
    for shape, size in sizes.items():
        config = engine_shapes.config(transformers, shape, 0, 200000)
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(config)
        assert sum(parameter.numel() for parameter in model.parameters()) == size
        assert model.config.max_position_embeddings >= 200000
