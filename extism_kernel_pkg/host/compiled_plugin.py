"""`CompiledPlugin`: what is the same for all plug-ins from one manifest, made once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from extism_kernel_pkg import kernel_bytes
from extism_kernel_pkg.host.contract import MAIN_NAME, Signature
from extism_kernel_pkg.host.errors import CompilationError, KernelError, PluginLoadError
from extism_kernel_pkg.host.manifest import Manifest, change_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from extism_kernel_pkg.host.compiling import GuestModule
    from extism_kernel_pkg.host.functions import HostFunction
    from extism_kernel_pkg.host.linking import Plan
    from extism_kernel_pkg.host.sources import Source

_CALLABLE: Final[frozenset[Signature]] = frozenset({((), ()), ((), ("i32",))})
"""The types of exports that a host can call."""

_MOST_FUEL: Final = 2**62


def check_fuel_limit(limit: int | None) -> int | None:
    """Return a limit of fuel as it is. Raises `TypeError` or `ValueError`."""
    if limit is not None:
        if not isinstance(limit, int) or isinstance(limit, bool):
            raise TypeError(f"`fuel_limit` is a number, not `{type(limit).__name__}`")
        if not 1 <= limit <= _MOST_FUEL:
            raise ValueError(f"`fuel_limit` is {limit}, a number from 1 to 2^62 was expected")
    return limit


class CompiledPlugin:
    """A plug-in's modules and a kernel, read, checked and compiled. Safe to share between threads.

    `config` adds to the manifest's; this and more can also be chosen for each `Plugin`. `kernel`
    replaces the packaged kernel, for tests of kernels. What is compiled is kept for the next one from the
    same bytes, also for other processes if `cache_folder` is given: a folder that only this user can write.
    Raises `ManifestError`, `PluginLoadError`, `CacheFolderError`, or `KernelError` if that kernel does not
    compile.
    """

    def __init__(
        self,
        source: Source,
        *,
        config: Mapping[str, str] | None = None,
        cache_folder: Path | None = None,
        fuel_limit: int | None = None,
        kernel: bytes | None = None,
    ) -> None:
        from extism_kernel_pkg.host.compiling import compiler  # noqa: PLC0415 - see `host/__init__.py`
        from extism_kernel_pkg.host.sources import load_modules, read_manifest  # noqa: PLC0415

        self.manifest = change_manifest(read_manifest(source), config=config)
        self.fuel_limit = check_fuel_limit(fuel_limit)
        self._compiler = compiler(counts_fuel=fuel_limit is not None)
        self.has_own_kernel = kernel is None
        """Whether the kernel is the packaged one."""
        cache = None if cache_folder is None else self._compiler.open_cache(cache_folder)
        try:
            self._kernel = self._compiler.compile(kernel_bytes() if kernel is None else kernel, cache)
        except CompilationError as error:
            raise KernelError(f"the kernel does not compile: {error}") from None
        self._guests: dict[str, GuestModule] = {}
        try:
            for name, wasm in load_modules(self.manifest).items():
                self._guests[name] = self._compiler.compile(wasm, cache)
        except CompilationError as error:
            raise PluginLoadError(f"module `{name}` does not compile: {error}") from None
        self._compiler.prepare(self._guests)
        self.exports: Mapping[str, Signature] = self._guests[MAIN_NAME].functions
        """The types of the functions that the main module exports, by name."""
        self._last_plan: Plan | None = None
        self.callable = frozenset(name for name, kind in self.exports.items() if kind in _CALLABLE)
        """The names of those that a host can call."""

    def plan(self, manifest: Manifest, functions: Sequence[HostFunction]) -> Plan:
        """Return what goes into one instance of a plug-in with these limits and paths.

        Raises `PluginLoadError` if an import has no provider, `ManifestError` for a path that is no folder.
        """
        from extism_kernel_pkg.host.imports import check_plan, offer  # noqa: PLC0415
        from extism_kernel_pkg.host.linking import Plan  # noqa: PLC0415
        from extism_kernel_pkg.host.wasi import check_paths  # noqa: PLC0415

        check_paths(manifest.allowed_paths)
        functions, last = tuple(functions), self._last_plan
        if last is not None and last.manifest is manifest and last.functions == functions:
            return last
        plan = Plan(
            compiler=self._compiler,
            kernel=self._kernel,
            guests=self._guests,
            functions=functions,
            offered=offer(functions),
            manifest=manifest,
        )
        check_plan(plan)
        self._last_plan = plan
        return plan

    def choose_fuel_limit(self, given: int | None) -> int | None:
        """Return the limit of one plug-in: the given one, else that of this. Raises as `check_fuel_limit`."""
        if given is not None and self.fuel_limit is None:
            raise ValueError("code that counts fuel is compiled so: give `CompiledPlugin` a `fuel_limit` too")
        return self.fuel_limit if given is None else check_fuel_limit(given)

    def signature_fault(self, name: str) -> str | None:
        """Return why a host cannot call an export, or None if it can."""
        signature = self.exports.get(name)
        if signature is None:
            return f"function not found: `{name}` is not exported"
        params, results = signature
        if signature not in _CALLABLE:
            found = f"({', '.join(params)}) -> ({', '.join(results)})"
            return f"`{name}` is {found}, a host calls () -> i32 or () -> ()"
        return None
