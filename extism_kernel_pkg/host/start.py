"""Starting the guest's language runtime, once per instance, before its first function is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wasmtime import Func, Instance, Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from extism_kernel_pkg.host.contract import Signature

_NOTHING: Final[Signature] = ((), ())
_HASKELL: Final[Signature] = (("i32", "i32"), ())
_CONSTRUCTORS: Final = ("__wasm_call_ctors", "_initialize")


def initialize_runtime(instance: Instance, store: Store, functions: Mapping[str, Signature]) -> None:
    """Call what the guest's tool chain left to the host; `functions` are the types of what it exports.

    - Haskell (`hs_init` is exported): `_initialize`, then `hs_init(0, 0)`.
    - Everybody else: `__wasm_call_ctors` if exported, else `_initialize` (a WASI reactor).

    An export of one of these names with another type is the plug-in's own affair and is left alone.
    `_start` is not called here: it is a function that a host may call like any other.
    """
    exports = instance.exports(store)

    def call(name: str, signature: Signature, *args: int) -> None:
        function = exports.get(name)
        if functions.get(name) == signature and isinstance(function, Func):
            function(store, *args)

    if functions.get("hs_init") == _HASKELL:
        call("_initialize", _NOTHING)
        call("hs_init", _HASKELL, 0, 0)
        return
    first = next((name for name in _CONSTRUCTORS if name in functions), None)
    if first is not None:
        call(first, _NOTHING)
