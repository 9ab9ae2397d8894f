"""What `python -m build_tools test` runs beside pytest: every check that a submission must pass."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from build_tools.base.errors import BuildToolsError, DiskFullError, ReadOnlyError, ToolFailedError
from build_tools.base.process import run
from build_tools.checks.fast import leave_out
from build_tools.checks.native import compile_native_tests
from build_tools.toolchain.find import CARGO_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from build_tools.base.project import Project

TYPED = ("build_tools", "extism_kernel_pkg", "tests")
RUSTUP_HINT = "install Rust from https://rustup.rs, or set EXTISM_KERNEL_CARGO"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One tool of the run."""

    name: str
    argv: tuple[str, ...]
    cwd: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """A step that does not run: why, and what would change that. `is_chosen`: as `Skipped` has it."""

    name: str
    reason: str
    hint: str
    is_chosen: bool = False


def check_writable(project: Project) -> None:
    """Raise `ReadOnlyError` where the tests cannot run: they stage a kernel in the checkout."""
    for folder in (project.root, project.package):
        if not os.access(folder, os.W_OK):
            raise ReadOnlyError(
                "the tests write into the checkout, and it cannot be written",
                where=str(folder),
                hint=f"copy it first: `cp -r {shlex.quote(str(project.root))} FOLDER`",
            )


def plan(project: Project, *, is_fast: bool, cargo: str | None) -> list[Step | Skip]:
    """Return the steps beside pytest."""
    root = project.root
    python = sys.executable
    steps: list[Step | Skip] = [
        Step(name="ruff check", argv=(python, "-m", "ruff", "check", "."), cwd=root),
        Step(name="ruff format", argv=(python, "-m", "ruff", "format", "--check", "."), cwd=root),
        Step(name="mypy", argv=(python, "-m", "mypy", "--strict", *TYPED), cwd=root),
    ]
    steps += _cargo_steps(project, is_fast=is_fast, cargo=cargo)
    return steps


def native_steps(project: Project, cache: Path) -> list[Step | Skip]:
    """Return the crate's native tests as steps, for a machine without cargo."""
    try:
        tests = compile_native_tests(project, cache, cache / "target" / "native")
    except (DiskFullError, ToolFailedError) as error:
        print(error.render(), file=sys.stderr, flush=True)
        return [Step(name="native tests cannot be compiled", argv=("false",), cwd=project.kernel_src)]
    except BuildToolsError as error:
        return [Skip(name="native tests", reason=error.message, hint=error.hint or RUSTUP_HINT)]
    if isinstance(tests, str):
        return [Skip(name="native tests", reason=tests, hint=RUSTUP_HINT)]
    return [
        Step(name=f"native {test.name}", argv=(str(test.program),), cwd=project.kernel_src) for test in tests
    ]


def _cargo_steps(project: Project, *, is_fast: bool, cargo: str | None) -> list[Step | Skip]:
    twin = f"--manifest-path={project.root / 'tests' / 'native' / 'Cargo.toml'}"
    clippy, strictly = ("clippy", "--locked", "--all-targets"), ("--", "-D", "warnings")
    wanted = [
        ("cargo fmt", ("fmt", "--check"), "rustup component add rustfmt"),
        ("cargo fmt of the native twin", ("fmt", "--check", twin), "rustup component add rustfmt"),
        ("cargo clippy", (*clippy, *strictly), "rustup component add clippy"),
        ("cargo clippy of the native twin", (*clippy, twin, *strictly), "rustup component add clippy"),
    ]
    steps: list[Step | Skip] = []
    if is_fast:
        out = leave_out("cargo test", "the native tests", "cargo test")
        steps.append(Skip(name=out.name, reason=out.reason, hint=f"{out.fix} in kernel-src", is_chosen=True))
    else:
        wanted.append(("cargo test", ("test", "--locked"), RUSTUP_HINT))
    for name, arguments, hint in wanted:
        if cargo is None:
            if name != "cargo test":  # for the tests a compiler will do: see `native_steps`
                steps.append(Skip(name=name, reason="no `cargo` on PATH", hint=RUSTUP_HINT))
        elif not _works((cargo, arguments[0], "--help"), project.kernel_src):
            steps.append(Skip(name=name, reason=f"`cargo {arguments[0]}` does not run here", hint=hint))
        else:
            steps.append(Step(name=name, argv=(cargo, *arguments), cwd=project.kernel_src))
    return steps


def find_cargo() -> str | None:
    """Return the cargo of this machine, or `None` if there is none that runs."""
    return shutil.which(os.environ.get(CARGO_VARIABLE) or "cargo")


def _works(argv: Sequence[str], cwd: Path) -> bool:
    try:
        run(argv, cwd=cwd, env={"RUSTUP_AUTO_INSTALL": "0"}, timeout=60)
    except BuildToolsError:
        return False
    return True
