"""The kernel's `alloc` for guests with `memory.max_pages`.

Whether an `alloc` fits is decided by WebAssembly, `GATE`, for a guest may allocate often and a call into
Python costs a hundred times as much. Only where it does not fit, or the kernel grew, is the host asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from extism_kernel_pkg.host.errors import PluginOutOfMemoryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extism_kernel_pkg.host.budget import PageBudget
    from extism_kernel_pkg.host.calls import Extern, StoreCalls
    from extism_kernel_pkg.host.compiling import Compiler
    from extism_kernel_pkg.host.contract import KernelAccess, Signature
    from extism_kernel_pkg.host.memories import DefinedMemory

_ALLOC: Final[Signature] = (("i64",), ("i64",))
_NOTHING: Final[Signature] = ((), ())

GATE: Final = """(module
  (import "kernel" "alloc" (func $alloc (param i64) (result i64)))
  (import "kernel" "memory" (memory 0))
  (import "host" "alloc" (func $ask (param i64) (result i64)))
  (import "host" "grown" (func $grown))
  (type $pages (func (result i64)))
  (table $guests (export "guests") 1 funcref)  ;; filled by `pages_module` once guests have memories
  (global $max (mut i64) (i64.const 0))
  (func (export "limit") (param i64) (global.set $max (local.get 0)))
  (func $fits (param $length i64) (param $kernel i64) (result i32)
    (if (ref.is_null (table.get $guests (i32.const 0))) (then (return (i32.const 0))))
    (i64.le_u
      (i64.add
        (i64.add (local.get $kernel) (call_indirect $guests (type $pages) (i32.const 0)))
        (i64.add (i64.shr_u (local.get $length) (i64.const 16)) (i64.const 2)))
      (global.get $max)))
  (func (export "alloc") (param $length i64) (result i64) (local $kernel i64) (local $handle i64)
    (local.set $kernel (i64.extend_i32_u (memory.size)))
    (if (call $fits (local.get $length) (local.get $kernel)) (then
      (local.set $handle (call $alloc (local.get $length)))
      (if (i64.ne (local.get $kernel) (i64.extend_i32_u (memory.size))) (then (call $grown)))
      (if (i64.ne (local.get $handle) (i64.const 0)) (then (return (local.get $handle))))))
    (call $ask (local.get $length))))"""
"""`alloc` for guests with a limit: the kernel's, if even growing by all of it fits beside the guests."""


def pages_module(memories: Sequence[str]) -> str:
    """Return a module that imports memories, of `i32` or `i64` addresses, and tells `GATE` their pages."""
    imports = (f'(import "guest" "{i}" (memory {kind} 0))' for i, kind in enumerate(memories))
    sizes = (
        f"(i64.extend_i32_u (memory.size {i}))" if kind == "i32" else f"(memory.size {i})"
        for i, kind in enumerate(memories)
    )
    total = "(i64.const 0)"
    for size in sizes:
        total = f"(i64.add {size} {total})"
    return f"""(module {"".join(imports)} (import "gate" "guests" (table 1 funcref))
        (func $pages (result i64) {total}) (elem (i32.const 0) func $pages))"""


class Gate:
    """Stands before the kernel's `alloc`, for one plug-in with a limit; `alloc` is what guests import."""

    def __init__(
        self,
        calls: StoreCalls,
        compiler: Compiler,
        budget: PageBudget,
        kernel: KernelAccess,
        given: Sequence[Extern],
    ) -> None:
        """`given` are the kernel's `alloc` and memory; `kernel` calls that `alloc` too."""
        self._calls = calls
        self._compiler = compiler

        def ask(length: int) -> int:
            """Allocate with the whole budget open to the kernel; memory refused ends the call as "oom"."""
            budget.open_for_kernel()
            try:
                handle = kernel.call("alloc", length)
            finally:
                budget.open_for_guest()
            if handle == 0 and length != 0:
                raise PluginOutOfMemoryError(f"`alloc({length})` was refused", max_pages=budget.max_pages)
            return handle

        host = calls.define(_ALLOC, ask), calls.define(_NOTHING, budget.settle)
        instance = calls.instantiate(compiler.gate, [*given, *host])
        self.alloc, self._guests, limit = calls.exports(instance, (b"alloc", b"guests", b"limit"))
        calls.bind(limit, ())(budget.max_pages or 0)

    def add_guests(self, memories: Sequence[tuple[DefinedMemory, Extern]]) -> None:
        """Let it decide by itself from now on: the guests' memories are there."""
        code = self._compiler.pages(tuple(defined.index for defined, _ in memories))
        self._calls.instantiate(code, [*(found for _, found in memories), self._guests])
