"""The model: a sound kernel breaks no promise, a broken one does, and what it breaks becomes a case."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from extism_kernel_conformance.cases.load import load_cases
from extism_kernel_conformance.model import machine
from extism_kernel_conformance.model.operations import Operation, Place
from extism_kernel_conformance.model.play import Players
from extism_kernel_conformance.model.ranges import LIVE, Ranges, size_of
from extism_kernel_conformance.wasm.module import parse_kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Ran

MUTANTS = Path(__file__).resolve().parents[1] / "mutants"
sys.path.insert(0, str(MUTANTS))

from kernel_mutants.code import read_code  # noqa: E402 - the path comes first
from kernel_mutants.kernels import KernelNotFoundError, find_staged_kernel  # noqa: E402
from kernel_mutants.operators import find_mutants  # noqa: E402

PROGRAMS = 150
FIRST = 6
BROKEN_EXPORTS = ("length", "load_u8", "store_u8", "input_load_u64", "output_set", "error_set")


@pytest.fixture(scope="module")
def kernel() -> Path:
    try:
        return find_staged_kernel()
    except KernelNotFoundError as reason:
        pytest.skip(str(reason))


def test_sound_kernel_breaks_no_promise(kernel: Path) -> None:
    players = Players(machine.Workshop(parse_kernel(kernel.read_bytes())))
    assert players.is_exact
    found = [players.invent(Random(seed)) for seed in range(PROGRAMS)]  # noqa: S311 - a choice, no secret
    assert [each.error for each in found if each is not None] == []


@pytest.mark.parametrize("export", BROKEN_EXPORTS)
def test_mutants_of_an_export_fall(kernel: Path, export: str) -> None:
    code = read_code(kernel.read_bytes())
    broken = [each.build(code) for each in find_mutants(code) if each.function.name == export][:FIRST]
    assert broken, f"{export} has mutants"
    assert any(_falls(module) for module in broken)


def _falls(module: bytes) -> bool:
    players = Players(machine.Workshop(parse_kernel(module)))
    return any(players.invent(Random(seed)) is not None for seed in range(PROGRAMS))  # noqa: S311


def test_invented_case_is_valid_and_replays(kernel: Path, tmp_path: Path, cli: Callable[..., Ran]) -> None:
    code = read_code(kernel.read_bytes())
    mutant = next(each for each in find_mutants(code) if "store dropped" in each.after)
    folder, cases = tmp_path / "mutants", tmp_path / "cases"
    folder.mkdir()
    cases.mkdir()
    broken = folder / "broken.wasm"
    broken.write_bytes(mutant.build(code))
    out = cases / "invented.json"
    ran = cli("cases", "--invent", kernel, "--mutants", folder, "--seconds", 20, "--out", out)
    assert ran.code == 1
    assert "1 of 1 mutants fell" in ran.err
    (case,) = load_cases(cases).cases
    assert case.id.startswith("invented/")
    replay = ("replay", case.id)
    where = ("--cases", cases, "--adapter", "wasmtime")
    assert cli(*replay, broken, *where).code == 1
    assert cli(*replay, kernel, *where).code == 0


def test_folder_without_mutants_is_refused(kernel: Path, tmp_path: Path, cli: Callable[..., Ran]) -> None:
    ran = cli("cases", "--invent", kernel, "--mutants", tmp_path)
    assert ran.code == 2
    assert "there is no module in" in ran.err


@pytest.mark.parametrize("text", ["0", "-1", "nan", "soon"])
def test_time_that_is_none_is_refused(kernel: Path, text: str, cli: Callable[..., Ran]) -> None:
    ran = cli("cases", "--invent", kernel, f"--seconds={text}")
    assert ran.code == 2
    assert "is no time in seconds" in ran.err


def test_missing_wasmtime_is_named_with_its_remedy(
    toy_kernel: Path, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Ran]
) -> None:
    monkeypatch.setitem(sys.modules, "wasmtime", None)
    ran = cli("cases", "--invent", toy_kernel)
    assert "pip install 'extism-kernel-conformance[wasmtime]'" in ran.err


def test_operation_becomes_a_step() -> None:
    steps = [
        Operation("alloc", (16,), 3).step(),
        Operation("store_u64", (Place(3, -8), 1 << 63)).step(),
        Operation("write", (Place(3), 16, 7)).step(),
    ]
    assert json.loads(json.dumps(steps)) == [
        {"call": "alloc", "args": [16], "bind": "b3"},
        {"call": "store_u64", "args": ["$b3-8", str(1 << 63)]},
        {"write": "$b3", "fill": "07", "len": 16},
    ]


def test_ranges_join_their_neighbours_and_the_oldest_comes_first() -> None:
    ranges = Ranges(2048)
    places = []
    for length in (2000, 16, 2000, 16):
        places.append(ranges.last)
        ranges.take_unused(ranges.last, length)
    ranges.free(places[2], 2000)
    ranges.free(places[0], 2000)
    assert ranges.find(2000, (0, 0)) == places[2]
    assert ranges.find(2000, (places[2], 4)) == places[0], "the output's range is passed over"
    ranges.free(places[1], 16)
    whole = size_of(2000) * 2 + size_of(16)
    assert ranges.ranges[places[0]].size == whole
    assert ranges.is_small(places[0])
    ranges.reuse(places[0], 100, has_record=True)
    assert ranges.ranges[places[0]].state == LIVE
    assert ranges.find(1000, (0, 0)) == places[0] + size_of(100)
