"""`Plugin`: one tenant's plug-in, called by name."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from extism_kernel_pkg.host.aftermath import describe_call, measure_limits
from extism_kernel_pkg.host.compiled_plugin import CompiledPlugin
from extism_kernel_pkg.host.env import HostContext, HostEnv
from extism_kernel_pkg.host.errors import (
    FunctionNotFoundError,
    KernelError,
    PluginBusyError,
    PluginClosedError,
    PluginError,
)
from extism_kernel_pkg.host.interrupt import Cancellation, InterruptedCallError, Interrupter, Reason
from extism_kernel_pkg.host.manifest import change_manifest
from extism_kernel_pkg.host.output import GuestOutput
from extism_kernel_pkg.host.text import input_of
from extism_kernel_pkg.host.wasi_options import WasiOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from extism_kernel_pkg.host.functions import HostFunction
    from extism_kernel_pkg.host.linking import LinkedPlugin
    from extism_kernel_pkg.host.manifest import MemoryLimits
    from extism_kernel_pkg.host.sources import Source
    from extism_kernel_pkg.host.vars import Vars

GUEST_LOGGER: Final = "extism_kernel_pkg.host.guest"
"""Name of the logger that receives what guests log."""

KERNEL_GRACE_MS: Final = 5_000
"""How long the kernel may take to answer after the guest has ended; ours needs microseconds (C-1)."""

_GUEST_LOGGER: Final = logging.getLogger(GUEST_LOGGER)
_NO_OPTIONS: Final = WasiOptions()


class _Turn:
    """The right of one caller to use a plug-in's instance."""

    __slots__ = ("__weakref__",)


class Plugin:
    """One plug-in with a kernel and vars of its own; serves one call at a time.

    `source` is a manifest, a module, a path to either, or a `CompiledPlugin`. `functions` are the
    application's, made with `host_function`. The options named as a key of the manifest are this plug-in's
    own: `config` adds to the manifest's, a mapping as `memory` changes the limits that it names,
    `allowed_hosts`, `allowed_paths` and `timeout_ms` replace the manifest's; None keeps what it says.
    `http_response_headers` lets the guest read them, `http_environment_proxies` honours `HTTP_PROXY`,
    `HTTPS_PROXY` and `NO_PROXY`.
    What the guest logs goes to `logger`, by default the one named `GUEST_LOGGER`, and what it writes to
    stdout and stderr too, at `logging.INFO`; `wasi` gives it arguments, an environment, input and streams for
    its output. `fuel_limit` is about how many instructions a call may run. Raises `ManifestError`
    or `PluginLoadError`; what linking shows, such as an import of a wrong type, the first `call` raises.
    """

    def __init__(  # noqa: PLR0913 - all but the first are options, as in `PluginOptions`
        self,
        source: Source | CompiledPlugin,
        *,
        config: Mapping[str, str] | None = None,
        memory: MemoryLimits | Mapping[str, Any] | None = None,
        allowed_hosts: Sequence[str] | None = None,
        allowed_paths: Mapping[str, str] | None = None,
        timeout_ms: int | None = None,
        functions: Sequence[HostFunction] = (),
        http_response_headers: bool = False,
        http_environment_proxies: bool = False,
        wasi: WasiOptions | None = None,
        fuel_limit: int | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        from extism_kernel_pkg.host.http import HttpClient  # noqa: PLC0415 - see `host/__init__.py`

        if not isinstance(source, CompiledPlugin):
            source = CompiledPlugin(source, fuel_limit=fuel_limit)
        self._compiled = source
        self._fuel_limit = source.choose_fuel_limit(fuel_limit)
        self._manifest = manifest = change_manifest(
            self._compiled.manifest,
            config=config,
            memory=memory,
            allowed_hosts=allowed_hosts,
            allowed_paths=allowed_paths,
            timeout_ms=timeout_ms,
        )
        self._plan = self._compiled.plan(manifest, functions)
        self._interrupter = Interrupter(self._plan.compiler.engine.increment_epoch)
        self._http = HttpClient(
            self._interrupter,
            allowed_hosts=manifest.allowed_hosts or (),
            max_response_bytes=manifest.memory.max_http_response_bytes,
            use_environment_proxies=http_environment_proxies,
        )
        guest_logger = logger or _GUEST_LOGGER
        self._output = GuestOutput(guest_logger, wasi or _NO_OPTIONS)
        self._env = HostEnv(
            manifest,
            http=self._http,
            logger=guest_logger,
            with_response_headers=http_response_headers,
        )
        self._lock = threading.Lock()
        self._turn: Callable[[], _Turn | None] = lambda: None
        self._linked: LinkedPlugin | None = None
        self._host_context = HostContext(self._interrupter)
        self.call_count = 0
        """How many calls it began to serve."""
        self._is_closed = False

    @property
    def vars(self) -> Vars:
        """The plug-in's vars. They outlive instances; change them between calls only."""
        return self._env.vars

    def function_exists(self, name: str) -> bool:
        """Return whether `call` can call the export: no parameters, and no result or an i32."""
        return self._compiled.signature_fault(name) is None

    def call(self, name: str, data: bytes | str = b"", *, host_context: object = None) -> bytes:
        """Call an export with input and return its output. Raises `PluginError`.

        Text goes in as UTF-8; anything but text and bytes is a `TypeError`. `host_context` is for the
        application's functions, by their `CurrentPlugin`.
        The time limit counts from here: also while modules are linked, start functions run, and the
        host works for the guest. After an error the next call is served by the same instance,
        except where that cannot be right (`proc_exit`, `_start`, a broken kernel): it gets a new one.
        """
        return self._serve(name, input_of(data), host_context)

    async def call_async(self, name: str, data: bytes | str = b"", *, host_context: object = None) -> bytes:
        """`call` in a thread, for asyncio. If the task is cancelled, the guest is stopped at once.

        A function of the application that runs then is waited for no longer than `threads.CANCEL_SECONDS`.
        At most `threads.MAX_THREADS` calls run at once; the time limit counts from when the call begins.
        """
        from extism_kernel_pkg.host.threads import run_in_thread  # noqa: PLC0415 - see `host/__init__.py`

        cancellation = Cancellation()
        return await run_in_thread(
            partial(self._serve, name, input_of(data), host_context, cancellation),
            partial(self._interrupter.cancel, cancellation),
        )

    def _serve(
        self, name: str, data: bytes, host_context: object, cancellation: Cancellation | None = None
    ) -> bytes:
        turn: _Turn | None = self._take_turn()
        try:
            if name not in self._compiled.callable:
                raise FunctionNotFoundError(self._compiled.signature_fault(name) or name)
            self._host_context.value = host_context
            self.call_count += 1
            return self._call(name, data, cancellation)
        finally:
            self._host_context.value = None
            turn = None  # noqa: F841 - see `_take_turn`

    def _call(self, name: str, data: bytes, cancellation: Cancellation | None) -> bytes:
        """Make one call in two phases, each with a time limit: the guest's, then the kernel's answer."""
        interrupter = self._interrupter
        began = time.monotonic()
        self._output.begin()
        self._discard_spent()  # left by an interrupt between the end of a call and the lines below
        try:
            interrupter.start(self._manifest.timeout_ms, cancellation=cancellation)
            linked = self._linked
            if linked is None:
                linked = self._link(name)
            else:
                linked.guest.set_fuel()
            linked.guest.begin(is_last=name == "_start")
            outcome = linked.run(name, data)
            interrupter.start(KERNEL_GRACE_MS, can_stop=False)
            with linked.guest.free_of_charge():
                return linked.exchange.close_call(name, outcome)
        except InterruptedCallError:
            self._discard()
            raise KernelError("the kernel did not answer; the plug-in wrote over its state") from None
        except PluginError as error:
            self._describe_call(error, began)
            if isinstance(error, KernelError):
                self._discard()
            raise
        finally:
            interrupter.finish()
            self._output.finish()
            self._discard_spent()

    def _describe_call(self, error: PluginError, began: float) -> None:
        linked = self._linked
        guest = linked.guest if linked else None
        describe_call(error, measure_limits(self._manifest, began, guest, self._env.vars), self._output)
        if linked is not None and self._compiled.has_own_kernel and not isinstance(error, KernelError):
            self._interrupter.start(KERNEL_GRACE_MS, can_stop=False)
            error.kernel = linked.kernel_use()

    def _link(self, name: str) -> LinkedPlugin:
        """Make an instance. Runs guest code: start functions and the language runtime's."""
        from extism_kernel_pkg.host.capi import new_store  # noqa: PLC0415
        from extism_kernel_pkg.host.linking import LinkedPlugin  # noqa: PLC0415
        from extism_kernel_pkg.host.store import GuestStore  # noqa: PLC0415

        self._store = new_store(self._plan.compiler.engine_address)
        guest = GuestStore(
            self._store,
            self._plan.compiler,
            interrupter=self._interrupter,
            output=self._output,
            given_folders=len(self._manifest.allowed_paths),
            fuel_limit=self._fuel_limit,
        )
        try:
            with guest.explaining(name):
                self._interrupter.check()  # an interrupt before there was a store went unnoticed
                linked = LinkedPlugin(guest, self._plan, self._env, self._host_context)
                guest.set_fuel()
                linked.instantiate()
                self._linked = linked
                return linked
        finally:
            if self._linked is None:
                guest.calls.close()

    def reset(self, *, with_vars: bool = False) -> None:
        """Drop the instance and its memory, kernel included. The next call makes a new one.

        Vars, and what is known of the last HTTP answer, go `with_vars` only.
        Raises `PluginBusyError` during a call, `PluginClosedError` after `close`.
        """
        turn: _Turn | None = self._take_turn()
        try:
            self._discard()
            if with_vars:
                self._env.forget()
        finally:
            turn = None  # noqa: F841 - see `_take_turn`

    def cancel(self) -> bool:
        """Stop the call that another thread is making; false if there is none."""
        return self._interrupter.stop(Reason.CANCEL)

    def close(self) -> None:
        """Free the instance; the plug-in cannot be called any more. Closing twice is fine.

        Raises `PluginBusyError` during a call.
        """
        if not self._is_closed:
            self.reset()
            self._http.close()
            self._is_closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take_turn(self) -> _Turn:
        """Return the right to use the instance, which ends when nobody refers to it any more.

        Not a lock that is released: a signal may raise between any two lines, also in a `finally`, but not
        between `finally` and an assignment. Raises `PluginBusyError` or `PluginClosedError`.
        """
        turn = _Turn()
        with self._lock:
            if self._turn() is not None:
                raise PluginBusyError
            self._turn = weakref.ref(turn)
        if self._is_closed:
            raise PluginClosedError("the plug-in was closed")
        return turn

    def _discard_spent(self) -> None:
        if self._linked is not None and self._linked.guest.is_spent:
            self._discard()

    def _discard(self) -> None:
        linked, self._linked = self._linked, None
        if linked is not None:
            linked.guest.calls.close()
