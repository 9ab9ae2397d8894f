from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from build_tools.base import files
from build_tools.base.errors import ContractError, ToolchainNotFoundError
from build_tools.base.project import find_project
from build_tools.kernel.canonical import Canonical, compare_info, read_canonical, write_canonical
from build_tools.release import toolchains
from build_tools.release.toolchains import Made, Witnesses, compare_toolchains

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO = {"context": "a" * 64, "core": "b" * 64}, {"context": "c" * 64, "core": "d" * 64}
CANONICAL = Canonical(source_sha256="5", rustc="1.2.3", sha256=ONE)


def info(digests: dict[str, str], *, source: str = "5", **toolchain: object) -> dict[str, Any]:
    return {
        "flavours": {flavour: {"sha256": digest} for flavour, digest in digests.items()},
        "source_sha256": source,
        "toolchain": toolchain or {"rustc": "1.2.3", "is_release": True},
    }


CASES = {
    "equal-bytes": (info(ONE, source="6", rustc="0"), True, "the canonical kernel"),
    "other-sources": (info(TWO, source="6", rustc="1.2.3"), False, "other sources"),
    "other-version": (info(TWO, rustc="1.2.4"), False, "rustc 1.2.4 instead of 1.2.3"),
    "other-build": (info(TWO, rustc="1.2.3"), False, "another build of that compiler"),
    "prebuilt": (info(TWO, origin="prebuilt"), False, "a prebuilt module"),
}


@pytest.mark.parametrize(("described", "is_canonical", "reason"), CASES.values(), ids=CASES)
def test_kernel_is_told_from_the_canonical_one(
    described: dict[str, Any], is_canonical: bool, reason: str
) -> None:
    comparison = compare_info(described, CANONICAL)
    assert comparison.is_canonical is is_canonical
    assert reason in comparison.reason


def test_record_is_of_the_sources_as_they_are() -> None:
    project = find_project()
    recorded = read_canonical(project.canonical_json)
    now = files.digest_files(project.root, project.kernel_inputs())
    assert recorded.source_sha256 == now, "run `python -m build_tools kernel --record`"


def test_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_canonical(tmp_path / "canonical.json", info(ONE))
    assert read_canonical(tmp_path / "canonical.json") == CANONICAL


def test_kernel_of_another_compiler_is_not_recorded(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="not made by the pinned compiler"):
        write_canonical(tmp_path / "canonical.json", info(ONE, rustc="9", is_release=False))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"source_sha256": "", "rustc": "", "sha256": {"core": ""}}']
)
def test_broken_record_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "canonical.json"
    path.write_text(text)
    with pytest.raises(ContractError) as caught:
        read_canonical(path)
    assert "kernel --record" in str(caught.value.hint)


def made(route: str, digests: dict[str, str], *, is_pinned: bool = True) -> Made:
    return Made(route=route, toolchain=route, rustc="1.2.3", is_pinned=is_pinned, sha256=digests)


def test_only_builds_of_the_pinned_compiler_are_compared() -> None:
    both = made("rustup", ONE), made("distribution", ONE)
    assert Witnesses(made=(*both, made("PATH", TWO, is_pinned=False)), missing=()).is_equal
    assert not Witnesses(made=(*both, made("PATH", TWO)), missing=()).is_equal


def test_one_compiler_vouches_for_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def make(route: str) -> Made:
        if route != "rustup":
            raise ToolchainNotFoundError([], hint="")
        return made(route, ONE)

    monkeypatch.setattr(toolchains, "_make", lambda _project, _cache, route, **_: make(route))
    with pytest.raises(ToolchainNotFoundError, match=r"rustup: rustc 1\.2\.3"):
        compare_toolchains(find_project(), tmp_path)
