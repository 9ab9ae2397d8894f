"""What remains with this kernel inside an SDK, as one small program for each cause, in the SDK's language."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from build_tools.base.errors import UsageError
from build_tools.base.files import guard_reading, make_folder, new_folder, read_bounded
from build_tools.base.process import run
from build_tools.downstream.languages import LANGUAGES, Data, Language
from build_tools.downstream.suite import suite_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from build_tools.downstream.rows import Outcome

PROBE = "probe"
SERVER = "http://127.0.0.1:8000"
"""Stands for the server of the case; SDK.md lists its pages."""
FOLDER = "folder"
"""Stands for the folder of the case; SDK.md says what is in it."""
README = """\
# What remains with this kernel inside

One folder for each cause: a program in the language of the SDK, and the plug-ins that it loads from its
own folder. What begins with `probe-` plays a case of the kernel: its plug-in answers with four words of
8 bytes: a mark, the number of the check that does not hold (0 if all do), what came, what was expected.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Cases of one SDK that fail for one reason; `shown` is the one that the program plays."""

    why: str
    cases: tuple[str, ...]
    shown: str
    got: str
    plays: tuple[Mapping[str, Any], ...]
    """The steps `load`, `invoke` and `logs` of the case shown."""
    note: str = ""

    @property
    def slug(self) -> str:
        """A name for a folder."""
        return self.shown.replace("/", "-")


def read_cases(root: Path) -> dict[str, Mapping[str, Any]]:
    """Return every case of the suite by its id."""
    found: dict[str, Mapping[str, Any]] = {}
    for path in sorted((root / "tests" / "conformance" / "cases").glob("*.json")):
        with guard_reading(path):
            found |= {each["id"]: each for each in json.loads(path.read_text(encoding="utf-8"))["cases"]}
    return found


def find_causes(outcome: Outcome, cases: Mapping[str, Mapping[str, Any]]) -> list[Cause]:
    """Return what remains of an SDK, grouped by the reason that its list of known failures gives."""
    judged = outcome.given or outcome.shipped
    remaining = outcome.remaining if outcome.given else judged.failed if judged else set()
    groups: dict[str, list[str]] = {}
    for name in sorted(remaining):
        assert judged is not None  # noqa: S101 - nothing remains without it
        groups.setdefault(str(judged.lines[name].get("why", "not yet explained")), []).append(name)
    causes = []
    for why, names in groups.items():
        assert judged is not None  # noqa: S101
        shown = min(names, key=lambda name: (_weight(name, cases), name))
        plays, note = _plays(shown, cases)
        got = str(judged.lines[shown].get("got", ""))
        causes.append(Cause(why=why, cases=tuple(names), shown=shown, got=got, plays=plays, note=note))
    return causes


def _weight(name: str, cases: Mapping[str, Mapping[str, Any]]) -> tuple[bool, bool, int]:
    """Return how much a program of the case would ask of its reader."""
    text = json.dumps(cases.get(name, {}).get("steps", []))
    is_long = any(word in text for word in ("repeat", "server}", "folder}", "logs", "together", "cancel"))
    return name.startswith(f"{PROBE}/"), is_long, len(text)


def _plays(name: str, cases: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[Mapping[str, Any], ...], str]:
    if name.startswith(f"{PROBE}/"):
        return ({"load": PROBE}, {"invoke": PROBE, "expect": "a report whose second word is 0"}), ""
    case = cases[name]
    steps = list(_flatten([*case.get("setup", []), *case["steps"]]))
    text = json.dumps(steps)
    needs = {"server}": f"the server of SDK.md at {SERVER}", "{folder}": f"`{FOLDER}` of SDK.md beside it"}
    named = [need for word, need in needs.items() if word in text]
    return tuple(steps), f"It needs {' and '.join(named)}." if named else ""


def _flatten(steps: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield each `load` and `invoke`, what is repeated once, what runs at the same time in turn."""
    for step in steps:
        if "repeat" in step:
            yield from _flatten(step["steps"])
        elif "together" in step:
            yield from step["together"]
        elif {"load", "invoke", "logs"} & step.keys():
            yield step


def make_program(cause: Cause, language: Language) -> str:
    """Return the program of a cause; a comment beside each call says what should come."""
    lines = [f"{language.comment} {cause.shown}: {cause.why}"]
    if cause.note:
        lines.append(f"{language.comment} {cause.note}")
    body: list[str] = []
    for step in cause.plays:
        if "load" in step:
            if level := step.get("log_level"):
                body.append(f"{language.comment} with the log level {level}")
            files = [*step.get("linked", {}).items(), ("main", step["load"])]
            if "may_reject" in step:
                body.append(
                    f"{language.comment} the plug-in may be refused here, with the error that is meant"
                )
            if "expect_reject" in step:
                body.append(f"{language.comment} the plug-in should be refused")
            body.append(language.load(step.get("plugin", "a"), files, _fill(step.get("manifest", {}))))
        elif "logs" in step:
            body.append(f"{language.comment} what was logged should be {step['logs']}")
        else:
            if after := step.get("cancel_after_ms"):
                body.append(f"{language.comment} cancelled from another thread after {after} ms")
            if times := step.get("times"):
                body.append(f"{language.comment} {times} times, at the same time as the other calls")
            call = language.call(step.get("plugin", "a"), step["invoke"], _input(step))
            body.append(f"{call}{language.gap}{language.comment} should be {_wanted(step)}")
    body.append(f"{language.comment} came: {cause.got}")
    return language.frame("\n".join(lines), body)


def find_modules(cause: Cause) -> set[str]:
    """Return the plug-ins that a program loads; `probe` is made of the case, the others are the suite's."""
    names = {step["load"] for step in cause.plays if "load" in step}
    return names | {each for step in cause.plays for each in step.get("linked", {}).values()}


def write_programs(root: Path, outcomes: Sequence[Outcome], folder: Path) -> None:
    """Write a folder for each SDK and cause, whole or not at all.

    Raises UsageError if there is such a folder, which is not ours to replace.
    """
    if folder.exists():
        raise UsageError("there is something here already", where=str(folder), hint="name a new folder")
    cases = read_cases(root)
    with new_folder(folder) as new:
        (new / "README.md").write_text(README, encoding="utf-8")
        for outcome in outcomes:
            for cause in find_causes(outcome, cases) if outcome.sdk.name in LANGUAGES else []:
                language = LANGUAGES[outcome.sdk.name]
                place = make_folder(new / outcome.sdk.name / cause.slug)
                (place / language.file).write_text(make_program(cause, language), encoding="utf-8")
                for name in sorted(find_modules(cause)):
                    (place / f"{name}.wasm").write_bytes(_read_module(root, name, cause, place))


def _read_module(root: Path, name: str, cause: Cause, folder: Path) -> bytes:
    if name != PROBE:
        path = root / "tests" / "conformance" / "plugins" / f"{name}.hex"
        return bytes.fromhex(read_bounded(path).decode("ascii").strip())
    path = folder / f"{PROBE}.wasm"
    argv, env = suite_command(root, "probe", cause.shown.removeprefix(f"{PROBE}/"), str(path))
    run(argv, cwd=root, env=env)
    return read_bounded(path)


def _fill(value: object) -> Any:  # noqa: ANN401 - JSON
    text = json.dumps(value)
    places = {"{server}": SERVER, "{other-server}": SERVER, "{folder}": FOLDER}
    for name, place in {**places, "{port}": SERVER.rpartition(":")[2]}.items():
        text = text.replace(name, place)
    return json.loads(text)


def _input(step: Mapping[str, Any]) -> Data:
    """Return the input of a call: a text, and how often it is repeated."""
    if "fill" in step:
        return Data(text=chr(int(step["fill"], 16)), times=int(str(step["len"]), 0))
    if "hex" in step:
        return Data(text=bytes.fromhex(step["hex"]).decode("latin-1"))
    data = step.get("input", "")
    return Data(text=_fill(data if isinstance(data, str) else json.dumps(data)))


def _wanted(step: Mapping[str, Any]) -> str:
    if "expect_error" in step:
        error = step["expect_error"]
        return f"an error with {error!r}" if error else "an error"
    if "expect_fill" in step:
        length = step.get("expect_len", step.get("len", 0))
        return f"{chr(int(step['expect_fill'], 16))!r}, {length} times"
    keys = ("expect", "expect_hex", "expect_json")
    found = [f"{step[key]!r}" for key in keys if key in step]
    return found[0] if found else "no error"
