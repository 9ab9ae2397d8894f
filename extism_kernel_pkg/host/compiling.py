"""Compiled code: one engine per process, and the modules that were compiled with it last."""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wasmtime import Config, Engine, Module, WasmtimeError

from extism_kernel_pkg import _wasm
from extism_kernel_pkg.host.calls import FunctionTypes
from extism_kernel_pkg.host.capi import Code, address_of
from extism_kernel_pkg.host.errors import CompilationError
from extism_kernel_pkg.host.gate import GATE, pages_module
from extism_kernel_pkg.host.interrupt import HEARTBEAT
from extism_kernel_pkg.host.kernel_use import COUNTER
from extism_kernel_pkg.host.links import fill_module, find_circular, later_module
from extism_kernel_pkg.host.memories import export_memories
from extism_kernel_pkg.host.signatures import read_imported_signatures, read_signatures
from extism_kernel_pkg.host.stacks import WASM_STACK
from extism_kernel_pkg.host.wasi import WASI_MODULE
from extism_kernel_pkg.host.wasi_files import REAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from extism_kernel_pkg.host.contract import Signature
    from extism_kernel_pkg.host.disk_cache import DiskCache
    from extism_kernel_pkg.host.memories import DefinedMemory

_KEPT_MODULES: Final = 64
_KEPT_BYTES: Final = 64 * 2**20
"""How much is kept for the next plug-in from the same bytes, counted in bytes of WebAssembly."""

_DETAILS: Final = "WASMTIME_BACKTRACE_DETAILS"

_IMPORTED_IN: Final = os.getpid()
"""A process forked from it lacks the threads of the compiler, and would wait for them for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestModule:
    """A compiled module, what it defines that is limited, and what it imports and exports."""

    code: Code
    memories: Sequence[DefinedMemory]
    tables: int
    has_objects: bool
    """Whether it can make garbage-collected objects."""
    functions: Mapping[str, Signature]
    imports: Sequence[tuple[str, str, str]]
    """Module, name and kind (as in `_wasm.Import`) of each import, in their order."""
    imported: Mapping[tuple[str, str], Signature]
    """The types of the functions among them."""
    uses_wasi: bool


class Compiler:
    """One engine, with the features that today's SDKs enable; shared memory stays off. Thread-safe.

    All plug-ins of a process share it. Its epoch is no plug-in's own: a tick makes every running guest
    ask its host whether it was meant.
    """

    def __init__(self, *, counts_fuel: bool = False) -> None:
        config = _config_with_lines()
        config.max_wasm_stack = WASM_STACK
        config.consume_fuel = counts_fuel
        config.epoch_interruption = True
        config.wasm_exceptions = True
        config.wasm_function_references = True
        config.wasm_gc = True
        config.wasm_tail_call = True
        config.parallel_compilation = os.getpid() == _IMPORTED_IN
        self.engine = Engine(config)
        self.engine_address = address_of(self.engine)
        self.types = FunctionTypes()
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, tuple[GuestModule, int]] = OrderedDict()
        self._kept_bytes = 0
        self._fingerprint: bytes | None = None

    def compile(self, wasm: bytes, cache: DiskCache | None = None) -> GuestModule:
        """Return the compiled module, perhaps one that was compiled before. Raises `CompilationError`."""
        key = hashlib.sha256(wasm).digest()
        kept = self._find_kept(key)
        if kept is not None:
            if cache is not None and not cache.has(key):
                cache.write(key, kept.code.module)
            return kept
        made = _outside_main_thread(lambda: self._make(wasm, key, cache))
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made, len(wasm)
                self._kept_bytes += len(wasm)
            while len(self._kept) > _KEPT_MODULES or self._kept_bytes > _KEPT_BYTES:
                _, (_, size) = self._kept.popitem(last=False)
                self._kept_bytes -= size
        return made

    def _find_kept(self, key: bytes) -> GuestModule | None:
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def _make(self, wasm: bytes, key: bytes, cache: DiskCache | None) -> GuestModule:
        cached = cache.find(key) if cache is not None else None
        module = cached or self._compile(wasm)  # before it is read, for this says whether it is valid
        try:
            parts = _wasm.Module(wasm)
            exported, memories = export_memories(parts)
            functions, imported = read_signatures(parts), read_imported_signatures(parts)
            tables, has_objects = len(parts.tables), None in parts.types
            imports = [(entry.module, entry.name, entry.kind) for entry in parts.imports]
        except _wasm.InvalidModuleError as error:
            raise CompilationError(f"is not understood: {error}") from None
        if cached is None:
            if exported is not wasm:
                module = Module(self.engine, exported)
            if cache is not None:
                cache.write(key, module)
        return GuestModule(
            code=Code(module),
            memories=memories,
            tables=tables,
            has_objects=has_objects,
            functions=functions,
            imports=imports,
            imported=imported,
            uses_wasi=any(module == WASI_MODULE for module, _, _ in imports),
        )

    def _compile(self, wasm: bytes) -> Module:
        try:
            return Module(self.engine, wasm)
        except WasmtimeError as error:
            raise CompilationError(" ".join(str(error).split())) from None

    def open_cache(self, folder: Path) -> DiskCache:
        """Return a folder for compiled code. Raises `CacheFolderError`."""
        from extism_kernel_pkg.host.disk_cache import DiskCache, fingerprint  # noqa: PLC0415 - few need it

        if self._fingerprint is None:
            self._fingerprint = fingerprint(self.engine)
        return DiskCache(folder, self.engine, self._fingerprint)

    @functools.cached_property
    def gate(self) -> Code:
        """The module of `gate.GATE`."""
        return self._own(GATE)

    @functools.cached_property
    def real_wasi(self) -> Code:
        """The module of `wasi_files.REAL`."""
        return self._own(REAL)

    @functools.cached_property
    def counter(self) -> Code:
        """The module of `kernel_use.COUNTER`."""
        return self._own(COUNTER)

    @functools.cache  # noqa: B019 - a compiler lives as long as the process
    def compile_text(self, text: str) -> Code:
        """Return one of the host's own modules; `prepare` names those that a forked process needs."""
        return self._own(text)

    @functools.cache  # noqa: B019 - a compiler lives as long as the process
    def pages(self, memories: tuple[str, ...]) -> Code:
        """Return the module of `gate.pages_module`."""
        return self._own(pages_module(memories))

    def _own(self, text: str) -> Code:
        return Code(Module(self.engine, text))

    def prepare(self, modules: Mapping[str, GuestModule]) -> None:
        """Compile what guests need beside themselves: a process forked later cannot with this engine."""
        guests = tuple(modules.values())
        for signature in find_circular(modules):
            self.compile_text(later_module(signature))
            self.compile_text(fill_module(signature))
        self.counter  # noqa: B018 - made when it is asked for
        if any(guest.uses_wasi for guest in guests):
            self.real_wasi  # noqa: B018
        self.pages(tuple(defined.index for guest in guests for defined in guest.memories))
        self.gate  # noqa: B018


_compilers: Final[dict[tuple[int, bool], Compiler]] = {}


def compiler(*, counts_fuel: bool = False) -> Compiler:
    """Return this process's compiler; a forked process gets its own, and code that counts fuel another."""
    key = os.getpid(), counts_fuel
    if key not in _compilers:  # of two threads here one makes an engine in vain
        _compilers.setdefault(key, Compiler(counts_fuel=counts_fuel))
    return _compilers[key]


def _config_with_lines() -> Config:
    """Return a configuration that has backtraces with source lines; only this variable can say so."""
    if _DETAILS in os.environ:
        return Config()
    os.environ[_DETAILS] = "1"
    try:
        return Config()
    finally:
        del os.environ[_DETAILS]


def _outside_main_thread(make: Callable[[], GuestModule]) -> GuestModule:
    """Run a compilation where Ctrl-C can end the wait for it; the compilation itself cannot be stopped."""
    if threading.current_thread() is not threading.main_thread():
        return make()
    done: list[GuestModule] = []
    failed: list[Exception] = []
    finished = threading.Event()

    def run() -> None:
        try:
            done.append(make())
        except Exception as error:  # noqa: BLE001 - raised again below
            failed.append(error)
        finally:
            finished.set()

    threading.Thread(target=run, name="extism-compiler", daemon=True).start()
    while not finished.wait(HEARTBEAT):
        pass  # a wait without an end cannot be interrupted on Windows
    if failed:
        raise failed[0]
    return done[0]
