"""The twin is the kernel: the ABI's functions, the module's answers; and a panic is an error, not the end."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import re
import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import extism_kernel_pkg
from build_tools.base.errors import ToolFailedError
from build_tools.base.project import find_project
from build_tools.bench.metered import NamedModule, Workshop
from build_tools.checks.run import find_cargo
from build_tools.kernel.abi import read_abi
from tests.integration.kernel_programs import CHURN, HOSTILE, LIVES, programs, run_program
from tests.integration.kernel_support import ModuleMachine
from tests.native import twin as native
from tests.native.search import LIMITS
from tests.native.twin import MODULE, TwinFaultError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.kernel_model import Machine
    from tests.integration.kernel_programs import Program
    from tests.native.twin import Twin

NATIVE_TYPES = {"i64": "uint64_t", "i32": "uint32_t", "()": "void"}


class Recorder:
    """Passes calls on and notes them with their answers."""

    def __init__(self, kernel: Machine) -> None:
        self.kernel = kernel
        self.read, self.pages = kernel.read, kernel.pages
        self.grow, self.scan = kernel.grow, kernel.scan
        self.calls: list[tuple[str, tuple[int, ...], int]] = []

    def call(self, name: str, *args: int) -> int:
        answer = self.kernel.call(name, *args)
        self.calls.append((name, args, answer))
        return answer


@pytest.fixture(scope="module")
def staged() -> Workshop:
    """The staged module, in wasmtime."""
    try:
        data = extism_kernel_pkg.kernel_bytes()
    except extism_kernel_pkg.KernelResourceError as error:
        pytest.skip(f"no kernel is staged ({error}); `python -m build_tools kernel` makes one")
    return Workshop(NamedModule(name="staged", data=data))


def compare(twin: Twin, staged: Workshop, program: Program, limit: int) -> None:
    """Play a program on both; every answer and every byte of memory must be the same."""
    machines = (twin.instantiate(pages=limit), ModuleMachine(staged.instantiate(pages=limit)))
    bottom = twin.instantiate().call("alloc", 8)
    recorders = [Recorder(machine) for machine in machines]
    for recorder in recorders:
        run_program(recorder, program, limit=limit, bottom=bottom, scan_every=8)
    ours, theirs = recorders
    hint = "if the sources have changed, stage them: `python -m build_tools kernel`"
    for native_call, module_call in zip(ours.calls, theirs.calls, strict=True):
        assert native_call == module_call, hint
    assert ours.pages() == theirs.pages(), hint
    size = ours.pages() * 65_536
    assert ours.read(0, size) == theirs.read(0, size), hint


COMMON = settings(deadline=None, derandomize=True, database=None)


@settings(COMMON, max_examples=100)
@given(program=programs(HOSTILE, least=15, most=80), limit=st.sampled_from(LIMITS))
def test_twin_answers_hostile_program_as_the_module_does(
    program: Program, limit: int, twin: Twin, staged: Workshop
) -> None:
    compare(twin, staged, program, limit)


@settings(COMMON, max_examples=20)
@given(program=programs(CHURN, least=50, most=150), limit=st.sampled_from(LIMITS))
def test_twin_answers_churn_as_the_module_does(
    program: Program, limit: int, twin: Twin, staged: Workshop
) -> None:
    compare(twin, staged, program, limit)


@settings(COMMON, max_examples=20)
@given(program=programs(LIVES, least=5, most=20), limit=st.sampled_from((2, 3, 5)))
def test_twin_answers_full_lives_as_the_module_does(
    program: Program, limit: int, twin: Twin, staged: Workshop
) -> None:
    compare(twin, staged, program, limit)


def test_comparison_trips_on_a_module_with_other_memory(twin: Twin, staged: Workshop) -> None:
    class Shifted(native.Twin):
        def instantiate(self, *, pages: int = 65_536, traps: bool = False) -> native.NativeMachine:
            kernel = super().instantiate(pages=pages, traps=traps)
            kernel.write(2 * 65_536 - 1, b"\1")
            return kernel

    program: Program = [("alloc", 8)]
    compare(twin, staged, program, 2)
    with pytest.raises(AssertionError):
        compare(Shifted(twin), staged, program, 2)


def test_twin_has_the_functions_of_the_abi(twin: Twin) -> None:
    for function in read_abi(find_project().abi_toml).functions:
        kind = twin.ffi.typeof(twin.functions[function.name])
        parameters, result = function.type.split(" -> ")
        native_types = [NATIVE_TYPES[name] for name in re.findall(r"i32|i64", parameters)]
        assert [argument.cname for argument in kind.args] == ["struct Twin *", *native_types], function.name
        assert kind.result.cname == NATIVE_TYPES[result], function.name


def test_panic_is_an_error_and_the_kernel_goes_on(twin: Twin) -> None:
    kernel = twin.instantiate(pages=2, traps=True)
    first = kernel.call("alloc", 8)
    with pytest.raises(TwinFaultError, match=r"memory\.grow trapped"):
        kernel.call("alloc", 1_000_000)
    kernel.call("reset")
    assert kernel.call("alloc", 8) == first


def test_scan_names_what_disagrees(twin: Twin) -> None:
    kernel = twin.instantiate(pages=2)
    for _ in range(9):
        kernel.call("alloc", 64)
    kernel.scan()
    kernel.write(2 * 65_536 - 8192, b"\xff" * 8192)
    with pytest.raises(TwinFaultError):
        kernel.scan()


def test_memory_has_ends(twin: Twin) -> None:
    kernel = twin.instantiate(pages=3)
    end = 2 * 65_536
    kernel.write(end - 1, b"\x07")
    assert kernel.read(end - 1, 1) == b"\x07"
    for address, length in ((end, 1), (end - 1, 2), (1 << 63, 1 << 63), ((1 << 64) - 1, 1)):
        with pytest.raises(IndexError, match="outside memory"):
            kernel.read(address, length)
    kernel.grow(1)
    assert kernel.read(end, 65_536) == bytes(65_536)
    with pytest.raises(MemoryError, match="beyond the limit"):
        kernel.grow(1)
    assert kernel.pages() == 3


def test_twin_is_not_installed(twin: Twin) -> None:
    assert twin.names
    assert importlib.util.find_spec(f"{MODULE}.nothing") is None
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version(MODULE)


OBSTACLES = {
    "no-cargo": (None, "cc", "install Rust from"),
    "no-compiler": ("/bin/true", None, "install a C compiler"),
    "cargo-that-fails": ("/bin/false", "cc", "does not run in kernel-src"),
}


@pytest.mark.parametrize(("cargo", "compiler", "message"), OBSTACLES.values(), ids=OBSTACLES)
def test_obstacle_is_told_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, cargo: str | None, compiler: str | None, message: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: compiler)
    obstacle = native.find_obstacle(find_project(), cargo)
    assert obstacle is not None
    assert message in obstacle


def test_sources_that_do_not_compile_fail_with_cargos_words(twin: Twin, tmp_path: Path) -> None:
    assert twin.names  # so it is not cargo that is missing
    project = find_project()
    folder = tmp_path / "tests" / "native"
    shutil.copytree(project.root / "tests" / "native", folder)
    (tmp_path / "kernel-src").symlink_to(project.kernel_src)
    (folder / "src" / "lib.rs").write_text("nonsense\n", encoding="utf-8")
    broken = dataclasses.replace(project, root=tmp_path)
    cargo = find_cargo()
    assert cargo is not None
    with pytest.raises(ToolFailedError) as caught:
        native.build_twin(broken, cargo, tmp_path / "out")
    assert "lib.rs:1" in caught.value.render()
