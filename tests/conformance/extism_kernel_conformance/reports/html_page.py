"""The report as one HTML page that needs nothing but itself: matrix, filters, each failure in its cell."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any

from extism_kernel_conformance.base.outcome import RED
from extism_kernel_conformance.base.resources import suite_root
from extism_kernel_conformance.reports.faults import explain, group_faults, join_configurations
from extism_kernel_conformance.reports.matrix import (
    GROUP_TITLES,
    Cell,
    clause_titles,
    clauses_of,
    facts_of,
    make_cell,
    name_apart,
    partial_words,
    ran,
    runtime_name,
    tally,
)
from extism_kernel_conformance.run.report import Section, is_red

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from extism_kernel_conformance.reports.changes import Changes
    from extism_kernel_conformance.reports.faults import FaultGroup

_SIGNS = {"red": "✗ ", "xfail": "! ", "pass": "", "skip": "", "none": ""}
_LEGEND = """<ul class="legend" aria-label="Legend">
<li><span class="pass">3/3</span> all played cases passed</li>
<li><span class="red">✗ 2/3</span> one failed, or the adapter did</li>
<li><span class="xfail">! 2/3</span> a known failure failed as listed</li>
<li><span class="skip">skip</span> cases are there, none could be played on this runtime</li>
<li><span class="blank">&nbsp;</span> blank: the run has no case of this clause on this runtime</li>
</ul>"""
_STATES = (("red", "red"), ("xfail", "known failure"), ("pass", "pass"), ("skip", "skip"))


def render_html(sections: Sequence[Section], *, changes: Changes | None = None) -> str:
    """Return the page; `changes` is what is different from an older report."""
    sections = name_apart(sections)
    style = (suite_root() / "page" / "page.css").read_text(encoding="utf-8")
    script = (suite_root() / "page" / "page.js").read_text(encoding="utf-8")
    played = ran(sections)
    data = json.dumps(_page_data(played), ensure_ascii=False).replace("<", "\\u003c")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Extism kernel conformance</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>Extism kernel conformance</h1>
{_lead(sections)}
</header>
<main>
{_failures(sections)}{_changes(changes)}<h2 id="configurations">Configurations</h2>
<ul class="cards" aria-labelledby="configurations">
{"".join(map(_card, sections))}</ul>
{_filters(played)}
<h2 id="clauses">Clauses of the contract</h2>
<p class="lead">Passed of played cases. Open a cell for its cases: what was called, expected and seen, and how
to play one again.</p>
{_LEGEND}
<div class="scroll" tabindex="0" role="region" aria-labelledby="clauses"><table>
{_head(played, "clause")}<tbody>
{_clause_rows(played)}</tbody></table></div>
<h2 id="cases">Cases</h2>
<div class="scroll" tabindex="0" role="region" aria-labelledby="cases"><table>
{_head(played, "case")}<tbody>
{_case_rows(played)}</tbody></table></div>
</main>
<footer class="none">Made by <code>extism-kernel-conformance report --html</code>.</footer>
<dialog aria-labelledby="dialog-title"><header><h2 id="dialog-title">Cases</h2>
<button type="button" class="plain" data-close>Close</button></header><div class="body"></div></dialog>
<script type="application/json" id="data">{data}</script>
<script>
{script}</script>
</body>
</html>
"""


def _page_data(sections: Sequence[Section]) -> dict[str, Any]:
    return {
        "sections": [
            {
                "configuration": section.configuration,
                "replay": section.header.get("replay", ""),
                "lines": section.lint + section.cases,
            }
            for section in sections
        ]
    }


def _lead(sections: Sequence[Section]) -> str:
    listed = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{_command(text) if name == 'command' else escape(text)}</dd></div>"
        for name, text in facts_of(sections)
    )
    return f'<dl class="facts">{listed}</dl>'


def _command(text: str) -> str:
    """Return a command line that breaks between its words, not inside an option."""
    words = (escape(word) for word in text.split(" "))
    return " ".join(f'<span class="word">{word}</span>' if word.startswith("-") else word for word in words)


def _failures(sections: Sequence[Section]) -> str:
    groups = group_faults(sections)
    if not groups:
        return ""
    count = sum(len(group.lines) for group in groups)
    items = "".join(map(_failure, join_configurations(groups)))
    allowed = sum(line["verdict"] == "fail" and not is_red(line) for each in sections for line in each.cases)
    note = f'<p class="lead">{allowed} more of level <code>may</code> are not red.</p>\n' if allowed else ""
    return f'<h2 id="failures">Failures ({count})</h2>\n{note}<ol class="failures">\n{items}</ol>\n'


def _failure(group: FaultGroup) -> str:
    line = group.first
    alike = f' <span class="badge red">{len(group.lines)} alike</span>' if group.others else ""
    facts = "".join(
        f"<dt>{what}</dt><dd>{f'<code>{_command(text)}</code>' if what == 'replay' else escape(text)}</dd>"
        for what, text in explain(group)
    )
    row = escape("lint" if line["type"] == "lint" else line["id"])
    configuration = escape(group.section.configuration)
    return (
        f'<li><h3><span class="badge red">{escape(line["verdict"])}</span>'
        f'<button type="button" class="link" data-row="{row}" data-configuration="{configuration}">'
        f"{escape(line['id'])}</button> on {configuration}{alike}</h3><dl>{facts}</dl></li>\n"
    )


def _changes(changes: Changes | None) -> str:
    if changes is None:
        return ""
    parts = ""
    for kind, found in changes.kinds():
        if found:
            names = "".join(f"<li>{escape(case)} on {escape(where)}</li>" for where, case in found)
            parts += f"<details><summary>{len(found)} {kind}</summary><ul>{names}</ul></details>\n"
    words = escape(f"Since {changes.old}")
    return f'<h2 id="changes">{words}</h2>\n{parts or "<p>Nothing changed.</p>"}\n'


def _card(section: Section) -> str:
    footer = section.footer
    state = "skip" if "skipped" in footer else "pass" if section.is_green else "red"
    words = {"skip": "not run", "pass": "green", "red": "red"}[state]
    partial = partial_words(section) if state != "skip" else ""
    mark = f'<p class="partial">partial run: {escape(partial)}</p>' if partial else ""
    cell = tally(section)
    note = footer.get("skipped") or footer.get("broken") or cell.words
    total = max(1, len(cell.lines))
    shares = {
        "pass": cell.counts["pass"],
        "red": sum(cell.counts[verdict] for verdict in RED),
        "xfail": cell.counts["xfail"],
        "skip": cell.counts["skip"],
    }
    bar = "".join(
        f'<i class="{name}" style="width:{share / total:.2%}"></i>' for name, share in shares.items() if share
    )
    lint = ""
    if section.lint:
        passed = len(section.lint) - footer["lint_failed"]
        lint = (
            '<p><button type="button" class="plain" data-row="lint" '
            f'data-configuration="{escape(section.configuration)}">'
            f"lint {passed}/{len(section.lint)}</button></p>"
        )
    return (
        f'<li class="card {state}"><h3>{escape(section.configuration)}</h3>'
        f"<p>{escape(runtime_name(section))} · {words} · {footer['seconds']} s</p><p>{escape(note)}</p>"
        f"{mark}{lint}"
        f'<div class="bar" aria-hidden="true">{bar}</div></li>\n'
    )


def _filters(sections: Sequence[Section]) -> str:
    verdicts = "".join(
        f'<label><input type="checkbox" name="verdict" value="{state}" checked> {words}</label>'
        for state, words in _STATES
    )
    columns = "".join(
        f'<label><input type="checkbox" name="column" value="{escape(s.configuration)}" checked> '
        f"{escape(s.configuration)}</label>"
        for s in sections
    )
    return (
        '<form class="filters" onsubmit="return false">'
        '<label>Find <input type="search" id="search" placeholder="clause, case or words"></label>'
        f"<fieldset><legend>Show</legend>{verdicts}</fieldset>"
        f"<fieldset><legend>Runtimes</legend>{columns}</fieldset>"
        '<output id="shown" class="none" aria-live="polite"></output></form>'
    )


def _head(sections: Sequence[Section], first: str) -> str:
    cells = "".join(
        f'<th scope="col" data-column="{escape(s.configuration)}">{escape(s.configuration)}</th>'
        for s in sections
    )
    return f'<thead><tr><th scope="col">{first}</th>{cells}</tr></thead>'


def _clause_rows(sections: Sequence[Section]) -> str:
    rows, group, titles = "", "", clause_titles()
    for clause in clauses_of(sections):
        if clause[0] != group:
            group = clause[0]
            title = escape(GROUP_TITLES.get(group, group))
            rows += (
                f'<tr class="group"><th scope="rowgroup" colspan="{len(sections) + 1}">{title}</th></tr>\n'
            )
        cells = ((section, make_cell(section, clause)) for section in sections)
        rows += _row(clause, titles.get(clause, ""), clause, cells)
    return rows + _row("all", "", "all", ((section, tally(section)) for section in sections))


def _case_rows(sections: Sequence[Section]) -> str:
    lines = {line["id"]: line for section in sections for line in section.cases}
    by_id = [{line["id"]: line for line in section.cases} for section in sections]
    rows = ""
    for identifier, line in sorted(lines.items()):
        cells = (
            (section, Cell(lines=(known[identifier],) if identifier in known else ()))
            for section, known in zip(sections, by_id, strict=True)
        )
        note = f"{', '.join(line['spec'])} · {line['title']}"
        rows += _row(identifier, note, identifier, cells, one=True)
    return rows


def _row(name: str, note: str, row: str, cells: Iterable[tuple[Section, Cell]], *, one: bool = False) -> str:
    columns = ""
    for section, cell in cells:
        configuration = escape(section.configuration)
        inner = ""
        if cell.state != "none":
            text = cell.lines[0]["verdict"] if one else cell.text
            label = escape(f"{name} on {section.configuration}: {cell.words}")
            inner = (
                f'<button type="button" class="{cell.state}" data-state="{cell.state}" '
                f'data-row="{escape(row)}" data-configuration="{configuration}" aria-label="{label}">'
                f"{_SIGNS[cell.state]}{text}</button>"
            )
        columns += f'<td data-column="{configuration}">{inner}</td>'
    small = f"<small>{escape(note)}</small>" if note else ""
    text = escape(f"{name} {note}".lower())
    return f'<tr data-text="{text}"><th scope="row">{escape(name)}{small}</th>{columns}</tr>\n'
