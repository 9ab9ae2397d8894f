"""What the commands about finished modules do: arguments in, text on stdout, exit code out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from build_tools.base import files
from build_tools.base.cache import find_cache
from build_tools.base.errors import ExitCode, ModuleMalformedError, NotReproducibleError, UsageError
from build_tools.base.findings import findings_to_data, render_findings, to_json
from build_tools.base.project import find_project
from build_tools.cli.release_report import render_witnesses, witnesses_to_data
from build_tools.kernel.abi import read_abi
from build_tools.kernel.diff import Verdict, compare_modules
from build_tools.kernel.facts import facts_to_data, render_facts
from build_tools.kernel.pipeline import guess_flavour
from build_tools.kernel.validate import Expectation, check_module
from build_tools.release.toolchains import compare_toolchains
from build_tools.wasm.module import parse_module

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from build_tools.wasm.module import Module


def inspect(args: argparse.Namespace) -> int:
    """Show one screen of facts; of a malformed module the error as well."""
    data = files.read_bounded(args.file)
    module = parse_module(data)
    reason = module.invalidity
    error = None
    if reason is not None:
        hint = "it may have been cut short; fetch or build it again"
        error = ModuleMalformedError(f"is no valid module: {reason}", where=str(args.file), hint=hint)
    if args.json:  # one document, with the error in it if there is one
        print(to_json({**facts_to_data(module, reason), **(error.to_data() if error else {})}))
        return error.exit_code if error else ExitCode.DONE
    print(render_facts(module, reason, name=str(args.file)))
    if error is not None:
        raise error
    return ExitCode.DONE


def abi_check(args: argparse.Namespace) -> int:
    """List findings on any module."""
    abi = read_abi(find_project().abi_toml)
    data = files.read_bounded(args.file)
    module = parse_module(data)
    flavour = args.flavour or guess_flavour(module, abi) or "context"
    findings = check_module(module, Expectation(abi=abi, flavour=flavour))
    if args.json:
        result = {"file": str(args.file), "flavour": flavour, "findings": findings_to_data(findings)}
        print(to_json(result))
    elif findings:
        print(render_findings(findings))
        print(f"{len(findings)} finding(s) against ABI {abi.version}, flavour {flavour}")
    else:
        print(f"{args.file}: no findings against ABI {abi.version}, flavour {flavour}")
    return ExitCode.FINDINGS if findings else ExitCode.DONE


def _read_valid(path: Path) -> Module:
    """Return a module's facts. Raises `ModuleMalformedError` for one that is not valid."""
    data = files.read_bounded(path)
    module = parse_module(data)
    if module.invalidity:
        hint = "it may have been cut short; fetch or build it again"
        raise ModuleMalformedError(f"is no valid module: {module.invalidity}", where=str(path), hint=hint)
    return module


def abi_diff(args: argparse.Namespace) -> int:
    """Compare two modules and say which version step the difference asks for."""
    old, new = (_read_valid(path) for path in (args.old, args.new))
    findings, verdict = compare_modules(old, new)
    if args.json:
        print(to_json({"verdict": verdict.word, "findings": findings_to_data(findings)}))
    else:
        if findings:
            print(render_findings(findings))
        print(f"verdict: {verdict.word}")
    return ExitCode.FINDINGS if verdict is Verdict.MAJOR else ExitCode.DONE


def reproduce_toolchains(args: argparse.Namespace) -> int:
    """Make the kernel with every compiler that the machine can have, and compare the bytes."""
    if args.prebuilt or args.against:
        raise UsageError("`--toolchains` compiles; it goes neither with `--prebuilt` nor with `--against`")
    result = compare_toolchains(find_project(), find_cache(), may_download=not args.offline)
    print(to_json(witnesses_to_data(result)) if args.json else render_witnesses(result))
    if not result.is_equal:
        raise NotReproducibleError("the toolchains give different kernels for the same sources")
    return ExitCode.DONE
