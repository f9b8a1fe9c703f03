"""What is wrong with a machine is said before anything is advertised."""

import pytest
import torch
import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.exllama import loading
from cocoon_p2p.inference.exllama.loading import CHUNK_TOKENS, Placement, load
from cocoon_p2p.inference.exllama.opening import ExllamaSettings, placement_of
from tests.exllama.asking import BOUND_SECONDS
from tests.exllama.conftest import Bench

FULL = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.fixture
def _two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda card: ((card + 1) << 30, 8 << 30))


@pytest.mark.on_processor
def test_without_a_card_it_is_said_what_serves_instead(bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match="no NVIDIA card") as raised:
        load(bench.folder, Placement(4, 512))
    assert "llama.cpp" in (raised.value.hint or "")


@pytest.mark.usefixtures("_two_cards")
def test_fewer_cards_than_asked_for_are_refused(bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match="asked=4 there=2") as raised:
        load(bench.folder, Placement(4, 512, cards=4))
    assert "tensor_parallel" in (raised.value.hint or "")


@pytest.mark.usefixtures("_two_cards")
def test_each_card_takes_a_share_by_what_is_free_on_it() -> None:
    assert loading._free_gigabytes(2) == [0.5, 1.5]


@pytest.mark.usefixtures("_two_cards")
@pytest.mark.parametrize("failure", [FULL, RuntimeError("Insufficient VRAM for model and cache")])
def test_a_card_that_is_too_small_is_told_from_a_model_that_is_wrong(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(*_arguments: object) -> None:
        raise failure

    monkeypatch.setattr(loading, "_load", fail)
    with pytest.raises(ConfigurationError, match="too little memory") as raised:
        load(bench.folder, Placement(4, 512))
    assert "fewer slots" in (raised.value.hint or "")

    failure = ValueError(" ## Could not find model.layers.0.mlp.* in model")
    with pytest.raises(ConfigurationError, match="cannot load the model"):
        load(bench.folder, Placement(4, 512))


@pytest.mark.on_processor
async def test_memory_that_lacks_for_a_full_context_is_found_before_anything_is_served(bench: Bench) -> None:
    loaded = bench.load(Placement(4, 512))
    loaded.model.failure, loaded.model.fail_next = FULL, 1
    with trio.fail_after(BOUND_SECONDS):
        with pytest.raises(ConfigurationError, match="too little memory") as raised:
            async with bench.open(loaded):
                pytest.fail("it is served")
    assert "shorter context" in (raised.value.hint or "")


@pytest.mark.on_processor
async def test_the_fullest_that_can_be_asked_is_computed_before_anything_is_served(bench: Bench) -> None:
    loaded = bench.load(Placement(4, 512))
    with trio.fail_after(BOUND_SECONDS):
        async with bench.open(loaded):
            # The last token of an answer is drawn, and not computed.
            assert loaded.model.longest == 512 - 1
            assert loaded.model.widest == 4


def test_settings_that_cannot_be_computed_are_refused(bench: Bench) -> None:
    wrong = {
        "so many slots": ExllamaSettings(slots=CHUNK_TOKENS, context_tokens=512),
        "slots=0": ExllamaSettings(slots=0),
        "too short": ExllamaSettings(context_tokens=255),
        "trained for a shorter context": ExllamaSettings(context_tokens=1 << 20),
        "there is no folder": ExllamaSettings(draft=bench.folder.path / "draft"),
    }
    for said, settings in wrong.items():
        with pytest.raises(ConfigurationError, match=said):
            placement_of(bench.folder, settings)
