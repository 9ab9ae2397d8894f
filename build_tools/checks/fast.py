"""What `python -m build_tools test --fast` leaves out: whole groups of tests, and the command of each.

What stays shows in two minutes whether the kernel keeps its contract and the tools do their work. What is
left out needs other programs, starts many processes, or plays for long.
"""

from __future__ import annotations

from build_tools.checks.outcomes import Skipped

# The beginning of a test's id -> what it is about, and pytest's expression that selects it.
LEFT_OUT: dict[str, tuple[str, str]] = {
    "tests/integration/packaging/": ("packages and releases", "packaging"),
    "tests/integration/test_examples.py": ("the examples in other languages", "test_examples"),
    "tests/integration/test_proof.py": ("the proof", "test_proof"),
    "tests/integration/test_site.py": ("the site", "test_site"),
    "tests/integration/test_kernel_cuts.py": ("calls that are cut", "test_kernel_cuts"),
    "tests/unit/test_pytests.py": ("the runner of the tests", "test_pytests"),
    "tests/host/": ("the reference host", "host"),
    "tests/native/": ("the native twin", "native"),
    "tests/conformance/tests/": ("the tools of the conformance suite", "conformance"),
}
KEPT = (
    "tests/conformance/tests/test_cases.py",
    "tests/conformance/tests/test_cases_contract.py",
    "tests/conformance/tests/test_cases_kernels.py",
    "tests/conformance/tests/test_layers.py",
)
SLOW = "slow"


def find_left_out(path: str) -> str | None:
    """Return the group in `LEFT_OUT` that a file or folder (with `/` at its end) belongs to, or `None`."""
    if path.startswith(KEPT) or any(each.startswith(path) for each in KEPT):
        return None
    return next((start for start in LEFT_OUT if path.startswith(start)), None)


def explain(name: str) -> Skipped:
    """Return the line for a group that is left out, or for a test that is because it is slow."""
    about, expression = LEFT_OUT.get(name, ("tests that are slow", SLOW))
    return leave_out(name, about, f"python -m build_tools test -k {expression}")


def leave_out(name: str, about: str, command: str) -> Skipped:
    """Return the line for something that `--fast` leaves out."""
    return Skipped(name=name, reason=f"`--fast` leaves out {about}", fix=f"`{command}`", is_chosen=True)
