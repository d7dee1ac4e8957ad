"""The documents do what they say: their Python runs as it stands, and no link leads nowhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/convolutions.md")
WITH_PYTHON = ("README.md", "docs/convolutions.md")

pytestmark = pytest.mark.skipif(
    not all((ROOT / name).is_file() for name in DOCUMENTS), reason="the documents are part of the sources alone"
)


def python_blocks(text: str) -> list[str]:
    """The code between fences marked as Python, each padded so that an error names the document's line."""
    fences = re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return ["\n" * text.count("\n", 0, fence.start(1)) + fence[1] for fence in fences]


def relative_links(text: str) -> list[str]:
    """The targets of links and images that are neither addresses nor places in the same document."""
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]


def test_what_is_found_in_a_document() -> None:
    text = "[a](b/c.md#d) ![e](f.png) [g](https://h.org/i) [j](#k)\n```sh\nl\n```\n```python\nm = 1\n```\n"
    assert relative_links(text) == ["b/c.md", "f.png"]
    assert python_blocks(text) == ["\n" * 5 + "m = 1\n"]


@pytest.mark.parametrize("document", WITH_PYTHON)
def test_python_of_the_documents(document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One block after the other, with the names of those before."""
    monkeypatch.chdir(tmp_path)
    blocks = python_blocks((ROOT / document).read_text(encoding="utf-8"))
    assert blocks
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, document, "exec"), names)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links(document: str) -> None:
    links = relative_links((ROOT / document).read_text(encoding="utf-8"))
    assert not [link for link in links if not (ROOT / link).exists()]
