"""The answers of `verify` as text, as JSON, and as SARIF 2.1.0 for code scanning.

Names and texts of the input are escaped: nothing of it reaches a terminal as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from extism_kernel_pkg.vendored.identify import Answer

if TYPE_CHECKING:
    from extism_kernel_pkg.vendored.identify import Identified
    from extism_kernel_pkg.vendored.verify import Verification

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
RULES = {
    Answer.STALE: ("warning", "A released kernel, but there is a newer one."),
    Answer.REBUILT: ("warning", "A kernel of a version on record, built by another toolchain."),
    Answer.UNKNOWN: ("error", "A kernel that is not on record."),
    Answer.ALTERED: ("error", "A kernel that was changed or damaged."),
    Answer.UPSTREAM: ("note", "Upstream's newest kernel."),
    Answer.UPSTREAM_STALE: ("warning", "An older kernel of upstream's."),
}
LINE_MAX = 500


def escape(text: str) -> str:
    """Return a text with everything that is not printable written as an escape, at most `LINE_MAX` long."""
    shown = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text[:LINE_MAX]
    )
    return shown + ("..." if len(text) > LINE_MAX else "")


def place(kernel: Identified) -> str:
    """Return where a kernel is: the file, the way through archives, the place inside."""
    if kernel.offset == 0 and kernel.form == "module":
        return escape(kernel.where)
    form = "" if kernel.form == "module" else f", {kernel.form}"
    return f"{escape(kernel.where)} (byte {kernel.offset:#x}{form})"


def render_text(found: Verification) -> str:
    """Return three lines for each kernel, one for each thing not looked into, and a summary."""
    lines = []
    for kernel in found.kernels:
        facts = kernel.facts
        words = [facts.answer.value.ljust(8), facts.version, facts.flavour]
        lines.append(f"{'  '.join(escape(word) for word in words if word)}  {place(kernel)}")
        lines.append(f"  {escape(facts.reason)}")
        if facts.answer is not Answer.CURRENT:
            lines.append(f"  to do: {escape(facts.action)}")
        lines.append(f"  {kernel.size:,} bytes, sha256 {kernel.sha256}")
    lines += [f"not looked into: {escape(each.where)}: {escape(each.reason)}" for each in found.skipped]
    count = len(found.kernels)
    incomplete = f", {len(found.skipped)} thing(s) not looked into" if found.skipped else ""
    lines.append(f"{count or 'no'} kernel(s) found in {found.files} file(s){incomplete}")
    return "\n".join(lines)


def to_data(found: Verification) -> dict[str, Any]:
    """Return the answers for JSON."""
    return {
        "schema": 1,
        "paths": [escape(path) for path in found.paths],
        "exit_code": found.exit_code,
        "files": found.files,
        "kernels": [
            {
                "where": escape(kernel.where),
                "offset": kernel.offset,
                "form": kernel.form,
                "size": kernel.size,
                "sha256": kernel.sha256,
                "answer": kernel.facts.answer.value,
                "owner": kernel.facts.owner,
                "version": kernel.facts.version,
                "flavour": kernel.facts.flavour,
                "toolchain": kernel.facts.toolchain,
                "reason": escape(kernel.facts.reason),
                "action": escape(kernel.facts.action),
            }
            for kernel in found.kernels
        ],
        "skipped": [{"where": escape(each.where), "reason": escape(each.reason)} for each in found.skipped],
    }


def to_sarif(found: Verification, *, version: str) -> dict[str, Any]:
    """Return the answers as a SARIF 2.1.0 log: a result for each kernel that is not good or allowed."""
    results = [
        {
            "ruleId": kernel.facts.answer.value,
            "level": RULES[kernel.facts.answer][0],
            "message": {"text": f"{escape(kernel.facts.reason)}. To do: {escape(kernel.facts.action)}."},
            "locations": [_location(kernel.where, kernel)],
            "partialFingerprints": {"kernelDigest/v1": kernel.sha256},
        }
        for kernel in found.kernels
        if not found.is_allowed(kernel.facts.answer)
    ]
    notifications = [
        {
            "level": "warning",
            "descriptor": {"id": "incomplete"},
            "message": {"text": f"not looked into: {escape(each.where)}: {escape(each.reason)}"},
            "locations": [_location(each.where)],
        }
        for each in found.skipped
    ]
    return {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "extism-kernel verify",
                        "semanticVersion": version,
                        "rules": [
                            {
                                "id": answer.value,
                                "shortDescription": {"text": text},
                                "defaultConfiguration": {"level": level},
                            }
                            for answer, (level, text) in RULES.items()
                        ],
                        "notifications": [
                            {
                                "id": "incomplete",
                                "shortDescription": {"text": "Something could not be looked into."},
                            }
                        ],
                    }
                },
                "invocations": [
                    {
                        "executionSuccessful": not found.skipped,
                        "exitCode": found.exit_code,
                        "toolExecutionNotifications": notifications,
                    }
                ],
                "results": results,
            }
        ],
    }


def _location(where: str, kernel: Identified | None = None) -> dict[str, Any]:
    file = where.split("!/", maxsplit=1)[0]
    path = Path(file)
    uri = path.absolute().as_uri() if path.is_absolute() else _relative_uri(path)
    physical: dict[str, Any] = {"artifactLocation": {"uri": uri}}
    if kernel is not None and where == file:
        physical["region"] = {"byteOffset": kernel.offset, "byteLength": kernel.size}
    return {"physicalLocation": physical, "logicalLocations": [{"fullyQualifiedName": escape(where)}]}


def _relative_uri(path: Path) -> str:
    """Return a relative path as a URI: the root of the absolute one is left out."""
    return Path("/", *path.parts).as_uri().removeprefix("file:///")
