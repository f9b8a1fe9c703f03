"""The threat model names a test in every row, and there is such a test."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "threat-model.md"
NAMED = re.compile(r"\[`(test_\w+)`\]\(\.\./(tests/[\w/]+\.py)\)")


def test_every_row_of_the_threat_model_names_a_test_that_there_is() -> None:
    rows = [
        line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "may try to" not in line
    ]

    assert len(rows) >= 20
    for row in rows:
        named = NAMED.findall(row)
        assert named, row
        for name, file in named:
            assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE), name
