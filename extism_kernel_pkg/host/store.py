"""One wasmtime store: its calls, and why a call ended."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from wasmtime import TrapCode

from extism_kernel_pkg.host.calls import CallEndedError, StoreCalls
from extism_kernel_pkg.host.contract import KERNEL_FUNCTIONS, Returned, Stopped
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
    from collections.abc import Callable, Iterator, Mapping

    from extism_kernel_pkg.host.budget import PageBudget
    from extism_kernel_pkg.host.calls import Extern, StoreMemory
    from extism_kernel_pkg.host.compiling import Compiler


_ENDS_OF_ALLOCATORS: Final = frozenset({TrapCode.UNREACHABLE, TrapCode.MEMORY_OUT_OF_BOUNDS})
"""How guests end when `memory.grow` has given them -1: they abort, or write where memory is not."""

_SIGN: Final = 2**31


class GuestStore:
    """A store, and what became of the call in it."""

    def __init__(self, compiler: Compiler, interrupter: Interrupter) -> None:
        self.calls = StoreCalls(compiler.engine, compiler.types, interrupter.check)
        self.engine = compiler.engine
        self.interrupter = interrupter
        self.budget: PageBudget | None = None
        self.is_spent = False
        """Whether the next call needs a new instance."""

    def begin(self, *, is_last: bool) -> None:
        """Begin a call; after the last one the instance cannot be used again."""
        self.calls.forget()
        self.is_spent = is_last

    @contextmanager
    def explaining(self, function: str) -> Iterator[None]:
        """Turn whatever ends this block into a `PluginError` that says why."""
        try:
            yield
        except CallEndedError as ended:
            raise self.explain(function, ended) from ended.failure
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
        """Return why guest code stopped; raises what is not the guest's doing, such as KeyboardInterrupt."""
        cause = ended.failure
        if cause is not None and not isinstance(cause, Exception):
            raise cause
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
            self._guest.is_spent = True
            raise KernelError(f"the kernel's `{name}` trapped: {_last_line(ended)}") from None

    def _bind(self, name: str) -> Callable[..., int]:
        bound = self._guest.calls.bind(self._exports[name], KERNEL_FUNCTIONS[name][1])
        self._functions[name] = bound
        return bound


def _last_line(error: Exception) -> str:
    """Return the innermost cause, without its number in the list of causes."""
    line = str(error).strip().splitlines()[-1].strip()
    return re.sub(r"^\d+: ", "", line)
