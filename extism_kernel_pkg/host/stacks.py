"""How large the stack of the running thread is: a guest that recurses must not end the process.

The runtime stops WebAssembly that has used `WASM_STACK` bytes, but it does not know where a thread's stack
ends. So a thread that could not hold as much makes no calls.
"""

from __future__ import annotations

import functools
import sys
import threading
from typing import Any, Final

from extism_kernel_pkg.host.errors import StackTooSmallError
from extism_kernel_pkg.host.stacks_table import ffi

WASM_STACK: Final = 512 * 1024
"""What the runtime allows by default; interpreters inside guests need it."""

SMALLEST_STACK: Final = WASM_STACK + 256 * 1024
"""WebAssembly's, and what Python and a host function need beside it."""

_checked = threading.local()


def check_stack() -> None:
    """Raise `StackTooSmallError` in a thread whose stack could not hold a guest's."""
    if getattr(_checked, "is_enough", False):
        return
    size = find_stack_size()
    if size is not None and size < SMALLEST_STACK:
        raise StackTooSmallError(
            f"the stack of this thread has {size // 1024} KiB, a plug-in needs {SMALLEST_STACK // 1024}",
            hint="call `threading.stack_size(1024 * 1024)` before the thread is started",
        )
    _checked.is_enough = True


def find_stack_size() -> int | None:
    """Return the bytes of the running thread's stack; None where the system cannot be asked."""
    try:
        return _SYSTEMS[sys.platform]()
    except (KeyError, AttributeError, OSError):
        return None


def _linux() -> int | None:
    lib = _library()
    attributes, size = ffi.new("char[256]"), ffi.new("size_t *")
    if lib.pthread_getattr_np(lib.pthread_self(), attributes) != 0:
        return None
    lib.pthread_attr_getstacksize(attributes, size)
    lib.pthread_attr_destroy(attributes)
    return int(size[0])


def _macos() -> int:
    lib = _library()
    return int(lib.pthread_get_stacksize_np(lib.pthread_self()))


def _windows() -> int:
    low, high = ffi.new("size_t *"), ffi.new("size_t *")
    _library("kernel32.dll").GetCurrentThreadStackLimits(low, high)
    return int(high[0] - low[0])


@functools.cache
def _library(name: str | None = None) -> Any:  # noqa: ANN401 - cffi's
    return ffi.dlopen(name)


_SYSTEMS: Final = {"linux": _linux, "darwin": _macos, "win32": _windows}
