"""What a proxy publishes of itself, and when."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import peer_id_text
from cocoon_p2p.protocols.ids import RECORD_SIZE_MAX_BYTES, Role
from cocoon_p2p.protocols.messages import Price, Record
from cocoon_p2p.protocols.papers import decode_signed
from cocoon_p2p.proxy.storefront import PAUSE_SECONDS, REFRESH_SECONDS, catalogue
from cocoon_p2p.records import check_record
from cocoon_p2p.testing.memory import MemoryDirectory, MemoryDirectoryView, MemoryTransport
from tests.proxy.scene import COMMISSION, NETWORK, OFFER, PROXY, Scene, now, scene
from tests.scheduling.crowd import worker


def published(stage: Scene) -> Record:
    signed = decode_signed(stage.directory.records[PROXY.peer_id])
    return check_record(signed, network=NETWORK, now=now(), role=Role.PROXY, peer=PROXY.peer_id)


async def test_a_proxy_is_found_before_it_has_a_worker(autojump_clock: MockClock) -> None:
    async with scene(is_registered=False) as stage:
        record = published(stage)

        assert record.models == ()
        assert record.commission_basis_points == COMMISSION
        assert record.addresses


async def test_a_workers_models_are_published_soon(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        await trio.sleep(PAUSE_SECONDS + 0.1)

        assert published(stage).models == (OFFER,)


async def test_models_of_workers_that_left_are_published_no_more(autojump_clock: MockClock) -> None:
    async with scene(is_registered=False) as stage:
        await stage.worker.register()
        await trio.sleep(PAUSE_SECONDS + 0.1)
        assert published(stage).models == (OFFER,)

        await trio.sleep(10)

        assert published(stage).models == ()


@pytest.mark.slow
async def test_a_record_is_published_again_at_half_its_life(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        await trio.sleep(PAUSE_SECONDS + 0.1)
        first = published(stage)

        await trio.sleep(REFRESH_SECONDS + 2)

        second = published(stage)
        assert second.sequence > first.sequence
        assert second.expires > first.expires


async def test_a_proxy_that_is_reached_elsewhere_now_says_so_soon(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        await trio.sleep(10)

        stage.network.transports[PROXY.peer_id].move("/memory/2")
        await trio.sleep(PAUSE_SECONDS + 0.1)

        assert published(stage).addresses == (f"/memory/2/p2p/{peer_id_text(PROXY.peer_id)}",)


async def test_a_proxy_that_nobody_can_dial_publishes_once_somebody_can(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        await trio.sleep(10)
        transport = stage.network.transports[PROXY.peer_id]
        before = published(stage).sequence

        transport.move()
        await trio.sleep(10)
        assert published(stage).sequence == before

        transport.move("/memory/3")
        await trio.sleep(PAUSE_SECONDS + 0.1)
        assert "/memory/3/" in published(stage).addresses[0]


async def test_an_offer_that_flickers_is_not_published_each_time(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        await trio.sleep(10)
        seen = set[int]()

        for sequence in range(2, 42):
            dear = replace(OFFER, price=replace(OFFER.price, completion=sequence))
            await stage.worker.session.send(stage.worker.papers(dear, sequence=sequence))
            await trio.sleep(0.05)
            seen.add(published(stage).sequence)
        await trio.sleep(2)

        assert len(seen) <= 4
        assert published(stage).models[0].price.completion == 41


async def test_a_directory_that_fails_is_tried_again(autojump_clock: MockClock) -> None:
    async with scene(is_registered=False, directory=_Flaky(3)) as stage:
        await trio.sleep(PAUSE_SECONDS)
        assert not stage.directory.records

        await trio.sleep(30)

        assert published(stage).models == ()


class _Flaky(MemoryDirectory):
    """Fails so many times before it stores anything."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    def of(self, transport: MemoryTransport) -> MemoryDirectoryView:
        return _FlakyView(self, transport.peer_id)


class _FlakyView(MemoryDirectoryView):
    async def publish(self, record: bytes) -> None:
        assert isinstance(self.directory, _Flaky)
        if self.directory.failures:
            self.directory.failures -= 1
            raise Unavailable("nobody stored it")
        await super().publish(record)


async def test_a_long_catalogue_is_cut_to_what_the_directory_takes(autojump_clock: MockClock) -> None:
    async with scene(is_registered=False) as stage:
        await stage.worker.register(*(replace(OFFER, name=f"model {number:02}") for number in range(30)))
        await trio.sleep(PAUSE_SECONDS + 0.1)

        assert 3 <= len(published(stage).models) < 30
        assert len(stage.directory.records[PROXY.peer_id]) <= RECORD_SIZE_MAX_BYTES


def test_a_catalogue_has_each_model_once_at_its_cheapest() -> None:
    cheap, dear = (replace(OFFER, price=Price(1, 1, completion, 1)) for completion in (1, 2))
    other = replace(OFFER, name="a")

    offers = catalogue(
        [worker(0, offers=(dear, other)), worker(1, offers=(cheap,)), worker(2, offers=(dear,))]
    )

    assert offers == (other, cheap)


def test_a_catalogue_leaves_out_who_drains() -> None:
    assert catalogue([worker(0, offers=(OFFER,), is_draining=True)]) == ()
