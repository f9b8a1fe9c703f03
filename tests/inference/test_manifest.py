"""Which bytes a model is, and that nobody reads 40 GB twice without need."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference import manifest as manifests
from cocoon_p2p.inference.hash_memory import HashMemory
from cocoon_p2p.inference.manifest import FILES_MAX, manifest, manifest_hash, model_files, weights_hash
from tests.inference.generate_vectors import FILE, MODELS, text

VECTORS = json.loads(FILE.read_text())["vectors"]


def lay_out(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


def test_the_committed_vectors_are_what_the_generator_writes() -> None:
    assert FILE.read_text() == text(), "run python -m tests.inference.generate_vectors"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["what"]))
async def test_a_model_hashes_to_what_the_vector_says(vector: dict[str, Any], tmp_path: Path) -> None:
    lay_out(tmp_path, {file["path"]: bytes.fromhex(file["content"]) for file in vector["files"]})
    lay_out(tmp_path, dict.fromkeys(vector["not_hashed"], b"not hashed"))

    assert (await weights_hash(tmp_path / vector["model"])).hex() == vector["weights_hash"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["what"]))
def test_the_vectors_follow_from_the_page_with_hashlib_alone(vector: dict[str, Any]) -> None:
    lines = [
        f"{hashlib.sha256(content).hexdigest()} {len(content)} {file['name']}\n"
        for file in sorted(vector["files"], key=lambda file: str(file["name"]).encode())
        for content in (bytes.fromhex(file["content"]),)
    ]

    assert "".join(lines) == vector["manifest"]
    hashed = hashlib.sha256(b"cocoon/weights/1\0" + vector["manifest"].encode()).hexdigest()
    assert hashed == vector["weights_hash"]


def test_there_is_a_vector_for_each_shape_of_a_model() -> None:
    assert {model.what for model in MODELS} == {vector["what"] for vector in VECTORS}


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


def test_names_are_ordered_by_their_bytes() -> None:
    files = [
        (name, bytes(32), 0) for name in ("é.json", "z.json", "Z.json", "\U0001f41b.json", "\uff5a.json")
    ]

    lines = manifest(files).splitlines()

    assert lines == sorted(lines)


@pytest.mark.parametrize("name", ["a\nb.json", "a\x1bb.json", "a\u2028b.json", os.fsdecode(b"\xff.json")])
def test_a_name_that_could_forge_a_line_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"")

    with pytest.raises(ConfigurationError, match="not a name"):
        model_files(tmp_path)


def test_a_split_model_of_ninety_thousand_parts_is_not_looked_for(tmp_path: Path) -> None:
    for part in range(1, FILES_MAX + 2):
        (tmp_path / f"m-{part:05}-of-99999.gguf").touch()

    with pytest.raises(ConfigurationError, match=f"max={FILES_MAX}"):
        model_files(tmp_path / "m-00001-of-99999.gguf")


# ---------------------------------------------------------------- remembered


def settled(file: Path, content: bytes = b"weights", at: int = 1_700_000_000) -> Path:
    """Write a file that was last changed long ago, as far as its own times tell."""
    file.write_bytes(content)
    os.utime(file, (at, at))
    return file


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files count as settled at once: a change time cannot be set back."""
    monkeypatch.setattr("cocoon_p2p.inference.hash_memory.SETTLED_SECONDS", 0.0)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Name each file as it is read."""
    names: list[str] = []
    read = manifests._Hashing._read  # pyright: ignore[reportPrivateUsage]

    def count(self: Any, stream: Any) -> Any:
        names.append(Path(stream.name).name)
        return read(self, stream)

    monkeypatch.setattr(manifests._Hashing, "_read", count)  # pyright: ignore[reportPrivateUsage]
    return names


async def test_a_file_that_did_not_change_is_read_once_also_after_a_restart(
    tmp_path: Path, patient: None, reads: list[str]
) -> None:
    model, place = settled(tmp_path / "m.gguf"), tmp_path / "data" / "hashes.json"

    first = await weights_hash(model, memory=HashMemory(place))
    again = await weights_hash(model, memory=HashMemory(place))

    assert first == again == await weights_hash(model)
    assert reads == ["m.gguf", "m.gguf"]
    assert (place.stat().st_mode & 0o777, place.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [entry.name for entry in place.parent.iterdir()] == ["hashes.json"]


@pytest.mark.parametrize("how", ["content", "same size and time", "another inode"])
async def test_a_file_that_changed_in_any_way_is_read_again(
    how: str, tmp_path: Path, patient: None, reads: list[str]
) -> None:
    model, memory = settled(tmp_path / "m.gguf"), HashMemory(tmp_path / "hashes.json")
    await weights_hash(model, memory=memory)

    if how == "another inode":
        settled(tmp_path / "new", b"weightz").rename(model)
    else:
        settled(model, b"weightz" if how == "same size and time" else b"more weights")

    assert await weights_hash(model, memory=memory) == await weights_hash(model)
    assert reads == ["m.gguf"] * 3


async def test_a_file_that_was_written_a_moment_ago_is_not_remembered(
    tmp_path: Path, reads: list[str]
) -> None:
    model, memory = tmp_path / "m.gguf", HashMemory(tmp_path / "hashes.json")
    model.write_bytes(b"weights")

    await weights_hash(model, memory=memory)
    await weights_hash(model, memory=memory)

    assert reads == ["m.gguf", "m.gguf"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[]", b'"x"', b'{"a": 1}', b'{"a": []}', b'{"a": [1, "zz"]}', b'{"a": [Infinity, "aa"]}'],
)
async def test_a_memory_that_cannot_be_read_is_forgotten(content: bytes, tmp_path: Path) -> None:
    place, model = tmp_path / "hashes.json", settled(tmp_path / "m.gguf")
    place.write_bytes(content)

    assert await weights_hash(model, memory=HashMemory(place)) == await weights_hash(model)


async def test_a_file_that_grows_while_it_is_hashed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = settled(tmp_path / "m.gguf")
    read = manifests._Hashing._read  # pyright: ignore[reportPrivateUsage]

    def grow(self: Any, stream: Any) -> Any:
        found = read(self, stream)
        model.write_bytes(b"weights and more")
        return found

    monkeypatch.setattr(manifests._Hashing, "_read", grow)  # pyright: ignore[reportPrivateUsage]

    with pytest.raises(ConfigurationError, match="changed while it was hashed"):
        await weights_hash(model)


async def test_the_progress_is_told_on_trio_s_thread_and_ends_at_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifests, "_CHUNK_SIZE_BYTES", 4)
    monkeypatch.setattr(manifests, "PROGRESS_SECONDS", 0.0)
    lay_out(tmp_path, {"a.safetensors": b"sixbyt", "b.safetensors": b"four"})
    told: list[tuple[int, int]] = []

    def tell(done_bytes: int, total_bytes: int) -> None:
        trio.lowlevel.current_task()
        told.append((done_bytes, total_bytes))

    await weights_hash(tmp_path, progress=tell)

    assert told == [(4, 10), (6, 10), (10, 10)]
