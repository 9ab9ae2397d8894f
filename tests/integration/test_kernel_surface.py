"""S-1 to S-7 on both staged flavours, through the validator, and each clause by a fact of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import wasmtime

from build_tools.base.project import find_project
from build_tools.kernel.abi import read_abi
from build_tools.kernel.validate import Expectation, check_module
from build_tools.kernel.values import ABI_SECTION, FILENAMES, FLAVOURS, VERSION_SECTION
from build_tools.wasm.module import Module, parse_module
from extism_kernel_pkg import _wasm

if TYPE_CHECKING:
    from build_tools.bench.metered import Workshop
    from build_tools.kernel.abi import Abi
    from build_tools.kernel.values import Flavour, StagedKernel

Staged = tuple["Flavour", Module]
HOST_NAMES = ("log_", "config_get", "var_", "http_", "get_log_level")


@pytest.fixture(params=FLAVOURS)
def staged(request: pytest.FixtureRequest, built: StagedKernel) -> Staged:
    flavour: Flavour = request.param
    return flavour, parse_module((built.folder / FILENAMES[flavour]).read_bytes())


@pytest.fixture(scope="module")
def abi() -> Abi:
    return read_abi(find_project().abi_toml)


def test_surface_has_no_finding(staged: Staged, abi: Abi, built: StagedKernel) -> None:
    """S-1, S-2, S-3, S-4, S-5, S-7, C-4."""
    flavour, module = staged
    expectation = Expectation(abi=abi, flavour=flavour, version=built.version)
    assert check_module(parse_module(module.data), expectation) == []


def test_module_stands_alone_with_one_memory(staged: Staged) -> None:
    """S-1."""
    module = staged[1]
    assert list(module.imports) == []
    assert module.parts.start is None
    (memory,) = module.parts.memories
    assert memory.minimum <= 2
    assert memory.maximum is None


def test_both_generations_are_the_same_functions(staged: Staged, abi: Abi) -> None:
    """S-2, S-3: each first name is its current name's function, by index."""
    exports = {export.name: export for export in staged[1].exports}
    for function in abi.functions:
        assert exports[function.name].type == function.type
        alias = exports.get(f"extism_{function.name}")
        if alias is None:
            assert function.name == "length_unsafe", "only this one did not exist in the first generation"
        else:
            assert alias.index == exports[function.name].index


def test_nothing_else_is_exported(staged: Staged, abi: Abi) -> None:
    """S-4."""
    flavour, module = staged
    names = {export.name for export in module.exports}
    allowed = {"memory", *(function.name for function in abi.functions)}
    allowed |= {f"extism_{function.name}" for function in abi.functions}
    if flavour == "context":
        assert "extism_context" in names
        allowed.add("extism_context")
    assert names - allowed == set()
    assert [name for name in names if name.startswith(HOST_NAMES)] == []


HOLDER = """
(module
  (import "kernel" "extism_context" (global $context (mut externref)))
  (func (export "is_null") (result i32) (ref.is_null (global.get $context)))
  (func (export "set") (param externref) (global.set $context (local.get 0))))
"""


def test_context_is_a_null_reference_that_the_host_may_set(workshop: Workshop) -> None:
    """S-4: linking fails unless it is a mutable `externref`; `reset` leaves it alone."""
    instance = workshop.instantiate()
    module = wasmtime.Module(workshop.engine, bytes(wasmtime.wat2wasm(HOLDER)))
    holder = wasmtime.Instance(instance.store, module, [instance.exports["extism_context"]])
    exports = holder.exports(instance.store)
    is_null, set_context = exports["is_null"], exports["set"]
    assert isinstance(is_null, wasmtime.Func)
    assert isinstance(set_context, wasmtime.Func)
    assert is_null(instance.store) == 1
    set_context(instance.store, "of the host")
    instance.call("reset")
    assert is_null(instance.store) == 0


def test_features_are_those_of_the_flavour(staged: Staged, abi: Abi) -> None:
    """S-5: found in the bytes, opcode by opcode, not in what the compiler was asked for."""
    flavour, module = staged
    assert set(module.features) <= set(abi.features[flavour])
    assert ("reference-types" in module.features) is (flavour == "context")


def test_u8_is_zero_extended_and_low_bits_are_stored(workshop: Workshop) -> None:
    """S-6."""
    instance = workshop.instantiate()
    handle = instance.call("alloc", 16)
    instance.call("store_u8", handle, -1)
    instance.call("store_u8", handle + 1, 0x1280)
    instance.call("input_set", handle, 16)
    assert instance.call("load_u8", handle) == 0xFF
    assert instance.call("load_u8", handle + 1) == 0x80
    assert instance.call("load_u64", handle) == 0x80FF
    assert instance.call("input_load_u8", 1) == 0x80


def test_versions_survive_in_the_module(staged: Staged, abi: Abi, built: StagedKernel) -> None:
    """S-7."""
    data = staged[1].data
    assert _wasm.Module(data).custom(VERSION_SECTION) == [built.version.encode()]
    assert _wasm.Module(data).custom(ABI_SECTION) == [str(abi.version).encode()]
    assert _wasm.Module(data).custom("producers")
