"""What attention.py runs on the same inputs in turn: our library and torch's SDPA backends. Needs torch."""

import re
import warnings

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from gpu import cases, library

PEERS = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION}


def peer_version(name):
    if name == "cudnn":
        return f"torch {torch.__version__} SDPA cuDNN {torch.backends.cudnn.version()}"
    return f"torch {torch.__version__} SDPA flash"


class Ours:
    """One planned object of the library, dense or skipping, over `inputs`."""

    def __init__(self, c, inputs, skip):
        shape = inputs.shape
        self.inputs, self.skip = inputs, skip
        self.out = torch.empty_like(inputs.q)
        self._counts = torch.zeros(shape.batch, shape.heads, 2, dtype=torch.int64, device=inputs.device)
        pages = inputs.pages() if shape.page else None
        stream = torch.cuda.current_stream(inputs.device).cuda_stream
        self._attention = library.Attention(c, library.Config(
            decode=shape.decode, num_heads=shape.heads, num_kv_heads=shape.kv_heads, head_dim=shape.head_dim,
            fp8=shape.kv_type == "fp8", causal=True, page_size=shape.page, max_sequences=shape.batch,
            max_pages=pages.numel() if shape.page else 0), stream)
        factor = shape.kv_len * 2.0**cases.THRESHOLD_LOG2 if skip else 0.0
        self._attention.plan([library.Sequence(
            q_begin=i * shape.q_len, q_len=shape.q_len, kv_len=shape.kv_len, kv_begin=i * shape.kv_len * (not shape.page),
            pages=pages[i].data_ptr() if shape.page else None, num_pages=pages.shape[1] if shape.page else 0,
            factor=factor) for i in range(shape.batch)])
        tokens = shape.batch * shape.kv_len
        self._tensors = library.Tensors(
            q=inputs.q.data_ptr(), out=self.out.data_ptr(), k=inputs.k.data_ptr(), v=inputs.v.data_ptr(),
            counts=self._counts.data_ptr(), q_rows=inputs.q.shape[0], kv_tokens=0 if shape.page else tokens,
            num_pages=tokens // shape.page if shape.page else 0)

    @property
    def program(self):
        return f"hopskip {self._attention.kernel()}, {self._attention.tile_plan()}"

    @property
    def plan(self):
        return self._attention.tile_plan()

    def run(self):
        self._attention.run(self._tensors)

    def skipped(self):
        """Runs once, which fills `out`, and gives the skipped share by the kernel's own counts."""
        self._counts.zero_()
        self.run()
        tiles, skipped = self._counts.sum((0, 1)).tolist()
        if not tiles:
            raise library.LibraryError("the kernel counted no tiles")
        return skipped / tiles

    def close(self):
        self._attention.close()


class Refused(Exception):
    """Why a peer does not take a case."""


def reason(error, notices):
    """One line of an exception and the warnings that explain it."""
    lines = [re.sub(r"\s*\(Triggered internally at .*", "", str(notice.message)).strip() for notice in notices]
    telling = [line for line in lines if not re.search(r"not used because|has been runtime disabled|Memory.efficient|Math", line)]
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return " ".join(telling or [first_line])[:300]


class Peer:
    """One SDPA backend of torch over `inputs`, where it takes them as they are; else with K and V expanded to all heads
    before anything is timed (`expanded`). Raises Refused."""

    def __init__(self, name, inputs):
        shape = inputs.shape
        self.name, self.inputs, self.expanded = name, inputs, False
        self._backend = PEERS[name]
        self._q = inputs.q.view(shape.batch, shape.q_len, shape.heads, shape.head_dim).transpose(1, 2)
        # In decode every key is seen, so their order in memory does not matter.
        k, v = (kv if shape.decode else inputs.in_order(kv) for kv in (inputs.k, inputs.v))
        self._k, self._v = k.transpose(1, 2), v.transpose(1, 2)
        self._aligned = shape.decode or shape.q_len == shape.kv_len
        refusal = self._try()
        if refusal and shape.group > 1 and self._fits_expanded():
            self._k, self._v = (kv.repeat_interleave(shape.group, 1) for kv in (self._k, self._v))
            self.expanded = True
            if self._try():
                self._k = self._v = None
                raise Refused(refusal)
        elif refusal:
            raise Refused(refusal)

    @property
    def program(self):
        return peer_version(self.name) + (", K and V expanded to all heads beforehand" if self.expanded else "")

    def run(self):
        with sdpa_kernel(self._backend):
            return self._call()

    def output(self):
        """Runs once and gives [batch · q_len, heads, d]."""
        shape = self.inputs.shape
        return self.run().transpose(1, 2).reshape(shape.batch * shape.q_len, shape.heads, shape.head_dim)

    def _call(self):
        shape = self.inputs.shape
        if self._aligned:
            return torch.nn.functional.scaled_dot_product_attention(
                self._q, self._k, self._v, is_causal=not shape.decode, enable_gqa=shape.group > 1 and not self.expanded)
        # SDPA's causal mask is aligned to the first key and this shape's to the last, which only the operator below does.
        if self.name != "flash":
            raise Refused("its causal mask cannot end at the last key when there are fewer queries than keys")
        return torch.ops.aten._scaled_dot_product_flash_attention(self._q, self._k, self._v, 0.0, True)[0]

    def _try(self):
        """Runs once; why it does not run, or None."""
        with warnings.catch_warnings(record=True) as notices:
            warnings.simplefilter("always")
            try:
                self.run()
                torch.cuda.synchronize()
            except Refused as error:
                return str(error)
            except (RuntimeError, NotImplementedError, ValueError) as error:
                return reason(error, notices)
        return None

    def _fits_expanded(self):
        shape = self.inputs.shape
        return self._aligned and shape.group * shape.kv_bytes() < 0.8 * torch.cuda.mem_get_info()[0]

    def close(self):
        self._q = self._k = self._v = None
