"""What third parties get: the wheel alone, the archive with its one-file runner, the plug-in, the scripts."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from extism_kernel_conformance.cases.load import load_cases
from extism_kernel_conformance.cli import data as cli_data
from extism_kernel_conformance.cli.bundle import make_runner

from .conftest import SUITE, toy_adapter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Ran

PASSING = {"id": "toy/passes", "steps": [{"call": "alloc", "args": [8], "expect": 1024}]}
FAILING = {"id": "toy/fails", "steps": [{"call": "alloc", "args": [8], "expect": 8}]}
SKIPPED = {"id": "toy/skips", "steps": [{"call": "reset", "fuel": 1}]}


def run(*argv: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        list(map(str, argv)),
        cwd=cwd,
        env=clean | env,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def readme_adapter() -> str:
    text = (SUITE / "README.md").read_text(encoding="utf-8")
    match = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert match is not None
    return match[1]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # A copy, so that the build sees no caches of this checkout and leaves nothing in it.
    source = folder / "source"
    litter = shutil.ignore_patterns("__pycache__", "node_modules", "target", "mutants", "tests", ".*")
    shutil.copytree(SUITE, source, ignore=litter)
    done = run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, source, cwd=folder)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_readme_adapter_has_ten_lines() -> None:
    assert len(readme_adapter().splitlines()) == 10


def test_wheel_holds_the_whole_suite_and_no_litter(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    inside = {name.partition("/suite/")[2] for name in names if "/suite/" in name}
    for folder in ("cases", "schema", "lint", "page"):
        assert {path.relative_to(SUITE).as_posix() for path in (SUITE / folder).glob("*.*")} <= inside
    assert {"suite.json", "surface.json", "RULES.md", "PROTOCOL.md", "README.md"} <= inside
    assert "adapters/node/adapter.mjs" in inside
    assert not [
        name for name in names if re.search(r"__pycache__|node_modules|/target/|/tests/|\.wasm$", name)
    ]
    metadata = (
        zipfile.ZipFile(wheel).read(next(name for name in names if name.endswith("/METADATA"))).decode()
    )
    assert [
        line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra" not in line
    ] == []
    assert f"Version: {json.loads((SUITE / 'suite.json').read_text())['version']}\n" in metadata


def test_wheel_alone_judges_a_kernel_with_an_adapter_of_ten_lines(
    wheel: Path, toy_kernel: Path, write_cases: Callable[..., Path], tmp_path: Path
) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)  # not every Python has `ensurepip`; ours has pip
    programs = home / ("Scripts" if os.name == "nt" else "bin")
    pip = (sys.executable, "-m", "pip", "--python", programs / "python")
    installed = run(*pip, "install", "-q", "--no-index", wheel, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr
    adapter = tmp_path / "mine.py"
    adapter.write_text(readme_adapter(), encoding="utf-8")
    # The runner's environment has the suite alone; the adapter's Python is one that has the runtime, too.
    command = shlex.join([sys.executable, str(adapter)])
    options = ["--cases", write_cases(PASSING, SKIPPED), "--command", command]
    done = run(
        programs / "extism-kernel-conformance",
        "run",
        toy_kernel,
        *options,
        cwd=tmp_path,
        PYTHONPATH=str(SUITE),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "green  1 pass, 1 skip (wasmtime" in done.stdout
    listed = run(programs / "extism-kernel-conformance", "cases", "--list", cwd=tmp_path)
    assert len(listed.stdout.splitlines()) >= 120


def test_wheel_runs_from_a_bare_python(wheel: Path, tmp_path: Path) -> None:
    code = "import extism_kernel_conformance.cli.main as c, sys; sys.exit(c.main(['cases', '--list']))"
    target = tmp_path / "unpacked"
    zipfile.ZipFile(wheel).extractall(target)
    done = run(
        sys.executable,
        "-S",
        "-E",
        "-c",
        f"import sys; sys.path.insert(0, {str(target)!r}); {code}",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_archive_runs_as_one_file_with_the_standard_library_only(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path], tmp_path: Path
) -> None:
    archive = tmp_path / "suite.tar.gz"
    assert cli("tarball", archive).code == 0
    # Pythons that a distribution froze before 3.11.4 do not know filters; newer ones ask for one.
    safely: dict[str, Any] = (
        {"filter": "data"} if "filter" in inspect.signature(shutil.unpack_archive).parameters else {}
    )
    shutil.unpack_archive(archive, tmp_path, **safely)
    (folder,) = tmp_path.glob("extism-kernel-conformance-*")
    options = [
        "--cases",
        write_cases(PASSING, FAILING),
        "--command",
        toy_adapter(),
        "--report",
        tmp_path / "r.jsonl",
    ]
    # `-I -S` leaves the runner the standard library alone; the adapter that it starts sees PYTHONPATH.
    done = run(
        sys.executable,
        "-I",
        "-S",
        folder / "run.py",
        "run",
        toy_kernel,
        *options,
        cwd=tmp_path,
        PYTHONPATH=str(SUITE),
    )
    assert "1 pass, 1 fail" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 1
    assert "expected 8, got 1024" in done.stdout
    page = run(
        sys.executable, "-I", "-S", folder / "run.py", "report", "r.jsonl", "--html", "p.html", cwd=tmp_path
    )
    assert page.returncode == 0, page.stderr
    listed = run(sys.executable, "-I", "-S", folder / "run.py", "cases", "--list", cwd=tmp_path)
    assert len(listed.stdout.splitlines()) >= 120


def test_archive_is_the_same_bytes_twice(cli: Callable[..., Ran], tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        path = tmp_path / name
        cli("tarball", path)
        digests.append(hashlib.sha256(path.read_bytes()).hexdigest())
    assert digests[0] == digests[1]


def test_runner_holds_the_modules_of_the_package_word_for_word() -> None:
    scope: dict[str, object] = {"__name__": "bundle", "__file__": "run.py"}
    finders = list(sys.meta_path)
    try:
        exec(compile(make_runner(), "run.py", "exec"), scope)  # noqa: S102 - the text is ours
    finally:
        sys.meta_path[:] = finders
    sources = scope["SOURCES"]
    assert isinstance(sources, dict)
    package = SUITE / "extism_kernel_conformance"
    names = {path.relative_to(package).as_posix() for path in package.rglob("*.py")}
    assert sources.keys() == names - {"cli/pytest_plugin.py"}
    for name, text in sources.items():
        assert text == (package / name).read_text(encoding="utf-8")


def test_plugin_makes_every_case_a_test(
    toy_kernel: Path, write_cases: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write_cases(PASSING, FAILING, SKIPPED)
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "extism_kernel_conformance.cli.pytest_plugin",
        "-rA",
        "--rootdir",
        tmp_path,
    ]
    options = [
        "--kernel-conformance",
        toy_kernel,
        "--kernel-cases",
        folder,
        "--kernel-command",
        toy_adapter(),
    ]
    done = run(*argv, *options, tmp_path, cwd=tmp_path, PYTHONPATH=str(SUITE))
    assert "1 failed, 2 passed, 1 skipped" in done.stdout, done.stdout + done.stderr
    assert "expected: 8\ngot: 1024" in done.stdout
    assert "toy/fails" in done.stdout
    none = run(*argv, tmp_path, cwd=tmp_path, PYTHONPATH=str(SUITE))
    assert "no tests ran" in none.stdout


def test_plugin_fails_every_case_of_an_adapter_that_fails_its_lint(
    toy_kernel: Path, write_cases: Callable[..., Path], tmp_path: Path
) -> None:
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "extism_kernel_conformance.cli.pytest_plugin",
        "--rootdir",
        tmp_path,
    ]
    options = ["--kernel-conformance", toy_kernel, "--kernel-cases", write_cases(PASSING)]
    command = ["--kernel-command", toy_adapter("signed-i32")]
    done = run(*argv, *options, *command, tmp_path, cwd=tmp_path, PYTHONPATH=str(SUITE))
    assert "2 failed" in done.stdout, done.stdout + done.stderr
    assert "the adapter fails its lint: lint/i32-sign" in done.stdout


def test_plugin_tells_usage_errors_plainly(tmp_path: Path) -> None:
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "extism_kernel_conformance.cli.pytest_plugin",
        "--rootdir",
        tmp_path,
    ]
    done = run(*argv, "--kernel-conformance", "none.wasm", tmp_path, cwd=tmp_path, PYTHONPATH=str(SUITE))
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "error[kernel-malformed]: the kernel cannot be read" in done.stderr


def test_exported_scripts_hold_what_the_reference_answered(
    cli: Callable[..., Ran],
    toy_kernel: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write_cases: Callable[..., Path],
) -> None:
    steps = [
        {"call": "alloc", "args": [100], "bind": "a", "expect": {"ne": 0}},
        {"write": "$a", "hex": "00112233445566778899"},
        {"read": "$a+1", "len": 9, "expect": "112233445566778899"},
        {"write": "$a", "fill": "5a", "len": 100},
        {"read": "$a", "len": 100, "expect_fill": "5a"},
        {"instantiate": "b"},
        {"call": "length", "args": [14], "instance": "b", "expect_trap": "unreachable"},
        {"pages": 1},
    ]
    cases = write_cases({"id": "toy/script", "steps": steps}, FAILING, SKIPPED)
    monkeypatch.setattr(cli_data, "load_cases", lambda _: load_cases(cases))
    out = tmp_path / "scripts"
    ran = cli("wast", toy_kernel, out, "--command", toy_adapter())
    assert ran.code == 0, ran.err
    assert "left out toy/fails: the reference answers fail" in ran.err
    assert "left out toy/skips: it counts fuel" in ran.err
    (script,) = out.iterdir()
    text = script.read_text(encoding="utf-8")
    assert '(assert_return (invoke $a1 "alloc" (i64.const 100)) (i64.const 1024))' in text
    assert '(assert_trap (invoke $b2 "length" (i64.const 14)) "unreachable")' in text
    if shutil.which("wast2json") is None or shutil.which("spectest-interp") is None:
        pytest.skip("wabt runs the script; install it with `apt-get install wabt`")
    made = run("wast2json", script, "-o", tmp_path / "script.json", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    played = run("spectest-interp", tmp_path / "script.json", cwd=tmp_path)
    passed, total = map(int, re.findall(r"(\d+)/(\d+) tests passed", played.stdout)[0])
    assert passed == total > 5, played.stdout


def test_reusable_workflow_names_its_inputs() -> None:
    path = SUITE.parents[1] / ".github" / "workflows" / "conformance.yml"
    text = path.read_text(encoding="utf-8")
    assert "workflow_call:" in text
    for name in ("kernel", "adapters", "suite-level", "command", "suite-version"):
        assert re.search(rf"^      {name}:$", text, re.MULTILINE), name
    commands = re.findall(r"extism-kernel-conformance (\w+)", text)
    assert {"run", "report"} <= set(commands)
