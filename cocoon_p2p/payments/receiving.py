"""What one payer pays us through one channel: the payee's machine and its face to the roles.

The account belongs to no exchange and outlives streams and, through the ledger, the process. A
newcomer's channel costs no disk: it is written with its first voucher or charge. `payee_stream`
carries its messages.

Spec: payments/settlement.md.
"""

import logging

import trio

from cocoon_p2p.failpoint import Failpoint, reached
from cocoon_p2p.identity import PeerId
from cocoon_p2p.ledger import Change, ExchangeRow, Written
from cocoon_p2p.payments.books import Page, close_body
from cocoon_p2p.payments.channel import Backing, Phase, capacity
from cocoon_p2p.payments.contract import Deployment
from cocoon_p2p.payments.events import (
    AccruedRaised,
    CloseRequested,
    ExchangeCharged,
    ExchangeLowered,
    ExchangeReleased,
    PayeeEffect,
    PayeeEvent,
    PayeeSend,
    VoucherReceived,
    VoucherSaved,
)
from cocoon_p2p.payments.looking import Looking
from cocoon_p2p.payments.outbox import Outbox
from cocoon_p2p.payments.party import Party, read_close
from cocoon_p2p.payments.payee import Payee, covers, step
from cocoon_p2p.payments.payee_effects import PayeeEffects
from cocoon_p2p.payments.paying import CLOSE_RETRY_SECONDS
from cocoon_p2p.protocols.messages import (
    ChannelId,
    CloseAgreed,
    CloseTerms,
    CloseWanted,
    Deposit,
    ExchangeId,
    Signed,
    StateSigned,
    Voucher,
)
from cocoon_p2p.protocols.papers import decode_signed
from cocoon_p2p.protocols.schema import decode_message
from cocoon_p2p.units import Nano

log = logging.getLogger(__name__)


class ReceivingAccount:
    """What one payer pays us. Found by `Accounts.receiving`."""

    def __init__(self, party: Party, payee: Payee, page: Page) -> None:
        self._party = party
        self._payee = payee
        self._page = page
        self._effects = PayeeEffects(party, page, payee.channel)
        self._vouchered_changed = trio.Event()
        self._credit_changed = trio.Event()
        self._changed = trio.Event()
        self.outbox = Outbox()
        self.is_connected = False
        self.stream_scope: trio.CancelScope | None = None
        "Of the stream that the payer speaks on now; a newer stream ends it."

        self.looking = Looking()

    # ------------------------------------------------------------ what stands

    @property
    def channel(self) -> ChannelId:
        return self._payee.channel.id

    @property
    def deployment(self) -> Deployment | None:
        """The channel's contract; None without a chain."""
        return self._payee.channel.deployment

    @property
    def payer(self) -> PeerId:
        return self._payee.channel.payer

    @property
    def capacity(self) -> Nano:
        """How high the payer may let its vouchers go, by what we have seen behind the channel."""
        return capacity(self._payee.channel, self._payee.backing)

    @property
    def backing(self) -> Backing:
        """What we have seen behind the channel."""
        return self._payee.backing

    @property
    def deposit(self) -> Deposit | None:
        """The same as the payer is told; None if we have seen nothing yet."""
        return self._payee.deposit

    @property
    def credit(self) -> Nano:
        """What may still be accrued; below zero after a grant was cut."""
        return self._payee.credit

    @property
    def grant(self) -> Nano:
        return self._payee.grant

    @property
    def accrued(self) -> Nano:
        return self._payee.accrued

    @property
    def phase(self) -> Phase:
        return self._payee.phase

    @property
    def vouchered_changed(self) -> trio.Event:
        """Set when a higher voucher is on disk; ask for it again after each wait."""
        return self._vouchered_changed

    @property
    def credit_changed(self) -> trio.Event:
        """Set when credit has risen or the phase has changed; ask for it again after each wait."""
        return self._credit_changed

    def charged(self) -> Nano:
        """What was charged all told, those charges included that are on their way to disk.

        Whoever signs a total with its next charge reads it and calls `charge` without awaiting
        anything in between.
        """
        return self._payee.charged

    def vouchered(self) -> Nano:
        """The highest voucher on disk."""
        return self._payee.vouchered

    # ------------------------------------------------------------ exchanges

    def covered(self, exchange: ExchangeId, accrued: Nano) -> bool:
        """Raise what an exchange has accrued to this total, if credit covers it.

        Cheap enough for every chunk.

        Returns:
            True if it is raised (or was that high already); False if nothing changed.

        Raises:
            Refused: The channel is closing and the exchange is new (`draining`), or too many run.
        """
        if not covers(self._payee, exchange, accrued):
            return False
        self.apply(AccruedRaised(exchange, accrued))
        return True

    async def cover(self, exchange: ExchangeId, accrued: Nano) -> None:
        """Wait until credit covers this total, and raise what the exchange has accrued to it.

        A cancel leaves the exchange at what it had accrued before.

        Raises:
            Refused: As `covered` does.
        """
        await trio.lowlevel.checkpoint()
        while not self.covered(exchange, accrued):
            await self._credit_changed.wait()

    async def charge(self, exchange: ExchangeId, amount: Nano, paper: Signed) -> Nano:
        """Turn what an exchange accrued into a charge, on disk before this returns.

        The new `ChannelState` is signed and saved with it, and sent to the payer.

        Args:
            exchange: The exchange. Charged once: called again, it gives the first call's result.
            amount: What is owed; what had accrued beyond it is let go.
            paper: Our receipt or settlement, kept for whoever asks by the exchange's id.

        A cancel leaves the charge on its way to disk; `charged` counts it already.

        Returns:
            What the channel has charged all told, this exchange included.

        Raises:
            Unavailable: The ledger cannot be written.
        """
        row = self.ended(exchange)
        if row is None:
            written = self.apply(ExchangeCharged(exchange, amount, paper))
            assert written is not None
            total = self._payee.charged
        else:
            written, total = self._party.store.submit(), row.total
        await written.wait()
        reached(Failpoint.CHARGE_SAVED)
        return total

    async def lower(self, exchange: ExchangeId, amount: Nano, paper: Signed) -> None:
        """Charge less for an exchange that has ended: its payer saw less of it than we sent.

        Args:
            exchange: One that was charged on this channel, for more.
            amount: What is owed for it.
            paper: The receipt that says so; it replaces the older one.

        A cancel leaves it on its way to disk; `charged` counts it already.

        Raises:
            Unavailable: The ledger cannot be written.
        """
        row = self.ended(exchange)
        assert row is not None
        self.apply(ExchangeLowered(exchange, row.amount, amount, paper))
        await self._party.store.submit().wait()

    def release(self, exchange: ExchangeId) -> None:
        """Let go of what an exchange accrued: nothing is owed for it."""
        self.apply(ExchangeReleased(exchange))

    def ended(self, exchange: ExchangeId) -> ExchangeRow | None:
        """Look up how an exchange ended on this channel."""
        return self._party.store.exchange(self._page.name, exchange)

    def accrued_by(self, exchange: ExchangeId) -> Nano:
        """Say what is set aside for an exchange; it is part of `accrued` until it is charged or released."""
        return self._payee.running.get(exchange, Nano(0))

    def is_running(self, exchange: ExchangeId) -> bool:
        """Say whether an exchange has accrued something and is not charged yet."""
        return exchange in self._payee.running

    # ------------------------------------------------------------ the channel

    async def close(self) -> None:
        """Agree with the payer on a close at what was charged; waits for what runs, and for the payer.

        A cancel leaves the channel draining or closing; calling again goes on.
        """
        while self._payee.phase is not Phase.CLOSED:
            changed = self._changed
            self.apply(CloseRequested(self._party.close_now))
            with trio.move_on_after(CLOSE_RETRY_SECONDS):
                await changed.wait()
        await self._party.store.submit().wait()

    @property
    def is_kept(self) -> bool:
        """Whether the ledger knows the channel: a newcomer that cost nothing is not written down."""
        row = self._page.row
        return row.lines > 0 or row.state is not None or row.terms is not None or row.deposit > 0

    @property
    def is_bound(self) -> bool:
        """Whether terms that we signed may yet close an open contract: whoever offers the channel again
        must not find us without memory of them."""
        is_open = self._payee.is_contract_open and not self.backing.is_settled
        return is_open and self.phase is not Phase.OPEN

    @property
    def owed(self) -> Nano:
        """What the payer owes us that no voucher and no close has covered: it has used up that much grant."""
        payee, covered = self._payee, self._payee.vouchered
        if payee.phase is Phase.CLOSED and payee.terms is not None and not payee.is_gone:
            covered = max(covered, Nano(payee.terms.total))
        return Nano(max(payee.charged + payee.accrued - covered, 0))

    def state(self) -> Signed:
        """Our newest state, signed. The same bytes every time."""
        kept = self._page.row.state
        return decode_signed(kept) if kept is not None else self._effects.sign(self._payee.state)

    def voucher(self) -> Voucher | None:
        """The payer's newest voucher, as we have it."""
        return _voucher(self._page.row.voucher)

    def claimable(self) -> Voucher | None:
        """The voucher to collect with: one that promises no more than was charged.

        A window that the payer has covered ahead is credit for what comes next, and its own if nothing
        comes. Once it is leaving the newest is taken: what it covers may be charged after the last claim.
        """
        return self.voucher() if self.backing.close_at else _voucher(self._page.row.earned)

    def read_close(self, message: CloseWanted | CloseAgreed) -> CloseTerms:
        """Take the payer's close terms, once its signatures were checked. Raises as `party.read_close`."""
        return read_close(message, channel=self._payee.channel, signer=self.payer, party=self._party)

    def agreement(self) -> CloseAgreed | None:
        """The close terms that we signed, where the channel is closed."""
        terms = self._payee.terms
        if self.phase is not Phase.CLOSED or terms is None:
            return None
        return CloseAgreed(self._effects.sign(terms), self._effects.sign_for_contract(terms))

    @property
    def terms_until(self) -> int | None:
        """Until when our close terms hold, in seconds since the Unix epoch; None: there are none."""
        terms = self._payee.terms
        return None if terms is None else terms.valid_until

    @property
    def terms_total(self) -> Nano | None:
        """What our close terms pay all told; None: there are none."""
        terms = self._payee.terms
        return None if terms is None else Nano(terms.total)

    def close_body(self) -> bytes | None:
        """Give what closes the contract at the terms that both have signed; None if there are none."""
        return close_body(self._page.row, self._payee.terms, self._effects.sign_for_contract)

    async def take_voucher(self, voucher: Voucher) -> None:
        """Judge a voucher; credit counts it once it is on disk.

        A cancel leaves it on its way to disk, uncounted until the next one or a restart.

        Raises:
            VoucherRejected: It is not for this channel, not by its key, or above its capacity.
        """
        written = self.apply(VoucherReceived(voucher))
        if written is not None:
            await written.wait()
            reached(Failpoint.VOUCHER_TAKEN)
            self.apply(VoucherSaved(Nano(voucher.total)))

    # ------------------------------------------------------------ the machine

    def apply(self, event: PayeeEvent) -> Written | None:
        """Step the machine, hand its changes to the ledger, and queue its messages behind them.

        Returns:
            The write to wait for, or None if nothing had to be saved.
        """
        before = self._payee
        self._payee, effects = step(before, event)
        written = self._carry_out(effects) if effects else None
        self._wake(before, self._payee)
        self._tell_bank(before, self._payee)
        return written

    def _tell_bank(self, before: Payee, after: Payee) -> None:
        bank = self._party.bank
        if bank is None or self.deployment is None:
            return
        if after.phase is Phase.CLOSED is not before.phase:
            bank.look_soon(self.channel)
        elif after.vouchered > before.vouchered and after.backing.close_at:
            # The payer is leaving: what it still promises is collected at once, whatever it comes to.
            bank.look_soon(self.channel)
        elif after.charged > before.charged:
            voucher = self.claimable()
            earned = 0 if voucher is None else voucher.total
            bank.moved(self.channel, room=Nano(max(earned - after.backing.claimed, 0)))

    def _wake(self, before: Payee, after: Payee) -> None:
        if after.vouchered > before.vouchered:
            self._vouchered_changed.set()
            self._vouchered_changed = trio.Event()
        # Whoever waits for credit must also learn that none will come.
        if after.credit > before.credit or after.phase is not before.phase:
            self._credit_changed.set()
            self._credit_changed = trio.Event()
        if after.phase is not before.phase or len(after.running) < len(before.running):
            self._changed.set()
            self._changed = trio.Event()

    def _carry_out(self, effects: tuple[PayeeEffect, ...]) -> Written:
        changes, messages = list[Change](), list[object]()
        for effect in effects:
            if isinstance(effect, PayeeSend):
                messages.append(self._effects.message(effect))
            else:
                changes.extend(self._effects.changes(effect))
        # A message without changes of its own may still tell of earlier ones that are on their way.
        written = self._party.store.submit(*changes)
        if self.is_connected:
            is_state = any(isinstance(message, StateSigned) for message in messages)
            self.outbox.put(*messages, after=written, supersedes=StateSigned if is_state else None)
        return written


def _voucher(kept: bytes | None) -> Voucher | None:
    if kept is None:
        return None
    voucher = decode_message(kept)
    assert isinstance(voucher, Voucher), "our own ledger"
    return voucher
