"""The steps the runner answers itself: what the module's own sections say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extism_kernel_conformance.base.outcome import CaseFailed
from extism_kernel_conformance.base.resources import contract_types

if TYPE_CHECKING:
    from extism_kernel_conformance.cases import steps as s
    from extism_kernel_conformance.cases.expressions import Lookup
    from extism_kernel_conformance.wasm.module import Kernel


def check_function(name: str, where: str, kernel: Kernel) -> str:
    """Return the contract's type of a function. Raises CaseFailed if the kernel has none or another."""
    contract = contract_types()[name]
    found = kernel.exports.get(name)
    if found != contract:
        got = "no such export" if found is None else found
        raise CaseFailed(where=where, expected=f"`{name}` exported as {contract}", got=got)
    return contract


def check_global(name: str, where: str, kernel: Kernel) -> None:
    """Raise CaseFailed if the module exports no global of that name."""
    found = kernel.exports.get(name, "no such export")
    if not found.startswith("global"):
        raise CaseFailed(where=where, expected=f"`{name}` exported as a global", got=found)


def check_exports(step: s.Exports, kernel: Kernel) -> None:
    """Compare the export section with what the step names."""
    for name, wanted in step.has:
        found = kernel.exports.get(name, "no such export")
        if found != wanted:
            raise CaseFailed(where=step.where, expected=f"`{name}` exported as {wanted}", got=found)
    for name in step.has_not:
        if name in kernel.exports:
            got = f"`{name}` exported as {kernel.exports[name]}"
            raise CaseFailed(where=step.where, expected=f"`{name}` is not exported", got=got)
    if step.only is not None:
        extra = sorted(kernel.exports.keys() - set(step.only))
        if extra:
            got = f"also {', '.join(extra)}"
            raise CaseFailed(where=step.where, expected="no exports but those listed", got=got)


def check_module(step: s.ModuleFacts, kernel: Kernel, lookup: Lookup) -> None:
    """Compare the module's other declarations with what the step names."""
    facts = {"imports": len(kernel.imports), "pages": kernel.initial_pages, "memories": kernel.memories}
    for name, expectation in step.numbers:
        resolved = expectation.resolve(lookup)
        if not resolved.holds(facts[name]):
            raise CaseFailed(
                where=step.where, expected=f"{name}: {resolved.describe()}", got=str(facts[name])
            )
    declared = {"start": kernel.has_start, "maximum": kernel.maximum_pages is not None}
    for name, wanted in (("start", step.start), ("maximum", step.maximum)):
        if wanted is not None and wanted != declared[name]:
            words = ("is not declared", "is declared")
            expected = f"{name} {words[wanted]}"
            raise CaseFailed(where=step.where, expected=expected, got=f"it {words[not wanted]}")
    for name in step.custom:
        if name not in kernel.custom_sections:
            got = ", ".join(kernel.custom_sections) or "none"
            raise CaseFailed(where=step.where, expected=f"a custom section `{name}`", got=got)
