"""Adapter for pywasm, an interpreter in Python.

pywasm reports every trap as a failed assertion, whose source line is all that tells the kind, and leaves its
stack as the trap found it: a later call on that instance traps, so `resume-after-trap` is not claimed.
"""

from __future__ import annotations

import importlib.metadata
import io
import struct
import traceback

import pywasm  # type: ignore[import-untyped,import-not-found,unused-ignore]
from protocol import PAGE, RejectError, TrapError, serve

TRAPS = {  # part of the source line that failed: kind of trap
    "len(mems.data)": "out-of-bounds",
    "len(self.stack.frame) <": "stack",
    "assert 0": "unreachable",
}
FORMATS = {"i32": "<I", "i64": "<Q", "f32": "<I", "f64": "<Q"}
FUNCTION, MEMORY, GLOBAL = 0, 2, 3


class Instance:
    """One module in a store of its own."""

    def __init__(self, binary: bytes) -> None:
        try:
            module = pywasm.ModuleDesc.from_reader(io.BytesIO(binary))
        except Exception as error:  # whatever the decoder stumbles over
            raise RejectError("compile", repr(error)) from error
        if module.imps:
            raise RejectError("link", "the module has imports")
        self.machine = pywasm.Machine()
        self.trapped = False
        try:
            self.exports = self.machine.instance(module, []).exps
        except Exception as error:  # the start function, or what no validation found before
            raise RejectError("start", repr(error)) from error

    def address(self, name: str, kind: int) -> int:
        """Return the place of an export in the store."""
        found = [export.data for export in self.exports if export.name == name]
        if not found or found[0].kind != kind:
            raise ValueError(f"no such export `{name}`")
        return int(found[0].data)

    def call(self, name: str, args: list[str]) -> list[str]:
        """Call a function; an assertion that fails is a trap."""
        if self.trapped:
            raise TrapError("other", "an earlier trap left its frames on the stack of this instance")
        address = self.address(name, FUNCTION)
        kinds = self.machine.store.func[address].type.args
        if [repr(kind) for kind in kinds] != [text.partition(":")[0] for text in args]:
            raise ValueError(f"`{name}` takes {kinds}")
        values = [parse(kind, text) for kind, text in zip(kinds, args, strict=True)]
        try:
            return [show(value) for value in self.machine.invocate(address, values)]
        except (AssertionError, ZeroDivisionError) as error:
            self.trapped = True
            if isinstance(error, ZeroDivisionError):
                raise TrapError("integer", repr(error)) from error
            line = traceback.extract_tb(error.__traceback__)[-1].line or ""
            raise TrapError(
                next((kind for part, kind in TRAPS.items() if part in line), "other"), line
            ) from error

    def memory(self) -> bytearray:
        """Return the bytes themselves: pywasm's memory is a bytearray."""
        data = self.machine.store.mems[self.address("memory", MEMORY)].data
        assert isinstance(data, bytearray)
        return data

    def grow(self, pages: int) -> int:
        """Grow within the module's maximum."""
        memory = self.machine.store.mems[self.address("memory", MEMORY)]
        old: int = memory.size
        if pages > (memory.type.limits.m or PAGE) - old:
            return -1
        memory.grow(pages)
        return old

    def global_get(self, name: str) -> str:
        """Read a global from the store."""
        return show(self.machine.store.glob[self.address(name, GLOBAL)].data)


def parse(kind: pywasm.ValType, text: str) -> pywasm.ValInst:
    """Turn `i64:5` into the 16 bytes of a pywasm value."""
    name, _, digits = text.partition(":")
    if name not in FORMATS:
        return pywasm.ValInst.zero(kind)
    bits = struct.pack(FORMATS[name], int(digits, 16 if name[0] == "f" else 10))
    return pywasm.ValInst(kind, bytearray(bits.ljust(16, b"\0")))


def show(value: pywasm.ValInst) -> str:
    """Turn a pywasm value into `i64:5`; its fifth byte says whether a reference is set."""
    name = repr(value.type)
    if name in FORMATS:
        (bits,) = struct.unpack_from(FORMATS[name], value.data)
        return f"{name}:{bits:0{2 * struct.calcsize(FORMATS[name])}x}" if name[0] == "f" else f"{name}:{bits}"
    if name == repr(pywasm.ValType.ref_extern()) and value.data[4] == 0:
        return "externref:null"
    raise ValueError(f"{value!r} has no form in the protocol")


if __name__ == "__main__":
    serve(
        {
            "adapter": "pywasm",
            "runtime": "pywasm",
            "version": importlib.metadata.version("pywasm"),
            "capabilities": ["externref", "grow"],
        },
        Instance,
    )
