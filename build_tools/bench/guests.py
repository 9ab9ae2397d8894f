"""Loops that a guest would run, added to a kernel so that any runtime can run them without imports."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import wasmtime

from build_tools.bench.extend import extend_module, prepend_code
from build_tools.bench.metered import NamedModule
from extism_kernel_pkg._wasm import read_module

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 4096
LOOP = """
(func (export "bench {name}") (param $rounds i32)
  (local $block i64) (local $at i64)
  (call $reset)
  (call $input_set (call $alloc (i64.const {size})) (i64.const {size}))
  (local.set $block (call $alloc (i64.const {size})))
  (if (local.get $rounds) (then
    (loop $next
      {body}
      (local.set $at (i64.and (i64.add (local.get $at) (i64.const 8)) (i64.const {mask})))
      (br_if $next (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1))))))))
"""
PLACE = "(i64.add (local.get $block) (local.get $at))"
LOOPS = {
    "store_u64": f"(call $store_u64 {PLACE} (local.get $at))",
    "load_u64": f"(drop (call $load_u64 {PLACE}))",
    "copy": f"(call $store_u64 {PLACE} (call $input_load_u64 (local.get $at)))",
    "alloc and free": "(call $free (call $alloc (i64.const 64)))",
    "fill": "(drop (call $alloc (i64.const 64)))",
}
"""What a round of each loop does; `copy` is how a guest without a shared memory reads its input."""
FIXED_ROUNDS = {"alloc and free": 1000, "fill": 10_000}
"""How often a guest does what costs more or less the oftener it is done."""
EMPTY = """
(module
  (memory (export "memory") 2)
  (func (export "reset"))
  (func (export "alloc") (param i64) (result i64) (i64.const 1024))
  (func (export "free") (param i64))
  (func (export "load_u64") (param i64) (result i64) (i64.const 0))
  (func (export "store_u64") (param i64 i64))
  (func (export "input_load_u64") (param i64) (result i64) (i64.const 0))
  (func (export "input_set") (param i64 i64)))
"""
LAYOUTS = 8
PREPENDED = {"store_u64": "store_u64", "copy": "store_u64"}
"""The export of each loop that a layout changes: the one whose last parameter, a value, does not matter."""
STEPS = (b"\x20\x01\x42\x01\x7c\x21\x01", b"\x20\x01\x42\x01\x85\x21\x01")
"""One is added to the second parameter, then its lowest bit is flipped: no compiler makes one step of both.
Each is `local.get`, `i64.const`, `i64.add` or `i64.xor`, `local.set`."""
NO_REFERENCE = {b"\x6f\x01\xd0\x6f\x0b": b"\x7f\x01\x41\x00\x0b"}
"""A mutable `externref` that begins as null, and an `i32` that begins as 0, in as many bytes."""


def with_loops(module: NamedModule) -> NamedModule:
    """Return a kernel with the loops as exports, `bench store_u64` and so on; each takes its rounds.

    A global of type `externref` becomes an `i32`, because some interpreters have no references; no export
    of a kernel that the loops call reads it. Raises `wasmtime.WasmtimeError` if the module lacks an export.
    """
    data = bytearray(module.data)
    for each in read_module(module.data).globals:
        old = bytes(data[each.start : each.end])
        data[each.start : each.end] = NO_REFERENCE.get(old, old)
    return NamedModule(name=module.name, data=extend_module(bytes(data), "".join(_loops())))


def with_layout(module: NamedModule, loop: str, number: int) -> NamedModule:
    """Return a module with a loop's export in another layout: it begins with so many of `STEPS`, in turn.

    On some processors a function that pushes and pops a frame takes twice as long or not, by how many
    instructions lie between, whatever they are. That says nothing of a kernel, so the least of some layouts
    is compared.
    """
    code = b"".join(itertools.islice(itertools.cycle(STEPS), number))
    return NamedModule(name=module.name, data=prepend_code(module.data, PREPENDED[loop], code))


def empty_calls(name: str) -> NamedModule:
    """Return the loops on a module whose exports do nothing: what the calls themselves take."""
    return with_loops(NamedModule(name=name, data=bytes(wasmtime.wat2wasm(EMPTY))))


def _loops() -> Iterator[str]:
    for name, body in LOOPS.items():
        text = LOOP.replace("{name}", name).replace("{body}", body)
        yield text.replace("{size}", str(BLOCK)).replace("{mask}", str(BLOCK - 8))
