"""A model with an adapter answers otherwise, and is another model."""

from pathlib import Path

import pytest
import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.exllama.adapter import read_adapter
from cocoon_p2p.inference.exllama.loading import Placement
from cocoon_p2p.inference.exllama.opening import ExllamaSettings, placement_of
from cocoon_p2p.inference.manifest import weights_hash
from tests.exllama.asking import BOUND_SECONDS, GenerateRequest, chat, pieces_of, text
from tests.exllama.conftest import Bench
from tests.exllama.other_folders import write_adapter


async def test_an_adapter_changes_answers_by_as_much_as_it_says(bench: Bench, tmp_path: Path) -> None:
    nothing = read_adapter(write_adapter(tmp_path / "nothing", scale=0))
    something = read_adapter(write_adapter(tmp_path / "Something", scale=2.0))
    with trio.fail_after(BOUND_SECONDS):
        async with bench.open() as engine:
            plain = text(await pieces_of(engine, chat("What is a worker?")))
        answers = list[str]()
        for adapter in (nothing, something):
            async with bench.open(adapters=(adapter,)) as engine:
                (card,) = engine.capabilities.models
                request = GenerateRequest(card.name, chat("What is a worker?").messages)
                answers.append(text(await pieces_of(engine, request)))

    assert card.name == "cocoon-demo+something"
    assert answers[0] == plain
    assert answers[1] != plain


async def test_the_weights_hash_tells_an_adapter_and_their_order(bench: Bench, tmp_path: Path) -> None:
    one = write_adapter(tmp_path / "one", scale=1.0)
    two = write_adapter(tmp_path / "two", scale=2.0)
    model = bench.folder.path

    hashes = [
        await weights_hash(model, adapters=each) for each in ((), (one,), (two,), (one, two), (two, one))
    ]
    assert len(set(hashes)) == len(hashes)
    assert hashes[0] == await weights_hash(model)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"peft_type": "IA3"}, "another kind"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"r": 0}, "no rank"),
    ],
)
def test_what_the_library_would_pass_over_is_refused(
    tmp_path: Path, config: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said) as raised:
        read_adapter(write_adapter(tmp_path / "adapter", scale=1.0, **config))
    assert raised.value.hint


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", scale=1.0)
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")

    with pytest.raises(ConfigurationError, match=r"adapter_model\.safetensors"):
        read_adapter(adapter)


def test_an_adapter_is_not_spread_over_cards(bench: Bench, tmp_path: Path) -> None:
    settings = ExllamaSettings(adapters=(write_adapter(tmp_path / "one", scale=1.0),), tensor_parallel=2)

    with pytest.raises(ConfigurationError, match="leaves adapters out"):
        placement_of(bench.folder, settings)


def test_an_adapter_of_another_model_is_refused_at_loading(bench: Bench, tmp_path: Path) -> None:
    adapter = read_adapter(write_adapter(tmp_path / "one", scale=1.0, hidden=128))

    with pytest.raises(ValueError, match="incompatible tensor shape"):
        bench.load(Placement(4, 512, adapters=(adapter,)))
