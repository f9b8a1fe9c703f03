"""One gateway before real engines, for all tests that only ask it; and loops for asyncio."""

from collections.abc import Iterator

import pytest

from cocoon_p2p.protocols.ids import Kind
from cocoon_p2p.testing.engine import ScriptedEngine, scripted_model
from tests.aio.conftest import run as run  # the fixture
from tests.gateway.sdk.scene import Served, served_by_llama
from tests.inference.random_gguf import write_chat_model, write_embedding_model

_HERMES = "{% for m in messages %}{{ m | tojson }}{% endfor %}{{ tools | tojson if tools }}{# <tool_call> #}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "gateway/sdk" in str(item.path):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run a gateway before the demo model, and models of random weights that embed and that call tools."""
    folder = tmp_path_factory.mktemp("models")
    write_embedding_model(folder / "embedder.gguf")
    write_chat_model(folder / "caller.gguf", _HERMES)
    # A proxy's record has room for four models.
    whisper = ScriptedEngine(models=[scripted_model("whisper", features=(), kind=Kind.TRANSCRIPTION)])
    with served_by_llama([folder / "embedder.gguf", folder / "caller.gguf"], whisper) as gateway:
        yield gateway
