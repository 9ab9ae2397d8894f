"""Adapters that break the protocol: each is caught, named as the adapter's fault, and the run goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from .conftest import toy_adapter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Ran

BREAKS_IN_A_CASE = {
    "garbage": ("error", "adapter-garbage", "Segmentation fault"),
    "half-json": ("error", "adapter-garbage", "expected one line of JSON"),
    "no-object": ("error", "adapter-garbage", "an answer is an object"),
    "binary": ("error", "adapter-garbage", "expected one line of JSON"),
    "wrong-id": ("error", "adapter-wrong-id", "the answer has id"),
    "id-as-text": ("error", "adapter-wrong-id", "the answer has id '"),
    "oversized": ("error", "adapter-oversized", "longer than 4194304 bytes"),
    "lies-about-types": ("error", "adapter-type", "`length` is (i64) -> i64, the adapter answers with (i32)"),
    "too-many-values": ("error", "adapter-type", "(i64, i64)"),
    "not-a-value": ("error", "adapter-answer", "values[0] is 0, expected string"),
    "out-of-range": ("error", "adapter-type", "which is no i64"),
    "negative": ("error", "adapter-answer", "does not match"),
    "no-such-result": ("error", "adapter-answer", "breaks the protocol"),
    "result-is-a-list": ("error", "adapter-answer", "result is [], expected"),
    "no-such-kind": ("error", "adapter-answer", "sigsegv"),
    "extra-member": ("error", "adapter-answer", "`took`"),
    "half-a-pair": ("error", "adapter-error", "a ?\u2028b\u0085c"),
    "error-answer": ("error", "adapter-error", "KeyError"),
    "unsupported-now": ("error", "adapter-unsupported", "`call` was answered `unsupported`"),
    "dies": ("crash", "adapter-died", "exit code 3; it said: cannot go on"),
    "killed": ("crash", "adapter-died", "SIGABRT"),
    "hangs": ("timeout", "adapter-timeout", "no answer within 5 s"),
    "closes-output": ("crash", "adapter-died", "the adapter closed its output"),
}

TRIPS_THE_LINT = {
    "32-bit-addresses": "lint/read-at-2-32",
    "short-read": "lint/read-past-the-end",
    "stale-view": "lint/view-after-growth",
    "one-instance-for-all": "lint/instances-apart",
    "unknown-is-ok": "lint/unknown-operation",
    "unknown-is-error": "lint/unknown-operation",
    "traps-are-other": "lint/trap-unreachable",
    "traps-are-errors": "lint/trap-integer",
    "link-is-compile": "lint/reject-link",
    "start-is-a-trap": "lint/reject-start",
    "floats": "lint/u64-round-trip",
    "signed-i32": "lint/i32-sign",
    "declares-too-much": "lint/fuel",
    "declares-what-it-does-not-say": "lint/fuel-used",
    "exit-code": "lint/end-of-input",
    "ignores-the-end": "lint/end-of-input",
    "batch-ends-at-a-trap": "lint/batch",
    "short-references": "lint/batch-references",
    "one-digest-for-all": "lint/modules",
}


@pytest.mark.parametrize(("fault", "expected"), BREAKS_IN_A_CASE.items(), ids=BREAKS_IN_A_CASE)
def test_fault_in_a_case_is_the_adapters_and_the_run_goes_on(  # noqa: PLR0917 - fixtures
    fault: str,
    expected: tuple[str, str, str],
    cli: Callable[..., Ran],
    toy_kernel: Path,
    write_cases: Callable[..., Path],
    tmp_path: Path,
) -> None:
    cases = write_cases(
        {"id": "toy/a-before", "steps": [{"call": "alloc", "args": [8], "expect": 1024}]},
        {"id": "toy/b-broken", "steps": [{"call": "length", "args": [13], "expect": 0}, {"call": "reset"}]},
        {"id": "toy/c-after", "steps": [{"call": "alloc", "args": [8], "expect": 1024}]},
    )
    report = tmp_path / "report.jsonl"
    argv = ["run", toy_kernel, "--cases", cases, "--command", toy_adapter(fault), "--timeout", "5"]
    ran = cli(*argv, "--no-lint", "--report", report)
    verdict, code, words = expected
    lines = {
        line["id"]: line
        for line in map(json.loads, report.read_text(encoding="utf-8").removesuffix("\n").split("\n"))
        if line["type"] == "case"
    }
    assert [lines[name]["verdict"] for name in sorted(lines)] == ["pass", verdict, "pass"], ran.out
    assert lines["toy/b-broken"]["fault"] == code
    assert words in lines["toy/b-broken"]["message"]
    assert ran.code == 1
    assert f"({code})" in ran.out
    assert cli("report", report).code == 0


@pytest.mark.parametrize(
    ("fault", "words"),
    {
        "short-batch": "3 operations have 2 answers",
        "no-answers": "lacks `answers`",
        "ids-in-a-batch": "no id of its own",
        "text-in-a-batch": "an answer in it is no object",
        "dies-in-a-batch": "ended with exit code 3",
    }.items(),
)
def test_fault_in_a_batch_only_is_the_adapters(
    fault: str, words: str, cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    steps = [{"call": "length", "args": [13], "expect": 0}, {"call": "reset"}]
    cases = write_cases({"id": "toy/b-broken", "steps": steps}, {"id": "toy/c-after", "steps": steps[1:]})
    ran = cli("run", toy_kernel, "--cases", cases, "--command", toy_adapter(fault), "--no-lint")
    assert ran.code == 1
    assert "1 pass, 1 " in ran.out, ran.out
    assert words in ran.out
    assert "in a batch only" in ran.out


def test_failure_before_a_fault_in_a_batch_is_the_kernels(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    steps = [{"call": "alloc", "args": [8], "expect": 7}, {"call": "length", "args": [13]}]
    cases = write_cases({"id": "toy/b-broken", "steps": steps})
    ran = cli("run", toy_kernel, "--cases", cases, "--command", toy_adapter("dies-in-a-batch"), "--no-lint")
    assert "1 fail" in ran.out, ran.out
    assert "steps[0]: expected 7, got 1024" in ran.out


def test_answer_too_many_breaks_the_next_request(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    cases = write_cases(
        {"id": "toy/b-broken", "steps": [{"call": "length", "args": [13], "expect": 0}, {"call": "reset"}]}
    )
    ran = cli("run", toy_kernel, "--cases", cases, "--command", toy_adapter("one-too-many"), "--no-lint")
    assert ran.code == 1
    assert "adapter-wrong-id" in ran.out


@pytest.mark.parametrize(("fault", "check"), TRIPS_THE_LINT.items(), ids=TRIPS_THE_LINT)
def test_fault_trips_the_lint_and_no_kernel_is_judged(
    fault: str, check: str, cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    cases = write_cases({"id": "toy/a", "steps": [{"call": "alloc", "args": [8], "expect": 1}]})
    ran = cli("run", toy_kernel, "--cases", cases, "--command", toy_adapter(fault), "--timeout", "20")
    assert ran.code == 1
    assert f" {check}\n" in ran.out
    assert "the adapter is at fault, not the kernel" in ran.out
    assert "so the kernel was not judged" in ran.out
    assert "toy/a" not in ran.out


@pytest.mark.parametrize("name", ["none", "none-in-batches"])
def test_sound_adapter_passes_every_lint_check(name: str, cli: Callable[..., Ran]) -> None:
    ran = cli("lint", "--command", toy_adapter(name))
    assert ran.code == 0, ran.out
    assert len(ran.out.splitlines()) == 28
    assert all(" pass " in line for line in ran.out.splitlines())


@pytest.mark.parametrize(
    ("fault", "words"),
    {
        "does-not-start": "no such library: libengine.so",
        "other-protocol": "protocol is 2, expected 1",
    }.items(),
)
def test_adapter_that_does_not_greet_is_named(
    fault: str, words: str, cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    cases = write_cases({"id": "toy/a", "steps": [{"call": "reset"}]})
    ran = cli("run", toy_kernel, "--cases", cases, "--command", toy_adapter(fault))
    assert ran.code == 1
    assert words in ran.out


def test_missing_program_is_named(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    cases = write_cases({"id": "toy/a", "steps": [{"call": "reset"}]})
    ran = cli("run", toy_kernel, "--cases", cases, "--command", "there-is-no-such-program")
    assert ran.code == 1
    assert "`there-is-no-such-program` does not start" in ran.out
