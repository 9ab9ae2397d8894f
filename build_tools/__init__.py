"""Builds, checks and publishes the Extism kernel: `python -m build_tools --help`."""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - what any Python can read, and the only such file
    sys.stderr.write(
        "error[environment]: this is Python "
        + sys.version.split()[0]
        + ", the tools need 3.10 or newer\n  at: "
        + sys.executable
        + "\nhint: run it with a newer one, for example `python3.12 -m build_tools ...`\n"
    )
    sys.exit(3)
