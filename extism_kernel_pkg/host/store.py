"""One wasmtime store: its calls, and why a call ended."""

from __future__ import annotations

import re
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from wasmtime import TrapCode

from extism_kernel_pkg.host.calls import StoreCalls
from extism_kernel_pkg.host.contract import KERNEL_FUNCTIONS, Returned, Stopped
from extism_kernel_pkg.host.endings import CallEndedError
from extism_kernel_pkg.host.errors import (
    HostFunctionError,
    KernelError,
    PluginCancelledError,
    PluginError,
    PluginFuelError,
    PluginOutOfMemoryError,
    PluginTimeoutError,
    PluginTrapError,
)
from extism_kernel_pkg.host.frames import parse_frames
from extism_kernel_pkg.host.interrupt import InterruptedCallError, Interrupter, Reason
from extism_kernel_pkg.host.stacks import check_stack
from extism_kernel_pkg.host.wasi import find_real_wasi
from extism_kernel_pkg.host.wasi_files import REAL_NAMES, GuestFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from extism_kernel_pkg.host.budget import PageBudget
    from extism_kernel_pkg.host.calls import Extern
    from extism_kernel_pkg.host.capi import OwnedStore
    from extism_kernel_pkg.host.compiling import Compiler
    from extism_kernel_pkg.host.output import GuestOutput
    from extism_kernel_pkg.host.store_memory import StoreMemory

_ENDS_OF_ALLOCATORS: Final = frozenset({TrapCode.UNREACHABLE, TrapCode.MEMORY_OUT_OF_BOUNDS})
"""How guests end when `memory.grow` has given them -1: they abort, or write where memory is not."""

_SIGN: Final = 2**31
_PLENTY: Final = 2**62
_COUNTED_NOWHERE: Final = nullcontext()


class GuestStore:
    """A store, and what became of the call in it."""

    def __init__(  # noqa: PLR0913 - each is one thing that a store needs
        self,
        store: OwnedStore,
        compiler: Compiler,
        *,
        interrupter: Interrupter,
        output: GuestOutput,
        given_folders: int,
        fuel_limit: int | None = None,
    ) -> None:
        check_stack()
        self.calls = StoreCalls(store, compiler.types, interrupter.check)
        self.engine = compiler.engine
        self.interrupter = interrupter
        self.output = output
        self.files = GuestFiles(self, given_folders)
        self._compiler = compiler
        self.fuel_limit = fuel_limit
        self.set_fuel(_PLENTY)
        self.budget: PageBudget | None = None
        self.is_spent = False
        """Whether the next call needs a new instance."""

    def set_fuel(self, units: int | None = None) -> None:
        """Set what may still run, by default all that the limit allows; does nothing without one."""
        if self.fuel_limit is not None:
            self.calls.set_fuel(self.fuel_limit if units is None else units)

    @property
    def fuel_used(self) -> int:
        """How much of the limit was used; 0 without one."""
        return 0 if self.fuel_limit is None else max(0, self.fuel_limit - self.calls.fuel())

    def free_of_charge(self) -> AbstractContextManager[None]:
        """Let WebAssembly run in a block that does not count as the guest's."""
        return _COUNTED_NOWHERE if self.fuel_limit is None else self._without_counting()

    @contextmanager
    def _without_counting(self) -> Iterator[None]:
        left = self.calls.fuel()
        self.calls.set_fuel(_PLENTY)
        try:
            yield
        finally:
            self.calls.set_fuel(left)

    def begin(self, *, is_last: bool) -> None:
        """Begin a call; after the last one the instance cannot be used again."""
        check_stack()
        self.calls.forget()
        self.is_spent = is_last

    def real_wasi(self, memory: StoreMemory) -> dict[str, Callable[..., int]]:
        """Return the runtime's functions of `wasi_files.REAL`, bound to a memory."""
        calls = self.calls
        found = [find_real_wasi(self, name) for name in REAL_NAMES]
        instance = calls.instantiate(self._compiler.real_wasi, [memory.extern, *filter(None, found)])
        exports = {name: calls.export(instance, name) for name in REAL_NAMES}
        return {name: calls.bind(item, ("i32",)) for name, item in exports.items() if item is not None}

    @contextmanager
    def explaining(self, function: str) -> Iterator[None]:
        """Turn whatever ends this block into a `PluginError` that says why."""
        try:
            yield
        except CallEndedError as ended:
            error = self.explain(function, ended)
            raise error from error.__cause__
        except InterruptedCallError:
            raise self.interrupted(function) from None

    def run_guest(self, function: str, call: Callable[[], int]) -> Returned | Stopped:
        """Run guest code; raises nothing that the guest can bring about."""
        try:
            status = call()
        except CallEndedError as ended:
            if ended.exit_status is not None:
                self.is_spent = True
                return Returned(status=ended.exit_status)
            return Stopped(error=self.explain(function, ended))
        return Returned(status=status if status < _SIGN else status - 2 * _SIGN)

    def explain(self, function: str, ended: CallEndedError) -> PluginError:
        """Return why guest code stopped, with its frames and, if it has no cause of its own, `ended` as that.

        Raises what is not the guest's doing, such as KeyboardInterrupt.
        """
        cause = ended.failure
        error = self._reason(function, ended, _plain(cause))
        error.frames = parse_frames(str(ended))
        if error is not cause:
            error.__cause__ = error.__cause__ or ended
        return error

    def _reason(self, function: str, ended: CallEndedError, cause: Exception | None) -> PluginError:
        if isinstance(cause, CallEndedError):  # a host function had called WebAssembly
            return self._reason(function, cause, _plain(cause.failure))
        if isinstance(cause, PluginError):
            return cause
        if self.interrupter.reason is not None:
            return self.interrupted(function)
        if cause is None:
            return self._trapped(function, ended)
        refusal = HostFunctionError(f"host function failed: {type(cause).__name__}: {cause}")
        refusal.__cause__ = cause
        return refusal

    def interrupted(self, function: str) -> PluginError:
        """Return the error of a call that was stopped while the host worked."""
        if self.interrupter.reason is Reason.CANCEL:
            return PluginCancelledError(function)
        return PluginTimeoutError(function, self.interrupter.limit_ms)

    def _trapped(self, function: str, ended: CallEndedError) -> PluginError:
        code = ended.code
        last = _last_line(ended)
        limit = self.budget.max_pages if self.budget is not None else None
        if code is TrapCode.OUT_OF_FUEL:
            return PluginFuelError(function, self.fuel_limit)
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


class StoreKernel:
    """`KernelAccess` on wasmtime."""

    def __init__(self, guest: GuestStore, memory: StoreMemory, functions: Mapping[str, Extern]) -> None:
        self._guest = guest
        self._exports = functions
        self._functions: dict[str, Callable[..., int]] = {}
        self.memory_size = memory.size
        self.read = memory.read
        self.write = memory.write

    def call(self, name: str, *args: int) -> int:
        """Call a kernel export. Raises `PluginOutOfMemoryError`, `KernelError`, `InterruptedCallError`."""
        try:
            return (self._functions.get(name) or self._bind(name))(*args)
        except CallEndedError as ended:
            failure = ended.failure
            if failure is not None and not isinstance(failure, InterruptedCallError):
                raise failure from None
            if self._guest.interrupter.reason is not None:
                raise InterruptedCallError from None
            if ended.code is TrapCode.OUT_OF_FUEL:
                raise PluginFuelError(name, self._guest.fuel_limit) from ended
            self._guest.is_spent = True
            raise KernelError(f"the kernel's `{name}` trapped: {_last_line(ended)}") from None

    def _bind(self, name: str) -> Callable[..., int]:
        bound = self._guest.calls.bind(self._exports[name], KERNEL_FUNCTIONS[name][1])
        self._functions[name] = bound
        return bound


def _plain(failure: BaseException | None) -> Exception | None:
    """Return what ended a call, but raise what is not the guest's doing."""
    if failure is not None and not isinstance(failure, Exception):
        raise failure
    return failure


def _last_line(error: Exception) -> str:
    """Return the innermost cause, without its number in the list of causes."""
    line = str(error).strip().splitlines()[-1].strip()
    return re.sub(r"^\d+: ", "", line)
