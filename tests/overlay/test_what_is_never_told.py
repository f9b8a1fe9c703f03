"""No word of a prompt or an answer, and no key, is in what a node tells of itself, whatever goes wrong."""

import base64
import io
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import CocoonError
from cocoon_p2p.identity import Identity, peer_id_text
from cocoon_p2p.inference.engine import (
    EngineError,
    FeatureMissing,
    GenerateRequest,
    Piece,
    PromptCount,
    PromptTooLong,
)
from cocoon_p2p.journal import Journal
from cocoon_p2p.metrics import render
from cocoon_p2p.network.health import Connections, Health
from cocoon_p2p.network.reachability import ReachabilityView
from cocoon_p2p.node.showing import Showing
from cocoon_p2p.observability import JsonFormatter, configure_logging, short
from cocoon_p2p.protocols.ids import EXCHANGE
from cocoon_p2p.spans.queue import Spans
from cocoon_p2p.testing import overlay as overlays
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.testing.overlay import Overlay, open_overlay
from tests.overlay.test_exchanges import settle
from tests.spans.collector import open_collector

ASKED = ("zebracadabra", "quillwort", "marzipantherapy")
ANSWERED = ("oxymoronic", "hullabaloo", "syzygial")
QUESTION = ({"role": "user", "content": " ".join(ASKED)},)
ANSWER = tuple(f" {word}" for word in ANSWERED) * 4

Run = Callable[[Overlay], Awaitable[None]]


class Told:
    """All that three roles have told of themselves."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        self.lines = io.StringIO()
        self.secrets: list[bytes] = []
        self.rest: list[bytes] = []

    def all(self) -> bytes:
        return b"\n".join([self.text.getvalue().encode(), self.lines.getvalue().encode(), *self.rest])


@pytest.fixture
def told() -> Iterator[Told]:
    """Log at level debug as text and as JSON, and put the log back as it was."""
    root, heard = logging.getLogger(), Told()
    handlers, level = list(root.handlers), root.level
    configure_logging(heard.text, level="debug", as_json=False)
    (as_lines := logging.StreamHandler(heard.lines)).setFormatter(JsonFormatter())
    root.addHandler(as_lines)
    yield heard
    root.handlers[:] = handlers
    root.setLevel(level)


def tell_all(run: Run, told: Told, monkeypatch: pytest.MonkeyPatch, *engines: ScriptedEngine) -> None:
    """Run a network, and gather what its nodes tell: logs, journals, snapshots, metrics and spans."""
    draw = overlays.Draw.__call__

    def drawn(self: overlays.Draw, size_bytes: int) -> bytes:
        data = draw(self, size_bytes)
        if size_bytes >= 32:
            told.secrets.append(data)
        return data

    monkeypatch.setattr(overlays.Draw, "__call__", drawn)
    spans: list[Spans] = []

    async def network(collector: str) -> None:
        async with open_overlay(engines=engines, delay_seconds=(0.0, 0.01)) as overlay:
            for name, node in overlay.nodes.items():
                told.secrets.append(node.identity.seed)
                spans.append(
                    sent := Spans(collector, role=name.partition("-")[0], peer=node.identity.peer_id)
                )
                node.journal.listen(sent.note)
            await run(overlay)
            await settle(overlay)
            for name, node in overlay.nodes.items():
                told.rest += _shown(overlay, name, node.journal)

    with open_collector() as collector:
        trio.run(network, collector.url, clock=MockClock(autojump_threshold=0))
        for each in spans:
            each.close()
        assert collector.bodies
        told.rest += collector.bodies


def _shown(overlay: Overlay, name: str, journal: Journal) -> list[bytes]:
    role = name.partition("-")[0]
    assert role in ("client", "proxy", "worker")
    showing = Showing(role, "memory", journal=journal)
    health = Health("p", [], "unknown", 1, None, [], [], Connections(0, 0, 0, []), None, 0)
    showing.stands_on(lambda: health, lambda: ReachabilityView("unknown", (), (), (), ""), None)
    showing.seller = {"proxy": overlay.proxy, "worker": overlay.workers[0]}.get(role)
    snapshot = showing.snapshot()
    return [
        repr(list(journal.recent)).encode(),
        repr(journal.sums).encode(),
        msgspec.json.encode(snapshot),
        render(snapshot, journal).body,
    ]


def check_nothing_told(told: Told) -> None:
    """Search all of it for words and keys, however they are written."""
    everything = told.all()
    assert len(told.text.getvalue()) > 500
    for word in (*ASKED, *ANSWERED):
        for spelled in (word.encode(), word.encode().hex().encode(), base64.b64encode(word.encode())[:-2]):
            assert spelled.lower() not in everything.lower(), word
    assert told.secrets
    for secret in told.secrets:
        for spelled in (secret, secret.hex().encode(), base64.b64encode(secret)[:-2], repr(secret).encode()):
            assert spelled not in everything


async def ask(overlay: Overlay) -> str | CocoonError:
    try:
        async with overlay.client.chat("scripted", QUESTION, timeout_seconds=30) as answer:
            return await answer.read()
    except CocoonError as error:
        return error


class Quoting(ScriptedEngine):
    """An engine whose errors quote what it was asked, and what it had said."""

    def __init__(
        self, counting: type[Exception] | None = None, generating: type[Exception] | None = None
    ) -> None:
        super().__init__(ANSWER)
        self._counting, self._generating = counting, generating

    async def count(self, request: GenerateRequest) -> PromptCount:
        if self._counting is not None:
            raise self._counting(f"cannot count: {request.messages}")
        return await super().count(request)

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
        async with super().generate(request) as pieces:
            yield self._broken(request, pieces)

    async def _broken(self, request: GenerateRequest, pieces: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
        count = 0
        async for piece in pieces:
            yield piece
            count += 1
            if self._generating is not None and count == 3:
                raise self._generating(f"cannot go on: {request.messages} {piece.text}")


def test_an_answer_is_told_of_by_its_id_alone_and_by_all_three(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchanges: list[bytes] = []

    async def run(overlay: Overlay) -> None:
        async with overlay.client.chat("scripted", QUESTION) as answer:
            assert await answer.read() == "".join(ANSWER)
        exchanges.append(answer.parts[0].exchange)

    tell_all(run, told, monkeypatch, ScriptedEngine(ANSWER))

    check_nothing_told(told)
    lines = [json.loads(line) for line in told.lines.getvalue().splitlines()]
    naming = {line["logger"].split(".")[1] for line in lines if line.get("exchange") == short(exchanges[0])}
    assert naming == {"client", "proxy", "worker"}
    assert all(len(line["exchange"]) == 8 for line in lines if "exchange" in line)


def test_an_answer_that_is_left_tells_nothing(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(overlay: Overlay) -> None:
        async with overlay.client.chat("scripted", QUESTION) as answer:
            async for _ in answer:
                break

    tell_all(run, told, monkeypatch, ScriptedEngine(ANSWER, delay_seconds=0.1))

    check_nothing_told(told)


@pytest.mark.parametrize(
    "engine",
    [
        pytest.param(Quoting(counting=PromptTooLong), id="too-long"),
        pytest.param(Quoting(counting=FeatureMissing), id="feature", marks=pytest.mark.long),
        pytest.param(Quoting(counting=ValueError), id="count-bug", marks=pytest.mark.long),
        pytest.param(Quoting(generating=EngineError), id="engine-error", marks=pytest.mark.long),
        pytest.param(Quoting(generating=KeyError), id="engine-bug"),
    ],
)
def test_an_engine_whose_errors_quote_the_prompt_tells_nothing(
    engine: ScriptedEngine, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(overlay: Overlay) -> None:
        assert isinstance(await ask(overlay), CocoonError)

    tell_all(run, told, monkeypatch, engine)

    check_nothing_told(told)


def test_a_peer_that_sends_what_is_no_message_is_not_quoted(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = " ".join(ASKED).encode()
    rubbish = (words, len(words).to_bytes(1) + words, b"\x82\x18\x63\x78" + len(words).to_bytes(1) + words)

    async def run(overlay: Overlay) -> None:
        assert isinstance(await ask(overlay), str)
        rogue = overlay.network.transport(Identity.from_seed(b"\x66" * 32), listen=False)
        proxy = overlay.nodes["proxy"].identity.peer_id
        await rogue.dial([f"/memory/1/p2p/{peer_id_text(proxy)}"])
        for each in rubbish:
            stream = await rogue.open_stream(proxy, EXCHANGE)
            await stream.write(each)
            await stream.close_write()

    tell_all(run, told, monkeypatch, ScriptedEngine(ANSWER))

    check_nothing_told(told)


@pytest.mark.long
def test_a_worker_that_dies_in_an_answer_and_one_that_goes_on_tell_nothing(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(overlay: Overlay) -> None:
        names = {node.identity.peer_id: name for name, node in overlay.nodes.items()}
        killed = False
        async with overlay.client.chat("scripted", QUESTION, timeout_seconds=60) as answer:
            async for piece in answer:
                if piece.completion_tokens >= 4 and not killed and answer.worker is not None:
                    killed = True
                    overlay.kill(names[answer.worker])
        assert answer.text == "".join(ANSWER)

    tell_all(run, told, monkeypatch, *(ScriptedEngine(ANSWER, delay_seconds=0.05) for _ in range(2)))

    check_nothing_told(told)
