"""Accounts with a contract behind them: over the network, on disk, and against the contract itself."""

from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from cocoon_p2p.errors import RecordRejected, Refused, RemoteProtocolError, Unavailable
from cocoon_p2p.identity import Identity
from cocoon_p2p.ledger import audit
from cocoon_p2p.payments import contract, payee_stream, payer_stream
from cocoon_p2p.payments.books import restore_payee, restore_payer
from cocoon_p2p.payments.channel import Phase, channel_of, contract_salt, make_backed_offer
from cocoon_p2p.payments.close_terms import sign_close_terms
from cocoon_p2p.payments.contract import Deployment
from cocoon_p2p.payments.devchain import LOCAL_GLOBAL_ID
from cocoon_p2p.payments.events import Disputed, TermsLapsed
from cocoon_p2p.payments.looking import LOOK_SECONDS
from cocoon_p2p.payments.opening import CLOSE_DELAY_SECONDS_ACCEPTED
from cocoon_p2p.protocols.ids import CHANNEL, Reason
from cocoon_p2p.protocols.messages import (
    ChannelAccepted,
    ChannelId,
    ChannelOffer,
    ChannelRefused,
    CloseTerms,
    CloseWanted,
    Deposit,
    DepositSeen,
    Funded,
    OpenChannel,
    Payout,
    PayoutWanted,
)
from cocoon_p2p.protocols.papers import sign
from cocoon_p2p.units import Nano
from tests.payments.contract.scene import ATTACHED, DELAY
from tests.payments.parties import (
    BACKED_OFFER,
    CHANNEL_KEY,
    DEPLOYMENT,
    NETWORK,
    ONE,
    PAYEE,
    PAYER,
    TWO,
    WALLETS,
)
from tests.payments.scene import CAPACITY, Scene, bare_stream, connect, scene
from tests.payments.till import DEPOSIT, Stand, Till, stand, tills

LOCAL = replace(DEPLOYMENT, global_id=LOCAL_GLOBAL_ID, close_delay_seconds=DELAY)
STRANGER = Identity.from_seed(b"\x09" * 32)


def offer(deployment: Deployment = LOCAL, payer: Identity = PAYER) -> ChannelOffer:
    return make_backed_offer(NETWORK, payer.peer_id, PAYEE.peer_id, deployment)


async def answer_to(stage: Scene, opening: object, payer: Identity = PAYER) -> object:
    async with bare_stream(stage, payer, PAYEE) as stream:
        await stream.send(opening)
        return await stream.receive()


def opening(proposed: ChannelOffer, payer: Identity = PAYER) -> OpenChannel:
    return OpenChannel(sign(payer, NETWORK, proposed))


def faults(both: Stand) -> tuple[str, ...]:
    disks = both.scene.disks.values()
    return tuple(fault for disk in disks for fault in audit(disk.channels.values(), disk.lines.values()))


# ---------------------------------------------------------------- opening


async def test_a_channel_is_offered_where_the_payee_wants_to_be_paid(autojump_clock: MockClock) -> None:
    async with stand(is_funded=False) as both:
        deployment = both.paying.deployment
        assert deployment is not None
        assert (deployment.payer, deployment.payee) == WALLETS
        assert both.receiving.deployment == deployment
        assert both.paying.capacity == both.receiving.capacity == 0


async def test_the_longer_close_delay_of_the_two_is_taken(autojump_clock: MockClock) -> None:
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(scene())
        for_payer, for_payee = tills(stage)
        for_payee.close_delay_seconds = DELAY + 1
        payer = await stack.enter_async_context(stage.node(PAYER, bank=for_payer))
        payee = await stack.enter_async_context(stage.node(PAYEE, bank=for_payee))
        both = await connect(stage, payer, payee)

        assert both.paying.deployment is not None
        assert both.paying.deployment.close_delay_seconds == DELAY + 1


async def refusal(stage: Scene, for_payer: Till | None, for_payee: Till | None) -> Refused:
    async with stage.node(PAYER, bank=for_payer) as payer, stage.node(PAYEE, bank=for_payee):
        await stage.dial()
        with pytest.raises(Refused) as caught:
            await payer.accounts.paying(PAYEE.peer_id, capacity=CAPACITY)
        assert payer.accounts.payees() == () or for_payer is None
        return caught.value


async def test_a_payee_is_not_paid_where_it_has_no_bank(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        assert (await refusal(stage, tills(stage)[0], None)).code == Reason.WRONG_NETWORK.code


async def test_a_payee_with_a_bank_takes_no_channel_without_a_contract(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        assert (await refusal(stage, None, tills(stage)[1])).code == Reason.WRONG_NETWORK.code


async def test_a_payee_on_another_chain_is_not_paid(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        for_payer, for_payee = tills(stage)
        for_payee.global_id = -3
        assert (await refusal(stage, for_payer, for_payee)).code == Reason.WRONG_NETWORK.code


async def test_a_payee_that_is_paid_nowhere_is_not_paid(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        for_payer, for_payee = tills(stage)
        for_payee.payout = None
        assert (await refusal(stage, for_payer, for_payee)).code == Reason.WRONG_NETWORK.code


async def test_without_a_wallet_nobody_is_paid(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        for_payer, for_payee = tills(stage)
        for_payer.wallet = None
        assert (await refusal(stage, for_payer, for_payee)).code == Reason.NO_CREDIT.code


async def test_a_payee_cannot_ask_to_lock_a_deposit_up_for_months(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        for_payer, for_payee = tills(stage)
        for_payee.close_delay_seconds = CLOSE_DELAY_SECONDS_ACCEPTED + 1
        assert (await refusal(stage, for_payer, for_payee)).code == Reason.DEADLINE.code


async def test_a_payee_that_answers_nothing_is_unavailable(autojump_clock: MockClock) -> None:
    async with scene() as stage, stage.node(PAYER, bank=tills(stage)[0]) as payer:
        stage.network.transport(PAYEE).accept_streams(CHANNEL, lambda _stream: trio.sleep_forever())
        await stage.dial()

        with pytest.raises(Unavailable):
            await payer.accounts.paying(PAYEE.peer_id, capacity=CAPACITY)


@pytest.mark.parametrize("number", [LOCAL_GLOBAL_ID % 2**32, 0])
async def test_anybody_may_ask_where_a_payee_is_paid(number: int, autojump_clock: MockClock) -> None:
    async with scene() as stage, stage.node(PAYEE, bank=tills(stage)[1]):
        answer = await answer_to(stage, PayoutWanted(number), STRANGER)

        if number:
            assert answer == Payout(WALLETS[1], LOCAL.payee_key, DELAY)
        else:
            assert isinstance(answer, ChannelRefused)


async def test_an_offer_that_pays_as_asked_is_taken(autojump_clock: MockClock) -> None:
    async with scene() as stage, stage.node(PAYEE, bank=tills(stage)[1]):
        assert isinstance(await answer_to(stage, opening(offer())), ChannelAccepted)


@pytest.mark.parametrize(
    "bad",
    [
        offer(replace(LOCAL, payee=WALLETS[0])),
        offer(replace(LOCAL, payee_key=CHANNEL_KEY.public_key)),
        offer(replace(LOCAL, close_delay_seconds=DELAY - 1)),
        offer(replace(LOCAL, global_id=-239)),
        offer(replace(LOCAL, salt=bytes(16))),
        replace(offer(), channel=bytes(32)),
        replace(offer(), capacity=Nano(5)),
        replace(offer(), contract=None),
    ],
    ids=["wallet", "key", "delay", "chain", "salt", "id", "both", "neither"],
)
async def test_an_offer_that_does_not_pay_us_is_refused(bad: ChannelOffer, autojump_clock: MockClock) -> None:
    async with scene() as stage, stage.node(PAYEE, bank=tills(stage)[1]) as payee:
        assert isinstance(await answer_to(stage, opening(bad)), ChannelRefused)
        assert payee.accounts.payers() == ()


async def test_nobody_can_offer_another_s_contract_as_its_own(autojump_clock: MockClock) -> None:
    # All of a contract's terms can be read off the chain.
    async with scene() as stage, stage.node(PAYEE, bank=tills(stage)[1]) as payee:
        assert isinstance(await answer_to(stage, opening(offer())), ChannelAccepted)

        stolen = opening(offer(payer=STRANGER), STRANGER)
        assert isinstance(await answer_to(stage, stolen, STRANGER), ChannelRefused)
        assert [account.payer for account in payee.accounts.payers()] == [PAYER.peer_id]


def test_a_contract_s_address_names_both_peers() -> None:
    for one, other in ((PAYER, STRANGER), (STRANGER, PAYEE)):
        salt = contract_salt(NETWORK, one.peer_id, other.peer_id, CHANNEL_KEY.public_key)
        assert salt != DEPLOYMENT.salt
    with pytest.raises(RecordRejected, match="made for others"):
        channel_of(replace(BACKED_OFFER, payer=STRANGER.peer_id))


# ---------------------------------------------------------------- deposits


async def test_a_deposit_counts_once_both_have_seen_it(autojump_clock: MockClock) -> None:
    async with stand(is_funded=False) as both:
        both.contract.deploy(DEPOSIT)
        both.look(both.paying)
        assert both.paying.capacity == 0

        both.look(both.receiving)
        await wait_all_tasks_blocked()

        assert both.paying.capacity == both.receiving.capacity > 0
        both.paying.hold(ONE, both.paying.room)
        await wait_all_tasks_blocked()
        assert both.receiving.vouchered() == both.paying.capacity


async def test_a_payer_s_word_makes_the_payee_look_but_not_without_end(autojump_clock: MockClock) -> None:
    async with stand(is_funded=False) as both:
        bank = both.receiving._party.bank
        assert isinstance(bank, Till)

        for _ in range(100):
            both.paying.send(Funded(both.paying.channel))
        await trio.sleep(1)
        assert len(bank.looks) == 1

        # None is lost: what came meanwhile is one more look.
        both.paying.send(Funded(both.paying.channel))
        await trio.sleep(LOOK_SECONDS)
        assert len(bank.looks) == 2


async def test_a_payee_with_an_old_ledger_is_told_of_the_deposit_before_the_voucher(
    autojump_clock: MockClock,
) -> None:
    async with stand() as both:
        both.paying.hold(ONE, Nano(500))
        await wait_all_tasks_blocked()
        both.scene.network.crash(PAYEE.peer_id)
        both.scene.disks[PAYEE.peer_id].channels.clear()
        both.scene.disks[PAYEE.peer_id].lines.clear()
        bank = tills(both.scene)[1]
        async with both.scene.node(PAYEE, bank=bank) as payee:
            await both.scene.dial()
            await both.paying.ready()
            await wait_all_tasks_blocked()
            back = payee.accounts.receiving(both.paying.channel, PAYER.peer_id)
            assert (bank.looks, back.vouchered()) == ([back.channel], 0)

            both.look(back)
            await wait_all_tasks_blocked()

            assert back.vouchered() == 500


async def test_words_about_another_channel_break_the_protocol(autojump_clock: MockClock) -> None:
    async with stand() as both:
        other = ChannelId(bytes(32))

        with pytest.raises(RemoteProtocolError):
            payer_stream.hear(both.paying, both.paying._party, DepositSeen(other, Deposit(0, 1)))
        with pytest.raises(RemoteProtocolError):
            await payee_stream.hear(both.receiving, both.receiving._party, Funded(other))


# ---------------------------------------------------------------- closing


async def close(both: Stand) -> None:
    with trio.fail_after(60):
        await both.paying.close()
        await wait_all_tasks_blocked()


@pytest.mark.parametrize("is_payers", [True, False])
async def test_what_both_have_signed_closes_the_contract(is_payers: bool, autojump_clock: MockClock) -> None:
    async with stand() as both:
        await both.exchange(ONE, 700_000)
        await wait_all_tasks_blocked()

        await close(both)

        assert both.paying.phase is both.receiving.phase is Phase.CLOSED
        assert not both.receiving.backing.is_settled
        body = (both.paying if is_payers else both.receiving).close_body()
        assert body is not None
        step = both.contract.tell(ATTACHED, body)
        assert step.done
        assert step.to(WALLETS[1]) == 700_000
        both.settle(700_000)
        await trio.sleep(1)
        assert faults(both) == ()
        assert both.payee.wallet() == 700_000


async def test_what_was_claimed_before_is_not_paid_again(autojump_clock: MockClock) -> None:
    async with stand() as both:
        await both.exchange(ONE, 700_000)
        both.paying.hold(TWO, Nano(100_000))
        await wait_all_tasks_blocked()
        voucher = both.receiving.voucher()
        assert voucher is not None
        assert both.contract.claim(voucher.total, voucher.signature).done
        both.paying.release(TWO)
        both.look()

        await close(both)

        body = both.receiving.close_body()
        assert body is not None
        assert both.contract.tell(ATTACHED, body).to(WALLETS[1]) == 0
        both.settle(800_000)
        assert faults(both) == ()
        assert both.payee.wallet() == 800_000


@pytest.mark.parametrize("signature", [None, bytes(64), "another total"], ids=["none", "wrong", "other"])
async def test_terms_that_the_contract_would_not_take_close_nothing(
    signature: bytes | str | None, autojump_clock: MockClock
) -> None:
    async with stand() as both:
        both.scene.network.crash(PAYER.peer_id)
        terms = CloseTerms(both.paying.channel, both.seen().epoch, 0, int(both.scene.now) + 100)
        if isinstance(signature, str):
            seed = both.paying._page.row.seed
            assert seed is not None
            secret = Identity.from_seed(seed).secret_key
            signature = sign_close_terms(secret, replace(terms, total=1))
        wanted = CloseWanted(sign(PAYER, NETWORK, terms), signature)
        both.scene.network.transport(PAYER)
        async with bare_stream(both.scene, PAYER, PAYEE) as stream:
            await stream.send(opening(channel_offer(both)), wanted)
            heard = await stream.receive()
            if isinstance(heard, ChannelAccepted):
                heard = await stream.receive()

        assert isinstance(heard, ChannelRefused)
        assert heard.reason is Reason.MALFORMED
        assert both.receiving.phase is Phase.OPEN


def channel_offer(both: Stand) -> ChannelOffer:
    deployment = both.paying.deployment
    assert deployment is not None
    return offer(deployment)


async def test_terms_that_lapsed_are_followed_by_others(autojump_clock: MockClock) -> None:
    async with stand() as both:
        await both.exchange(ONE, 700_000)
        await close(both)
        both.scene.now += DELAY
        both.contract.chain.now += DELAY

        # One side notices first; the other still holds the channel closed.
        both.paying.apply(TermsLapsed(both.scene.now))
        await trio.sleep(60)
        assert both.paying.phase is Phase.DRAINING
        assert both.receiving.phase is Phase.CLOSED
        both.receiving.apply(TermsLapsed(both.scene.now))
        await trio.sleep(60)

        assert both.paying.phase is both.receiving.phase is Phase.CLOSED
        body = both.receiving.close_body()
        assert body is not None
        assert both.contract.tell(ATTACHED, body).to(WALLETS[1]) == 700_000


async def test_a_payee_waits_for_a_payer_whose_terms_have_not_lapsed_yet(autojump_clock: MockClock) -> None:
    async with stand() as both:
        await both.exchange(ONE, 700_000)
        await close(both)
        both.scene.now += DELAY

        both.receiving.apply(TermsLapsed(both.scene.now))
        await trio.sleep(60)
        both.paying.apply(TermsLapsed(both.scene.now))
        await trio.sleep(60)

        assert both.paying.phase is both.receiving.phase is Phase.CLOSED


async def test_a_payee_that_signed_terms_does_not_forget_that_it_did(autojump_clock: MockClock) -> None:
    # The payer would offer the channel again, have us work, and then hand the terms in.
    async with stand() as both:
        await close(both)
        both.scene.cut()
        await trio.sleep(2 * 3600)

        with pytest.raises(Refused):
            both.payee.accounts.receiving(both.paying.channel, PAYER.peer_id)
        answer = await answer_again(both)

        assert not isinstance(answer, ChannelAccepted)


async def answer_again(both: Stand) -> object:
    both.scene.network.crash(PAYER.peer_id)
    both.scene.network.transport(PAYER)
    return await answer_to(both.scene, opening(channel_offer(both)))


async def test_a_channel_that_was_never_funded_is_closed_by_word(autojump_clock: MockClock) -> None:
    async with stand(is_funded=False) as both:
        await close(both)

        assert both.paying.backing.is_settled
        assert both.receiving.backing.is_settled
        assert faults(both) == ()


async def test_a_grant_is_for_all_channels_of_a_payer_together(autojump_clock: MockClock) -> None:
    async with stand(grant=Nano(100), is_funded=False) as both:
        await both.exchange(ONE, 80)
        await close(both)
        assert both.receiving.backing.is_settled

        # Nothing stood behind the 80, so nothing was paid: they are still owed.
        again = await connect(both.scene, both.payer, both.payee)

        assert again.paying.channel != both.paying.channel
        assert again.receiving.grant == again.paying.grant == 20
        await again.exchange(TWO, 20)
        both.scene.network.crash(PAYEE.peer_id)
        async with both.scene.node(PAYEE, grant=Nano(100), bank=tills(both.scene)[1]) as payee:
            grants = {account.channel: account.grant for account in payee.accounts.payers()}
            assert grants == {both.paying.channel: 80, again.paying.channel: 20}


async def test_who_was_stopped_stays_unpaid_when_the_contract_is_gone(autojump_clock: MockClock) -> None:
    async with stand() as both:
        both.paying.apply(Disputed("tried", ()))
        assert both.contract.start_close(WALLETS[0]).done
        both.contract.chain.now += DELAY
        assert both.contract.finish_close().done
        both.settle(0)
        await wait_all_tasks_blocked()

        with pytest.raises(Refused, match="stopped"):
            await both.payer.accounts.paying(PAYEE.peer_id, capacity=CAPACITY)
        both.scene.network.crash(PAYER.peer_id)
        async with both.scene.node(PAYER, bank=tills(both.scene)[0]) as payer:
            with pytest.raises(Refused, match="stopped"):
                await payer.accounts.paying(PAYEE.peer_id, capacity=CAPACITY)
        assert faults(both) == ()


# ---------------------------------------------------------------- what is on disk


async def assert_restored(both: Stand) -> None:
    """Compare both machines with what their ledgers make of them."""
    payer, payee = both.paying._payer, both.receiving._payee
    unsettled = await both.payer.store.unsettled()
    assert restore_payer(both.payer.store.disk.channels[both.paying._page.name], unsettled) == replace(
        payer, taken=None, grant=Nano(0)
    )
    assert restore_payee(both.payee.store.disk.channels[both.receiving._page.name], payee.grant) == payee


async def test_a_restart_finds_everything_at_each_step(autojump_clock: MockClock) -> None:
    async with stand() as both:
        await settled_on_disk(both)
        await both.exchange(ONE, 700_000)
        await settled_on_disk(both)
        voucher = both.receiving.voucher()
        assert voucher is not None
        both.contract.claim(voucher.total, voucher.signature)
        both.look()
        await settled_on_disk(both)
        await both.fund()
        await settled_on_disk(both)
        await close(both)
        await settled_on_disk(both)
        both.paying.apply(TermsLapsed(both.scene.now + DELAY))
        both.receiving.apply(TermsLapsed(both.scene.now + DELAY))
        await settled_on_disk(both)
        body = contract.start_close()
        assert both.contract.tell(ATTACHED, body, WALLETS[0]).done
        both.look()
        await settled_on_disk(both)
        both.contract.chain.now += DELAY
        assert both.contract.finish_close().done
        both.settle(700_000)
        await settled_on_disk(both)


async def test_a_deposit_that_comes_after_a_close_by_word_is_on_disk(autojump_clock: MockClock) -> None:
    async with stand(grant=Nano(100), is_funded=False) as both:
        await both.exchange(ONE, 80)
        await close(both)
        await settled_on_disk(both)

        await both.fund()

        assert both.paying.backing == both.seen()
        await settled_on_disk(both)


async def settled_on_disk(both: Stand) -> None:
    await wait_all_tasks_blocked()
    await both.paying.saved()
    await both.payee.store.submit().wait()
    await assert_restored(both)
    assert faults(both) == ()


async def test_a_close_goes_on_after_both_were_started_again(autojump_clock: MockClock) -> None:
    async with stand() as both:
        await both.exchange(ONE, 700_000)
        await close(both)
        for identity in (PAYER, PAYEE):
            both.scene.network.crash(identity.peer_id)
        for_payer, for_payee = tills(both.scene)
        async with (
            both.scene.node(PAYER, bank=for_payer) as payer,
            both.scene.node(PAYEE, bank=for_payee) as payee,
        ):
            bodies = [
                account.close_body() for account in (*payer.accounts.payees(), *payee.accounts.payers())
            ]

        assert len(bodies) == 2
        assert bodies[0] == bodies[1] is not None
        assert both.contract.tell(ATTACHED, bodies[0]).done
