"""Paying from a wallet, once: the shell that signs, saves, sends, and looks until it knows.

    check the means -> sign -> SAVE -> send -> look -> ... -> made, or void for ever
                         ^                        |
                         `--- void: sign anew ----'

What was signed is on disk before anybody else sees it, so after a crash it is either there, to be
judged (`landing`), or nobody has it. While one spending is not judged no other is signed.

A purse must be its wallet's only user in this process, and its journal must belong to this process.
Another process with the same key does no harm but delay: the wallet itself takes each seqno once.
"""

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

import trio

from cocoon_p2p.errors import CocoonError, ConfigurationError, LocalProtocolError, Refused, Unavailable
from cocoon_p2p.payments.chain import AccountSeen, Chain, MessageRefused
from cocoon_p2p.payments.wallet import (
    Transfer,
    Wallet,
    WalletKey,
    check_transfers,
    read_seqno,
    sign_request,
)
from cocoon_p2p.payments.wallet.journal import End, Journal, NotPaid, Paid
from cocoon_p2p.payments.wallet.landing import Judgement, Spending, Verdict, judge_free, judge_taken, left_out
from cocoon_p2p.units import Nano, format_ton

log = logging.getLogger(__name__)

VALID_SECONDS = 60
"How long a request is good for, by the chain's clock. Blocks come every few seconds."

SIGNED_MAX = 5
"How often one spending is signed before it is given up."

PATIENCE_SECONDS = 600.0
"How long what was sent is looked for, by this machine's clock; after that the chain is at fault."

LOOK_FIRST_SECONDS, LOOK_LAST_SECONDS = 0.25, 4.0
"Pauses between looks: each twice the one before."

RESERVE = Nano(20_000_000)
"What stays in the wallet for the fees of what comes after."

_NOTHING = Nano(0)
_FEES = 10_000_000
_FEES_A_TRANSFER = 1_000_000
_FEES_A_BYTE = 10_000
"""What is set aside for the gas and the deployment, for each message's road, and for each byte it carries.
More than mainnet's prices of 2025, which a test compares them with."""


class OutcomeUnknown(Unavailable):
    """It cannot be told for now whether a payment was made. It is remembered, and not paid twice."""

    code = "outcome-unknown"


class PaymentLeftOut(Refused):
    """A wallet carried out a request and left payments out: its balance did not cover them.

    Attributes:
        paid: What it did.
    """

    def __init__(self, paid: Paid) -> None:
        missing = sum(transfer.amount or 0 for transfer in paid.left_out)
        super().__init__(
            f"the wallet's balance did not cover a payment (payments={len(paid.left_out)} amount={missing} "
            f"fees={paid.transaction.fees} nanoTON exit_code={paid.transaction.exit_code})",
            code="balance-too-low",
            hint="send the wallet more, then pay what was left out",
        )
        self.paid = paid


class Purse:
    """A wallet that can be paid from."""

    def __init__(self, chain: Chain, key: WalletKey, journal: Journal, *, reserve: Nano = RESERVE) -> None:
        """Take a wallet in hand; nothing is asked yet.

        Args:
            chain: Where the wallet is.
            key: The wallet's.
            journal: Where what is signed is saved. This process's alone.
            reserve: What no payment may touch, but one that takes all there is.
        """
        self.wallet = Wallet(key.public_key, chain.global_id)
        self._chain = chain
        self._key = key
        self._journal = journal
        self._reserve = reserve
        self._lock = trio.Lock()

    async def settle(self) -> End | None:
        """Find out what became of a spending that was interrupted, if one was. It is not signed anew.

        Call it first after a start. A cancel leaves the spending pending, as does an error.

        Raises:
            OutcomeUnknown: It cannot be told for now.
            MalformedMessage: What runs at the wallet's account is not this wallet.
            ConfigurationError: The journal is another wallet's.
        """
        async with self._lock:
            return await self._settle()

    async def spend(self, number: int, transfers: Sequence[Transfer], *, leaving: Nano = _NOTHING) -> Paid:
        """Pay, once, and return when it is done.

        A spending that was interrupted is settled first. If it bears this very number it is not paid a
        second time: what became of it is what became of this.

        A cancel leaves it pending: paid or not, `settle` (or the next `spend`) finds out.

        Args:
            number: The caller's own name for it, never used for anything else.
            transfers: What to pay, in order.
            leaving: What must be left in the wallet after the fees, where that is more than the reserve.

        Raises:
            ConfigurationError: An amount is out of range, or the like; see `wallet.check_transfers`. Nothing
                was signed.
            PaymentLeftOut: The balance did not cover all of it after all.
            Refused: The balance does not cover it, or no server would take it. Nothing was paid.
            OutcomeUnknown: It cannot be told for now whether it was paid: it is pending.
            Unavailable: The chain cannot be reached, or would not carry it out. Nothing was paid.
            MalformedMessage: What runs at the wallet's account is not this wallet.
        """
        check_transfers(transfers)
        async with self._lock:
            earlier = await self._journal.pending()
            if earlier and earlier.number == number and earlier.transfers != tuple(transfers):
                raise LocalProtocolError(f"one number for two different payments (number={number})")
            ended = await self._settle()
            if earlier is None or earlier.number != number:
                return await self._spend(number, tuple(transfers), None, leaving)
            if isinstance(ended, Paid):
                return _whole(ended)
            return await self._spend(number, tuple(transfers), earlier, leaving)

    async def _settle(self) -> End | None:
        spending = await self._journal.pending()
        if spending is None:
            return None
        if spending.account != self.wallet.account:
            raise ConfigurationError(
                "a payment from another wallet is unfinished here",
                hint="keep each wallet's file, and what lies beside it, together",
            )
        outcome = await self._look_until_judged(spending)
        return await self._end(spending, outcome.judgement)

    async def _spend(
        self, number: int, transfers: tuple[Transfer, ...], void: Spending | None, leaving: Nano
    ) -> Paid:
        failure: CocoonError = Unavailable(
            f"the chain did not carry out a payment, and nothing was paid (signed={SIGNED_MAX} times)",
            hint="try again, or ask other servers",
        )
        for _ in range(SIGNED_MAX):
            seen = await self._chain.account(self.wallet.account)
            lacking = self._lacking(transfers, seen, max(leaving, self._reserve))
            if lacking is not None:
                failure = lacking
                break
            spending = await self._sign(number, transfers, seen, void)
            await self._journal.save(spending)
            outcome = await self._look_until_judged(spending)
            if outcome.judgement.verdict is Verdict.LANDED:
                return _whole(await self._end(spending, outcome.judgement))
            void = spending
            if outcome.judgement.verdict is Verdict.EXPIRED and outcome.refusal is not None:
                failure = outcome.refusal
                break
            log.warning("payment void", extra={"number": number, "why": outcome.judgement.verdict.value})
        if void is not None:
            await self._journal.done(number, NotPaid(number))
        raise failure

    async def _sign(
        self, number: int, transfers: tuple[Transfer, ...], seen: AccountSeen, void: Spending | None
    ) -> Spending:
        """Sign a spending; anew, if what was signed before is void."""
        signed = sign_request(
            self._key,
            self.wallet,
            transfers,
            seqno=read_seqno(self.wallet, seen.code, seen.data),
            valid_until=await self._chain.time() + VALID_SECONDS,
            deploy=seen.code is None,
            nonce=secrets.randbits(64),
        )
        name = signed.request.name
        if void is not None:
            return replace(void, last=signed, names=(*void.names, name))
        return Spending(number, self.wallet.account, transfers, seen.last_lt, signed, (name,))

    def _lacking(self, transfers: tuple[Transfer, ...], seen: AccountSeen, reserve: Nano) -> Refused | None:
        """Say what the balance lacks for a payment, its fees and the reserve."""
        needed = fees_allowed(transfers)
        if transfers[0].amount is not None:
            needed += reserve + sum(transfer.amount or 0 for transfer in transfers)
        if seen.balance >= needed:
            return None
        address = self.wallet.address_text()
        return Refused(
            f"the wallet has too little (balance={seen.balance} needed={needed} nanoTON, fees and a reserve "
            f"included)",
            code="balance-too-low",
            hint=f"send {format_ton(needed - seen.balance)} or more to {address}, or pay less",
        )

    async def _look_until_judged(self, spending: Spending) -> "_Outcome":
        """Send, and look, until it is known what became of a spending. A cancel leaves it pending."""
        refusal: MessageRefused | None = None
        was_taken = False
        pause = LOOK_FIRST_SECONDS
        why = "no server answers"
        with trio.move_on_after(PATIENCE_SECONDS):
            while True:
                try:
                    judgement = await self._judge(spending)
                    if judgement.verdict not in _UNDECIDED:
                        return _Outcome(judgement, None if was_taken else refusal)
                    why = _WHY[judgement.verdict]
                    if judgement.verdict is Verdict.WAITING:
                        await self._chain.send(spending.last.message)
                        was_taken = True
                except MessageRefused as exc:
                    refusal = exc
                except Unavailable as exc:
                    why = str(exc)
                await trio.sleep(pause)
                pause = min(2 * pause, LOOK_LAST_SECONDS)
        raise OutcomeUnknown(
            f"it cannot be told whether a payment was made: {why} (number={spending.number})",
            hint="it is remembered, and will not be paid twice: ask again later, or with other servers",
        )

    async def _judge(self, spending: Spending) -> Judgement:
        seen = await self._chain.account(self.wallet.account)
        verdict = judge_free(spending, self.wallet, seen)
        if verdict is not Verdict.UNKNOWN:
            return Judgement(verdict)
        since = spending.since_lt
        return judge_taken(spending, await self._chain.transactions(self.wallet.account, since_lt=since))

    async def _end(self, spending: Spending, judgement: Judgement) -> End:
        transaction = judgement.transaction
        end: End = NotPaid(spending.number)
        if judgement.verdict is Verdict.LANDED:
            assert transaction is not None
            end = Paid(spending.number, transaction, left_out(spending.transfers, transaction.sent))
            log.info("payment made", extra={"number": spending.number, "fees": transaction.fees})
        await self._journal.done(spending.number, end)
        return end


_UNDECIDED = (Verdict.WAITING, Verdict.UNKNOWN)
_WHY = {
    Verdict.WAITING: "the chain does not take it up, and its time is not over",
    Verdict.UNKNOWN: "the servers do not remember what the wallet did",
}


@dataclass(frozen=True, slots=True)
class _Outcome:
    judgement: Judgement

    refusal: MessageRefused | None
    "Why the message was refused, if no server took it even once."


def fees_allowed(transfers: Sequence[Transfer]) -> int:
    """Give what is set aside for the fees of paying: more than they come to, in nanoTON."""
    carried = sum(len(one.body or b"") + len(one.state_init or b"") for one in transfers)
    return _FEES + _FEES_A_TRANSFER * len(transfers) + _FEES_A_BYTE * carried


def _whole(end: End) -> Paid:
    assert isinstance(end, Paid)
    if end.left_out:
        raise PaymentLeftOut(end)
    return end
