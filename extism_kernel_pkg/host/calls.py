"""Calls into one wasmtime store and out of it, through the unchecked calls of wasmtime's C API.

The wasmtime package's own calls derive all types anew each time, and keep the last Python exception of
any callback in one variable for all threads, so that a call can raise what belongs to another plug-in.
Here an export is bound once, to one buffer per store, and an exception stays in the store whose callback
raised it. Integers are unsigned on both sides.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from wasmtime import FuncType, ValType

from extism_kernel_pkg.host.capi import (
    ADDRESS,
    EXTERN,
    EXTERNS,
    FUNCTION,
    HOST_FUNCTION,
    INSTANCE,
    MEMORY,
    NULL,
    ON_EPOCH,
    POINTER,
    VALUES,
    WORD,
    address_of,
    item_of,
    lib,
)
from extism_kernel_pkg.host.capi_table import ffi
from extism_kernel_pkg.host.endings import CallEndedError, read_ending
from extism_kernel_pkg.host.store_memory import StoreMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wasmtime import Linker, WasiConfig

    from extism_kernel_pkg.host.capi import Code, OwnedStore
    from extism_kernel_pkg.host.contract import Signature

Extern = Any
"""A pointer to an `extern_t`: a function, memory or anything else of a store."""

_MAX_VALUES: Final = 16
_WORD: Final = 2**64 - 1
_MASKS: Final = {"i32": 2**32 - 1, "i64": 2**64 - 1}
_FLOATS: Final = {"f32": struct.Struct("<f4x"), "f64": struct.Struct("<d")}
_MESSAGE: Final = b"stopped by the host"
_MEMORY_NAME: Final = b"memory"
_call: Final = lib.wasmtime_func_call_unchecked
_find_export: Final = lib.wasmtime_instance_export_get


class FunctionType:
    """The type of host functions, and how their arguments are read; it cannot be used with two engines."""

    __slots__ = ("_kept", "address", "masks", "params", "result")

    def __init__(self, signature: Signature) -> None:
        self.params, results = signature
        self.masks = [_MASKS.get(kind) for kind in self.params]
        self.result = results[0] if results else None
        given, made = ([getattr(ValType, name)() for name in names] for names in signature)
        self._kept = FuncType(given, made)
        self.address = address_of(self._kept)


class FunctionTypes(dict["Signature", FunctionType]):
    """The types of host functions of one engine, each made once."""

    def __missing__(self, signature: Signature) -> FunctionType:
        return self.setdefault(signature, FunctionType(signature))


class StoreCalls:
    """One store and its calls, by one thread at a time.

    `check` runs whenever the engine's epoch advances, and around every host function; what it raises stops
    the call.
    """

    def __init__(self, store: OwnedStore, types: FunctionTypes, check: Callable[[], None]) -> None:
        self._types = types
        self._check = check
        self._failure: BaseException | None = None
        self._values = ffi.new(VALUES, _MAX_VALUES)
        self._words = ffi.cast(WORD, self._values)
        self._trap = ffi.new(POINTER)
        self._kept: list[Any] = []
        self._owned = ref(store)  # owned by the plug-in alone, which nothing refers to in a circle
        self._store = ffi.cast(ADDRESS, store)
        self.context = lib.wasmtime_store_context(self._store)
        on_epoch = ffi.callback(ON_EPOCH, self._on_epoch, NULL, self._stop_at_epoch)
        self._kept.append(on_epoch)
        lib.wasmtime_store_epoch_deadline_callback(self._store, on_epoch, NULL, NULL)
        lib.wasmtime_context_set_epoch_deadline(self.context, 1)

    def close(self) -> None:
        """Free the store; nothing of it can be used any more."""
        if (store := self._owned()) is not None:
            ffi.release(store)
        self._kept.clear()  # they refer to this object, and so to themselves

    def forget(self) -> None:
        """Forget how the call before ended, if a signal kept it from being raised."""
        if self._trap[0] or self._failure is not None:
            self._ended(NULL)

    def set_limits(self, memory_size: int = -1, table_elements: int = -1) -> None:
        """Set the largest size of each memory in bytes, and of each table in elements; -1 is no limit."""
        lib.wasmtime_store_limiter(self._store, memory_size, table_elements, -1, -1, -1)

    def set_fuel(self, units: int) -> None:
        """Set how much WebAssembly may still run; only for an engine that counts it."""
        lib.wasmtime_context_set_fuel(self.context, units)

    def fuel(self) -> int:
        """Return how much fuel is left."""
        left = ffi.new(WORD)
        lib.wasmtime_context_get_fuel(self.context, left)
        return left[0]  # type: ignore[no-any-return]

    def set_wasi(self, config: WasiConfig) -> None:
        """Let the functions of WASI see what a configuration says. Raises `CallEndedError`."""
        error = lib.wasmtime_context_set_wasi(self.context, address_of(config))
        config._consume()  # noqa: SLF001 - the store owns it now
        if error:
            raise self._ended(error)

    def bind(self, function: Extern, results: tuple[str, ...]) -> Callable[..., int]:
        """Return an export as a Python function of integers, taken modulo 2^64; 0 if it has no result.

        It raises `CallEndedError`.
        """
        self._kept.append(function)
        return partial(self._run, item_of(function), _MASKS[results[0]] if results else 0)

    def _run(self, target: Any, mask: int, *arguments: int) -> int:  # noqa: ANN401 - cffi's
        words, at = self._words, 0
        for argument in arguments:
            words[at] = argument & _WORD
            at += 2
        error = _call(self.context, target, self._values, _MAX_VALUES, self._trap)
        if error or self._trap[0] or self._failure is not None:
            raise self._ended(error)
        return words[0] & mask  # type: ignore[no-any-return]

    def define(
        self, signature: Signature, function: Callable[..., Any], *, wants_caller: bool = False
    ) -> Extern:
        """Make a host function; whatever it raises ends the call and is kept for it.

        With `wants_caller` the first argument is for `caller_memory`.
        """
        kind = self._types[signature]
        params, masks, result_kind, check = kind.params, kind.masks, kind.result, self._check

        def callback(_data: Any, caller: Any, values: Any, _count: int) -> Any:  # noqa: ANN401 - cffi's
            check()
            arguments = [
                values[at].low & mask if mask else _to_float(params[at], values[at].low)
                for at, mask in enumerate(masks)
            ]
            result = function(caller, *arguments) if wants_caller else function(*arguments)
            check()
            if result_kind is not None:
                is_integer = result_kind in _MASKS
                values[0].low = result & _WORD if is_integer else _from_float(result_kind, result)
            return NULL

        made = ffi.new(EXTERN)
        made.kind = FUNCTION
        run = ffi.callback(HOST_FUNCTION, callback, NULL, self._stop_in_host_function)
        self._kept.append(run)
        lib.wasmtime_func_new_unchecked(self.context, kind.address, run, NULL, NULL, item_of(made))
        return made

    def instantiate(self, code: Code, imports: Sequence[Extern]) -> Any:  # noqa: ANN401 - an `instance_t *`
        """Instantiate a module and run its start function. Raises `CallEndedError`."""
        instance, trap = ffi.new(INSTANCE), self._trap
        given = ffi.new(EXTERNS, [item[0] for item in imports])
        error = lib.wasmtime_instance_new(self.context, code.address, given, len(imports), instance, trap)
        if error or trap[0] or self._failure is not None:
            raise self._ended(error)
        return instance

    def export(self, instance: Any, name: str) -> Extern | None:  # noqa: ANN401 - an `instance_t *`
        """Return an export of an instance; None if there is none of this name."""
        found, text = ffi.new(EXTERN), name.encode()
        return found if _find_export(self.context, instance, text, len(text), found) else None

    def exports(self, instance: Any, names: Sequence[bytes]) -> list[Extern | None]:  # noqa: ANN401
        """Return several exports of an instance; None for what it has not."""
        context, room = self.context, ffi.new(EXTERNS, len(names))
        self._kept.append(room)
        found = []
        for at, name in enumerate(names):
            item = room + at
            found.append(item if _find_export(context, instance, name, len(name), item) else None)
        return found

    def linked(self, linker: Linker, module: str, name: str) -> Extern | None:
        """Return what a linker defines under two names; None if nothing."""
        found, space, text = ffi.new(EXTERN), module.encode(), name.encode()
        is_there = lib.wasmtime_linker_get(
            address_of(linker), self.context, space, len(space), text, len(text), found
        )
        return found if is_there else None

    def caller_memory(self, caller: Any) -> StoreMemory | None:  # noqa: ANN401 - cffi's
        """Return the memory that the module which called a host function exports as `memory`."""
        found = ffi.new(EXTERN)
        is_there = lib.wasmtime_caller_export_get(caller, _MEMORY_NAME, len(_MEMORY_NAME), found)
        return StoreMemory(self.context, found) if is_there and found.kind == MEMORY else None

    def _on_epoch(self, _context: Any, _data: Any, ticks: Any, _kind: Any) -> Any:  # noqa: ANN401 - cffi's
        ticks[0] = 1
        if self._failure is None:
            self._check()
            return NULL
        return lib.wasmtime_error_new(_MESSAGE)

    def _stop_at_epoch(self, _type: object, error: BaseException, _trace: object) -> Any:  # noqa: ANN401
        self._failure = self._failure or error
        return lib.wasmtime_error_new(_MESSAGE)

    def _stop_in_host_function(self, _type: object, error: BaseException, _trace: object) -> Any:  # noqa: ANN401
        self._failure = self._failure or error
        return lib.wasmtime_trap_new(_MESSAGE, len(_MESSAGE))

    def _ended(self, error: Any) -> CallEndedError:  # noqa: ANN401 - cffi's
        trap, self._trap[0] = self._trap[0], NULL
        failure, self._failure = self._failure, None
        return read_ending(trap, error, failure)


def _to_float(kind: str, bits: int) -> float:
    return _FLOATS[kind].unpack(bits.to_bytes(8, "little"))[0]  # type: ignore[no-any-return]


def _from_float(kind: str, value: float) -> int:
    return int.from_bytes(_FLOATS[kind].pack(value), "little")
