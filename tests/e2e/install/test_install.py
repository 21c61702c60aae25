"""hopskip::attention as other projects meet it: installed, moved elsewhere, found by CMake, linked and run."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tools"))
import tree  # noqa: E402

BUILD = pathlib.Path(os.environ.get("HOPSKIP_BUILD", tree.ROOT / "build"))
SYSTEM_LIBRARIES = {"libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "libdl.so.2", "librt.so.1",
                    "libpthread.so.0", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}


def output(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    if not list(BUILD.glob("src/kernels/cuda/libhopskip_attention.so")):
        pytest.skip(f"libhopskip_attention.so is not built in {BUILD}")
    folder = tmp_path_factory.mktemp("install")
    output("cmake", "--install", BUILD, "--prefix", folder / "first", "--component", "attention")
    return (folder / "first").rename(folder / "moved")


def test_nothing_else_is_installed(prefix):
    files = {str(path.relative_to(prefix)) for path in prefix.rglob("*") if not path.is_dir()}
    headers = {f"include/hopskip/{name}.h" for name in ("attention", "error", "types")}
    package = {name for name in files if re.fullmatch(r"lib/cmake/hopskip/hopskip-[a-z-]+\.cmake", name)}
    library = {name for name in files if re.fullmatch(r"lib/libhopskip_attention\.so(\.\d+\.\d+(\.\d+)?)?", name)}
    assert headers <= files and len(library) == 3 and files == headers | package | library


def test_the_library_needs_only_the_system(prefix):
    dynamic = output("readelf", "-d", prefix / "lib/libhopskip_attention.so")
    assert set(re.findall(r"NEEDED.*\[(.*)\]", dynamic)) <= SYSTEM_LIBRARIES
    assert re.search(r"SONAME.*\[libhopskip_attention\.so\.\d+\.\d+\]", dynamic)


def test_the_library_shows_public_symbols_only(prefix):
    lines = output("nm", "-DC", "--defined-only", prefix / "lib/libhopskip_attention.so").splitlines()
    names = {re.sub(r"^(typeinfo name|typeinfo|vtable) for ", "", line.split(maxsplit=2)[2]) for line in lines}
    public = r"hopskip::(Attention::(?!Impl)|Error\b|error_code_name\(|attention_candidates\(|list_gpus\()"
    assert names and [name for name in names if not re.match(public, name)] == []


@pytest.fixture(scope="module")
def toolkit():
    found = re.search(r"^FIND_PACKAGE_MESSAGE_DETAILS_CUDAToolkit:INTERNAL=.*\[(/.*)/bin\]",
                      (BUILD / "CMakeCache.txt").read_text(), re.MULTILINE)
    if not found:
        pytest.skip(f"{BUILD} is built without CUDA")
    return found.group(1)


@pytest.fixture(scope="module")
def example(prefix, toolkit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("example")
    output("cmake", "-S", tree.ROOT / "examples/attention", "-B", folder, "-G", "Ninja",
           f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCUDAToolkit_ROOT={toolkit}")
    assert str(prefix) in (folder / "CMakeCache.txt").read_text()
    output("cmake", "--build", folder)
    return folder / "attention_example"


def test_an_outside_project_uses_it(example):
    done = subprocess.run([example], capture_output=True, text=True, timeout=300)
    if done.returncode == 0:
        shares = [float(share) for share in re.findall(r": (\d+\.\d) % of \d+ tiles skipped", done.stdout)]
        assert len(shares) == 2 and all(50 < share < 90 for share in shares), done.stdout
        return
    # What the library threw was caught as hopskip::Error, for its code is named.
    reason = re.fullmatch(r"attention_example: unsupported: (\S.*)\n", done.stderr)
    assert done.returncode == 1 and done.stdout == "" and reason, done
    pytest.skip("configured, built and linked, but not computed: " + reason.group(1))


GUIDE = """#include <cuda_runtime.h>
#include "hopskip/attention.h"
struct Request { int64_t row, keys; std::vector<int32_t> pages; };
void guide(const std::vector<Request>& requests, cudaStream_t stream, const void* q, void* out, const void* k,
           const void* v, int64_t rows, int64_t pages_in_pool, hopskip::SkipCounts* device_counts) {
"""


def test_the_guide_compiles(prefix, toolkit, tmp_path):
    blocks = re.findall(r"^```cpp\n(.*?)^```$", (tree.ROOT / "docs/howto/attention_library.md").read_text(),
                        re.MULTILINE | re.DOTALL)
    assert len(blocks) > 4
    source = tmp_path / "guide.cc"
    source.write_text(GUIDE + "".join(blocks) + "}\n")
    output("c++", "-std=c++20", "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Werror", "-fsyntax-only",
           "-I", prefix / "include", "-isystem", f"{toolkit}/include", source)
