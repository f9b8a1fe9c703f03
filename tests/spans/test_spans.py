"""Spans of real exchanges, as a real collector gets them: one trace for an exchange, whoever took part."""

import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from trio.testing import MockClock

from cocoon_p2p.client import Policy
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import Identity
from cocoon_p2p.journal import Entry, Journal
from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.spans import open_spans, queue
from cocoon_p2p.spans.queue import BATCH_MAX, QUEUE_MAX, Spans
from cocoon_p2p.spans.shaping import shape
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.testing.overlay import Overlay, open_overlay
from cocoon_p2p.units import Nano
from tests.overlay.test_exchanges import HELLO, WORDS, ask, settle
from tests.spans.collector import Collector, attributes, open_collector

MANY = tuple(f"word{number} " for number in range(24))
PEER = Identity.from_seed(b"\x07" * 32).peer_id
SERVICES = {"cocoon-client", "cocoon-proxy", "cocoon-worker"}

Traces = dict[bytes, dict[str, Span]]


def traced(
    run: Callable[[Overlay], Awaitable[None]], *engines: ScriptedEngine, policy: Policy | None = None
) -> tuple[Traces, list[Entry]]:
    """Run a network whose nodes all send their spans to one collector.

    Returns:
        The spans by trace and service, and what was noted.
    """
    spans: list[Spans] = []
    entries: list[Entry] = []

    async def network(collector: Collector) -> None:
        async with open_overlay(engines=engines, client_policy=policy, delay_seconds=(0.01, 0.02)) as overlay:
            for name, node in overlay.nodes.items():
                spans.append(
                    sent := Spans(collector.url, role=name.partition("-")[0], peer=node.identity.peer_id)
                )
                node.journal.listen(sent.note)
                node.journal.listen(entries.append)
            await run(overlay)

    with open_collector() as collector:
        trio.run(network, collector, clock=MockClock(autojump_threshold=0))
        for each in spans:
            each.close()
        found: Traces = {}
        for service, span in collector.exported():
            assert service not in found.setdefault(span.trace_id, {})
            found[span.trace_id][service] = span
    return found, entries


def test_client_proxy_and_worker_show_one_exchange_as_one_trace() -> None:
    async def run(overlay: Overlay) -> None:
        assert await ask(overlay) == "".join(WORDS)

    found, entries = traced(run, ScriptedEngine(WORDS))

    assert len(entries) == 3
    ((trace, spans),) = found.items()
    assert trace == entries[0].exchange
    assert set(spans) == SERVICES
    assert len({span.span_id for span in spans.values()}) == 3
    for entry in entries:
        span = spans[f"cocoon-{entry.role}"]
        (event,) = span.events
        assert (span.name, event.name, span.parent_span_id) == ("exchange", "first token", b"")
        assert span.start_time_unix_nano < event.time_unix_nano < span.end_time_unix_nano
        assert span.end_time_unix_nano - span.start_time_unix_nano == pytest.approx(
            entry.seconds * 1e9, abs=10
        )
        told = attributes(span)
        assert told["cocoon.outcome"] == "finished"
        assert told["gen_ai.usage.input_tokens"] == entry.prompt_tokens > 0
        assert told["gen_ai.usage.output_tokens"] == len(WORDS)
        assert (told["cocoon.income_nanoton"], told["cocoon.expense_nanoton"]) == (
            entry.income,
            entry.expense,
        )
        assert span.status.code == Status.STATUS_CODE_UNSET


def test_an_answer_that_goes_on_elsewhere_is_linked_to_its_beginning() -> None:
    async def run(overlay: Overlay) -> None:
        names = {node.identity.peer_id: name for name, node in overlay.nodes.items()}
        lost = ""
        async with overlay.client.chat("scripted", HELLO, timeout_seconds=60) as answer:
            async for piece in answer:
                if piece.completion_tokens >= 8 and not lost and answer.worker is not None:
                    overlay.kill(lost := names[answer.worker])
        await settle(overlay)

    engines = [ScriptedEngine(MANY, delay_seconds=0.05) for _ in range(2)]
    found, entries = traced(run, *engines)

    whole = next(each for each in entries if each.role == "worker" and each.outcome == "finished")
    assert whole.continues is not None
    broken, gone_on = found[whole.continues], found[whole.exchange]
    assert set(gone_on) == SERVICES
    for service, span in gone_on.items():
        (link,) = span.links
        assert link.trace_id == whole.continues
        if service in ("cocoon-client", "cocoon-proxy"):
            assert link.span_id == broken[service].span_id
            assert broken[service].status.code == Status.STATUS_CODE_ERROR
            assert attributes(broken[service])["error.type"] == "lost"


@pytest.mark.long
def test_a_second_try_is_linked_to_the_one_that_was_late() -> None:
    async def run(overlay: Overlay) -> None:
        while not overlay.nodes["worker-1"].journal.recent:
            async with overlay.client.chat("scripted", HELLO, prefer="fast") as answer:
                await answer.read()
        await settle(overlay)

    always = Policy(trust=Trust.OPEN, max_cost=Nano(10**9), hedges_per_thousand=1000)
    slow = ScriptedEngine(WORDS, prefill_seconds=20.0, prefill_steps=4)
    found, entries = traced(run, slow, ScriptedEngine(WORDS), policy=always)

    (second,) = [each for each in entries if each.beside is not None]
    (link,) = found[second.exchange]["cocoon-client"].links
    assert second.beside is not None
    assert (link.trace_id, link.span_id) == (second.beside, found[second.beside]["cocoon-client"].span_id)
    assert attributes(found[second.beside]["cocoon-client"])["cocoon.outcome"] == "cancelled"


ENTRY = Entry(
    exchange=bytes(range(16)), role="worker", model="m", outcome="finished", began_at=1e9, seconds=1.0
)  # fmt: skip


def numbered(number: int) -> Entry:
    return replace(ENTRY, exchange=(number + 1).to_bytes(16))


@pytest.mark.long
def test_a_collector_that_hangs_holds_nobody_up_and_gets_the_newest_spans_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue, "SEND_SECONDS", 60.0)
    with open_collector() as collector:
        collector.is_open.clear()
        spans = Spans(collector.url, role="worker", peer=PEER)
        for number in range(BATCH_MAX):
            spans.note(numbered(number))
        assert collector.was_asked.wait(60)

        for number in range(BATCH_MAX, BATCH_MAX + QUEUE_MAX + 10):
            spans.note(numbered(number))

        collector.is_open.set()
        spans.close()
        got = {int.from_bytes(span.trace_id) for _, span in collector.exported()}
    dropped = {number + 1 for number in range(BATCH_MAX, BATCH_MAX + 10)}
    assert got == {number + 1 for number in range(BATCH_MAX + QUEUE_MAX + 10)} - dropped


def test_a_collector_that_is_away_costs_the_exchange_nothing_and_is_named_once_in_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "SEND_SECONDS", 0.5)
    with open_collector() as collector:
        away = collector.url
    journal, spans = Journal(), Spans(away, role="worker", peer=PEER)
    journal.listen(spans.note)

    for number in range(10):
        journal.note(numbered(number))
    spans.close()

    assert len(journal.recent) == 10
    assert [record.message for record in caplog.records if record.name.startswith("cocoon_p2p")] == [
        "spans are not taken"
    ]


async def test_what_was_noted_last_is_sent_before_the_node_ends() -> None:
    journal = Journal()
    with open_collector() as collector:
        async with open_spans(collector.url, journal, role="worker", peer=PEER):
            journal.note(ENTRY)
        journal.note(numbered(7))

        assert [span.trace_id for _, span in collector.exported()] == [ENTRY.exchange]


async def test_without_a_collector_nobody_listens() -> None:
    journal = Journal()
    async with open_spans("", journal, role="worker", peer=PEER):
        journal.note(ENTRY)


async def test_who_lacks_the_extra_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cocoon_p2p.spans.queue")
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)

    with pytest.raises(ConfigurationError) as caught:
        async with open_spans("http://127.0.0.1:4318", Journal(), role="worker", peer=PEER):
            pass

    assert "cocoon-p2p[otel]" in caught.value.hint


def test_an_id_that_no_trace_can_have_makes_no_span() -> None:
    assert shape(replace(ENTRY, exchange=bytes(16))) is None
    linked = shape(replace(ENTRY, continues=bytes(16), beside=bytes(16)))
    assert linked is not None
    assert linked.links == ()


@given(
    exchange=st.binary(min_size=16, max_size=16),
    began_at=st.floats(-1e9, 1e9),
    seconds=st.floats(-1, 1e6),
    first=st.none() | st.floats(0, 1e6),
)
def test_a_span_never_ends_before_it_begins_and_has_an_id_that_can_be(
    exchange: bytes, began_at: float, seconds: float, first: float | None
) -> None:
    entry = replace(
        ENTRY, exchange=exchange, began_at=began_at, seconds=seconds, first_token_seconds=first
    )  # fmt: skip
    shaped = shape(entry)
    if shaped is None:
        assert exchange == bytes(16)
        return
    assert 0 <= shaped.began <= shaped.ended < 2**63
    assert 0 < shaped.id.span < 2**64
    assert shaped.id.trace == int.from_bytes(exchange)
