"""Which tests and conformance cases hold each clause of kernel-src/CONTRACT.md.

A Python test cites clauses in its docstring, a Rust test in the comment before it, a case in `spec`. A range
(`A-1 to A-4`) cites all of it. What a file's own docstring cites counts for the file.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from build_tools.base.errors import ContractError
from build_tools.base.files import guard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

STATED = re.compile(r"^- \*\*([A-Z]-[0-9]+)\*\*", re.MULTILINE)
CITED = re.compile(r"\b(?P<topic>[A-Z])-(?P<first>[0-9]+)(?: to (?P=topic)-(?P<last>[0-9]+))?\b")
RUST_TEST = re.compile(
    r"(?P<comment>(?:^[ \t]*//.*\n)*)^[ \t]*#\[test\]\n(?:^[ \t]*#\[.*\n)*^[ \t]*fn (?P<name>\w+)",
    re.MULTILINE,
)
PYTHON_FOLDERS = ("tests/unit", "tests/integration", "tests/native", "tests/host", "tests/conformance/tests")
RUST_FOLDERS = ("kernel-src/tests", "kernel-src/src")
CASES = "tests/conformance/cases"
PREFACE = """\
# Which tests hold each clause

Made by `python -m build_tools clauses --markdown`; a test compares. `python -m build_tools clauses` lists
every test. The clauses stand in [CONTRACT.md](CONTRACT.md). Files under `cases/` are the conformance
suite's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """One test or case, `name`, that cites a clause; `file` is relative to the checkout."""

    clause: str
    file: str
    name: str


def read_clauses(contract: Path) -> tuple[str, ...]:
    """Return the ids that CONTRACT.md states, in order. Raises ContractError for none or a repeated one."""
    with guard(contract):
        ids = STATED.findall(contract.read_text(encoding="utf-8"))
    problems = [f"`{each}` stands there twice" for each in dict.fromkeys(ids) if ids.count(each) > 1]
    if not ids:
        problems = ["no line begins a clause: `- **A-1** ...`"]
    if problems:
        raise ContractError(
            problems, where=contract, hint="give each clause one line that begins with its id"
        )
    return tuple(ids)


def find_cited(text: str) -> list[str]:
    """Return the clauses that a text cites, ranges spelt out."""
    found = []
    for match in CITED.finditer(text):
        first, last = int(match["first"]), int(match["last"] or match["first"])
        found += [f"{match['topic']}-{number}" for number in range(first, last + 1)]
    return list(dict.fromkeys(found))


def find_citations(root: Path) -> list[Citation]:
    """Return every citation in the tests and cases of a checkout, sorted by file."""
    found: list[Citation] = []
    for folder in PYTHON_FOLDERS:
        for path in sorted((root / folder).rglob("test_*.py")):
            found += _from_python(path, path.relative_to(root).as_posix())
    for folder in RUST_FOLDERS:
        for path in sorted((root / folder).rglob("*.rs")):
            found += _from_rust(path, path.relative_to(root).as_posix())
    for path in sorted((root / CASES).glob("*.json")):
        found += _from_cases(path, path.relative_to(root).as_posix())
    return found


def _from_python(path: Path, file: str) -> Iterator[Citation]:
    with guard(path):
        tree = ast.parse(path.read_text(encoding="utf-8"))
    for clause in find_cited(ast.get_docstring(tree) or ""):
        yield Citation(clause=clause, file=file, name="")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            for clause in find_cited(ast.get_docstring(node) or ""):
                yield Citation(clause=clause, file=file, name=node.name)


def _from_rust(path: Path, file: str) -> Iterator[Citation]:
    with guard(path):
        text = path.read_text(encoding="utf-8")
    for match in RUST_TEST.finditer(text):
        for clause in find_cited(match["comment"]):
            yield Citation(clause=clause, file=file, name=match["name"])


def _from_cases(path: Path, file: str) -> Iterator[Citation]:
    with guard(path):
        cases = json.loads(path.read_bytes())["cases"]
    for case in cases:
        for clause in case["spec"]:
            yield Citation(clause=clause, file=file, name=case["id"])


def group(clauses: Sequence[str], citations: Iterable[Citation]) -> dict[str, list[Citation]]:
    """Return the citations of each clause; one without any has an empty list."""
    groups: dict[str, list[Citation]] = {clause: [] for clause in clauses}
    for citation in citations:
        if citation.clause in groups:
            groups[citation.clause].append(citation)
    return groups


def render(groups: dict[str, list[Citation]]) -> str:
    """Return every clause with all that cites it."""
    lines = []
    for clause, citations in groups.items():
        lines.append(f"{clause}: {len(citations)} test(s) and case(s)" if citations else f"{clause}: NONE")
        lines += [f"  {each.file}{'::' if each.name else ''}{each.name}" for each in citations]
    return "\n".join(lines)


def render_markdown(groups: dict[str, list[Citation]]) -> str:
    """Return the text of COVERAGE.md: the files that hold each clause."""
    rows = ["| clause | held by |", "| --- | --- |"]
    for clause, citations in groups.items():
        files = dict.fromkeys(each.file.removeprefix("tests/conformance/") for each in citations)
        rows.append(f"| {clause} | {', '.join(f'`{file}`' for file in files) or '**nothing**'} |")
    return "\n".join([PREFACE, "", *rows])
