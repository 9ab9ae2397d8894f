"""Puts one plug-in together: kernel, host functions of both generations, WASI, guest modules."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from extism_kernel_pkg.host.budget import PAGE, GuestMemory, PageBudget
from extism_kernel_pkg.host.capi import FUNCTION, MEMORY
from extism_kernel_pkg.host.contract import (
    HOST_FUNCTIONS,
    KERNEL_FUNCTIONS,
    MAIN_NAME,
    Exchange,
    Returned,
    Stopped,
)
from extism_kernel_pkg.host.endings import CallEndedError
from extism_kernel_pkg.host.errors import (
    FunctionNotFoundError,
    KernelError,
    PluginLoadError,
    PluginOutOfMemoryError,
)
from extism_kernel_pkg.host.gate import Gate
from extism_kernel_pkg.host.imports import OWN
from extism_kernel_pkg.host.interrupt import InterruptedCallError
from extism_kernel_pkg.host.kernel_use import count_blocks
from extism_kernel_pkg.host.links import LaterFunctions
from extism_kernel_pkg.host.start import initialize_runtime
from extism_kernel_pkg.host.store import GuestStore, StoreKernel
from extism_kernel_pkg.host.store_memory import StoreMemory
from extism_kernel_pkg.host.wasi import WASI_MODULE, find_wasi, wasi_config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from extism_kernel_pkg.host.calls import Extern
    from extism_kernel_pkg.host.compiling import Compiler, GuestModule
    from extism_kernel_pkg.host.env import HostContext, HostEnv
    from extism_kernel_pkg.host.evidence import KernelUse
    from extism_kernel_pkg.host.functions import HostFunction
    from extism_kernel_pkg.host.manifest import Manifest

_BACKTRACE: Final = "wasm backtrace"
"""What the runtime's message holds if guest code ran."""

_KERNEL_EXPORTS: Final = tuple(name.encode() for name in ("memory", *KERNEL_FUNCTIONS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What goes into one instance of a plug-in."""

    compiler: Compiler
    kernel: GuestModule
    guests: Mapping[str, GuestModule]
    functions: Sequence[HostFunction]
    offered: Mapping[tuple[str, str], HostFunction]
    """The same by module and name, as guests import them."""
    manifest: Manifest


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
        self._gate: Gate | None = None
        if plan.manifest.memory.max_pages is not None:
            alloc = self._kernel["alloc"]
            behind = StoreKernel(guest, self._kernel_memory, {"alloc": alloc})
            self._gate = Gate(guest.calls, plan.compiler, self.budget, behind, (alloc, memory))
            self._kernel["alloc"] = self._gate.alloc  # for guests, and for what the host allocates for them
        self.exchange = Exchange(StoreKernel(guest, self._kernel_memory, self._kernel))
        if any(each.uses_wasi for each in plan.guests.values()):
            guest.calls.set_wasi(wasi_config(plan.manifest.allowed_paths, guest.output.options))

    def _instantiate_kernel(self) -> tuple[dict[str, Extern], Extern]:
        """Instantiate a kernel of this plug-in's own (L-4); return its functions and its memory.

        The memory is not offered: a guest reaches it through the kernel's functions alone.
        """
        calls = self.guest.calls
        try:
            instance = calls.instantiate(self._plan.kernel.code, ())
        except CallEndedError as error:
            if error.failure is not None:  # a signal, or the end of the call's time
                raise
            raise KernelError(f"the kernel cannot be instantiated: {error}") from None
        memory, *functions = calls.exports(instance, _KERNEL_EXPORTS)
        found = dict(zip(KERNEL_FUNCTIONS, functions, strict=True))
        missing = [name for name, item in found.items() if item is None or item.kind != FUNCTION]
        if memory is None or memory.kind != MEMORY or missing:
            raise KernelError(f"the kernel does not export {', '.join(missing) or 'memory'}")
        return found, memory

    def _make_budget(self, kernel: StoreMemory) -> PageBudget:
        guests = tuple(self._plan.guests.values())
        budget = PageBudget(
            self.guest.calls, self._plan.manifest.memory.max_pages, partial(_pages, kernel), guests
        )
        self.guest.budget = budget
        return budget

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
        define, key = self.guest.calls.define, (module, name)
        if key in self._plan.offered:
            item = self._plan.offered[key]
            return define(item.signature, partial(item.call, self.exchange, self._host_context))
        own = OWN.get(key)
        if own in KERNEL_FUNCTIONS:
            return self._kernel[own]
        if own is not None:
            return define(HOST_FUNCTIONS[own], partial(getattr(self._env, own), self.exchange))
        raise PluginLoadError(f"unknown import: no one provides `{module}` `{name}`")

    def instantiate(self) -> None:
        """Instantiate linked modules in the order of their imports, then the main module, and start it.

        Runs guest code, so the time limit must be counting. Raises what the guest brings about.
        """
        self.budget.settle()
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
        self.budget.settle()
        if self._gate is not None:
            self._gate.add_guests(memories)
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
            instance = calls.instantiate(guest.code, imports)
            self._instances[name] = partial(calls.export, instance)
            self._later.fill(name, self._instances[name])
        except CallEndedError as ended:
            if ended.failure is not None or _BACKTRACE in str(ended):  # its start function ended so
                raise
            text = " ".join(str(ended).split())
            if "exceeds memory limits" in text:
                raise PluginOutOfMemoryError(
                    f"`{name}` cannot be instantiated", max_pages=self._plan.manifest.memory.max_pages
                ) from None
            raise PluginLoadError(f"`{name}` cannot be instantiated: {text}") from None
        if name != MAIN_NAME:
            self._start(name)


def _pages(memory: StoreMemory) -> int:
    return memory.size() // PAGE
