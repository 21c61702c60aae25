"""Where things are: the tree, the files that git tracks in it, the cache directory."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
CPP = (".cc", ".h", ".cu", ".cuh")


def cache():
    """The folder of everything that is fetched; tools/common.sh says the same to the shell."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(os.environ.get("HOPSKIP_CACHE") or pathlib.Path(base) / "hopskip")


def tracked(root=ROOT):
    """Paths relative to `root` of all tracked files that exist; of all files where there is no git."""
    root = pathlib.Path(root)
    done = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], capture_output=True, text=True)
    if done.returncode:
        names = [str(path.relative_to(root)) for path in root.rglob("*")]
    else:
        names = done.stdout.split("\0")
    return sorted(pathlib.PurePosixPath(name) for name in names if name and (root / name).is_file())


def report(problems):
    """Prints the problems, one a line, and gives the exit status."""
    for problem in problems:
        print(problem)
    return 1 if problems else 0
