"""ExLlamaV2's own Python code, on a processor; on a card, ExLlamaV2 itself.

Run by `make test-exllama` and `make test-gpu`, in an environment of their own: torch and its libraries take
five gigabytes.
"""

import importlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.exllama import cpu_extension

ON_CARD = "COCOON_TEST_ON_CARD" in os.environ
if not ON_CARD:
    cpu_extension.install()

from cocoon_p2p.inference.engine import Engine  # noqa: E402
from cocoon_p2p.inference.exllama.adapter import Adapter  # noqa: E402
from cocoon_p2p.inference.exllama.loading import LoadedModel, Placement, attach, load, model_config  # noqa: E402
from cocoon_p2p.inference.exllama.model_folder import ModelFolder, read_folder  # noqa: E402
from cocoon_p2p.inference.exllama.opening import serve_loaded  # noqa: E402
from tests.exllama.cpu_model import CpuCache, CpuModel  # noqa: E402
from tests.exllama.demo_folder import write_demo_folder  # noqa: E402


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return read_folder(write_demo_folder(tmp_path_factory.mktemp("models") / "cocoon-demo"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not ON_CARD:
        return
    missing = _why_no_card()
    for item in items:
        if missing:
            item.add_marker(pytest.mark.skip(reason=missing))
        elif item.get_closest_marker("on_processor"):
            item.add_marker(
                pytest.mark.skip(
                    reason="it looks into the model that stands in for a card's: make test-exllama"
                )
            )


def _why_no_card() -> str:
    torch: Any = importlib.import_module("torch")
    return "" if torch.cuda.is_available() else "not run: there is no NVIDIA card that torch can use"


@pytest.fixture(autouse=True, scope="session")
def _attention_in_pages() -> Iterator[None]:
    """The processor's forward pass knows pages; the library only asks for flash-attn."""
    if ON_CARD:
        yield
        return
    dynamic = importlib.import_module("exllamav2.generator.dynamic")
    wanted, dynamic.assert_paged_attn = dynamic.assert_paged_attn, lambda: None
    yield
    dynamic.assert_paged_attn = wanted


@dataclass(frozen=True)
class Bench:
    """Opens engines on the demo model."""

    folder: ModelFolder

    def load(self, placement: Placement, *, paged: bool = True) -> LoadedModel:
        if ON_CARD:
            loaded = load(self.folder, placement)
            if paged and not loaded.paged:
                pytest.skip(
                    "without flash-attn there are no pages: pip install flash-attn, beside the CUDA toolkit"
                )
            return replace(loaded, paged=paged)
        library = importlib.import_module("exllamav2")
        slots = placement.slots if paged else 1
        config: Any = model_config(self.folder.path, placement)
        model = CpuModel(config, self.folder.path)
        draft_model = draft_cache = None
        if placement.draft is not None:
            draft_config = model_config(placement.draft.path, placement)
            draft_model = CpuModel(draft_config, placement.draft.path)
            draft_cache = CpuCache(draft_config, slots * placement.context_tokens)
        return LoadedModel(
            model=model,
            cache=CpuCache(config, slots * placement.context_tokens),
            tokenizer=library.ExLlamaV2Tokenizer(config),
            paged=paged,
            draft_model=draft_model,
            draft_cache=draft_cache,
            adapters=attach(model, placement.adapters),
        )

    @asynccontextmanager
    async def open(
        self,
        loaded: LoadedModel | None = None,
        *,
        slots: int = 4,
        context_tokens: int = 512,
        paged: bool = True,
        draft_ngram: bool = False,
        draft: ModelFolder | None = None,
        adapters: tuple[Adapter, ...] = (),
    ) -> AsyncIterator[Engine]:
        placement = Placement(slots, context_tokens, draft_ngram=draft_ngram, draft=draft, adapters=adapters)
        loaded = loaded or self.load(placement, paged=paged)
        serving = serve_loaded(loaded, self.folder, placement, "exllamav2", name=None, weights=bytes(32))
        async with serving as engine:
            yield engine


@pytest.fixture
def bench(folder: ModelFolder) -> Bench:
    return Bench(folder)
