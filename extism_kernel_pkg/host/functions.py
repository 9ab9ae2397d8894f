"""Functions that an application offers its plug-ins: Python types on one side, handles on the other."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, get_args, get_origin, get_type_hints

from extism_kernel_pkg.host.contract import (
    ENV_MODULE,
    HOST_FUNCTIONS,
    KERNEL_FUNCTIONS,
    OLD_ENV_MODULE,
    OLD_PREFIX,
    USER_MODULE,
    Exchange,
)

if TYPE_CHECKING:
    from collections.abc import Callable


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


def _unsigned(bits: int) -> Callable[[int], int]:
    return lambda value: int(value) & (2**bits - 1)


def _signed(bits: int) -> Callable[[int], int]:
    return lambda value: (int(value) + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)


_BYTES: Final = Codec(
    wasm="i64", get=lambda x, handle: x.peek(handle), put=lambda x, data: x.put(bytes(data))
)
_TEXT: Final = Codec(
    wasm="i64",
    get=lambda x, handle: x.peek_text(handle, "an argument"),
    put=lambda x, text: x.put(text.encode()),
)
_JSON: Final = Codec(
    wasm="i64",
    get=lambda x, handle: json.loads(x.peek(handle) or b"null"),
    put=lambda x, value: x.put(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()),
)

I32 = Annotated[int, _number("i32", _signed(32))]
U32 = Annotated[int, _number("i32", _unsigned(32))]
I64 = Annotated[int, _number("i64", _signed(64))]
U64 = Annotated[int, _number("i64", _unsigned(64))]
F32 = Annotated[float, _number("f32", float)]
F64 = Annotated[float, _number("f64", float)]
Json = Annotated[Any, _JSON]

_PLAIN: Final[dict[object, Codec]] = {
    bytes: _BYTES,
    str: _TEXT,
    int: _number("i64", _signed(64)),
    float: _number("f64", float),
}


class CurrentPlugin:
    """What a host function may do with the plug-in that calls it; valid during that call only."""

    def __init__(self, exchange: Exchange, host_context: object) -> None:
        self._exchange = exchange
        self.host_context = host_context
        """The object that was given to `Plugin.call`."""

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

    def call(self, exchange: Exchange, host_context: object, *raw: Any) -> Any:  # noqa: ANN401 - wasm numbers
        """Take the arguments, run, and place the result.

        Handles are freed, for the host owns them, but after all were read: a guest may pass one twice.
        """
        values = [codec.get(exchange, value) for codec, value in zip(self.params, raw, strict=True)]
        for codec, value in zip(self.params, raw, strict=True):
            if codec.is_handle:
                exchange.free(value)
        if self.wants_plugin:
            values.insert(0, CurrentPlugin(exchange, host_context))
        result = self.run(*values)
        return None if self.result is None else self.result.put(exchange, result)


def host_function(
    run: Callable[..., Any], *, name: str | None = None, namespace: str | None = None
) -> HostFunction:
    """Make a host function from an annotated Python function.

    `bytes`, `str` (UTF-8) and `Json` travel as handles, `int` as signed i64, `float` as f64; `I32`, `U32`,
    `I64`, `U64`, `F32`, `F64` say so exactly. What the function raises ends the call: a `PluginError` as it
    is, all else as the cause of a `HostFunctionError`. A first parameter annotated `CurrentPlugin` receives
    the plug-in. Raises `TypeError` for anything else, and `ValueError` for a name of the kernel's own.
    """
    name = name or run.__name__
    is_old = namespace in {None, OLD_ENV_MODULE} and name.startswith(OLD_PREFIX)
    is_new = namespace == ENV_MODULE and name in {*KERNEL_FUNCTIONS, *HOST_FUNCTIONS}
    if is_old or is_new:
        raise ValueError(f"`{name}`: this and such names belong to the kernel and the host")
    hints = get_type_hints(run, include_extras=True)
    parameters = list(inspect.signature(run).parameters)
    wants_plugin = bool(parameters) and hints.get(parameters[0]) is CurrentPlugin
    typed = parameters[1:] if wants_plugin else parameters
    result = hints.get("return", type(None))
    return HostFunction(
        name=name,
        run=run,
        params=tuple(_codec(name, parameter, hints.get(parameter)) for parameter in typed),
        result=None if result is type(None) else _codec(name, "the result", result),
        wants_plugin=wants_plugin,
        namespace=namespace,
    )


def _codec(function: str, what: str, hint: object) -> Codec:
    if get_origin(hint) is Annotated:
        for extra in get_args(hint)[1:]:
            if isinstance(extra, Codec):
                return extra
    codec = _PLAIN.get(hint)
    if codec is None:
        raise TypeError(
            f"`{function}`: {what} has the annotation {hint!r}; "
            "use bytes, str, int, float, Json, I32, U32, I64, U64, F32, F64"
        )
    return codec
