"""The command that counts costs: what it prints, what it refuses, and where upstream's kernel comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import wasmtime

from build_tools.base.errors import ContractError, ExitCode, ModuleMalformedError
from build_tools.base.files import sha256_of
from build_tools.bench import upstream
from build_tools.bench.costs import count_lines, measure
from build_tools.bench.cycles import ALONE, Cycle, time_cycles
from build_tools.bench.metered import NamedModule
from build_tools.bench.scenarios import SCENARIOS, Scenario
from build_tools.bench.tables import render_costs, render_markdown, replace_size
from build_tools.bench.upstream import UpstreamError, fetch_upstream
from build_tools.cli import main as cli

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from build_tools.bench.metered import Instance

Capture = pytest.CaptureFixture[str]


def module(body: str) -> NamedModule:
    text = f'(module (memory (export "memory") 1) {body})'
    return NamedModule(name="tried", data=bytes(wasmtime.wat2wasm(text)))


def calls(*names: str) -> Scenario:
    def run(instance: Instance) -> Iterator[int]:
        for name in names:
            yield instance.count(name)[1]

    return Scenario(name="tried", clause="C-1", limit=2000, run=run)


COUNTED = {
    "nothing": ("", 1),
    "two-instructions": ("i32.const 1 i32.const 2 drop drop", 3),
    "nop-and-block": ("nop (block (nop))", 1),
    "fill-of-100": ("(memory.fill (i32.const 0) (i32.const 0) (i32.const 100))", 105),
}


@pytest.mark.parametrize(("body", "fuel"), COUNTED.values(), ids=COUNTED)
def test_fuel_of_a_call_is_exact(body: str, fuel: int) -> None:
    """C-1 to C-3: what is counted, and that bytes of a fill are."""
    (cost,) = measure(module(f'(func (export "f") {body})'), [calls("f", "f")]).costs
    assert (cost.calls, cost.mean, cost.most, cost.failure) == (2, fuel, fuel, None)


BROKEN = {
    "trap": ("unreachable", "unreachable"),
    "endless": ("(loop (br 0))", "no end within 1,000,000,000 instructions"),
}


@pytest.mark.parametrize(("body", "message"), BROKEN.values(), ids=BROKEN)
def test_call_that_fails_is_a_failure_and_not_an_error(body: str, message: str) -> None:
    kernel = module(f'(func (export "good")) (func (export "bad") {body})')
    costs = measure(kernel, [calls("good", "bad", "good")])
    (cost,) = costs.costs
    assert cost.calls == 1
    assert cost.failure is not None
    assert message in cost.failure
    assert f"tried: bad(): {message}" in render_costs([calls()], [costs], []) or "bad()" in cost.failure
    assert "| fails |" in render_markdown([calls()], [costs], [])


def test_lines_of_rust_are_those_that_a_module_is_compiled_from(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    for name, text in (("lib.rs", "//! a\n\nmod b;\n"), ("b.rs", "one\ntwo\n"), ("invariants.rs", "three\n")):
        (source / name).write_text(text, encoding="utf-8")
    assert count_lines(tmp_path) == 5


def test_table_of_code_gives_the_lines_of_the_first_kernel_alone() -> None:
    costs = measure(module('(func (export "f"))'), [])
    text = render_markdown([], [costs, costs], [], lines_of_rust=1234)
    path = "-" if costs.longest_path is None else costs.longest_path
    assert "".join(f"| tried | 0 | {path} | {cell} |\n" for cell in ("1,234", "-")) in text


def test_size_of_a_kernel_is_replaced_alone() -> None:
    text = "| ours | 3,381 | `e2e2f00d8f6f2660` |\n| upstream | 3,474 | `d1389b31abecf23e` |\n"
    changed = replace_size(text, "ours", 12345, "0123456789abcdef" * 4)
    assert changed == text.replace("3,381 | `e2e2f00d8f6f2660`", "12,345 | `0123456789abcdef`")
    with pytest.raises(ContractError, match="no size of `theirs`"):
        replace_size(text, "theirs", 1, "0" * 64)


NO_KERNELS = {
    "imports": ('(module (import "a" "b" (func)) (memory (export "memory") 1))', "imports something"),
    "no-memory": ('(module (func (export "memory")))', "`memory` is no memory"),
    "no-function": ('(module (memory (export "memory") 1))', "is not exported as a function"),
}


@pytest.mark.parametrize(("text", "message"), NO_KERNELS.values(), ids=NO_KERNELS)
def test_module_that_is_no_kernel_is_named(text: str, message: str, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "other.wasm"
    path.write_bytes(bytes(wasmtime.wat2wasm(text)))
    assert cli.main(["bench", str(path)]) == ExitCode.MALFORMED_INPUT
    shown = capsys.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err


USAGE = {
    "unknown-option": ["--colour"],
    "two-shapes": ["--json", "--markdown"],
    "against-nothing": ["--against"],
}


@pytest.mark.parametrize("arguments", USAGE.values(), ids=USAGE)
def test_bad_command_line_is_usage(arguments: list[str], capsys: Capture) -> None:
    assert cli.main(["bench", *arguments]) == ExitCode.USAGE
    assert "error[usage]" in capsys.readouterr().err


def test_absent_file_is_named(tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["bench", "--against", str(tmp_path / "absent.wasm")]) == ExitCode.MALFORMED_INPUT
    assert "error[file-missing]" in capsys.readouterr().err


def test_figures_of_a_file_are_json(sound: bytes, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "kernel.wasm"
    path.write_bytes(sound)
    code = cli.main(["bench", str(path), "--against", str(path), "--no-wall", "--json"])
    data = json.loads(capsys.readouterr().out)
    assert code in {ExitCode.DONE, ExitCode.FINDINGS}
    assert [kernel["size"] for kernel in data["kernels"]] == [len(sound), len(sound)]
    assert [each["name"] for each in data["scenarios"]] == [each.name for each in SCENARIOS]
    assert data["cycles"] == []


def test_cycles_refuse_what_is_no_kernel() -> None:
    with pytest.raises(ModuleMalformedError, match="is no kernel"):
        time_cycles([module("")], {65_536: 1})


def test_cycles_are_shown_as_a_ratio() -> None:
    medians = {65_536: (4e-6, 7e-6, 3e-6), 1024: (2e-6, 7e-6, 1e-6)}
    cycles = [
        Cycle(kernel=name, length=65_536, used=used, cycles=1, median=median)
        for used, each in medians.items()
        for name, median in zip(("ours", "upstream", ALONE), each, strict=True)
    ]
    table = render_markdown([], [], cycles)
    assert "| 64 KiB | 64 KiB | 4.0 µs | 7.0 µs | 3.0 µs | 1.8 | 2.3 |" in table
    assert "| 64 KiB | 1 KiB | 2.0 µs | 7.0 µs | 1.0 µs | 3.5 | 7.0 |" in table
    assert "| 64 KiB | 1 KiB | 2.0 µs | 1.0 µs | - | - |" in render_markdown([], [], [cycles[3], cycles[5]])


def test_cycles_end_with_those_of_the_host_alone(sound: bytes) -> None:
    cycles = time_cycles([NamedModule(name="tried", data=sound)], {65_536: 1})
    assert [cycle.kernel for cycle in cycles] == ["tried", ALONE] * 2


KERNEL = b"\0asm\1\0\0\0 as if"


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that holds what a client would fetch; its digest is taken for upstream's."""
    monkeypatch.setattr(upstream, "SHA256", sha256_of(KERNEL))
    folder = tmp_path / "home" / "registry" / "src" / "index" / "extism-1.41.0" / "src"
    folder.mkdir(parents=True)
    (folder / "extism-runtime.wasm").write_bytes(KERNEL)
    monkeypatch.setenv("CARGO_HOME", str(tmp_path / "home"))
    return folder


def test_upstream_is_fetched_with_go(
    known: Path, make_program: Callable[[str, str], Path], tmp_path: Path
) -> None:
    make_program("go", f"echo '{json.dumps({'Dir': str(known)})}'")
    fetched = fetch_upstream(tmp_path / "cache")
    assert fetched.data == KERNEL
    assert fetched.origin.startswith("Go module github.com/extism/go-sdk@")


def test_upstream_is_fetched_with_cargo_where_go_is_missing_or_fails(
    known: Path, make_program: Callable[[str, str], Path], tmp_path: Path
) -> None:
    assert known.is_dir()
    make_program("cargo", '[ "$1" = info ]')
    assert fetch_upstream(tmp_path / "cache").origin == "crate extism 1.41.0"
    make_program("go", "echo no network >&2; exit 1")
    assert fetch_upstream(tmp_path / "cache").data == KERNEL


def test_upstream_without_a_client_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UpstreamError, match=r"(?s)`go` is not on PATH.*`cargo` is not on PATH") as caught:
        fetch_upstream(tmp_path / "cache")
    assert caught.value.exit_code == ExitCode.TOOLCHAIN
    assert "--against FILE" in (caught.value.hint or "")


ANSWERS = {
    "another-kernel": ("a", "has digest"),
    "no-json": ("b", "did not say where the module is"),
}


@pytest.mark.parametrize(("kind", "message"), ANSWERS.values(), ids=ANSWERS)
def test_upstream_that_is_not_the_known_kernel_is_refused(
    kind: str, message: str, make_program: Callable[[str, str], Path], tmp_path: Path
) -> None:
    (tmp_path / "extism-runtime.wasm").write_bytes(b"something else")
    answer = json.dumps({"Dir": str(tmp_path)}) if kind == "a" else "gibberish"
    make_program("go", f"echo '{answer}'")
    with pytest.raises(UpstreamError, match=message):
        fetch_upstream(tmp_path / "cache")
