"""Which backends the models run on, and where the built programs lie: the options of conftest.py."""
import os
import pathlib

import tree

CPU = [("reference", ""), ("cpu", "avx2"), ("cpu", "")]


def devices(config):
    """(device, instruction set) of all runs."""
    device = config.getoption("--device", default=None)
    return CPU if device in (None, "cpu") else [(device, "")]


def binaries(config):
    given = config.getoption("--binaries", default=None)
    return pathlib.Path(given or os.environ.get("HOPSKIP_BUILD", tree.ROOT / "build"))
