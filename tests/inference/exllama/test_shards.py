"""Shards that are not whole, or not those of this model, are found by their headers."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.exllama.shards import read_shard, read_shards
from tests.inference.exllama.shard_files import write_shard

PARTS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part, name in zip(PARTS, ("a", "b"), strict=True):
        write_shard(tmp_path / part, names=(name,))
    index = {"metadata": {}, "weight_map": {"a": PARTS[0], "b": PARTS[1]}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    return tmp_path


def test_all_tensors_of_a_whole_model_are_found(folder: Path) -> None:
    assert set(read_shards(folder)) == {"a", "b"}


def test_a_missing_shard_is_named(folder: Path) -> None:
    (folder / PARTS[1]).unlink()

    with pytest.raises(ConfigurationError, match=PARTS[1]):
        read_shards(folder)


def test_a_shard_of_another_model_is_found_out(folder: Path) -> None:
    write_shard(folder / PARTS[1], names=("of another model",))

    with pytest.raises(ConfigurationError, match="not the part that the model's index means"):
        read_shards(folder)


@pytest.mark.parametrize("kept", [0, 7, 8, 20, -1])
def test_a_truncated_shard_is_found_out(folder: Path, kept: int) -> None:
    data = (folder / PARTS[0]).read_bytes()
    (folder / PARTS[0]).write_bytes(data[:kept])

    with pytest.raises(ConfigurationError, match="truncated") as raised:
        read_shards(folder)
    assert raised.value.hint


def test_numbers_of_eight_bits_are_refused(folder: Path) -> None:
    write_shard(folder / PARTS[0], dtype="F8_E4M3")

    with pytest.raises(ConfigurationError, match="fp8"):
        read_shards(folder)


@given(data=st.binary(max_size=64), length=st.integers(0, 80))
def test_no_bytes_make_it_fail_otherwise(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, length: int
) -> None:
    file = tmp_path_factory.mktemp("shard") / "any.safetensors"
    file.write_bytes(length.to_bytes(8, "little") + data)

    with pytest.raises(ConfigurationError):
        read_shard(file)
