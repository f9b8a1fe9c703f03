"""docs/serving.md says what the engines say of themselves, and shows every example."""

import re
from pathlib import Path

import pytest

from cocoon_p2p.inference import llamacpp
from cocoon_p2p.inference.engine import Feature
from cocoon_p2p.inference.exllama import opening as exllama
from cocoon_p2p.inference.whisper import opening as whisper

ROOT = Path(__file__).parent.parent
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "serving.md").read_text().splitlines()
    if line.startswith("|")
]
COLUMNS = {"llama.cpp": llamacpp.FEATURES, "ExLlamaV2": exllama.FEATURES, "Whisper": whisper.FEATURES}


@pytest.mark.parametrize("feature", Feature)
def test_the_table_says_of_each_feature_what_each_engine_says(feature: Feature) -> None:
    head = ROWS[0]
    (row,) = [row for row in ROWS if row[0] == f"`{feature}`"]

    said = dict(zip(head, row, strict=True))
    if feature is Feature.TOOLS:
        # Not of the engine: a model's template may know them.
        assert (said["llama.cpp"], said["ExLlamaV2"]) == ("by template", "by template")
    else:
        assert {name: said[name] == "yes" for name in COLUMNS} == {
            name: feature in features for name, features in COLUMNS.items()
        }
    # What a server lacks is found out when a worker starts; stop strings are looked for here.
    assert said["a server of yours"] == ("yes" if feature is Feature.STOP else "probed")


def test_every_way_to_serve_has_an_example_that_its_page_names() -> None:
    named = set(re.findall(r"examples/(worker[\w-]*\.toml)", (ROOT / "docs" / "serving.md").read_text()))

    assert named == {file.name for file in (ROOT / "examples").glob("worker*.toml")}
