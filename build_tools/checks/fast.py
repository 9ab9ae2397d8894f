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


def find_left_out(name: str, *, is_slow: bool) -> Skipped | None:
    """Return why `--fast` leaves out a test and what would run it, or `None` if it runs."""
    if not name.startswith(KEPT):
        for start, (about, expression) in LEFT_OUT.items():
            if name.startswith(start):
                return leave_out(name, about, f"python -m build_tools test -k {expression}")
    if is_slow:
        return leave_out(name, "tests that are slow", f"python -m build_tools test -k {SLOW}")
    return None


def leave_out(name: str, about: str, command: str) -> Skipped:
    """Return the line for something that `--fast` leaves out."""
    return Skipped(name=name, reason=f"`--fast` leaves out {about}", fix=f"`{command}`", is_chosen=True)
