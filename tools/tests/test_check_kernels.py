"""The check of compiled kernels accepts sound ones and names what is wrong with others, given what cuobjdump prints."""

import check_kernels
import pytest

PREFILL = "sm90/attention_prefill/instances/hd128_bf16.cu"
PIPELINED = ["UTMALDG.3D [UR8], [UR4]", "@P0 HGMMA.64x8x16.F32.BF16 R24, gdesc[UR4], R24",
             "HGMMA.64x8x16.F32.BF16 R24, gdesc[UR8], R24, gsb0"]


def cuobjdump(code, stack=0, local=0, name="_ZN4sm9017attention_prefillEPf"):
    lines = [f"        /*{16 * i:04x}*/                   {instruction} ;          /* 0x00000a00ff017b82 */\n"
             f"                                                                /* 0x000fe20000000800 */"
             for i, instruction in enumerate(code)]
    return "\n".join(["Fatbin elf code:", "================", "arch = sm_90a", "Resource usage:",
                      " Common:", "  GLOBAL:0", f" Function {name}:",
                      f"  REG:168 STACK:{stack} SHARED:1024 LOCAL:{local} CONSTANT[0]:556 TEXTURE:0",
                      "\tcode for sm_90a", f"\t\tFunction : {name}", *lines, "\t\t......", ""])


@pytest.fixture
def check(tmp_path):
    """check(text of each instance) → table, problems."""
    def run(instances):
        build = tmp_path / "build"
        for source in instances:
            for path in (tmp_path / check_kernels.SOURCES / source, build / check_kernels.OBJECTS / f"{source}.o"):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        return check_kernels.check(build, tmp_path,
                                   lambda path: instances[str(path.relative_to(build / check_kernels.OBJECTS))[:-2]])
    (tmp_path / "build" / check_kernels.OBJECTS).mkdir(parents=True)
    return run


def test_a_sound_kernel_is_reported(check):
    table, problems = check({PREFILL: cuobjdump(PIPELINED)})
    assert problems == [] and len(table) == 2
    assert table[1].split() == [PREFILL, "168", "1024", "0", "3", "sm90::attention_prefill"]


@pytest.mark.parametrize("text, words", [
    (cuobjdump(PIPELINED, stack=48), "attention_prefill spills: 48 bytes of stack"),
    (cuobjdump(PIPELINED, local=8), "8 of local memory"),
    (cuobjdump(["UTMALDG.3D [UR8], [UR4]", "HMMA.16816.F32 R4, R8, R12, R4"]), "attention_prefill has no HGMMA"),
    (cuobjdump(PIPELINED[1:]), "attention_prefill has no UTMALDG"),
    (cuobjdump([PIPELINED[0], PIPELINED[2], PIPELINED[2]]), "attention_prefill waits for every HGMMA"),
    (cuobjdump(PIPELINED, name="_Z7renamedPf"), "holds no kernel sm90::attention_prefill"),
    ("", "holds no kernel sm90::attention_prefill")])
def test_what_is_wrong_is_named(check, text, words):
    _, problems = check({PREFILL: text})
    assert len(problems) == 1 and problems[0].startswith(f"src/kernels/cuda/{PREFILL}: ") and words in problems[0]


def test_only_hopper_must_not_spill(check):
    instance = cuobjdump(["HMMA.16816.F32 R4, R8, R12, R4", "LDGSTS R4"], 8, name="_ZN4sm8017attention_prefillEPf")
    assert check({"sm80/attention_prefill/instances/a.cu": instance})[1] == []


def test_helpers_need_not_multiply(check):
    helper = cuobjdump(["FADD R1, R2, R3"], name="_Z7combinePf")
    assert check({PREFILL: cuobjdump(PIPELINED) + helper})[1] == []


def test_a_folder_has_few_instances(check):
    def instances(count):
        return {f"sm90/combine/instances/i{i}.cu": cuobjdump(["EXIT"], name="_ZN4sm907combineEPf") for i in range(count)}
    assert check(instances(12))[1] == []
    assert check(instances(13))[1] == ["src/kernels/cuda/sm90/combine/instances: has 13 instances; 12 are allowed"]


def test_leftovers_are_no_kernels(check, tmp_path):
    check({PREFILL: cuobjdump(PIPELINED)})
    (tmp_path / check_kernels.SOURCES / PREFILL).unlink()
    table, problems = check_kernels.check(tmp_path / "build", tmp_path, None)
    assert table == [] and len(problems) == 1 and "holds no compiled kernel" in problems[0]
