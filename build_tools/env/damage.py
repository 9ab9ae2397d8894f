"""Whether the installed files of an environment are those that pip installed. Standard library only."""

from __future__ import annotations

import base64
import csv
import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def find_damage(venv: Path) -> str | None:
    """Return an installed file that is missing or is not what its RECORD says, or `None` if all are whole.

    Reads every installed file once: for a command that failed for no known reason, and for `doctor`.
    """
    for site in sorted(venv.glob("lib/python*/site-packages")):
        for record in sorted(site.glob("*.dist-info/RECORD")):
            for name in _check(site, record):
                return name
    return None


def _check(site: Path, record: Path) -> Iterator[str]:
    try:
        rows = list(csv.reader(record.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error):
        rows = []
    own = record.relative_to(site).as_posix()
    if not any(row and row[0] == own for row in rows):  # it names itself, so this one was cut
        yield own
    for name, algorithm_and_digest, _ in (row for row in rows if len(row) == 3):  # noqa: PLR2004 - its columns
        algorithm, _, wanted = algorithm_and_digest.partition("=")
        if algorithm != "sha256":
            continue  # what pip compiled has none
        try:
            digest = hashlib.sha256((site / name).read_bytes()).digest()
        except OSError:
            yield name
            continue
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != wanted:
            yield name
