"""The part of wasmtime's C API that this host calls itself, bound with cffi.

Not with ctypes: what a ctypes callback raises is printed, its result is left as it happens to be, and
Python may raise at the first line of any function that a signal interrupts. cffi sets the result and
hands the exception on.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Final

import cffi
from wasmtime import _ffi as bindings

from extism_kernel_pkg.host.versions import INSTALL

if TYPE_CHECKING:
    from wasmtime import Engine

_DECLARATIONS: Final = """
typedef struct { uint64_t store_id; void *private; } function_t;
typedef struct { struct { uint64_t store_id; uint32_t private1; } id; uint32_t private2; } memory_t;
typedef struct { uint64_t store_id; size_t private; } instance_t;
typedef struct {
    uint8_t kind; union { function_t function; memory_t memory; uint64_t words[3]; } of; } extern_t;
typedef struct { uint64_t low; uint64_t high; } value_t;
typedef struct { size_t size; char *data; } bytes_t;
typedef struct { size_t size; void **data; } frames_t;

void *wasmtime_store_new(void *engine, void *data, void *finalizer);
void wasmtime_store_delete(void *store);
void *wasmtime_store_context(void *store);
void wasmtime_store_limiter(
    void *store, int64_t memory, int64_t elements, int64_t instances, int64_t tables, int64_t memories);
void wasmtime_store_epoch_deadline_callback(void *store, void *callback, void *data, void *finalizer);
void wasmtime_context_set_epoch_deadline(void *context, uint64_t ticks);
void *wasmtime_context_set_fuel(void *context, uint64_t units);
void *wasmtime_context_get_fuel(void *context, uint64_t *units);
void *wasmtime_context_set_wasi(void *context, void *config);

void *wasmtime_func_call_unchecked(
    void *context, void *function, value_t *values, size_t count, void **trap);
void wasmtime_func_new_unchecked(
    void *context, void *type, void *callback, void *data, void *finalizer, void *made);
void *wasmtime_instance_new(
    void *context, void *module, extern_t *imports, size_t count, instance_t *made, void **trap);
bool wasmtime_instance_export_get(
    void *context, instance_t *instance, char *name, size_t length, extern_t *found);
bool wasmtime_caller_export_get(void *caller, char *name, size_t length, extern_t *found);
bool wasmtime_linker_get(
    void *linker, void *context,
    char *module, size_t module_length, char *name, size_t length, extern_t *found);
char *wasmtime_memory_data(void *context, void *memory);
size_t wasmtime_memory_data_size(void *context, void *memory);

void *wasmtime_trap_new(char *message, size_t length);
void wasm_trap_delete(void *trap);
void wasm_trap_message(void *trap, bytes_t *message);
bool wasmtime_trap_code(void *trap, uint8_t *code);
void *wasmtime_error_new(char *message);
void wasmtime_error_delete(void *error);
void wasmtime_error_message(void *error, bytes_t *message);
bool wasmtime_error_exit_status(void *error, int *status);
void wasm_byte_vec_new(bytes_t *bytes, size_t size, char *data);
void wasm_byte_vec_delete(bytes_t *bytes);
void wasi_config_set_stdin_bytes(void *config, bytes_t *bytes);
"""

ffi: Final[Any] = cffi.FFI()
ffi.cdef(_DECLARATIONS)
lib: Final[Any] = ffi.dlopen(str(bindings.filename))

NULL: Final[Any] = ffi.NULL
HOST_FUNCTION: Final[Any] = ffi.typeof("void *(*)(void *data, void *caller, value_t *values, size_t count)")
ON_EPOCH: Final[Any] = ffi.typeof("void *(*)(void *context, void *data, uint64_t *ticks, uint8_t *kind)")

EXTERN: Final[Any] = ffi.typeof("extern_t *")
EXTERNS: Final[Any] = ffi.typeof("extern_t[]")
INSTANCE: Final[Any] = ffi.typeof("instance_t *")
_CHAR: Final[Any] = ffi.typeof("char *")
_VOID: Final[Any] = ffi.typeof("void *")
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
    return ffi.cast(_VOID, ctypes.addressof(wrapper.ptr().contents))


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


def new_store(engine: Engine) -> OwnedStore:
    """Make a store. It is freed by C and not by a `__del__`: Python drops a `KeyboardInterrupt` in there."""
    return ffi.gc(lib.wasmtime_store_new(address_of(engine), NULL, NULL), lib.wasmtime_store_delete)
