"""Options of these tests, known to pytest where this folder is named on its command line:

    pytest tests/e2e/models                                      the CPU backends, build/
    pytest tests/e2e/models --device cuda --binaries FOLDER      a GPU, programs that were copied there
"""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent), str(HERE.parents[3] / "tools")]
import model_runs  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--device", help="cpu (all CPU backends), or what the probe knows, e.g. cuda or cuda:1")
    parser.addoption("--binaries", help="folder of the built programs; default: HOPSKIP_BUILD, or build/")


def pytest_generate_tests(metafunc):
    if {"device", "simd"} <= set(metafunc.fixturenames):
        metafunc.parametrize("device,simd", model_runs.devices(metafunc.config))
