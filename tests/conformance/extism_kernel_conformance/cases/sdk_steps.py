"""The steps of the sdk profile: load a plug-in, call it, look at its logs and at the requests it made."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from extism_kernel_conformance.base.resources import suite_root
from extism_kernel_conformance.cases import step_makers
from extism_kernel_conformance.cases.steps import DEFAULT_INSTANCE, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from extism_kernel_conformance.cases.step_parser import Json, StepParser

LONGEST_INPUT = 2_000_000

LEVELS = ("trace", "debug", "info", "warn", "error")

KEYS: Mapping[str, tuple[str, ...]] = {
    "load": (
        "plugin",
        "manifest",
        "linked",
        "log_level",
        "http_response_headers",
        "expect_reject",
        "may_reject",
    ),
    "invoke": (
        "plugin",
        "input",
        "hex",
        "fill",
        "len",
        "expect",
        "expect_hex",
        "expect_fill",
        "expect_len",
        "expect_json",
        "expect_error",
        "may_fail",
        "cancel_after_ms",
    ),
    "together": (),
    "logs": (),
    "requests": (),
    "repeat": ("index", "steps"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load(Step):
    """Make a plug-in from modules of the suite and the rest of a manifest."""

    plugin: str
    modules: tuple[tuple[str, str], ...]
    """(name in the manifest, hex); the last one is the main module."""
    manifest: Mapping[str, object] = field(default_factory=dict)
    log_level: str = "off"
    http_response_headers: bool = False
    expect_reject: str | None = None
    may_reject: bool = False
    """A plug-in that is refused counts as one whose calls fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoke(Step):
    """Call an exported function of a plug-in. Without `expect_error` the call must succeed."""

    plugin: str
    function: str
    data: bytes
    output: bytes | None = None
    json: object = None
    has_json: bool = False
    error: tuple[str, ...] | None = None
    """The error must hold one of these texts, case ignored; `("",)` allows any."""
    may_fail: bool = False
    """A call that fails is as good as one that gives what is expected."""
    cancel_after_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Together(Step):
    """Calls that run at the same time, each as often as is said, each on a plug-in of its own."""

    calls: tuple[tuple[Invoke, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs(Step):
    """What the guest logged during the last call: (level, message), in order."""

    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests(Step):
    """How many requests the loopback server has seen since the case began."""

    count: int


def _load(parser: StepParser, value: Json, where: str) -> Load:
    linked = value.get("linked", {})
    manifest = value.get("manifest", {})
    if not isinstance(linked, dict) or not isinstance(manifest, dict):
        parser.fault(where, "`linked` and `manifest` are objects")
        linked, manifest = {}, {}
    if "wasm" in manifest:
        parser.fault(f"{where}.manifest", "the modules are named by `load` and `linked`, not by `wasm`")
    level = value.get("log_level", "off")
    if level not in (*LEVELS, "off"):
        parser.fault(f"{where}.log_level", f"{level!r} is no level; known are {', '.join(LEVELS)}, off")
    modules = [(name, _module(parser, plugin, f"{where}.linked.{name}")) for name, plugin in linked.items()]
    for flag in ("http_response_headers", "may_reject"):
        if not isinstance(value.get(flag, False), bool):
            parser.fault(f"{where}.{flag}", "expected true or false")
    name = parser.word(value.get("plugin", DEFAULT_INSTANCE), f"{where}.plugin", "a plug-in's name")
    parser.instances.add(name)
    reject = value.get("expect_reject")
    if "expect_reject" in value and not isinstance(reject, str):
        parser.fault(f"{where}.expect_reject", "a text that the message must hold, `` for any")
    return Load(
        where=where,
        plugin=name,
        modules=(*modules, ("main", _module(parser, value["load"], where))),
        manifest=manifest,
        log_level=str(level),
        http_response_headers=value.get("http_response_headers") is True,
        expect_reject=reject if isinstance(reject, str) else None,
        may_reject=value.get("may_reject") is True,
    )


def _module(parser: StepParser, name: object, where: str) -> str:
    known = {path.stem: path for path in (suite_root() / "plugins").glob("*.hex")}
    if not isinstance(name, str) or name not in known:
        parser.fault(where, f"there is no plug-in {name!r}; known are {', '.join(sorted(known))}")
        return ""
    return known[name].read_text(encoding="ascii").strip()


def _invoke(parser: StepParser, value: Json, where: str) -> Invoke:
    error = value.get("expect_error")
    texts = (error,) if isinstance(error, str) else tuple(error) if isinstance(error, list) else None
    if "expect_error" in value and (not texts or not all(isinstance(text, str) for text in texts)):
        parser.fault(
            f"{where}.expect_error", "a text, or a list of texts of which one must stand in the message"
        )
        texts = None
    expected = [key for key in value if key.startswith("expect") and key != "expect_len"]
    if len(expected) > 1:
        parser.fault(
            where, f"one expectation is enough, this has {', '.join(f'`{key}`' for key in expected)}"
        )
    given = [key for key in ("input", "hex", "fill") if key in value]
    if len(given) > 1:
        parser.fault(where, f"one input is enough, this has {', '.join(f'`{key}`' for key in given)}")
    if not isinstance(value.get("may_fail", False), bool):
        parser.fault(f"{where}.may_fail", "expected true or false")
    if "may_fail" in value and "expect_error" in value:
        parser.fault(where, "a call that must fail has no `may_fail`")
    cancel = value.get("cancel_after_ms")
    if "cancel_after_ms" in value:
        parser.needs.add("cancel")
        if isinstance(cancel, bool) or not isinstance(cancel, int) or cancel < 1:
            parser.fault(f"{where}.cancel_after_ms", f"expected milliseconds, got {cancel!r}")
    function = value["invoke"]
    if not isinstance(function, str):
        parser.fault(f"{where}.invoke", f"expected an export's name, got {function!r}")
    length = value.get("expect_len", value.get("len"))
    output = _bytes(parser, value, where, ("expect", "expect_hex", "expect_fill"), length)
    data = _bytes(parser, value, where, ("input", "hex", "fill"), value.get("len"))
    if data is not None and len(data) > LONGEST_INPUT:
        parser.fault(where, f"an input has at most {LONGEST_INPUT:,} bytes, so that it fits into a line")
    return Invoke(
        where=where,
        plugin=parser.instance({"instance": value.get("plugin", DEFAULT_INSTANCE)}, where),
        function=str(function),
        data=data or b"",
        output=output,
        json=value.get("expect_json"),
        has_json="expect_json" in value,
        error=texts,
        may_fail=value.get("may_fail") is True,
        cancel_after_ms=cancel if isinstance(cancel, int) else None,
    )


def _together(parser: StepParser, value: Json, where: str) -> Together:
    parser.needs.add("together")
    given = value["together"]
    calls: list[tuple[Invoke, int]] = []
    for number, each in enumerate(given if isinstance(given, list) else ()):
        place = f"{where}.together[{number}]"
        if not isinstance(each, dict) or "invoke" not in each:
            parser.fault(place, "expected an `invoke` with the `times` it is called")
            continue
        parser.check_keys(each, {"invoke", "times", *KEYS["invoke"]} - {"cancel_after_ms"}, place)
        times = each.get("times", 1)
        if isinstance(times, bool) or not isinstance(times, int) or times < 1:
            parser.fault(f"{place}.times", f"expected how often it is called, got {times!r}")
            continue
        calls.append((_invoke(parser, each, place), times))
    plugins = {call.plugin for call, _ in calls}
    if len(calls) < 2 or len(plugins) < len(calls):
        parser.fault(f"{where}.together", "expected two calls or more, each of another plug-in")
    return Together(where=where, calls=tuple(calls))


def _bytes(
    parser: StepParser, value: Json, where: str, keys: tuple[str, str, str], length: object
) -> bytes | None:
    """Read bytes given as text, as hex, or as one byte repeated `len` times."""
    text, hexadecimal, fill = keys
    if hexadecimal in value:
        return parser.hexadecimal(value[hexadecimal], f"{where}.{hexadecimal}")
    if fill in value:
        if isinstance(length, bool) or not isinstance(length, int) or length < 0:
            parser.fault(f"{where}.len", f"`{fill}` needs a length, got {length!r}")
            return b""
        return parser.hexadecimal(value[fill], f"{where}.{fill}", length=1) * length
    if text not in value:
        return None
    given = value[text]
    return given.encode() if isinstance(given, str) else json.dumps(given).encode()


def _logs(parser: StepParser, value: Json, where: str) -> Logs:
    parser.needs.add("logs")
    entries = value["logs"]
    pairs = [tuple(each) for each in entries if isinstance(each, list)] if isinstance(entries, list) else []
    if (
        not isinstance(entries, list)
        or len(pairs) != len(entries)
        or not all(_is_entry(each) for each in pairs)
    ):
        parser.fault(f"{where}.logs", 'expected a list like [["info", "message"]]')
        pairs = []
    return Logs(where=where, entries=tuple((str(level), str(text)) for level, text in pairs))


def _is_entry(pair: tuple[object, ...]) -> bool:
    return len(pair) == 2 and pair[0] in LEVELS and isinstance(pair[1], str)


def _requests(parser: StepParser, value: Json, where: str) -> Requests:
    count = value["requests"]
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        parser.fault(f"{where}.requests", f"expected a number, got {count!r}")
        count = 0
    return Requests(where=where, count=count)


MAKERS: Mapping[str, Callable[[StepParser, Json, str], Step]] = {
    "load": _load,
    "invoke": _invoke,
    "together": _together,
    "logs": _logs,
    "requests": _requests,
    "repeat": step_makers.MAKERS["repeat"],
}
