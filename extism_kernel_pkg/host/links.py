"""Functions that modules import from each other in a circle: called through a table that is filled later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from extism_kernel_pkg.host.errors import PluginLoadError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from extism_kernel_pkg.host.calls import Extern, StoreCalls
    from extism_kernel_pkg.host.capi import Code
    from extism_kernel_pkg.host.compiling import GuestModule
    from extism_kernel_pkg.host.contract import Signature

_NAMEABLE: Final = frozenset({"i32", "i64", "f32", "f64", "v128", "funcref", "externref"})


def later_module(signature: Signature) -> str:
    """Return a module whose `function` calls what is in its `table`."""
    params, results = signature
    given = "".join(f"(local.get {at})" for at in range(len(params)))
    return f"""(module
      (type $type (func {_types("param", params)} {_types("result", results)}))
      (table (export "table") 1 funcref)
      (func (export "function") (type $type) {given} (call_indirect (type $type) (i32.const 0))))"""


def fill_module(signature: Signature) -> str:
    """Return a module that puts a function into such a table."""
    params, results = signature
    return f"""(module
      (import "provider" "function" (func $it {_types("param", params)} {_types("result", results)}))
      (import "later" "table" (table 1 funcref))
      (elem (i32.const 0) func $it))"""


def _types(kind: str, names: tuple[str, ...]) -> str:
    return f"({kind} {' '.join(names)})" if names else ""


def find_circular(guests: Mapping[str, GuestModule]) -> set[Signature]:
    """Return the types of functions imported from a module which, perhaps through others, imports back."""
    named = {name: {module for module, _ in guest.imported} & guests.keys() for name, guest in guests.items()}

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        new = {start}
        while new:
            found |= new
            new = {other for name in new for other in named[name]} - found
        return found

    reach = {name: reached(name) for name in guests} if any(named.values()) else {}
    return {
        signature
        for importer, guest in guests.items()
        for (module, _), signature in guest.imported.items()
        if importer in reach.get(module, ()) and is_nameable(signature)
    }


def is_nameable(signature: Signature) -> bool:
    """Return whether another module can name the types."""
    return _NAMEABLE.issuperset(signature[0] + signature[1])


class LaterFunctions:
    """Stands in for the functions of modules that are not instantiated yet."""

    def __init__(self, calls: StoreCalls, compile_text: Callable[[str], Code]) -> None:
        self._calls = calls
        self._compile = compile_text
        self._made: dict[tuple[str, str, Signature], Any] = {}

    def find(self, module: str, name: str, signature: Signature) -> Extern:
        """Return a function that calls a later one; it traps if that is not there yet.

        Raises `PluginLoadError` for a type that only the modules themselves can name.
        """
        if not is_nameable(signature):
            raise PluginLoadError(f"`{module}` `{name}` is imported in a circle, with types of objects")
        key = module, name, signature
        if key not in self._made:
            self._made[key] = self._calls.instantiate(self._compile(later_module(signature)), ())
        return self._calls.export(self._made[key], "function")

    def fill(self, module: str, export: Callable[[str], Extern | None]) -> None:
        """Let the functions that stand in for those of a module call them. Raises `CallEndedError`."""
        for (provider, name, signature), instance in self._made.items():
            if provider == module:
                found = export(name)
                if found is None:
                    raise PluginLoadError(f"`{module}` exports no `{name}`, which is imported from it")
                given = [found, self._calls.export(instance, "table")]
                self._calls.instantiate(self._compile(fill_module(signature)), given)
