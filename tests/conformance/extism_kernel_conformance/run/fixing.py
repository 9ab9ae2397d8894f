"""`--fix`: lets the lists of known failures follow a complete run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extism_kernel_conformance.run.known_failures import fix_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extism_kernel_conformance.adapter.find import Adapter
    from extism_kernel_conformance.run.report import Section


def fix_known_failures(sections: Sequence[Section], adapters: Mapping[str, Adapter]) -> list[str]:
    """Rewrite the list beside each adapter that ran, and return what changed, one sentence each."""
    changes: list[str] = []
    for section in sections:
        adapter = adapters[section.configuration]
        if not section.header["complete"] or "skipped" in section.footer or not section.cases + section.lint:
            continue
        lines = [*section.lint, *section.cases]
        failed = {
            line["id"]: line.get("got", line["verdict"])
            for line in lines
            if line["verdict"] in {"fail", "error", "timeout", "crash"}
        }
        passed = {line["id"] for line in lines if line["verdict"] in {"pass", "xpass"}}
        path = adapter.folder / "known-failures.json"
        of = {"version": section.header["runtime"]["version"], "kernel": section.header["kernel"]["sha256"]}
        fixed = fix_list(path, section.configuration, failed, passed, **of)
        changes += [f"{path}: {change}" for change in fixed]
    return changes
