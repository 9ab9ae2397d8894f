"""One instance of a module whose calls are counted in fuel."""

from __future__ import annotations

from dataclasses import dataclass

import wasmtime

from build_tools.base.errors import ModuleMalformedError

PAGE_BYTES = 65_536
PLENTY = 1_000_000_000
"""Fuel of one call; a call that takes more is taken to have no end."""
U64 = (1 << 64) - 1


class CallFailedError(Exception):
    """A call trapped, or did not end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedModule:
    """A finished module to be measured: a kernel, or what is set beside one; `name` is for people."""

    name: str
    data: bytes


class Instance:
    """One instance with fuel, called by name. Results are unsigned."""

    def __init__(self, engine: wasmtime.Engine, module: wasmtime.Module, *, pages: int | None = None) -> None:
        self.store = wasmtime.Store(engine)
        if pages is not None:
            self.store.set_limits(memory_size=pages * PAGE_BYTES)
        self.store.set_fuel(PLENTY)
        self.exports = wasmtime.Instance(self.store, module, []).exports(self.store)
        memory = self.exports["memory"]
        if not isinstance(memory, wasmtime.Memory):
            raise ModuleMalformedError("`memory` is no memory", where="export section")
        self.memory = memory
        self._functions: dict[str, wasmtime.Func] = {}

    def call(self, name: str, *args: int) -> int:
        """Return what an export returns, 0 for nothing."""
        return self.count(name, *args)[0]

    def count(self, name: str, *args: int) -> tuple[int, int]:
        """Return what an export returns and the fuel that the call took. Raises CallFailedError."""
        function = self._functions.get(name) or self._find(name)
        self.store.set_fuel(PLENTY)
        try:
            value = function(self.store, *args)
        except wasmtime.Trap as trap:
            shown = ", ".join(map(str, args))
            is_endless = trap.trap_code == wasmtime.TrapCode.OUT_OF_FUEL
            reason = f"no end within {PLENTY:,} instructions" if is_endless else trap.message.splitlines()[-1]
            raise CallFailedError(f"{name}({shown}): {reason.strip()}") from None
        fuel = PLENTY - self.store.get_fuel()
        return (0 if value is None else int(value) & U64), fuel

    def _find(self, name: str) -> wasmtime.Func:
        function = self.exports.get(name)
        if not isinstance(function, wasmtime.Func):
            raise ModuleMalformedError(f"`{name}` is not exported as a function", where="export section")
        self._functions[name] = function
        return function


class Workshop:
    """Compiles a module once and makes instances of it."""

    def __init__(self, module: NamedModule) -> None:
        config = wasmtime.Config()
        config.consume_fuel = True
        self.engine = wasmtime.Engine(config)
        try:
            self.module = wasmtime.Module(self.engine, module.data)
        except wasmtime.WasmtimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ModuleMalformedError(f"is no valid module: {reason}", where=module.name) from None
        if self.module.imports:
            raise ModuleMalformedError("imports something, so it is no kernel", where=module.name)

    def instantiate(self, *, pages: int | None = None) -> Instance:
        """Return a fresh instance, its memory limited to `pages` if given."""
        return Instance(self.engine, self.module, pages=pages)
