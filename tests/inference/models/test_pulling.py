"""Whole models: from a host to a record, and what may end it in between."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from cocoon_p2p.errors import CocoonError, ConfigurationError, RemoteProtocolError, Unavailable
from cocoon_p2p.inference.catalogue import DEMO_NAME, DEMO_WEIGHTS_HASH, demo_model
from cocoon_p2p.inference.manifest import weights_hash
from cocoon_p2p.inference.models import hub as hubs
from cocoon_p2p.inference.models.catalogue import Catalogue, load_catalogue
from cocoon_p2p.inference.models.entry import ModelEntry
from cocoon_p2p.inference.models.fetching import Fetcher
from cocoon_p2p.inference.models.folder import ModelFolder
from cocoon_p2p.inference.models.pulling import plan_pull, pull
from cocoon_p2p.inference.models.verifying import verify
from tests.inference.models.host import Host

COMMIT = "c" * 40
CATALOGUE = load_catalogue(None)
DEMO = demo_model().read_bytes()
SAFETENSORS = {
    "config.json": b'{"model_type": "llama", "max_position_embeddings": 64}',
    "model-00001-of-00002.safetensors": b"one",
    "model-00002-of-00002.safetensors": b"two",
    "tokenizer.json": b"{}",
    "README.md": b"not a model's",
    "original/consolidated.safetensors": b"not at the top",
    ".hidden.json": b"{}",
}


def put_repository(
    host: Host, files: dict[str, bytes], *, repository: str = "o/r", revision: str = "main"
) -> None:
    """Publish a repository as the hub does: large files by their SHA-256, small ones by git's name."""
    siblings = list[dict[str, object]]()
    for path, data in files.items():
        git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        sibling: dict[str, object] = {"rfilename": path, "size": len(data), "blobId": git}
        if path.endswith((".safetensors", ".gguf")):
            sibling["lfs"] = {
                "sha256": hashlib.sha256(data).hexdigest(),
                "size": len(data),
                "pointerSize": 134,
            }
        siblings.append(sibling)
        host.put(f"/{repository}/resolve/{COMMIT}/{path}", data)
    answer = {"sha": COMMIT, "siblings": siblings, "tags": ["gguf", "license:apache-2.0"], "private": False}
    host.put(f"/api/models/{repository}/revision/{revision}?blobs=true", json.dumps(answer).encode())


async def pulled(
    fetcher: Fetcher,
    folder: ModelFolder,
    text: str,
    *,
    name: str = "",
    revision: str = "",
    sha256: str = "",
    catalogue: Catalogue = CATALOGUE,
) -> ModelEntry:
    plan = await plan_pull(
        text, name=name, revision=revision, sha256=sha256, catalogue=catalogue, fetcher=fetcher
    )
    return await pull(plan, folder, catalogue, fetcher)


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return ModelFolder(tmp_path / "models")


async def test_a_file_of_the_hubs_is_pinned_to_its_commit_and_says_what_it_is(
    host: Host, fetcher: Fetcher, folder: ModelFolder
) -> None:
    put_repository(host, {"small.gguf": DEMO, "other.gguf": b"other"})

    entry = await pulled(fetcher, folder, "hf:o/r/small.gguf")

    assert folder.find("small") == entry
    assert (entry.family, entry.licence, entry.context_tokens) == ("llama", "apache-2.0", 2048)
    assert (entry.source, entry.revision) == ("hf:o/r/small.gguf", COMMIT)
    assert entry.weights_hash == DEMO_WEIGHTS_HASH
    assert await weights_hash(folder.main_path(entry)) == entry.weights_hash
    assert await verify(entry, folder, CATALOGUE) == []


async def test_a_folder_of_the_hubs_is_its_model_and_nothing_else(
    host: Host, fetcher: Fetcher, folder: ModelFolder
) -> None:
    put_repository(host, SAFETENSORS, revision="4.0bpw")

    entry = await pulled(fetcher, folder, "hf:o/r", revision="4.0bpw", name="mine")

    assert {path.name for path in folder.files("mine").iterdir()} == {
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "tokenizer.json",
    }
    assert (entry.family, entry.context_tokens) == ("llama", 64)
    assert await weights_hash(folder.main_path(entry)) == entry.weights_hash


async def test_a_speech_model_of_the_hubs_is_pulled_whole(
    host: Host, fetcher: Fetcher, folder: ModelFolder
) -> None:
    speech = {"model.bin": b"weights", "config.json": b"{}", "tokenizer.json": b"{}", "vocabulary.txt": b"a"}
    put_repository(host, {**speech, "README.md": b"# x", "notes.txt": b"x"})

    entry = await pulled(fetcher, folder, "hf:o/r", name="whisper-small")

    assert {path.name for path in folder.files("whisper-small").iterdir()} == set(speech)
    assert await weights_hash(folder.main_path(entry)) == entry.weights_hash
    assert await verify(entry, folder, CATALOGUE) == []


async def test_any_part_of_a_split_file_stands_for_all(
    host: Host, fetcher: Fetcher, folder: ModelFolder
) -> None:
    parts = {f"Q8/big-0000{part}-of-00002.gguf": DEMO + bytes(part) for part in (1, 2)}
    put_repository(host, parts)

    entry = await pulled(fetcher, folder, "hf:o/r/Q8/big-00002-of-00002.gguf")

    assert entry.name == "big"
    assert entry.main_file == "big-00001-of-00002.gguf"
    assert await weights_hash(folder.main_path(entry)) == entry.weights_hash


async def test_a_file_anywhere_is_named_by_its_url(host: Host, fetcher: Fetcher, folder: ModelFolder) -> None:
    host.put("/My%20Model.gguf?download=true", DEMO)

    entry = await pulled(fetcher, folder, f"{host.url}/My%20Model.gguf?download=true")

    assert (entry.name, entry.files[0].name) == ("my-model", "My Model.gguf")


async def test_a_name_in_the_catalogue_is_pulled_without_asking_what_it_means(
    host: Host, fetcher: Fetcher, folder: ModelFolder, tmp_path: Path
) -> None:
    (tmp_path / "c.toml").write_text(
        f"""[model]
name = "c"
family = "f"
template = "none"
source = "hf:o/r/sub/small.gguf"
revision = "{COMMIT}"

[[file]]
name = "small.gguf"
size_bytes = {len(DEMO)}
sha256 = "{hashlib.sha256(DEMO).hexdigest()}"
"""
    )
    catalogue = load_catalogue(tmp_path)
    host.put(f"/o/r/resolve/{COMMIT}/sub/small.gguf", DEMO)

    entry = await pulled(fetcher, folder, "c", catalogue=catalogue)

    assert entry == catalogue.find("c")
    assert len(host.asked) == 1


async def test_what_is_here_already_is_not_fetched_again(
    host: Host, fetcher: Fetcher, folder: ModelFolder
) -> None:
    put_repository(host, {"small.gguf": DEMO})
    first = await pulled(fetcher, folder, "hf:o/r/small.gguf")
    host.asked.clear()

    assert await pulled(fetcher, folder, "hf:o/r/small.gguf") == first
    assert [path for path, _ in host.asked] == ["/api/models/o/r/revision/main?blobs=true"]


async def test_another_model_does_not_take_a_name_that_is_taken(
    host: Host, fetcher: Fetcher, folder: ModelFolder
) -> None:
    put_repository(host, {"small.gguf": DEMO})
    host.put("/small.gguf", DEMO + b"x")
    await pulled(fetcher, folder, "hf:o/r/small.gguf")

    with pytest.raises(ConfigurationError, match="another model is here") as caught:
        await pulled(fetcher, folder, f"{host.url}/small.gguf")

    assert "--name" in caught.value.hint


@pytest.mark.parametrize("from_hub", [True, False])
async def test_a_name_of_the_catalogues_is_for_its_bytes_only(
    from_hub: bool, host: Host, fetcher: Fetcher, folder: ModelFolder
) -> None:
    put_repository(host, {"small.gguf": DEMO + b"x"})
    host.put("/small.gguf", DEMO + b"x")
    source = "hf:o/r/small.gguf" if from_hub else f"{host.url}/small.gguf"

    with pytest.raises(CocoonError, match=r"means another model|of another size"):
        await pulled(fetcher, folder, source, name=DEMO_NAME)

    assert list(folder) == []


async def test_the_files_that_came_are_not_fetched_again_after_a_break(
    host: Host, fetcher: Fetcher, folder: ModelFolder
) -> None:
    put_repository(host, SAFETENSORS)
    second = f"/o/r/resolve/{COMMIT}/model-00002-of-00002.safetensors"
    host.files[second].failures, host.files[second].status = 99, 500
    with pytest.raises(Unavailable):
        await pulled(fetcher, folder, "hf:o/r", name="mine")
    assert folder.find("mine") is None
    host.files[second].failures = 0
    host.asked.clear()

    await pulled(fetcher, folder, "hf:o/r", name="mine")

    weights = [path for path, _ in host.asked if path.endswith(".safetensors")]
    assert weights == [second]


async def test_other_files_neither_become_part_of_a_model_nor_are_touched(
    host: Host, fetcher: Fetcher, folder: ModelFolder
) -> None:
    put_repository(host, SAFETENSORS)
    folder.files("mine").mkdir(parents=True)
    (folder.files("mine") / "generation_config.json").write_text("{}")

    with pytest.raises(ConfigurationError, match=r"other files lie .*generation_config.json") as caught:
        await pulled(fetcher, folder, "hf:o/r", name="mine")

    assert "cocoon model rm mine" in caught.value.hint
    assert [path.name for path in folder.files("mine").iterdir()] == ["generation_config.json"]


async def test_a_catalogued_model_has_one_revision(fetcher: Fetcher, folder: ModelFolder) -> None:
    with pytest.raises(ConfigurationError, match="says the revision"):
        await pulled(fetcher, folder, "qwen3-0.6b-q8_0", revision="main")


async def test_a_page_that_is_no_model_gets_no_record(
    host: Host, fetcher: Fetcher, folder: ModelFolder
) -> None:
    host.put("/small.gguf", b"<html>please log in</html>")

    with pytest.raises(ConfigurationError, match="not a GGUF file"):
        await pulled(fetcher, folder, f"{host.url}/small.gguf")

    assert folder.find("small") is None


async def test_two_pulls_of_one_model_do_not_meet(host: Host, fetcher: Fetcher, folder: ModelFolder) -> None:
    hosted = host.put("/small.gguf", DEMO, stalls_after=1000)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pulled, fetcher, folder, f"{host.url}/small.gguf")
            await hosted.fell_silent.wait()

            with pytest.raises(ConfigurationError, match="another process pulls"):
                await pulled(fetcher, folder, f"{host.url}/small.gguf")
            nursery.cancel_scope.cancel()

    await pulled(fetcher, folder, f"{host.url}/small.gguf")


@pytest.mark.parametrize(
    ("text", "why", "hint"),
    [
        ("hf:o/r/none.gguf", "no such file in the repository", "it has a.gguf, b.gguf"),
        ("hf:o/r", "no safetensors at its top", "it has a.gguf, b.gguf"),
        ("hf:o/missing", "no such file", "spelling"),
        ("hf:o/r/README.md", "a model is a .gguf file", ".gguf"),
        (DEMO_NAME, "nothing is to be fetched", "comes along"),
        ("https://host.example/demo.gguf", "not a model's name: 'demo'", "--name"),
        ("no-such-name", "not a source of models", "hf:OWNER/REPO"),
    ],
)
async def test_a_source_of_nothing_says_what_there_is(
    text: str, why: str, hint: str, host: Host, fetcher: Fetcher, folder: ModelFolder
) -> None:
    put_repository(host, {"a.gguf": DEMO, "b.gguf": DEMO, "README.md": b"x", "sub/x.safetensors": b"x"})

    with pytest.raises(ConfigurationError, match=why) as caught:
        await pulled(fetcher, folder, text)

    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "answer",
    [b"", b"{}", b"[]", b'{"sha": "main", "siblings": []}', b'{"sha": 5}', b"\xff", b'{"siblings": [{}]}'],
)
async def test_an_answer_of_the_hubs_that_makes_no_sense_is_refused(
    answer: bytes, host: Host, fetcher: Fetcher, folder: ModelFolder
) -> None:
    host.put("/api/models/o/r/revision/main?blobs=true", answer)

    with pytest.raises(RemoteProtocolError, match="makes no sense"):
        await pulled(fetcher, folder, "hf:o/r")


async def test_an_endless_answer_of_the_hubs_ends(
    host: Host, fetcher: Fetcher, folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "ANSWER_MAX_BYTES", 1000)
    host.put("/api/models/o/r/revision/main?blobs=true", bytes(1001))

    with pytest.raises(RemoteProtocolError, match="too large"):
        await pulled(fetcher, folder, "hf:o/r")


@pytest.mark.parametrize(
    "path", ["../../evil.json", "/evil.json", "a\nb.json", "..", "x/../../evil.json", "\x1b.json"]
)
async def test_a_repository_cannot_have_us_write_elsewhere(
    path: str, host: Host, fetcher: Fetcher, folder: ModelFolder
) -> None:
    put_repository(host, {**SAFETENSORS, path: b"evil"})

    with suppress(ConfigurationError):
        await pulled(fetcher, folder, "hf:o/r", name="mine")

    names: Sequence[str] = [file.name for file in folder.path.parent.rglob("*") if file.is_file()]
    assert not any("evil" in name or name != name.strip("\x1b\n") for name in names)


async def test_files_that_changed_since_are_named(host: Host, fetcher: Fetcher, folder: ModelFolder) -> None:
    put_repository(host, SAFETENSORS)
    entry = await pulled(fetcher, folder, "hf:o/r", name="mine")
    files = folder.files("mine")
    (files / "config.json").unlink()
    (files / "model-00001-of-00002.safetensors").write_bytes(b"eno")
    (files / "model-00002-of-00002.safetensors").write_bytes(b"longer")
    (files / "added_tokens.json").write_text("{}")

    wrong = "\n".join(await verify(entry, folder, CATALOGUE))

    assert "config.json cannot be read" in wrong
    assert "model-00001-of-00002.safetensors has other bytes" in wrong
    assert "model-00002-of-00002.safetensors has another size" in wrong
    assert "added_tokens.json was not pulled" in wrong


async def test_a_signed_link_is_not_kept_on_disk(host: Host, fetcher: Fetcher, folder: ModelFolder) -> None:
    hosted = host.put("/small.gguf?Signature=secret", DEMO, cuts=[2 * len(DEMO) // 3] * 3)
    hosted.headers["ETag"] = '"one"'
    link = f"{host.url}/small.gguf?Signature=secret"

    with suppress(Unavailable):
        await pulled(fetcher, folder, link)
    kept = [file.read_bytes() for file in folder.path.rglob("*") if file.is_file() and file.suffix != ".part"]
    hosted.cuts = []
    entry = await pulled(fetcher, folder, link)

    assert entry.source == f"{host.url}/small.gguf"
    kept += [file.read_bytes() for file in folder.path.rglob("*") if file.is_file()]
    assert not any(b"secret" in data for data in kept)
    assert host.ranges("/small.gguf?Signature=secret")[-1].startswith("bytes=")
    assert (await pulled(fetcher, folder, link)) == entry


async def test_a_source_that_no_record_could_hold_is_refused_before_it_is_fetched(
    host: Host, fetcher: Fetcher, folder: ModelFolder
) -> None:
    path = f"/{'a' * 150}/{'b' * 150}/small.gguf"
    host.put(path, DEMO)

    with pytest.raises(ConfigurationError, match="too long"):
        await pulled(fetcher, folder, host.url + path)

    assert host.asked == []
