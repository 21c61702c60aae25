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


def environment():
    """Of the built programs: HOPSKIP_LIBRARY_PATH is for them, and not for Python's own libraries."""
    own = os.environ.get("HOPSKIP_LIBRARY_PATH")
    return os.environ | ({"LD_LIBRARY_PATH": own} if own else {})
