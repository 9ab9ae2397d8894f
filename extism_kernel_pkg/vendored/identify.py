"""Says whose a module is: one of ours, one of upstream's, altered, or unknown."""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extism_kernel_pkg._wasm import (
    Cursor,
    InvalidModuleError,
    Section,
    SectionId,
    read_sections,
)
from extism_kernel_pkg._wasm.declarations import read_exports
from extism_kernel_pkg.vendored.known import VERSION, OwnKernel, UpstreamKernel, order

if TYPE_CHECKING:
    from extism_kernel_pkg.vendored.known import KnownKernels

VERSION_SECTION = "extism"
"""The custom section in which a kernel of ours carries its version (S-7 in CONTRACT.md)."""
PRODUCERS_SECTION = "producers"
FUNCTIONS = ("alloc", "free", "length", "load_u8", "store_u8", "output_set")
NAMES = frozenset(FUNCTIONS)
FIRST_NAMES = frozenset(f"extism_{name}" for name in FUNCTIONS)
CONTEXT_GLOBAL = "extism_context"
SECTIONS_MAX = 200
"""Sections of a kernel that are looked at; ours has nine."""
NAME_MAX = 100
EXPORT = "`extism-kernel export --flavour context --out FILE` writes the current one"


class Answer(enum.Enum):
    """What a kernel is; `exit_code` is what `verify` ends with if nothing worse was found."""

    CURRENT = "current"
    STALE = "stale"
    REBUILT = "rebuilt"
    UNKNOWN = "unknown"
    ALTERED = "altered"
    UPSTREAM = "upstream"
    UPSTREAM_STALE = "upstream-stale"

    @property
    def exit_code(self) -> int:
        """0, or a number from 10 on."""
        return _EXIT_CODES[self]


_EXIT_CODES = {
    Answer.CURRENT: 0,
    Answer.STALE: 10,
    Answer.REBUILT: 11,
    Answer.UNKNOWN: 12,
    Answer.ALTERED: 13,
    Answer.UPSTREAM: 14,
    Answer.UPSTREAM_STALE: 14,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is said of a kernel; `version`, `flavour`, `toolchain` are None where they cannot be known."""

    answer: Answer
    owner: str
    version: str | None = None
    flavour: str | None = None
    toolchain: str | None = None
    reason: str
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """One kernel and what it is: `size` bytes at `offset` of `where`, written down in `form`."""

    where: str
    offset: int
    form: str
    size: int
    sha256: str
    facts: Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A module as far as it could be read; `fault` is what ended that, None at the end of the bytes."""

    sections: list[Section]
    exports: frozenset[str]
    fault: InvalidModuleError | None

    @property
    def end(self) -> int:
        """Where the last section that was read ends."""
        return self.sections[-1].end if self.sections else 0


def measure(data: bytes) -> Measured | None:
    """Read the sections of what begins like a module; None unless it exports what a kernel exports."""
    sections: list[Section] = []
    exports: frozenset[str] = frozenset()
    fault: InvalidModuleError | None = None
    try:
        for section in read_sections(data):
            if section.id is SectionId.EXPORT:
                exports = frozenset(export.name for export in read_exports(section.cursor()))
                if not (exports >= NAMES or exports >= FIRST_NAMES):
                    return None
            if len(sections) == SECTIONS_MAX or not _is_plausible(section):
                break
            sections.append(section)
    except InvalidModuleError as error:
        fault = error
    return Measured(sections=sections, exports=exports, fault=fault) if exports else None


def _is_plausible(section: Section) -> bool:
    """Say whether a custom section has a name, so that bytes after a module are not taken for one."""
    return section.id is not SectionId.CUSTOM or (bool(section.name) and section.name.isprintable())


def identify(data: bytes, known: KnownKernels, *, is_whole: bool) -> tuple[int, str, Facts] | None:
    """Return size, digest and facts of the kernel at the start of `data`; None if there is none.

    `is_whole` says that `data` is a file of its own: all of it is the module then. Otherwise anything may
    follow, and the module ends where one on record does, or with its last section.
    """
    measured = measure(data)
    if measured is None:
        return None
    digest = hashlib.sha256()
    at, found = 0, None
    for section in measured.sections:
        digest.update(data[at : section.end])
        at = section.end
        kernel = known.by_digest.get(digest.hexdigest())
        if kernel is not None:
            found = (at, kernel)
    if found is not None and (not is_whole or found[0] == len(data)):
        return found[0], found[1].sha256, _on_record(found[1], known)
    size = len(data) if is_whole else measured.end
    sha256 = hashlib.sha256(data[:size]).hexdigest()
    if found is not None:
        what = _on_record(found[1], known)
        added = len(data) - found[0]
        return size, sha256, _altered(what, f"{_name(what)} with {added:,} bytes added at its end")
    return size, sha256, _by_stamp(data, measured, known, is_whole=is_whole)


def _on_record(kernel: OwnKernel | UpstreamKernel, known: KnownKernels) -> Facts:
    if isinstance(kernel, UpstreamKernel):
        return _upstream(kernel)
    is_current = known.newest is not None and order(kernel.version) >= order(known.newest)
    return Facts(
        answer=Answer.CURRENT if is_current else Answer.STALE,
        owner="extism-kernel",
        version=kernel.version,
        flavour=kernel.flavour,
        toolchain=kernel.toolchain or None,
        reason=f"unchanged; {'the newest on record' if is_current else f'{known.newest} is newer'}",
        action="nothing to do" if is_current else f"replace it; {EXPORT}",
    )


def _upstream(kernel: UpstreamKernel) -> Facts:
    where = f"revision {kernel.revision[:10]} of {kernel.repository}, {kernel.date}"
    shipped = f"in {', '.join(kernel.releases)}" if kernel.releases else "in no release"
    age = "the newest that upstream released" if kernel.is_current else "not the newest of upstream's"
    return Facts(
        answer=Answer.UPSTREAM if kernel.is_current else Answer.UPSTREAM_STALE,
        owner="upstream",
        reason=f"upstream's kernel: {where}; {shipped}; {age}",
        action=f"replace it, or allow it with `--allow upstream`; {EXPORT}",
    )


def _name(facts: Facts) -> str:
    return f"{facts.version} {facts.flavour}" if facts.version else "upstream's kernel"


def _altered(facts: Facts, reason: str) -> Facts:
    return Facts(
        answer=Answer.ALTERED,
        owner=facts.owner,
        version=facts.version,
        flavour=facts.flavour,
        toolchain=facts.toolchain,
        reason=reason,
        action=f"find out who changed it, and replace it; {EXPORT}",
    )


def _by_stamp(data: bytes, measured: Measured, known: KnownKernels, *, is_whole: bool) -> Facts:
    """Judge a kernel that is not on record by what it says of itself."""
    version = _stamped_version(measured)
    facts = Facts(
        answer=Answer.UNKNOWN,
        owner="extism-kernel" if version else "unknown",
        version=version,
        flavour="context" if CONTEXT_GLOBAL in measured.exports else "core",
        toolchain=_read_compiler(measured),
        reason="exports what a kernel exports, but is not on record and carries no version of ours",
        action=f"find out where it comes from; {EXPORT}",
    )
    if is_whole and (measured.fault is not None or measured.end != len(data)):
        detail = measured.fault or f"what follows byte {measured.end:#x} is no section of it"
        return _altered(facts, f"a kernel that is cut short or damaged: {detail}")
    if not any(section.id is SectionId.CODE for section in measured.sections):
        return _altered(facts, "a kernel without its code")
    if version is None:
        return facts
    recorded = [kernel for kernel in known.own if kernel.version == version]
    if not recorded:
        return _of_unknown_version(facts, known)
    toolchains = {_short(kernel.toolchain) for kernel in recorded}
    if facts.toolchain and "" not in toolchains and facts.toolchain not in toolchains:
        canonical = ", ".join(sorted(toolchains))
        return Facts(
            answer=Answer.REBUILT,
            owner=facts.owner,
            version=version,
            flavour=facts.flavour,
            toolchain=facts.toolchain,
            reason=f"says it is {version} by rustc {facts.toolchain}; on record is that of rustc {canonical}",
            action=f"bytes of another toolchain cannot be checked: build it with {canonical}; {EXPORT}",
        )
    return _altered(facts, f"says it is {version}, but its digest is none of that version's")


def _of_unknown_version(facts: Facts, known: KnownKernels) -> Facts:
    is_newer = known.newest is not None and order(facts.version or "") > order(known.newest)
    return Facts(
        answer=Answer.UNKNOWN,
        owner=facts.owner,
        version=facts.version,
        flavour=facts.flavour,
        toolchain=facts.toolchain,
        reason=f"says it is {facts.version}, a version that is not on record"
        + (f"; this package knows up to {known.newest}" if is_newer else ""),
        action="update `extism-kernel`, then verify again" if is_newer else f"replace it; {EXPORT}",
    )


def _stamped_version(measured: Measured) -> str | None:
    for section in measured.sections:
        if section.id is SectionId.CUSTOM and section.name == VERSION_SECTION and section.size <= NAME_MAX:
            text = section.content.decode("ascii", "replace")
            return text if VERSION.fullmatch(text) else None
    return None


def _read_compiler(measured: Measured) -> str | None:
    """Return the version of rustc in the `producers` section (tool conventions), without what follows it."""
    for section in measured.sections:
        if section.id is SectionId.CUSTOM and section.name == PRODUCERS_SECTION:
            try:
                return _short(dict(_read_producers(section.cursor())).get("rustc", "")) or None
            except InvalidModuleError:
                return None
    return None


def _read_producers(cursor: Cursor) -> list[tuple[str, str]]:
    found = []
    for _ in cursor.vector("fields"):
        cursor.name()
        found += [(cursor.name(), cursor.name()) for _ in cursor.vector("values")]
    return found


def _short(toolchain: str) -> str:
    """Return `1.96.0` of `rustc 1.96.0 (59807616e 2026-04-14)`."""
    words = toolchain.removeprefix("rustc ").split()
    return words[0][:NAME_MAX] if words else ""
