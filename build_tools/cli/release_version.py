"""The command `release`: the commit and the tag of a version, and the version after it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from build_tools.base.errors import ContractError, ExitCode, UsageError
from build_tools.base.findings import to_json
from build_tools.base.project import find_project
from build_tools.kernel.version import read_version
from build_tools.release.changelog import read_sections_of
from build_tools.release.prepare import prepare_next, prepare_release

if TYPE_CHECKING:
    import argparse

    from build_tools.base.project import Project
    from build_tools.release.prepare import Prepared

WORDS = {"committed": "committed", "present": "was there before", "would-commit": "would be committed"}


def release(args: argparse.Namespace) -> int:
    """Commit and tag a version, open the one after it, or print its notes."""
    if [args.version is not None, args.next, args.notes].count(True) != 1:
        raise UsageError("`release` takes either a version, `--next` or `--notes`")
    project = find_project()
    if args.notes:
        print(_notes(project))
        return ExitCode.DONE
    if args.next:
        done = prepare_next(project, is_dry_run=args.dry_run)
    else:
        done = prepare_release(project, args.version, is_dry_run=args.dry_run)
    print(to_json(dataclasses.asdict(done)) if args.json else _render(done))
    return ExitCode.DONE


def _notes(project: Project) -> str:
    changelog = project.root / "CHANGELOG.md"
    version = read_version(project.cargo_toml)
    notes = read_sections_of(changelog).get(version)
    if not notes:
        hint = f"python -m build_tools release {version}"
        raise ContractError([f"there is nothing under `{version}`"], where=changelog, hint=hint)
    return notes


def _render(done: Prepared) -> str:
    lines = [f"extism-kernel {done.version}: {WORDS[done.outcome]}"]
    lines += [f"  version in {place.file}, line {place.line}" for place in done.places]
    lines += [f"  changed: {file}" for file in done.files]
    if done.commit is not None:
        lines.append(f"  commit {done.commit}")
    if done.tag is not None and done.commit is not None:
        lines.append(f"  tag {done.tag}")
        lines.append(f"now: git push origin main && git push origin {done.tag}  (.github/RELEASING.md)")
    return "\n".join(lines)
