"""Where the Python tests find the built binary."""
import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent), str(HERE.parents[3] / "tools")]
import tree  # noqa: E402


@pytest.fixture(scope="session")
def probe() -> str:
    path = pathlib.Path(os.environ.get("HOPSKIP_BUILD", tree.ROOT / "build")) / "text_probe"
    if not path.exists():
        pytest.skip(f"{path} is not built: ninja text_probe, or set HOPSKIP_BUILD")
    return str(path)
