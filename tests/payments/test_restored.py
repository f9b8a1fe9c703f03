"""A payer whose ledger was restored from a backup takes its payee's count once, within the grant."""

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from cocoon_p2p.ledger import Side, audit
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.payments.events import Accepted
from cocoon_p2p.payments.payer import UNPROVEN_MAX, Payer, step
from cocoon_p2p.payments.restored import mark, marks_for, read_marks
from cocoon_p2p.testing.store import MemoryDisk, MemoryStore
from cocoon_p2p.units import Nano
from tests.payments.parties import CHANNEL, ONE, PAYEE, PAYER, THREE, TWO, signed, state
from tests.payments.scene import CAPACITY, connect, scene


def restored(disk: MemoryDisk) -> MemoryDisk:
    """Mark a copy of a ledger as `cocoon restore` does."""
    disk.notes |= {note.key: note.value or b"" for note in marks_for(disk.channels.values())}
    return disk


async def test_what_it_owes_within_the_grant_is_taken_up_and_the_channel_goes_on(
    autojump_clock: MockClock,
) -> None:
    async with scene() as stage, stage.node(PAYEE) as payee:
        async with stage.node(PAYER) as payer:
            both = await connect(stage, payer, payee)
            await both.exchange(ONE, 20)
            await both.paying.saved()
            backup = payer.store.disk.copy()
            # Within the grant: nothing is signed for it.
            await both.exchange(TWO, 30)

        stage.disks[PAYER.peer_id] = restored(backup)
        async with stage.node(PAYER) as payer:
            both = await connect(stage, payer, payee)

            assert both.paying.phase is Phase.OPEN
            assert both.paying.charged == both.receiving.charged() == 50
            await both.exchange(THREE, 100)
            await wait_all_tasks_blocked()
            assert both.paying.charged == both.receiving.charged() == 150
            assert both.paying.vouchered == both.receiving.vouchered() >= 100
        assert audit(backup.channels.values(), backup.lines.values()) == ()
        assert backup.notes == {}


async def test_the_payees_word_counts_once(autojump_clock: MockClock) -> None:
    async with scene() as stage, stage.node(PAYEE) as payee:
        async with stage.node(PAYER) as payer:
            both = await connect(stage, payer, payee)
            await both.exchange(ONE, 20)
            await both.paying.saved()
            backup = payer.store.disk.copy()

        stage.disks[PAYER.peer_id] = restored(backup)
        async with stage.node(PAYER) as payer:
            await connect(stage, payer, payee)
            await wait_all_tasks_blocked()

            assert await read_marks(payer.store) == frozenset()


def accepted(charged: int, *, is_restored: bool, grant: int = 50) -> Accepted:
    shown = state(1, charged)
    return Accepted(Nano(grant), shown, signed(shown), None, is_restored=is_restored)


@pytest.mark.parametrize(
    ("charged", "is_restored", "phase"),
    [(50, True, Phase.OPEN), (51, True, Phase.STOPPED), (1, False, Phase.STOPPED), (0, False, Phase.OPEN)],
)
def test_a_claim_above_the_grant_stops_the_channel_restored_or_not(
    charged: int, is_restored: bool, phase: Phase
) -> None:
    after, _ = step(Payer(CHANNEL), accepted(charged, is_restored=is_restored))

    assert after.phase is phase
    assert after.vouchered == 0


def test_a_payee_that_says_it_grants_much_has_no_more_on_its_word_than_a_workers_grant() -> None:
    held_back, _ = step(Payer(CHANNEL), accepted(UNPROVEN_MAX, is_restored=True, grant=2**62))
    reaching, _ = step(Payer(CHANNEL), accepted(UNPROVEN_MAX + 1, is_restored=True, grant=2**62))

    assert (held_back.phase, held_back.charged) == (Phase.OPEN, UNPROVEN_MAX)
    assert reaching.phase is Phase.STOPPED


def test_a_channel_that_was_stopped_before_the_backup_stays_stopped_at_its_count() -> None:
    stopped, _ = step(Payer(CHANNEL), accepted(1000, is_restored=False))
    after, _ = step(stopped, accepted(1040, is_restored=True, grant=2000))

    assert (after.phase, after.charged) == (Phase.STOPPED, 0)


async def test_only_channels_on_which_the_owner_pays_are_marked(autojump_clock: MockClock) -> None:
    async with scene() as stage, stage.node(PAYEE) as payee, stage.node(PAYER) as payer:
        both = await connect(stage, payer, payee, capacity=CAPACITY)
        await both.exchange(ONE, 20)
        await both.paying.saved()
        rows = [*payer.store.disk.channels.values(), *payee.store.disk.channels.values()]

    assert {row.name.side for row in rows} == set(Side)
    assert [note.key for note in marks_for(rows)] == [mark(both.paying.channel)]
    store = MemoryStore(restored(stage.disks[PAYER.peer_id]))
    assert await read_marks(store) == {both.paying.channel}
