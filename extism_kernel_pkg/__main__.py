"""`python -m extism_kernel_pkg` is the command `extism-kernel`."""

import sys

from extism_kernel_pkg.command import main

if __name__ == "__main__":
    sys.exit(main())
