"""The order of the stages, known here and nowhere else."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from build_tools.base import files
from build_tools.base.errors import BuildToolsError, FindingsError
from build_tools.base.findings import render_findings
from build_tools.kernel.abi import read_abi
from build_tools.kernel.compile import codegen_flags, compile_kernel
from build_tools.kernel.crate import read_crate
from build_tools.kernel.lower import lower_module
from build_tools.kernel.stage import make_info, read_staged, stage_kernel
from build_tools.kernel.stamp import stamp_module
from build_tools.kernel.validate import Expectation, check_module
from build_tools.kernel.values import FILENAMES, FLAVOURS, INFO_FILENAME, CompiledModule, ValidatedModule
from build_tools.kernel.version import read_version
from build_tools.toolchain.find import CARGO_VARIABLE, RUSTC_VARIABLE, Search, find_toolchain
from build_tools.wasm.module import parse_module

if TYPE_CHECKING:
    from pathlib import Path

    from build_tools.base.findings import Finding
    from build_tools.base.project import Project
    from build_tools.kernel.abi import Abi
    from build_tools.kernel.values import Flavour, LoweredModule, StagedKernel, StampedModule
    from build_tools.wasm.module import Module


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One run of `kernel`: where to stage, and from what.

    `route` is the one place to look for a compiler (see `toolchain.find.candidates`); `None` is all of them.
    """

    project: Project
    cache: Path
    out: Path
    prebuilt: Path | None = None
    is_forced: bool = False
    may_download: bool = True
    allowed: frozenset[str] = frozenset()
    route: str | None = None


def make_kernel(request: Request) -> StagedKernel:
    """Compile (or take a prebuilt module), lower, validate, stamp, validate again, and stage.

    Does nothing if what is staged was made from the same inputs and has not been touched since.
    """
    if request.prebuilt is not None:
        files.check_ordinary(request.prebuilt)
    name = files.sha256_of(os.fsencode(request.out.resolve()))[:16]
    try:
        files.make_folder(request.cache / "staged")
    except BuildToolsError as error:
        # Builders of distributions have no home folder. Only knowing what is up to date needs one.
        log.warning("warning[no-cache]: %s: %s; building without it", error.where, error.message)
        return _make(request)
    with files.lock(request.cache / "staged" / f"{name}.lock"):
        record = request.cache / "staged" / f"{name}.json"
        inputs = digest_inputs(request)
        if not request.is_forced:
            staged = find_current(request.out, record, inputs)
            if staged is not None:
                return staged
        staged = _make(request)
        files.write_whole(record, json.dumps({"inputs": inputs, **_state(request.out)}).encode())
        return staged


def digest_inputs(request: Request) -> str:
    """Return one digest over all that decides the kernel's bytes, except the compiler that is found."""
    project = request.project
    parts = [files.digest_files(project.root, project.kernel_inputs() + project.tool_inputs())]
    parts += sorted(request.allowed)
    parts += [os.environ.get(name, "") for name in (RUSTC_VARIABLE, CARGO_VARIABLE)]
    if request.prebuilt is not None:
        parts.append(files.read_digest(request.prebuilt))
        beside = request.prebuilt.parent / INFO_FILENAME  # it may name the toolchain
        parts.append(files.read_digest(beside) if beside.is_file() else "")
    return files.sha256_of("\n".join(parts).encode())


def find_current(out: Path, record: Path, inputs: str) -> StagedKernel | None:
    """Return what is staged if it was made from `inputs` and is whole, `None` otherwise."""
    try:
        known = json.loads(record.read_bytes())
        if known != {"inputs": inputs, **_state(out)}:
            return None
        info = json.loads((out / INFO_FILENAME).read_bytes())
        return read_staged(out, info, is_fresh=False)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _state(out: Path) -> dict[str, str]:
    names = (*FILENAMES.values(), INFO_FILENAME)
    return {name: files.sha256_of((out / name).read_bytes()) for name in names}


def _make(request: Request) -> StagedKernel:
    project = request.project
    abi = read_abi(project.abi_toml)
    compiled = _compile(request, abi)
    where = str(request.prebuilt) if request.prebuilt else "the compiled module"
    validated = validate(lower_module(compiled), abi, where=where, allowed=request.allowed)
    stamped = [stamp_module(validated, abi, flavour) for flavour in FLAVOURS]
    allowed = check_stamped(stamped, abi, version=compiled.version, allowed=request.allowed)
    info = make_info(
        stamped,
        abi,
        version=compiled.version,
        toolchain=compiled.toolchain,
        source_sha256=files.digest_files(project.root, project.kernel_inputs()),
        allowed=allowed,
    )
    if request.prebuilt is not None:
        info["toolchain"] = _carried_toolchain(info, request.prebuilt)
    return stage_kernel(stamped, info, request.out)


def _carried_toolchain(info: dict[str, Any], prebuilt: Path) -> dict[str, Any]:
    """Return the toolchain that the kernel info beside a prebuilt module names, if all else in it is equal.

    A kernel that was compiled once is then packaged to the same bytes as one compiled on the spot.
    """
    unknown: dict[str, Any] = info["toolchain"]
    try:
        beside = json.loads(files.read_bounded(prebuilt.parent / INFO_FILENAME))
        toolchain: dict[str, Any] = beside["toolchain"]
    except (BuildToolsError, ValueError, TypeError, KeyError):
        return unknown
    return toolchain if beside == {**info, "toolchain": toolchain} else unknown


def _compile(request: Request, abi: Abi) -> CompiledModule:
    project = request.project
    if request.prebuilt is not None:
        data = files.read_bounded(request.prebuilt)
        version = read_version(project.cargo_toml)
        return CompiledModule(data=data, sha256=files.sha256_of(data), version=version, toolchain=None)
    search = Search(
        project=project,
        cache=request.cache,
        codegen=codegen_flags(abi),
        may_download=request.may_download,
        route=request.route,
    )
    target = search.read_pins().target
    crate = read_crate(project, target=target)
    return compile_kernel(project, crate, abi, find_toolchain(search), target=target)


def validate(lowered: LoweredModule, abi: Abi, *, where: str, allowed: frozenset[str]) -> ValidatedModule:
    """Return the module as validated. Raises `FindingsError` with all that is wrong.

    A module that was finished before (a prebuilt kernel) is held against its own flavour, so that a foreign
    or an old one is refused rather than stamped anew.
    """
    flavour = guess_flavour(lowered.module, abi)
    version = lowered.version if flavour else None
    findings = check_module(lowered.module, Expectation(abi=abi, flavour=flavour, version=version))
    return ValidatedModule(lowered=lowered, warnings=_refuse(findings, where, allowed))


def guess_flavour(module: Module, abi: Abi) -> Flavour | None:
    """Return the flavour that a finished module claims to be, or `None` for one without first names."""
    names = {export.name for export in module.exports}
    if not any(function.alias in names for function in abi.functions):
        return None
    owned = {entry.name for entry in abi.globals if "context" in entry.flavours}
    return "context" if names & owned else "core"


def check_stamped(
    modules: list[StampedModule], abi: Abi, *, version: str, allowed: frozenset[str]
) -> tuple[Finding, ...]:
    """Return the findings that are allowed. Raises `FindingsError` if a flavour has any other."""
    found: list[Finding] = []
    for module in modules:
        expectation = Expectation(abi=abi, flavour=module.flavour, version=version)
        parsed = module.module or parse_module(module.data)
        found += _refuse(check_module(parsed, expectation), FILENAMES[module.flavour], allowed)
    return tuple(found)


def _refuse(findings: list[Finding], where: str, allowed: frozenset[str]) -> tuple[Finding, ...]:
    refused = [finding for finding in findings if finding.code not in allowed]
    if refused:
        raise FindingsError(len(refused), render_findings(refused), where=where)
    if findings:
        log.warning("%s", render_findings(findings))
    return tuple(findings)
