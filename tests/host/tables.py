"""Makes the tables of C functions that the host calls: `python -m build_tools campaign host-tables`.

cffi reads C so slowly that a host which did it in every process would spend most of its start there. What it
reads is the same on every machine, so it stands in a table beside each header.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Final

import cffi

import extism_kernel_pkg.host

FOLDER: Final = Path(extism_kernel_pkg.host.__file__).parent
HEADERS: Final = ("capi.h", "stacks.h")


def find_table(header: str) -> Path:
    """Return the module that is made from a header."""
    return FOLDER / f"{Path(header).stem}_table.py"


def make_table(header: str) -> str:
    """Return the text of the module that defines the `ffi` of a header."""
    ffi = cffi.FFI()
    ffi.cdef((FOLDER / header).read_text(encoding="utf-8"))
    table = find_table(header)
    ffi.set_source(f"{extism_kernel_pkg.host.__name__}.{table.stem}", None)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        made = Path(folder) / table.name
        ffi.emit_python_code(str(made))
        return made.read_text(encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Write the tables."""
    argparse.ArgumentParser(
        prog="python -m build_tools campaign host-tables", description=(__doc__ or "").split("\n\n")[0]
    ).parse_args(arguments)
    for header in HEADERS:
        find_table(header).write_text(make_table(header), encoding="utf-8", newline="\n")
        print(f"{find_table(header).name} is made from {header}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
