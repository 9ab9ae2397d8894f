"""`CompiledPlugin`: what is the same for all plug-ins from one manifest, made once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from extism_kernel_pkg import kernel_bytes
from extism_kernel_pkg.host.contract import MAIN_NAME, Signature
from extism_kernel_pkg.host.errors import CompilationError, KernelError, PluginLoadError
from extism_kernel_pkg.host.manifest import Manifest, change_manifest
from extism_kernel_pkg.host.sources import Source, load_modules, read_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from extism_kernel_pkg.host.compiling import GuestModule
    from extism_kernel_pkg.host.functions import HostFunction
    from extism_kernel_pkg.host.linking import Plan

_CALLABLE: Final[frozenset[Signature]] = frozenset({((), ()), ((), ("i32",))})
"""The types of exports that a host can call."""


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
        kernel: bytes | None = None,
    ) -> None:
        from extism_kernel_pkg.host.compiling import compiler  # noqa: PLC0415 - see `host/__init__.py`

        self.manifest = change_manifest(read_manifest(source), config=config)
        self._compiler = compiler()
        cache = None if cache_folder is None else self._compiler.open_cache(cache_folder)
        try:
            self._kernel = self._compiler.compile(kernel_bytes() if kernel is None else kernel, cache).module
        except CompilationError as error:
            raise KernelError(f"the kernel does not compile: {error}") from None
        self._guests: dict[str, GuestModule] = {}
        try:
            for name, wasm in load_modules(self.manifest).items():
                self._guests[name] = self._compiler.compile(wasm, cache)
        except CompilationError as error:
            raise PluginLoadError(f"module `{name}` does not compile: {error}") from None
        self._compiler.compile_gate(self._guests.values())
        self.exports: Mapping[str, Signature] = self._guests[MAIN_NAME].functions
        """The types of the functions that the main module exports, by name."""
        self.callable = frozenset(name for name, kind in self.exports.items() if kind in _CALLABLE)
        """The names of those that a host can call."""

    def plan(self, manifest: Manifest, functions: Sequence[HostFunction]) -> Plan:
        """Return what goes into one instance of a plug-in with these limits and paths.

        Raises `PluginLoadError` if an import has no provider, `ManifestError` for a path that is no folder.
        """
        from extism_kernel_pkg.host.imports import check_plan  # noqa: PLC0415
        from extism_kernel_pkg.host.linking import Plan  # noqa: PLC0415

        plan = Plan(
            compiler=self._compiler,
            kernel=self._kernel,
            guests=self._guests,
            functions=functions,
            allowed_paths=manifest.allowed_paths,
            max_pages=manifest.memory.max_pages,
        )
        check_plan(plan)
        return plan

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
