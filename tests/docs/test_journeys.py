"""Each journey of docs/journeys is walked from its page alone, and what it prints is what the page shows."""

import tempfile
from pathlib import Path

import pytest

from tests.docs.walking import ROOT, fresh_clone, walk

JOURNEYS = ("bot-developer", "worker", "proxy", "bootstrap")


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", JOURNEYS)
def test_a_journey_prints_what_its_page_shows(name: str) -> None:
    page = (ROOT / "docs" / "journeys" / f"{name}.md").read_text()
    # Short: a socket's path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="walk-") as folder:
        clone = fresh_clone(Path(folder))

        walk(page, clone)
