"""`python -m build_tools`: make an environment if there is none, then run the command."""

import sys


def main() -> int:
    """Run the command line and return the exit code; Ctrl-C is one line, also while modules are imported."""
    try:
        from build_tools.bootstrap import ensure_environment, missing_dependency  # noqa: PLC0415 - see above

        code = ensure_environment(sys.argv[1:])
        if code is not None:
            return code
        try:
            from build_tools.cli import main as run_command  # noqa: PLC0415 - needs what the bootstrap makes
        except ModuleNotFoundError as error:
            known = missing_dependency(error)
            if known is None:
                raise
            print(known.render(), file=sys.stderr)
            return known.exit_code
        return run_command()
    except KeyboardInterrupt:
        print("interrupted; nothing half-written was left", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
