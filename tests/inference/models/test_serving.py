"""A worker's file names a model: what is served, and under which name."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from cocoon_p2p.config import Loaded, WorkerFile, load
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.catalogue import DEMO_WEIGHTS_HASH, demo_model
from cocoon_p2p.inference.engine import ChatMessage, FeatureMissing, GenerateRequest
from cocoon_p2p.inference.models.entry import FileEntry, ModelEntry
from cocoon_p2p.inference.models.folder import ModelFolder
from cocoon_p2p.node.engine import open_engine

DEMO = demo_model().read_bytes()


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Loaded[WorkerFile]]:
    """Write a worker's file beside a folder of models."""
    monkeypatch.setenv("COCOON_CATALOGUE", str(tmp_path / "catalogue"))

    def write(section: str) -> Loaded[WorkerFile]:
        path = tmp_path / "worker.toml"
        path.write_text(
            f'[worker]\nmodels = "models"\nslots = 1\ncontext_tokens = 64\n{section}\n'
            '[network]\nname = "local"\n'
        )
        return load(WorkerFile, path, {})

    return write


def keep(folder: ModelFolder, name: str, *, template: str = "own", recorded: bytes = DEMO) -> None:
    """Put the demo model into a folder under a name of its own."""
    file = FileEntry(name="m.gguf", size_bytes=len(recorded), sha256=hashlib.sha256(recorded).hexdigest())
    folder.files(name).mkdir(parents=True)
    (folder.files(name) / "m.gguf").write_bytes(DEMO)
    folder.keep(ModelEntry(name=name, template=template, files=(file,)))


def ignore(step: str, **facts: object) -> None:
    pass


@pytest.mark.slow
async def test_a_model_is_served_by_the_name_under_which_it_was_found(
    worker: Callable[[str], Loaded[WorkerFile]], tmp_path: Path
) -> None:
    folder = ModelFolder(tmp_path / "models")
    keep(folder, "mine")

    async with open_engine(worker('model = "mine"'), ignore) as engine:
        (card,) = engine.capabilities.models
        users = folder.users("mine")

    assert (card.name, card.weights_hash) == ("mine", DEMO_WEIGHTS_HASH)
    assert [user.partition(" (")[0] for user in users] == [f"worker {tmp_path / 'worker.toml'}"]
    assert folder.users("mine") == []


@pytest.mark.slow
async def test_a_model_without_a_template_of_its_own_refuses_chats(
    worker: Callable[[str], Loaded[WorkerFile]], tmp_path: Path
) -> None:
    """Its file has one, which its entry says is of no use."""
    keep(ModelFolder(tmp_path / "models"), "mine", template="none")

    async with open_engine(worker('model = "mine"'), ignore) as engine:
        with pytest.raises(FeatureMissing):
            await engine.count(GenerateRequest("mine", (ChatMessage("user", "Hello"),)))
        assert (await engine.count(GenerateRequest("mine", prompt="Hello"))).prompt_tokens


async def test_bytes_that_are_not_those_that_were_pulled_are_not_served(
    worker: Callable[[str], Loaded[WorkerFile]], tmp_path: Path
) -> None:
    keep(ModelFolder(tmp_path / "models"), "mine", recorded=DEMO + b"x")

    with pytest.raises(ConfigurationError, match="other weights"):
        async with open_engine(worker('model = "mine"'), ignore):
            pass


@pytest.mark.slow
@pytest.mark.parametrize("model", ["demo", "mine", "./m.gguf"])
async def test_the_catalogues_name_is_not_given_to_another_model(
    model: str, worker: Callable[[str], Loaded[WorkerFile]], tmp_path: Path
) -> None:
    keep(ModelFolder(tmp_path / "models"), "mine")
    (tmp_path / "m.gguf").write_bytes(DEMO)

    with pytest.raises(ConfigurationError, match="means another model by this name"):
        async with open_engine(worker(f'model = "{model}"\nname = "qwen3-0.6b-q8_0"'), ignore):
            pass
