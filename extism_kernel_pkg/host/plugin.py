"""`CompiledPlugin` and `Plugin`: compile once, instantiate many, call by name."""

from __future__ import annotations

import dataclasses
import logging
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from wasmtime import Engine, Module, WasmtimeError

from extism_kernel_pkg import kernel_bytes
from extism_kernel_pkg.host.contract import MAIN_NAME
from extism_kernel_pkg.host.env import HostEnv
from extism_kernel_pkg.host.errors import (
    FunctionNotFoundError,
    KernelError,
    PluginBusyError,
    PluginClosedError,
    PluginLoadError,
)
from extism_kernel_pkg.host.http import HttpClient
from extism_kernel_pkg.host.imports import check_plan
from extism_kernel_pkg.host.interrupt import InterruptedCallError, Interrupter, Reason
from extism_kernel_pkg.host.linking import GuestModule, HostContext, LinkedPlugin, Plan
from extism_kernel_pkg.host.manifest import check_config
from extism_kernel_pkg.host.memories import count_tables, export_memories
from extism_kernel_pkg.host.signatures import read_signatures
from extism_kernel_pkg.host.sources import Source, load_modules, read_manifest
from extism_kernel_pkg.host.store import GuestStore, make_engine
from extism_kernel_pkg.host.text import input_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from extism_kernel_pkg.host.contract import Signature
    from extism_kernel_pkg.host.functions import HostFunction

GUEST_LOGGER: Final = "extism_kernel_pkg.host.guest"
"""Name of the logger that receives what guests log."""

KERNEL_GRACE_MS: Final = 5_000
"""How long the kernel may take to answer after the guest has ended; ours needs microseconds (C-1)."""


class CompiledPlugin:
    """A plug-in's modules and a kernel, read, checked and compiled. Safe to share between threads.

    `config` adds to the manifest's. `kernel` replaces the packaged kernel, for tests of kernels.
    Raises `ManifestError`, `PluginLoadError`, or `KernelError` if that kernel does not compile.
    """

    def __init__(
        self, source: Source, *, config: Mapping[str, str] | None = None, kernel: bytes | None = None
    ) -> None:
        manifest = read_manifest(source)
        self.manifest = dataclasses.replace(manifest, config={**manifest.config, **check_config(config)})
        engine = make_engine()
        try:
            self._kernel = bytes(Module(engine, kernel_bytes() if kernel is None else kernel).serialize())
        except WasmtimeError as error:
            raise KernelError(f"the kernel does not compile: {' '.join(str(error).split())}") from None
        self._guests: dict[str, tuple[bytes, Callable[..., GuestModule]]] = {}
        self.exports: dict[str, Signature] = {}
        """The types of the functions that the main module exports, by name."""
        for name, wasm in load_modules(self.manifest).items():
            module = _compile(engine, name, wasm)
            exported, memories = export_memories(wasm)
            if exported is not wasm:
                module = _compile(engine, name, exported)
            functions = read_signatures(wasm)
            if name == MAIN_NAME:
                self.exports = functions
            guest = partial(GuestModule, memories=memories, tables=count_tables(wasm), functions=functions)
            self._guests[name] = (bytes(module.serialize()), guest)

    def plan(self, engine: Engine, functions: Sequence[HostFunction]) -> Plan:
        """Return what goes into one instance, with the modules made ready for its engine."""
        guests = {
            name: guest(module=Module.deserialize(engine, data))
            for name, (data, guest) in self._guests.items()
        }
        return Plan(
            kernel=Module.deserialize(engine, self._kernel),
            guests=guests,
            functions=functions,
            allowed_paths=self.manifest.allowed_paths,
            max_pages=self.manifest.memory.max_pages,
        )


class Plugin:
    """One plug-in with a kernel and vars of its own; serves one call at a time.

    `source` is a manifest, a module, a path to either, or a `CompiledPlugin`. `functions` are the
    application's, made with `host_function`. `http_response_headers` lets the guest read them,
    `http_environment_proxies` honours `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
    What the guest logs goes to `logger`, by default the one named `GUEST_LOGGER`. Raises `ManifestError`
    or `PluginLoadError`; what linking shows, such as an import of a wrong type, the first `call` raises.
    """

    def __init__(  # noqa: PLR0913 - all but the first are options
        self,
        source: Source | CompiledPlugin,
        *,
        config: Mapping[str, str] | None = None,
        functions: Sequence[HostFunction] = (),
        http_response_headers: bool = False,
        http_environment_proxies: bool = False,
        logger: logging.Logger | None = None,
    ) -> None:
        if not isinstance(source, CompiledPlugin):
            source = CompiledPlugin(source, config=config)
        elif config is not None:
            raise TypeError("give `config` to `CompiledPlugin`")
        self._compiled = source
        manifest = source.manifest
        self._engine = make_engine()
        self._plan = self._compiled.plan(self._engine, functions)
        check_plan(self._plan)
        self._interrupter = Interrupter(self._engine.increment_epoch)
        self._answer_limit = Interrupter(self._engine.increment_epoch)
        self._http = HttpClient(
            self._interrupter,
            allowed_hosts=manifest.allowed_hosts or (),
            max_response_bytes=manifest.memory.max_http_response_bytes,
            use_environment_proxies=http_environment_proxies,
        )
        self._env = HostEnv(
            manifest,
            http=self._http,
            logger=logger or logging.getLogger(GUEST_LOGGER),
            with_response_headers=http_response_headers,
        )
        self._busy = threading.Lock()
        self._linked: LinkedPlugin | None = None
        self._host_context = HostContext()
        self._is_closed = False

    @property
    def vars(self) -> dict[str, bytes]:
        """The plug-in's vars. They outlive instances; change them between calls only."""
        return self._env.vars

    def function_exists(self, name: str) -> bool:
        """Return whether `call` can call the export: no parameters, and no result or an i32."""
        return self._signature_fault(name) is None

    def call(self, name: str, data: bytes | str = b"", *, host_context: object = None) -> bytes:
        """Call an export with input and return its output. Raises `PluginError`.

        Text goes in as UTF-8; anything but text and bytes is a `TypeError`. `host_context` is for the
        application's functions, by their `CurrentPlugin`.
        The time limit counts from here: also while modules are linked, start functions run, and the
        host works for the guest. After an error the next call is served by the same instance,
        except where that cannot be right (`proc_exit`, `_start`, a broken kernel): it gets a new one.
        """
        fault = self._signature_fault(name)
        given = input_of(data)
        with self._exclusive():
            if fault is not None:
                raise FunctionNotFoundError(fault)
            self._host_context.value = host_context
            try:
                return self._call(name, given)
            finally:
                self._host_context.value = None

    def _call(self, name: str, data: bytes) -> bytes:
        """Make one call in two phases, each with a time limit: the guest's, then the kernel's answer."""
        try:
            with self._interrupter.running(self._compiled.manifest.timeout_ms):
                linked = self._linked or self._link(name)
                outcome = linked.run(name, data)
            linked.guest.rearm()
            with self._answer_limit.running(KERNEL_GRACE_MS):
                output = linked.exchange.close_call(name, outcome)
        except InterruptedCallError:
            self._discard()
            raise KernelError("the kernel did not answer; the plug-in wrote over its state") from None
        except KernelError:
            self._discard()
            raise
        finally:
            if name == "_start" or (self._linked is not None and self._linked.guest.is_spent):
                self._discard()
        return output

    def _link(self, name: str) -> LinkedPlugin:
        """Make an instance. Runs guest code: start functions and the language runtime's."""
        guest = GuestStore(self._engine, self._interrupter)
        try:
            with guest.explaining(name):
                guest.arm()
                linked = LinkedPlugin(guest, self._plan, self._env, self._host_context)
                linked.instantiate()
                self._linked = linked
                return linked
        finally:
            if self._linked is None:
                guest.store.close()

    def reset(self) -> None:
        """Drop the instance and its memory, kernel included. The next call makes a new one; vars stay.

        Raises `PluginBusyError` during a call, `PluginClosedError` after `close`.
        """
        with self._exclusive():
            self._discard()

    def cancel(self) -> bool:
        """Stop the call that another thread is making; false if there is none."""
        return self._interrupter.stop(Reason.CANCEL)

    def close(self) -> None:
        """Free the instance; the plug-in cannot be called any more. Closing twice is fine.

        Raises `PluginBusyError` during a call.
        """
        if not self._is_closed:
            with self._exclusive():
                self._discard()
                self._http.close()
                self._is_closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        """Free the instance of a plug-in that nobody closed: wasmtime's table of callbacks holds on to it."""
        linked = getattr(self, "_linked", None)  # absent if `__init__` failed
        if linked is not None:
            linked.guest.store.close()

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            raise PluginBusyError
        try:
            if self._is_closed:
                raise PluginClosedError("the plug-in was closed")
            yield
        finally:
            self._busy.release()

    def _discard(self) -> None:
        linked, self._linked = self._linked, None
        if linked is not None:
            linked.guest.store.close()

    def _signature_fault(self, name: str) -> str | None:
        signature = self._compiled.exports.get(name)
        if signature is None:
            return f"function not found: `{name}` is not exported"
        params, results = signature
        if params or results not in ((), ("i32",)):
            found = f"({', '.join(params)}) -> ({', '.join(results)})"
            return f"`{name}` is {found}, a host calls () -> i32 or () -> ()"
        return None


def _compile(engine: Engine, name: str, wasm: bytes) -> Module:
    try:
        return Module(engine, wasm)
    except WasmtimeError as error:
        detail = " ".join(str(error).split())
        raise PluginLoadError(f"module `{name}` does not compile: {detail}") from None
