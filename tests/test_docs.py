"""The documents: each link leads somewhere, and each document can be found from the index."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def _links(document: Path) -> list[str]:
    return [one for one in _LINK.findall(document.read_text()) if "://" not in one]


def _anchors(document: Path) -> set[str]:
    """Return the names of headings, as they are made from their words."""
    kept = (re.sub(r"[^\w\- ]", "", one.lower()) for one in _HEADING.findall(document.read_text()))
    return {one.replace(" ", "-") for one in kept}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: str(one.relative_to(ROOT)))
def test_each_link_leads_somewhere(document: Path) -> None:
    for link in _links(document):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not anchor or target.suffix != ".md" or anchor in _anchors(target), link


def test_each_document_is_found_from_the_index() -> None:
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in _links(DOCS / "README.md")}
    unlinked = [
        str(one.relative_to(DOCS))
        for one in DOCS.rglob("*.md")
        if one.resolve() not in linked and one != DOCS / "README.md"
    ]
    assert unlinked == []
