"""What is known of workers outlives their session, and the proxy."""

from dataclasses import replace

import pytest
from trio.testing import MockClock

from cocoon_p2p.identity import Identity, PeerId
from cocoon_p2p.ledger import Note
from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.proxy import remembering
from cocoon_p2p.proxy.remembering import FORGOTTEN_SECONDS, Remembering
from cocoon_p2p.scheduling import OURSELVES, Fault, Odds, Pace, Witness, WorkerStanding
from cocoon_p2p.testing.store import MemoryStore
from tests.proxy.scene import EPOCH, OFFER

PEER, TWIN = (PeerId(Identity.from_seed(bytes([number]) * 32).peer_id) for number in (7, 8))


def newcomer(peer: PeerId = PEER, platform: bytes = b"") -> WorkerStanding:
    return WorkerStanding(
        peer, (OFFER,), Trust.OPEN, 1, is_draining=False, heard=0.0, expires=0, platform=platform
    )


def known(peer: PeerId = PEER, platform: bytes = b"") -> WorkerStanding:
    odds = Odds().after_kept(0.0, Witness(b"a client")).after_fault(Fault.CANARY, 0.0, OURSELVES)
    pace = Pace().decoded(200, 40.0, 0.0, Witness(b"a client")).prefilled(90, 9.0, 0.0, OURSELVES)
    return replace(newcomer(peer, platform), odds=odds, paces={"m": pace}, answer_seconds=0.5)


async def restarted(store: MemoryStore, seconds_later: float = 0.0) -> Remembering:
    after = Remembering(store, lambda: EPOCH + seconds_later)
    await after.load()
    return after


async def test_a_restart_forgets_neither_how_quick_nor_how_true_it_was(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    Remembering(store, lambda: EPOCH).write([known()])

    back = (await restarted(store)).recall(newcomer(), ())

    assert (back.odds.kept, back.odds.broken) == pytest.approx((1, 2), abs=0.01)
    assert dict(back.odds.faults)[Fault.CANARY] == pytest.approx(2, abs=0.01)
    assert back.paces["m"].decode.seconds_per_token(0.01, 64, 0.0) == pytest.approx(0.2, abs=0.01)


async def test_it_fades_while_the_proxy_is_down(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    Remembering(store, lambda: EPOCH).write([known()])

    back = (await restarted(store, 3_600)).recall(newcomer(), ())

    assert back.odds.faded(0.0).broken == pytest.approx(1, abs=0.01)


async def test_after_a_day_it_is_no_longer_in_the_ledger(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    Remembering(store, lambda: EPOCH).write([known()])

    later = await restarted(store, FORGOTTEN_SECONDS + 1)

    assert len(later) == 0
    assert await store.notes("reputation/") == {}


async def test_whose_exchanges_showed_it_is_not_written_down(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    Remembering(store, lambda: EPOCH).write([known()])

    (value,) = (await store.notes("reputation/")).values()
    assert b"a client" not in value


async def test_a_note_that_cannot_be_read_is_dropped(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    store.submit(Note("reputation/00", b"\xff"))

    await restarted(store)

    assert await store.notes("reputation/") == {}


async def test_another_name_from_a_known_machine_is_no_newcomer(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    Remembering(store, lambda: EPOCH).write([known(platform=b"machine")])
    after = await restarted(store)

    assert after.recall(newcomer(TWIN, b"machine"), ()).odds.broken == pytest.approx(2, abs=0.01)
    assert after.recall(newcomer(TWIN, b"another"), ()).odds == Odds()
    assert after.recall(newcomer(TWIN), ()).odds == Odds()


async def test_who_left_longest_ago_gives_way_on_disk_too(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembering, "REMEMBERED_MAX", 1)
    store = MemoryStore()
    memory = Remembering(store, lambda: EPOCH)

    memory.remember(known())
    memory.remember(known(TWIN))

    assert list(await store.notes("reputation/")) == [f"reputation/{TWIN.hex()}"]


async def test_who_was_put_to_rest_for_a_lie_does_not_wake_by_coming_back(autojump_clock: MockClock) -> None:
    memory = Remembering(None, lambda: EPOCH)
    memory.remember(replace(known(), rests_until=600.0, rests_for=Fault.RULES_BROKEN))
    memory.remember(replace(known(TWIN), rests_until=600.0, rests_for=Fault.LOST))

    assert memory.recall(newcomer(), ()).rests_until == 600.0
    assert memory.recall(newcomer(TWIN), ()).rests_until == 0.0


async def test_strangers_that_come_and_go_drive_nobody_out(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembering, "REMEMBERED_MAX", 1)
    memory = Remembering(None, lambda: EPOCH)
    memory.remember(known())

    memory.remember(newcomer(TWIN))

    assert memory.recall(newcomer(), ()).odds.broken > 0
