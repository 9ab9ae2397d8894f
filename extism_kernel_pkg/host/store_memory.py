"""Reads and writes the memories of a store."""

from __future__ import annotations

from typing import Any

from extism_kernel_pkg.host.capi import item_of, lib
from extism_kernel_pkg.host.capi_table import ffi


class StoreMemory:
    """One memory of a store. Its address may change whenever WebAssembly runs, so each use asks for it."""

    __slots__ = ("_context", "_extern", "_memory")

    def __init__(self, context: Any, memory: Any) -> None:  # noqa: ANN401 - cffi's
        self._context = context
        self._extern = memory
        self._memory = item_of(memory)

    @property
    def extern(self) -> Any:  # noqa: ANN401 - cffi's
        """The memory as an import of another module."""
        return self._extern

    @property
    def identity(self) -> bytes:
        """What tells this memory from others of its store."""
        return ffi.buffer(self._memory, ffi.sizeof("memory_t"))[:]  # type: ignore[no-any-return]

    def size(self) -> int:
        """Return the size in bytes."""
        return lib.wasmtime_memory_data_size(self._context, self._memory)  # type: ignore[no-any-return]

    def read(self, address: int, length: int) -> bytes:
        """Copy bytes out; the caller has checked that they are inside."""
        base = lib.wasmtime_memory_data(self._context, self._memory)
        return ffi.buffer(base + address, length)[:]  # type: ignore[no-any-return]

    def write(self, address: int, data: bytes) -> None:
        """Copy bytes in; the caller has checked that they fit."""
        ffi.memmove(lib.wasmtime_memory_data(self._context, self._memory) + address, data, len(data))
