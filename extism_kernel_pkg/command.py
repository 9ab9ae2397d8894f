"""The command `extism-kernel`: what a vendored kernel is, and the kernel of this package for build scripts.

Nothing but the standard library is needed. Exit codes are in `EXIT_CODES`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extism_kernel_pkg._errors import KernelResourceError
from extism_kernel_pkg._info import FLAVOURS, kernel_info
from extism_kernel_pkg._resource import kernel_bytes, kernel_path
from extism_kernel_pkg.vendored import ALLOWANCES, read_known, render_text, to_data, to_sarif, verify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extism_kernel_pkg.vendored.known import Folder

EXIT_CODES = """exit codes of verify:
   0  every kernel found is current, or allowed
   2  wrong usage
   5  a path does not exist, or a record of this package is malformed
  10  stale: a released kernel, but there is a newer one
  11  rebuilt: of a version on record, but by another toolchain, so that its bytes cannot be checked
  12  unknown: exports what a kernel exports, but is not on record
  13  altered: changed, cut or damaged
  14  upstream's kernel
  15  no kernel found
  16  something could not be looked into
Of several answers the first of these counts: 13, 12, 11, 10, 14, 16, 15.
"""
USAGE_EXIT, INPUT_EXIT, PIPE_EXIT = 2, 5, 141
C_NAMES = {"context": "extism_runtime_wasm", "core": "extism_runtime_core_wasm"}
BYTES_PER_LINE = 16


class CommandError(Exception):
    """The command cannot do what it is asked for; the text says why and what to do."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = make_parser().parse_args(argv)
    try:
        code: int = args.command(args)
        sys.stdout.flush()
    except (KernelResourceError, CommandError) as error:
        print(f"error: {error}", file=sys.stderr)
        return INPUT_EXIT
    except BrokenPipeError:
        # Whoever reads the output has enough; Python's own flush at its end must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_EXIT
    return code


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="extism-kernel", description="The Extism kernel for build scripts.")
    parser.add_argument("--version", action="store_true", help="print the version of the kernel")
    parser.set_defaults(command=_version)
    commands = parser.add_subparsers(metavar="COMMAND")
    check = commands.add_parser("verify", help="find kernels and say what each is", epilog=EXIT_CODES)
    add_verify_arguments(check)
    check.set_defaults(command=lambda args: run_verify(args, folder=None))
    path = commands.add_parser("path", help="print the path of the kernel's file")
    info = commands.add_parser("info", help="print what is known about the kernel")
    info.add_argument("--json", action="store_true")
    export = commands.add_parser("export", help="write a copy of the kernel, or a C header of it")
    export.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    export.add_argument("--c-header", action="store_true", help="as an array in a header for C and C++")
    for each in (path, export):
        each.add_argument("--flavour", choices=FLAVOURS, default=FLAVOURS[0], help="default: %(default)s")
    path.set_defaults(command=_path)
    info.set_defaults(command=_info)
    export.set_defaults(command=_export)
    return parser


def add_verify_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `verify` takes; `build_tools` has the same command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXIT_CODES
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="files and folders of any kind")
    parser.add_argument("--json", action="store_true", help="print the answers as JSON")
    parser.add_argument("--sarif", type=Path, metavar="FILE", help="also write them as SARIF 2.1.0")
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        choices=ALLOWANCES,
        help="do not fail for this answer; may be repeated",
    )


def run_verify(args: argparse.Namespace, *, folder: Folder | None) -> int:
    """Verify, print, and return the exit code. `folder` has the records, by default this package.

    Raises `KernelCorruptError` for a malformed record, `CommandError` for a path that does not exist.
    """
    known = read_known(folder)
    try:
        found = verify(args.paths, known, allowed=args.allow)
    except OSError as error:
        message = f"{error.filename}: {error.strerror}"
        raise CommandError(message.encode("unicode_escape").decode()) from None
    if args.sarif is not None:
        _write(args.sarif, _to_json(to_sarif(found, version=known.newest or "0.0.0")).encode())
    print(_to_json(to_data(found)) if args.json else render_text(found))
    return found.exit_code


def _version(args: argparse.Namespace) -> int:
    if not args.version:
        make_parser().print_usage(sys.stderr)
        return USAGE_EXIT
    print(f"extism-kernel {kernel_info().version} (ABI {kernel_info().abi_version})")
    return 0


def _path(args: argparse.Namespace) -> int:
    with kernel_path(args.flavour) as path:
        place = path
    if not place.is_file():
        raise CommandError("the package is inside a zip, so its kernel has no path; use `export --out FILE`")
    print(place)
    return 0


def _info(args: argparse.Namespace) -> int:
    info = kernel_info()
    if args.json:
        flavours = {
            name: {
                "file": each.file,
                "size": each.size,
                "sha256": each.sha256,
                "features": list(each.features),
            }
            for name, each in info.flavours.items()
        }
        print(_to_json({"version": info.version, "abi_version": info.abi_version, "flavours": flavours}))
        return 0
    print(f"extism-kernel {info.version}, ABI {info.abi_version}, {len(info.exports)} exports")
    for name, each in info.flavours.items():
        print(f"{name:<8} {each.file}  {each.size:,} bytes\n         sha256 {each.sha256}")
        print(f"         beyond the WebAssembly MVP: {', '.join(each.features) or 'nothing'}")
    print(f"by       {(info.toolchain.rustc and 'rustc ' + info.toolchain.rustc) or info.toolchain.origin}")
    return 0


def _export(args: argparse.Namespace) -> int:
    data = kernel_bytes(args.flavour)
    content = make_c_header(data, args.flavour).encode() if args.c_header else data
    if args.out is not None:
        _write(args.out, content)
    elif sys.stdout.isatty() and not args.c_header:
        raise CommandError("a module is not for a terminal; name a file with `--out FILE`")
    else:
        sys.stdout.buffer.write(content)
    return 0


def make_c_header(data: bytes, flavour: str) -> str:
    """Return a header for C and C++ with the module as an array and its length."""
    name = C_NAMES[flavour]
    info = kernel_info()
    lines = [
        f"/* Extism kernel {info.version}, flavour {flavour}, sha256 {info.flavours[flavour].sha256}. */",  # type: ignore[index]
        f"#ifndef {name.upper()}_H",
        f"#define {name.upper()}_H",
        f"static const unsigned char {name}[] = {{",
        *(
            "  " + ", ".join(f"0x{byte:02x}" for byte in data[at : at + BYTES_PER_LINE]) + ","
            for at in range(0, len(data), BYTES_PER_LINE)
        ),
        "};",
        f"static const unsigned int {name}_len = {len(data)}u;",
        "#endif",
    ]
    return "\n".join(lines) + "\n"


def _write(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _to_json(value: Any) -> str:  # noqa: ANN401 - any JSON
    return json.dumps(value, indent=2)
