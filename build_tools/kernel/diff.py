"""What changed between two modules, and which version step that asks for."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from build_tools.base.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from build_tools.wasm.module import Module


class Verdict(enum.IntEnum):
    """The version step of SemVer, smallest first."""

    NONE = 0
    PATCH = 1
    MINOR = 2
    MAJOR = 3

    @property
    def word(self) -> str:
        """Return the word for it."""
        return self.name.lower()


# Every code that a comparison can find, and the step that it asks for.
DIFF_CODES: dict[str, Verdict] = {
    "export-removed": Verdict.MAJOR,
    "export-changed": Verdict.MAJOR,
    "import-added": Verdict.MAJOR,
    "feature-added": Verdict.MAJOR,
    "memory-grown": Verdict.MAJOR,
    "start-added": Verdict.MAJOR,
    "export-added": Verdict.MINOR,
    "feature-removed": Verdict.PATCH,
    "memory-shrunk": Verdict.PATCH,
    "bytes-changed": Verdict.PATCH,
}


def compare_modules(old: Module, new: Module) -> tuple[list[Finding], Verdict]:
    """Return all differences that a host or a guest can see, and the version step that they ask for."""
    findings = [*_exports(old, new), *_features(old, new), *_memories(old, new), *_instantiation(old, new)]
    if old.data != new.data and not findings:
        message = f"{old.size:,} bytes before, {new.size:,} now; the surface is the same"
        findings.append(Finding(code="bytes-changed", message=message, where="module"))
    verdict = max((DIFF_CODES[finding.code] for finding in findings), default=Verdict.NONE)
    return findings, verdict


def _exports(old: Module, new: Module) -> Iterator[Finding]:
    before = {export.name: f"{export.kind} {export.type}" for export in old.exports}
    after = {export.name: f"{export.kind} {export.type}" for export in new.exports}
    for name, was in before.items():
        where = f"export `{name}`"
        if name not in after:
            yield Finding(code="export-removed", message=f"`{name}` is not exported any more", where=where)
        elif was != after[name]:
            message = f"`{name}` was `{was}`, is `{after[name]}`"
            yield Finding(code="export-changed", message=message, where=where)
    for name in sorted(after.keys() - before.keys()):
        yield Finding(
            code="export-added", message=f"`{name}` is new: `{after[name]}`", where=f"export `{name}`"
        )


def _features(old: Module, new: Module) -> Iterator[Finding]:
    for feature in sorted(new.features.keys() - old.features.keys()):
        message = f"uses {feature}, which runtimes of the old one need not have"
        yield Finding(code="feature-added", message=message, where=new.features[feature])
    for feature in sorted(old.features.keys() - new.features.keys()):
        yield Finding(code="feature-removed", message=f"uses {feature} no more", where=old.features[feature])


def _memories(old: Module, new: Module) -> Iterator[Finding]:
    before = sum(memory.minimum for memory in old.parts.memories)
    after = sum(memory.minimum for memory in new.parts.memories)
    if before != after:
        code = "memory-grown" if after > before else "memory-shrunk"
        message = f"starts with {after} page(s), was {before}"
        yield Finding(code=code, message=message, where="memory section")


def _instantiation(old: Module, new: Module) -> Iterator[Finding]:
    for name in sorted(set(new.imports) - set(old.imports)):
        yield Finding(code="import-added", message=f"imports `{name}`", where="import section")
    if old.parts.start is None and new.parts.start is not None:
        yield Finding(code="start-added", message="runs a function at instantiation", where="start section")
