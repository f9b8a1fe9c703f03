"""Links lead somewhere: from page to page, to an anchor within, and from what the code says to a page.

`make docs` looks at the site's own; this is for the repository's browser, and for what nodes print.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOPS = ("docs", "protocols", "payments", "inference", "bootstrap", "examples", "benchmarks", "deploy")
PAGES = sorted(
    page
    for page in (*ROOT.glob("*.md"), *(page for top in TOPS for page in ROOT.glob(f"{top}/**/*.md")))
    if "node_modules" not in page.parts
)
LINK = re.compile(r"\]\((?!\w+:|/)([^)\s]+)\)")
SAID = re.compile(r"^(?:[\w-]+/)*[\w-]+\.md(?:#[\w-]+)?$")


def anchors(page: Path) -> set[str]:
    """Spell a page's headings as the repository's browser and the site do."""
    text = re.sub(r"^( *)```.*?^\1```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found = set[str]()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-"))
    return found


_anchors = cache(anchors)


def is_there(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not anchor or target.suffix != ".md" or anchor in _anchors(target))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^( *)```.*?^\1```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)

    assert [link for link in LINK.findall(text) if not is_there(page, link)] == []


@pytest.mark.slow
def test_every_page_that_the_code_sends_people_to_is_there() -> None:
    said = {(file, text) for file in sorted((ROOT / "cocoon_p2p").rglob("*.py")) for text in _said(file)}

    assert said
    assert [(str(file), text) for file, text in said if not is_there(ROOT / "here", text)] == []


def _said(file: Path) -> Iterator[str]:
    text = file.read_text()
    for node in ast.walk(ast.parse(text)) if ".md" in text else ():
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SAID.match(node.value):
            yield node.value


def test_every_decision_is_in_the_list_of_decisions() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = set(LINK.findall((folder / "README.md").read_text()))

    assert {page.name for page in folder.glob("0*.md")} <= listed
