"""Facts about a module: what it has and which features it uses.

`extism_kernel_pkg._wasm` reads structure, `build_tools.wasm.code` instructions. Neither judges: whether a
module is valid is wasmtime's word (`find_invalidity`).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import wasmtime

from build_tools.base.errors import ModuleMalformedError, NotAModuleError
from build_tools.wasm.code import NO_CODE, Code, read_code
from build_tools.wasm.features import MVP, declared_features
from extism_kernel_pkg import _wasm
from extism_kernel_pkg._wasm import HEADER, MAGIC

if TYPE_CHECKING:
    from collections.abc import Mapping

COMPONENT_LAYER = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One export; `type` is `(i64) -> i64`, `mut externref`, `memory`, `table` or `tag`."""

    name: str
    kind: str
    index: int
    type: str


@dataclass(frozen=True, kw_only=True)  # no slots: some of its values are found when they are asked for
class Module:
    """What a module says about itself; nothing here has been judged.

    The stages of a build hand it on, so that each string of bytes is parsed once. `fault` is why it could
    not be read, or `None`; `parts` and `code` are then empty.
    """

    data: bytes = field(repr=False)
    parts: _wasm.Module
    code: Code
    fault: str | None

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return len(self.data)

    @functools.cached_property
    def exports(self) -> tuple[Export, ...]:
        """The exports with their types."""
        return tuple(
            Export(name=entry.name, kind=entry.kind, index=entry.index, type=self._type(entry))
            for entry in self.parts.exports
        )

    @functools.cached_property
    def imports(self) -> tuple[str, ...]:
        """The imports, each as `module.name (kind)`."""
        return tuple(f"{entry.module}.{entry.name} ({entry.kind})" for entry in self.parts.imports)

    @functools.cached_property
    def features(self) -> Mapping[str, str]:
        """The features that it needs beyond the MVP, by name, each with the first place that needs it."""
        features = dict(self.code.features)
        for feature, place in declared_features(self.parts):
            if feature != MVP:
                features.setdefault(feature, place)
        return dict(sorted(features.items()))

    @functools.cached_property
    def invalidity(self) -> str | None:
        """Why the module is not valid, or `None`: what wasmtime says, or that it could not be read."""
        return find_invalidity(self.data) or self.fault

    def _type(self, export: _wasm.Export) -> str:
        if export.kind == "func":
            types = self.parts.function_types
            return str(types[export.index]) if export.index < len(types) else "unknown"
        if export.kind == "global":
            imported = [entry.type for entry in self.parts.imports if entry.kind == "global"]
            types_of_globals = [*imported, *(entry.type for entry in self.parts.globals)]
            return types_of_globals[export.index] if export.index < len(types_of_globals) else "unknown"
        return export.kind


def check_header(data: bytes) -> None:
    """Raise `NotAModuleError` or `ModuleMalformedError` unless `data` starts as a core module does."""
    if not data:
        raise NotAModuleError("the file is empty", where="byte 0", hint="name a `.wasm` file")
    if not data.startswith(MAGIC[: len(data)]):
        raise NotAModuleError(
            f"starts with {data[:4]!r}, a WebAssembly module starts with {MAGIC!r}",
            where="byte 0",
            hint="name a `.wasm` file; text format is turned into one with wat2wasm",
        )
    if len(data) < len(HEADER):
        where = f"byte {len(data)}"
        raise ModuleMalformedError(f"ends after {len(data)} bytes, inside the header", where=where)
    if data[:8] != HEADER:
        if data[6] == COMPONENT_LAYER:
            raise NotAModuleError("is a component, not a core module", where="byte 4")
        number = int.from_bytes(data[4:8], "little")
        raise ModuleMalformedError(f"has binary version {number}, this is 1", where="byte 4")


def find_invalidity(data: bytes) -> str | None:
    """Return why wasmtime, with its default features, refuses a module, or `None` if it is valid."""
    config = wasmtime.Config()
    config.wasm_threads = True  # so that only the feature is named, not a parse error
    config.wasm_multi_memory = True
    config.wasm_memory64 = True
    try:
        wasmtime.Module.validate(wasmtime.Engine(config), data)
    except wasmtime.WasmtimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return "; ".join(dict.fromkeys(lines))
    return None


def parse_module(data: bytes) -> Module:
    """Return the facts of a module.

    Raises `NotAModuleError` for bytes of another kind and `ModuleMalformedError` for a broken header. A fault
    further inside is the module's `fault`.
    """
    check_header(data)
    try:
        parts = _wasm.read_module(data)
    except _wasm.InvalidModuleError as error:
        return Module(data=data, parts=_wasm.Module(HEADER), code=NO_CODE, fault=str(error))
    code = read_code(data)
    return Module(data=data, parts=parts, code=code, fault="; ".join(code.faults) or None)
