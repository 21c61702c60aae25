"""What attention.py measures: shapes, the stretches of cold keys, names, and the work that each shape stands for.

Needs neither torch nor a GPU. Names are read again by the plots and tables, so that a CSV row says all of it.
"""

import dataclasses
import re

COLD_NATS = 20.0
# λ = 2^-10: below what random scores differ by within a tile, far above e^-20.
THRESHOLD_LOG2 = -10.0
SHARES = (0.25, 0.5, 0.75, 0.9)
STRETCHES = (128, 32, 16)


@dataclasses.dataclass(frozen=True)
class Shape:
    """One attention call: `batch` sequences of equal length; decode has q_len 1, prefill is causal."""
    phase: str
    heads: int
    kv_heads: int
    head_dim: int
    batch: int
    q_len: int
    kv_len: int
    page: int = 0
    kv_type: str = "bf16"

    @property
    def decode(self):
        return self.phase == "decode"

    @property
    def group(self):
        return self.heads // self.kv_heads

    @property
    def scale(self):
        return self.head_dim ** -0.5

    def flops(self):
        """Of dense attention; causal prefill counts the visible half."""
        context = self.kv_len - self.q_len
        visible = self.q_len * (context + (1 if self.decode else self.q_len / 2))
        return 4 * self.batch * self.heads * self.head_dim * visible

    def kv_bytes(self):
        element = 1 if self.kv_type == "fp8" else 2
        return 2 * self.batch * self.kv_len * self.kv_heads * self.head_dim * element

    def device_bytes(self):
        """K and V, q and outputs, and what making and changing them takes for a moment."""
        q = 2 * self.batch * self.q_len * self.heads * self.head_dim
        column = self.batch * self.kv_len * self.kv_heads
        copies = 2 if self.page and not self.decode else 1
        return copies * self.kv_bytes() + 5 * q + 8 * column

    def speed(self, seconds):
        """TFLOP/s of prefill, TB/s of decode, as if nothing were skipped."""
        return (self.kv_bytes() if self.decode else self.flops()) / seconds / 1e12

    @property
    def unit(self):
        return "TB/s" if self.decode else "TFLOP/s"

    def __str__(self):
        queries = f"batch {self.batch}" if self.decode else f"{self.q_len}"
        layout = f"paged {self.page}" if self.page else "contiguous"
        return (f"{self.phase} {self.heads}/{self.kv_heads}x{self.head_dim} {self.kv_type}, {queries} on "
                f"{self.kv_len} keys, {layout}")


@dataclasses.dataclass(frozen=True)
class Variant:
    """How one shape is run: `skip` off is the dense mode; `share` of the stretches are cold."""
    skip: bool
    share: float = 0.0
    stretch: int = 128

    def __str__(self):
        if not self.skip:
            return "dense"
        if not self.share:
            return "skip on, nothing cold"
        return f"{100 * self.share:.0f} % cold in stretches of {self.stretch}"


DENSE = Variant(False)
NOTHING = Variant(True)


def case_name(shape, variant):
    return f"{shape}, {variant}"


_CASE = re.compile(
    r"(?P<phase>prefill|decode) (?P<heads>\d+)/(?P<kv_heads>\d+)x(?P<head_dim>\d+) (?P<kv_type>\w+), "
    r"(?:batch )?(?P<queries>\d+) on (?P<kv_len>\d+) keys, (?:paged (?P<page>\d+)|contiguous), "
    r"(?:(?P<dense>dense)|skip on, nothing cold|(?P<share>\d+) % cold in stretches of (?P<stretch>\d+))")


def parse_case(name):
    """The (Shape, Variant) of a case_name(); None for the name of anything else."""
    match = _CASE.fullmatch(name)
    if not match:
        return None
    number = {key: int(match[key] or 0) for key in ("heads", "kv_heads", "head_dim", "queries", "kv_len", "page")}
    queries, decode = number.pop("queries"), match["phase"] == "decode"
    shape = Shape(phase=match["phase"], kv_type=match["kv_type"], batch=queries if decode else 1,
                  q_len=1 if decode else queries, **number)
    if match["share"]:
        return shape, Variant(True, int(match["share"]) / 100, int(match["stretch"]))
    return shape, DENSE if match["dense"] else NOTHING


def variants(stretches):
    """Dense, skip on with nothing cold, and the cold shares of each stretch in {stretch: shares}."""
    return [DENSE, NOTHING] + [Variant(True, share, stretch) for stretch, shares in stretches.items() for share in shares]


SWEEP = dict.fromkeys(STRETCHES, SHARES)
PREFILL = {128: SHARES, 32: (0.5,), 16: (0.5, 0.75)}
DECODE = {128: (0.5, 0.75), 32: (0.5,), 16: SHARES}
SHORT = {128: (0.5,), 16: (0.5,)}


def prefill(heads, kv_heads, kv_len, head_dim=128, q_len=None, page=0):
    return Shape("prefill", heads, kv_heads, head_dim, 1, q_len or kv_len, kv_len, page)


def decode(heads, kv_heads, batch, kv_len, page=64, kv_type="bf16", head_dim=128):
    return Shape("decode", heads, kv_heads, head_dim, batch, 1, kv_len, page, kv_type)


K = 1024
FILTERS = ("prefill", "chunked", "decode", "fp8")


def standard():
    """[(filter, Shape, stretches)]: what the goals are stated for, the most telling first."""
    rows = [("prefill", prefill(64, 4, 64 * K), SWEEP), ("decode", decode(32, 8, 64, 64 * K), SWEEP)]
    rows += [("prefill", prefill(64, 4, n * K), PREFILL) for n in (16, 32, 128)]
    rows += [("prefill", prefill(32, 8, n * K), PREFILL) for n in (16, 32, 64, 128)]
    rows += [("prefill", prefill(32, 8, 32 * K, head_dim=64), PREFILL),
             ("prefill", prefill(32, 8, 32 * K, head_dim=256), SHORT),
             ("prefill", prefill(64, 4, 64 * K, page=64), SHORT),
             ("chunked", prefill(64, 4, 128 * K, q_len=8 * K), PREFILL)]
    rows += [("decode", decode(32, 8, batch, n * K), DECODE)
             for n in (16, 64, 128) for batch in (1, 8, 32, 64, 128) if (batch, n) != (64, 64)]
    rows += [("decode", decode(heads, kv_heads, batch, n * K), DECODE)
             for heads, kv_heads in ((64, 8), (64, 4)) for batch, n in ((1, 128), (8, 64), (64, 64), (128, 16))]
    rows += [("decode", decode(32, 8, 32, 64 * K, page=0), SHORT)]
    rows += [("decode", decode(32, 8, 8, 64 * K, head_dim=256), SHORT)]
    rows += [("fp8", decode(32, 8, batch, 64 * K, kv_type="fp8"), DECODE) for batch in (1, 8, 64)]
    return rows


def quick():
    """A minute's worth of standard()."""
    return [("prefill", prefill(64, 4, 16 * K), PREFILL),
            ("prefill", prefill(64, 4, 64 * K), SHORT),
            ("chunked", prefill(64, 4, 128 * K, q_len=8 * K), SHORT),
            ("decode", decode(32, 8, 1, 128 * K), SHORT),
            ("decode", decode(32, 8, 64, 64 * K), DECODE),
            ("decode", decode(64, 4, 8, 64 * K), SHORT),
            ("fp8", decode(32, 8, 64, 64 * K, kv_type="fp8"), SHORT)]


def cold_stretches(noise, share):
    """Which stretches are cold: `share` of all, where `noise` [..., stretches] is lowest, but neither first nor last.

    Takes uniform random numbers in [0, 1) as numpy's array or torch's tensor, changes their ends, and answers in kind.
    """
    count = noise.shape[-1]
    cold = min(round(share * count), max(0, count - 2))
    noise[..., 0] = noise[..., -1] = 2.0
    return noise.argsort(-1).argsort(-1) < cold


def parse_plan(text):
    """(rows, keys) of a tile plan such as "64x16/128 sink-diagonal-inward"."""
    match = re.match(r"(\d+)(?:\*\d+)?x(\d+)/\d+ ", text)
    if not match:
        raise ValueError(f"'{text}' is no tile plan")
    return int(match[1]), int(match[2])


def expected_share(cold, stretch, shape, plan):
    """The share of visible tiles that hold cold keys only. `cold`: numpy booleans [..., kv_len / stretch]."""
    import numpy as np
    rows, keys = parse_plan(plan)
    tiles = cold.repeat(max(1, stretch // keys), axis=-1)
    if keys > stretch:
        tiles = tiles.reshape(*tiles.shape[:-1], -1, keys // stretch).all(-1)
    # Position of the last row of each row tile; a key tile is visible to those at or behind its first key.
    row_tiles = -(-shape.q_len // rows)
    last = shape.kv_len - shape.q_len + np.minimum((np.arange(row_tiles) + 1) * rows, shape.q_len) - 1
    weights = row_tiles - np.searchsorted(last, np.arange(tiles.shape[-1]) * keys)
    return float((tiles.reshape(-1, tiles.shape[-1]).mean(0) * weights).sum() / weights.sum())


def share_problem(measured, expected, tolerance=0.01):
    """Why a measured skipped share is not that of the inputs; None where it is."""
    if expected == 0.0 and measured > 1e-4:
        return f"skips {100 * measured:.2f} % where nothing is cold"
    if measured > expected + tolerance:
        return f"skips {100 * measured:.1f} % where {100 * expected:.1f} % is cold"
    return None
