"""Everything that can go wrong between a host and a plug-in, as one family of errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from extism_kernel_pkg.host.evidence import render_evidence
from extism_kernel_pkg.host.text import printable

if TYPE_CHECKING:
    from extism_kernel_pkg.host.evidence import Frame, KernelUse, LimitUse


class PluginError(Exception):
    """Base of all errors of the host; `str()` of it is the message, `render()` adds place and remedy.

    `code` is stable, in kebab-case. `Plugin.call` says after which of them the next call gets a new
    instance. What is known of the call that it ended: the guest's `frames`, innermost first; the last lines
    of `stdout` and `stderr`, escaped; the `limits` and how much of them was used; what the `kernel` held.
    """

    code = "plugin-error"
    frames: tuple[Frame, ...] = ()
    stdout: tuple[str, ...] = ()
    stderr: tuple[str, ...] = ()
    limits: tuple[LimitUse, ...] = ()
    kernel: KernelUse | None = None

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """Let errors cross processes: most classes make their message of other arguments than it."""
        return _restore, (type(self), self.args, self.__dict__)

    def render(self) -> str:
        """Return the error as a person reads it: what is wrong, where, what is known of the call, what to do.

        The message may be the guest's, so it is escaped, but for the ends of its lines.
        """
        message = "\n  ".join(printable(line) for line in self.message.splitlines())
        lines = [f"error[{self.code}]: {message}"]
        if self.where:
            lines.append(f"  at: {self.where}")
        lines += render_evidence(
            frames=self.frames,
            stdout=self.stdout,
            stderr=self.stderr,
            limits=self.limits,
            kernel=self.kernel,
        )
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)


def _restore(kind: type[PluginError], args: tuple[Any, ...], state: dict[str, Any]) -> PluginError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class ManifestError(PluginError):
    """The manifest is malformed, or names a module that cannot be had."""

    code = "manifest-invalid"


class PluginLoadError(PluginError):
    """A module does not compile, or imports something that no one provides."""

    code = "plugin-invalid"


class CompilationError(PluginLoadError):
    """A module does not compile; the message is the runtime's."""


class CacheFolderError(PluginError):
    """The folder for compiled code cannot be used, or other users could write there."""

    code = "cache-folder"


class FunctionNotFoundError(PluginError):
    """The plug-in exports no function of that name that a host can call."""

    code = "function-missing"


class GuestError(PluginError):
    """The guest reported an error of its own through `error_set`; the message is the guest's."""

    code = "guest-error"


class PluginExitError(PluginError):
    """The guest's function returned a result other than 0, or passed one to `proc_exit`: the `status`."""

    code = "guest-exit"

    def __init__(self, function: str, status: int) -> None:
        super().__init__(
            f"`{function}` returned non-zero exit code: {status}", hint="the plug-in set no error message"
        )
        self.status = status


class PluginTrapError(PluginError):
    """The guest trapped; `trap` is the runtime's name for the kind, such as `unreachable`."""

    code = "guest-trap"

    def __init__(self, function: str, trap: str, *, hint: str | None = None) -> None:
        super().__init__(f"`{function}` trapped: {trap}", hint=hint)
        self.trap = trap


class PluginTimeoutError(PluginError):
    """The call took longer than `timeout_ms`, counting what the host did for it."""

    code = "timeout"

    def __init__(self, function: str, timeout_ms: int | None) -> None:
        super().__init__(
            f"timeout: `{function}` was stopped after {timeout_ms} ms",
            hint="raise `timeout_ms` in the manifest if the plug-in may take longer",
        )


class PluginFuelError(PluginError):
    """The guest used up its `fuel_limit`."""

    code = "fuel"

    def __init__(self, function: str, fuel_limit: int | None) -> None:
        super().__init__(
            f"fuel: `{function}` was stopped after {fuel_limit} units",
            hint="raise `fuel_limit` if the plug-in may run longer; a unit is about one instruction",
        )


class PluginCancelledError(PluginError):
    """Another thread called `cancel()`."""

    code = "cancelled"

    def __init__(self, function: str) -> None:
        super().__init__(f"cancelled: `{function}` was stopped by `cancel()`")


class PluginOutOfMemoryError(PluginError):
    """Memory was refused: by `memory.max_pages`, or because 4 GiB were used up."""

    code = "oom"

    def __init__(self, message: str, *, max_pages: int | None) -> None:
        limit = f"`memory.max_pages` is {max_pages}, for kernel and plug-in together"
        hint = limit if max_pages is not None else None
        super().__init__(f"oom: {message}", hint=hint)


class HostFunctionError(PluginError):
    """A host function refused what the guest asked for, or failed; it ends the call."""

    code = "host-function"


class HttpDeniedError(HostFunctionError):
    """The guest asked for a host that `allowed_hosts` does not name."""

    code = "http-denied"

    def __init__(self, url: str, *, redirected: bool) -> None:
        how = "redirect" if redirected else "request"
        super().__init__(
            f"HTTP {how} to {url} is not allowed",
            hint="add the host to `allowed_hosts` in the manifest",
        )


class StackTooSmallError(PluginError):
    """The thread's stack is smaller than what a guest may use."""

    code = "stack-too-small"


class PluginBusyError(PluginError):
    """The plug-in is serving a call; an instance serves one call at a time."""

    code = "plugin-busy"

    def __init__(self) -> None:
        super().__init__(
            "cannot make reentrant calls into plugin",
            hint="make one `Plugin` per thread from one `CompiledPlugin`, or use a `PluginPool`",
        )


class PluginClosedError(PluginError):
    """The plug-in was closed."""

    code = "plugin-closed"


class PoolTimeoutError(PluginError):
    """No plug-in of a pool became free in time."""

    code = "pool-timeout"

    def __init__(self, size: int, timeout: float) -> None:
        super().__init__(
            f"none of the pool's {size} plug-ins became free within {timeout:g} s",
            hint="give the pool a larger `size`, or `acquire` a longer `timeout`",
        )


class KernelError(PluginError):
    """The kernel broke the contract: an export is missing, trapped, or described memory that is not there."""

    code = "kernel-broken"
