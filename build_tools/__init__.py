"""Builds, checks and publishes the Extism kernel: `python -m build_tools --help`."""
