"""Whether a release may go out, and its upload with twine.

Every check yields findings; one finding and nothing is uploaded. Credentials are twine's affair
(TWINE_USERNAME, TWINE_PASSWORD, keyring, trusted publishing): they are neither read from files nor put on a
command line, and what twine says is shown with them blanked out.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from build_tools.base.errors import ReleaseRefusedError, ToolFailedError, UploadFailedError, UsageError
from build_tools.base.process import run
from build_tools.release.checks import (
    attestation_of,
    check_attestations,
    check_index,
    check_release,
    not_installed,
    run_twine,
)
from build_tools.release.index import find_files
from build_tools.release.proofs import check_rebuilt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from build_tools.base.findings import Artifact
    from build_tools.base.project import Project
    from build_tools.release.distributions import Distributions

__all__ = ["Published", "attest", "publish"]

log = logging.getLogger(__name__)

SECRET_VARIABLES = ("TWINE_PASSWORD", "TWINE_CERT_PASSWORD")
Outcome = Literal["uploaded", "present", "would-upload"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One artifact and what became of it: uploaded now, there before with the same digest, or a dry run's."""

    artifact: Artifact
    outcome: Outcome


def publish(  # noqa: PLR0913 - what to publish, its proof, where to, and two options
    project: Project,
    distributions: Distributions,
    *,
    index: str,
    simple: str,
    rebuilt: Path | None,
    is_dry_run: bool = False,
    with_attestations: bool = False,
) -> list[Published]:
    """Check a release and upload what the index does not have yet.

    `rebuilt` is the SHA256SUMS of a second build, made elsewhere; without one the release is refused.
    After an index failed midway, the same call goes on with the files that are missing. Raises
    ReleaseRefusedError with all findings, IndexUnreachableError, or UploadFailedError.
    """
    present = find_files(simple) or []
    findings = [
        *check_release(project, distributions),
        *check_rebuilt(distributions, rebuilt),
        *check_index(distributions, present),
    ]
    if with_attestations:
        findings += check_attestations(distributions)
    if findings:
        raise ReleaseRefusedError(findings, where=f"{distributions.wheel.path.parent} -> {index}")
    there = {file.name for file in present}
    outcomes: list[Published] = []
    for artifact in distributions.artifacts:
        if artifact.name in there:
            outcomes.append(Published(artifact=artifact, outcome="present"))
            continue
        if not is_dry_run:
            _upload(artifact, index, outcomes, with_attestations=with_attestations)
        outcomes.append(Published(artifact=artifact, outcome="would-upload" if is_dry_run else "uploaded"))
    return outcomes


def attest(distributions: Distributions) -> list[Path]:
    """Sign both artifacts with the identity of the job that runs this, and return the attestations.

    Works only where there is such an identity: in a release workflow. Raises UsageError elsewhere, where the
    signer would open a browser.
    """
    try:
        identity = importlib.import_module("sigstore.oidc").detect_credential()
    except ImportError:
        raise not_installed("pypi-attestations") from None
    if identity is None:
        raise UsageError(
            "this job has no identity to sign with",
            where="environment",
            hint="attestations are made in the release workflow; elsewhere publish without --attestations",
        )
    files = [artifact.path for artifact in distributions.artifacts]
    run([sys.executable, "-m", "pypi_attestations", "sign", *files], cwd=Path.cwd())
    return [attestation_of(artifact) for artifact in distributions.artifacts]


def _upload(artifact: Artifact, index: str, done: Sequence[Published], *, with_attestations: bool) -> None:
    options = ["--non-interactive", "--disable-progress-bar", "--config-file", os.devnull]
    files = [str(artifact.path)]
    if with_attestations:
        options.append("--attestations")
        files.append(str(attestation_of(artifact)))
    log.info("uploading %s", artifact.name)
    try:
        run_twine("upload", *options, "--repository-url", f"{index}/", *files)
    except ToolFailedError as error:
        there = ", ".join(one.artifact.name for one in done) or "nothing"
        raise UploadFailedError(
            f"the index did not take `{artifact.name}`; it has: {there}\n{_blank(error.output).strip()}",
            where=index,
            hint="the same command goes on with what is missing",
        ) from None


def _blank(text: str) -> str:
    for name in SECRET_VARIABLES:
        secret = os.environ.get(name)
        if secret:
            text = text.replace(secret, "***")
    return text
