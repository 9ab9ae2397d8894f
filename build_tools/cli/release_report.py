"""What the commands of `build_tools.cli.release` print: text for people, JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from build_tools.base.findings import Artifact
    from build_tools.release.publish import Published
    from build_tools.release.reproduce import Reproduction
    from build_tools.release.toolchains import Witnesses


def render_artifacts(artifacts: Sequence[Artifact]) -> str:
    """Return two lines for each artifact: its place and size, its digest."""
    return "\n".join(
        f"{artifact.path}  {artifact.size:,} bytes\n  sha256 {artifact.sha256}" for artifact in artifacts
    )


def artifacts_to_data(artifacts: Sequence[Artifact]) -> list[dict[str, Any]]:
    """Return artifacts for JSON."""
    return [
        {"name": each.name, "path": str(each.path), "size": each.size, "sha256": each.sha256}
        for each in artifacts
    ]


def render_reproduction(result: Reproduction) -> str:
    """Return the conditions of both builds and one verdict for each artifact."""
    lines = [f"build {number}: {each}" for number, each in enumerate(result.conditions, start=1)]
    for comparison in result.comparisons:
        if comparison.difference is None:
            lines.append(f"equal    {comparison.first}  {comparison.name}")
        else:
            lines.append(f"differs  {comparison.difference}")
    return "\n".join(lines)


def reproduction_to_data(result: Reproduction) -> dict[str, Any]:
    """Return a reproduction for JSON."""
    return {
        "equal": result.is_equal,
        "conditions": list(result.conditions),
        "artifacts": [
            {"name": each.name, "first": each.first, "second": each.second, "difference": each.difference}
            for each in result.comparisons
        ],
    }


def render_witnesses(result: Witnesses) -> str:
    """Return the digests that each route to a compiler gave, the routes that are missing, and a verdict."""
    lines = []
    for made in result.made:
        note = "" if made.is_pinned else " (not compared)"
        lines.append(f"{made.route}: {made.toolchain}{note}")
        lines += [f"  {flavour:<8} sha256 {digest}" for flavour, digest in made.sha256.items()]
    lines += [f"{missing.route}: not here: {missing.reason}" for missing in result.missing]
    compared = sum(made.is_pinned for made in result.made)
    verdict = "equal" if result.is_equal else "different"
    lines.append(f"{compared} builds of the pinned compiler, {verdict} bytes")
    return "\n".join(lines)


def witnesses_to_data(result: Witnesses) -> dict[str, Any]:
    """Return the routes and their digests for JSON."""
    return {
        "equal": result.is_equal,
        "made": [
            {
                "route": each.route,
                "toolchain": each.toolchain,
                "rustc": each.rustc,
                "compared": each.is_pinned,
                "sha256": each.sha256,
            }
            for each in result.made
        ],
        "missing": [{"route": each.route, "reason": each.reason} for each in result.missing],
    }


def render_published(published: Sequence[Published]) -> str:
    """Return one line for each artifact: what became of it, its digest, its name."""
    return "\n".join(
        f"{each.outcome:<12}  {each.artifact.sha256}  {each.artifact.name}" for each in published
    )


def published_to_data(published: Sequence[Published]) -> list[dict[str, Any]]:
    """Return outcomes for JSON."""
    return [
        {"name": each.artifact.name, "sha256": each.artifact.sha256, "outcome": each.outcome}
        for each in published
    ]
