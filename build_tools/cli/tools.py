"""The commands around the build; none of them needs a dependency to be imported."""

from __future__ import annotations

import dataclasses
import importlib
import os
import shlex
import sys
from typing import TYPE_CHECKING

from build_tools.base.cache import find_cache
from build_tools.base.errors import ExitCode, NotStagedError
from build_tools.base.findings import to_json
from build_tools.base.process import run, run_through
from build_tools.base.project import find_project
from build_tools.checks.clauses import find_citations, group, read_clauses
from build_tools.checks.clauses import render as render_clauses
from build_tools.checks.clauses import render_markdown as render_coverage
from build_tools.checks.doctor import can_build, examine, may_build
from build_tools.checks.doctor import render as render_diagnoses
from build_tools.kernel.values import FILENAMES
from build_tools.release.site import build_site
from build_tools.toolchain.find import Search

if TYPE_CHECKING:
    import argparse

    from build_tools.base.project import Project

RELOCK = (
    "--universal",
    "--python-version=3.10",
    "--generate-hashes",
    "--no-annotate",
    "--no-emit-index-url",
    "--quiet",
    "--custom-compile-command=python -m build_tools relock",
)


def relock(args: argparse.Namespace) -> int:  # noqa: ARG001 - commands have one signature
    """Resolve every `*.in` anew: for all supported Pythons and systems, with digests, without addresses."""
    folder = find_project().tools / "requirements"
    names = ("build", "dev")  # the others build on these
    others = sorted(path.stem for path in folder.glob("*.in") if path.stem not in names)
    for name in (*names, *others):
        print(f"locking {name}", file=sys.stderr)
        arguments = [*RELOCK, f"--output-file={name}.txt", f"{name}.in"]
        run(["uv", "pip", "compile", *arguments], cwd=folder, install="python -m pip install uv")
    return ExitCode.DONE


def doctor(args: argparse.Namespace) -> int:
    """Say what this machine has and the command for the rest."""
    search = Search(
        project=find_project(), cache=find_cache(), codegen=(), may_download=False, is_survey=True
    )
    diagnoses = examine(search)
    print(
        to_json([dataclasses.asdict(item) for item in diagnoses])
        if args.json
        else render_diagnoses(diagnoses)
    )
    return ExitCode.DONE if can_build(diagnoses) or may_build(diagnoses) else ExitCode.TOOLCHAIN


def site(args: argparse.Namespace) -> int:
    """Build the site from the Markdown of the checkout."""
    project = find_project()
    out = args.out or project.root / "build" / "site"
    count = build_site(project, out.absolute())
    print(
        f"{count} pages in {out}; to look at them: python -m http.server --directory {shlex.quote(str(out))}"
    )
    return ExitCode.DONE


def bench(args: argparse.Namespace) -> int:
    """Run the module that counts costs."""
    code: int = importlib.import_module("build_tools.bench.command").main(args.arguments)
    return code


def clauses(args: argparse.Namespace) -> int:
    """List what holds each clause; a clause that nothing holds is a finding."""
    project = find_project()
    stated = read_clauses(project.kernel_src / "CONTRACT.md")
    groups = group(stated, find_citations(project.root))
    if args.json:
        found = {
            clause: [dataclasses.asdict(each) for each in citations] for clause, citations in groups.items()
        }
        print(to_json(found))
    else:
        print(render_coverage(groups) if args.markdown else render_clauses(groups))
    return ExitCode.DONE if all(groups.values()) else ExitCode.FINDINGS


def conformance(args: argparse.Namespace) -> int:
    """Run the conformance suite, which is a distribution of its own.

    Without a command of the suite the staged kernel is judged, on every runtime there is or on those that
    `--runtime NAME` picks.
    """
    project = find_project()
    suite = project.root / "tests" / "conformance"
    paths = [str(suite), *filter(None, [os.environ.get("PYTHONPATH")])]
    argv = [sys.executable, "-m", "extism_kernel_conformance", *find_suite_arguments(args.arguments, project)]
    return run_through(argv, cwd=project.root, env={"PYTHONPATH": os.pathsep.join(paths)})


def find_suite_arguments(arguments: list[str], project: Project) -> list[str]:
    """Return the suite's command line: as given, or a run of the staged kernel for mere options.

    Raises `NotStagedError` if a run is asked for and nothing is staged.
    """
    if arguments and (not arguments[0].startswith("-") or arguments[0] in {"-h", "--help", "--version"}):
        return arguments
    kernels = [project.package / name for name in FILENAMES.values()]
    missing = [kernel.name for kernel in kernels if not kernel.is_file()]
    if missing:
        raise NotStagedError(missing, where=str(project.package))
    names = {"--runtime", "--adapter", "--command"}
    has_choice = any(argument.partition("=")[0] in names for argument in arguments)
    choice = [] if has_choice else ["--adapter", "all"]
    return ["run", *map(str, kernels), *choice, *arguments]
