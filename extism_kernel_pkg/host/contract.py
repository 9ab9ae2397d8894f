"""What a host must do, and in which order. Read this file first when you port Extism to a new runtime.

A plug-in is three things in one store: the *guest* (the plug-in's module), the *kernel* (a small
module that owns the memory through which both sides exchange bytes) and the *host*. Host and guest
never see each other's memory. They exchange *handles*: the offset of a block in the kernel's memory,
0 meaning none. Everything here is written against `KernelAccess`, the little that a WebAssembly
runtime has to offer. Ids such as R-1 name clauses of `kernel-src/CONTRACT.md`.

A port needs: an implementation of `KernelAccess` (this host's is in `store.py`), the two import
namespaces of `ENV_MODULE` and `OLD_ENV_MODULE` filled from the tables below (`linking.py`), the
twelve host functions (`env.py`), and a call made the way `open_call` and `close_call` make it.
`tests/examples/wasm3_host.py` is such a port, to an interpreter that shares nothing with this
host's runtime.

What a porter should know before the first line:

- *Numbers are unsigned.* Handles, addresses and lengths are unsigned 64-bit. Most runtimes give an
  i64 as signed: add 2**64 to what is negative. Some take signed values only: subtract 2**64 from
  2**63 and more. The same goes for i32 with 2**32.
- *Handle 0 is none.* As an argument or a result it is the empty string. In answer to `alloc` of one
  byte or more it means that memory was refused, and `Exchange.put` says so: an implementation of
  `KernelAccess` returns the 0 as it is. Never write to address 0, it is not yours.
- *Two flavours.* The kernel's file `extism-runtime-core.wasm` (`kernel_bytes("core")`) is for
  runtimes without reference types, such as wasm3. `extism-runtime.wasm` is the same code and the
  global `extism_context` of type externref, which only the Rust host reads (S-4).
- *A memory moves when it grows.* Take pointers and views anew for every copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from extism_kernel_pkg.host.errors import (
    GuestError,
    HostFunctionError,
    KernelError,
    PluginError,
    PluginExitError,
    PluginOutOfMemoryError,
)

ENV_MODULE: Final = "extism:host/env"
"""Where guests import the kernel's and the host's functions from."""

USER_MODULE: Final = "extism:host/user"
"""Where guests import an application's own functions from."""

OLD_ENV_MODULE: Final = "env"
"""Where guests built before 1.0 import all of them from; ours then carry `OLD_PREFIX` (S-3)."""

OLD_PREFIX: Final = "extism_"

MAIN_NAME: Final = "main"
"""The module of a manifest whose exports are called: the one of this name, else the last one."""

Signature = tuple[tuple[str, ...], tuple[str, ...]]
"""Parameter and result types of a function, spelled as in the WebAssembly text format."""

KERNEL_FUNCTIONS: Final[dict[str, Signature]] = {
    "alloc": (("i64",), ("i64",)),
    "free": (("i64",), ()),
    "length": (("i64",), ("i64",)),
    "length_unsafe": (("i64",), ("i64",)),
    "load_u8": (("i64",), ("i32",)),
    "load_u64": (("i64",), ("i64",)),
    "store_u8": (("i64", "i32"), ()),
    "store_u64": (("i64", "i64"), ()),
    "input_set": (("i64", "i64"), ()),
    "input_offset": ((), ("i64",)),
    "input_length": ((), ("i64",)),
    "input_load_u8": (("i64",), ("i32",)),
    "input_load_u64": (("i64",), ("i64",)),
    "output_set": (("i64", "i64"), ()),
    "output_offset": ((), ("i64",)),
    "output_length": ((), ("i64",)),
    "reset": ((), ()),
    "error_set": (("i64",), ()),
    "error_get": ((), ("i64",)),
    "memory_bytes": ((), ("i64",)),
}
"""S-2: what the kernel exports and every guest may import."""

HOST_FUNCTIONS: Final[dict[str, Signature]] = {
    "config_get": (("i64",), ("i64",)),
    "var_get": (("i64",), ("i64",)),
    "var_set": (("i64", "i64"), ()),
    "http_request": (("i64", "i64"), ("i64",)),
    "http_status_code": ((), ("i32",)),
    "http_headers": ((), ("i64",)),
    "log_trace": (("i64",), ()),
    "log_debug": (("i64",), ()),
    "log_info": (("i64",), ()),
    "log_warn": (("i64",), ()),
    "log_error": (("i64",), ()),
    "get_log_level": ((), ("i32",)),
}
"""What the host itself adds to `ENV_MODULE`; `env.py` has one method for each."""

NOT_IN_OLD_ENV: Final = frozenset({"length_unsafe", "log_trace", "get_log_level", "http_headers"})
"""What did not exist before 1.0, so that no guest imports it from `OLD_ENV_MODULE`."""


class KernelAccess(Protocol):
    """One kernel instance, as a WebAssembly runtime shows it. Numbers are unsigned (see above)."""

    def call(self, name: str, *args: int) -> int:
        """Call an export of `KERNEL_FUNCTIONS`; 0 if it has no result.

        Raises `PluginError` if the kernel traps. What results mean is the caller's affair.
        """
        ...

    def memory_size(self) -> int:
        """Return the size of the kernel's memory in bytes, as it is now."""
        ...

    def read(self, address: int, length: int) -> bytes:
        """Copy `length` bytes out of memory; the caller has checked that they are inside."""
        ...

    def write(self, address: int, data: bytes) -> None:
        """Copy bytes into memory; the caller has checked that they fit."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """The guest's function came back by itself; `status` is its result, 0 if it has none."""

    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The guest's function did not come back: a trap, a timeout, a refusal of the host."""

    error: PluginError


class Exchange:
    """How host and guest hand each other bytes. Holds no state of its own; the kernel has it all."""

    def __init__(self, kernel: KernelAccess) -> None:
        self._kernel = kernel

    def slice(self, address: int, length: int) -> bytes:
        """Copy what the kernel says is at `address`, after checking it against the memory there is.

        A guest can not make our kernel answer nonsense (M-3, R-1), but a host that slices without
        this check puts its process in the hands of whoever wrote the kernel. Raises `KernelError`.
        """
        size = self._kernel.memory_size()
        if address > size or length > size - address:
            raise KernelError(
                f"the kernel describes {length} bytes at address {address}, its memory has {size}",
                hint="the plug-in wrote over the kernel's state; use a kernel that forbids it (clause M-3)",
            )
        return self._kernel.read(address, length) if length else b""

    def put(self, data: bytes) -> int:
        """Place bytes in a new block and return its handle; 0 for no bytes (A-1).

        Handle 0 in answer to `alloc` means that memory was refused. Never write then: address 0
        is not yours. Raises `PluginOutOfMemoryError` or `KernelError`.
        """
        if not data:
            return 0
        handle = self._kernel.call("alloc", len(data))
        if handle == 0:
            raise PluginOutOfMemoryError(f"`alloc({len(data)})` was refused", max_pages=None)
        size = self._kernel.memory_size()
        if handle > size or len(data) > size - handle:
            raise KernelError(f"`alloc({len(data)})` returned {handle}, the kernel's memory has {size} bytes")
        self._kernel.write(handle, data)
        return handle

    def peek(self, handle: int) -> bytes:
        """Copy a whole block; handle 0 is the empty string (A-6).

        Length 0 for any other handle means that no live block starts there. Raises `HostFunctionError`.
        """
        if handle == 0:
            return b""
        length = self._kernel.call("length", handle)
        if length == 0:
            raise HostFunctionError(f"invalid handle {handle}: no live block starts there")
        return self.slice(handle, length)

    def free(self, handle: int) -> None:
        """End a block; freeing 0 or a stale handle is harmless (A-7)."""
        if handle:
            self._kernel.call("free", handle)

    def take(self, handle: int) -> bytes:
        """Copy an argument that the guest passed to a host function, and free it.

        The ownership rule: the host owns every handle that it is passed, the guest owns every
        handle that it is returned.
        """
        data = self.peek(handle)
        self.free(handle)
        return data

    def peek_text(self, handle: int, what: str) -> str:
        """`peek`, for an argument that must be UTF-8. Raises `HostFunctionError`."""
        try:
            return self.peek(handle).decode()
        except UnicodeDecodeError as error:
            raise HostFunctionError(f"{what} is not UTF-8: {error.reason} at byte {error.start}") from None

    def take_text(self, handle: int, what: str) -> str:
        """`take`, for an argument that must be UTF-8. Raises `HostFunctionError`."""
        text = self.peek_text(handle, what)
        self.free(handle)
        return text

    def take_two(self, text: int, what: str, data: int) -> tuple[str, bytes]:
        """`take_text` and `take`: read both, then free, as a guest may pass one handle twice."""
        copy = self.peek(data)
        value = self.take_text(text, what)
        self.free(data)
        return value, copy

    def open_call(self, data: bytes) -> None:
        """Make the kernel ready for one call of the guest.

        1. `error_set(0)`. On a new instance this is the first call ever, before any `reset` (L-1).
        2. `reset()`: ends all blocks of the call before, also of one that was cut anywhere (L-2, L-3).
        3. `alloc(len)`, then a raw copy into memory; both are skipped for no input.
        4. `input_set(handle, len)`, `(0, 0)` for no input, which clears (R-1).

        The timer should be running by now: a limit that starts later can be held up before it.
        """
        self._kernel.call("error_set", 0)
        self._kernel.call("reset")
        self._kernel.call("input_set", self.put(data), len(data))

    def close_call(self, function: str, outcome: Returned | Stopped) -> bytes:
        """Read the registers after a call of the guest and return its output, or raise its error.

        Which error counts, first come first served:

        1. The error that the guest set, whatever became of the call, also with result 0 (R-2).
        2. What stopped the guest: a trap, "timeout", "oom", a host function that refused.
        3. A result other than 0.

        Registers are read in every case, for the guest may have set its error just before a trap.
        A call that was stopped gives no output.
        """
        output_address = self._kernel.call("output_offset")
        output_length = self._kernel.call("output_length")
        error_handle = self._kernel.call("error_get")
        error_length = self._kernel.call("length", error_handle)
        cause = outcome.error if isinstance(outcome, Stopped) else None
        if error_handle and error_length:
            message = self.slice(error_handle, error_length).decode(errors="replace")
            raise GuestError(message, where=f"`{function}`") from cause
        if cause is not None:
            raise cause
        if isinstance(outcome, Returned) and outcome.status != 0:
            raise PluginExitError(function, outcome.status)
        return self.slice(output_address, output_length)
