"""The suite as one archive: cases, schema, documents, adapters, and a runner of one Python file.

The runner is this very package: its modules stand in `run.py` as text and are imported from there, so that
there is no second implementation that could differ.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from extism_kernel_conformance.base.errors import SuiteError
from extism_kernel_conformance.base.files import write_whole_bytes
from extism_kernel_conformance.base.resources import suite_info, suite_root

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "extism_kernel_conformance"
_FILES = (
    "suite.json",
    "surface.json",
    "clauses.json",
    "README.md",
    "RULES.md",
    "PROTOCOL.md",
    "SDK.md",
    "LICENSE",
)
_FOLDERS = ("cases", "schema", "lint", "page", "adapters", "plugins")
_LITTER = {"__pycache__", "node_modules", "target", "obj", "bin"}
_LEFT_OUT = {"cli/pytest_plugin.py"}
"""Modules that need more than the standard library."""

_RUNNER = '''#!/usr/bin/env python3
"""The conformance suite's runner in one file, for Python 3.10 or newer and nothing else.

Keep it beside cases/, schema/ and suite.json, and run `python run.py --help`. It is made from the package
`{package}` {version}, whose modules stand below as text.
"""

import importlib.abc
import importlib.util
import sys
from pathlib import Path

PACKAGE = "{package}"
SOURCES = {{
{sources}}}


class Importer(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports the package from SOURCES; `__file__` makes the package look as if it lay beside this file."""

    def find_spec(self, fullname, path=None, target=None):
        path = self.find_path(fullname)
        if path is None:
            return None
        origin = Path(__file__).resolve().parent / PACKAGE / path
        spec = importlib.util.spec_from_loader(
            fullname, self, origin=str(origin), is_package=self.is_package(fullname)
        )
        spec.has_location = True
        return spec

    def find_path(self, fullname):
        package, *names = fullname.split(".")
        if package != PACKAGE:
            return None
        paths = "/".join([*names, "__init__.py"]), "/".join(names) + ".py"
        return next((path for path in paths if path in SOURCES), None)

    def is_package(self, fullname):
        return self.find_path(fullname).endswith("__init__.py")

    def get_source(self, fullname):
        return SOURCES[self.find_path(fullname)]


sys.meta_path.insert(0, Importer())

if __name__ == "__main__":
    from {package}.cli.main import main

    sys.exit(main())
'''


def make_runner() -> str:
    """Return the text of `run.py`. Raises SuiteError if the package's sources cannot be read."""
    here = Path(__file__).resolve().parents[1]
    names = sorted({path.relative_to(here).as_posix() for path in here.rglob("*.py")} - _LEFT_OUT)
    if not names:
        raise SuiteError(
            "the package's sources are not there to be bundled",
            where=str(here),
            hint="make the archive from a checkout or from the installed wheel",
        )
    sources = ""
    for name in names:
        text = (here / name).read_text(encoding="utf-8")
        sources += f'"{name}": {_literal(text)},\n'
    return _RUNNER.format(package=PACKAGE, version=suite_info().version, sources=sources)


def write_tarball(out: Path) -> str:
    """Write the archive, the same bytes from the same sources, and return its sha256."""
    name = f"extism-kernel-conformance-{suite_info().version}"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, data in sorted(_members()):
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size = len(data)
            entry.mode = 0o755 if path == "run.py" else 0o644
            entry.mtime = int(os.environ.get("SOURCE_DATE_EPOCH", "315532800"))
            archive.addfile(entry, io.BytesIO(data))
    data = gzip.compress(buffer.getvalue(), compresslevel=9, mtime=0)
    write_whole_bytes(out, data)
    return hashlib.sha256(data).hexdigest()


def _members() -> Iterator[tuple[str, bytes]]:
    root = suite_root()
    yield "run.py", make_runner().encode()
    for name in _FILES:
        if (root / name).is_file():
            yield name, (root / name).read_bytes()
    for folder in _FOLDERS:
        for path in (root / folder).rglob("*"):
            relative = path.relative_to(root)
            if path.is_file() and not _LITTER & set(relative.parts) and path.suffix != ".new":
                yield relative.as_posix(), path.read_bytes()


def _literal(text: str) -> str:
    """Return a Python literal of a module's text, readable where the text allows it."""
    if "'''" in text or text.endswith("\\"):
        return repr(text)
    return f"r'''{text}'''"
