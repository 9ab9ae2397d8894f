"""The part of wasmtime's C API that this host calls itself, bound with cffi.

Not with ctypes: what a ctypes callback raises is printed, its result is left as it happens to be, and
Python may raise at the first line of any function that a signal interrupts. cffi sets the result and
hands the exception on.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Final

from wasmtime import _ffi as bindings

from extism_kernel_pkg.host.capi_table import ffi
from extism_kernel_pkg.host.versions import INSTALL

if TYPE_CHECKING:
    from wasmtime import Module

lib: Final[Any] = ffi.dlopen(str(bindings.filename))

NULL: Final[Any] = ffi.NULL
HOST_FUNCTION: Final[Any] = ffi.typeof("host_function_t")
ON_EPOCH: Final[Any] = ffi.typeof("on_epoch_t")

EXTERN: Final[Any] = ffi.typeof("extern_t *")
EXTERNS: Final[Any] = ffi.typeof("extern_t[]")
INSTANCE: Final[Any] = ffi.typeof("instance_t *")
_CHAR: Final[Any] = ffi.typeof("char *")
ADDRESS: Final[Any] = ffi.typeof("void *")
BYTES: Final[Any] = ffi.typeof("bytes_t *")
BYTE: Final[Any] = ffi.typeof("uint8_t *")
INT: Final[Any] = ffi.typeof("int *")
POINTER: Final[Any] = ffi.typeof("void **")
VALUES: Final[Any] = ffi.typeof("value_t[]")
WORD: Final[Any] = ffi.typeof("uint64_t *")
_ITEM: Final[int] = ffi.offsetof("extern_t", "of")

# All types and functions are made here and not where a call first needs them: one that an interrupt leaves
# half-made ends in a callback of a weak reference, where Python drops the next interrupt.
for _name in dir(lib):
    getattr(lib, _name)

FUNCTION: Final = bindings.WASMTIME_EXTERN_FUNC.value
MEMORY: Final = bindings.WASMTIME_EXTERN_MEMORY.value
"""What `extern_t.kind` is for functions and memories."""


def address_of(wrapper: Any) -> Any:  # noqa: ANN401 - any object of the wasmtime package
    """Return the address behind an object of the wasmtime package, which must be kept as long."""
    return ffi.cast(ADDRESS, ctypes.addressof(wrapper.ptr().contents))


class Code:
    """A compiled module, with its address at hand."""

    __slots__ = ("address", "module")

    def __init__(self, module: Module) -> None:
        self.module = module
        self.address = address_of(module)


def item_of(extern: Any) -> Any:  # noqa: ANN401 - cffi's
    """Return the address of the function or memory in an `extern_t`."""
    return ffi.cast(_CHAR, extern) + _ITEM


def check_layout() -> None:
    """Raise `ImportError` if the installed wasmtime's structures are not those declared here."""
    pairs = {
        "function_t": bindings.wasmtime_func_t,
        "memory_t": bindings.wasmtime_memory_t,
        "instance_t": bindings.wasmtime_instance_t,
        "extern_t": bindings.wasmtime_extern_t,
        "value_t": bindings.wasmtime_val_raw_t,
    }
    wrong = [name for name, theirs in pairs.items() if ffi.sizeof(name) != ctypes.sizeof(theirs)]
    if wrong or ffi.offsetof("extern_t", "of") != bindings.wasmtime_extern_t.of.offset:
        raise ImportError(
            f"this wasmtime lays out {', '.join(wrong) or 'extern_t'} in another way; {INSTALL}",
            name="wasmtime",
        )


check_layout()


OwnedStore = Any
"""A store that is freed with the last reference to this pointer."""


def new_store(engine: Any) -> OwnedStore:  # noqa: ANN401 - cffi's
    """Make a store of the engine at an address.

    It is freed by C and not by a `__del__`: Python drops a `KeyboardInterrupt` in there.
    """
    return ffi.gc(lib.wasmtime_store_new(engine, NULL, NULL), lib.wasmtime_store_delete)
