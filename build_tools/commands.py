"""What each command does: arguments in, text on stdout, exit code out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from build_tools import files
from build_tools.abi import read_abi
from build_tools.config import find_cache, find_project
from build_tools.errors import ExitCode
from build_tools.inspection import facts_to_data, render_facts
from build_tools.pipeline import Request, guess_flavour, make_kernel
from build_tools.report import findings_to_data, render_findings, render_staged, staged_to_data, to_json
from build_tools.validate import Expectation, check_module
from build_tools.wasm import find_invalidity, parse_module

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - it has no public name

# Modules that bring further commands append a function that adds their parsers.
EXTENSIONS: list[Callable[[Subparsers], None]] = []


def kernel(args: argparse.Namespace) -> int:
    """Make and stage the kernel."""
    project = find_project()
    staged = make_kernel(
        Request(
            project=project,
            cache=find_cache(),
            out=args.out or project.package,
            prebuilt=args.prebuilt,
            is_forced=args.force,
            may_download=not args.offline,
        )
    )
    print(to_json(staged_to_data(staged)) if args.json else render_staged(staged))
    return ExitCode.DONE


def inspect(args: argparse.Namespace) -> int:
    """Show one screen of facts."""
    data = files.read_bounded(args.file)
    module = parse_module(data)
    reason = find_invalidity(data)
    if args.json:
        print(to_json(facts_to_data(module, reason)))
    else:
        print(render_facts(module, reason, name=str(args.file)))
    return ExitCode.DONE


def abi_check(args: argparse.Namespace) -> int:
    """List findings on any module."""
    abi = read_abi(find_project().abi_toml)
    data = files.read_bounded(args.file)
    flavour = args.flavour or guess_flavour(data, abi) or "context"
    findings = check_module(data, Expectation(abi=abi, flavour=flavour))
    if args.json:
        result = {"file": str(args.file), "flavour": flavour, "findings": findings_to_data(findings)}
        print(to_json(result))
    elif findings:
        print(render_findings(findings))
        print(f"{len(findings)} finding(s) against ABI {abi.version}, flavour {flavour}")
    else:
        print(f"{args.file}: no findings against ABI {abi.version}, flavour {flavour}")
    return ExitCode.FINDINGS if findings else ExitCode.DONE
