"""The command `verify`, which `extism-kernel` has, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from build_tools.base.errors import ContractError, FileMissingError
from build_tools.base.project import find_project
from extism_kernel_pkg import KernelCorruptError, command

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `verify` takes."""
    command.add_verify_arguments(parser)


def verify(args: argparse.Namespace) -> int:
    """Say what each kernel in the given paths is."""
    project = find_project()
    try:
        return command.run_verify(args, folder=project.package)
    except KernelCorruptError as error:
        raise ContractError([str(error)], where=project.package, hint="restore the file with git") from None
    except command.CommandError as error:
        raise FileMissingError(str(error)) from None
