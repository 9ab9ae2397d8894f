"""Adapter for wasm2c of wabt: a module becomes C, the C a shared library, and ctypes calls the library."""

from __future__ import annotations

import ctypes
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from protocol import RejectError, TrapError, read_interface, serve

if TYPE_CHECKING:
    from collections.abc import Callable

RUNTIME = Path("/usr/share/wabt/wasm2c")
TRAPS = {1: "out-of-bounds", 2: "integer", 3: "integer", 4: "integer", 5: "unreachable", 8: "stack"}
KINDS = {"u32": "i32", "u64": "i64", "f32": "f32", "f64": "f64", "wasm_rt_externref_t": "externref"}
FORMATS = {"i32": "<I", "i64": "<Q", "f32": "<I", "f64": "<Q"}
EXPORT = re.compile(
    r"/\* export: '(.+)' \*/\n(\w+)(\*?) (\w+)\(Z_m_instance_t\*(?: instance)?((?:, \w+)*)\);"
)
GLUE = """
#include "module.h"
#include "wasm-rt-impl.h"
#include <stdlib.h>
void *make(void) {{
  if (!wasm_rt_is_initialized()) wasm_rt_init();
  Z_m_init_module();
  return calloc(1, sizeof(Z_m_instance_t));
}}
int start(void *instance) {{
  const int trap = wasm_rt_impl_try();
  if (trap == 0) Z_m_instantiate(instance);
  return trap;
}}
void end(void *instance) {{ Z_m_free(instance); free(instance); }}
const char *explain(int trap) {{ return wasm_rt_strerror(trap); }}
unsigned grow(wasm_rt_memory_t *memory, unsigned pages) {{ return wasm_rt_grow_memory(memory, pages); }}
{calls}
"""
CALL = """
int call_{symbol}(void *instance, u64 *values) {{
  const int trap = wasm_rt_impl_try();
  if (trap == 0) {{ {keep}{symbol}(instance{arguments}); }}
  return trap;
}}
"""


class Memory(ctypes.Structure):
    """The first fields of `wasm_rt_memory_t`, which are all that is read."""

    _fields_ = (("data", ctypes.c_void_p), ("pages", ctypes.c_uint32))


class Program:
    """A module as a loaded library; `exports` holds C result, if it is an address, symbol, parameters."""

    def __init__(self, binary: bytes, folder: Path, runtime: Path) -> None:
        (folder / "module.wasm").write_bytes(binary)
        run(["wasm2c", "module.wasm", "-n", "m", "-o", "module.c"], folder)
        if read_interface(binary)[0] > 0:
            raise RejectError("link", "the module has imports")
        found = EXPORT.findall((folder / "module.h").read_text(encoding="utf-8"))
        self.exports = {
            name: (kind, star == "*", at, args.split(", ")[1:]) for name, kind, star, at, args in found
        }
        calls = []
        for kind, is_address, symbol, parameters in self.exports.values():
            if not is_address:
                arguments = "".join(f", *({each} *)&values[{i}]" for i, each in enumerate(parameters))
                keep = "" if kind == "void" else f"*({kind} *)values = "
                calls.append(CALL.format(symbol=symbol, keep=keep, arguments=arguments))
        (folder / "glue.c").write_text(GLUE.format(calls="".join(calls)), encoding="utf-8")
        flags = [
            "-shared",
            "-fPIC",
            "-O1",
            "-fno-strict-aliasing",
            f"-I{RUNTIME}",
            f"-Wl,-rpath,{runtime.parent}",
        ]
        run(["cc", *flags, "-o", "module.so", "module.c", "glue.c", str(runtime), "-lm"], folder)
        self.library = ctypes.CDLL(str(folder / "module.so"))
        self.library.make.restype = ctypes.c_void_p
        self.library.explain.restype = ctypes.c_char_p


class Instance:
    """One instance of a program."""

    def __init__(self, program: Program) -> None:
        self.program, self.library = program, program.library
        self.at = ctypes.c_void_p(self.library.make())
        trap = self.library.start(self.at)
        if trap:
            raise RejectError("start", self.library.explain(trap).decode())

    def __del__(self) -> None:
        self.library.end(self.at)

    def call(self, name: str, args: list[str]) -> list[str]:
        """Call through the glue, which catches traps."""
        kind, is_address, symbol, parameters = self.program.exports[name]
        if is_address or [KINDS[each] for each in parameters] != [text.partition(":")[0] for text in args]:
            raise ValueError(f"`{name}` takes {parameters}")
        values = (ctypes.c_uint64 * (len(args) + 1))(*map(parse, args))
        trap = self.library[f"call_{symbol}"](self.at, values)
        if trap:
            raise TrapError(TRAPS.get(trap, "other"), self.library.explain(trap).decode())
        return [] if kind == "void" else [show(KINDS[kind], values[0])]

    def address(self, name: str) -> tuple[str, int]:
        """Return the type and the place of an exported memory or global."""
        kind, is_address, symbol, _ = self.program.exports[name]
        if not is_address:
            raise ValueError(f"`{name}` is a function")
        function = self.library[symbol]
        function.restype = ctypes.c_void_p
        return kind, function(self.at)

    def memory(self) -> memoryview:
        """Return a view of the memory as it is now."""
        memory = Memory.from_address(self.address("memory")[1])
        return memoryview((ctypes.c_ubyte * (memory.pages << 16)).from_address(memory.data)).cast("B")

    def grow(self, pages: int) -> int:
        """Grow as `memory.grow` does."""
        return int(
            ctypes.c_int32(
                self.library.grow(ctypes.c_void_p(self.address("memory")[1]), min(pages, 65537))
            ).value
        )

    def global_get(self, name: str) -> str:
        """Read a global where it lies."""
        kind, at = self.address(name)
        return show(KINDS[kind], ctypes.c_uint64.from_address(at).value)


def run(argv: list[str], folder: Path) -> str:
    """Run a tool and return what it printed; what it refuses is a module that does not compile."""
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RejectError("compile", done.stderr)
    return done.stdout


def parse(text: str) -> int:
    """Turn `i64:5` into the bits of the number."""
    kind, _, digits = text.partition(":")
    return int(digits, 16 if kind[0] == "f" else 10)


def show(kind: str, bits: int) -> str:
    """Turn the low bits of a value into `i64:5`."""
    if kind == "externref":
        if bits != 0:
            raise ValueError("a reference that is set has no form in the protocol")
        return "externref:null"
    size = struct.calcsize(FORMATS[kind])
    bits &= (1 << 8 * size) - 1
    return f"{kind}:{bits:0{2 * size}x}" if kind[0] == "f" else f"{kind}:{bits}"


def maker(folder: Path, runtime: Path) -> Callable[[bytes], Instance]:
    """Return what makes instances, and compiles each module once."""
    programs: dict[bytes, Program] = {}

    def make(binary: bytes) -> Instance:
        if binary not in programs:
            programs[binary] = Program(binary, Path(tempfile.mkdtemp(dir=folder)), runtime)
        return Instance(programs[binary])

    return make


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        serve(
            {
                "adapter": "wasm2c",
                "runtime": "wasm2c",
                "version": run(["wasm2c", "--version"], Path(scratch)).strip(),
                "capabilities": ["externref", "grow", "resume-after-trap"],
            },
            maker(Path(scratch), Path(sys.argv[1])),
        )
