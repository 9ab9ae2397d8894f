"""Adapter for wasm3 through pywasm3, its binding for Python.

The binding cannot grow a memory from outside, and wasm3 has no reference types.
"""

from __future__ import annotations

import importlib.metadata
import struct
from typing import TypeAlias

import wasm3  # type: ignore[import-untyped,import-not-found,unused-ignore]
from protocol import RejectError, TrapError, read_interface, serve

Number: TypeAlias = "int | float"
STACK = 64 * 1024
TRAPS = {  # part of wasm3's text: kind of trap
    "unreachable": "unreachable",
    "out of bounds memory access": "out-of-bounds",
    "integer": "integer",
    "stack overflow": "stack",
    "[trap]": "other",
}
KINDS = {1: "i32", 2: "i64", 3: "f32", 4: "f64"}
FORMATS = {  # as unsigned bits, as what the binding takes and gives
    "i32": ("<I", "<i"),
    "i64": ("<Q", "<q"),
    "f32": ("<I", "<f"),
    "f64": ("<Q", "<d"),
}


class Instance:
    """One module in an environment of its own."""

    def __init__(self, binary: bytes) -> None:
        environment = wasm3.Environment()
        self.runtime = environment.new_runtime(STACK)
        try:
            self.module = environment.parse_module(binary)
            imports, has_start, names = read_interface(binary)
            if imports > 0:
                # wasm3 would load it and trap in the first call of an import.
                raise RejectError("link", "the module has imports")
            if has_start and not names:
                raise RejectError("start", "wasm3 runs a start function only before an exported one")
            self.runtime.load(self.module)
            self.functions = {name: function for name in names if (function := self.find(name)) is not None}
        except (RuntimeError, ValueError, IndexError) as error:
            raise RejectError("start" if "[trap]" in str(error) else "compile", str(error)) from error

    def find(self, name: str) -> wasm3.Function | None:
        """Compile a function, and with the first one run the start function.

        wasm3 knows three names of a function and forgets the others.
        """
        try:
            return self.runtime.find_function(name)
        except RuntimeError as error:
            if "function lookup failed" in str(error):
                return None
            raise

    def call(self, name: str, args: list[str]) -> list[str]:
        """Call a function with numbers of Python, which the binding takes as signed."""
        function = self.functions[name]
        kinds = [KINDS[kind] for kind in function.arg_types]
        if kinds != [text.partition(":")[0] for text in args]:
            raise ValueError(f"`{name}` takes {kinds}")
        try:
            result = function(*map(parse, args))
        except RuntimeError as error:
            text = str(error)
            kind = next((kind for part, kind in TRAPS.items() if part in text), None)
            raise TrapError(kind or "other", text) from error
        results = result if isinstance(result, tuple) else [result]
        return [show(KINDS[kind], value) for kind, value in zip(function.ret_types, results, strict=False)]

    def memory(self) -> memoryview:
        """Return a new view: growing moves the memory."""
        view = self.runtime.get_memory(0)
        if view is None:
            raise ValueError("no exported memory `memory`")
        assert isinstance(view, memoryview)
        return view

    def grow(self, pages: int) -> int:
        """Say no: the binding has no such call."""
        raise NotImplementedError

    def global_get(self, name: str) -> str:
        """Say no: the binding gives the value of a global without its type."""
        raise NotImplementedError


def parse(text: str) -> Number:
    """Turn `i64:18446744073709551615` into -1."""
    kind, _, digits = text.partition(":")
    unsigned, signed = FORMATS[kind]
    number: Number
    (number,) = struct.unpack(signed, struct.pack(unsigned, int(digits, 16 if kind[0] == "f" else 10)))
    return number


def show(kind: str, number: Number) -> str:
    """Turn -1 into `i64:18446744073709551615`."""
    unsigned, signed = FORMATS[kind]
    (bits,) = struct.unpack(unsigned, struct.pack(signed, number))
    return f"{kind}:{bits:0{2 * struct.calcsize(unsigned)}x}" if kind[0] == "f" else f"{kind}:{bits}"


if __name__ == "__main__":
    serve(
        {
            "adapter": "wasm3",
            "runtime": "wasm3",
            "version": importlib.metadata.version("pywasm3"),
            "capabilities": ["resume-after-trap"],
        },
        Instance,
    )
