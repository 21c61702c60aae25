#!/usr/bin/env python3
"""check_kernels.py BUILD: prints what the compiled GPU kernels of a build folder use, and checks them.

Hopper's kernels keep everything in registers and do not wait for each wgmma; an instance holds the kernel that its path
promises, made of the instructions that PROMISES names; a folder has at most 12 instances. The exit status is 77 where
cuobjdump and nvdisasm are missing; they are looked for on the PATH and in the tests' Python environment.
"""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys

import tree

SOURCES = "src/kernels/cuda"
OBJECTS = "src/kernels/cuda/CMakeFiles/hopskip_cuda.dir"
OPS_OBJECTS = "src/kernels/cuda/CMakeFiles/hopskip_cuda_ops.dir"
INSTANCES = 12
SPILL_FREE = ("sm90",)
# kernel → what it contains: products of a warpgroup or a warp, copies by TMA or by cp.async
PROMISES = {
    "sm90::attention_prefill": ("HGMMA", "UTMALDG"),
    "sm90::attention_decode": ("HMMA", "UTMALDG"),
    "sm90::grouped_gemm": ("HGMMA", "UTMALDG"),
    "sm80::attention_prefill": ("HMMA", "LDGSTS"),
    "sm80::attention_decode": ("HMMA", "LDGSTS"),
    "sm90::gemv": ("HMMA", "UBLKCP"),
    "sm90::moe_few_up": ("HMMA", "UBLKCP"),
    "sm90::moe_few_down": ("HMMA", "UBLKCP"),
    "smxx::grouped_gemv": ("HMMA",),
}
USAGE = re.compile(r"^ *Function (\S+):\n *REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)", re.MULTILINE)
CODE = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/ +(?:@!?U?P[0-9T]+ +)?(.*?);", re.MULTILINE)


class Missing(Exception):
    pass


def find_tool(name):
    """The path of cuobjdump or nvdisasm."""
    fetched = tree.cache().glob("test-venv/lib/python3*/site-packages/nvidia/cu13/bin")
    path = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *map(str, fetched)]))
    if not path:
        raise Missing(f"{name} is missing: tools/test_environment.sh fetches it")
    return path


def dump(path):
    """What cuobjdump says about an object file: resources, then code."""
    environment = os.environ | {"NVDISASM_PATH": find_tool("nvdisasm")}
    command = [find_tool("cuobjdump"), "-res-usage", "-sass", str(path)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def demangle(names):
    return subprocess.run(["c++filt", "-p", *names], capture_output=True, text=True, check=True).stdout.splitlines()


def kernels_of(text):
    """mangled name → (registers, stack, shared, local, instructions) from what cuobjdump printed."""
    code = {}
    for part in re.split(r"^\s+Function : ", text, flags=re.MULTILINE)[1:]:
        name, _, body = part.partition("\n")
        code[name.strip()] = [" ".join(found.split()) for found in CODE.findall(body)]
    return {name: (*map(int, numbers), code.get(name, [])) for name, *numbers in USAGE.findall(text)}


def opcode(instruction):
    return instruction.split(" ")[0].split(".")[0]


def problems_of(source, name, kernel):
    """What is wrong with one kernel of an instance; `source` is relative to SOURCES, `name` to hopskip::cuda."""
    _, stack, _, local, code = kernel
    opcodes = {opcode(instruction) for instruction in code}
    if source.parts[0] in SPILL_FREE and stack + local > 0:
        yield f"{name} spills: {stack} bytes of stack, {local} of local memory"
    for promised in PROMISES.get(name.partition("<")[0], ()):
        if promised not in opcodes:
            yield f"{name} has no {promised}"
    products = [instruction for instruction in code if opcode(instruction) == "HGMMA"]
    if products and all("gsb0" in product for product in products):
        yield f"{name} waits for every HGMMA: ptxas serialised them (its note C7510 or C7514 says why)"


def check(build, root=tree.ROOT, dump=dump):
    """The table of all kernels, and the problems."""
    objects = {path.relative_to(build / folder).with_suffix(""): path
               for folder in (OBJECTS, OPS_OBJECTS) for path in sorted((build / folder).rglob("*.cu.o"))}
    objects = {source: path for source, path in objects.items() if (root / SOURCES / source).exists()}
    if not objects:
        return [], [f"{build}: holds no compiled kernel; build it with HOPSKIP_CUDA"]
    table, problems = [], []
    folders = {}
    for source in objects:
        folders.setdefault(source.parent, []).append(source)
    problems += [f"{SOURCES}/{folder}: has {len(sources)} instances; {INSTANCES} are allowed"
                 for folder, sources in folders.items() if len(sources) > INSTANCES]
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        texts = pool.map(dump, objects.values())
    for source, text in zip(objects, texts):
        where = f"{SOURCES}/{source}"
        kernels = kernels_of(text)
        names = [name.replace("hopskip::cuda::", "") for name in demangle(kernels)] if kernels else []
        promised = "::".join(source.parts[:2])
        if not any(re.match(f"{promised}(_\\w+)?(<|$)", name) for name in names):
            problems.append(f"{where}: holds no kernel {promised}")
        for name, kernel in zip(names, kernels.values()):
            problems += [f"{where}: {problem}" for problem in problems_of(source, name, kernel)]
            registers, stack, shared, local, code = kernel
            table.append(f"{str(source):<49} {registers:>4} {shared:>6} {stack + local:>6} {len(code):>6}  {name}")
    header = f"{'instance':<49} {'regs':>4} {'shared':>6} {'stack':>6} {'instr.':>6}  kernel"
    return [header, *table], problems


if __name__ == "__main__":
    try:
        lines, found = check(pathlib.Path(sys.argv[1]).resolve())
    except Missing as missing:
        print(missing)
        sys.exit(77)
    print(*lines, sep="\n")
    sys.exit(tree.report(found))
