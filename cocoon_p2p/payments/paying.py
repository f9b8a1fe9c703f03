"""What we pay one payee through one channel: the payer's machine and its face to the roles.

The account belongs to no exchange: it outlives streams, connections and, through the ledger, the
process. `payer_stream` carries its messages.

Spec: payments/settlement.md.
"""

import logging
from collections.abc import Iterable

import trio

from cocoon_p2p.errors import CocoonError, LocalProtocolError, Refused
from cocoon_p2p.frozen import replace
from cocoon_p2p.identity import PeerId
from cocoon_p2p.ledger import Change, Evidence, ExchangeRow, Note, Status, Written
from cocoon_p2p.payments.books import Page, close_body
from cocoon_p2p.payments.channel import Backing, Phase, capacity
from cocoon_p2p.payments.contract import Deployment
from cocoon_p2p.payments.events import (
    Accepted,
    CloseRequested,
    Disputed,
    ExchangeBroken,
    ExchangeCharged,
    ExchangeReleased,
    HoldRaised,
    PayerEffect,
    PayerEvent,
    PayerSend,
)
from cocoon_p2p.payments.looking import Looking
from cocoon_p2p.payments.outbox import Outbox
from cocoon_p2p.payments.party import Party, read_close
from cocoon_p2p.payments.payer import Payer, step
from cocoon_p2p.payments.payer_effects import PayerEffects
from cocoon_p2p.payments.questions import Leftover as Leftover
from cocoon_p2p.payments.questions import Question as Question
from cocoon_p2p.payments.questions import leftover_of
from cocoon_p2p.payments.restored import mark
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.protocols.messages import (
    ChannelId,
    CloseAgreed,
    CloseTerms,
    CloseWanted,
    Deposit,
    ExchangeId,
    Paper,
    PaperWanted,
    Signed,
)
from cocoon_p2p.protocols.papers import encode_signed
from cocoon_p2p.units import Nano

log = logging.getLogger(__name__)

CLOSE_RETRY_SECONDS = 2.0
"How often a close is proposed again while the peer is away or has exchanges to end."


SPENT_PART = 20
"A channel with less than this part of its capacity left is replaced, before an exchange fails on it."


class Attempt:
    """One try at reaching the payee; whoever needs the channel waits for how it went."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.error: CocoonError | None = None

    def finish(self, error: CocoonError | None = None) -> None:
        self.error = error
        self.done.set()


class PayingAccount:
    """What we pay one payee. Made by `Accounts.paying`."""

    def __init__(self, party: Party, payer: Payer, page: Page, unsettled: Iterable[ExchangeRow]) -> None:
        self._party = party
        self._payer = payer
        self._page = page
        self._effects = PayerEffects(party, page, payer.channel)
        self._changed = trio.Event()
        self.outbox = Outbox()
        self.is_connected = False
        self.attempt = Attempt()
        self.stream_scope: trio.CancelScope | None = None
        self.wanted = trio.Event()
        "Set when somebody waits for the channel: do not sleep on."

        self.questions: dict[ExchangeId, Question] = {}
        self.leftovers = {
            row.exchange: leftover_of(row, party.at) for row in unsettled if row.name == page.name
        }
        "Exchanges whose end only the payee knows."

        self.left_over = trio.Event()
        "Set when there is one more of them."

        self.looking = Looking()
        self.is_restored = False
        "Whether our ledger was restored from a backup since the payee was last met (`restored`)."

    # ------------------------------------------------------------ what stands

    @property
    def channel(self) -> ChannelId:
        return self._payer.channel.id

    @property
    def deployment(self) -> Deployment | None:
        """The channel's contract; None without a chain."""
        return self._payer.channel.deployment

    @property
    def payee(self) -> PeerId:
        return self._payer.channel.payee

    @property
    def capacity(self) -> Nano:
        """How high vouchers may go: as far as both sides have seen that money stands behind them."""
        return self._payer.capacity

    @property
    def backing(self) -> Backing:
        """What we have seen behind the channel."""
        return self._payer.backing

    @property
    def vouchered(self) -> Nano:
        """The highest total that we signed; it may still be on its way to disk."""
        return self._payer.vouchered

    @property
    def charged(self) -> Nano:
        """What all ended exchanges have cost, those included that are on their way to disk."""
        return self._payer.charged

    @property
    def grant(self) -> Nano:
        return self._payer.grant

    @property
    def held(self) -> Nano:
        return self._payer.held

    @property
    def phase(self) -> Phase:
        return self._payer.phase

    def lacks_sight(self, deposit: Deposit | None) -> bool:
        """Whether what the payee says it has seen behind the channel is less than we have seen."""
        if self.deployment is None or not self.backing.epoch:
            return False
        seen = Deposit(self.backing.epoch, capacity(self._payer.channel, self.backing))
        return deposit is None or deposit.epoch != seen.epoch or deposit.capacity < seen.capacity

    def read_close(self, message: CloseWanted | CloseAgreed) -> CloseTerms:
        """Take the payee's close terms, once its signatures were checked. Raises as `party.read_close`."""
        return read_close(message, channel=self._payer.channel, signer=self.payee, party=self._party)

    @property
    def is_over(self) -> bool:
        """Whether the channel is closed for so long that the payee will not ask for the terms again."""
        terms = self._payer.terms
        is_settled = self.phase is Phase.CLOSED and self.backing.is_settled
        return is_settled and (terms is None or self._party.close_now > terms.valid_until)

    @property
    def is_spent(self) -> bool:
        """Whether so little is left that a new channel is due. One with a contract is topped up instead."""
        return self.deployment is None and self.capacity - self.charged < self.capacity // SPENT_PART

    @property
    def room(self) -> Nano:
        """How much more can be held."""
        payer = self._payer
        return Nano(payer.capacity + payer.grant - payer.charged - payer.held)

    @property
    def credit(self) -> Nano:
        """What the payee may have worked for beyond what was charged."""
        return Nano(self.vouchered + self.grant - self.charged)

    @property
    def state(self) -> Signed | None:
        """The payee's newest signed state."""
        return self._payer.newest

    @property
    def offer(self) -> bytes:
        """The signed channel offer, as CBOR."""
        return self._page.row.offer

    # ------------------------------------------------------------ exchanges

    def hold(self, exchange: ExchangeId, amount: Nano) -> None:
        """Keep an exchange covered up to this total; the voucher follows by itself.

        Cheap enough for every chunk. A voucher covers all holds that came while the one before it
        was on its way to disk.

        Raises:
            Refused: The channel cannot cover it (`no-credit`), takes nothing new (`draining`), or was
                stopped (`wrong-amount`). What was held before is still held.
            LocalProtocolError: The exchange has ended.
        """
        if exchange not in self._payer.running and self._row(exchange) is not None:
            raise LocalProtocolError("a hold for an exchange that has ended")
        self.apply(HoldRaised(exchange, amount))
        if self._payer.due > self._payer.vouchered:
            self.outbox.wake()

    async def charge(self, exchange: ExchangeId, amount: Nano, paper: Signed) -> None:
        """Book what an exchange cost, once its paper was checked, and let go of what was held for it.

        Args:
            exchange: The exchange. Charged once: called again, it only waits for the first to be on disk.
            amount: What it cost.
            paper: The receipt or settlement.

        A cancel leaves the charge on its way to disk; `charged` counts it already.

        Raises:
            Unavailable: The ledger cannot be written.
        """
        row = self._row(exchange)
        if row is None or row.status is Status.RUNNING:
            self.apply(ExchangeCharged(exchange, amount, paper))
            self.leftovers.pop(exchange, None)
        await self.saved()

    async def break_off(
        self, exchange: ExchangeId, amount: Nano, quote: Signed, meter: Signed | None = None
    ) -> None:
        """Settle an exchange whose payee was lost, by the newest Meter that there is.

        The amount stays held, and the payee is asked until it agrees: only then is it charged. The
        payee may have forgotten the exchange, or we may, before this is called.

        Args:
            exchange: The exchange. Broken off once: called again, it only waits for the disk.
            amount: What the Meter comes to.
            quote: What the exchange was quoted at, signed by us.
            meter: The Meter; None if nothing was delivered.

        A cancel leaves it on its way to disk.

        Raises:
            Unavailable: The ledger cannot be written.
        """
        row = self._row(exchange)
        if row is None or row.status is Status.RUNNING:
            question = PaperWanted(exchange, quote, meter)
            held = self._payer.running.get(exchange)
            self.apply(ExchangeBroken(exchange, amount, question))
            self.leftovers[exchange] = Leftover(question, amount, self._party.at, held)
            self.left_over.set()
        await self.saved()

    async def saved(self) -> None:
        """Wait until all that was done on this account is on disk.

        A role waits for it after an exchange's first `hold` and before it sends what lets the payee
        work: else a crash could forget an exchange that the payee charges for, and payments would stop.

        Raises:
            Unavailable: The ledger cannot be written.
        """
        await self._party.store.submit().wait()

    def release(self, exchange: ExchangeId) -> None:
        """Let go of what is held for an exchange for which nothing is owed: it was refused.

        An exchange whose end is not known stays held: ask for its `paper`.
        """
        self.leftovers.pop(exchange, None)
        self.apply(ExchangeReleased(exchange))

    async def dispute(self, reason: str, *papers: Signed) -> None:
        """Stop paying on this channel, because papers do not hold; keep them as evidence."""
        self.apply(Disputed(reason, papers))
        await self._party.store.submit().wait()

    async def keep(self, reason: str, *papers: Signed) -> None:
        """Keep papers as evidence of what somebody did who is not the payee; paying goes on.

        Raises:
            Unavailable: The ledger cannot be written.
        """
        kept = tuple(encode_signed(paper) for paper in papers)
        await self._party.store.submit(Evidence(self._page.name, reason, kept, self._party.at)).wait()

    def ended(self, exchange: ExchangeId) -> ExchangeRow | None:
        """Look up what is known of an exchange on this channel: that it runs, broke or ended, and how."""
        return self._row(exchange)

    async def paper(
        self, exchange: ExchangeId, *, quote: Signed | None = None, meter: Signed | None = None
    ) -> Paper | None:
        """Ask the payee how an exchange ended; waits for the payee to be back if it is away.

        The paper's signature and exchange were checked, nothing else.

        Args:
            exchange: The exchange.
            quote: Where the payee was lost: what it was quoted at.
            meter: The newest Meter that came of it.

        Returns:
            The paper, or None if the payee knows nothing of the exchange.

        Raises:
            Refused: `already-running`: the payee has not ended it yet.
        """
        while (question := self.enquire(exchange, quote=quote, meter=meter)) is None:
            await self.questions[exchange].answered.wait()
        await question.answered.wait()
        refusal = question.refusal
        if refusal is not None and refusal.reason is not Reason.UNKNOWN_EXCHANGE:
            raise Refused(refusal.detail, code=refusal.reason.code)
        return question.paper

    def enquire(
        self, exchange: ExchangeId, *, quote: Signed | None = None, meter: Signed | None = None
    ) -> Question | None:
        """Begin to ask how an exchange ended: at once, or as the first thing once the payee is back.

        By this the payee learns that we have lost sight of it: what is vouchered afterwards is for others.

        Returns:
            The question; None if another one about this exchange is not answered yet.
        """
        wanted = PaperWanted(exchange, quote, meter)
        question = self.questions.get(exchange)
        if question is None:
            question = self.questions[exchange] = Question(wanted)
            self.send(wanted)
        return question if question.wanted == wanted else None

    def reopen(self) -> None:
        """Give the stream up and open another: the payee lacks a voucher that we sent on this one."""
        if self.stream_scope is not None:
            self.stream_scope.cancel()

    @property
    def terms_until(self) -> int | None:
        """Until when our close terms hold, in seconds since the Unix epoch; None: there are none."""
        terms = self._payer.terms
        return None if terms is None else terms.valid_until

    @property
    def terms_total(self) -> Nano | None:
        """What our close terms pay all told; None: there are none."""
        terms = self._payer.terms
        return None if terms is None else Nano(terms.total)

    def close_body(self) -> bytes | None:
        """Give what closes the contract at the terms that both have signed; None if there are none."""
        return close_body(self._page.row, self._payer.terms, self._effects.sign_for_contract)

    def unsettled(self) -> tuple[ExchangeId, ...]:
        """Name the exchanges that something is held for: they run, or their end is not known."""
        return tuple(self._payer.running)

    # ------------------------------------------------------------ the channel

    async def ready(self) -> None:
        """Wait until the payee has accepted the channel.

        Raises:
            Unavailable: There is no connection to the payee, or it does not answer.
            Refused: The payee does not want the channel.
        """
        while not self.is_connected:
            attempt = self.attempt
            self.wanted.set()
            await attempt.done.wait()
            if attempt.error is not None:
                raise attempt.error

    async def reopened(self) -> None:
        """Wait until agreed terms have closed the channel for good, or lapsed."""
        while self.phase is Phase.CLOSED and not self.backing.is_settled:
            await self._changed.wait()

    async def close(self) -> None:
        """Agree with the payee on a close at what was charged; waits for what runs, and for the payee.

        A cancel leaves the channel draining or closing; calling again goes on.

        Raises:
            Refused: Payments on the channel were stopped.
        """
        while self._payer.phase is not Phase.CLOSED:
            if self._payer.phase is Phase.STOPPED:
                raise Refused("payments on the channel are stopped", code=Reason.WRONG_AMOUNT.code)
            changed = self._changed
            self.apply(CloseRequested(self._party.close_now))
            with trio.move_on_after(CLOSE_RETRY_SECONDS):
                await changed.wait()
        await self._party.store.submit().wait()

    # ------------------------------------------------------------ the machine

    def apply(self, event: PayerEvent) -> Written | None:
        """Step the machine, hand its changes to the ledger, and queue its messages behind them.

        Returns:
            The write to wait for, or None if nothing had to be saved.
        """
        before = self._payer
        self._payer, effects = step(before, event)
        written = self._carry_out(effects) if effects else None
        after = self._payer
        is_settled = after.backing.is_settled and not before.backing.is_settled
        if after.phase is not before.phase or len(after.running) != len(before.running) or is_settled:
            self._changed.set()
            self._changed = trio.Event()
        self._tell_bank(before)
        return written

    def _tell_bank(self, before: Payer) -> None:
        bank = self._party.bank
        if bank is None or self.deployment is None:
            return
        if self.phase is Phase.CLOSED is not before.phase:
            bank.look_soon(self.channel)
        elif self._payer.charged > before.charged or self._payer.held > before.held:
            bank.moved(self.channel, room=self.room)

    def meet(self, accepted: Accepted) -> None:
        """Take in what the payee holds, now that it has accepted the channel's stream."""
        self.apply(replace(accepted, is_restored=self.is_restored))
        if self.is_restored:
            self.is_restored = False
            self._party.store.submit(Note(mark(self.channel), None))

    def send(self, *messages: object) -> None:
        """Queue messages, behind all that is on its way to disk; dropped if there is no stream."""
        if self.is_connected:
            self.outbox.put(*messages, after=self._party.store.submit())

    def _carry_out(self, effects: tuple[PayerEffect, ...]) -> Written:
        changes, messages = list[Change](), list[object]()
        for effect in effects:
            if isinstance(effect, PayerSend):
                messages.append(self._effects.message(effect))
            else:
                changes.extend(self._effects.changes(effect))
        if self._party.role.beside is not None:
            changes.extend(self._party.role.beside.beside(changes))
        # A message without changes of its own may still tell of earlier ones that are on their way.
        written = self._party.store.submit(*changes)
        if self.is_connected:
            self.outbox.put(*messages, after=written)
        return written

    def _row(self, exchange: ExchangeId) -> ExchangeRow | None:
        return self._party.store.exchange(self._page.name, exchange)
