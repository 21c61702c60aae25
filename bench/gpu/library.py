"""hopskip::Attention for Python, through the C functions of attention_c.cc."""

import ctypes
import pathlib

NAME = "libhopskip_attention_c.so"
NEEDED = "libhopskip_attention.so*"


class Config(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int32) for name in (
        "decode", "num_heads", "num_kv_heads", "head_dim", "fp8", "causal", "page_size", "max_sequences")]
    _fields_ += [("max_pages", ctypes.c_int64)]


class Sequence(ctypes.Structure):
    _fields_ = [("q_begin", ctypes.c_int64), ("q_len", ctypes.c_int64), ("kv_len", ctypes.c_int64),
                ("kv_begin", ctypes.c_int64), ("pages", ctypes.c_void_p), ("num_pages", ctypes.c_int64),
                ("factor", ctypes.c_double)]


class Tensors(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("q", "out", "k", "v", "counts")]
    _fields_ += [(name, ctypes.c_int64) for name in ("q_rows", "kv_tokens", "num_pages")]


class LibraryError(Exception):
    """What the library threw, in its words, or why it cannot be loaded."""


def load(path):
    """The library at `path`, a file or the folder with NAME and NEEDED; raises LibraryError."""
    path = pathlib.Path(path)
    file = path / NAME if path.is_dir() else path
    if not file.is_file():
        raise LibraryError(f"{file} is not there: build the target hopskip_attention_c (nvcc needed), or name the "
                           "folder of the libraries with --library")
    try:
        for beside in sorted(file.parent.glob(NEEDED))[:1]:  # else the loader looks where the build left it
            ctypes.CDLL(str(beside.resolve()))
        c = ctypes.CDLL(str(file.resolve()))
    except OSError as error:
        raise LibraryError(f"cannot load {file}: {error}") from error
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    for name, result, arguments in [
            ("last_error", text, []),
            ("attention_create", pointer, [pointer]),
            ("attention_destroy", None, [pointer]),
            ("attention_plan", ctypes.c_int, [pointer, ctypes.c_int64, pointer, pointer]),
            ("attention_run", ctypes.c_int, [pointer, pointer, pointer]),
            ("attention_kernel", text, [pointer]),
            ("attention_tile_plan", text, [pointer])]:
        function = getattr(c, f"hopskip_{name}")
        function.restype, function.argtypes = result, arguments
    return c


class Attention:
    """One planned hopskip::Attention. `stream` is a cudaStream_t as an integer; errors are LibraryError."""

    def __init__(self, c, config, stream=0):
        self._c, self._stream, self._handle = c, stream, None
        self._handle = c.hopskip_attention_create(ctypes.byref(config))
        if not self._handle:
            raise self._error()

    def plan(self, sequences):
        array = (Sequence * len(sequences))(*sequences)
        if self._c.hopskip_attention_plan(self._handle, len(sequences), array, self._stream):
            raise self._error()

    def run(self, tensors):
        if self._c.hopskip_attention_run(self._handle, ctypes.byref(tensors), self._stream):
            raise self._error()

    def kernel(self):
        return self._c.hopskip_attention_kernel(self._handle).decode()

    def tile_plan(self):
        return self._c.hopskip_attention_tile_plan(self._handle).decode()

    def close(self):
        if self._handle:
            self._c.hopskip_attention_destroy(self._handle)
        self._handle = None

    def _error(self):
        return LibraryError(self._c.hopskip_last_error().decode())
