"""The release workflow calls our commands where it builds, and nothing of ours where it has an identity."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from build_tools.cli.main import make_parser

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = ROOT / ".github" / "workflows"
WORKFLOW = (WORKFLOWS / "release.yml").read_text(encoding="utf-8")
JOBS = dict(re.findall(r"^  ([a-z]+):\n((?:(?:    .*)?\n)+)", WORKFLOW.split("\njobs:\n")[1], re.MULTILINE))
TOOLCHAIN = "rustup show active-toolchain || rustup toolchain install"
REGISTRIES = {"pypi", "npm", "maven", "crates", "nuget"}
BUILDING = {"build", "prove"}
COMPARES = "diff --recursive packages again"
PACKAGES = ("npm", "maven", "crate", "go", "nuget", "c")
RETIRED = re.compile(r"\b(?:macos-1[0-4]|ubuntu-20\.04|windows-20(?:16|19))\b")


def runs(job: str) -> list[str]:
    """Return the commands of a job that are one line."""
    return re.findall(r"^ *- run: (.+)$", JOBS[job], re.MULTILINE)


def permissions(job: str) -> set[str]:
    """Return what a job may write."""
    return set(re.findall(r"^      ([a-z-]+): write", JOBS[job], re.MULTILINE))


def test_every_job_is_known() -> None:
    assert set(JOBS) == BUILDING | REGISTRIES | {"attest", "github"}


@pytest.mark.parametrize("job", sorted(BUILDING))
def test_builders_run_nothing_but_our_commands_and_may_write_nothing(job: str) -> None:
    foreign = [line for line in runs(job) if not line.startswith("python -m build_tools ")]
    assert set(foreign) <= {TOOLCHAIN, COMPARES}
    assert "run: |" not in JOBS[job]
    assert permissions(job) == set()


def test_our_commands_exist_with_their_options() -> None:
    lines = [line.split(" > ")[0] for job in JOBS for line in runs(job) if "build_tools " in line]
    assert len(lines) > len(BUILDING)
    for line in lines:
        words = line.replace('"$INDEX"', "https://a/").replace('"$SIMPLE"', "https://b/").split()
        make_parser().parse_args(words[3:])


def test_release_publishes_what_was_built_once() -> None:
    assert WORKFLOW.count("build_tools wheel") == 1
    for name in PACKAGES:
        assert WORKFLOW.count(f"build_tools package {name} --out packages/{name}\n") == 1, name
        assert JOBS["build"].count(f"build_tools package {name} ") == 1, name


def test_every_package_is_made_again_and_compared_before_it_is_published() -> None:
    made, again = (
        [line.partition(" --out ")[0] for line in runs(job) if re.search(r" (?:package|sbom) ", line)]
        for job in ("build", "prove")
    )
    assert again == made
    lines = runs("prove")
    assert "python -m build_tools kernel" in lines
    assert lines.index(COMPARES) > max(at for at, line in enumerate(lines) if "--out again/" in line)


@pytest.mark.parametrize("job", sorted(REGISTRIES))
def test_a_registry_gets_what_was_proved_and_runs_nothing_of_ours(job: str) -> None:
    text = JOBS[job]
    assert "needs: attest" in text
    assert f"environment: {job}" in text
    assert "build_tools " not in text.replace("build_tools/requirements", "")
    assert "dev.txt" not in text
    assert permissions(job) <= {"id-token"}


def test_the_order_is_build_prove_attest_registries_release() -> None:
    assert "needs: build\n" in JOBS["prove"]
    assert "--rebuilt build/rebuilt.sums --dry-run" in JOBS["prove"]
    assert "needs: prove\n" in JOBS["attest"]
    (needs,) = re.findall(r"needs: \[(.+)\]", JOBS["github"])
    assert set(needs.split(", ")) == REGISTRIES


def test_secrets_are_only_where_a_registry_knows_no_identity() -> None:
    assert [job for job in JOBS if "secrets." in JOBS[job]] == ["maven"]
    assert "--provenance" in JOBS["npm"]
    assert "--attestations" in JOBS["pypi"]


def test_the_uploader_alone_is_locked() -> None:
    lock = (ROOT / "build_tools" / "requirements" / "upload.txt").read_text(encoding="utf-8")
    names = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    assert {"twine", "pypi-attestations"} <= names
    assert not names & {"pytest", "ruff", "mypy", "wasmtime", "build", "uv"}


def test_runners_are_not_retired() -> None:
    for path in WORKFLOWS.glob("*.yml"):
        assert RETIRED.findall(path.read_text(encoding="utf-8")) == [], path.name
    assert RETIRED.findall("runs-on: macos-14") == ["macos-14"], "the pattern trips"


def test_systems_have_their_legs() -> None:
    text = (WORKFLOWS / "ci.yml").read_text(encoding="utf-8")
    for system in ("ubuntu-24.04", "macos-15", "windows-2025"):
        assert system in text
