"""Puts one plug-in together: kernel, host functions of both generations, WASI, guest modules."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from wasmtime import ExitTrap, Func, Instance, Linker, Memory, Module, WasmtimeError

from extism_kernel_pkg.host.budget import GuestMemory, PageBudget
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
    Signature,
    Stopped,
)
from extism_kernel_pkg.host.errors import (
    FunctionNotFoundError,
    KernelError,
    PluginError,
    PluginLoadError,
    PluginOutOfMemoryError,
)
from extism_kernel_pkg.host.start import initialize_runtime
from extism_kernel_pkg.host.store import GuestStore, StoreDoor
from extism_kernel_pkg.host.wasi import WASI_MODULE, define_wasi, wasi_config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from extism_kernel_pkg.host.env import HostEnv
    from extism_kernel_pkg.host.functions import HostFunction
    from extism_kernel_pkg.host.memories import DefinedMemory


_BACKTRACE: Final = "wasm backtrace"
"""What the runtime's message holds if guest code ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestModule:
    """A compiled module of the plug-in, what it defines that is limited, and its functions."""

    module: Module
    memories: Sequence[DefinedMemory]
    tables: int
    functions: Mapping[str, Signature]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What goes into one instance of a plug-in."""

    kernel: Module
    guests: Mapping[str, GuestModule]
    functions: Sequence[HostFunction]
    allowed_paths: Mapping[str, str]
    max_pages: int | None


@dataclass(slots=True)
class HostContext:
    """What the application gave to the running call, where callbacks find it without holding the plug-in."""

    value: object = None


def _constant(value: int) -> Callable[[], int]:
    return lambda: value


class LinkedPlugin:
    """Kernel and guest modules in one store, linked and, after `instantiate`, alive."""

    def __init__(self, guest: GuestStore, plan: Plan, env: HostEnv, host_context: HostContext) -> None:
        self.guest = guest
        self._plan = plan
        self._linker = Linker(guest.store.engine)
        self._linker.allow_shadowing = True
        self._instances: dict[str, Instance] = {}
        self.door = self._link_kernel()
        self.exchange = Exchange(self.door)
        self._link_host_functions(env)
        self._link_user_functions(host_context)
        if any(name == WASI_MODULE for name in self._imported_modules()):
            guest.store.set_wasi(wasi_config(plan.allowed_paths))
            define_wasi(self._linker, guest)

    def _imported_modules(self) -> set[str]:
        return {item.module for guest in self._plan.guests.values() for item in guest.module.imports}

    def _define(self, module: str, name: str, function: Func) -> None:
        self._linker.define(self.guest.store, module, name, function)

    def _define_for_both(self, name: str, function: Func) -> None:
        """Offer a function to guests of today and of before 1.0."""
        self._define(ENV_MODULE, name, function)
        if name not in NOT_IN_OLD_ENV:
            self._define(OLD_ENV_MODULE, OLD_PREFIX + name, function)

    def _link_kernel(self) -> StoreDoor:
        """Instantiate a kernel of this plug-in's own (L-4) and offer its functions under both names (S-3).

        Its memory is not offered: a guest reaches it through the kernel's functions alone.
        """
        store = self.guest.store
        try:
            exports = self._linker.instantiate(store, self._plan.kernel).exports(store)
        except WasmtimeError as error:
            raise KernelError(f"the kernel cannot be instantiated: {error}") from None
        memory = exports.get("memory")
        functions = {name: exports.get(name) for name in KERNEL_FUNCTIONS}
        missing = [name for name, item in functions.items() if not isinstance(item, Func)]
        if missing or not isinstance(memory, Memory):
            raise KernelError(f"the kernel does not export {', '.join(missing) or 'memory'}")
        tables = sum(guest.tables for guest in self._plan.guests.values())
        budget = PageBudget(store, self._plan.max_pages, lambda: memory.size(store), tables)
        budget.guests.extend(
            GuestMemory(size=_constant(defined.minimum), maximum=defined.maximum)
            for guest in self._plan.guests.values()
            for defined in guest.memories
        )
        self.guest.budget = budget
        door = StoreDoor(
            self.guest, memory, {k: v for k, v in functions.items() if isinstance(v, Func)}, budget
        )
        for name, function in functions.items():
            if not isinstance(function, Func):
                continue
            is_counted = name == "alloc" and self._plan.max_pages is not None
            shown = self.guest.define(KERNEL_FUNCTIONS[name], door.alloc) if is_counted else function
            self._define_for_both(name, shown)
        return door

    def _link_host_functions(self, env: HostEnv) -> None:
        for name, signature in HOST_FUNCTIONS.items():
            method = getattr(env, name)

            def run(*args: int, method: Callable[..., Any] = method) -> Any:  # noqa: ANN401 - a wasm number
                return method(self.exchange, *args)

            self._define_for_both(name, self.guest.define(signature, run))

    def _link_user_functions(self, host_context: HostContext) -> None:
        for item in self._plan.functions:

            def run(*args: Any, item: HostFunction = item) -> Any:  # noqa: ANN401 - wasm numbers
                return item.call(self.exchange, host_context.value, *args)

            results = (item.result.wasm,) if item.result else ()
            signature: Signature = (tuple(codec.wasm for codec in item.params), results)
            function = self.guest.define(signature, run)
            for namespace in item.namespaces:
                self._define(namespace, item.name, function)

    def instantiate(self) -> None:
        """Instantiate linked modules in the order of their imports, then the main module, and start it.

        Runs guest code, so the time limit must be counting. Raises what the guest brings about.
        """
        budget, store = self.door.budget, self.guest.store
        budget.check()
        budget.open_for_guest()
        main = self._instantiate(MAIN_NAME, ())
        budget.guests[:] = [
            GuestMemory(size=partial(memory.size, store), maximum=defined.maximum)
            for name, live in self._instances.items()
            for defined in self._plan.guests[name].memories
            if isinstance(memory := live.exports(store).get(defined.export), Memory)
        ]
        budget.check()  # start functions ran before sizes were known: kernel and guests may both have grown
        budget.open_for_guest()
        initialize_runtime(main, store, self._plan.guests[MAIN_NAME].functions)

    def run(self, name: str, data: bytes) -> Returned | Stopped:
        """Hand the input to the kernel and call the guest's function.

        Raises `PluginError` if the input cannot be handed over.
        """
        store = self.guest.store
        with self.guest.explaining(name):
            self.guest.arm()
            self.exchange.open_call(data)
        function = self._instances[MAIN_NAME].exports(store)[name]
        if not isinstance(function, Func):
            raise FunctionNotFoundError(f"`{name}` is not a function")
        return self.guest.run_guest(name, lambda: function(store))

    def _instantiate(self, name: str, importers: tuple[str, ...]) -> Instance:
        module = self._plan.guests[name].module
        if name in importers:
            raise PluginLoadError(f"linked modules import each other: {' -> '.join([*importers, name])}")
        for item in module.imports:
            if item.module in self._plan.guests and item.module not in self._instances:
                self._instantiate(item.module, (*importers, name))
        try:
            instance = self._linker.instantiate(self.guest.store, module)
        except ExitTrap:
            raise
        except WasmtimeError as error:
            if _BACKTRACE in str(error):  # its start function ended so: an exception, say
                raise
            raise self._refusal(name, error) from None
        self._instances[name] = instance
        if name != MAIN_NAME:
            self._linker.define_instance(self.guest.store, name, instance)
            initialize_runtime(instance, self.guest.store, self._plan.guests[name].functions)
        return instance

    def _refusal(self, name: str, error: WasmtimeError) -> PluginError:
        text = " ".join(str(error).split())
        if "exceeds memory limits" in text:
            return PluginOutOfMemoryError(f"`{name}` cannot be instantiated", max_pages=self._plan.max_pages)
        return PluginLoadError(f"`{name}` cannot be instantiated: {text}")
