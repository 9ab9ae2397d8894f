"""`python -m build_tools completion SHELL`: a script that completes `python -m build_tools` in that shell.

Made from the parsers, so it needs no list of its own. Nothing is run while somebody types: the script has
all names in it. A `python` that runs anything else is completed as before.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from build_tools.cli.parsers import Parser

if TYPE_CHECKING:
    from collections.abc import Iterator

SHELLS = ("bash", "zsh", "fish")
PYTHONS = ("python", "python3")
BASH = """\
# Completion of `python -m build_tools`; for this shell only: eval "$(python -m build_tools completion bash)"
_extism_kernel_build_tools() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} path='' at
    if [[ ${{COMP_WORDS[1]}} != -m || ${{COMP_WORDS[2]}} != build_tools ]] || ((COMP_CWORD < 3)); then
        mapfile -t COMPREPLY < <(compgen -o bashdefault -o default -- "$word")
        return
    fi
    for ((at = 3; at < COMP_CWORD; at++)); do
        [[ ${{COMP_WORDS[at]}} == -* ]] || path+=" ${{COMP_WORDS[at]}}"
    done
    case "$path" in
{cases}
    *) mapfile -t COMPREPLY < <(compgen -o default -- "$word") ;;
    esac
}}
complete -F _extism_kernel_build_tools {pythons}
"""
BASH_CASE = """\
    {pattern}) mapfile -t COMPREPLY < <(compgen {files}-W '{words}' -- "$word") ;;"""
FISH_USE = "python -m build_tools completion fish | source"
ZSH = """\
# Completion of `python -m build_tools`; for this shell only: eval "$(python -m build_tools completion zsh)"
_extism_kernel_build_tools() {{
    if [[ ${{words[2]}} != -m || ${{words[3]}} != build_tools ]] || ((CURRENT < 4)); then
        _python 2>/dev/null || _files
        return
    fi
    local path='' at
    for ((at = 4; at < CURRENT; at++)); do
        [[ ${{words[at]}} == -* ]] || path+=" ${{words[at]}}"
    done
    case "$path" in
{cases}
    (*) _files ;;
    esac
}}
compdef _extism_kernel_build_tools {pythons}
"""
ZSH_CASE = """\
    ({pattern}) compadd -- {words}; {files} ;;"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What may follow a path of commands (none is the program itself): commands or files, and options."""

    path: tuple[str, ...]
    commands: tuple[str, ...]
    options: tuple[str, ...]

    @property
    def words(self) -> str:
        """All names, separated by spaces; none of ours needs quotes."""
        return " ".join((*self.commands, *self.options))


def walk(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[Level]:
    """Yield a level for the parser and for each of its commands."""
    if isinstance(parser, Parser):
        parser.fill()
    commands: dict[str, argparse.ArgumentParser] = {}
    choices: list[str] = []
    options: list[str] = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to list them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - likewise
            commands.update(action.choices)
        elif action.option_strings:
            options += [name for name in action.option_strings if name.startswith("--")]
        elif action.choices is not None:
            choices += map(str, action.choices)
    yield Level(path=path, commands=(*commands, *choices), options=tuple(options))
    for name, child in commands.items():
        yield from walk(child, (*path, name))


def render_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the script for one of `SHELLS`."""
    levels = list(walk(parser))
    if shell == "fish":
        return _render_fish(levels)
    template, line = (BASH, BASH_CASE) if shell == "bash" else (ZSH, ZSH_CASE)
    files = {"bash": ("-o default ", ""), "zsh": ("_files", "true")}[shell]
    cases = [
        line.format(
            # A command without commands of its own may be followed by files, which are part of the path then.
            pattern="'" + "".join(f" {name}" for name in level.path) + "'" + ("" if level.commands else "*"),
            files=files[1] if level.commands else files[0],
            words=level.words,
        )
        for level in sorted(levels, key=lambda level: -len(level.path))
    ]
    return template.format(cases="\n".join(cases), pythons=" ".join(PYTHONS))


def _render_fish(levels: list[Level]) -> str:
    lines = [
        "# Completion of `python -m build_tools`; for this shell only: " + FISH_USE,
        "function __extism_kernel_at",
        "    set -l words (commandline -opc)",
        "    test (count $words) -ge 3; and test \"$words[2..3]\" = '-m build_tools'; or return 1",
        "    set -l path (string match -v -- '-*' $words[4..])",
        '    test "$path" = "$argv"',
        "end",
    ]
    for level in levels:
        condition = f"'__extism_kernel_at {' '.join(level.path)}'"
        for python in PYTHONS:
            start = f"complete -c {python} -n {condition}"
            lines += [f"{start} -f -a '{' '.join(level.commands)}'"] if level.commands else []
            lines += [f"{start} -l {option.removeprefix('--')}" for option in level.options]
    return "\n".join(lines) + "\n"
