"""What a case means: steps, values, loops, cuts, and the verdicts they lead to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import toy_adapter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Ran

Steps = list[dict[str, Any]]

PASSES: dict[str, Steps] = {
    "relations": [
        {"call": "alloc", "args": [8], "bind": "a", "expect": {"ge": 1024, "le": 1024, "multiple_of": 8}},
        {"call": "alloc", "args": [8], "expect": {"in": [5, "$a+8"]}},
        {"call": "length", "args": ["$a"], "expect": {"any": True}},
    ],
    "expressions": [
        {"let": "x", "be": "0xffffffffffffffff"},
        {"let": "y", "be": "2*$x+3"},
        {"call": "alloc", "args": ["$y*8"], "expect": {"eq": 1024}},
        {"call": "output_set", "args": ["0-1", 0]},
        {"call": "output_offset", "expect": "18446744073709551615"},
    ],
    "families": [
        {"repeat": 5, "index": "i", "steps": [{"call": "alloc", "args": [16], "bind": "h[$i]"}]},
        {"repeat": 4, "index": "i", "steps": [{"let": "d", "be": "$h[$i+1]-$h[$i]"}]},
        {"call": "output_set", "args": ["$h[4]", 0]},
        {"call": "output_offset", "expect": "1024+4*16"},
    ],
    "bytes": [
        {"write": 1024, "hex": "00112233"},
        {"read": 1025, "len": 2, "expect": "1122"},
        {"call": "load_u8", "args": [1027], "expect": 51},
        {"write": 2048, "fill": "aa", "len": 3000},
        {"read": 2048, "len": 3000, "expect_fill": "AA"},
        {"read": 65535, "len": 1},
        {"call": "store_u8", "args": [9, 511]},
        {"read": 8, "len": 3, "expect": "00ff00"},
    ],
    "instances": [
        {"instantiate": "b"},
        {"call": "alloc", "args": [64], "expect": 1024},
        {"call": "alloc", "args": [64], "instance": "b", "expect": 1024},
        {"drop": "b"},
        {"instantiate": "b"},
        {"call": "alloc", "args": [64], "instance": "b", "expect": 1024},
        {"call": "alloc", "args": [64], "expect": 1088},
    ],
    "traps": [{"call": "length", "args": [14], "expect_trap": "unreachable"}],
    "any-trap": [{"call": "length", "args": [14], "expect_trap": "any"}],
    "loops-over-values": [
        {"for": "n", "in": [0, "0x10000001", "0xffffffffffffffff"], "steps": [
            {"call": "alloc", "args": ["$n"], "expect": 0}]},
    ],
    "pages": [
        {"pages": 1, "bind": "p"},
        {"call": "alloc", "args": [65536]},
        {"pages": {"gt": "$p", "le": 3}},
    ],
    "surface": [
        {"exports": {"has": {"alloc": "(i64) -> i64", "memory": "memory"}}},
        {"exports": {"has": {"extism_context": "global mut externref"}}},
        {"exports": {"has_not": ["_start", "__heap_base"]}},
        {"module": {"imports": 0, "pages": {"le": 2}, "memories": 1, "start": False, "maximum": False}},
    ],
}  # fmt: skip

FAILS: dict[str, tuple[Steps, str, str, str]] = {
    "value": ([{"call": "alloc", "args": [8], "expect": {"ne": 1024}}], "steps[0]", "not 1024", "1024"),
    "trap": ([{"call": "length", "args": [14]}], "steps[0]", "`length` returns", "trap unreachable"),
    "no-trap": (
        [{"call": "length", "args": [1], "expect_trap": "any"}], "steps[0]", "a trap", "`length` returned"),
    "other-trap": (
        [{"call": "length", "args": [14], "expect_trap": "stack"}],
        "steps[0]", "trap stack", "trap unreachable"),
    "short-bytes": ([{"read": 8, "len": 2, "expect": "0001"}], "steps[0]", "0001", "0000"),
    "long-bytes": (
        [{"write": 1000, "fill": "11", "len": 5000}, {"write": 4000, "hex": "12"},
         {"read": 1000, "len": 5000, "expect_fill": "11"}],
        "steps[2]", "11111111111111111111111111111111 at +3000", "12111111111111111111111111111111 at +3000"),
    "read-outside": ([{"read": 65535, "len": 2}], "steps[0]", "2 bytes at 65535", "trap out-of-bounds"),
    "write-outside": (
        [{"write": "0xffffffffffffffff", "hex": "00"}],
        "steps[0]", "1 bytes written at 18446744073709551615", "trap out-of-bounds"),
    "late-answer": (
        [{"call": "alloc", "args": [8], "expect": 1}, {"call": "reset"}, {"call": "reset"}],
        "steps[0]", "1", "1024"),
    "nested": (
        [{"repeat": 3, "index": "i", "steps": [{"call": "alloc", "args": [8], "expect": 1024}]}],
        "steps[0].steps[0]", "1024", "1032"),
    "missing-export": (
        [{"call": "input_length"}], "steps[0]", "`input_length` exported as () -> i64", "no such export"),
    "wrong-type": ([{"call": "error_get"}], "steps[0]", "`error_get` exported as () -> i64", "() -> i32"),
    "pages": ([{"pages": {"ge": 2}}], "steps[0]", "at least 2 pages", "1 pages"),
    "exports": ([{"exports": {"has_not": ["alloc"]}}], "steps[0]", "not exported", "(i64) -> i64"),
    "only": ([{"exports": {"only": ["memory"]}}], "steps[0]", "no exports but those listed", "also alloc"),
    "start": ([{"module": {"start": True}}], "steps[0]", "start is declared", "it is not declared"),
    "custom": ([{"module": {"custom": ["producers"]}}], "steps[0]", "a custom section `producers`", "name"),
}  # fmt: skip


def play(cli: Callable[..., Ran], kernel: Path, folder: Path, *options: str) -> dict[str, dict[str, Any]]:
    report = folder.parent / "report.jsonl"
    cli(
        "run",
        kernel,
        "--cases",
        folder,
        "--command",
        toy_adapter(),
        "--no-lint",
        "--report",
        report,
        *options,
    )
    lines = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    return {line["id"]: line for line in lines if line["type"] == "case"}


def test_steps_mean_what_the_rules_say(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    lines = play(
        cli, toy_kernel, write_cases(*({"id": f"toy/{name}", "steps": PASSES[name]} for name in PASSES))
    )
    assert {name: line for name, line in lines.items() if line["verdict"] != "pass"} == {}
    assert len(lines) == len(PASSES)


def test_failures_name_step_expected_and_got(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    lines = play(
        cli, toy_kernel, write_cases(*({"id": f"toy/{name}", "steps": FAILS[name][0]} for name in FAILS))
    )
    for name, (_, step, expected, got) in FAILS.items():
        line = lines[f"toy/{name}"]
        assert (line["verdict"], line["step"]) == ("fail", step), line
        assert expected in line["expected"], line
        assert got in line["got"], line
        assert "fault" not in line


def test_kernel_that_hangs_is_a_timeout_and_the_run_goes_on(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    folder = write_cases(
        {"id": "toy/a-hangs", "steps": [{"call": "length", "args": [15]}]},
        {"id": "toy/b-after", "steps": [{"call": "reset"}]},
    )
    lines = play(cli, toy_kernel, folder, "--timeout", "5")
    assert [line["verdict"] for line in lines.values()] == ["timeout", "pass"]


def test_memory_limit_is_imposed_on_the_module(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    steps = [{"call": "alloc", "args": [200000], "expect": 0}, {"pages": 1}]
    folder = write_cases(
        {"id": "toy/limited", "kernel": {"max_pages": 2}, "steps": steps},
        {"id": "toy/unlimited", "steps": steps},
    )
    lines = play(cli, toy_kernel, folder)
    assert [line["verdict"] for line in lines.values()] == ["pass", "fail"]


def test_unmet_need_is_a_skip_that_names_it(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    folder = write_cases(
        {"id": "toy/fuel", "steps": [{"call": "reset", "fuel": 100}]},
        {"id": "toy/fuel-used", "steps": [{"repeat": 2, "fuel": 9, "steps": [{"call": "reset"}]}]},
        {"id": "toy/grow", "steps": [{"grow": 1}]},
        {"id": "toy/global", "steps": [{"global": "extism_context", "expect": "externref:null"}]},
        {"id": "toy/runs", "steps": [{"call": "reset"}]},
    )
    lines = play(cli, toy_kernel, folder)
    assert {name: line["verdict"] for name, line in lines.items() if name != "toy/runs"} == dict.fromkeys(
        ("toy/fuel", "toy/fuel-used", "toy/grow", "toy/global"), "skip"
    )
    assert "needs fuel, fuel-used" in lines["toy/fuel-used"]["message"]
    assert "needs fuel" in lines["toy/fuel"]["message"]
    assert "needs grow" in lines["toy/grow"]["message"]


@pytest.mark.parametrize(("level", "code"), {"must": 1, "should": 1, "may": 0}.items())
def test_level_decides_whether_a_failure_is_red(
    level: str, code: int, cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    folder = write_cases(
        {"id": "toy/a", "level": level, "steps": [{"call": "alloc", "args": [8], "expect": 0}]}
    )
    ran = cli("run", toy_kernel, "--cases", folder, "--command", toy_adapter(), "--no-lint")
    assert ran.code == code
    assert "1 fail" in ran.out


COST_OF_ALLOC = 28
COST_OF_RESET = 3
CUT_STEPS = [
    {
        "cut": {"call": "alloc", "args": [100]},
        "every": 1,
        "max": 200,
        "then": [{"call": "reset"}, {"call": "alloc", "args": [8], "expect": 1024}],
    }
]


def run_on_wasmtime(cli: Callable[..., Ran], kernel: Path, folder: Path) -> Ran:
    return cli(
        "run",
        kernel,
        "--cases",
        folder,
        "--adapter",
        "wasmtime",
    )


def test_cut_tries_every_fuel_until_the_call_returns(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    setup = [{"call": "alloc", "args": [16], "bind": "s", "expect": 1024}]
    folder = write_cases({"id": "toy/cut", "setup": setup, "steps": CUT_STEPS})
    ran = run_on_wasmtime(cli, toy_kernel, folder)
    assert "1 pass" in ran.out, ran.out


def test_cut_that_leaves_a_mark_fails_and_names_the_fuel(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    then = [{"call": "alloc", "args": [8], "expect": 1024}]
    folder = write_cases({"id": "toy/cut", "steps": [{**CUT_STEPS[0], "then": then}]})
    ran = run_on_wasmtime(cli, toy_kernel, folder)
    assert "after a cut at fuel" in ran.out
    assert "expected 1024, got 1128" in ran.out


def test_fuel_of_a_repeat_bounds_the_sum_of_its_calls(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    calls = [{"call": "alloc", "args": [8], "fuel": 100}, {"call": "reset"}]
    enough, one_less = 10 * (COST_OF_ALLOC + COST_OF_RESET), 10 * (COST_OF_ALLOC + COST_OF_RESET) - 1
    folder = write_cases(
        {"id": "toy/enough", "steps": [{"repeat": 10, "fuel": enough, "steps": calls}]},
        {
            "id": "toy/begins-anew",
            "steps": [{"repeat": 3, "steps": [{"repeat": 10, "fuel": enough, "steps": calls}]}],
        },
        {
            "id": "toy/too-much",
            "steps": [{"call": "reset"}, {"repeat": 10, "fuel": one_less, "steps": calls}],
        },
    )
    ran = run_on_wasmtime(cli, toy_kernel, folder)
    assert "2 pass, 1 fail" in ran.out, ran.out
    words = (
        f"steps[1]: expected all calls together to use at most {one_less} fuel, got more than {one_less} fuel"
    )
    assert words in ran.out


def test_growth_and_globals_run_where_the_runtime_has_them(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    folder = write_cases(
        {
            "id": "toy/grow",
            "steps": [{"grow": 2, "expect": 1}, {"pages": 3}, {"grow": 65535, "expect": "refused"}],
        },
        {"id": "toy/global", "steps": [{"global": "extism_context", "expect": "externref:null"}]},
    )
    ran = run_on_wasmtime(cli, toy_kernel, folder)
    assert "2 pass" in ran.out, ran.out
