"""What is taken from a directory in which anybody may stand."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.explorer.crawling import MEET_ALL_SECONDS, Crawler
from cocoon_p2p.explorer.reckoning import view_of
from cocoon_p2p.explorer.sightings import NetworkSeen
from cocoon_p2p.explorer.store import Crawl, KnownProxy, Standing
from cocoon_p2p.identity import NetworkId, PeerId, network_id, peer_id_text
from cocoon_p2p.network.libp2p.kad_survey import Surveyed
from cocoon_p2p.protocols.ids import Kind, Role
from cocoon_p2p.protocols.messages import ModelOffer, Price
from cocoon_p2p.protocols.papers import encode_signed
from cocoon_p2p.records import make_record, make_statement
from cocoon_p2p.testing.memory import MemoryNetwork, MemoryTransport
from cocoon_p2p.testing.papers import paper_identity
from tests.attestation.town import doorkeeper_for

NOW = 1_800_000_000.0
NETWORK = network_id("explored")


def model(name: str = "m", **changes: Any) -> ModelOffer:
    found = {
        "weights_hash": bytes(32), "tokenizer_hash": bytes(32), "kind": Kind.CHAT, "context_tokens": 4096,
        "features": (), "price": Price(4, 1, 20, 20), "demo": False, **changes,
    }  # fmt: skip
    return ModelOffer(name=name, **found)


def record(
    number: int,
    *models: ModelOffer,
    network: NetworkId = NETWORK,
    now: float = NOW,
    role: Role = Role.PROXY,
    **changes: Any,
) -> bytes:
    identity = paper_identity(number)
    statement = make_statement(identity, network, role=role, sealing_key=bytes(32), now=now, nonce=bytes(16))
    addresses = () if role is Role.WORKER else ("/ip4/203.0.113.7/tcp/4001",)
    return encode_signed(
        make_record(
            identity, network, role=role, statement=statement, addresses=addresses, models=models, now=now,
            sequence=1, **changes,
        )
    )  # fmt: skip


@dataclass
class Found:
    """A directory that gives what a test says."""

    records: Sequence[bytes] = ()
    servers: frozenset[PeerId] = field(default_factory=frozenset[PeerId])

    async def publish(self, record: bytes) -> None:
        raise AssertionError("an explorer publishes nothing")

    async def find_proxies(self) -> tuple[bytes, ...]:
        await trio.lowlevel.checkpoint()
        return tuple(self.records)

    async def survey(self) -> Surveyed:
        await trio.lowlevel.checkpoint()
        return Surveyed(self.servers, 3, True)


async def crawl(found: Found) -> NetworkSeen:
    own = paper_identity(99)
    async with MemoryNetwork() as memory:
        transport = memory.transport(own, listen=False)
        crawler = Crawler(transport, found, doorkeeper_for(own, transport), NETWORK, lambda: NOW)
        return await crawler.look()


def shown(seen: NetworkSeen) -> Any:
    known = tuple(KnownProxy(proxy, 0, 0) for proxy in seen.proxies)
    crawl_ = Crawl(int(NOW), seen.servers, seen.silent, seen.is_whole)
    return view_of("explored", "", Standing(0, crawl_, known, None, ()))


async def test_only_proxies_whose_records_hold_are_seen() -> None:
    forged = bytearray(record(1, model()))
    forged[-1] ^= 1
    found = Found(
        [
            record(2, model("cheap"), model("other")),
            bytes(forged),
            record(3, model(), network=network_id("another")),
            record(4, model(), now=NOW - 7200),
            record(5, model(), role=Role.WORKER),
            b"\xff" * 100,
            b"",
        ]
    )

    seen = await crawl(found)

    assert [proxy.peer for proxy in seen.proxies] == [peer_id_text(paper_identity(2).peer_id)]
    assert [offer.model for offer in seen.proxies[0].offers] == ["cheap", "other"]
    assert seen.proxies[0].trust == "open"


async def test_a_server_that_is_a_proxy_is_counted_once() -> None:
    servers = frozenset(paper_identity(number).peer_id for number in (1, 2, 3))

    seen = await crawl(Found([record(1, model())], servers))

    assert (len(seen.proxies), seen.servers, seen.silent) == (1, 2, 3)


async def test_a_proxy_that_cannot_be_asked_for_its_proof_is_not_known(
    autojump_clock: trio.testing.MockClock,
) -> None:
    seen = await crawl(Found([record(1, model(), evidence_hash=b"e" * 32)]))

    assert seen.proxies[0].trust == "unknown"


async def test_proxies_that_never_answer_do_not_hold_a_look_up(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_transport: MemoryTransport, _addresses: Sequence[str]) -> PeerId:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(MemoryTransport, "dial", hang)
    silent = [record(number, model(), evidence_hash=b"e" * 32) for number in range(2, 66)]

    seen = await crawl(Found([record(1, model()), *silent]))

    assert len(seen.proxies) == 65
    assert [proxy.trust for proxy in seen.proxies].count("open") == 1
    assert trio.current_time() <= MEET_ALL_SECONDS


async def test_names_that_differ_in_what_is_not_seen_are_one() -> None:
    seen = await crawl(Found([record(1, model("a\u202eb"), model("a\u200bb"), model("a\x07b"))]))

    assert [offer.model for offer in seen.proxies[0].offers] == ["a\N{REPLACEMENT CHARACTER}b"]


PRICES = st.builds(Price, *[st.integers(0, 2**63 - 1)] * 4)
OFFERS = st.lists(
    st.builds(model, st.text(max_size=24), price=PRICES, context_tokens=st.integers(0, 2**63 - 1)),
    max_size=3,
    unique_by=lambda offer: offer.name,
)


@pytest.mark.long
@settings(max_examples=20)
@given(st.lists(OFFERS, max_size=4))
def test_whatever_is_offered_is_told_within_its_bounds(offers: list[list[ModelOffer]]) -> None:
    seen = trio.run(crawl, Found([record(number, *each) for number, each in enumerate(offers, 1)]))

    view = shown(seen)
    assert view.nodes.proxies == len(offers)
    assert view.nodes.workers_at_least == any(offers)
    for told in view.models:
        assert told.model.isprintable()
        assert 1 <= told.proxies <= len(offers)
        for each in ("prompt", "cached", "completion", "reasoning"):
            assert getattr(told.lowest, each) <= getattr(told.highest, each)
