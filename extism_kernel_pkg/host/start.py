"""Starting the guest's language runtime, once per instance, before its first function is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from extism_kernel_pkg.host.contract import Signature

_NOTHING: Final[Signature] = ((), ())
_HASKELL: Final[Signature] = (("i32", "i32"), ())
_CONSTRUCTORS: Final = ("__wasm_call_ctors", "_initialize")


def initialize_runtime(functions: Mapping[str, Signature], call: Callable[..., object]) -> None:
    """Call what the guest's tool chain left to the host.

    `functions` are the types of what the guest exports, `call` takes a name and arguments.

    - Haskell (`hs_init` is exported): `_initialize`, then `hs_init(0, 0)`.
    - Everybody else: `__wasm_call_ctors` if exported, else `_initialize` (a WASI reactor).

    An export of one of these names with another type is the plug-in's own affair and is left alone.
    `_start` is not called here: it is a function that a host may call like any other.
    """
    if functions.get("hs_init") == _HASKELL:
        if functions.get("_initialize") == _NOTHING:
            call("_initialize")
        call("hs_init", 0, 0)
        return
    first = next((name for name in _CONSTRUCTORS if name in functions), None)
    if first is not None and functions[first] == _NOTHING:
        call(first)
