"""The folder of models: what is there, who uses it, what may be taken away."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.catalogue import DEMO_NAME, DEMO_WEIGHTS_HASH, demo_model
from cocoon_p2p.inference.models.catalogue import load_catalogue
from cocoon_p2p.inference.models.entry import FileEntry, ModelEntry
from cocoon_p2p.inference.models.finding import find_model
from cocoon_p2p.inference.models.folder import ModelFolder, default_models_folder

MINE = ModelEntry(name="mine", files=(FileEntry(name="m.gguf", size_bytes=5, sha256="a" * 64),))


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    """With one model, `mine`, that is whole, and one, `half`, that is not."""
    folder = ModelFolder(tmp_path / "models")
    folder.files("mine").mkdir(parents=True)
    (folder.files("mine") / "m.gguf").write_bytes(b"bytes")
    folder.keep(MINE)
    folder.files("half").mkdir()
    return folder


def test_what_is_here_is_listed_with_what_is_wrong_with_it(folder: ModelFolder) -> None:
    folder.record("wrong").write_text("[model]\n")
    (folder.path / "other.toml").write_text(folder.record("mine").read_text())
    (folder.path / "README.md").write_text("not a model")

    kept = {one.name: one for one in folder}

    assert list(kept) == ["half", "mine", "other", "wrong"]
    assert kept["mine"].entry == MINE
    assert "did not end" in kept["half"].trouble
    assert "names another model" in kept["other"].trouble
    assert "`name` is missing" in kept["wrong"].trouble


def test_where_nothing_was_pulled_nothing_is_listed(tmp_path: Path) -> None:
    assert list(ModelFolder(tmp_path / "none")) == []


@pytest.mark.parametrize(
    "name", ["", "..", "../mine", "a/b", "/etc", ".locks", "Mine", "mine.toml", "a" * 97, "-a"]
)
def test_a_name_never_leads_out_of_the_folder(name: str, folder: ModelFolder) -> None:
    with pytest.raises(ConfigurationError, match="not a model's name"):
        folder.remove(name)


def test_a_model_is_removed_with_its_record(folder: ModelFolder) -> None:
    folder.remove("mine")

    assert [one.name for one in folder] == ["half"]


def test_a_model_behind_a_link_is_left_alone(folder: ModelFolder, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    folder.files("linked").symlink_to(precious)

    with pytest.raises(ConfigurationError, match="behind a link"):
        folder.remove("linked")

    assert precious.is_dir()


def test_a_link_within_a_model_is_removed_and_not_what_it_leads_to(
    folder: ModelFolder, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("data")
    (folder.files("mine") / "link").symlink_to(tmp_path)

    folder.remove("mine")

    assert (tmp_path / "precious").read_text() == "data"


def test_who_uses_a_model_is_named_and_it_is_not_changed_meanwhile(folder: ModelFolder) -> None:
    with folder.use("mine", "worker /a.toml"), folder.use("mine", "worker /b.toml"):
        users = folder.users("mine")

        with (
            pytest.raises(ConfigurationError, match=r"in use .*worker /b.toml") as caught,
            folder.change("mine"),
        ):
            pass

    # One process, one line a process: the last word counts.
    assert users == [f"worker /b.toml (process {os.getpid()})"]
    assert "stop the worker" in caught.value.hint
    assert folder.users("mine") == []


def test_what_is_being_changed_is_neither_used_nor_changed_by_another(folder: ModelFolder) -> None:
    with folder.change("mine"):
        with pytest.raises(ConfigurationError, match="pulled or removed"), folder.use("mine", "me"):
            pass
        with pytest.raises(ConfigurationError, match="another process pulls"), folder.change("mine"):
            pass

        assert folder.users("mine") == []


def test_who_was_killed_no_longer_uses_it(folder: ModelFolder) -> None:
    code = (
        "import sys; from pathlib import Path; from cocoon_p2p.inference.models.folder import ModelFolder\n"
        "with ModelFolder(Path(sys.argv[1])).use('mine', 'worker'):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, folder.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert folder.users("mine") == [f"worker (process {process.pid})"]
        process.kill()

    with folder.change("mine"):
        pass


def test_models_lie_where_the_environment_says() -> None:
    assert default_models_folder({"COCOON_MODELS": "/m", "XDG_DATA_HOME": "/d"}) == Path("/m")
    assert default_models_folder({"XDG_DATA_HOME": "/d"}) == Path("/d/cocoon/models")
    assert default_models_folder({"XDG_DATA_HOME": "d"}) == Path.home() / ".local/share/cocoon/models"


# ------------------------------------------------------------ what a worker's `model = ` means


def test_a_name_is_the_model_that_was_pulled(folder: ModelFolder, tmp_path: Path) -> None:
    found = find_model("mine", beside=tmp_path, folder=folder, catalogue=load_catalogue(None))

    assert found.path == folder.files("mine") / "m.gguf"
    assert (found.name, found.weights_hash, found.has_chat) == ("mine", MINE.weights_hash, True)
    with found.held("me"):
        assert folder.users("mine") == [f"me (process {os.getpid()})"]


@pytest.mark.parametrize("text", ["demo", DEMO_NAME])
def test_the_demo_model_is_found_without_a_folder(text: str, tmp_path: Path) -> None:
    found = find_model(
        text, beside=tmp_path, folder=ModelFolder(tmp_path / "none"), catalogue=load_catalogue(None)
    )

    assert (found.path, found.weights_hash) == (demo_model(), DEMO_WEIGHTS_HASH)
    with found.held("me"):
        assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("text", ["mine.gguf", "./mine", "models/mine", "/mine", "mine/", "Mine"])
def test_what_has_a_slash_or_ends_as_a_file_does_is_a_path(
    text: str, folder: ModelFolder, tmp_path: Path
) -> None:
    found = find_model(text, beside=tmp_path, folder=folder, catalogue=load_catalogue(None))

    assert found.path == (tmp_path / text).resolve()
    assert (found.name, found.weights_hash) == (None, None)


@pytest.mark.parametrize(
    ("text", "why", "hint"),
    [
        ("qwen3-0.6b-q8_0", "not on this machine yet", "cocoon model pull qwen3-0.6b-q8_0"),
        ("half", "did not end", "pull"),
        ("minne", "no model of that name", "did you mean mine?"),
        ("zzzzzzzz", "no model of that name", "cocoon model list"),
        ("models", "a name, not a path", "./models"),
    ],
)
def test_a_name_of_nothing_says_what_to_do(
    text: str, why: str, hint: str, folder: ModelFolder, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=why) as caught:
        find_model(text, beside=tmp_path, folder=folder, catalogue=load_catalogue(None))

    assert hint in caught.value.hint


def test_a_name_that_the_catalogue_means_otherwise_is_not_served(folder: ModelFolder, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(folder.record("mine").read_text().replace("a" * 64, "b" * 64))

    with pytest.raises(ConfigurationError, match="means another model"):
        find_model("mine", beside=tmp_path, folder=folder, catalogue=load_catalogue(tmp_path))
