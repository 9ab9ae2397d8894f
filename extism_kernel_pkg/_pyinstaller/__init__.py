"""What PyInstaller asks for when it freezes a program that imports this package; nothing else uses it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["find_hooks"]


def find_hooks() -> list[str]:
    """Return the folders with hooks, as PyInstaller's entry point `pyinstaller40` asks for them."""
    return [str(Path(__file__).parent)]
