"""Puts one plug-in together: kernel, host functions of both generations, WASI, guest modules."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from extism_kernel_pkg.host.budget import PAGE, GuestMemory, PageBudget
from extism_kernel_pkg.host.calls import CallEndedError
from extism_kernel_pkg.host.capi import FUNCTION, MEMORY
from extism_kernel_pkg.host.contract import (
    ENV_MODULE,
    HOST_FUNCTIONS,
    KERNEL_FUNCTIONS,
    MAIN_NAME,
    NOT_IN_OLD_ENV,
    OLD_ENV_MODULE,
    OLD_PREFIX,
    Exchange,
    Returned,
    Stopped,
)
from extism_kernel_pkg.host.errors import (
    FunctionNotFoundError,
    KernelError,
    PluginLoadError,
    PluginOutOfMemoryError,
)
from extism_kernel_pkg.host.interrupt import InterruptedCallError
from extism_kernel_pkg.host.kernel_use import count_blocks
from extism_kernel_pkg.host.links import LaterFunctions
from extism_kernel_pkg.host.start import initialize_runtime
from extism_kernel_pkg.host.store import GuestStore, StoreDoor
from extism_kernel_pkg.host.store_memory import StoreMemory
from extism_kernel_pkg.host.wasi import WASI_MODULE, find_wasi, wasi_config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from extism_kernel_pkg.host.calls import Extern
    from extism_kernel_pkg.host.compiling import Compiler, GuestModule
    from extism_kernel_pkg.host.env import HostContext, HostEnv
    from extism_kernel_pkg.host.evidence import KernelUse
    from extism_kernel_pkg.host.functions import HostFunction

_BACKTRACE: Final = "wasm backtrace"
"""What the runtime's message holds if guest code ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What goes into one instance of a plug-in."""

    compiler: Compiler
    kernel: GuestModule
    guests: Mapping[str, GuestModule]
    functions: Sequence[HostFunction]
    allowed_paths: Mapping[str, str]
    max_pages: int | None


class KernelFunctions(dict[str, "Extern"]):
    """The functions of a kernel's instance by name, each fetched when it is first asked for."""

    def __init__(self, export: Callable[[str], Extern | None]) -> None:
        super().__init__()
        self._export = export

    def __missing__(self, name: str) -> Extern:
        return self.setdefault(name, self._export(name))


def _own_name(module: str, name: str) -> str | None:
    """Return which function of the kernel or the host an import of either generation means."""
    if module == OLD_ENV_MODULE and name.startswith(OLD_PREFIX):
        name = name.removeprefix(OLD_PREFIX)
        if name in NOT_IN_OLD_ENV:
            return None
    elif module != ENV_MODULE:
        return None
    return name if name in KERNEL_FUNCTIONS or name in HOST_FUNCTIONS else None


class LinkedPlugin:
    """Kernel and guest modules in one store, linked and, after `instantiate`, alive."""

    def __init__(self, guest: GuestStore, plan: Plan, env: HostEnv, host_context: HostContext) -> None:
        self.guest = guest
        self._plan = plan
        self._env = env
        self._host_context = host_context
        self._instances: dict[str, Callable[[str], Extern | None]] = {}
        self._made: dict[tuple[str, str], Extern] = {}
        self._later = LaterFunctions(guest.calls, plan.compiler.compile_text)
        self._functions: dict[str, Callable[[], int]] = {}
        self._kernel, memory = self._instantiate_kernel()
        self._kernel_memory = StoreMemory(guest.calls.context, memory)
        self.budget = self._make_budget(self._kernel_memory)
        door = StoreDoor(guest, self._kernel_memory, self._kernel)
        self._gate: dict[str, Extern] = {}
        if plan.max_pages is not None:
            self._gate = self._make_gate(memory, door)
            door = StoreDoor(guest, self._kernel_memory, self._kernel, self._gate["alloc"])
        self.exchange = Exchange(door)
        if any(module == WASI_MODULE for item in plan.guests.values() for module, _, _ in item.imports):
            guest.calls.set_wasi(wasi_config(plan.allowed_paths, guest.output.options))

    def _instantiate_kernel(self) -> tuple[KernelFunctions, Extern]:
        """Instantiate a kernel of this plug-in's own (L-4); return its functions and its memory.

        The memory is not offered: a guest reaches it through the kernel's functions alone.
        """
        calls = self.guest.calls
        try:
            instance = calls.instantiate(self._plan.kernel.module, ())
        except CallEndedError as error:
            if error.failure is not None:  # a signal, or the end of the call's time
                raise
            raise KernelError(f"the kernel cannot be instantiated: {error}") from None
        memory = calls.export(instance, "memory")
        missing = [name for name in KERNEL_FUNCTIONS if name not in self._plan.kernel.functions]
        if memory is None or memory.kind != MEMORY or missing:
            raise KernelError(f"the kernel does not export {', '.join(missing) or 'memory'}")
        return KernelFunctions(partial(calls.export, instance)), memory

    def _make_budget(self, kernel: StoreMemory) -> PageBudget:
        guests = tuple(self._plan.guests.values())
        budget = PageBudget(self.guest.calls, self._plan.max_pages, partial(_pages, kernel), guests)
        self.guest.budget = budget
        return budget

    def _make_gate(self, memory: Extern, kernel: StoreDoor) -> dict[str, Extern]:
        """Put `budget.GATE` before the kernel's `alloc`; return its exports."""
        calls, budget = self.guest.calls, self.budget

        def alloc(length: int) -> int:
            """Allocate with the whole budget open to the kernel; memory refused ends the call as "oom"."""
            budget.open_for_kernel()
            try:
                handle = kernel.call("alloc", length)
            finally:
                budget.open_for_guest()
            if handle == 0 and length != 0:
                raise PluginOutOfMemoryError(f"`alloc({length})` was refused", max_pages=budget.max_pages)
            return handle

        def grown() -> None:
            budget.open_for_guest()
            budget.check()

        ask, tell = calls.define((("i64",), ("i64",)), alloc), calls.define(((), ()), grown)
        instance = calls.instantiate(self._plan.compiler.gate, [self._kernel["alloc"], memory, ask, tell])
        exports = {name: calls.export(instance, name) for name in ("alloc", "limit", "guests")}
        found = {name: item for name, item in exports.items() if item is not None}
        calls.bind(found["limit"], ())(budget.max_pages or 0)
        return found

    def _find(self, module: str, name: str) -> Extern:
        """Return what an import gets. Raises `PluginLoadError` if there is nothing."""
        if module in self._instances:
            found = self._instances[module](name)
            if found is not None:
                return found
        if (module, name) not in self._made:
            self._made[module, name] = self._make(module, name)
        return self._made[module, name]

    def _make(self, module: str, name: str) -> Extern:
        if module == WASI_MODULE:
            found = find_wasi(self.guest, name)
            if found is not None:
                return found
        for item in reversed(self._plan.functions):
            if item.name == name and module in item.namespaces:
                return self._define_user_function(item)
        own = _own_name(module, name)
        if own in KERNEL_FUNCTIONS:
            return self._gate.get(own) or self._kernel[own]
        if own is not None:
            return self.guest.calls.define(
                HOST_FUNCTIONS[own], partial(getattr(self._env, own), self.exchange)
            )
        raise PluginLoadError(f"unknown import: no one provides `{module}` `{name}`")

    def _define_user_function(self, item: HostFunction) -> Extern:
        exchange, context, call = self.exchange, self._host_context, item.call
        results = (item.result.wasm,) if item.result else ()

        def run(*args: object) -> object:
            return call(exchange, context, *args)

        return self.guest.calls.define((tuple(codec.wasm for codec in item.params), results), run)

    def instantiate(self) -> None:
        """Instantiate linked modules in the order of their imports, then the main module, and start it.

        Runs guest code, so the time limit must be counting. Raises what the guest brings about.
        """
        self.budget.check()
        self.budget.open_for_guest()
        self._instantiate(MAIN_NAME, ())
        memories = [
            (defined, found)
            for name, guest in self._plan.guests.items()
            for defined in guest.memories
            if name in self._instances and (found := self._instances[name](defined.export)) is not None
        ]
        calls = self.guest.calls
        self.budget.guests[:] = [
            GuestMemory(size=partial(_pages, StoreMemory(calls.context, found)), maximum=defined.maximum)
            for defined, found in memories
        ]
        # Start functions ran before sizes were known: kernel and guests may both have grown.
        self.budget.check()
        self.budget.open_for_guest()
        if self._gate:
            module = self._plan.compiler.pages(tuple(defined.index for defined, _ in memories))
            calls.instantiate(module, [*(found for _, found in memories), self._gate["guests"]])
        self._start(MAIN_NAME)

    def kernel_use(self) -> KernelUse | None:
        """Return what the kernel holds, if that can be told."""
        try:
            size = self._kernel_memory.size()
            with self.guest.free_of_charge():
                counter = self._plan.compiler.counter
                return count_blocks(self.guest.calls, counter, self._kernel["length"], size)
        except CallEndedError:
            return None

    def run(self, name: str, data: bytes) -> Returned | Stopped:
        """Hand the input to the kernel and call the guest's function.

        Raises `PluginError` if the input cannot be handed over.
        """
        function = self._functions.get(name) or self._bind(name)
        try:
            with self.guest.free_of_charge():
                self.exchange.open_call(data)
        except InterruptedCallError:
            raise self.guest.interrupted(name) from None
        return self.guest.run_guest(name, function)

    def _bind(self, name: str) -> Callable[[], int]:
        found = self._instances[MAIN_NAME](name)
        if found is None or found.kind != FUNCTION:
            raise FunctionNotFoundError(f"`{name}` is not a function")
        results = self._plan.guests[MAIN_NAME].functions[name][1]
        self._functions[name] = self.guest.calls.bind(found, results)
        return self._functions[name]

    def _start(self, name: str) -> None:
        calls, export = self.guest.calls, self._instances[name]

        def call(function: str, *args: int) -> None:
            found = export(function)
            if found is not None:
                calls.bind(found, ())(*args)

        initialize_runtime(self._plan.guests[name].functions, call)

    def _instantiate(self, name: str, importers: tuple[str, ...]) -> None:
        guest, calls = self._plan.guests[name], self.guest.calls
        importers = *importers, name
        imports = []
        for module, imported, kind in guest.imports:
            if module in importers:
                if kind != "func":
                    raise PluginLoadError(
                        f"only functions can be imported in a circle, `{module}` `{imported}` is none: "
                        + " -> ".join([*importers, module])
                    )
                imports.append(self._later.find(module, imported, guest.imported[module, imported]))
                continue
            if module in self._plan.guests and module not in self._instances:
                self._instantiate(module, importers)
            imports.append(self._find(module, imported))
        try:
            instance = calls.instantiate(guest.module, imports)
            self._instances[name] = partial(calls.export, instance)
            self._later.fill(name, self._instances[name])
        except CallEndedError as ended:
            if ended.failure is not None or _BACKTRACE in str(ended):  # its start function ended so
                raise
            text = " ".join(str(ended).split())
            if "exceeds memory limits" in text:
                raise PluginOutOfMemoryError(
                    f"`{name}` cannot be instantiated", max_pages=self._plan.max_pages
                ) from None
            raise PluginLoadError(f"`{name}` cannot be instantiated: {text}") from None
        if name != MAIN_NAME:
            self._start(name)


def _pages(memory: StoreMemory) -> int:
    return memory.size() // PAGE
