"""Known failures: data beside an adapter, each with its reason, and never older than the truth."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.versions import is_in_range
from extism_kernel_conformance.base.errors import KnownFailuresMalformedError
from extism_kernel_conformance.base.files import write_whole
from extism_kernel_conformance.base.schema import load_check

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from extism_kernel_conformance.base.outcome import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFailure:
    """One case that is known to fail on one configuration, and how."""

    case: str
    configuration: str
    got: str
    why: str
    link: str
    versions: str = ""
    kernel: str = ""
    blame: str = ""
    """Who could make the case pass: `kernel`, `sdk` or `runtime`; empty where nobody has said."""
    path: Path

    def applies_to(self, case: str, configuration: str, version: str, kernel: str) -> bool:
        """Return whether the entry speaks of this case on this configuration, runtime version and kernel."""
        return (
            self.case == case
            and self.configuration in {configuration, "*"}
            and (not self.versions or is_in_range(version, self.versions))
            and (not self.kernel or self.kernel == kernel)
        )


@dataclass(frozen=True, slots=True)
class KnownFailures:
    """All entries that a run takes into account."""

    entries: tuple[KnownFailure, ...] = ()

    def find(self, case: str, configuration: str, version: str, kernel: str) -> KnownFailure | None:
        """Return the first entry that applies, or None."""
        matches = (e for e in self.entries if e.applies_to(case, configuration, version, kernel))
        return next(matches, None)


def load_known_failures(paths: Iterable[Path]) -> KnownFailures:
    """Read lists of known failures; a path that is not there holds none.

    Raises KnownFailuresMalformedError for a list that breaks its schema: `why` and `link` must say something.
    """
    entries: list[KnownFailure] = []
    for path in paths:
        if path.is_file():
            entries += [_entry(each, path) for each in read_entries(path)]
    return KnownFailures(tuple(entries))


def read_entries(path: Path) -> list[Mapping[str, str]]:
    """Return the entries of one list as they stand in the file, checked."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KnownFailuresMalformedError(f"this is no JSON: {error}", where=str(path)) from None
    faults = list(load_check("known-failures.schema.json")(document, ""))
    if faults:
        hint = "give every entry its reason in `why` and a place to read more in `link`"
        raise KnownFailuresMalformedError("; ".join(faults), where=str(path), hint=hint)
    entries: list[Mapping[str, str]] = document
    return entries


def judge_known(
    case: str, outcome: Outcome, known: KnownFailures, *, configuration: str, version: str, kernel: str
) -> Outcome:
    """Return the outcome with known failures taken into account.

    A listed case that fails as listed is `xfail`; one that passes is `xpass`; one that fails otherwise
    stays red.
    """
    entry = known.find(case, configuration, version, kernel)
    if entry is None or outcome.verdict == "skip":
        return outcome
    if outcome.verdict == "pass":
        message = f"listed as known to fail ({entry.path.name}), but it passes; remove the entry"
        return replace(outcome, verdict="xpass", message=message, why=entry.why, link=entry.link)
    if fnmatchcase(outcome.got, _pattern(entry.got)):
        return replace(outcome, verdict="xfail", why=entry.why, link=entry.link)
    message = (
        f"listed as known to fail with `{entry.got}`, but it fails differently; {outcome.message}".rstrip(
            "; "
        )
    )
    return replace(outcome, message=message, why=entry.why, link=entry.link)


def find_orphans(known: KnownFailures, ids: set[str]) -> list[KnownFailure]:
    """Return the entries whose case does not exist."""
    return [entry for entry in known.entries if entry.case not in ids]


def fix_list(
    path: Path, configuration: str, failed: Mapping[str, str], passed: set[str], *, version: str, kernel: str
) -> list[str]:
    """Rewrite one list from a complete run of one configuration; return what changed, one sentence each.

    `failed` holds what failed and is not listed like that. Entries of cases that passed go, `got` follows
    what came, and new failures are added with an empty `why` and `link`, which the next run refuses until a
    person has filled them in. Entries for another configuration (or all), version or kernel stay as they are.
    """
    old: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    kept: list[dict[str, str]] = []
    changes: list[str] = []
    listed: set[str] = set()
    for entry in old:
        case = entry["case"]
        if not _entry(entry, path).applies_to(case, configuration, version, kernel):
            kept.append(entry)
            continue
        if entry["configuration"] != configuration:
            listed.add(case)
            kept.append(entry)
            continue
        if case in passed:
            changes.append(f"{case}: removed, it passes on {configuration}")
            continue
        listed.add(case)
        if case in failed:
            changes.append(f"{case}: got is now `{failed[case]}`")
        kept.append({**entry, "got": failed[case]} if case in failed else entry)
    for case in sorted(failed.keys() - listed):
        changes.append(f"{case}: added for {configuration}; fill in `why` and `link`")
        kept.append(
            {"case": case, "configuration": configuration, "got": failed[case], "why": "", "link": ""}
        )
    if changes:
        _write_list(path, kept)
    return changes


def _write_list(path: Path, entries: Sequence[Mapping[str, str]]) -> None:
    if not entries:
        path.unlink(missing_ok=True)
        return
    ordered = sorted(entries, key=lambda entry: (entry["configuration"], entry["case"]))
    write_whole(path, json.dumps(ordered, indent=2, ensure_ascii=False) + "\n")


def _entry(each: Mapping[str, str], path: Path) -> KnownFailure:
    return KnownFailure(
        case=each["case"],
        configuration=each["configuration"],
        got=each["got"],
        why=each["why"],
        link=each["link"],
        versions=each.get("versions", ""),
        kernel=each.get("kernel", ""),
        blame=each.get("blame", ""),
        path=path,
    )


def _pattern(got: str) -> str:
    """Only `*` is special in `got`."""
    return got.replace("[", "[[]").replace("?", "[?]")
