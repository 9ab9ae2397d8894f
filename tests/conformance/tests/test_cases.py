"""Reading cases: every fault is found, named, and placed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from extism_kernel_conformance.base.schema import load_check
from extism_kernel_conformance.cases.load import read_cases

from .conftest import SUITE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Ran

ALLOC = {"call": "alloc", "args": [8], "bind": "a"}

FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown-key": ({"level_": "must"}, "`level_` has no meaning here; did you mean `level`?"),
    "no-steps": ({"steps": []}, "expected a list of at least one step"),
    "bad-id": ({"id": "Toy/Case"}, "write `topic/promise` in lower-case words"),
    "other-topic": ({"id": "alloc/x"}, "the topic `alloc` belongs in alloc.json"),
    "bad-since": ({"since": "1.0"}, "is no version N.N.N"),
    "future-since": ({"since": "99.0.0"}, "newer than the suite"),
    "bad-clause": ({"spec": ["alloc"]}, "clause ids"),
    "bad-level": ({"level": "shall"}, "known are must, should, may"),
    "bad-need": ({"needs": ["threads"]}, "'threads' is no capability"),
    "need-as-text": ({"needs": "fuel"}, "`needs` is a list of capabilities, got 'fuel'"),
    "bad-pages": ({"kernel": {"max_pages": 0}}, "expected 1 to 65536 pages"),
    "bad-kernel-key": ({"kernel": {"maxpages": 2}}, "did you mean `max_pages`?"),
    "unknown-profile": ({"profile": "plugin"}, "known are kernel"),
    "two-kinds": ({"steps": [{"call": "reset", "pages": 1}]}, "found `call`, `pages`"),
    "no-kind": ({"steps": [{"cal": "reset"}]}, "did you mean `call`?"),
    "unknown-step-key": ({"steps": [{"call": "reset", "expct": 1}]}, "`expct` has no meaning here"),
    "unknown-function": ({"steps": [{"call": "allok", "args": [1]}]}, "did you mean `alloc`?"),
    "wrong-number-of-arguments": ({"steps": [{"call": "alloc"}]}, "`alloc` is (i64) -> i64, got 0 arguments"),
    "result-of-nothing": ({"steps": [{"call": "reset", "expect": 0}]}, "returns nothing"),
    "unbound": ({"steps": [ALLOC, {"call": "free", "args": ["$b"]}]}, "`$b` is not bound by an earlier step"),
    "negative": ({"steps": [{"call": "alloc", "args": [-1]}]}, "0xffffffffffffffff"),
    "float": ({"steps": [{"call": "alloc", "args": [1.5]}]}, "expected an integer or a string, got 1.5"),
    "too-large-number": ({"steps": [{"call": "alloc", "args": [2**53 + 2]}]}, "above 2^53"),
    "too-large-literal": ({"steps": [{"call": "alloc", "args": [str(2**64)]}]}, "does not fit 64 bits"),
    "half-expression": (
        {"steps": [ALLOC, {"call": "free", "args": ["$a +"]}]},
        "expected a number or a $variable",
    ),
    "two-values": (
        {"steps": [ALLOC, {"call": "free", "args": ["$a 8"]}]},
        "expected one of + - * at column 4",
    ),
    "dollar-in-bind": ({"steps": [{**ALLOC, "bind": "$a"}]}, "without a leading `$`"),
    "unknown-relation": ({"steps": [{**ALLOC, "expect": {"neq": 0}}]}, "`neq` is no relation"),
    "empty-relation": ({"steps": [{**ALLOC, "expect": {}}]}, "expects nothing"),
    "odd-hex": ({"steps": [{"write": 8, "hex": "123"}]}, "an even number of hex digits"),
    "hex-and-fill": (
        {"steps": [{"write": 8, "hex": "12", "fill": "00", "len": 1}]},
        "as `hex`, or as `fill`",
    ),
    "read-without-length": ({"steps": [{"read": 8, "expect": "00"}]}, "`read` needs `len`"),
    "length-differs": (
        {"steps": [{"read": 8, "len": 2, "expect": "00"}]},
        "`len` is 2, but `expect` holds 1 bytes",
    ),
    "trap-with-result": ({"steps": [{**ALLOC, "expect_trap": "any"}]}, "a call that traps has no result"),
    "unknown-trap": ({"steps": [{"call": "reset", "expect_trap": "sigsegv"}]}, "is no trap kind"),
    "trap-as-list": ({"steps": [{"call": "reset", "expect_trap": ["fuel"]}]}, "is no trap kind"),
    "step-without-words": ({"steps": [{"call": "reset", "why": 3}]}, "`why` is a sentence, got 3"),
    "instance-not-made": (
        {"steps": [{"call": "reset", "instance": "b"}]},
        "no earlier step makes instance `b`",
    ),
    "cut-in-loop": (
        {
            "steps": [
                {"repeat": 2, "steps": [{"cut": {"call": "reset"}, "every": 1, "max": 2, "then": [ALLOC]}]}
            ]
        },
        "may not stand inside",
    ),
    "cut-without-max": (
        {"steps": [{"cut": {"call": "reset"}, "every": 1, "then": [ALLOC]}]},
        "`cut` needs `max`",
    ),
    "nested-fault": (
        {
            "steps": [
                {"repeat": 2, "steps": [{"for": "n", "in": [1], "steps": [{"call": "free", "args": ["$m"]}]}]}
            ]
        },
        "`$m` is not bound",
    ),
}

LOAD = {"load": "kit"}

SDK_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "level": ({"load": "kit", "log_level": ["info"]}, "['info'] is no level"),
    "headers": ({"load": "kit", "http_response_headers": "yes"}, "expected true or false"),
    "reject": ({"load": "kit", "expect_reject": None}, "a text that the message must hold"),
    "place": ({"load": "../lint/operations"}, "there is no plug-in '../lint/operations'"),
    "error-number": ({"invoke": "echo", "expect_error": 3}, "a text, or a list of texts"),
    "error-null": ({"invoke": "echo", "expect_error": None}, "a text, or a list of texts"),
    "error-of-none": ({"invoke": "echo", "expect_error": []}, "a text, or a list of texts"),
    "two-inputs": ({"invoke": "echo", "input": "x", "hex": "00"}, "this has `input`, `hex`"),
    "cancel": ({"invoke": "echo", "cancel_after_ms": None}, "expected milliseconds"),
}

NOT_SEEN_BY_A_SCHEMA = {
    "other-topic",
    "future-since",
    "unknown-function",
    "wrong-number-of-arguments",
    "result-of-nothing",
    "unbound",
    "too-large-literal",
    "hex-and-fill",
    "length-differs",
    "trap-with-result",
    "instance-not-made",
    "cut-in-loop",
    "nested-fault",
}


@pytest.mark.parametrize(("change", "message"), FAULTS.values(), ids=FAULTS)
def test_case_fault_is_named(change: dict[str, Any], message: str, write_cases: Callable[..., Path]) -> None:
    folder = write_cases({"id": "toy/a", "steps": [ALLOC], **change})
    case_set, findings = read_cases(folder)
    assert [finding.message for finding in findings if message in finding.message], findings
    assert all(finding.where.startswith("toy.json") for finding in findings)
    assert not case_set.cases


@pytest.mark.parametrize(("step", "message"), SDK_FAULTS.values(), ids=SDK_FAULTS)
def test_fault_of_an_sdk_step_is_named(
    step: dict[str, Any], message: str, write_cases: Callable[..., Path]
) -> None:
    folder = write_cases({"id": "toy/a", "profile": "sdk", "steps": [LOAD, step]})
    (finding,) = read_cases(folder)[1]
    assert message in finding.message
    assert finding.where.startswith("toy.json toy/a, steps[1]")


def test_nested_fault_is_placed(write_cases: Callable[..., Path]) -> None:
    folder = write_cases({"id": "toy/a", **FAULTS["nested-fault"][0]})
    (finding,) = read_cases(folder)[1]
    assert finding.where == "toy.json toy/a, steps[0].steps[0].steps[0].args[0]"


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_case_schema_sees_what_the_reader_sees(fault: str, write_cases: Callable[..., Path]) -> None:
    folder = write_cases({"id": "toy/a", "steps": [ALLOC], **FAULTS[fault][0]})
    document = json.loads((folder / "toy.json").read_text(encoding="utf-8"))
    schema = json.loads((SUITE / "schema" / "case.schema.json").read_text(encoding="utf-8"))
    is_valid = jsonschema.Draft202012Validator(schema).is_valid(document)
    assert is_valid == (fault in NOT_SEEN_BY_A_SCHEMA)
    assert is_valid == (not list(load_check("case.schema.json")(document, "")))


def test_every_case_of_the_suite_is_sound() -> None:
    case_set, findings = read_cases(SUITE / "cases")
    assert not findings
    assert len(case_set.cases) >= 120
    for path in sorted((SUITE / "cases").glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        assert list(load_check("case.schema.json")(document, "")) == [], path.name


def test_id_used_twice_is_found(write_cases: Callable[..., Path]) -> None:
    folder = write_cases({"id": "toy/a", "steps": [ALLOC]}, {"id": "toy/a", "steps": [ALLOC]})
    assert "used twice" in read_cases(folder)[1][0].message


def test_id_of_a_removed_case_is_not_used_again(write_cases: Callable[..., Path]) -> None:
    stone = {"id": "toy/a", "removed": "1.0.0", "why": "it asked too much"}
    folder = write_cases({"id": "toy/a", "steps": [ALLOC]}, removed=[stone])
    assert "also after removal" in read_cases(folder)[1][0].message


def test_removed_case_says_why_when_asked_for(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    stone = {"id": "toy/gone", "removed": "1.0.0", "why": "it asked too much"}
    folder = write_cases({"id": "toy/a", "steps": [ALLOC]}, removed=[stone])
    ran = cli("run", toy_kernel, "--cases", folder, "--command", "x", "--case", "toy/gone")
    assert ran.code == 2
    assert "it was removed in 1.0.0: it asked too much" in ran.err


def test_plugin_that_was_not_loaded_is_named(write_cases: Callable[..., Path]) -> None:
    folder = write_cases({"id": "toy/a", "profile": "sdk", "steps": [{"invoke": "echo"}]})
    (finding,) = read_cases(folder)[1]
    assert finding.message == "no earlier step makes instance `a`"


@pytest.mark.parametrize("text", ['{"cases": ["\\ud800"]}', "[" * 100_000], ids=["half-a-pair", "too-deep"])
def test_file_that_cannot_be_used_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "toy.json").write_text(text, encoding="utf-8")
    (finding,) = read_cases(tmp_path)[1]
    assert (finding.where, finding.message[:15]) == ("toy.json", "this is no JSON")


def test_key_written_twice_is_found(tmp_path: Path) -> None:
    (tmp_path / "toy.json").write_text('{"cases": [], "cases": []}', encoding="utf-8")
    assert "`cases` stands twice" in read_cases(tmp_path)[1][0].message


def test_cases_check_prints_findings_and_fails(
    cli: Callable[..., Ran], write_cases: Callable[..., Path]
) -> None:
    folder = write_cases({"id": "toy/a", "steps": [{"call": "allok", "args": [1]}]})
    ran = cli("cases", "--check", "--cases", folder)
    assert ran.code == 5
    assert "error[case]: 'allok' is no function of the contract" in ran.err
    assert "at: toy.json toy/a, steps[0]" in ran.err


def test_digest_follows_meaning_and_not_layout(write_cases: Callable[..., Path]) -> None:
    one, two = {"id": "toy/a", "steps": [ALLOC]}, {"id": "toy/b", "steps": [ALLOC]}
    first = read_cases(write_cases(one, two))[0].sha256
    assert read_cases(write_cases(two, one))[0].sha256 == first
    assert read_cases(write_cases(two, {**one, "title": "other"}))[0].sha256 != first
