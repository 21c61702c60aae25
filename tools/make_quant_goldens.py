"""Writes tests/golden/quant/<dtype>.bin: random valid blocks and what the `gguf` package makes of them.

Layout, little-endian: u32 blocks, u32 elements, block bytes, float32 values.
"""

import struct
import sys
from pathlib import Path

import gguf
import numpy as np

BLOCKS = {"q8_0": 8, "q4_0": 8, "q4_1": 8, "q4_k": 4, "q5_k": 4, "q6_k": 4}
# Byte offsets of the half-precision fields, which must be finite.
HALVES = {"q8_0": [0], "q4_0": [0], "q4_1": [0, 2], "q4_k": [0, 2], "q5_k": [0, 2], "q6_k": [208]}


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/quant")
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(20)
    for name, blocks in BLOCKS.items():
        dtype = gguf.GGMLQuantizationType[name.upper()]
        _, size = gguf.GGML_QUANT_SIZES[dtype]
        raw = rng.integers(0, 256, (blocks, size), dtype=np.uint8)
        for at in HALVES[name]:
            halves = rng.normal(0, 0.05, blocks).astype(np.float16)
            raw[:, at : at + 2] = halves.view(np.uint8).reshape(blocks, 2)
        values = gguf.quants.dequantize(raw, dtype).astype(np.float32).ravel()
        header = struct.pack("<II", blocks, values.size)
        (folder / f"{name}.bin").write_bytes(header + raw.tobytes() + values.tobytes())


if __name__ == "__main__":
    main()
