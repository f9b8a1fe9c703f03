"""Several models in one worker's file: what each is opened with, what it costs, and who answers."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from cocoon_p2p.config import Loaded, WorkerFile, load
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import ChatMessage, GenerateRequest
from cocoon_p2p.inference.several import SeveralEngines
from cocoon_p2p.node.engine import measured, open_engine
from cocoon_p2p.node.served import one_each, prices
from cocoon_p2p.testing.engine import ScriptedEngine, scripted_model

BOUND_SECONDS = 60
EXAMPLE = Path(__file__).parents[2] / "examples/worker-several.toml"

Write = Callable[[str], Loaded[WorkerFile]]


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.setenv("COCOON_CATALOGUE", str(tmp_path / "catalogue"))

    def write(text: str) -> Loaded[WorkerFile]:
        path = tmp_path / "worker.toml"
        path.write_text(f'[network]\nname = "local"\n{text}')
        return load(WorkerFile, path, {})

    return write


def test_one_model_is_the_file_as_it_is(worker: Write) -> None:
    loaded = worker('[worker]\nmodel = "demo"\n')

    assert one_each(loaded) == (loaded,)


def test_what_a_model_does_not_say_is_as_for_all(worker: Write) -> None:
    loaded = worker(
        "[worker]\ncontext_tokens = 512\nthreads = 3\nslots = 2\n[price]\nprompt = 5\ncompletion = 6\n"
        '[[model]]\nmodel = "demo"\n[[model]]\nmodel = "b.gguf"\nname = "b"\n'
        "context_tokens = 64\nthreads = 1\nprice_completion = 0\n"
    )

    first, second = (one.settings for one in one_each(loaded))

    assert (first.worker.model, first.worker.context_tokens, first.worker.threads) == ("demo", 512, 3)
    assert (second.worker.name, second.worker.context_tokens, second.worker.threads) == ("b", 64, 1)
    assert (first.worker.slots, second.worker.slots) == (2, 2)
    assert (first.price.prompt, first.price.completion) == (5, 6)
    assert (second.price.prompt, second.price.completion) == (5, 0)


def test_processors_are_shared_out_among_models_of_this_machine(
    worker: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cocoon_p2p.node.served.default_threads", lambda: 7)
    text = '[worker]\n[[model]]\nmodel = "demo"\n[[model]]\nmodel = "b.gguf"\n[[model]]\nmodel = "http://127.0.0.1:1"\n'

    threads = [one.settings.worker.threads for one in one_each(worker(text))]

    assert threads[:2] == [3, 3]


def test_models_of_two_servers_are_two_workers(worker: Write) -> None:
    text = '[worker]\n[[model]]\nmodel = "http://127.0.0.1:1"\n[[model]]\nmodel = "http://127.0.0.1:2"\n'

    with pytest.raises(ConfigurationError, match="one server"):
        one_each(worker(text))


def test_a_worker_that_proves_itself_serves_one_model(worker: Write) -> None:
    text = (
        '[worker]\n[attestation]\nevidence = "sim"\n[[model]]\nmodel = "demo"\n[[model]]\nmodel = "b.gguf"\n'
    )

    with pytest.raises(ConfigurationError, match="proves itself serves one model"):
        one_each(worker(text))


@pytest.mark.parametrize("text", ['[worker]\nmodel = "{0}"\n', '[worker]\n[[model]]\nmodel = "{0}"\n'])
def test_what_is_measured_names_the_server_however_the_file_does(worker: Write, text: str) -> None:
    loaded = worker(text.format("http://192.0.2.1:8000"))

    assert measured(loaded, ScriptedEngine()).upstream == "http://192.0.2.1:8000"


@pytest.mark.parametrize(
    "text",
    [
        '[worker]\nmodel = "demo"\n[price]\nprompt = 500\ncached = 501\n',
        '[worker]\n[price]\ncached = 1000\n[[model]]\nmodel = "demo"\nprice_prompt = 999\n',
    ],
)
def test_a_cached_token_dearer_than_a_computed_one_is_refused_before_a_client_would(
    worker: Write, text: str
) -> None:
    with pytest.raises(ConfigurationError, match="more than a computed one"):
        one_each(worker(text))


@pytest.mark.parametrize("bounds", ["price_floor = 300_000", "price_floor = 9\nprice_ceiling = 8"])
def test_a_model_whose_floor_is_above_its_ceiling_is_not_sold_below_the_floor(
    worker: Write, bounds: str
) -> None:
    with pytest.raises(ConfigurationError, match="floor is above its ceiling"):
        one_each(worker(f'[worker]\n[[model]]\nmodel = "demo"\n{bounds}\n'))


def test_a_cached_token_costs_a_quarter_where_the_file_does_not_say(worker: Write) -> None:
    loaded = worker('[worker]\nmodel = "demo"\n[price]\nprompt = 500\n')

    assert prices(loaded, ScriptedEngine())["scripted"].cached == 125


def test_each_model_has_its_price(worker: Write) -> None:
    loaded = worker(
        '[worker]\n[[model]]\nmodel = "a.gguf"\nprice_completion = 7\n[[model]]\nmodel = "b.gguf"\n'
        "[price]\ncompletion = 9\n"
    )
    engines = [ScriptedEngine(models=(scripted_model(name),)) for name in ("a", "b")]

    costs = {name: price.completion for name, price in prices(loaded, SeveralEngines(engines)).items()}

    assert costs == {"a": 7, "b": 9}


@pytest.mark.slow
async def test_both_models_of_the_example_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the demo model in the place of the one that a user would have pulled."""
    monkeypatch.setenv("COCOON_CATALOGUE", str(tmp_path / "catalogue"))
    text = EXAMPLE.read_text()
    for word, own in (('"qwen3-0.6b-q8_0"', '"demo"'), ("slots = 4", "slots = 1\ncontext_tokens = 256")):
        assert word in text
        text = text.replace(word, own)
    file = tmp_path / "worker.toml"
    file.write_text(text)
    loaded = load(WorkerFile, file, {})
    hello = (ChatMessage("user", "Hello"),)
    with trio.fail_after(BOUND_SECONDS):
        async with open_engine(loaded, lambda step, **facts: None) as engine:
            names = [card.name for card in engine.capabilities.models]
            answers: list[str] = []
            for name in names:
                async with engine.generate(GenerateRequest(name, hello)) as pieces:
                    answers.append("".join([piece.text async for piece in pieces]))
            costs = {name: price.completion for name, price in prices(loaded, engine).items()}

    assert answers == ["Hello! How can I help you?"] * 2
    assert names == ["cocoon-demo", "qwen3-small"]
    assert costs == {"cocoon-demo": 5_000, "qwen3-small": 20_000}


@pytest.mark.slow
async def test_two_models_of_one_name_are_refused_before_anything_is_offered(worker: Write) -> None:
    text = "[worker]\ncontext_tokens = 256\nslots = 1\nthreads = 1\n"
    loaded = worker(f'{text}[[model]]\nmodel = "demo"\n[[model]]\nmodel = "demo"\n')

    with trio.fail_after(BOUND_SECONDS), pytest.raises(ConfigurationError, match="two models have one name"):
        async with open_engine(loaded, lambda step, **facts: None):
            pass
