"""`python -m build_tools`: make an environment if there is none, then run the command."""

import sys

from build_tools.bootstrap import ensure_environment, missing_dependency

if __name__ == "__main__":
    code = ensure_environment(sys.argv[1:])
    if code is None:
        try:
            from build_tools.cli import main
        except ModuleNotFoundError as error:
            known = missing_dependency(error)
            if known is None:
                raise
            print(known.render(), file=sys.stderr)
            sys.exit(known.exit_code)
        code = main()
    sys.exit(code)
