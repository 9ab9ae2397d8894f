from __future__ import annotations

import pytest

from build_tools.base.files import read_bounded
from build_tools.base.project import find_project
from build_tools.release.readme import LINK, absolute_links, link_base

BASE = "https://github.com/owner/name/blob/v1.0.0"

LINKS = {
    "file": ("[a](b.md)", f"[a]({BASE}/b.md)"),
    "code-as-text": ("[`a`](b/c.py), [`d`](e.py)", f"[`a`]({BASE}/b/c.py), [`d`]({BASE}/e.py)"),
    "heading-in-a-file": ("[a](b.md#c)", f"[a]({BASE}/b.md#c)"),
    "heading-here": ("[a](#c)", "[a](#c)"),
    "address": ("[a](https://example.org/b) [c](mailto:x)", "[a](https://example.org/b) [c](mailto:x)"),
    "inline-code": ("`f[0](x)`", "`f[0](x)`"),
    "block": ("```\na[0](x)\n```\n[a](b)", f"```\na[0](x)\n```\n[a]({BASE}/b)"),
}


@pytest.mark.parametrize(("text", "want"), LINKS.values(), ids=LINKS)
def test_relative_links_alone_are_changed(text: str, want: str) -> None:
    assert absolute_links(text, BASE) == want


def test_link_leads_out_of_the_readmes_folder() -> None:
    base = link_base("https://github.com/owner/name", "1.0.0-rc.1", "tests/suite")
    assert (
        absolute_links("[a](../b.md)", base)
        == "[a](https://github.com/owner/name/blob/v1.0.0-rc.1/tests/b.md)"
    )


@pytest.mark.parametrize("name", ["README.md", "tests/conformance/README.md"])
def test_every_link_of_our_readmes_leads_to_a_file(name: str) -> None:
    root = find_project().root
    text = read_bounded(root / name).decode()
    changed = absolute_links(text, BASE)
    for target in set(LINK.findall(text)) - set(LINK.findall(changed)):
        assert (root / name).parent.joinpath(target.partition("#")[0]).exists(), target
    assert not [target for target in LINK.findall(changed) if f"]({target})" not in text]
