"""Starting the guest's language runtime, once per instance, before its first function is called."""

from __future__ import annotations

from typing import Final

from wasmtime import Func, Instance, Store

_CONSTRUCTORS: Final = ("__wasm_call_ctors", "_initialize")


def initialize_runtime(instance: Instance, store: Store) -> None:
    """Call what the guest's tool chain left to the host.

    - Haskell (`hs_init` is exported): `_initialize`, then `hs_init(0, 0)`.
    - Everybody else: `__wasm_call_ctors` if exported, else `_initialize` (a WASI reactor).

    An export of one of these names with another type is the plug-in's own affair and is left alone.
    `_start` is not called here: it is a function that a host may call like any other.
    """
    exports = instance.exports(store)
    haskell = exports.get("hs_init")
    if isinstance(haskell, Func):
        reactor = exports.get("_initialize")
        if isinstance(reactor, Func) and _takes_nothing(reactor, store):
            reactor(store)
        haskell(store, 0, 0)
        return
    for name in _CONSTRUCTORS:
        function = exports.get(name)
        if isinstance(function, Func):
            if _takes_nothing(function, store):
                function(store)
            return


def _takes_nothing(function: Func, store: Store) -> bool:
    kind = function.type(store)
    return not kind.params and not kind.results
