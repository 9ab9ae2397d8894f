"""`python -m build_tools downstream`: real SDKs as shipped, and with this kernel inside."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base import files
from build_tools.base.cache import find_cache
from build_tools.base.errors import ExitCode, FileMissingError, NotStagedError
from build_tools.base.findings import to_json
from build_tools.base.progress import Progress
from build_tools.base.project import find_project
from build_tools.downstream import go_tests, plugins, workloads
from build_tools.downstream.adapter import start
from build_tools.downstream.chart import render_svg
from build_tools.downstream.programs import find_causes, read_cases, write_programs
from build_tools.downstream.rows import Facts, Outcome, to_data
from build_tools.downstream.sdks import select
from build_tools.downstream.suite import check_kernel, find_lacking, judge, read_report, render_matrix
from build_tools.downstream.tables import RUNTIMES, render_markdown, render_text
from build_tools.kernel.values import FILENAMES
from build_tools.kernel.version import read_version
from build_tools.wasm.module import parse_module

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from build_tools.base.project import Project
    from build_tools.downstream.sdks import Sdk
    from build_tools.downstream.suite import Judged

PARTS = ("cases", "tests", "workloads", "plugins")


def downstream(args: argparse.Namespace) -> int:
    """Compare and print; 1 if something that passes as shipped does not with the kernel given."""
    project = find_project()
    sdks = select(args.sdks)
    parts = args.part or PARTS
    suite = project.root / "tests" / "conformance"
    if not suite.is_dir():
        raise FileMissingError("the conformance suite is not here", where=str(suite), hint="use a checkout")
    kernel = _find_kernel(project, args.kernel)
    data = files.read_bounded(kernel)
    parse_module(data)  # it names what is wrong with bytes that are no module
    facts = _facts(project, kernel, data)
    lacking = find_lacking(project.root)
    present = [sdk for sdk in sdks if not any(lacking[name] for name in sdk.configurations)]
    judged = _judge(project, kernel, present, args.report) if "cases" in parts else {}
    for sdk in present:
        if sdk.given in judged:
            check_kernel(judged[sdk.given], facts.sha256)
    outcomes = [
        _compare(project, kernel, sdk, judged, parts)
        if sdk in present
        else Outcome(sdk=sdk, skipped=next(text for name in sdk.configurations if (text := lacking[name])))
        for sdk in sdks
    ]
    if args.svg:
        files.write_whole(args.svg, render_svg(facts, outcomes).encode())
    if args.programs:
        write_programs(project.root, outcomes, args.programs)
    if args.json:
        print(to_json(to_data(facts, outcomes)))
    else:
        causes = {each.sdk.name: find_causes(each, read_cases(project.root)) for each in outcomes}
        print(render_markdown(facts, outcomes, causes) if args.markdown else render_text(facts, outcomes))
        if args.markdown and args.matrix:
            print(f"\n{RUNTIMES}\n\n{render_matrix(project.root, args.matrix)}")
    return ExitCode.FINDINGS if any(outcome.worse for outcome in outcomes) else ExitCode.DONE


def _find_kernel(project: Project, named: Path | None) -> Path:
    path = named or project.package / FILENAMES["context"]
    if named is None and not path.is_file():
        raise NotStagedError([path.name], where=str(project.package))
    return path.resolve()


def _facts(project: Project, kernel: Path, data: bytes) -> Facts:
    return Facts(
        date=dt.datetime.now(dt.timezone.utc).date().isoformat(),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        # Without folders: what the page says is read on other machines.
        command="python -m build_tools " + " ".join(Path(word).name for word in sys.argv[1:]),
        kernel_file=kernel.name,
        sha256=files.sha256_of(data),
        size=len(data),
        version=read_version(project.cargo_toml),
    )


def _judge(project: Project, kernel: Path, sdks: Sequence[Sdk], report: Path | None) -> dict[str, Judged]:
    """Return what the suite says of the configurations: of a run, or of a report of an earlier one."""
    if report is not None:
        return read_report(project.root, report)
    found: dict[str, Judged] = {}
    for profile in ("sdk", "kernel"):
        names = [name for sdk in sdks if sdk.profile == profile for name in sdk.configurations]
        if not names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "report.jsonl"
            judge(project.root, kernel, names, path, profile)
            found |= read_report(project.root, path)
    return found


def _compare(
    project: Project, kernel: Path, sdk: Sdk, judged: dict[str, Judged], parts: Sequence[str]
) -> Outcome:
    cache = files.make_folder(find_cache())
    outcome = Outcome(sdk=sdk, shipped=judged.get(sdk.shipped), given=judged.get(sdk.given))
    if not (sdk.shipped and sdk.given):  # nothing to set side by side
        return outcome
    if "tests" in parts and sdk.name == "go":
        tests = (go_tests.run_tests(cache, None), go_tests.run_tests(cache, kernel))
        outcome = dataclasses.replace(outcome, tests=tests)
    if not {"workloads", "plugins"} & set(parts):
        return outcome
    with start(project.root, sdk.shipped, kernel) as one, start(project.root, sdk.given, kernel) as other:
        if "plugins" in parts:
            with Progress(f"playing the plug-ins of the host's tests on {sdk.name}"):
                found = plugins.compare(
                    one, other, plugins.read_calls(project.root), plugins.find_plugins(cache)
                )
            outcome = dataclasses.replace(outcome, plugins=found)
        if "workloads" in parts:
            with Progress(f"timing {len(workloads.WORKLOADS)} workloads on {sdk.name}"):
                ratios = workloads.compare(one, other, _read_work(project))
            outcome = dataclasses.replace(outcome, ratios=ratios)
    return outcome


def _read_work(project: Project) -> bytes:
    path = project.root / "tests" / "conformance" / "plugins" / "work.hex"
    return bytes.fromhex(files.read_bounded(path).decode("ascii").strip())
