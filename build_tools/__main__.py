"""`python -m build_tools`: make an environment if there is none, then run the command."""

import sys

from build_tools.bootstrap import ensure_environment

if __name__ == "__main__":
    code = ensure_environment(sys.argv[1:])
    if code is None:
        from build_tools.cli import main

        code = main()
    sys.exit(code)
