from __future__ import annotations

import copy
import sys
from typing import TYPE_CHECKING, Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from build_tools.base.errors import ContractError, ExitCode
from build_tools.kernel.abi import parse_abi, read_abi

from .conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from build_tools.kernel.abi import Abi

    Edit = Callable[[dict[str, Any]], object]

ABI_TOML = ROOT / "kernel-src" / "abi.toml"


@pytest.fixture
def table() -> dict[str, Any]:
    return copy.deepcopy(tomllib.loads(ABI_TOML.read_text(encoding="utf-8")))


def test_abi_names_twenty_functions_and_both_generations(abi: Abi) -> None:
    names = abi.expected_exports("context", with_aliases=True)
    assert len(abi.functions) == 20
    assert {"memory", "alloc", "extism_alloc", "extism_context"} <= names.keys()
    assert "extism_context" not in abi.expected_exports("core", with_aliases=True)
    assert "extism_alloc" not in abi.expected_exports("core", with_aliases=False)


FAULTS: dict[str, tuple[Edit, str]] = {
    "unknown-key": (lambda t: t["function"][0].update(colour="red"), r"function\[0\]: unknown key `colour`"),
    "unknown-table": (lambda t: t.update(table={}), "file: unknown key `table`"),
    "missing-key": (lambda t: t["function"][1].pop("meaning"), r"function\[1\]: `meaning` is missing"),
    "wrong-type": (lambda t: t["abi"].update(version="2"), "abi: `version` is '2', should be a whole number"),
    "bool-as-number": (lambda t: t["abi"].update(version=True), "abi: `version` is True"),
    "duplicate-name": (lambda t: t["function"][1].update(name="alloc"), "`alloc` stands there twice"),
    "duplicate-alias": (
        lambda t: t["function"][1].update(alias="extism_alloc"),
        "`extism_alloc` stands there twice",
    ),
    "signature": (
        lambda t: t["function"][0].update(type="(i64)->i64"),
        r"`type` is `\(i64\)->i64`, should be like",
    ),
    "name": (
        lambda t: t["function"][0].update(name="Alloc!"),
        "`name` is `Alloc!`, should be of the characters",
    ),
    "clause": (
        lambda t: t["memory"].update(clauses=["S1"]),
        "memory: `clauses` names `S1`, should be like `A-1`",
    ),
    "global-type": (lambda t: t["global"][0].update(type="i31"), "`type` is `i31`, should be one of"),
    "flavour": (lambda t: t["global"][0].update(flavours=["fancy"]), "`flavours` names `fancy`"),
    "mutability": (
        lambda t: t["global"][0].update(mutable="yes"),
        "`mutable` is 'yes', should be true or false",
    ),
    "feature": (lambda t: t["features"].update(core=["warp"]), "features: `core` names `warp`"),
    "repeated-feature": (lambda t: t["features"]["core"].append("bulk-memory"), "names `bulk-memory` twice"),
    "newer-than-abi": (lambda t: t["function"][0].update(since=9), "`alloc`: `since` is 9, newer than"),
    "no-list": (lambda t: t.update(function={}), "function: is dict, should be an array of tables"),
    "no-table": (lambda t: t.update(memory=[]), "memory: is list, should be a table"),
    "missing-table": (lambda t: t.pop("size"), "file: `size` is missing"),
    "empty-text": (lambda t: t["memory"].update(meaning=" "), "`meaning` is ' ', should be a text"),
    "no-strings": (
        lambda t: t["memory"].update(clauses="S-1"),
        "`clauses` is 'S-1', should be an array of texts",
    ),
    "size": (
        lambda t: t["size"].update(core_max=0),
        "size: `core_max` is 0, should be a whole number of at least 1",
    ),
}


@pytest.mark.parametrize(("edit", "message"), FAULTS.values(), ids=FAULTS)
def test_parse_abi_names_the_fault(edit: Edit, message: str, table: dict[str, Any]) -> None:
    edit(table)
    with pytest.raises(ContractError, match=message) as caught:
        parse_abi(table, where="abi.toml")
    assert len(caught.value.problems) == 1, caught.value.problems
    assert caught.value.exit_code == ExitCode.MALFORMED_INPUT


def test_parse_abi_names_all_faults_at_once(table: dict[str, Any]) -> None:
    table["abi"]["version"] = -1
    table["function"][3].pop("since")
    with pytest.raises(ContractError) as caught:
        parse_abi(table, where="abi.toml")
    assert len(caught.value.problems) == 2
    assert "`since` is missing" in caught.value.render()


FILES = {
    "duplicate-key": (b"[abi]\nversion = 1\nversion = 2\n", "line 3"),
    "not-toml": (b"[abi\n", "line 1"),
    "not-utf8": (b"\xff\xfe", "byte 0 is not UTF-8"),
}


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES)
def test_read_abi_says_where_the_toml_breaks(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "abi.toml"
    path.write_bytes(content)
    with pytest.raises(ContractError, match=message):
        read_abi(path)


def test_deep_nesting_is_a_fault_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "abi.toml"
    path.write_text("x = " + "[" * 100_000, encoding="utf-8")
    with pytest.raises(ContractError, match="nested too deeply"):
        read_abi(path)
