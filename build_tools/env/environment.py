"""An environment with the pinned dependencies, made by a Python that has none of them.

Standard library only, and everything that it imports too. The environment is `.venv` in the checkout, or a
folder in the user's cache where the checkout cannot be written; notes inside it say which lock files it
holds, so that a changed lock, a killed run and a broken Python are seen.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base import files
from build_tools.base.cache import find_cache
from build_tools.base.errors import BuildToolsError, PythonEnvironmentError, ToolFailedError
from build_tools.base.findings import to_json
from build_tools.base.process import run
from build_tools.base.progress import Progress
from build_tools.env import pip as installer
from build_tools.env.damage import find_damage

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
DONE_VARIABLE = "EXTISM_KERNEL_BOOTSTRAPPED"
NO_BOOTSTRAP = "--no-bootstrap"
OFFLINE = "--offline"
NOTES = ".build_tools"
PROBE_SECONDS = 240.0
# What answers without any dependency where the standard library reads TOML.
READS_TOML = () if sys.version_info >= (3, 11) else ("build",)
# What each command imports. A line that names none of them is refused, or `--version`.
COMMAND_SETS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("kernel", "inspect", "abi", "bench", "sbom", "package", "remember"), ("build",)),
    "test": ("dev", "optional"),
    "conformance": ("dev",),
    "campaign": ("dev",),
    "downstream": ("dev",),
    "attest": ("dev",),
    "prove": ("dev",),
    "wheel": ("dev",),
    "reproduce": ("dev",),
    "publish": ("dev",),
    "relock": ("dev",),
    "site": ("site",),
    "doctor": READS_TOML,
    "clauses": READS_TOML,
    "completion": READS_TOML,
    "verify": READS_TOML,
    "release": ("build",),
}
PIN = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)(?:\s*;\s*(?P<marker>[^\\]+?))?\s*\\?$", re.MULTILINE
)
PYTHON_MARKER = re.compile(r"python_full_version (?P<relation><|>=) '(?P<version>[\d.]+)'")


def ensure_environment(argv: Sequence[str]) -> int | None:
    """Return `None` if this Python can run the command, or the exit code of a failure.

    Does not return where a better Python takes over: it replaces this process.
    """
    if NO_BOOTSTRAP in argv:
        return None
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        _switch(argv)
    except BuildToolsError as error:
        print(error.render(), file=sys.stderr)
        if "--json" in argv:
            print(to_json(error.to_data()), flush=True)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue", file=sys.stderr)
        return 130
    return None


def _switch(argv: Sequence[str]) -> None:
    sets = sets_for(argv)
    venv = find_environment(sets)
    if all(is_satisfied(name, venv) for name in sets):
        return
    if os.environ.get(DONE_VARIABLE):
        raise PythonEnvironmentError(
            "the environment was made and still lacks its dependencies",
            where=str(venv),
            hint=f"remove it: `rm -r {venv}`, and run the command again",
        )
    if OFFLINE in argv and not all(note_of(name, venv).is_file() for name in sets):
        raise PythonEnvironmentError(
            "the environment lacks its dependencies, and `--offline` says not to download them",
            where=str(venv),
            hint="run once without `--offline`",
        )
    python = make_environment(venv, sets)
    os.environ[DONE_VARIABLE] = "1"
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(python, [str(python), "-m", "build_tools", *argv])  # noqa: S606 - the point: no second process


def sets_for(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the lock files that a command needs; `--help` needs none.

    The help of `bench` is its own (`cli.PASS_THROUGH`), and it is imported to be asked.
    """
    command = next((word for word in argv if not word.startswith("-")), "")
    if not argv or ({"-h", "--help"} & set(argv) and command != "bench"):
        return ()
    return COMMAND_SETS.get(command, READS_TOML)


def find_environment(sets: Sequence[str]) -> Path:
    """Return the folder of the environment: in the checkout, or in the cache where that cannot be written."""
    venv = ROOT / ".venv"
    if os.access(ROOT, os.W_OK) or all(note_of(name, venv).is_file() for name in sets):
        return venv
    return find_cache() / "environments" / _key(venv)


def _key(venv: Path) -> str:
    return hashlib.sha256(os.fsencode(venv)).hexdigest()[:16]


def lock_file(name: str) -> Path:
    """Return the lock file of a set."""
    return ROOT / "build_tools" / "requirements" / f"{name}.txt"


def note_of(name: str, venv: Path) -> Path:
    """Return the note that says that a set, as locked now, was looked after in an environment."""
    digest = hashlib.sha256(lock_file(name).read_bytes()).hexdigest()[:16]
    return venv / NOTES / f"{name}-{digest}"


def is_satisfied(name: str, venv: Path) -> bool:
    """Say whether this Python has what a set pins: our environment by its note, another by its versions."""
    if Path(sys.prefix) == venv:
        return note_of(name, venv).is_file()
    return name == "optional" or has_pins(name)


def has_pins(name: str) -> bool:
    """Say whether this Python has every distribution of a set in the version that its lock file pins."""
    for pin in PIN.finditer(lock_file(name).read_text(encoding="utf-8")):
        if not _applies(pin["marker"]):
            continue
        try:
            if importlib.metadata.version(pin["name"]) != pin["version"]:
                return False
        except importlib.metadata.PackageNotFoundError:
            return False
    return True


def _applies(marker: str | None) -> bool:
    """Say whether a pin is for this Python; markers on anything but its version are left to pip."""
    if marker is None:
        return True
    match = PYTHON_MARKER.fullmatch(marker.strip())
    if match is None:
        return False
    version = tuple(int(part) for part in match["version"].split("."))
    return (sys.version_info[:3] < version) == (match["relation"] == "<")


def missing_dependency(error: ModuleNotFoundError) -> PythonEnvironmentError | None:
    """Return our error for a dependency that cannot be imported, or `None` if the module is our own."""
    name = (error.name or "").partition(".")[0]
    if name in {"", "build_tools", "extism_kernel_pkg"}:
        return None
    if (Path(sys.prefix) / NOTES).is_dir():
        return PythonEnvironmentError(
            f"the environment lacks `{name}`, which was installed there",
            where=sys.prefix,
            hint=f"remove it: `rm -r {shlex.quote(sys.prefix)}`, and run the same command again",
        )
    return PythonEnvironmentError(
        f"this Python lacks `{name}`",
        where=sys.executable,
        hint=f"leave out `{NO_BOOTSTRAP}`, or install build_tools/requirements/build.txt (tests: dev.txt)",
    )


def explain_damage() -> PythonEnvironmentError | None:
    """Return our error if an installed file of our environment is damaged, for a failure without a reason."""
    venv = Path(sys.prefix)
    if not (venv / NOTES).is_dir():
        return None
    name = find_damage(venv)
    if name is None:
        return None
    return PythonEnvironmentError(
        f"the environment is damaged: `{name}` is not what was installed",
        where=sys.prefix,
        hint=f"remove it: `rm -r {shlex.quote(sys.prefix)}`, and run the same command again",
    )


def make_environment(venv: Path, sets: Sequence[str]) -> Path:
    """Return the Python of an environment that holds the sets, making or repairing it.

    Raises `PythonEnvironmentError` with the remedy: no network, no ensurepip, or a folder of that name that
    is not ours; `ReadOnlyError` in a checkout that cannot be written.
    """
    python = venv / "bin" / "python"
    with files.lock(find_cache() / "environments" / f"{_key(venv)}.lock"):
        if not _is_healthy(venv, python):
            _create(venv)
        for name in sets:
            if not note_of(name, venv).is_file():
                _install(name, venv, python)
    return python


def _is_healthy(venv: Path, python: Path) -> bool:
    if not (venv / NOTES / "made").is_file():
        return False
    # A Python that does not know where it lies would take the packages of the one it was made with.
    probe = [str(python), "-c", "import pip, sys; print(sys.prefix)"]
    try:
        done = subprocess.run(
            probe, capture_output=True, check=False, timeout=PROBE_SECONDS, text=True, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):  # the Python that it was made with is gone, or hangs
        return False
    return done.returncode == 0 and (not done.stdout or Path(done.stdout.strip()) == venv)


def _create(venv: Path) -> None:
    if venv.exists() and not (venv / NOTES).is_dir():
        raise PythonEnvironmentError(
            "there is an environment that build_tools did not make",
            where=str(venv),
            hint=f"move it away, or install build_tools/requirements/dev.txt there and add `{NO_BOOTSTRAP}`",
        )
    try:
        str(venv).encode()
    except UnicodeEncodeError:
        raise PythonEnvironmentError(
            "the path of the checkout is not UTF-8, and Python makes no environment there",
            where=str(venv),
            hint="rename the folder, or move the checkout",
        ) from None
    if venv.is_symlink():
        raise PythonEnvironmentError(
            "there is a link that leads nowhere, or to an environment elsewhere",
            where=str(venv),
            hint=f"remove it: `rm {shlex.quote(str(venv))}`, and run the same command again",
        )
    with files.guard(venv):
        shutil.rmtree(venv, ignore_errors=True)
        (venv / NOTES).mkdir(parents=True)
    try:
        with Progress(f"making the environment {_short(venv)}") as progress:
            # `venv` would hide what `ensurepip` says, if it has that at all.
            run([sys.executable, "-m", "venv", "--without-pip", venv], cwd=ROOT, watch=progress.update)
            installer.add_pip(venv / "bin" / "python", find_cache(), watch=progress.update)
    except ToolFailedError as error:
        shutil.rmtree(venv, ignore_errors=True)
        raise PythonEnvironmentError(
            f"this Python cannot make an environment: {_last_line(error.output)}",
            where=sys.executable,
            hint=f"on Debian and Ubuntu `{installer.fix_command()}`; or `{NO_BOOTSTRAP}` and a "
            "Python that has what build_tools/requirements/build.txt lists",
        ) from None
    except BaseException:
        shutil.rmtree(venv, ignore_errors=True)
        raise
    files.write_whole(venv / NOTES / "made", sys.version.encode())


def _short(venv: Path) -> Path:
    """Return a path for people: inside the checkout without what they know."""
    return venv.relative_to(ROOT) if venv.is_relative_to(ROOT) else venv


def _install(name: str, venv: Path, python: Path) -> None:
    for old in (venv / NOTES).glob(f"{name}-*"):
        old.unlink()
    pip: list[str | Path] = [
        python,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "install",
        "--require-hashes",
        # A lock is complete. Older pips that resolve it again look at versions newer than the pinned ones.
        "--no-deps",
    ]
    # Nothing of the locked sets is compiled here, except what no one made a wheel of.
    source = ["--no-build-isolation"] if name == "optional" else ["--only-binary=:all:"]
    note = b"installed\n"
    try:
        with Progress(f"installing the pinned dependencies ({name})") as progress:
            run([*pip, *source, "-r", lock_file(name)], cwd=ROOT, watch=progress.update)
    except ToolFailedError as error:
        if name != "optional":
            raise PythonEnvironmentError(
                f"the pinned dependencies could not be installed: {_last_line(error.output)}",
                where=str(lock_file(name).relative_to(ROOT)),
                hint="check the network (or pip's index settings) and run the same command again",
            ) from None
        log.warning("warning[optional-missing]: %s; tests that need it will skip", _last_line(error.output))
        note = b"not installed\n"
    files.write_whole(note_of(name, venv), note)


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["it printed nothing"])[-1]
