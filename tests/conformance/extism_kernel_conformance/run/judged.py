"""Which kernel a configuration really ran: what its adapter says of it, and what a report may claim.

In the kernel profile the runner hands over the kernel with each instance. In the sdk profile an SDK may run
another one: its own, which is embedded in it, or none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

EMBEDDED, NONE, UNKNOWN = "embedded", "none", "unknown"
"""What an adapter says of an SDK whose kernel it cannot read, and of one without; the digest of the first."""


def judged_digest(said: str, given: str) -> str:
    """Return the digest of the kernel that was judged; `said` is empty in the kernel profile."""
    return {"": given, EMBEDDED: UNKNOWN, NONE: NONE}.get(said, said)


def judged_facts(said: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the member `kernel` of a header: the facts of the given kernel only where it was judged."""
    digest = judged_digest(said, given["sha256"])
    if digest == given["sha256"]:
        return dict(given)
    return {"file": "", "sha256": digest, "bytes": 0, "flavour": "none"}


def find_false_claim(header: Mapping[str, Any]) -> str | None:
    """Return what is wrong if a header claims another kernel than its adapter spoke of, else `None`."""
    claimed, said = header["kernel"]["sha256"], header["runtime"].get("kernel", "")
    if header["profile"] == "kernel":
        return "in the kernel profile the kernel is the one that was given" if said else None
    if not said:
        return f"it claims the kernel {claimed[:16]}, and its adapter does not say which one it ran"
    judged = judged_digest(said, claimed)
    return (
        None if judged == claimed else f"it claims the kernel {claimed[:16]}, the adapter ran {judged[:16]}"
    )
