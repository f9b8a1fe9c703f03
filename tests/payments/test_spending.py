"""Whatever happens between signing and landing, a payment is made once or never, and it is known which."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
import trio
import trio.testing

from cocoon_p2p.errors import (
    ConfigurationError,
    LocalProtocolError,
    MalformedMessage,
    Refused,
    Unavailable,
)
from cocoon_p2p.payments.boc import read_one, write_boc
from cocoon_p2p.payments.cells import Builder
from cocoon_p2p.payments.chain import AccountSeen, MessageRefused
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain import DevChain, MessageRejected
from cocoon_p2p.payments.wallet import Transfer, Wallet, WalletKey, comment, sign_request
from cocoon_p2p.payments.wallet.journal import NotPaid, Paid
from cocoon_p2p.payments.wallet.landing import EXPIRY_MARGIN_SECONDS
from cocoon_p2p.payments.wallet.spending import (
    RESERVE,
    SIGNED_MAX,
    VALID_SECONDS,
    OutcomeUnknown,
    PaymentLeftOut,
    Purse,
    fees_allowed,
)
from cocoon_p2p.testing.chain import LocalChain
from cocoon_p2p.units import NANO_MAX, NANO_PER_TON, Nano
from tests.payments.wallets import (
    KEY,
    OTHER,
    STRANGER,
    Crash,
    Fuse,
    FusedChain,
    FusedJournal,
    MemoryJournal,
    balance,
    begun,
    crash,
    received,
)

ONE = (Transfer(STRANGER, Nano(NANO_PER_TON)),)
SEVEN = 7


@dataclass
class Scene:
    """A wallet with 10 TON, its journal, and a chain whose time runs with trio's."""

    devchain: DevChain
    chain: LocalChain
    wallet: Wallet
    journal: MemoryJournal

    def purse(self, key: WalletKey = KEY) -> Purse:
        """Begin anew with what is on disk, as a process does."""
        return Purse(self.chain, key, self.journal)

    @property
    def received(self) -> int:
        return received(self.devchain, self.wallet.account, STRANGER)


@asynccontextmanager
async def scene(given: int = 10 * NANO_PER_TON) -> AsyncIterator[Scene]:
    devchain, chain, wallet = begun(given=given)

    async def run_time() -> None:
        while True:
            await trio.sleep(1)
            devchain.now += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_time)
        yield Scene(devchain, chain, wallet, MemoryJournal())
        nursery.cancel_scope.cancel()


# ---------------------------------------------------------------- paying


async def test_a_payment_is_made_and_what_it_cost_is_told(autojump_clock: trio.testing.MockClock) -> None:
    async with scene() as at:
        paid = await at.purse().spend(SEVEN, ONE)

        assert at.received == NANO_PER_TON
        assert balance(at.devchain, at.wallet.account) == 9 * NANO_PER_TON - paid.transaction.fees
        assert at.journal.ends == {SEVEN: paid}
        assert at.journal.kept is None


async def test_payments_asked_for_at_once_are_made_one_after_the_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with scene() as at:
        purse = at.purse()
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(purse.spend, number, ONE)

        assert at.received == 5 * NANO_PER_TON
        assert all(isinstance(end, Paid) for end in at.journal.ends.values())
        assert at.journal.saves == 5


async def test_who_gets_all_there_is_leaves_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with scene() as at:
        paid = await at.purse().spend(SEVEN, [Transfer(STRANGER, None)])

        assert balance(at.devchain, at.wallet.account) == 0
        assert at.received == paid.transaction.sent[0].amount > 9 * NANO_PER_TON
        assert not paid.left_out


@pytest.mark.parametrize(
    ("transfers", "error"),
    [
        ([], ConfigurationError),
        ([Transfer(STRANGER, Nano(0))], ConfigurationError),
        ([Transfer(STRANGER, Nano(-1))], ConfigurationError),
        ([Transfer(STRANGER, Nano(NANO_MAX + 1))], ConfigurationError),
        ([Transfer(STRANGER, Nano(NANO_MAX))], Refused),
        ([Transfer(STRANGER, Nano(10 * NANO_PER_TON))], Refused),
        ([Transfer(STRANGER, Nano(6 * NANO_PER_TON))] * 2, Refused),
    ],
)
async def test_what_cannot_be_paid_is_refused_before_anything_is_signed(
    transfers: list[Transfer], error: type[Exception]
) -> None:
    async with scene() as at:
        with pytest.raises(error):
            await at.purse().spend(SEVEN, transfers)

        assert at.journal.saves == 0
        assert at.chain.sent == []


async def test_the_reserve_is_kept_and_who_lacks_is_told_how_much() -> None:
    payment = Nano(NANO_PER_TON)
    least = NANO_PER_TON + RESERVE + fees_allowed(ONE)
    async with scene(given=least - 2_000) as at:
        with pytest.raises(Refused, match="too little") as caught:
            await at.purse().spend(SEVEN, [Transfer(STRANGER, payment)])

    assert caught.value.code == "balance-too-low"
    assert at.wallet.address_text() in caught.value.hint


async def test_an_empty_wallet_cannot_even_give_all_it_has() -> None:
    async with scene(given=0) as at:
        with pytest.raises(Refused, match="too little"):
            await at.purse().spend(SEVEN, [Transfer(STRANGER, None)])


@pytest.mark.parametrize("count", [1, 255])
@pytest.mark.parametrize("said", [0, 900])
async def test_what_is_set_aside_for_fees_is_more_than_they_are(
    autojump_clock: trio.testing.MockClock, count: int, said: int
) -> None:
    text = comment("x" * said) if said else None
    transfers = [
        Transfer(AccountId(number.to_bytes(32)), Nano(1000), body=text) for number in range(1, count + 1)
    ]
    async with scene() as at:
        first = await at.purse().spend(1, transfers)
        second = await at.purse().spend(2, transfers)

    for paid in (first, second):
        assert paid.transaction.fees < fees_allowed(transfers)
        assert not paid.left_out


# ---------------------------------------------------------------- stopped at any moment

Stop = Callable[[trio.CancelScope], Callable[[], None]]
STOPS: dict[str, Stop] = {"killed": lambda scope: crash, "cancelled": lambda scope: scope.cancel}


async def _stopped(at: Scene, stop_at: int, stop: Stop, transfers: Sequence[Transfer] = ONE) -> bool:
    """Spend, and be stopped at a moment. Says whether it came to that."""
    with trio.CancelScope() as scope:
        fuse = Fuse(stop_at, stop(scope))
        purse = Purse(FusedChain(at.chain, fuse), KEY, FusedJournal(at.journal, fuse))
        try:
            await purse.spend(SEVEN, transfers)
        except Crash:
            return True
    return fuse.has_blown


@pytest.mark.slow
@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
@pytest.mark.parametrize("loses", [False, True], ids=["carried out", "lost"])
async def test_stopped_at_any_moment_it_is_paid_once_or_never_and_the_next_start_knows(
    autojump_clock: trio.testing.MockClock, stop: Stop, loses: bool
) -> None:
    moments = ends = 0
    for stop_at in range(1, 40):
        async with scene() as at:
            at.chain.loses_messages = loses
            if not await _stopped(at, stop_at, stop):
                break
            moments += 1
            end = await at.purse().settle() or at.journal.ends.get(SEVEN)

            assert at.received == (NANO_PER_TON if isinstance(end, Paid) else 0)
            assert at.journal.kept is None
            assert end is None or at.journal.ends[SEVEN] == end
            ends += end is not None
            # What was signed before is worth nothing any more.
            for message in at.chain.sent:
                with pytest.raises(MessageRejected):
                    at.devchain.send(message)

    assert moments >= 10
    assert ends >= 5


@pytest.mark.slow
@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
async def test_stopped_at_any_moment_and_asked_again_under_its_number_it_is_paid_once(
    autojump_clock: trio.testing.MockClock, stop: Stop
) -> None:
    moments = 0
    for stop_at in range(1, 40):
        async with scene() as at:
            if not await _stopped(at, stop_at, stop):
                break
            if SEVEN not in at.journal.ends:
                moments += 1
                await at.purse().spend(SEVEN, ONE)

            assert at.received == NANO_PER_TON

    assert moments >= 10


async def test_a_number_is_not_for_two_different_payments(autojump_clock: trio.testing.MockClock) -> None:
    async with scene() as at:
        assert await _stopped(at, 8, STOPS["killed"])
        assert at.journal.kept is not None

        with pytest.raises(LocalProtocolError, match="one number"):
            await at.purse().spend(SEVEN, [Transfer(OTHER, Nano(5))])
        await at.purse().spend(SEVEN + 1, ONE)

        assert at.received == 2 * NANO_PER_TON


async def test_another_wallets_journal_is_not_touched(autojump_clock: trio.testing.MockClock) -> None:
    async with scene() as at:
        assert await _stopped(at, 8, STOPS["killed"])
        kept = at.journal.kept

        with pytest.raises(ConfigurationError, match="another wallet"):
            await at.purse(WalletKey.from_seed(b"O" * 32)).settle()

        assert at.journal.kept == kept is not None


# ---------------------------------------------------------------- networks that lose, hold back, lie


class Door(LocalChain):
    """A chain whose door does something else with messages."""

    def __init__(self, at: Scene, treat: Callable[["Door", bytes], None]) -> None:
        super().__init__(at.devchain)
        self._treat = treat
        self.held: list[bytes] = []

    async def send(self, message: bytes) -> None:
        await self._reached()
        self._treat(self, message)


async def test_a_message_that_is_lost_is_signed_anew_when_its_time_is_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with scene() as at:
        at.chain.loses_messages = True

        async def find_again() -> None:
            await trio.sleep(VALID_SECONDS + EXPIRY_MARGIN_SECONDS + 10)
            at.chain.loses_messages = False

        async with trio.open_nursery() as nursery:
            nursery.start_soon(find_again)
            await at.purse().spend(SEVEN, ONE)

        assert at.received == NANO_PER_TON
        assert at.journal.saves == 2
        first = at.chain.sent[0]
        with pytest.raises(MessageRejected):
            at.devchain.send(first)


async def test_a_refusal_after_the_message_was_taken_once_does_not_end_the_payment(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def lose_then_refuse(door: Door, message: bytes) -> None:
        door.held.append(message)
        if message != door.held[0]:
            door.chain.send(message)
        elif len(door.held) > 1:
            raise MessageRefused("it has expired", exit_code=136)

    async with scene() as at:
        await Purse(Door(at, lose_then_refuse), KEY, at.journal).spend(SEVEN, ONE)

        assert at.received == NANO_PER_TON
        assert at.journal.saves == 2


class Hasty(Door):
    """A chain that makes its blocks look much later than they are, until something was signed anew."""

    def __init__(self, at: Scene) -> None:
        super().__init__(at, let_the_first_through)
        self._journal = at.journal

    async def account(self, account: AccountId) -> AccountSeen:
        seen = await super().account(account)
        is_hasty = self.held and self._journal.saves == 1
        return replace(seen, at=seen.at + 1000) if is_hasty else seen


def let_the_first_through(door: Door, message: bytes) -> None:
    door.held.append(message)
    if message != door.held[0]:
        door.chain.send(door.held[0])


@pytest.mark.parametrize("is_interrupted", [False, True])
async def test_even_a_request_that_was_taken_for_void_too_early_counts_when_it_lands(
    autojump_clock: trio.testing.MockClock, is_interrupted: bool
) -> None:
    async with scene() as at:
        door = Hasty(at)
        if is_interrupted:
            with pytest.raises(Crash):
                fuse = Fuse(10, crash)
                await Purse(FusedChain(door, fuse), KEY, FusedJournal(at.journal, fuse)).spend(SEVEN, ONE)
            assert len(door.held) == 1
        await Purse(door, KEY, at.journal).spend(SEVEN, ONE)

        assert at.journal.saves == 2
        assert at.received == NANO_PER_TON


async def test_a_network_that_loses_everything_is_given_up_and_nothing_is_paid(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with scene() as at:
        at.chain.loses_messages = True

        with pytest.raises(Unavailable, match="nothing was paid") as caught:
            await at.purse().spend(SEVEN, ONE)
        at.chain.loses_messages = False
        at.devchain.now += 1

        assert not isinstance(caught.value, OutcomeUnknown)
        assert at.journal.ends == {SEVEN: NotPaid(SEVEN)}
        assert at.journal.saves == SIGNED_MAX
        assert len(set(at.chain.sent)) == SIGNED_MAX


async def test_a_message_that_is_held_back_and_let_go_late_is_paid_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with scene() as at:
        door = Door(at, lambda door, message: door.held.append(message))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Purse(door, KEY, at.journal).spend, SEVEN, ONE)
            await trio.sleep(VALID_SECONDS - 10)
            for number, message in enumerate(door.held):
                if number == 0:
                    at.devchain.send(message)
                else:
                    with pytest.raises(MessageRejected):
                        at.devchain.send(message)

        assert at.received == NANO_PER_TON
        assert isinstance(at.journal.ends[SEVEN], Paid)


def _in_another_envelope(door: Door, message: bytes) -> None:
    root = read_one(message)
    account = Wallet(KEY.public_key, door.global_id).account
    envelope = Builder().uint(0b1000, 4).uint(0b100, 3).sint(0, 8).octets(account).coins(5)
    # Ours says that a StateInit follows; so must this, but it may bring it in another way.
    *state, body = root.references
    if state:
        envelope.uint(0b10, 2).root_of(state[0]).uint(1, 1).reference(body)
    else:
        envelope.uint(0, 1).uint(1, 1).reference(body)
    door.chain.send(write_boc(envelope.cell()))


async def test_a_request_that_somebody_put_into_another_envelope_is_not_paid_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with scene() as at:
        purse = Purse(Door(at, _in_another_envelope), KEY, at.journal)

        for number in (1, 2):
            paid = await purse.spend(number, ONE)
            assert at.received == number * NANO_PER_TON
            assert at.journal.saves == number
            assert paid.transaction.message_hash is not None


async def test_a_message_that_nobody_takes_is_refused_with_the_reason_when_its_time_is_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def refuse(door: Door, message: bytes) -> None:
        raise MessageRefused("not today", exit_code=99)

    async with scene() as at:
        with pytest.raises(MessageRefused, match="not today"):
            await Purse(Door(at, refuse), KEY, at.journal).spend(SEVEN, ONE)

        assert at.journal.ends == {SEVEN: NotPaid(SEVEN)}
        assert at.journal.saves == 1


async def test_a_chain_that_falls_silent_leaves_the_payment_pending_and_the_next_start_settles_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for attribute in ("is_down", "is_silent"):
        async with scene() as at:

            def take_and_fall(door: Door, message: bytes, attribute: str = attribute) -> None:
                door.chain.send(message)
                setattr(door, attribute, True)

            door = Door(at, take_and_fall)
            with pytest.raises(OutcomeUnknown, match="cannot be told") as caught:
                await Purse(door, KEY, at.journal).spend(SEVEN, ONE)
            assert caught.value.hint
            assert at.journal.kept is not None

            end = await at.purse().settle()

            assert isinstance(end, Paid)
            assert at.received == NANO_PER_TON


async def test_a_chain_that_forgot_what_took_the_seqno_is_not_believed_either_way(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with scene() as at:
        assert await _stopped(at, 10, STOPS["killed"])
        assert at.received == NANO_PER_TON
        at.devchain.make_block()
        at.devchain.history._transactions.clear()

        with pytest.raises(OutcomeUnknown, match="do not remember"):
            await at.purse().settle()

        assert at.journal.kept is not None


# ---------------------------------------------------------------- another with the same key


def _pay_elsewhere(at: Scene, amount: int, seqno: int) -> None:
    """Have another process pay from the same wallet."""
    signed = sign_request(
        KEY,
        at.wallet,
        [Transfer(OTHER, Nano(amount))],
        seqno=seqno,
        valid_until=at.devchain.now + 60,
        deploy=seqno == 0,
    )
    at.devchain.send(signed.message)


async def test_where_another_took_the_seqno_the_next_one_is_used(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with scene() as at:

        def be_late(door: Door, message: bytes) -> None:
            if not door.held:
                door.held.append(message)
                _pay_elsewhere(at, NANO_PER_TON, 0)
            try:
                door.chain.send(message)
            except MessageRejected as exc:
                raise MessageRefused("late", exit_code=exc.exit_code) from exc

        await Purse(Door(at, be_late), KEY, at.journal).spend(SEVEN, ONE)

        assert at.received == received(at.devchain, at.wallet.account, OTHER) == NANO_PER_TON
        assert at.journal.saves == 2
        assert [getattr(record, "why", "") for record in caplog.records] == ["taken"]


async def test_two_processes_that_pay_the_same_at_the_same_time_both_pay(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with scene() as at:
        journals = MemoryJournal(), MemoryJournal()
        async with trio.open_nursery() as nursery:
            for journal in journals:
                nursery.start_soon(Purse(at.chain, KEY, journal).spend, SEVEN, ONE)

        assert at.received == 2 * NANO_PER_TON
        assert all(isinstance(journal.ends[SEVEN], Paid) for journal in journals)


async def test_where_another_left_too_little_nothing_is_paid_and_that_is_known(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with scene() as at:

        def be_late(door: Door, message: bytes) -> None:
            _pay_elsewhere(at, 9 * NANO_PER_TON + NANO_PER_TON // 2, 0)
            raise MessageRefused("late")

        with pytest.raises(Refused, match="too little"):
            await Purse(Door(at, be_late), KEY, at.journal).spend(SEVEN, ONE)

        assert at.received == 0
        assert at.journal.ends == {SEVEN: NotPaid(SEVEN)}


class Rich(LocalChain):
    """A server that says that there is more in the wallet than there is."""

    async def account(self, account: AccountId) -> AccountSeen:
        seen = await super().account(account)
        return replace(seen, balance=Nano(seen.balance + 100 * NANO_PER_TON))


async def test_a_payment_that_the_wallet_left_out_is_an_error_that_says_so(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with scene() as at:
        purse = Purse(Rich(at.devchain), KEY, at.journal)
        too_much = Transfer(OTHER, Nano(20 * NANO_PER_TON))

        with pytest.raises(PaymentLeftOut, match="payments=1 amount=20000000000") as caught:
            await purse.spend(SEVEN, [*ONE, too_much, *ONE])

        assert caught.value.paid.left_out == (too_much,)
        assert caught.value.hint
        assert at.received == 2 * NANO_PER_TON
        assert at.journal.ends == {SEVEN: caught.value.paid}


def _from_the_masterchain(wallet: AccountId, amount: int, body: bytes) -> bytes:
    head = Builder().uint(0b0100, 4).uint(0b100, 3).sint(-1, 8).octets(bytes(32))
    head.uint(0b100, 3).sint(0, 8).octets(wallet).money(amount).coins(0).coins(0).uint(0, 96)
    return write_boc(head.uint(0, 1).uint(1, 1).reference(read_one(body)).cell())


@pytest.mark.parametrize("amount", [0, NANO_PER_TON])
async def test_a_message_from_the_masterchain_that_repeats_a_request_does_not_make_it_paid(
    autojump_clock: trio.testing.MockClock, amount: int
) -> None:
    async with scene() as at:

        def mock(door: Door, message: bytes) -> None:
            door.held.append(message)
            body = write_boc(read_one(message).references[-1])
            at.devchain.deliver(_from_the_masterchain(at.wallet.account, amount, body))
            if len(door.held) == 1:
                _pay_elsewhere(at, 1, 0)
            if len(door.held) > 2:
                door.chain.send(message)

        end = await Purse(Door(at, mock), KEY, at.journal).spend(SEVEN, ONE)

        assert at.received == NANO_PER_TON
        assert end.transaction.sent[0].other == STRANGER


async def test_an_account_that_is_not_this_wallet_is_not_paid_from() -> None:
    class Swapped(LocalChain):
        async def account(self, account: AccountId) -> AccountSeen:
            seen = await super().account(account)
            return replace(seen, code=write_boc(Builder().cell()), data=write_boc(Builder().cell()))

    async with scene() as at:
        with pytest.raises(MalformedMessage, match="other code"):
            await Purse(Swapped(at.devchain), KEY, at.journal).spend(SEVEN, ONE)

        assert at.journal.saves == 0
