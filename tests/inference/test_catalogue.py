"""Models, their files and their hashes."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.catalogue import (
    DEMO_NAME,
    DEMO_WEIGHTS_HASH,
    demo_model,
    is_demo,
    manifest_hash,
    model_files,
    model_name,
    weights_hash,
)
from cocoon_p2p.inference.gguf import GgufHead, Value, read_gguf


async def test_the_demo_model_in_the_package_is_the_one_that_was_published() -> None:
    assert await weights_hash(demo_model()) == DEMO_WEIGHTS_HASH
    assert is_demo(DEMO_WEIGHTS_HASH)
    assert model_name(read_gguf(demo_model())) == DEMO_NAME


def test_the_demo_model_is_small_enough_to_travel_with_the_package() -> None:
    assert demo_model().stat().st_size < 6_000_000


async def test_the_weights_hash_is_over_the_canonical_manifest(tmp_path: Path) -> None:
    (tmp_path / "any-name.gguf").write_bytes(b"weights")
    line = f"{hashlib.sha256(b'weights').hexdigest()} 7 model\n"

    expected = hashlib.sha256(b"cocoon/weights/1\0" + line.encode()).digest()

    assert await weights_hash(tmp_path / "any-name.gguf") == expected


async def test_a_renamed_file_is_the_same_model_and_a_changed_byte_is_another(tmp_path: Path) -> None:
    for name, content in (("a.gguf", b"weights"), ("b.gguf", b"weights"), ("c.gguf", b"weightz")):
        (tmp_path / name).write_bytes(content)

    first, renamed, changed = [await weights_hash(tmp_path / name) for name in ("a.gguf", "b.gguf", "c.gguf")]

    assert first == renamed != changed


async def test_every_part_of_a_split_model_counts(tmp_path: Path) -> None:
    first = tmp_path / "big-00001-of-00002.gguf"
    second = tmp_path / "big-00002-of-00002.gguf"
    first.write_bytes(b"one")
    with pytest.raises(ConfigurationError, match="missing=big-00002-of-00002"):
        await weights_hash(first)

    second.write_bytes(b"two")
    before = await weights_hash(first)
    second.write_bytes(b"TWO")

    assert await weights_hash(first) != before


def test_a_folder_s_manifest_holds_what_decides_its_answers(tmp_path: Path) -> None:
    for name in ("b.safetensors", "a.safetensors", "config.json", "README.md", ".lock"):
        (tmp_path / name).write_bytes(b"")

    assert list(model_files(tmp_path)) == ["a.safetensors", "b.safetensors", "config.json"]


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="missing=all"):
        model_files(tmp_path)


def test_the_order_in_which_files_are_given_does_not_matter() -> None:
    files = [("a", bytes(32), 1), ("b", bytes(32), 2)]

    assert manifest_hash(files) == manifest_hash(files[::-1]) != manifest_hash(files[:1])


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
