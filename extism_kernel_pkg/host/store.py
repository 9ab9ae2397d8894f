"""One wasmtime store: calling into it, being called from it, and saying why a call ended."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from wasmtime import (
    Config,
    Engine,
    ExitTrap,
    Func,
    FuncType,
    Memory,
    Store,
    Trap,
    TrapCode,
    ValType,
    WasmtimeError,
)

from extism_kernel_pkg.host.budget import PAGE, PageBudget
from extism_kernel_pkg.host.contract import KERNEL_FUNCTIONS, Returned, Signature, Stopped
from extism_kernel_pkg.host.errors import (
    HostFunctionError,
    KernelError,
    PluginCancelledError,
    PluginError,
    PluginOutOfMemoryError,
    PluginTimeoutError,
    PluginTrapError,
)
from extism_kernel_pkg.host.interrupt import InterruptedCallError, Interrupter, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_ENDS_OF_ALLOCATORS: Final = frozenset({TrapCode.UNREACHABLE, TrapCode.MEMORY_OUT_OF_BOUNDS})
"""How guests end when `memory.grow` has given them -1: they abort, or write where memory is not."""


_IMPORTED_IN: Final = os.getpid()
"""A process forked from it lacks the threads of the compiler, and would wait for them for ever."""


def make_engine() -> Engine:
    """Return an engine with the features that today's SDKs enable; shared memory stays off.

    Each plug-in has its own engine, since an epoch belongs to an engine and must stop one plug-in only.
    """
    config = Config()
    config.epoch_interruption = True
    config.wasm_exceptions = True
    config.wasm_function_references = True
    config.wasm_gc = True
    config.wasm_tail_call = True
    config.parallel_compilation = os.getpid() == _IMPORTED_IN
    return Engine(config)


def func_type(signature: Signature) -> FuncType:
    """Translate a signature of the contract."""
    params, results = signature
    return FuncType(
        [getattr(ValType, name)() for name in params], [getattr(ValType, name)() for name in results]
    )


class GuestStore:
    """A store, and what became of the call in it.

    The wasmtime package keeps the last Python exception of a callback in one variable for all
    threads, so that what it raises may belong to another store. Hence `guard` remembers the
    exception here, and here is where `explain` looks.
    """

    def __init__(self, engine: Engine, interrupter: Interrupter) -> None:
        self.store = Store(engine)
        self.interrupter = interrupter
        self.budget: PageBudget | None = None
        self.is_spent = False
        """Whether the next call needs a new instance."""
        self._failure: BaseException | None = None

    def arm(self) -> None:
        """Let the next tick of the epoch stop WebAssembly; call it first inside `interrupter.running`."""
        self._failure = None
        self.store.set_epoch_deadline(1)
        self.interrupter.check()  # a tick that came before the line above is lost

    def rearm(self) -> None:
        """Let WebAssembly run again after a call was stopped: only a tick from now on stops it."""
        self.store.set_epoch_deadline(1)

    @contextmanager
    def explaining(self, function: str) -> Iterator[None]:
        """Turn whatever ends this block into a `PluginError` that says why."""
        try:
            yield
        except Exception as error:
            reason = self.explain(function, error)
            if reason is error:
                raise
            raise reason from error

    def guard(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a callback: it ends with the call's time limit, and its exception is kept for `explain`."""

        def run(*args: Any) -> Any:  # noqa: ANN401 - wasm numbers, and sometimes the caller
            try:
                self.interrupter.check()
                result = function(*args)
                self.interrupter.check()
            except BaseException as error:
                self._failure = self._failure or error
                raise
            return result

        return run

    def define(self, signature: Signature, function: Callable[..., Any]) -> Func:
        """Make a host function; integers arrive unsigned and may be returned so."""
        params, results = signature

        def run(*args: Any) -> Any:  # noqa: ANN401 - wasm numbers
            result = function(*(to_unsigned(kind, arg) for kind, arg in zip(params, args, strict=True)))
            return to_signed(results[0], result) if results else None

        return Func(self.store, func_type(signature), self.guard(run))

    def run_guest(self, function: str, call: Callable[[], Any]) -> Returned | Stopped:
        """Run guest code; never raises for anything that the guest can bring about."""
        try:
            result = call()
        except ExitTrap as exit_:
            self.is_spent = True
            return Returned(status=exit_.code)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - see the class's docstring
            return Stopped(error=self.explain(function, error))
        return Returned(status=result if isinstance(result, int) else 0 if result is None else -1)

    def explain(self, function: str, error: BaseException) -> PluginError:
        """Return why guest code stopped; raises what is not the guest's doing, such as KeyboardInterrupt."""
        failure, self._failure = self._failure, None
        cause = failure or error
        if self.interrupter.reason is not None and not isinstance(cause, PluginError):
            return self._interrupted(function)
        if isinstance(cause, PluginError):
            return cause
        if isinstance(cause, (Trap, WasmtimeError)):
            return self._trapped(function, cause)
        if not isinstance(cause, Exception):
            raise cause
        if failure is None:
            return PluginTrapError(function, "unknown: another thread's plug-in failed at the same moment")
        refusal = HostFunctionError(f"host function failed: {type(cause).__name__}: {cause}")
        refusal.__cause__ = cause
        return refusal

    def _interrupted(self, function: str) -> PluginError:
        if self.interrupter.reason is Reason.CANCEL:
            return PluginCancelledError(function)
        return PluginTimeoutError(function, self.interrupter.limit_ms)

    def _trapped(self, function: str, trap: Trap | WasmtimeError) -> PluginError:
        code = trap.trap_code if isinstance(trap, Trap) else None
        last = _last_line(trap)
        limit = self.budget.max_pages if self.budget is not None else None
        if code is TrapCode.ALLOCATION_TOO_LARGE or last.startswith("GC heap out of memory"):
            return PluginOutOfMemoryError(last, max_pages=limit)
        kind = code.name.lower().replace("_", " ") if code else last
        hint = None
        if self.budget is not None and limit is not None:
            used = self.budget.used
            if used >= limit and code in _ENDS_OF_ALLOCATORS:
                return PluginOutOfMemoryError(
                    f"`{function}` trapped with every page in use: {kind}", max_pages=limit
                )
            hint = f"{used} of {limit} pages (`memory.max_pages`) were in use"
        return PluginTrapError(function, kind, hint=hint)


class StoreDoor:
    """`KernelAccess` on wasmtime."""

    def __init__(
        self, guest: GuestStore, memory: Memory, functions: dict[str, Func], budget: PageBudget
    ) -> None:
        self._guest = guest
        self._memory = memory
        self._functions = functions
        self.budget = budget

    def call(self, name: str, *args: int) -> int:
        """Call a kernel export. Raises `PluginOutOfMemoryError`, `KernelError`, `InterruptedCallError`."""
        if name == "alloc":
            return self.alloc(*args)
        return self._call(name, *args)

    def alloc(self, length: int) -> int:
        """Allocate with the whole budget open to the kernel; memory refused ends the call as "oom"."""
        self.budget.open_for_kernel()
        try:
            handle = self._call("alloc", length)
        finally:
            self.budget.open_for_guest()
        if handle == 0 and length != 0:
            raise PluginOutOfMemoryError(f"`alloc({length})` was refused", max_pages=self.budget.max_pages)
        return handle

    def _call(self, name: str, *args: int) -> int:
        params, results = KERNEL_FUNCTIONS[name]
        raw = (to_signed(kind, arg) for kind, arg in zip(params, args, strict=True))
        try:
            result = self._functions[name](self._guest.store, *raw)
        except (Trap, WasmtimeError) as error:
            if self._guest.interrupter.reason is not None:
                raise InterruptedCallError from None
            self._guest.is_spent = True
            raise KernelError(f"the kernel's `{name}` trapped: {_last_line(error)}") from None
        return to_unsigned(results[0], result) if results else 0

    def memory_size(self) -> int:
        """Return the size of the kernel's memory in bytes."""
        return self._memory.size(self._guest.store) * PAGE

    def read(self, address: int, length: int) -> bytes:
        """Copy bytes out of the kernel's memory."""
        return bytes(self._memory.read(self._guest.store, address, address + length))

    def write(self, address: int, data: bytes) -> None:
        """Copy bytes into the kernel's memory."""
        self._memory.write(self._guest.store, data, address)


def _last_line(error: Exception) -> str:
    """Return the innermost cause, without its number in the list of causes."""
    line = str(error).strip().splitlines()[-1].strip()
    return re.sub(r"^\d+: ", "", line)


def to_signed(kind: str, value: Any) -> Any:  # noqa: ANN401 - a wasm number in, the same out
    """Return a wasm number as the wasmtime package wants it: integers signed."""
    if kind not in {"i32", "i64"}:
        return value
    bits = int(kind[1:])
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


def to_unsigned(kind: str, value: Any) -> Any:  # noqa: ANN401 - a wasm number in, the same out
    """Return a wasm number with integers unsigned."""
    return value % (1 << int(kind[1:])) if kind in {"i32", "i64"} else value
