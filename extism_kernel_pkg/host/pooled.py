"""`PooledPlugin`: a plug-in of a pool in the hands of one user."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from extism_kernel_pkg.host.errors import PluginClosedError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from extism_kernel_pkg.host.plugin import Plugin


class PooledPlugin:
    """A plug-in for as long as it was acquired; afterwards all but `cancel` raise `PluginClosedError`.

    So who keeps one reaches no plug-in that somebody else has acquired meanwhile. Its methods are those
    of `Plugin`.
    """

    def __init__(self, plugin: Plugin) -> None:
        self._plugin: Plugin | None = plugin
        self._lock = threading.Lock()
        self._running = 0

    @property
    def vars(self) -> MutableMapping[str, bytes]:
        """The plug-in's vars; the next user does not see them."""
        return self._open().vars

    def function_exists(self, name: str) -> bool:
        """Return whether `call` can call the export."""
        return self._open().function_exists(name)

    def call(self, name: str, data: bytes | str = b"", *, host_context: object = None) -> bytes:
        """Call an export with input and return its output. Raises `PluginError`."""
        plugin = self._begin()
        try:
            return plugin.call(name, data, host_context=host_context)
        finally:
            self._finish()

    async def call_async(self, name: str, data: bytes | str = b"", *, host_context: object = None) -> bytes:
        """`call` for asyncio."""
        plugin = self._begin()
        try:
            return await plugin.call_async(name, data, host_context=host_context)
        finally:
            self._finish()

    def cancel(self) -> bool:
        """Stop the call that runs; false if there is none."""
        with self._lock:
            return self._plugin is not None and self._plugin.cancel()

    def reset(self, *, with_vars: bool = False) -> None:
        """Begin with a new instance. Raises `PluginBusyError` during a call."""
        self._open().reset(with_vars=with_vars)

    def close(self) -> None:
        """Let the pool replace the plug-in, not reset it. Raises `PluginBusyError` during a call."""
        self._open().close()

    def end(self) -> bool:
        """End all use; return whether a call runs still, so that nobody else may get the plug-in."""
        with self._lock:
            self._plugin = None
            return self._running > 0

    def _begin(self) -> Plugin:
        with self._lock:
            plugin = self._open()
            self._running += 1
            return plugin

    def _finish(self) -> None:
        with self._lock:
            self._running -= 1

    def _open(self) -> Plugin:
        plugin = self._plugin
        if plugin is None:
            raise PluginClosedError(
                "this plug-in was given back to its pool", hint="use it inside the `with` that acquired it"
            )
        return plugin
