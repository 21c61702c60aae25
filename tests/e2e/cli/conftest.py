"""The built binary, run as a user runs it."""
import json
import os
import pathlib
import subprocess
import sys
from dataclasses import dataclass

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tools"))
import tree  # noqa: E402

MODEL_FILE = tree.cache() / "SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass
class Done:
    code: int
    out: str
    err: str


class Hopskip:
    def __init__(self, binary):
        self.binary = binary

    def __call__(self, *args, stdin="", env=None):
        done = subprocess.run([self.binary, *map(str, args)], input=stdin, capture_output=True, text=True, timeout=120,
                              env=os.environ | (env or {}))
        return Done(done.returncode, done.stdout, done.stderr)

    def fails(self, code, message, *args, **kwargs):
        """Runs; exit code, a single line on stderr that contains `message`, nothing on stdout."""
        done = self(*args, **kwargs)
        assert done.code == code, done
        assert done.err.startswith("hopskip: ") and done.err.count("\n") == 1, done.err
        assert message in done.err
        assert done.out == ""

    def stats(self, folder, *args, **kwargs):
        """Runs the model and returns what --stats wrote."""
        path = folder / "stats.json"
        done = self("run", "smollm2-135m", "--stats", path, *args, **kwargs)
        assert done.code == 0, done.err
        return json.loads(path.read_text()), done


@pytest.fixture(scope="session")
def hopskip():
    binary = pathlib.Path(os.environ.get("HOPSKIP_BUILD", tree.ROOT / "build")) / "hopskip"
    if not binary.exists():
        pytest.skip(f"{binary} is not built: ninja hopskip, or set HOPSKIP_BUILD")
    return Hopskip(str(binary))


@pytest.fixture(scope="session")
def model():
    if not MODEL_FILE.exists():
        pytest.skip(f"{MODEL_FILE} is missing: tools/fetch_model.sh")
    return MODEL_FILE


@pytest.fixture(scope="session")
def long_text():
    """Over a thousand tokens that repeat with variations, so that attention has something to look for."""
    lines = [f"The {colour} house number {i} belongs to {name}, who keeps {i * 7 % 23} birds."
             for i, (colour, name) in enumerate([("red", "Ada"), ("blue", "Ben"), ("green", "Cleo")] * 20)]
    return "\n".join(lines)
