"""The documents do what they say: their Python runs as it stands, and no link of theirs leads nowhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md"))
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", *PAGES)
HAVE_DOCUMENTS = bool(PAGES) and all((ROOT / name).is_file() for name in DOCUMENTS)
PAGES_WITH_PYTHON = [
    name for name in DOCUMENTS if HAVE_DOCUMENTS and "\n```python\n" in (ROOT / name).read_text(encoding="utf-8")
]

pytestmark = pytest.mark.skipif(not HAVE_DOCUMENTS, reason="the documents are part of the sources alone")


def python_blocks(text: str) -> list[str]:
    """The code between fences marked as Python, each padded so that an error names the document's line."""
    fences = re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return ["\n" * text.count("\n", 0, fence.start(1)) + fence[1] for fence in fences]


def relative_links(text: str) -> list[str]:
    """The targets of links and images that are not addresses."""
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:", target)]


def headings(text: str) -> set[str]:
    """The places in a document that a link can name after its #."""
    found = re.findall(r"^#+ +(.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def leads_somewhere(document: Path, link: str) -> bool:
    """Whether the file that a link of a document names is there, and has the heading that it names."""
    name, _, place = link.partition("#")
    target = document.parent / name if name else document
    return target.exists() and (not place or place in headings(target.read_text(encoding="utf-8")))


def test_what_is_found_in_a_document() -> None:
    text = "[a](b/c.md#d) ![e](f.png) [g](https://h.org/i) [j](#k)\n```sh\nl\n```\n```python\nm = 1\n```\n"
    assert relative_links(text) == ["b/c.md#d", "f.png", "#k"]
    assert headings("# A (b), `c_d`\n```sh\n# e\n```\n## F-g\n") == {"a-b-c_d", "f-g"}
    assert python_blocks(text) == ["\n" * 5 + "m = 1\n"]


@pytest.mark.parametrize("page", PAGES_WITH_PYTHON)
def test_python_of_a_page(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One block after the other, with the names of those before."""
    monkeypatch.chdir(tmp_path)
    blocks = python_blocks((ROOT / page).read_text(encoding="utf-8"))
    assert blocks
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, page, "exec"), names)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links(document: str) -> None:
    path = ROOT / document
    links = relative_links(path.read_text(encoding="utf-8"))
    assert not [link for link in links if not leads_somewhere(path, link)]


def test_everything_is_two_clicks_from_the_readme() -> None:
    """Every page, and every example, is linked by the README or by a document that the README links."""

    def linked_by(document: Path) -> set[Path]:
        links = relative_links(document.read_text(encoding="utf-8"))
        return {(document.parent / link.partition("#")[0]).resolve() for link in links if not link.startswith("#")}

    first = linked_by(ROOT / "README.md")
    second = set[Path]().union(*(linked_by(path) for path in first if path.suffix == ".md"))
    examples = [path for path in ROOT.glob("examples/*") if path.suffix == ".py" or (path / "__main__.py").is_file()]
    assert PAGES_WITH_PYTHON and examples
    wanted = {ROOT / name for name in PAGES} | set(examples)
    assert not sorted(str(path.relative_to(ROOT)) for path in wanted if path.resolve() not in first | second)
