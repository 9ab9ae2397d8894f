"""Functions that an application offers its plug-ins: Python types on one side, handles on the other."""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, get_args, get_origin, overload

from extism_kernel_pkg.host.contract import (
    ENV_MODULE,
    HOST_FUNCTIONS,
    KERNEL_FUNCTIONS,
    OLD_ENV_MODULE,
    OLD_PREFIX,
    USER_MODULE,
    Exchange,
)
from extism_kernel_pkg.host.declarations import read_declaration
from extism_kernel_pkg.host.errors import HostFunctionError, PluginClosedError
from extism_kernel_pkg.host.text import bytes_of, utf8_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from extism_kernel_pkg.host.contract import Signature
    from extism_kernel_pkg.host.env import HostContext
    from extism_kernel_pkg.host.interrupt import Interrupter


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """How one Python value travels: `wasm` is its type there, the rest converts; `get` frees nothing."""

    wasm: str
    get: Callable[[Exchange, Any], Any]
    put: Callable[[Exchange, Any], Any]
    is_handle: bool = True


def _number(wasm: str, convert: Callable[[Any], Any]) -> Codec:
    def through(_: Exchange, value: Any) -> Any:  # noqa: ANN401 - a wasm number
        return convert(value)

    return Codec(wasm=wasm, get=through, put=through, is_handle=False)


def _integer(bits: int, *, is_signed: bool) -> Codec:
    def convert(value: Any) -> int:  # noqa: ANN401 - what an application returns
        number: int = operator.index(value)
        if not -(2 ** (bits - 1)) <= number < 2**bits:
            raise ValueError(f"{number} does not fit into {bits} bits")
        number %= 2**bits
        return number - 2**bits if is_signed and number >> (bits - 1) else number

    return _number(f"i{bits}", convert)


def _to_json(value: object) -> bytes:
    return utf8_of(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")))


_BYTES: Final = Codec(
    wasm="i64", get=lambda x, handle: x.peek(handle), put=lambda x, data: x.put(bytes_of(data))
)
_TEXT: Final = Codec(
    wasm="i64",
    get=lambda x, handle: x.peek_text(handle, "an argument"),
    put=lambda x, text: x.put(utf8_of(text)),
)
_JSON: Final = Codec(
    wasm="i64",
    get=lambda x, handle: json.loads(x.peek(handle) or b"null"),
    put=lambda x, value: x.put(_to_json(value)),
)

I32 = Annotated[int, _integer(32, is_signed=True)]
U32 = Annotated[int, _integer(32, is_signed=False)]
I64 = Annotated[int, _integer(64, is_signed=True)]
U64 = Annotated[int, _integer(64, is_signed=False)]
F32 = Annotated[float, _number("f32", float)]
F64 = Annotated[float, _number("f64", float)]
Json = Annotated[Any, _JSON]

_PLAIN: Final[dict[object, Codec]] = {
    bytes: _BYTES,
    str: _TEXT,
    int: _integer(64, is_signed=True),
    float: _number("f64", float),
}


class CurrentPlugin:
    """What a host function may do with the plug-in that calls it.

    It ends with that call: every method then raises `PluginClosedError`, as its handles mean nothing
    any more, or something else.
    """

    def __init__(self, exchange: Exchange, context: HostContext) -> None:
        self._kept: tuple[Exchange, Interrupter] | None = exchange, context.interrupter
        self.host_context = context.value
        """The object that was given to `Plugin.call`."""

    def _open(self) -> tuple[Exchange, Interrupter]:
        if self._kept is None:
            raise PluginClosedError(
                "this `CurrentPlugin` ended with the call that it was given to",
                hint="keep the bytes that were read, and give each host function a parameter of its own",
            )
        return self._kept

    @property
    def _exchange(self) -> Exchange:
        return self._open()[0]

    def end(self) -> None:
        """Let no method work any more; called when the host function has returned."""
        self._kept = None

    @property
    def time_left(self) -> float | None:
        """Seconds until the call's time limit, 0 when it is over; None without a limit."""
        return self._open()[1].remaining()

    @property
    def is_stopped(self) -> bool:
        """Whether the call was stopped meanwhile: by `cancel`, its task, or its time limit.

        What the host function returns then is not used. One that takes long should look at this now and
        then and return, for nothing else can end it.
        """
        return self._open()[1].is_stopped

    def read(self, handle: int) -> bytes:
        """Copy a block without freeing it, for handles that the guest keeps; 0 is the empty string.

        Raises `HostFunctionError` if no live block starts there.
        """
        return self._exchange.peek(handle)

    def write(self, data: bytes) -> int:
        """Place bytes in a new block, which the guest then owns, and return its handle; 0 for no bytes.

        Raises `PluginOutOfMemoryError`.
        """
        return self._exchange.put(data)

    def free(self, handle: int) -> None:
        """End a block; 0 and stale handles are ignored."""
        self._exchange.free(handle)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFunction:
    """One function of the application.

    Without a `namespace` it serves imports from `extism:host/user` and, for guests built before
    1.0, from `env`.
    """

    name: str
    run: Callable[..., Any]
    params: tuple[Codec, ...]
    result: Codec | None
    wants_plugin: bool
    namespace: str | None = None

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Return the modules under which guests may import it."""
        return (self.namespace,) if self.namespace else (USER_MODULE, OLD_ENV_MODULE)

    @property
    def signature(self) -> Signature:
        """Return the type of the import."""
        return tuple(codec.wasm for codec in self.params), (self.result.wasm,) if self.result else ()

    def call(self, exchange: Exchange, context: HostContext, *raw: Any) -> Any:  # noqa: ANN401 - wasm numbers
        """Take the arguments, run, and place the result.

        Handles are freed, for the host owns them, but after all were read: a guest may pass one twice.
        """
        values = [codec.get(exchange, value) for codec, value in zip(self.params, raw, strict=True)]
        for codec, value in zip(self.params, raw, strict=True):
            if codec.is_handle:
                exchange.free(value)
        if not self.wants_plugin:
            return self._put(exchange, self.run(*values))
        current = CurrentPlugin(exchange, context)
        try:
            result = self.run(current, *values)
        finally:
            current.end()
        return self._put(exchange, result)

    def _put(self, exchange: Exchange, result: Any) -> Any:  # noqa: ANN401 - a Python value in, a wasm number out
        if self.result is None:
            if isinstance(result, (Awaitable, Generator, AsyncGenerator)):
                if isinstance(result, (Coroutine, Generator)):
                    result.close()
                raise HostFunctionError(
                    f"`{self.name}` returned a `{type(result).__name__}`, which never ran"
                )
            return None
        try:
            return self.result.put(exchange, result)
        except (TypeError, ValueError) as error:
            raise HostFunctionError(f"`{self.name}` returned what cannot be passed on: {error}") from error

    def __call__(self, *args: Any, **more: Any) -> Any:  # noqa: ANN401 - as the function has it
        """Call the function as Python does, so that one that was decorated stays usable."""
        return self.run(*args, **more)


@overload
def host_function(
    run: Callable[..., Any], *, name: str | None = None, namespace: str | None = None
) -> HostFunction: ...


@overload
def host_function(
    *, name: str | None = None, namespace: str | None = None
) -> Callable[[Callable[..., Any]], HostFunction]: ...


def host_function(
    run: Callable[..., Any] | None = None, *, name: str | None = None, namespace: str | None = None
) -> HostFunction | Callable[[Callable[..., Any]], HostFunction]:
    """Make a host function from an annotated Python function; also as a decorator, with arguments or without.

    `bytes`, `str` (UTF-8) and `Json` travel as handles, `int` as signed i64, `float` as f64; `I32`, `U32`,
    `I64`, `U64`, `F32`, `F64` say so exactly. What the function raises ends the call: a `PluginError` as it
    is, all else as the cause of a `HostFunctionError`. A first parameter annotated `CurrentPlugin` receives
    the plug-in. Keyword-only parameters keep their defaults, and what `functools.partial` bound its value.
    Raises `TypeError` for anything else, generators and `async def` among it, and `ValueError` for a name
    of the kernel's own.
    """
    if run is None:
        return functools.partial(host_function, name=name, namespace=namespace)
    if isinstance(run, HostFunction):
        raise TypeError(f"`{run.name}` is a host function already")
    declared = read_declaration(run, name)
    name = declared.name
    is_old = namespace in {None, OLD_ENV_MODULE} and name.startswith(OLD_PREFIX)
    is_new = namespace == ENV_MODULE and name in {*KERNEL_FUNCTIONS, *HOST_FUNCTIONS}
    if is_old or is_new:
        raise ValueError(f"`{name}`: this and such names belong to the kernel and the host")
    typed = dict(declared.parameters)
    wants_plugin = next(iter(typed.values()), None) is CurrentPlugin
    if wants_plugin:
        del typed[next(iter(typed))]
    return HostFunction(
        name=name,
        run=run,
        params=tuple(_codec(name, parameter, hint) for parameter, hint in typed.items()),
        result=None if declared.result in {None, type(None)} else _codec(name, "the result", declared.result),
        wants_plugin=wants_plugin,
        namespace=namespace,
    )


def _codec(function: str, what: str, hint: object) -> Codec:
    if get_origin(hint) is Annotated:
        for extra in get_args(hint)[1:]:
            if isinstance(extra, Codec):
                return extra
    codec = _PLAIN.get(hint) if isinstance(hint, type) else None
    if hint is CurrentPlugin:
        raise TypeError(f"`{function}`: only the first parameter can be the `CurrentPlugin`")
    if codec is None:
        raise TypeError(
            f"`{function}`: {what} has the annotation {hint!r}; "
            "use bytes, str, int, float, Json, I32, U32, I64, U64, F32, F64"
        )
    return codec
