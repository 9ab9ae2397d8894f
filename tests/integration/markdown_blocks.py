"""The code blocks of a Markdown file, and what is wrong with them.

The word after the fence says what a block is: `python` is run, `console` holds commands (lines that begin
with `$ `) and what they print, `json` is read, and `text` is output or a drawing, which nothing checks.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from .markdown_commands import CommandError, check_command, is_cheap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

KINDS = ("python", "console", "json", "text")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One code block; `line` is that of its first line of code, from 1."""

    kind: str
    text: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of a console block, and the lines that stand below it as its output."""

    text: str
    output: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong with a block."""

    code: str
    line: int
    message: str


def parse_blocks(markdown: str) -> list[Block]:
    """Return all code blocks; one that is indented instead of fenced is of kind `indented`."""
    blocks = []
    for token in MarkdownIt().parse(markdown):
        if token.type in {"fence", "code_block"} and token.map is not None:
            is_fence = token.type == "fence"
            kind = token.info.strip() if is_fence else "indented"
            blocks.append(Block(kind=kind, text=token.content, line=token.map[0] + 1 + is_fence))
    return blocks


def parse_commands(block: Block) -> list[Command]:
    """Return the commands of a console block. A backslash at the end of a line goes on with the next."""
    commands: list[Command] = []
    continued = False
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith("$ ") and not continued:
            commands.append(Command(text=line[2:], output="", line=number))
        elif commands:
            last = commands[-1]
            text, output = last.text, last.output
            if continued:
                text = f"{text.removesuffix(chr(92))} {line.strip()}"
            else:
                output += f"{line}\n"
            commands[-1] = Command(text=text, output=output, line=last.line)
        else:
            return []
        continued = bool(commands) and not commands[-1].output and commands[-1].text.endswith("\\")
    return commands


def check_marks(blocks: list[Block]) -> Iterator[Finding]:
    """Yield one finding for each block that does not say what it is, or is not what it says."""
    for block in blocks:
        if block.kind == "indented":
            yield Finding(code="block-indented", line=block.line, message="use a fence that says what it is")
        elif not block.kind:
            words = ", ".join(KINDS)
            yield Finding(
                code="block-unmarked", line=block.line, message=f"write one of {words} after the fence"
            )
        elif block.kind not in KINDS:
            message = f"nothing checks `{block.kind}`; use one of {', '.join(KINDS)}"
            yield Finding(code="block-unknown", line=block.line, message=message)
        elif block.kind == "json":
            try:
                json.loads(block.text)
            except ValueError as error:
                yield Finding(code="json-invalid", line=block.line, message=str(error))
        elif block.kind == "console" and not parse_commands(block):
            message = "a command begins with `$ `, also the first line"
            yield Finding(code="console-without-command", line=block.line, message=message)


def check_console(
    blocks: list[Block], root: Path, scratch: Path, env: Mapping[str, str]
) -> Iterator[Finding]:
    """Parse every command with the parser of its program; run those that are cheap in `scratch`."""
    for block in blocks:
        for command in parse_commands(block) if block.kind == "console" else []:
            try:
                check_command(command.text, root)
            except CommandError as fault:
                yield Finding(code=fault.code, line=command.line, message=str(fault))
                continue
            if is_cheap(command.text):
                yield from run_command(command, scratch, env)


def run_command(command: Command, scratch: Path, env: Mapping[str, str]) -> Iterator[Finding]:
    """Run a command as it is printed; `...` in its output stands for anything."""
    done = subprocess.run(  # noqa: S602 - a command of our own documents, as a reader types it
        command.text,
        shell=True,
        cwd=scratch,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    if done.returncode:
        message = f"exit code {done.returncode}: {done.stderr.strip()}"
        yield Finding(code="command-fails", line=command.line, message=message)
    elif command.output and not matches(command.output, done.stdout):
        yield Finding(code="output-differs", line=command.line, message=f"it prints {done.stdout!r}")


def matches(wanted: str, got: str) -> bool:
    """Compare what is printed in a document with what came, without colours; `...` stands for anything."""
    pattern = ".*".join(re.escape(part) for part in wanted.split("..."))
    return re.fullmatch(pattern, re.sub(r"\x1b\[[0-9;]*m", "", got), re.DOTALL) is not None


RUNNER = """
import contextlib, io, json, sys
name, blocks = json.load(sys.stdin)
space = {"__name__": "__main__"}
sys.stdin = io.StringIO()
for line, text in blocks:
    output = io.StringIO()
    failure = None
    try:
        with contextlib.redirect_stdout(output):
            exec(compile("\\n" * (line - 1) + text, name, "exec"), space)
    except BaseException as error:
        failure = f"{type(error).__name__}: {error}"
    print(json.dumps([line, failure, output.getvalue()]))
"""


def check_python(name: str, blocks: list[Block], scratch: Path, env: Mapping[str, str]) -> Iterator[Finding]:
    """Run the Python blocks of one file, in order and in one namespace, as a reader would.

    What a block prints must be the `text` block that follows it, if one does.
    """
    texts = [[block.line, block.text] for block in blocks if block.kind == "python"]
    if not texts:
        return
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps([name, texts]),
        cwd=scratch,
        env=dict(env),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        yield Finding(code="python-fails", line=0, message=done.stderr.strip())
        return
    printed = {line: (failure, output) for line, failure, output in map(json.loads, done.stdout.splitlines())}
    for block, after in zip(blocks, [*blocks[1:], None], strict=True):
        if block.kind != "python":
            continue
        failure, output = printed[block.line]
        if failure is not None:
            yield Finding(code="python-fails", line=block.line, message=failure)
        elif after is not None and is_output(block, after) and not matches(after.text, output):
            yield Finding(code="output-differs", line=after.line, message=f"the code prints {output!r}")


def is_output(block: Block, after: Block) -> bool:
    """Say whether a block is `text`, with nothing but an empty line between it and the one before."""
    return after.kind == "text" and after.line - (block.line + block.text.count("\n")) <= 3
