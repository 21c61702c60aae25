"""Each check is seen to accept a sound tree and to name the file and line of a planted violation."""

import check_budgets
import check_docs
import check_format
import check_layers
import pytest

LAYERS = "# who may include whom\nbase:\ntensor: base\nkernels: base tensor\n"


def plant(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def include(*names):
    return "".join(f'#include "{name}"\n' for name in names)


def layers_of(root, files, layers=LAYERS):
    return check_layers.check(plant(root, {"cmake/layers.txt": layers, **files}))


def test_layers_accept_what_is_granted(tmp_path):
    assert layers_of(tmp_path, {
        "src/kernels/cpu/gemm.cc": "#include <vector>\n" + include("kernels/backend.h", "tensor/view.h", "hopskip/error.h"),
        "apps/run.cc": include("kernels/backend.h", "options.h", "bench/kernels/case.h"),
        "include/hopskip/llm.h": include("hopskip/error.h")}) == []


@pytest.mark.parametrize("name, included, words", [
    ("src/base/check.cc", "tensor/view.h", "does not grant tensor to base"),
    ("src/tensor/view.h", "kernels/backend.h", "does not grant kernels to tensor"),
    ("include/hopskip/llm.h", "base/check.h", "public headers only"),
    ("src/base/check.cc", "check.h", "not a module"),
    ("src/base/check.cc", "elsewhere/check.h", "not a module"),
    ("src/kernels/a.cc", "bench/kernels/case.h", "not a module"),
    ("src/strange/a.cc", "base/check.h", "no line in cmake/layers.txt")])
def test_layers_name_the_line(tmp_path, name, included, words):
    problems = layers_of(tmp_path, {name: include(included)})
    assert len(problems) == 1 and problems[0].startswith(f"{name}:1: ") and words in problems[0]


def test_layers_hold_applications_to_their_line(tmp_path):
    problems = layers_of(tmp_path, {"apps/run.cc": include("kernels/backend.h", "base/check.h")},
                         LAYERS + "apps: kernels\n")
    assert len(problems) == 1 and "grant base to apps" in problems[0]


def test_layers_point_down(tmp_path):
    problems = layers_of(tmp_path, {}, "base: tensor\ntensor: base\n")
    assert problems == ["cmake/layers.txt:1: base builds on tensor, which no line above names"]


def docs_of(root, text, name="docs/page.md"):
    return check_docs.check(plant(root, {"src/base/check.h": "", "tools/a.py": "", "docs/other.md": "", name: text}))


@pytest.mark.parametrize("text", [
    "`src/base/check.h`, `base/check.h:12`, `src/base/`, `tools/*.py`, `src/base/{check}.h`",
    "[other](other.md#part), [up](../tools/a.py), [site](https://example.org/x), [here](#part)",
    "`prefill/decode`, `a/b`, `make run`, `src/<module>/x.cc`, `build/hopskip`, `tools/a.py --flag`"])
def test_documents_may_name_what_exists(tmp_path, text):
    assert docs_of(tmp_path, text) == []


@pytest.mark.parametrize("text, words", [
    ("`src/base/gone.h`", "src/base/gone.h does not exist"),
    ("`base/gone.h`", "base/gone.h does not exist"),
    ("run `tools/gone.py --flag`", "tools/gone.py does not exist"),
    ("`src/base/{check,gone}.h`", "does not exist"),
    ("`tools/*.cc`", "does not exist"),
    ("[other](gone.md)", "leads nowhere"),
    ("see /home/x for it", "path of one machine"),
    ("`/root/.cache/x`", "path of one machine")])
def test_documents_name_the_line(tmp_path, text, words):
    problems = docs_of(tmp_path, "# Title\n\n" + text + "\n")
    assert len(problems) == 1 and problems[0].startswith("docs/page.md:3: ") and words in problems[0]


def test_readme_is_short(tmp_path):
    assert docs_of(tmp_path, "line\n" * 150, "README.md") == []
    assert docs_of(tmp_path, "line\n" * 151, "README.md") == ["README.md:1: has 151 lines; 150 are allowed"]


def test_budget_of_lines(tmp_path):
    plant(tmp_path, {"a.cc": "x\n" * 600, "b.py": "x\n" * 601, "data.bin": "x\n" * 700})
    assert check_budgets.check(tmp_path) == ["b.py:1: has 601 lines; 600 are allowed"]


def test_format_names_the_line(tmp_path):
    plant(tmp_path, {"good.cc": "int f(int* a) { return *a; }\n"})
    assert check_format.check(tmp_path) == []
    plant(tmp_path, {"bad.cc": "int g() { return 0; }\nint f(int *a) {return *a;}\n"})
    problems = check_format.check(tmp_path)
    assert problems == ["bad.cc:2: not formatted; run 'make format'"]
