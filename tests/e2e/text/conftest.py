"""Where the Python tests find the built binaries, and a corpus that is the same on every machine."""
import json
import os
import pathlib
import random
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))


@pytest.fixture(scope="session")
def probe() -> str:
    path = pathlib.Path(os.environ.get("HOPSKIP_BUILD", ROOT / "build")) / "text_probe"
    if not path.exists():
        pytest.skip(f"{path} is not built: ninja text_probe, or set HOPSKIP_BUILD")
    return str(path)
