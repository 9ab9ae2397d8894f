"""Every code block of every Markdown file is run, parsed or marked as output."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import wasmtime

from .conftest import ROOT
from .markdown_blocks import check_console, check_marks, check_python, matches, parse_blocks, parse_commands
from .markdown_commands import make_scratch

if TYPE_CHECKING:
    from pathlib import Path

    from build_tools.kernel.values import StagedKernel

    from .markdown_blocks import Finding

PLUGINS = {
    "hello.wasm": ("hello.wat", "greet"),
    "count_vowels.wasm": ("hello.wat", "count_vowels"),
    "shout.wasm": ("shout.wat", "shout"),
}
"""The plug-ins that documents speak of: a text of `tests/host/plugins/`, and what its function is called."""
SKIPPED = {".venv", "target", "node_modules", "dist", "build"}


def find_documents() -> list[str]:
    """Return all Markdown files that git tracks, or all there are where there is no git."""
    if (ROOT / ".git").exists() and shutil.which("git") is not None:
        argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
        listed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return sorted(name for name in listed.split("\0") if name and (ROOT / name).is_file())
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*.md"))
    return sorted(str(path) for path in found if not SKIPPED & set(path.parts))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory, built: StagedKernel) -> tuple[Path, dict[str, str]]:
    """A folder like the checkout, with a staged kernel and the plug-ins; and its programs' environment."""
    folder = tmp_path_factory.mktemp("markdown") / "checkout"
    folder.mkdir()
    env = make_scratch(folder, ROOT)
    package = folder / "extism_kernel_pkg"
    leave = shutil.ignore_patterns("__pycache__", "*.wasm", "kernel_info.json")
    shutil.copytree(ROOT / "extism_kernel_pkg", package, ignore=leave)
    for path in built.folder.iterdir():
        shutil.copy(path, package)
        shutil.copy(path, folder)
    for name, (source, function) in PLUGINS.items():
        text = (ROOT / "tests" / "host" / "plugins" / source).read_text(encoding="utf-8")
        (folder / name).write_bytes(wasmtime.wat2wasm(text.replace('"greet"', f'"{function}"')))
    return folder, env


def check(name: str, text: str, scratch: tuple[Path, dict[str, str]]) -> list[Finding]:
    folder, env = scratch
    blocks = parse_blocks(text)
    return [
        *check_marks(blocks),
        *check_console(blocks, ROOT, folder, env),
        *check_python(name, blocks, folder, env),
    ]


@pytest.mark.parametrize("name", find_documents())
def test_document_shows_what_works(name: str, scratch: tuple[Path, dict[str, str]]) -> None:
    findings = check(name, (ROOT / name).read_text(encoding="utf-8"), scratch)
    assert [f"{name}:{finding.line}: {finding.code}: {finding.message}" for finding in findings] == []


def fence(kind: str, text: str, after: str = "") -> str:
    return f"Some words.\n\n```{kind}\n{text}\n```\n{after}"


FAULTS = {
    "block-unmarked": fence("", "pip install wasmtime"),
    "block-indented": "Some words.\n\n    pip install wasmtime\n",
    "block-unknown": fence("shell", "pip install wasmtime"),
    "json-invalid": fence("json", '{"case": ...}'),
    "console-without-command": fence("console", "pip install wasmtime"),
    "command-unknown": fence("console", "$ frobnicate --now"),
    "command-malformed": fence("console", "$ echo 'no end"),
    "command-fails": fence("console", "$ python -m build_tools inspect none.wasm"),
    "output-differs": fence("console", '$ .venv/bin/python -c "print(1)"\n2'),
    "output-differs--python": fence("python", "print(1)", "\n```text\n2\n```\n"),
    "python-fails": fence("python", "import no_such_module"),
    "python-fails--later": fence("python", "a = 1") + fence("python", "print(a + b)"),
    "file-missing": fence("console", "$ cat tests/none.py"),
    "file-missing--script": fence("console", "$ python tests/none.py"),
    "file-missing--folder": fence("console", "$ cd none && echo"),
    "file-missing--project": fence("console", "$ go run -C tests/examples ."),
    "usage": fence("console", "$ python -m build_tools kernel --fast"),
    "usage--command": fence("console", "$ python -m build_tools colonel"),
    "usage--continued": fence("console", "$ python -m build_tools \\\n    kernel --fast"),
    "usage--after-another": fence("console", "$ echo && python -m build_tools kernel --fast"),
    "usage--bench": fence("console", "$ python -m build_tools bench --fast"),
    "usage--conformance": fence("console", "$ python -m build_tools conformance --fast"),
    "usage--suite": fence("console", "$ extism-kernel-conformance run extism-runtime.wasm --fast"),
    "usage--script": fence("console", "$ python tests/conformance/mutants/run.py KERNEL --fast"),
    "usage--extra": fence("console", "$ pip install 'extism-kernel[guest]'"),
    "usage--package": fence("console", "$ pip install no-such-package"),
    "usage--cargo": fence("console", "$ cargo +nightly fuzz run none"),
}
"""One document for each fault: the code of its finding, and a word of its own where there are several."""


@pytest.mark.parametrize(("fault", "text"), FAULTS.items(), ids=FAULTS)
def test_fault_is_found(fault: str, text: str, scratch: tuple[Path, dict[str, str]]) -> None:
    findings = check("fault.md", text, scratch)
    assert [finding.code for finding in findings] == [fault.partition("--")[0]]
    lines = text.splitlines()
    assert 1 <= findings[0].line <= len(lines)
    assert findings[0].message


SOUND = {
    "output": fence("text", "frobnicate"),
    "python": fence("python", "a = 1") + fence("python", "print(a)", "\n```text\n1\n```\n"),
    "python-of-a-plugin": fence(
        "python",
        "from extism_kernel_pkg.host import Plugin\n"
        'with Plugin({"wasm": [{"path": "hello.wasm"}]}) as plugin:\n    print(plugin.call("greet", "you"))',
        "\n```text\nb'Hello, you'\n```\n",
    ),
    "text-further-down": fence("python", "print(1)", "\nWords.\n\n```text\na drawing\n```\n"),
    "command": fence("console", "$ python -m build_tools kernel --json > kernel.json  # data"),
    "command-run": fence("console", '$ .venv/bin/python -c "print(123)"\n1...\n$ echo A'),
    "command-with-environment": fence("console", "$ EXTISM_KERNEL_PREBUILT=FILE pip install ."),
}


@pytest.mark.parametrize("text", SOUND.values(), ids=SOUND)
def test_sound_document_has_no_findings(text: str, scratch: tuple[Path, dict[str, str]]) -> None:
    assert check("sound.md", text, scratch) == []


def test_documents_are_found() -> None:
    assert {"README.md", "kernel-src/CONTRACT.md", "tests/conformance/README.md"} <= set(find_documents())


def test_commands_are_told_from_what_they_print() -> None:
    (block,) = parse_blocks(fence("console", "$ first \\\n    --more\none\n\ntwo\n$ second"))
    first, second = parse_commands(block)
    assert (first.text.split(), first.output, first.line) == (["first", "--more"], "one\n\ntwo\n", 4)
    assert (second.text, second.output, second.line) == ("second", "", 9)


def test_dots_stand_for_anything() -> None:
    assert matches("a ... c\n", "a b\nb c\n")
    assert not matches("a ... c\n", "a b\n")
