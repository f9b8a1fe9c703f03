"""The accounts as the roles meet them: two nodes, their ledgers, and a network between."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from cocoon_p2p.errors import LocalProtocolError, Refused, Unavailable
from cocoon_p2p.identity import Identity, NetworkId, PeerId
from cocoon_p2p.ledger import audit
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.network.transport import Stream
from cocoon_p2p.payments.channel import Phase, channel_id, channel_of
from cocoon_p2p.payments.payer_stream import METER_HELD_SECONDS, settle
from cocoon_p2p.payments.settlement import CHANNELS_PER_PAYER_MAX, FORGET_SECONDS
from cocoon_p2p.protocols.ids import CHANNEL, Reason
from cocoon_p2p.protocols.messages import (
    ChannelAccepted,
    ChannelOffer,
    ChannelRefused,
    ChannelState,
    OpenChannel,
    Paper,
    StateSigned,
    Voucher,
)
from cocoon_p2p.protocols.papers import check_own, sign
from cocoon_p2p.testing.memory import Fate, Write
from cocoon_p2p.units import Nano
from tests.payments.parties import (
    CHANNEL_KEY,
    NETWORK,
    OFFER,
    ONE,
    PAYEE,
    PAYER,
    THREE,
    TWO,
    receipt,
    signed,
    state,
    voucher,
)
from tests.payments.scene import CAPACITY, GRANT, bare_stream, connect, pair, scene

# ---------------------------------------------------------------- one exchange


async def test_an_exchange_is_held_covered_and_charged_on_both_sides(autojump_clock: MockClock) -> None:
    async with pair() as both:
        both.paying.hold(ONE, Nano(300))
        await both.receiving.cover(ONE, Nano(200))
        assert both.receiving.credit == both.receiving.vouchered() + GRANT - 200

        await both.receiving.charge(ONE, Nano(180), receipt(ONE, 180))
        await both.paying.charge(ONE, Nano(180), receipt(ONE, 180))
        await wait_all_tasks_blocked()

        assert both.paying.charged == both.receiving.charged() == 180
        assert (both.paying.held, both.receiving.accrued) == (0, 0)
        # The grant covers the first 50 of what was held.
        assert both.paying.vouchered == both.receiving.vouchered() == 250


async def test_a_grant_covers_work_without_any_voucher(autojump_clock: MockClock) -> None:
    async with pair() as both:
        both.paying.hold(ONE, GRANT)

        assert both.receiving.covered(ONE, GRANT)
        assert not both.receiving.covered(ONE, Nano(GRANT + 1))
        await wait_all_tasks_blocked()
        assert both.paying.vouchered == both.receiving.vouchered() == 0


async def test_whoever_waits_for_credit_goes_on_when_a_voucher_is_on_disk(autojump_clock: MockClock) -> None:
    async with pair(grant=Nano(0)) as both, trio.open_nursery() as nursery:
        nursery.start_soon(both.receiving.cover, ONE, Nano(100))
        await wait_all_tasks_blocked()
        assert not both.receiving.is_running(ONE)

        rise = both.receiving.vouchered_changed
        both.paying.hold(ONE, Nano(100))
        await rise.wait()

        await wait_all_tasks_blocked()
        assert both.receiving.is_running(ONE)
        assert [row.vouchered for row in both.payee.store.disk.channels.values()] == [100]


async def test_a_cancelled_wait_for_credit_leaves_the_exchange_where_it_was(
    autojump_clock: MockClock,
) -> None:
    async with pair() as both:
        assert both.receiving.covered(ONE, Nano(20))

        with trio.move_on_after(10) as scope:
            await both.receiving.cover(ONE, Nano(100))

        assert scope.cancelled_caught
        assert both.receiving.accrued == 20


async def test_credit_that_one_exchange_gives_back_covers_another_that_waits(
    autojump_clock: MockClock,
) -> None:
    async with pair() as both:
        assert both.receiving.covered(ONE, GRANT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(both.receiving.cover, TWO, Nano(30))
            await wait_all_tasks_blocked()

            both.receiving.release(ONE)

        assert both.receiving.accrued == 30


async def test_a_second_charge_for_one_exchange_gives_the_first_one_s_result(
    autojump_clock: MockClock,
) -> None:
    async with pair() as both:
        await both.exchange(ONE, 100)
        await both.exchange(TWO, 30)

        assert await both.receiving.charge(ONE, Nano(999), receipt(ONE, 999)) == 100
        await both.paying.charge(ONE, Nano(999), receipt(ONE, 999))

        assert both.paying.charged == both.receiving.charged() == 130


async def test_two_charges_at_once_for_one_exchange_are_one(autojump_clock: MockClock) -> None:
    async with pair() as both:
        both.paying.hold(ONE, Nano(100))
        await both.receiving.cover(ONE, Nano(100))
        totals = list[int]()

        async def charge() -> None:
            totals.append(await both.receiving.charge(ONE, Nano(100), receipt(ONE, 100)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(charge)
            nursery.start_soon(charge)

        assert totals == [100, 100]
        assert both.receiving.charged() == 100


async def test_a_cancelled_charge_lands_and_can_be_asked_for_again(autojump_clock: MockClock) -> None:
    async with pair() as both:
        with trio.CancelScope() as scope:
            scope.cancel()
            await both.receiving.charge(ONE, Nano(40), receipt(ONE, 40))

        assert scope.cancelled_caught
        assert both.receiving.charged() == 40
        assert await both.receiving.charge(ONE, Nano(40), receipt(ONE, 40)) == 40
        assert len(both.payee.store.disk.exchanges) == 1


async def test_an_exchange_that_was_refused_gives_back_what_was_held_and_leaves_no_trace(
    autojump_clock: MockClock,
) -> None:
    async with pair() as both:
        both.paying.hold(ONE, Nano(100))
        both.paying.release(ONE)
        await both.paying.saved()

        assert both.paying.held == 0
        assert not both.payer.store.disk.exchanges


async def test_an_exchange_that_has_ended_cannot_be_held_again(autojump_clock: MockClock) -> None:
    async with pair() as both:
        await both.exchange(ONE, 100)

        with pytest.raises(LocalProtocolError, match="has ended"):
            both.paying.hold(ONE, Nano(10))


async def test_nothing_is_held_beyond_the_channel_s_capacity(autojump_clock: MockClock) -> None:
    async with pair() as both:
        both.paying.hold(ONE, Nano(CAPACITY + GRANT))

        with pytest.raises(Refused, match="short of 1 nanoTON") as caught:
            both.paying.hold(TWO, Nano(1))

        assert caught.value.code == "no-credit"
        await both.receiving.cover(ONE, Nano(CAPACITY + GRANT))
        assert both.receiving.vouchered() == CAPACITY


async def test_holds_that_come_while_a_voucher_is_on_its_way_share_the_next_one(
    autojump_clock: MockClock,
) -> None:
    async with pair(grant=Nano(0)) as both:
        vouchers = list[int]()

        def count(write: Write) -> tuple[Fate, float]:
            if write.source == PAYER.peer_id:
                vouchers.append(both.paying.vouchered)
            return Fate.DELIVER, 0.0

        both.scene.network.fault = count
        for amount in range(1, 501):
            both.paying.hold(ONE, Nano(amount))
        await both.receiving.cover(ONE, Nano(500))

        assert len(vouchers) <= 2


# ---------------------------------------------------------------- papers


async def test_the_paper_of_an_exchange_can_be_asked_for_by_its_id(autojump_clock: MockClock) -> None:
    async with pair() as both:
        await both.exchange(ONE, 100)

        paper = await both.paying.paper(ONE)

        assert paper is not None
        assert paper.receipt == both.payee.accounts.ended(ONE) == receipt(ONE, 100)
        assert await both.paying.paper(TWO) is None
        assert both.payee.accounts.ended(TWO) is None


async def test_an_exchange_that_still_runs_has_no_paper_yet(autojump_clock: MockClock) -> None:
    async with pair() as both:
        assert both.receiving.covered(ONE, Nano(10))

        with pytest.raises(Refused) as caught:
            await both.paying.paper(ONE)

        assert caught.value.code == "already-running"


async def test_a_paper_asked_for_while_the_payee_is_away_comes_when_it_is_back(
    autojump_clock: MockClock,
) -> None:
    async with pair() as both:
        await both.exchange(ONE, 100)
        both.scene.cut()
        papers = list[object]()

        async def ask() -> None:
            papers.append(await both.paying.paper(ONE))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(60)
            assert not papers
            await both.scene.dial()

        assert papers != [None]


@pytest.mark.parametrize("beyond", [0, 1])
async def test_who_keeps_us_waiting_cannot_bill_more_than_was_held(
    autojump_clock: MockClock, beyond: int
) -> None:
    async with pair() as both:
        both.paying.hold(ONE, Nano(30))
        both.scene.cut()
        await both.paying.break_off(ONE, Nano(0), receipt(ONE, 1))
        broken = both.paying.leftovers[ONE]
        long_ago = replace(broken, since=broken.since - int(METER_HELD_SECONDS))
        both.paying.leftovers[ONE] = long_ago
        assert both.paying.credit > 31

        settle(both.paying, both.paying._party, long_ago, Paper(ONE, receipt(ONE, 30 + beyond), None))

        assert both.paying.phase is (Phase.STOPPED if beyond else Phase.OPEN)
        assert both.paying.charged == (0 if beyond else 30)


async def test_a_channel_that_another_payer_opened_is_unknown(autojump_clock: MockClock) -> None:
    async with pair() as both:
        stranger = Identity.from_seed(b"\x09" * 32).peer_id

        with pytest.raises(Refused) as caught:
            both.payee.accounts.receiving(both.paying.channel, stranger)

        assert caught.value.code == "channel-unknown"


# ---------------------------------------------------------------- streams that break


async def test_a_broken_stream_is_opened_again_and_nothing_is_charged_twice(
    autojump_clock: MockClock,
) -> None:
    async with pair() as both:
        both.paying.hold(ONE, Nano(100))
        await both.receiving.cover(ONE, Nano(100))
        both.scene.cut()
        await both.receiving.charge(ONE, Nano(100), receipt(ONE, 100))
        await both.paying.charge(ONE, Nano(100), receipt(ONE, 100))
        both.paying.hold(TWO, Nano(300))

        await both.scene.dial()
        await both.receiving.cover(TWO, Nano(300))

        assert both.paying.charged == both.receiving.charged() == 100
        assert len(both.payer.accounts.payees()) == 1


async def test_a_voucher_that_was_lost_on_the_way_is_sent_again(autojump_clock: MockClock) -> None:
    async with pair(grant=Nano(0)) as both:

        def lose(write: Write) -> tuple[Fate, float]:
            return (Fate.LOSE if write.source == PAYER.peer_id else Fate.DELIVER), 0.0

        both.scene.network.fault = lose
        both.paying.hold(ONE, Nano(100))
        await wait_all_tasks_blocked()
        assert both.paying.vouchered == 100
        assert both.receiving.vouchered() == 0

        both.scene.network.fault = None
        both.scene.cut()
        await both.scene.dial()
        await both.receiving.cover(ONE, Nano(100))

        assert both.receiving.vouchered() == 100


async def test_a_newer_stream_of_a_channel_takes_over_from_one_that_is_dead(
    autojump_clock: MockClock,
) -> None:
    async with pair(grant=Nano(0)) as both:
        both.scene.network.partition(PAYER.peer_id, PAYEE.peer_id)
        # Only the payer learns that its end is gone, as behind a NAT that forgot it.
        both.scene.network.heal(PAYER.peer_id, PAYEE.peer_id)
        await both.scene.dial()
        both.paying.hold(ONE, Nano(100))

        await both.receiving.cover(ONE, Nano(100))

        assert both.receiving.vouchered() == 100


async def test_a_payee_that_nobody_is_connected_to_is_unavailable(autojump_clock: MockClock) -> None:
    async with scene() as stage, stage.node(PAYER) as payer, stage.node(PAYEE) as payee:
        with pytest.raises(Unavailable):
            await payer.accounts.paying(PAYEE.peer_id, capacity=CAPACITY)

        # The channel that was begun is the one that is used once there is a connection.
        await connect(stage, payer, payee)
        assert len(payer.store.disk.channels) == 1


async def test_callers_that_want_one_payee_at_once_share_a_channel(autojump_clock: MockClock) -> None:
    async with scene() as stage, stage.node(PAYER) as payer, stage.node(PAYEE):
        await stage.dial()
        found = list[object]()

        async def find() -> None:
            found.append(await payer.accounts.paying(PAYEE.peer_id, capacity=CAPACITY))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(find)

        assert len(set(map(id, found))) == 1


# ---------------------------------------------------------------- restarts and old ledgers


async def test_accounts_go_on_after_both_nodes_were_started_again(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        for number, exchange in enumerate((ONE, TWO, THREE), 1):
            async with stage.node(PAYER) as payer, stage.node(PAYEE) as payee:
                both = await connect(stage, payer, payee)
                await both.exchange(exchange, 100)

                assert both.paying.charged == both.receiving.charged() == 100 * number
                assert both.payee.accounts.ended(ONE) == receipt(ONE, 100)
        for disk in stage.disks.values():
            assert len(disk.channels) == 1
            assert audit(disk.channels.values(), disk.lines.values()) == ()


async def test_an_exchange_that_a_crash_of_the_payer_forgot_is_charged_by_the_payee_s_paper(
    autojump_clock: MockClock,
) -> None:
    async with scene() as stage, stage.node(PAYEE) as payee:
        async with stage.node(PAYER) as payer:
            both = await connect(stage, payer, payee)
            both.paying.hold(ONE, Nano(100))
            both.paying.hold(TWO, Nano(50))
            await both.paying.saved()
            await both.receiving.cover(ONE, Nano(100))
            await both.receiving.charge(ONE, Nano(90), receipt(ONE, 90))

        async with stage.node(PAYER) as payer:
            both = await connect(stage, payer, payee)
            assert set(both.paying.unsettled()) == {ONE, TWO}
            await trio.sleep(5)

            # One was charged, of the other the payee knows nothing.
            assert both.paying.unsettled() == ()
            assert both.paying.charged == both.receiving.charged() == 90
            assert both.paying.phase is Phase.OPEN


async def test_a_payer_with_an_old_ledger_takes_up_what_it_signed_since(autojump_clock: MockClock) -> None:
    async with scene() as stage, stage.node(PAYEE) as payee:
        async with stage.node(PAYER) as payer:
            both = await connect(stage, payer, payee)
            await both.exchange(ONE, 100)
            await both.paying.saved()
            backup = payer.store.disk.copy()
            await both.exchange(TWO, 200)

        stage.disks[PAYER.peer_id] = backup
        async with stage.node(PAYER) as payer:
            both = await connect(stage, payer, payee)

            assert both.paying.vouchered == both.receiving.vouchered() == 250
            assert both.paying.charged == both.receiving.charged() == 300
            await both.exchange(THREE, 100)
            assert both.paying.charged == 400
        assert audit(backup.channels.values(), backup.lines.values()) == ()


async def test_a_payer_with_an_old_ledger_stops_where_no_voucher_of_its_own_explains_the_charge(
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

        stage.disks[PAYER.peer_id] = backup
        async with stage.node(PAYER) as payer:
            await stage.dial()
            account = await payer.accounts.paying(PAYEE.peer_id, capacity=CAPACITY)

            assert account.phase is Phase.STOPPED
            with pytest.raises(Refused) as caught:
                account.hold(THREE, Nano(1))
            assert caught.value.code == "wrong-amount"
            with pytest.raises(Refused, match="payments are stopped"):
                await payer.accounts.paying(PAYEE.peer_id, capacity=CAPACITY)
            await account.saved()
        (evidence,) = backup.evidence
        assert "charged more than we owe" in evidence.reason


async def test_a_payee_with_an_old_ledger_takes_up_its_own_newer_state(autojump_clock: MockClock) -> None:
    async with scene() as stage, stage.node(PAYER) as payer:
        async with stage.node(PAYEE) as payee:
            both = await connect(stage, payer, payee)
            await both.exchange(ONE, 100)
            await wait_all_tasks_blocked()
            backup = payee.store.disk.copy()
            await both.exchange(TWO, 200)
            await wait_all_tasks_blocked()

        stage.disks[PAYEE.peer_id] = backup
        async with stage.node(PAYEE) as payee:
            both = await connect(stage, payer, payee)
            await both.exchange(THREE, 100)
            await wait_all_tasks_blocked()

            assert both.receiving.charged() == both.paying.charged == 400
            assert both.receiving.vouchered() == both.paying.vouchered == 350
            assert both.paying.phase is Phase.OPEN
        assert audit(backup.channels.values(), backup.lines.values()) == ()


async def test_a_payee_that_lost_its_whole_ledger_is_told_by_the_payer(autojump_clock: MockClock) -> None:
    async with scene() as stage, stage.node(PAYER) as payer:
        async with stage.node(PAYEE) as payee:
            both = await connect(stage, payer, payee)
            await both.exchange(ONE, 100)
            await wait_all_tasks_blocked()

        stage.disks[PAYEE.peer_id] = type(stage.disks[PAYEE.peer_id])()
        async with stage.node(PAYEE) as payee:
            both = await connect(stage, payer, payee)
            await wait_all_tasks_blocked()

            assert both.receiving.charged() == 100
            assert both.receiving.vouchered() == both.paying.vouchered


# ---------------------------------------------------------------- closing


@pytest.mark.parametrize("side", ["payer", "payee", "both"])
async def test_a_close_ends_at_what_was_charged_whoever_asks_for_it(
    autojump_clock: MockClock, side: str
) -> None:
    async with pair() as both:
        await both.exchange(ONE, 100)
        both.paying.hold(TWO, Nano(700))
        await both.receiving.cover(TWO, Nano(1))
        both.receiving.release(TWO)
        both.paying.release(TWO)

        async with trio.open_nursery() as nursery:
            if side != "payee":
                nursery.start_soon(both.paying.close)
            if side != "payer":
                nursery.start_soon(both.receiving.close)
        await trio.sleep(1)

        assert both.paying.phase is both.receiving.phase is Phase.CLOSED
        for node in both.payer, both.payee:
            rows, lines = await node.store.channels(), await node.store.lines()
            assert audit(rows, lines) == ()
            assert rows[0].agreed is not None
            assert rows[0].terms is not None
        assert both.payer.wallet() == -100
        assert both.payee.wallet() == 100


async def test_a_close_waits_for_what_runs_and_lets_nothing_new_begin(autojump_clock: MockClock) -> None:
    async with pair() as both, trio.open_nursery() as nursery:
        both.paying.hold(ONE, Nano(100))
        await both.receiving.cover(ONE, Nano(50))
        nursery.start_soon(both.paying.close)
        await trio.sleep(30)

        with pytest.raises(Refused) as caught:
            both.paying.hold(TWO, Nano(1))
        assert caught.value.code == "draining"
        # What runs is paid to its end.
        both.paying.hold(ONE, Nano(200))
        await both.receiving.cover(ONE, Nano(200))
        await both.receiving.charge(ONE, Nano(200), receipt(ONE, 200))
        await both.paying.charge(ONE, Nano(200), receipt(ONE, 200))
        await trio.sleep(1)

        assert both.paying.phase is both.receiving.phase is Phase.CLOSED


async def test_no_voucher_is_signed_once_close_terms_are(autojump_clock: MockClock) -> None:
    async with pair(grant=Nano(0)) as both:
        await both.exchange(ONE, 100)
        both.scene.network.partition(PAYER.peer_id, PAYEE.peer_id)
        with trio.move_on_after(10):
            await both.paying.close()
        assert both.paying.phase is Phase.CLOSING

        with pytest.raises(Refused):
            both.paying.hold(TWO, Nano(100))

        assert both.paying.vouchered == 100


async def test_a_payee_that_lost_the_agreement_gets_it_when_the_payer_is_back(
    autojump_clock: MockClock,
) -> None:
    async with scene() as stage, stage.node(PAYEE) as payee:
        async with stage.node(PAYER) as payer:
            both = await connect(stage, payer, payee)
            await both.exchange(ONE, 100)

            def lose(write: Write) -> tuple[Fate, float]:
                return (Fate.LOSE if write.source == PAYER.peer_id else Fate.DELIVER), 0.0

            stage.network.fault = lose
            with trio.move_on_after(10):
                await both.receiving.close()
            assert (both.paying.phase, both.receiving.phase) == (Phase.CLOSED, Phase.CLOSING)
            stage.network.fault = None

        async with stage.node(PAYER):
            await stage.dial()
            await trio.sleep(20)

            assert both.receiving.phase is Phase.CLOSED


async def test_a_closed_channel_is_followed_by_another(autojump_clock: MockClock) -> None:
    async with pair() as both:
        await both.exchange(ONE, 100)
        await both.paying.close()

        again = await connect(both.scene, both.payer, both.payee)
        await again.exchange(TWO, 100)

        assert again.paying.channel != both.paying.channel
        assert again.paying.charged == 100


async def test_a_spent_channel_is_closed_and_followed_by_another(autojump_clock: MockClock) -> None:
    async with pair() as both:
        await both.exchange(ONE, CAPACITY - CAPACITY // 20 + 1)

        again = await connect(both.scene, both.payer, both.payee)
        await again.exchange(TWO, 100)
        await trio.sleep(10)

        assert both.paying.phase is both.receiving.phase is Phase.CLOSED
        assert again.paying.phase is Phase.OPEN


# ---------------------------------------------------------------- peers that break the rules


async def test_a_newer_stream_of_a_channel_ends_the_older_one(autojump_clock: MockClock) -> None:
    async with scene() as stage, stage.node(PAYEE), bare_stream(stage, PAYER, PAYEE) as older:
        await opened_by_hand(older)
        async with bare_stream(stage, PAYER, PAYEE) as newer:
            assert isinstance(await opened_by_hand(newer), ChannelAccepted)

            with trio.fail_after(5), pytest.raises(Unavailable):
                await older.receive()


async def opened_by_hand(
    stream: MessageStream, offer: ChannelOffer = OFFER, *, by: Identity = PAYER
) -> object:
    await stream.send(OpenChannel(sign(by, NETWORK, offer)))
    return await stream.receive()


async def test_a_newcomer_s_channel_costs_no_disk_and_is_soon_forgotten(autojump_clock: MockClock) -> None:
    async with scene() as stage, stage.node(PAYEE) as payee:
        async with bare_stream(stage, PAYER, PAYEE) as stream:
            assert isinstance(await opened_by_hand(stream), ChannelAccepted)
            account = payee.accounts.receiving(channel_of(OFFER).id, PAYER.peer_id)
            assert account.credit == GRANT
        await wait_all_tasks_blocked()

        # Back at once, it finds its account as it was.
        assert payee.accounts.payers() == (account,)
        await trio.sleep(2 * FORGET_SECONDS)
        assert payee.accounts.payers() == ()
        assert not payee.store.disk.channels


@pytest.mark.parametrize(
    "offer",
    [
        replace(OFFER, payee=PAYER.peer_id),
        replace(OFFER, payer=CHANNEL_KEY.peer_id),
        replace(OFFER, capacity=OFFER.capacity + 1),
        replace(OFFER, channel=bytes(32)),
    ],
)
async def test_an_offer_that_is_not_between_the_two_or_not_what_its_id_says_is_refused(
    autojump_clock: MockClock,
    offer: ChannelOffer,
) -> None:
    async with scene() as stage, stage.node(PAYEE) as payee, bare_stream(stage, PAYER, PAYEE) as stream:
        answer = await opened_by_hand(stream, offer)

        assert isinstance(answer, ChannelRefused)
        assert answer.reason is Reason.MALFORMED
        assert payee.accounts.payers() == ()


async def test_an_offer_that_another_signed_is_refused(autojump_clock: MockClock) -> None:
    async with scene() as stage, stage.node(PAYEE), bare_stream(stage, PAYER, PAYEE) as stream:
        assert isinstance(await opened_by_hand(stream, by=CHANNEL_KEY), ChannelRefused)


async def test_a_payer_cannot_open_channels_without_end(autojump_clock: MockClock) -> None:
    async with scene() as stage, stage.node(PAYEE), trio.open_nursery() as nursery:
        answers = list[object]()

        async def open_one(number: int) -> None:
            offer = replace(OFFER, salt=bytes([number]) * 16)
            offer = replace(offer, channel=id_of(offer))
            async with bare_stream(stage, PAYER, PAYEE) as stream:
                answers.append(await opened_by_hand(stream, offer))
                await trio.sleep(100)

        for number in range(CHANNELS_PER_PAYER_MAX + 1):
            nursery.start_soon(open_one, number)
        await trio.sleep(1)

        refused = [answer for answer in answers if isinstance(answer, ChannelRefused)]
        assert [refusal.reason for refusal in refused] == [Reason.RATE_LIMITED]
        assert len(answers) == CHANNELS_PER_PAYER_MAX + 1


def id_of(offer: ChannelOffer) -> bytes:
    return channel_id(
        NetworkId(offer.network),
        PeerId(offer.payer),
        PeerId(offer.payee),
        offer.channel_key,
        capacity=Nano(offer.capacity),
        close_delay_seconds=offer.close_delay_seconds,
        salt=offer.salt,
    )


@pytest.mark.parametrize("bad", [voucher(OFFER.capacity + 1), voucher(100, key=PAYER), voucher(100, epoch=2)])
async def test_a_bad_voucher_ends_the_stream_and_counts_nothing(
    autojump_clock: MockClock, bad: Voucher
) -> None:
    async with scene() as stage, stage.node(PAYEE) as payee, bare_stream(stage, PAYER, PAYEE) as stream:
        await opened_by_hand(stream)
        await stream.send(voucher(40), bad, voucher(60))

        answer = await stream.receive()

        assert isinstance(answer, ChannelRefused)
        assert "voucher rejected" in answer.detail
        assert await stream.receive() is None
        assert payee.accounts.receiving(channel_of(OFFER).id, PAYER.peer_id).vouchered() == 40


async def test_a_stream_that_does_not_begin_with_an_offer_is_reset(autojump_clock: MockClock) -> None:
    async with scene() as stage, stage.node(PAYEE), bare_stream(stage, PAYER, PAYEE) as stream:
        await stream.send(voucher(1))

        with pytest.raises(Unavailable):
            await stream.receive()


async def test_a_stream_that_stays_silent_is_reset(autojump_clock: MockClock) -> None:
    async with scene() as stage, stage.node(PAYEE), bare_stream(stage, PAYER, PAYEE) as stream:
        with trio.fail_after(60), pytest.raises(Unavailable):
            await stream.receive()


class Cheat:
    """A payee that signs whatever the test says."""

    def __init__(self, *states: ChannelState) -> None:
        self.states = states

    async def accept(self, stream: Stream) -> None:
        messages = MessageStream(stream)
        opening = await messages.receive()
        assert isinstance(opening, OpenChannel)
        channel = channel_of(check_own(ChannelOffer, opening.offer, network=NETWORK)).id

        def state_of(template: ChannelState) -> ChannelState:
            return replace(template, channel=channel)

        accepted = ChannelAccepted(channel, 0, signed(state_of(state(0, 0))))
        await messages.send(accepted, *(StateSigned(signed(state_of(one))) for one in self.states))
        while await messages.receive() is not None:
            pass


@pytest.mark.parametrize(
    ("states", "why"),
    [
        ([state(1, 5)], "charged more than we owe"),
        ([state(0, 5)], "two states with one number"),
        ([replace(state(0, 0), vouchered=3)], "two states with one number"),
    ],
)
async def test_a_payee_whose_states_do_not_fit_gets_no_more_and_the_papers_are_kept(
    autojump_clock: MockClock, states: list[ChannelState], why: str
) -> None:
    async with scene() as stage, stage.node(PAYER) as payer:
        payee = stage.network.transport(PAYEE)
        payee.accept_streams(CHANNEL, Cheat(*states).accept)
        await stage.dial()

        account = await payer.accounts.paying(PAYEE.peer_id, capacity=CAPACITY)
        await trio.sleep(1)
        await account.saved()

        assert account.phase is Phase.STOPPED
        (evidence,) = payer.store.disk.evidence
        assert why in evidence.reason
        assert evidence.papers
        with pytest.raises(Refused):
            await account.close()


async def test_a_dispute_of_ours_stops_payments_and_outlives_a_restart(autojump_clock: MockClock) -> None:
    async with scene() as stage, stage.node(PAYEE) as payee:
        async with stage.node(PAYER) as payer:
            both = await connect(stage, payer, payee)
            both.paying.hold(ONE, Nano(100))
            await both.paying.dispute("the answer hash differs", receipt(ONE, 100))

            with pytest.raises(Refused):
                both.paying.hold(ONE, Nano(200))

        async with stage.node(PAYER) as payer:
            await stage.dial()
            with pytest.raises(Refused, match="payments are stopped"):
                await payer.accounts.paying(PAYEE.peer_id, capacity=CAPACITY)
        assert [kept.reason for kept in stage.disks[PAYER.peer_id].evidence] == ["the answer hash differs"]


async def test_a_peer_that_speaks_no_channel_protocol_is_unavailable(autojump_clock: MockClock) -> None:
    async with scene() as stage, stage.node(PAYER) as payer:
        stage.network.transport(PAYEE)
        await stage.dial()

        with pytest.raises(Unavailable):
            await payer.accounts.paying(PAYEE.peer_id, capacity=CAPACITY)
