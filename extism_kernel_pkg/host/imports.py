"""What a plug-in imports and an application offers, held against each other before anything is linked."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from extism_kernel_pkg.host.contract import (
    ENV_MODULE,
    HOST_FUNCTIONS,
    KERNEL_FUNCTIONS,
    NOT_IN_OLD_ENV,
    OLD_ENV_MODULE,
    OLD_PREFIX,
    USER_MODULE,
)
from extism_kernel_pkg.host.errors import PluginLoadError
from extism_kernel_pkg.host.functions import HostFunction
from extism_kernel_pkg.host.wasi import WASI_MODULE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from extism_kernel_pkg.host.linking import Plan

_ENV: Final = frozenset({*KERNEL_FUNCTIONS, *HOST_FUNCTIONS})
_OLD_ENV: Final = {OLD_PREFIX + name: name for name in _ENV - NOT_IN_OLD_ENV}
OWN: Final = {(ENV_MODULE, name): name for name in _ENV} | {
    (OLD_ENV_MODULE, old): name for old, name in _OLD_ENV.items()
}
"""Which function of the kernel or the host an import of either generation means, by module and name."""
_BINDGEN: Final = "wasm-bindgen's glue for JavaScript; find who needs it with `cargo tree -i wasm-bindgen`"
_FOREIGN: Final = {
    "wbg": _BINDGEN,
    "__wbindgen": _BINDGEN,
    "gojs": "Go's glue for JavaScript; build with `GOOS=wasip1`",
    "go": "Go's glue for JavaScript; build with `GOOS=wasip1`",
    "wasi_unstable": "WASI before preview 1; build with a newer toolchain",
    "wasi:": "WASI 0.2, for components; build for `wasm32-wasip1`",
    "GOT.": "dynamic linking; link statically",
}
"""Modules that no Extism host offers, by how their names begin, and what to do about them."""
_FOREIGN_ENV: Final = {
    "abort": "AssemblyScript's; give asc `--use abort=` and a function of yours",
    "emscripten_": "Emscripten's; build with `-sSTANDALONE_WASM`",
    "__wbindgen": _BINDGEN,
}


def check_plan(plan: Plan) -> None:
    """Raise `PluginLoadError` with every import that no one provides, not the runtime's first one only."""
    for name, guest in plan.guests.items():
        missing = []
        for module, imported, kind in guest.imports:
            if module == ENV_MODULE and kind != "func":
                raise PluginLoadError(
                    f"`{name}` imports `{imported}`, but only functions of the kernel are shared"
                )
            if module == WASI_MODULE or module in plan.guests or (module, imported) in OWN:
                continue
            if (module, imported) not in plan.offered:
                missing.append((module, imported))
        if missing:
            raise _missing(name, missing, plan.functions)


def offer(functions: Sequence[HostFunction]) -> dict[tuple[str, str], HostFunction]:
    """Return an application's functions by module and name, as guests import them.

    Raises `PluginLoadError` for two of one name, `TypeError` for what was not made with `host_function`.
    """
    offered: dict[tuple[str, str], HostFunction] = {}
    for item in functions:
        if not isinstance(item, HostFunction):
            raise TypeError(f"{item!r} is no host function; pass `host_function(...)` of it")
        for namespace in item.namespaces:
            if (namespace, item.name) in offered:
                raise PluginLoadError(
                    f"two functions are offered as `{namespace}` `{item.name}`",
                    hint="give one of them another `name` or `namespace`",
                )
            offered[namespace, item.name] = item
    return offered


def _missing(
    importer: str, missing: Sequence[tuple[str, str]], functions: Sequence[HostFunction]
) -> PluginLoadError:
    parts, is_explained = [], True
    for module, name in missing:
        reason = _explain(module, name, functions)
        parts.append(f"`{module}` `{name}`" + (f" ({reason})" if reason else ""))
        is_explained = is_explained and reason is not None
    return PluginLoadError(
        f"`{importer}` imports what no one provides: {', '.join(parts)}",
        hint=None
        if is_explained
        else "pass the application's own functions as `functions=[host_function(...)]`",
    )


def _explain(module: str, name: str, functions: Sequence[HostFunction]) -> str | None:
    """Return what an import is that no one provides, or None if it may well be the application's."""
    own = {item.name: item.namespaces[0] for item in functions}
    reason = None
    if module == ENV_MODULE:
        reason = _explain_env(name, own)
    elif name.startswith(OLD_PREFIX) and name.removeprefix(OLD_PREFIX) in NOT_IN_OLD_ENV:
        reason = f"since 1.0, as `{ENV_MODULE}` `{name.removeprefix(OLD_PREFIX)}`; build with a newer PDK"
    elif module == OLD_ENV_MODULE and name.startswith(OLD_PREFIX):
        reason = f"no function of the kernel or the host{_similar(name, _OLD_ENV)}"
    elif name in _ENV and module in {OLD_ENV_MODULE, USER_MODULE}:
        reason = f"a function of Extism; import it from `{ENV_MODULE}`"
    elif name in own:
        reason = f"offered as `{own[name]}` `{name}`"
    else:
        known = _FOREIGN_ENV if module == OLD_ENV_MODULE else _FOREIGN
        subject = name if module == OLD_ENV_MODULE else module
        reason = next((text for prefix, text in known.items() if subject.startswith(prefix)), None)
        reason = reason or _similar(name, own).removeprefix("; ") or None
    return reason


def _explain_env(name: str, own: dict[str, str]) -> str:
    if name.removeprefix(OLD_PREFIX) in _ENV:
        return f"the name of before 1.0; now `{name.removeprefix(OLD_PREFIX)}`"
    if name in own:
        return f"the application's, offered as `{own[name]}` `{name}`"
    return f"no function of the kernel or the host{_similar(name, _ENV)}"


def _similar(name: str, names: Iterable[str]) -> str:
    close = get_close_matches(name, sorted(names), n=1)
    return f"; did you mean `{close[0]}`?" if close else ""
