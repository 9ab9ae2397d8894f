"""Files of WASI preview 1 that need a second look: what is opened, how many, and what is output.

The runtime's functions find the guest's memory in the module that calls them, so a host function cannot call
them for a guest. `REAL` can: a module that exports the guest's memory as its own, and passes calls on.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final

from extism_kernel_pkg.host.output import STDERR, STDOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from extism_kernel_pkg.host.contract import Signature
    from extism_kernel_pkg.host.store import GuestStore
    from extism_kernel_pkg.host.store_memory import StoreMemory

MAX_OPEN_FILES: Final = 256
"""How many files and folders a plug-in may have open, beside the folders it is given; then `EMFILE`."""

SUCCESS, _EACCES, EFAULT, _EMFILE = 0, 2, 21, 33
_FOLDER, _FILE, _LINK = 3, 4, 7
_STAT_BYTES: Final = 64
_TYPE_IN_STAT: Final = 16
_VECTOR: Final = struct.Struct("<II")
_MAX_VECTORS: Final = 1024
_AT_ONCE: Final = 65536
_OUTPUT_AT_ONCE: Final = 4096
"""Bytes of output between two looks at the time limit: they may be that many empty lines, each one logged."""
_FIRST_DESCRIPTOR: Final = 3

_TYPES: Final[dict[str, str]] = {
    "path_open": "i32 i32 i32 i32 i32 i64 i64 i32 i32",
    "path_filestat_get": "i32 i32 i32 i32 i32",
    "fd_close": "i32",
    "fd_renumber": "i32 i32",
    "fd_write": "i32 i32 i32 i32",
}

REAL_NAMES: Final = tuple(_TYPES)
"""What `REAL` imports, after the memory, and exports."""

REAL: Final = f"""(module
  (import "guest" "memory" (memory 0))
  {"".join(f'(import "wasi" "{n}" (func ${n} (param {t}) (result i32)))' for n, t in _TYPES.items())}
  (export "memory" (memory 0))
  {
    "".join(
        f'(func (export "{n}") (param {t}) (result i32) (call ${n} '
        + "".join(f"(local.get {i})" for i in range(len(t.split())))
        + "))"
        for n, t in _TYPES.items()
    )
}
)"""


class GuestFiles:
    """The descriptors of one store: which of them are still the guest's output, and how many there may be."""

    def __init__(self, guest: GuestStore, given: int) -> None:
        self._guest = guest
        self._outputs = {STDOUT, STDERR}
        self._end = _FIRST_DESCRIPTOR + given + MAX_OPEN_FILES
        self._real: dict[bytes, Mapping[str, Callable[..., int]]] = {}

    def _of(self, memory: StoreMemory) -> Mapping[str, Callable[..., int]]:
        """Return the runtime's functions for a memory."""
        if memory.identity not in self._real:
            self._real[memory.identity] = self._guest.real_wasi(memory)
        return self._real[memory.identity]

    def path_open(self, memory: StoreMemory, *arguments: int) -> int:
        """Open what is a file or a folder; a pipe could block for ever, and a device do anything."""
        real = self._of(memory)
        directory, flags, path, length, *_, opened = arguments
        scratch = 0 if path >= _STAT_BYTES else -(-(path + length) // 8) * 8
        if max(scratch + _STAT_BYTES, path + length, opened + 4) > memory.size():
            return EFAULT
        saved = memory.read(scratch, _STAT_BYTES)
        errno = real["path_filestat_get"](directory, flags, path, length, scratch)
        kind = memory.read(scratch + _TYPE_IN_STAT, 1)[0]
        memory.write(scratch, saved)
        if errno == SUCCESS and kind not in {_FOLDER, _FILE, _LINK}:
            return _EACCES
        errno = real["path_open"](*arguments)
        if errno == SUCCESS:
            descriptor = int.from_bytes(memory.read(opened, 4), "little")
            if descriptor >= self._end:  # the runtime uses the numbers of closed ones first
                real["fd_close"](descriptor)
                return _EMFILE
        return errno

    def fd_close(self, memory: StoreMemory, descriptor: int) -> int:
        """Close a descriptor, whose number may then be a file's."""
        self._outputs.discard(descriptor)
        return self._of(memory)["fd_close"](descriptor)

    def fd_renumber(self, memory: StoreMemory, old: int, new: int) -> int:
        """Put a descriptor in the place of another."""
        errno = self._of(memory)["fd_renumber"](old, new)
        if errno == SUCCESS and old != new:
            (self._outputs.add if old in self._outputs else self._outputs.discard)(new)
            self._outputs.discard(old)
        return errno

    def fd_write(self, memory: StoreMemory, descriptor: int, vectors: int, count: int, written: int) -> int:
        """Write to a file, or to the guest's output."""
        if descriptor not in self._outputs:
            return self._of(memory)["fd_write"](descriptor, vectors, count, written)
        size, done = memory.size(), 0
        if count > _MAX_VECTORS or vectors + count * _VECTOR.size > size or written + 4 > size:
            return EFAULT
        for address, length in _VECTOR.iter_unpack(memory.read(vectors, count * _VECTOR.size)):
            if address + length > size:
                return EFAULT
            for at in range(address, address + length, _OUTPUT_AT_ONCE):
                data = memory.read(at, min(_OUTPUT_AT_ONCE, address + length - at))
                self._guest.output.write(descriptor, data)
                self._guest.interrupter.check()
            done += length
        memory.write(written, struct.pack("<I", done & 0xFFFFFFFF))
        return SUCCESS

    def random_get(self, memory: StoreMemory, address: int, length: int) -> int:
        """Fill memory, piece by piece: the runtime's own could not be stopped."""
        if address + length > memory.size():
            return EFAULT
        for at in range(address, address + length, _AT_ONCE):
            memory.write(at, os.urandom(min(_AT_ONCE, address + length - at)))
            self._guest.interrupter.check()
        return SUCCESS


FILE_FUNCTIONS: Final[dict[str, tuple[Signature, Callable[..., int]]]] = {
    name: ((tuple(params.split()), ("i32",)), getattr(GuestFiles, name))
    for name, params in {**_TYPES, "random_get": "i32 i32"}.items()
    if name != "path_filestat_get"
}
"""What a guest gets instead of the runtime's functions; each is given the guest's memory first."""
