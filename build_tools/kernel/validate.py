"""The contract's checks on one module. Each yields findings; none raises, prints or stops at the first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from build_tools.base.findings import Finding
from build_tools.kernel import structure
from build_tools.kernel.values import ABI_SECTION, PRODUCERS_SECTION, STAMPS, VERSION_SECTION
from extism_kernel_pkg._wasm import SectionId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from build_tools.kernel.abi import Abi, AbiFunction
    from build_tools.kernel.values import Flavour
    from build_tools.wasm.module import Module

ABI_HINT = (
    "if the change is meant, raise `abi.version` in kernel-src/abi.toml and add an ABI line to CHANGELOG.md"
)
# Exported by the linker for every cdylib; neither guests nor hosts use them.
LINKER_EXPORTS = frozenset({"__data_end", "__heap_base"})
# The linker writes these; the stamp drops them.
RAW_SECTIONS = re.compile(r"name|producers|target_features|\.debug_.*|linking|reloc\..*")
# A path of a machine: a home or work folder of Linux, macOS or Windows, or a tool's cache in one.
BUILD_PATH = re.compile(
    rb"(?:/(?:home|root|Users|tmp|var|work|workspace|builds?|opt|usr|private|mnt)/[\x21-\x7e]{2,}"
    rb"|[A-Za-z]:\\[\x21-\x7e]{2,}|\.cargo[/\\]registry)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a module is held against.

    `flavour` is `None` for the compiler's output before the stamp: no first names, no versions inside, and
    what the linker adds by itself is let through. `version` is `None` where any version will do.
    """

    abi: Abi
    flavour: Flavour | None
    version: str | None = None

    @property
    def is_finished(self) -> bool:
        """Say whether the module should carry what the stamp adds."""
        return self.flavour is not None


# Every code, and what it means. A test holds that each has a faulty module that trips just that one.
CODES: dict[str, str] = {
    "module-invalid": "wasmtime refuses the module",
    "import-present": "the kernel imports something; hosts instantiate it with nothing",
    "start-present": "there is a start function; instantiating would run code",
    "export-missing": "a name of the ABI is not exported",
    "export-extra": "a name is exported that the ABI does not have",
    "export-type": "an export is of another kind or type than the ABI says",
    "alias-differs": "a first-generation name is not the same function as its current name",
    "memory-initial": "the memory starts with more or fewer pages than the ABI allows",
    "memory-maximum": "the memory declares a maximum; only the host may set one",
    "feature-forbidden": "an opcode, type or section is of a feature that this flavour may not use",
    "size-budget": "the finished module is larger than its budget",
    "build-path": "a path of the building machine is inside",
    **structure.CODES,
    "section-unexpected": "a custom section is there that a finished kernel does not have",
    "stamp-missing": "a custom section with a version or with producers is missing",
    "stamp-repeated": "a custom section with a version is there more than once",
    "stamp-differs": "a stamped version is not the one that it should be",
}


def check_module(module: Module, expectation: Expectation) -> list[Finding]:
    """Return all findings on a module."""
    if module.invalidity is not None:
        # What follows reads indices that only a valid module is sure to have.
        return [Finding(code="module-invalid", message=module.invalidity, where="module")]
    return [finding for check in CHECKS for finding in check(module, expectation)]


def check_imports(module: Module, expectation: Expectation) -> Iterator[Finding]:  # noqa: ARG001
    """Yield one finding for each import."""
    for name in module.imports:
        yield Finding(
            code="import-present",
            message=f"imports `{name}`, the kernel imports nothing",
            where="import section",
            hint="a function without a body is usually an intrinsic that `core` wanted; avoid its cause",
        )


def check_start(module: Module, expectation: Expectation) -> Iterator[Finding]:  # noqa: ARG001
    """Yield a finding if instantiating runs a function."""
    if module.parts.start is not None:
        yield Finding(
            code="start-present",
            message=f"function {module.parts.start} runs at instantiation, the kernel has no start function",
            where="start section",
        )


def check_exports(module: Module, expectation: Expectation) -> Iterator[Finding]:
    """Yield findings for exports that are missing, extra or of another type."""
    abi = expectation.abi
    # A raw module may have first names already; the stamp would only repeat them.
    names = abi.expected_exports(expectation.flavour, with_aliases=expectation.is_finished)
    allowed = abi.expected_exports(expectation.flavour, with_aliases=True)
    exports = {export.name: export for export in module.exports}
    for name, (kind, wanted) in names.items():
        if name not in exports:
            label = wanted if kind == "memory" else f"{name}: {wanted}"
            message = f"`{label}` is not exported"
            yield Finding(code="export-missing", message=message, where=f"export `{name}`", hint=ABI_HINT)
    for name, export in exports.items():
        if name not in allowed:
            if expectation.is_finished or name not in LINKER_EXPORTS:
                yield Finding(
                    code="export-extra",
                    message=f"`{name}` is exported, the ABI does not have it",
                    where="export section",
                    hint=ABI_HINT,
                )
            continue
        kind, wanted = allowed[name]
        if export.kind != kind:
            message = f"`{name}` is a {export.kind}, the ABI says it is a {kind}"
        elif export.type != wanted:
            message = f"`{name}` is `{export.type}`, the ABI says `{wanted}`"
        else:
            continue
        yield Finding(code="export-type", message=message, where=f"export `{name}`", hint=ABI_HINT)


def check_aliases(module: Module, expectation: Expectation) -> Iterator[Finding]:
    """Yield a finding for each first name that is another function than its current name."""
    indices = {export.name: export.index for export in module.exports if export.kind == "func"}
    for function in expectation.abi.functions:
        same = function.same_as
        number = indices.get(function.name)
        if expectation.is_finished and number is not None and indices.get(same or "", number) != number:
            yield Finding(
                code="alias-differs",
                message=f"`{function.name}` is another function than `{same}`; both should be the same",
                where=f"export `{function.name}`",
            )
        if _differs(function, indices):
            yield Finding(
                code="alias-differs",
                message=f"`{function.alias}` is function {indices[function.alias or '']}, "
                f"`{function.name}` is function {indices[function.name]}; both should be the same",
                where=f"export `{function.alias}`",
            )


def _differs(function: AbiFunction, indices: dict[str, int]) -> bool:
    if function.alias is None or function.alias not in indices or function.name not in indices:
        return False
    return indices[function.alias] != indices[function.name]


def check_memory(module: Module, expectation: Expectation) -> Iterator[Finding]:
    """Yield findings on the limits of the memory.

    That there is one is the exports' affair, that there is no second one the features'.
    """
    allowed = expectation.abi.memory.initial_pages_max
    for memory in module.parts.memories:
        least = expectation.abi.memory.initial_pages_min if expectation.is_finished else 0
        if memory.minimum < least:
            message = f"starts with {memory.minimum} pages, the ABI says at least {least}"
            yield Finding(code="memory-initial", message=message, where="memory section")
        if memory.minimum > allowed:
            yield Finding(
                code="memory-initial",
                message=f"starts with {memory.minimum} pages, the ABI says at most {allowed}",
                where="memory section",
                hint="make the linker's stack smaller (`-zstack-size`) or the statics",
            )
        if memory.maximum is not None:
            message = f"declares a maximum of {memory.maximum} pages, the ABI says none"
            yield Finding(code="memory-maximum", message=message, where="memory section")


def check_features(module: Module, expectation: Expectation) -> Iterator[Finding]:
    """Yield one finding for each feature beyond what the flavour may use, with the first place."""
    flavour = expectation.flavour or "core"
    allowed = expectation.abi.features[flavour]
    for feature, place in module.features.items():
        if feature not in allowed:
            yield Finding(
                code="feature-forbidden",
                message=f"uses {feature}, the {flavour} flavour may use {', '.join(allowed)}",
                where=place,
                hint="a compiler's defaults change; build_tools/kernel/compile.py names the target features",
            )


def check_structure(module: Module, expectation: Expectation) -> Iterator[Finding]:
    """Yield findings on what a finished module is made of."""
    if expectation.flavour is not None:
        features = expectation.abi.features[expectation.flavour]
        yield from structure.check_structure(module, expectation.abi, features)


def check_size(module: Module, expectation: Expectation) -> Iterator[Finding]:
    """Yield a finding if a finished module is over its budget."""
    if expectation.flavour is None:
        return
    budget = expectation.abi.size_max[expectation.flavour]
    if module.size > budget:
        yield Finding(
            code="size-budget",
            message=f"is {module.size:,} bytes, the {expectation.flavour} flavour may have {budget:,}",
            where="module",
            hint=f"`size.{expectation.flavour}_max` in kernel-src/abi.toml is the budget",
        )


def check_paths(module: Module, expectation: Expectation) -> Iterator[Finding]:  # noqa: ARG001
    """Yield one finding for each path of a machine in the bytes."""
    for path in dict.fromkeys(match[0] for match in BUILD_PATH.finditer(module.data)):
        yield Finding(
            code="build-path",
            message=f"`{path.decode('ascii', 'replace')[:80]}` is inside",
            where=f"offset {module.data.index(path):#x}",
            hint="`--remap-path-prefix` in build_tools/kernel/compile.py should cover it",
        )


def check_sections(module: Module, expectation: Expectation) -> Iterator[Finding]:
    """Yield a finding for each custom section that should not be there."""
    for name in dict.fromkeys(each.name for each in module.parts.sections if each.id is SectionId.CUSTOM):
        if name in STAMPS or (not expectation.is_finished and RAW_SECTIONS.fullmatch(name)):
            continue
        message = f"custom section `{name}` is there, a finished kernel has {', '.join(STAMPS)}"
        yield Finding(code="section-unexpected", message=message, where=f"custom section `{name}`")


def check_stamps(module: Module, expectation: Expectation) -> Iterator[Finding]:
    """Yield findings on the versions that a finished module carries."""
    if not expectation.is_finished:
        return
    wanted = {
        VERSION_SECTION: expectation.version,
        ABI_SECTION: str(expectation.abi.version),
        PRODUCERS_SECTION: None,
    }
    for name, value in wanted.items():
        contents = module.parts.custom(name)
        where = f"custom section `{name}`"
        if not contents:
            yield Finding(code="stamp-missing", message="is missing", where=where)
        elif len(contents) > 1:
            yield Finding(code="stamp-repeated", message=f"is there {len(contents)} times", where=where)
        elif value is not None and contents[0] != value.encode():
            found = contents[0].decode("utf-8", "replace")
            yield Finding(code="stamp-differs", message=f"is `{found}`, should be `{value}`", where=where)


CHECKS: tuple[Callable[[Module, Expectation], Iterator[Finding]], ...] = (
    check_imports,
    check_start,
    check_exports,
    check_aliases,
    check_memory,
    check_features,
    check_structure,
    check_size,
    check_paths,
    check_sections,
    check_stamps,
)
