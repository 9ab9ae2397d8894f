"""Put on `PYTHONPATH` by the tests of packaging: what `build_tools` packs once in a run is not packed again.

Our deflate takes a second for each MB, and twenty builds of one run pack the same sources. Packed data is
kept under a digest of the packer, of this Python's version and of what was packed, in the folder that
`EXTISM_KERNEL_TEST_PACKED` names. A frontend that isolates its builds does without. Where the variable is
`loosely`, zlib packs, for tests that only look at what is inside.
"""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.machinery
import os
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

FOLDER = os.environ.get("EXTISM_KERNEL_TEST_PACKED")
MODULE = "build_tools.base.deflate"
LOOSELY = "loosely"
LEAST = 4096
"""Bytes that are worth a file."""


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads the packer, and puts a memory before its one function."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        pack = module.deflate
        version = hashlib.sha256(Path(self.path).read_bytes() + sys.version.encode())

        def deflate(data: bytes) -> bytes:
            if FOLDER == LOOSELY:
                packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
                return packer.compress(data) + packer.flush()
            if FOLDER is None or len(data) < LEAST:
                return bytes(pack(data))
            key = version.copy()
            key.update(data)
            path = Path(FOLDER, key.hexdigest())
            if path.is_file():
                return path.read_bytes()
            packed = bytes(pack(data))
            part = path.with_name(f"{path.name}.{os.getpid()}")
            part.write_bytes(packed)
            part.replace(path)
            return packed

        module.deflate = deflate  # type: ignore[attr-defined]


class _Finder(importlib.abc.MetaPathFinder):
    """Finds that one module as Python does, and has it loaded here."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(fullname, spec.origin)
        return spec


if FOLDER is not None:
    sys.meta_path.insert(0, _Finder())
