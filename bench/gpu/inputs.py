"""Tensors whose skipped share is known, and the answer that attention must give for them. Needs torch."""

import torch

from gpu import cases

SAMPLED_HEADS = 3
SAMPLED_ROWS = 6
# Of the relative error |out − exact| / |exact| of an output row. Rounding P and the output to BF16 gives 0.003; a
# 16-key tile too few or too many of 128k gives 0.011.
TOLERANCE = {"bf16": 0.008, "fp8": 0.02}
CHUNK = 1 << 28  # elements that are converted at a time


def random_normal(shape, dtype, device, generator):
    values = torch.empty(shape, dtype=dtype, device=device)
    flat = values.view(-1)
    for begin in range(0, flat.numel(), CHUNK):
        part = flat[begin:begin + CHUNK]
        if dtype.itemsize > 1:
            part.normal_(generator=generator)
        else:
            part.copy_(torch.randn(part.shape, dtype=torch.bfloat16, device=device, generator=generator))
    return values


class Inputs:
    """q [batch · q_len, heads, d]; k and v [batch, kv_len, kv_heads, d] as they lie in memory.

    Dimension 0 is the bias: sqrt(20 / scale) in q; minus that in cold keys, 0 in others. In a paged shape the pages of a
    sequence lie in random order within its part of k and v, and `pages` [batch, pages of a sequence] says where.
    """

    def __init__(self, shape, device, seed=1):
        self.shape, self.device = shape, device
        self.random = torch.Generator(device).manual_seed(seed)
        dtype = torch.float8_e4m3fn if shape.kv_type == "fp8" else torch.bfloat16
        kv = (shape.batch, shape.kv_len, shape.kv_heads, shape.head_dim)
        self.q = random_normal((shape.batch * shape.q_len, shape.heads, shape.head_dim), torch.bfloat16, device,
                               self.random)
        self.k = random_normal(kv, dtype, device, self.random)
        self.v = random_normal(kv, dtype, device, self.random)
        self.bias = (cases.COLD_NATS / shape.scale) ** 0.5
        self.q[..., 0] = self.bias
        self.order = None  # [batch, pages]: page p of sequence b is the order[b, p]-th of its part
        if shape.page:
            noise = torch.rand(shape.batch, shape.kv_len // shape.page, device=device, generator=self.random)
            self.order = noise.argsort(-1)
        self._cold = {}
        self._variant = None

    def pages(self):
        """Page numbers [batch, pages] for the host, int32."""
        first = torch.arange(self.shape.batch, device=self.device)[:, None] * self.order.shape[1]
        return (self.order + first).to(torch.int32).cpu().contiguous()

    def cold(self, variant):
        """Which stretches are cold, booleans [batch, kv_heads, kv_len / stretch]."""
        key = (variant.share, variant.stretch)
        if key not in self._cold:
            count = self.shape.kv_len // variant.stretch
            noise = torch.rand(self.shape.batch, self.shape.kv_heads, count, device=self.device, generator=self.random)
            self._cold[key] = cases.cold_stretches(noise, variant.share)
        return self._cold[key]

    def _cold_keys(self, variant):
        """[batch, kv_heads, kv_len], in the order of the sequence."""
        return self.cold(variant).repeat_interleave(variant.stretch, -1)

    def set_cold(self, variant):
        """Writes the bias of this variant into k; nothing where it is there already."""
        key = (variant.share, variant.stretch) if variant.share else None
        if self._variant == (key,):
            return
        self._variant = (key,)
        if key is None:
            self.k.view(torch.uint8 if self.k.dtype.itemsize == 1 else self.k.dtype)[..., 0] = 0
            return
        shape, keys = self.shape, self._cold_keys(variant)
        if self.order is not None:
            pages = keys.view(shape.batch, shape.kv_heads, -1, shape.page)
            batch = torch.arange(shape.batch, device=self.device)[:, None]
            keys = pages[batch, :, self.order.argsort(-1)]  # [batch, page in memory, kv_heads, page]
            keys = keys.permute(0, 2, 1, 3).reshape(shape.batch, shape.kv_heads, shape.kv_len)
        column = torch.where(keys, -self.bias, 0.0).to(torch.bfloat16).transpose(1, 2)
        self.k[..., 0] = column.to(self.k.dtype)

    def in_order(self, kv):
        """k or v with the keys of each sequence in order: itself, or a copy where pages are shuffled."""
        if self.order is None:
            return kv
        shape = self.shape
        pages = kv.view(shape.batch, -1, shape.page, shape.kv_heads, shape.head_dim)
        batch = torch.arange(shape.batch, device=self.device)[:, None]
        return pages[batch, self.order].view(kv.shape)

    def _keys_of(self, kv, sequence, kv_head):
        """[kv_len, d] of one sequence and head in order, float64."""
        values = kv[sequence, :, kv_head].to(torch.float32)
        if self.order is not None:
            values = values.view(-1, self.shape.page, self.shape.head_dim)[self.order[sequence]]
        return values.view(self.shape.kv_len, self.shape.head_dim).double()

    def samples(self):
        """[(sequence, head, rows)] that an output is judged by: the ends and some at random between them."""
        shape, random = self.shape, torch.Generator().manual_seed(2)
        places = [(0, 0), (shape.batch - 1, shape.heads - 1)]
        while len(places) < SAMPLED_HEADS:
            places.append(tuple(int(torch.randint(n, (1,), generator=random)) for n in (shape.batch, shape.heads)))
        ends = {0, shape.q_len - 1, shape.q_len // 2}
        rows = sorted(ends | set(torch.randint(shape.q_len, (SAMPLED_ROWS - 3,), generator=random).tolist()))
        return [(sequence, head, rows) for sequence, head in places]

    def exact(self, variant):
        """For each of samples(), the output [rows, d] in float64; where `variant` skips, cold keys are left out."""
        shape, outputs = self.shape, []
        cold = self._cold_keys(variant) if variant.share else None
        for sequence, head, rows in self.samples():
            kv_head = head // shape.group
            k, v = (self._keys_of(kv, sequence, kv_head) for kv in (self.k, self.v))
            q = self.q.view(shape.batch, shape.q_len, shape.heads, -1)[sequence, rows, head].double()
            scores = q @ k.T * shape.scale
            positions = torch.tensor(rows, device=self.device) + shape.kv_len - shape.q_len
            hidden = torch.arange(shape.kv_len, device=self.device) > positions[:, None]
            if cold is not None:
                hidden |= cold[sequence, kv_head]
            outputs.append(scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v)
        return outputs

    def problem(self, out, exact):
        """Why `out` [batch · q_len, heads, d] is not the exact() answer; None where it is."""
        shape = self.shape
        out = out.view(shape.batch, shape.q_len, shape.heads, shape.head_dim)
        for (sequence, head, rows), want in zip(self.samples(), exact):
            got = out[sequence, rows, head].double()
            error = (got - want).norm(dim=-1) / want.norm(dim=-1)
            worst = int(torch.where(error.isfinite(), error, float("inf")).argmax())
            if not float(error[worst]) < TOLERANCE[shape.kv_type]:
                return f"sequence {sequence}, head {head}, row {rows[worst]}: relative error {float(error[worst]):.3g}"
        return None
