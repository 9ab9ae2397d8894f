"""Finds adapters, says what a machine lacks for them, builds them, and makes their command lines."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter import install
from extism_kernel_conformance.adapter.file_lock import file_lock
from extism_kernel_conformance.adapter.versions import is_in_range
from extism_kernel_conformance.base.errors import AdapterBuildError, AdapterMalformedError, UsageError
from extism_kernel_conformance.base.files import write_whole_bytes
from extism_kernel_conformance.base.resources import cache_folder, suite_root
from extism_kernel_conformance.base.schema import load_check

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from extism_kernel_conformance.wasm.module import Kernel

_BUILD_SECONDS = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """Something a machine must have; `install` is the command that brings it."""

    kind: str
    name: str
    version: str
    version_command: tuple[str, ...]
    install: str
    fetch: tuple[str, tuple[str, ...]] | None = None
    """What `--install` fetches, as (`pip` or `deb`, packages)."""

    @property
    def is_fetched(self) -> bool:
        """Whether it was fetched into the cache."""
        return self.fetch is not None and install.is_installed(*self.fetch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """One configuration: an adapter as one runtime with one set of options."""

    name: str
    runtime: str
    command: tuple[str, ...]
    folder: Path
    profile: str = "kernel"
    flavours: tuple[str, ...] = ("context", "core")
    requires: tuple[Requirement, ...] = ()
    build: tuple[tuple[str, ...], ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    timeout: float | None = None
    note: str = ""

    @property
    def takes_kernel(self) -> bool:
        """Whether the SDK that it wraps runs the kernel that is given, and not its own."""
        return any("{kernel}" in word for argv in (*self.build, self.command) for word in argv)


def adapter_from_command(command: str) -> Adapter:
    """Make an adapter of a command line as a shell would read it."""
    try:
        argv = tuple(shlex.split(command))
    except ValueError as error:
        raise UsageError(f"`--command` is no command line: {error}", where=command) from None
    if not argv:
        raise UsageError("`--command` is empty")
    return Adapter(name=_name_of(argv), runtime="unknown", command=argv, folder=Path.cwd())


def _name_of(argv: Sequence[str]) -> str:
    """Return the name of a command's file: the first word that is one, else the module or the program."""
    if "-m" in argv[1:-1]:
        return argv[argv.index("-m", 1) + 1]
    words = [word for word in argv[1:] if not word.startswith("-")]
    files = [word for word in words if Path(word).is_file()] or [word for word in words if Path(word).suffix]
    return Path((files or argv)[0]).stem or argv[0]


def find_adapters(extra: Sequence[Path] = ()) -> dict[str, Adapter]:
    """Return every adapter of the suite and of the extra folders, by name.

    Raises AdapterMalformedError for an adapter.json that breaks the schema or takes a name twice, UsageError
    for an extra folder without any.
    """
    found: dict[str, Adapter] = {}
    for folder in (suite_root() / "adapters", *extra):
        direct = [folder / "adapter.json"] if (folder / "adapter.json").is_file() else []
        paths = direct or sorted(folder.glob("*/adapter.json"))
        if not paths and folder in extra:
            raise UsageError("there is no adapter.json here, nor one folder below", where=str(folder))
        for path in paths:
            for adapter in read_adapter_file(path):
                if adapter.name in found:
                    message = f"the name `{adapter.name}` is taken by {found[adapter.name].folder}"
                    raise AdapterMalformedError(message, where=str(path))
                found[adapter.name] = adapter
    return found


def read_adapter_file(path: Path) -> Iterator[Adapter]:
    """Yield the configurations of one adapter.json."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterMalformedError(f"this is no JSON: {error}", where=str(path)) from None
    faults = list(load_check("adapter.schema.json")(document, ""))
    if faults:
        raise AdapterMalformedError("; ".join(faults), where=str(path))
    for entry in document if isinstance(document, list) else [document]:
        yield Adapter(
            name=entry["name"],
            runtime=entry["runtime"],
            profile=entry.get("profile", "kernel"),
            flavours=tuple(entry.get("flavours", ("context", "core"))),
            requires=tuple(_requirement(each) for each in entry.get("requires", ())),
            build=tuple(tuple(argv) for argv in entry.get("build", ())),
            command=tuple(entry["command"]),
            env=tuple(entry.get("env", {}).items()),
            timeout=entry.get("timeout"),
            note=entry.get("note", ""),
            folder=path.parent.resolve(),
        )


def _requirement(entry: Mapping[str, object]) -> Requirement:
    kind = next(kind for kind in ("program", "module", "path") if kind in entry)
    name = str(entry[kind])
    command = entry.get("version_command")
    return Requirement(
        kind=kind,
        name=name,
        version=str(entry.get("version", "")),
        version_command=tuple(command) if isinstance(command, list) else (name, "--version"),
        install=str(entry["install"]),
        fetch=_fetch(entry.get("fetch")),
    )


def _fetch(entry: object) -> tuple[str, tuple[str, ...]] | None:
    if not isinstance(entry, dict):
        return None
    ((kind, packages),) = entry.items()
    return kind, tuple(packages)


def select_adapters(names: Sequence[str], known: Mapping[str, Adapter], profile: str) -> list[Adapter]:
    """Return the adapters of these names; a name is a configuration, a folder, a runtime, or `all`.

    Raises UsageError for a name that selects nothing.
    """
    selected: dict[str, Adapter] = {}
    for name in names:
        hits = [
            adapter
            for adapter in known.values()
            if adapter.profile == profile
            and name in {adapter.name, adapter.folder.name, adapter.runtime, "all"}
        ]
        exact = [adapter for adapter in hits if adapter.name == name]
        if not hits:
            have = ", ".join(sorted(adapter.name for adapter in known.values() if adapter.profile == profile))
            raise UsageError(
                f"there is no adapter `{name}` for the {profile} profile", hint=f"known are: {have}, all"
            )
        selected |= {adapter.name: adapter for adapter in exact or hits}
    return list(selected.values())


def find_lacking(adapter: Adapter) -> str | None:
    """Return what this machine lacks for an adapter, with the command that brings it, or None."""
    for each in adapter.requires:
        problem = _PROBLEMS[each.kind](each)
        if problem is not None and not each.is_fetched:
            return f"{problem}; install it with `{each.install}`"
    return None


def install_lacking(adapter: Adapter) -> list[str]:
    """Fetch what this machine lacks for an adapter, where `fetch` says how; return what was fetched.

    Raises AdapterBuildError if a tool fails.
    """
    return [
        install.install(*each.fetch)
        for each in adapter.requires
        if each.fetch is not None and not each.is_fetched and _PROBLEMS[each.kind](each) is not None
    ]


def variables_of(adapter: Adapter) -> dict[str, str]:
    """Return the environment variables of an adapter: its own, and those for what was fetched."""
    variables: dict[str, str] = {}
    for each in adapter.requires:
        if each.fetch is not None and each.fetch[0] == "deb" and each.is_fetched:
            variables |= install.variables_of(each.fetch[1])
    return variables | dict(adapter.env)


def _python_of(adapter: Adapter) -> str:
    """Return the Python that starts an adapter: the one at hand, or one whose packages were fetched."""
    for each in adapter.requires:
        is_lacking = each.fetch is not None and each.fetch[0] == "pip" and _PROBLEMS[each.kind](each)
        if is_lacking and each.fetch is not None and each.is_fetched:
            return install.python_of(each.fetch[1])
    return sys.executable


def _program_problem(each: Requirement) -> str | None:
    if shutil.which(each.name) is None:
        return f"`{each.name}` is not on PATH"
    if not each.version:
        return None
    try:
        done = subprocess.run(each.version_command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"`{shlex.join(each.version_command)}` fails: {error}"
    match = re.search(r"\d+(\.\d+)*", done.stdout + done.stderr)
    found = match[0] if match else "0"
    return None if is_in_range(found, each.version) else f"`{each.name}` is {found}, needed is {each.version}"


def _module_problem(each: Requirement) -> str | None:
    try:
        found = importlib.metadata.version(each.name)
    except importlib.metadata.PackageNotFoundError:
        return f"the Python package `{each.name}` is not installed for {sys.executable}"
    if each.version and not is_in_range(found, each.version):
        return f"the Python package `{each.name}` is {found}, needed is {each.version}"
    return None


def _path_problem(each: Requirement) -> str | None:
    pattern = Path(os.path.expandvars(each.name)).expanduser()
    found = any(pattern.parent.glob(pattern.name)) if pattern.parent.is_dir() else False
    return None if found else f"there is no `{each.name}`"


_PROBLEMS = {"program": _program_problem, "module": _module_problem, "path": _path_problem}


def sources_digest(folder: Path) -> str:
    """Return a digest of the names and bytes of an adapter's sources, build litter left out."""
    total = hashlib.sha256(f"{sys.version_info[:2]} {platform.platform()}".encode())
    litter = {"__pycache__", "node_modules", "target", "known-failures.json"}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not litter & set(path.relative_to(folder).parts):
            total.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
            total.update(path.read_bytes())
    return total.hexdigest()[:16]


def prepare_adapter(adapter: Adapter, kernel: Kernel | None = None) -> tuple[str, ...]:
    """Build an adapter if its sources are new, and return the command that starts it.

    Where its words say `{kernel}`, it is built for the kernel that is given, in a folder of its own.

    Raises AdapterBuildError with the tail of the output if a build command fails.
    """
    needs_build = bool(adapter.build) or any("{build}" in word for word in adapter.command)
    build = (
        cache_folder() / f"{adapter.folder.name}-{sources_digest(adapter.folder)}" if needs_build else Path()
    )
    places = {"dir": str(adapter.folder), "python": _python_of(adapter)}
    if kernel is not None and adapter.takes_kernel:
        build = build.with_name(f"{build.name}-{kernel.sha256[:16]}") if needs_build else build
        places["kernel"] = str(_keep_kernel(kernel))
    places["build"] = str(build)
    if adapter.build:
        build.mkdir(parents=True, exist_ok=True)
        with file_lock(build / "lock"):
            for argv in adapter.build:
                _build_once(adapter, _fill(argv, places), build)
    return _fill(adapter.command, places)


def _keep_kernel(kernel: Kernel) -> Path:
    """Return a file with a kernel that an adapter is built for, named after its digest."""
    path = cache_folder() / "kernels" / f"{kernel.sha256}.wasm"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole_bytes(path, kernel.data)
    return path


def _fill(argv: Sequence[str], places: Mapping[str, str]) -> tuple[str, ...]:
    def fill(word: str) -> str:
        # Not str.format, which would trip over every other brace.
        return re.sub(r"\{(\w+)\}", lambda match: places.get(match[1], match[0]), word)

    return tuple(fill(word) for word in argv)


def _build_once(adapter: Adapter, argv: Sequence[str], build: Path) -> None:
    done_mark = build / f"done-{hashlib.sha256(shlex.join(argv).encode()).hexdigest()[:16]}"
    if done_mark.exists():
        return
    print(f"{adapter.name}: + {shlex.join(argv)}", file=sys.stderr, flush=True)
    try:
        env = {**os.environ, **variables_of(adapter)}
        done = subprocess.run(
            argv,
            cwd=adapter.folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
        failed, output = done.returncode != 0, done.stdout + done.stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        failed, output = True, str(error)
    if failed:
        tail = "\n".join(output.splitlines()[-15:])
        raise AdapterBuildError(f"`{shlex.join(argv)}` failed:\n{tail}", where=str(adapter.folder))
    done_mark.touch()
