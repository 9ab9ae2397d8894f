"""Loads and checks the cases: every fault of every file in one reading."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extism_kernel_conformance.base.errors import CasesMalformedError
from extism_kernel_conformance.base.resources import suite_info
from extism_kernel_conformance.cases.profiles import PROFILES, find_profile
from extism_kernel_conformance.cases.step_parser import StepParser

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from extism_kernel_conformance.cases.steps import Step

LEVELS = ("must", "should", "may")
CAPABILITIES = (
    "fuel",
    "fuel-used",
    "externref",
    "grow",
    "resume-after-trap",
    "context",
    "cancel",
    "logs",
    "http-headers",
)
KEYS = (
    "id",
    "since",
    "spec",
    "level",
    "title",
    "why",
    "tags",
    "profile",
    "kernel",
    "needs",
    "slow",
    "setup",
    "steps",
)
REQUIRED = ("id", "since", "spec", "level", "title", "steps")

_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*/[a-z0-9]+(-[a-z0-9]+)*")
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_CLAUSE = re.compile(r"[A-Z]+-[1-9]\d*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One promise: what to do with a fresh instance, and what must be seen."""

    id: str
    since: tuple[int, int, int]
    spec: tuple[str, ...]
    level: str
    title: str
    why: str
    profile: str
    tags: tuple[str, ...]
    max_pages: int | None
    needs: frozenset[str]
    slow: bool
    setup: tuple[Step, ...]
    steps: tuple[Step, ...]
    raw: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """A case that was removed; its id is never used again."""

    id: str
    removed: tuple[int, int, int]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseSet:
    """All cases of a folder, sorted by id, with the digest that reports carry."""

    cases: tuple[Case, ...]
    tombstones: tuple[Tombstone, ...]
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFinding:
    """One fault of a case file."""

    where: str
    message: str


def load_cases(folder: Path) -> CaseSet:
    """Read every `*.json` of a folder. Raises CasesMalformedError that lists all findings."""
    case_set, findings = read_cases(folder)
    if findings:
        shown = "\n".join(f"  {each.where}: {each.message}" for each in findings)
        raise CasesMalformedError(f"{len(findings)} faults in the cases\n{shown}", where=str(folder))
    return case_set


def read_cases(folder: Path) -> tuple[CaseSet, list[CaseFinding]]:
    """Read every `*.json` of a folder; the set holds the cases without faults."""
    findings: list[CaseFinding] = []
    cases: list[Case] = []
    tombstones: list[Tombstone] = []
    files = sorted(folder.glob("*.json"))
    if not files:
        findings.append(CaseFinding(where=str(folder), message="no case files (*.json) here"))
    for path in files:
        document = _read_json(path, findings)
        if document is None:
            continue
        for case, faults in _parse_file(path, document, tombstones):
            findings += faults
            if case is not None:
                cases.append(case)
    findings += _find_repeated_ids(cases, tombstones)
    cases.sort(key=lambda case: case.id)
    return CaseSet(cases=tuple(cases), tombstones=tuple(tombstones), sha256=digest(cases)), findings


def digest(cases: Sequence[Case]) -> str:
    """Return the sha256 of the cases' meaning: independent of files, order and white space."""
    raw = [case.raw for case in sorted(cases, key=lambda case: case.id)]
    text = json.dumps(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def parse_version(text: object) -> tuple[int, int, int] | None:
    """Return a version `N.N.N` as numbers, or None."""
    match = _VERSION.fullmatch(text) if isinstance(text, str) else None
    return None if match is None else (int(match[1]), int(match[2]), int(match[3]))


def _read_json(path: Path, findings: list[CaseFinding]) -> Mapping[str, object] | None:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            for key in {key for key in keys if keys.count(key) > 1}:
                message = f"`{key}` stands twice in one object: {json.dumps(found)[:80]}"
                findings.append(CaseFinding(where=path.name, message=message))
        return found

    try:
        document = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
        json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair is in no digest
    except (ValueError, OSError, RecursionError) as error:
        findings.append(CaseFinding(where=path.name, message=f"this is no JSON: {error}"))
        return None
    if not isinstance(document, dict) or not isinstance(document.get("cases"), list):
        findings.append(CaseFinding(where=path.name, message='a case file is an object {"cases": [...]}'))
        return None
    return document


def _parse_file(
    path: Path, document: Mapping[str, object], tombstones: list[Tombstone]
) -> Iterator[tuple[Case | None, list[CaseFinding]]]:
    for key in document.keys() - {"cases", "removed", "$schema", "why"}:
        yield (
            None,
            [
                CaseFinding(
                    where=path.name, message=f"`{key}` has no meaning here; allowed are cases, removed"
                )
            ],
        )
    cases, removed = document["cases"], document.get("removed", [])
    assert isinstance(cases, list)
    for number, value in enumerate(cases):
        yield parse_case(value, path=path, number=number)
    for number, value in enumerate(removed if isinstance(removed, list) else [removed]):
        where = f"{path.name} removed[{number}]"
        version = parse_version(value.get("removed")) if isinstance(value, dict) else None
        if version is None or not isinstance(value.get("why"), str) or not isinstance(value.get("id"), str):
            yield (
                None,
                [CaseFinding(where=where, message="a tombstone has `id`, `removed` (a version) and `why`")],
            )
        else:
            tombstones.append(Tombstone(id=value["id"], removed=version, why=value["why"]))


def parse_case(value: object, *, path: Path, number: int) -> tuple[Case | None, list[CaseFinding]]:
    """Read one case; the second value lists its faults, and the case is None if there are any."""
    name = value.get("id") if isinstance(value, dict) else None
    place = f"{path.name} {name if isinstance(name, str) else f'cases[{number}]'}"
    if not isinstance(value, dict):
        return None, [CaseFinding(where=place, message=f"a case is an object, got {value!r}")]
    profile = find_profile(value.get("profile", "kernel"))
    parser = StepParser((profile or PROFILES["kernel"]).makers, (profile or PROFILES["kernel"]).keys)
    if profile is PROFILES["sdk"]:
        parser.instances.clear()  # there is no plug-in before a `load`
    if profile is None:
        parser.fault("profile", f"{value['profile']!r} is no profile; known are {', '.join(PROFILES)}")
    parser.check_keys(value, KEYS, "case")
    for key in REQUIRED:
        if key not in value:
            parser.fault("case", f"`{key}` is missing")
    _check_head(value, path, parser)
    setup = parser.parse(value["setup"], "setup", in_loop=True) if "setup" in value else ()
    steps = parser.parse(value.get("steps"), "steps") if "steps" in value else ()
    max_pages = _max_pages(value.get("kernel", {}), parser)
    if parser.findings:
        return None, [CaseFinding(where=f"{place}, {where}", message=text) for where, text in parser.findings]
    return Case(
        id=value["id"],
        since=parse_version(value["since"]) or (0, 0, 0),
        spec=tuple(value["spec"]),
        level=value["level"],
        title=value["title"],
        why=value.get("why", ""),
        profile=value.get("profile", "kernel"),
        tags=tuple(value.get("tags", ())),
        max_pages=max_pages,
        needs=frozenset(value.get("needs", ())) | parser.needs,
        slow=value.get("slow", False),
        setup=setup,
        steps=steps,
        raw=value,
    ), []


def _check_head(value: Mapping[str, object], path: Path, parser: StepParser) -> None:
    identifier, since, spec = value.get("id"), parse_version(value.get("since")), value.get("spec", ["S-1"])
    if not isinstance(identifier, str) or not _ID.fullmatch(identifier):
        parser.fault(
            "id", f"{identifier!r} is no id; write `topic/promise` in lower-case words joined by `-`"
        )
    elif identifier.partition("/")[0] != path.stem:
        parser.fault(
            "id", f"the topic `{identifier.partition('/')[0]}` belongs in {identifier.partition('/')[0]}.json"
        )
    if "since" in value and since is None:
        parser.fault("since", f"{value['since']!r} is no version N.N.N")
    elif since is not None and since > (parse_version(suite_info().version) or (0, 0, 0)):
        parser.fault(
            "since",
            f"{value['since']} is newer than the suite, {suite_info().version}; raise suite.json first",
        )
    if (
        not isinstance(spec, list)
        or not spec
        or not all(isinstance(e, str) and _CLAUSE.fullmatch(e) for e in spec)
    ):
        parser.fault("spec", f'expected a list of clause ids like ["A-1", "M-3"], got {spec!r}')
    if value.get("level", "must") not in LEVELS:
        parser.fault("level", f"{value['level']!r} is no level; known are {', '.join(LEVELS)}")
    _check_words(value, parser)


def _check_words(value: Mapping[str, object], parser: StepParser) -> None:
    for key in ("title", "why"):
        if not isinstance(value.get(key, "x"), str) or not value.get(key, "x"):
            parser.fault(key, f"`{key}` is a sentence, got {value[key]!r}")
    if not isinstance(value.get("slow", False), bool):
        parser.fault("slow", "`slow` is true or false")
    tags = value.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(each, str) and each for each in tags):
        parser.fault("tags", f"`tags` is a list of words, got {tags!r}")
    needs = value.get("needs", [])
    if not isinstance(needs, list):
        parser.fault("needs", f"`needs` is a list of capabilities, got {needs!r}")
        needs = []
    for each in needs:
        if each not in CAPABILITIES:
            parser.fault("needs", f"{each!r} is no capability; known are {', '.join(CAPABILITIES)}")


def _max_pages(value: object, parser: StepParser) -> int | None:
    if not isinstance(value, dict):
        parser.fault("kernel", '`kernel` is an object like {"max_pages": 20}')
        return None
    parser.check_keys(value, {"max_pages"}, "kernel")
    pages = value.get("max_pages")
    if pages is not None and (
        isinstance(pages, bool) or not isinstance(pages, int) or not 0 < pages <= 65536
    ):
        parser.fault("kernel.max_pages", f"expected 1 to 65536 pages, got {pages!r}")
        return None
    return pages


def _find_repeated_ids(cases: Sequence[Case], tombstones: Sequence[Tombstone]) -> Iterator[CaseFinding]:
    seen: set[str] = set()
    for identifier in [case.id for case in cases] + [tombstone.id for tombstone in tombstones]:
        if identifier in seen:
            yield CaseFinding(
                where=identifier, message="this id is used twice; ids are permanent, also after removal"
            )
        seen.add(identifier)
