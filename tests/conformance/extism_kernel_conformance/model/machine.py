"""A kernel in this process, in wasmtime: a call takes microseconds, without a pipe to an adapter between."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from extism_kernel_conformance.base.errors import SuiteError
from extism_kernel_conformance.base.resources import contract_types
from extism_kernel_conformance.wasm.module import limit_memory

if TYPE_CHECKING:
    from extism_kernel_conformance.wasm.module import Kernel

PAGE = 65536
FUEL = 400_000_000
"""Instructions that one operation may take: a call that needs more of them does not end."""


class WasmtimeNotFoundError(SuiteError):
    """The model plays in wasmtime, and it is not installed."""

    code = "wasmtime-not-found"

    def __init__(self) -> None:
        super().__init__(
            "the model needs the package `wasmtime`",
            hint="install it with `pip install 'extism-kernel-conformance[wasmtime]'`",
        )


class KernelTrapError(Exception):
    """A call trapped; `is_endless` if it used up its fuel."""

    def __init__(self, message: str, *, is_endless: bool) -> None:
        super().__init__(message)
        self.is_endless = is_endless


class Workshop:
    """Makes fresh instances of one kernel, each with a maximum of memory.

    Raises WasmtimeNotFoundError without the package, SuiteError if wasmtime does not take the module.
    """

    def __init__(self, kernel: Kernel) -> None:
        try:
            import wasmtime  # noqa: PLC0415 - the suite does without it, all but this command
        except ImportError:
            raise WasmtimeNotFoundError from None
        config = wasmtime.Config()
        config.consume_fuel = True
        config.cranelift_opt_level = "none"
        self.wasmtime: Any = wasmtime
        self._engine = wasmtime.Engine(config)
        self.kernel = kernel
        self._modules: dict[int, Any] = {}

    def instantiate(self, pages: int) -> Machine:
        """Return a fresh instance that can have so many pages."""
        try:
            if pages not in self._modules:
                data = limit_memory(self.kernel, pages)
                self._modules[pages] = self.wasmtime.Module(self._engine, data)
            store = self.wasmtime.Store(self._engine)
            store.set_fuel(FUEL)  # for a start function
            return Machine(self.wasmtime, store, self.wasmtime.Instance(store, self._modules[pages], []))
        except (ValueError, self.wasmtime.WasmtimeError, self.wasmtime.Trap) as error:
            raise SuiteError(f"the kernel cannot be played: {error}") from None


class Machine:
    """One instance. Its functions are called through the C API that the package itself is made of."""

    def __init__(self, wasmtime: Any, store: Any, instance: Any) -> None:  # noqa: ANN401 - imported when needed
        self._wasmtime = wasmtime
        self._ffi: Any = wasmtime._ffi
        self._store = store
        self._context = store._context()
        self._instance = instance
        self._functions: dict[str, tuple[Any, int]] = {}
        memory = self._find("memory").memory
        self._memory = ctypes.byref(memory)
        self._slots = (self._ffi.wasmtime_val_raw_t * 2)()
        self._kept = [memory]
        self._call = self._ffi.wasmtime_func_call_unchecked
        self._make_trap_slot()
        self.refuel()

    def refuel(self) -> None:
        """Give the calls that come next the fuel of one operation."""
        self._ffi.wasmtime_context_set_fuel(self._context, FUEL)

    def _make_trap_slot(self) -> None:
        self._trap = ctypes.POINTER(self._ffi.wasm_trap_t)()
        self._trap_slot = ctypes.byref(self._trap)

    def _find(self, name: str) -> Any:  # noqa: ANN401 - what the C API calls an extern
        item, data = self._ffi.wasmtime_extern_t(), name.encode()
        raw = ctypes.byref(self._instance._instance)
        if not self._ffi.wasmtime_instance_export_get(
            self._context, raw, data, len(data), ctypes.byref(item)
        ):
            raise SuiteError(f"the kernel does not export `{name}`", hint="run the suite's cases first")
        return item.of

    def call(self, name: str, *args: int) -> int:
        """Return what an export returns, unsigned, and 0 if that is nothing. Raises KernelTrapError."""
        function = self._functions.get(name)
        if function is None:
            kind = contract_types()[name].rpartition(" ")[2]
            mask = {"i64": (1 << 64) - 1, "i32": (1 << 32) - 1}.get(kind, 0)
            found: Any = self._find(name).func
            self._kept.append(found)
            function = self._functions[name] = ctypes.byref(found), mask
        slots = self._slots
        for slot, value in zip(slots, args, strict=False):
            slot.i64 = value
        error = self._call(self._context, function[0], slots, 2, self._trap_slot)
        if error:
            raise SuiteError(str(self._wasmtime.WasmtimeError._from_ptr(error)))
        if self._trap:
            found = self._wasmtime.Trap._from_ptr(self._trap)
            self._make_trap_slot()
            code = found.trap_code
            raise KernelTrapError(str(found), is_endless=code is not None and code.name == "OUT_OF_FUEL")
        return int(slots[0].i64) & function[1]

    def pages(self) -> int:
        """Return the size of memory."""
        return int(self._ffi.wasmtime_memory_data_size(self._context, self._memory)) // PAGE

    def read(self, address: int, length: int) -> bytes:
        """Return bytes of memory as a host reads them; fewer where memory ends."""
        length = min(length, self.pages() * PAGE - address)
        data = self._ffi.wasmtime_memory_data(self._context, self._memory)
        return ctypes.string_at(ctypes.addressof(data.contents) + address, length) if length > 0 else b""

    def write(self, address: int, data: bytes) -> None:
        """Write bytes of memory as a host does; they must lie inside."""
        assert address + len(data) <= self.pages() * PAGE
        base = self._ffi.wasmtime_memory_data(self._context, self._memory)
        ctypes.memmove(ctypes.addressof(base.contents) + address, data, len(data))

    def grow(self, pages: int) -> None:
        """Grow memory as a host does, or nothing if the maximum is reached."""
        old = ctypes.c_uint64()
        error = self._ffi.wasmtime_memory_grow(self._context, self._memory, pages, ctypes.byref(old))
        if error:
            self._ffi.wasmtime_error_delete(error)
