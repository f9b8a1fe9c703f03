"""Models, what they are called, and the one that comes along."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from cocoon_p2p.inference.catalogue import DEMO_NAME, DEMO_WEIGHTS_HASH, demo_model, is_demo, model_name
from cocoon_p2p.inference.gguf import GgufHead, Value, read_gguf
from cocoon_p2p.inference.manifest import weights_hash


async def test_the_demo_model_in_the_package_is_the_one_that_was_published() -> None:
    assert await weights_hash(demo_model()) == DEMO_WEIGHTS_HASH
    assert is_demo(DEMO_WEIGHTS_HASH)
    assert model_name(read_gguf(demo_model())) == DEMO_NAME


def test_the_demo_model_is_small_enough_to_travel_with_the_package() -> None:
    assert demo_model().stat().st_size < 6_000_000


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"general.basename": "Qwen3", "general.size_label": "0.6B", "general.name": "x"}, "qwen3-0.6b"),
        ({"general.basename": "Qwen3"}, "qwen3"),
        ({"general.name": "Tiny Llama  (v1.1)", "general.size_label": "1B"}, "tiny-llama-v1.1"),
        ({}, "my-file"),
        ({"general.name": "模型"}, "model"),
        ({"general.name": "x" * 200}, "x" * 96),
    ],
)
def test_a_model_is_called_by_its_family_else_its_name_else_its_file(
    values: Mapping[str, Value], name: str
) -> None:
    assert model_name(GgufHead(Path("My File.gguf"), values, bytes(32), "", "", 0)) == name
