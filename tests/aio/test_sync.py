"""The client for scripts: calls that wait, and Ctrl-C."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import Thread

import pytest

from cocoon_p2p import client as on_trio
from cocoon_p2p.errors import AnswerBroken, ConfigurationError
from cocoon_p2p.sync import Client, open_portal
from cocoon_p2p.testing.engine import ScriptedEngine
from tests.aio.scene import HELLO, open_bought, trio_threads

WORDS = tuple(f"w{number} " for number in range(2_000))


@contextmanager
def bought(*engines: ScriptedEngine) -> Iterator[Client]:
    with open_portal(partial(open_bought, engines)) as portal:
        yield Client(portal)


def test_an_answer_is_iterated_read_and_settled() -> None:
    with bought() as client:
        with client.chat("scripted", HELLO) as answer:
            assert "".join(piece.text for piece in answer) == "Hello, world."
        assert answer.receipt is not None
        with client.complete("scripted", "Hello") as answer:
            assert answer.read() == "Hello, world."
        assert [offered.model.name for offered in client.models()] == ["scripted"]
        assert len(client.quote("scripted", HELLO)) == 1
    assert trio_threads() == []


def test_all_that_the_trio_client_can_ask_the_waiting_client_can() -> None:
    public = {name for name in dir(on_trio.Client) if name[0] != "_"}
    # How a client is opened, and the accounts beneath it, are the trio thread's own business.
    assert public - set(dir(Client)) == {"account", "connect", "open"}


def test_errors_are_those_of_the_trio_client() -> None:
    with bought(ScriptedEngine(WORDS, delay_seconds=0, fail_at=40)) as client:
        with pytest.raises(ConfigurationError), client.chat("scripted", []):
            raise AssertionError("nothing was asked")
        with (
            client.chat("scripted", HELLO, completion_tokens_max=2_000) as answer,
            pytest.raises(AnswerBroken) as caught,
        ):
            answer.read()
        assert caught.value.text == answer.text != ""
        assert "".join(WORDS[:40]).startswith(answer.text)


def test_leaving_early_frees_the_worker() -> None:
    engine = ScriptedEngine(WORDS, delay_seconds=0.001)
    with bought(engine) as client:
        with client.chat("scripted", HELLO, completion_tokens_max=2_000) as answer:
            next(answer)
        assert engine.running == 0


def test_several_threads_use_one_client() -> None:
    texts: list[str] = []
    with bought(ScriptedEngine(WORDS[:100], delay_seconds=0)) as client:

        def ask() -> None:
            with client.chat("scripted", HELLO) as answer:
                texts.append(answer.read())

        threads = [Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert texts == ["".join(WORDS[:100])] * 4
