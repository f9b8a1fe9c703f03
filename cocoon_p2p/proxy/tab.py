"""What one exchange has on two accounts: the client's with us, and ours with the worker.

    wanted    up to where the machine wants the client's credit set aside
    accrued   up to where it is: the client's account covers it, whatever else runs there
    held      up to where the worker is kept covered by us

Spec: protocols/exchange.md (Credit; Amounts).
"""

from dataclasses import dataclass
from typing import Protocol

import trio

from cocoon_p2p.errors import Refused
from cocoon_p2p.identity import Identity, NetworkId
from cocoon_p2p.payments.settlement import PayingAccount
from cocoon_p2p.protocols.exchange.proxy_events import Reckoning
from cocoon_p2p.protocols.exchange.relayed import Deal
from cocoon_p2p.protocols.messages import ExchangeId, Settlement, Signed
from cocoon_p2p.protocols.papers import sign
from cocoon_p2p.units import Nano

_NOTHING = Nano(0)


class Payer(Protocol):
    """What an exchange is paid from: a client's account (`ReceivingAccount`), or our own pocket."""

    @property
    def credit(self) -> Nano: ...

    @property
    def credit_changed(self) -> trio.Event: ...

    def charged(self) -> Nano: ...

    def covered(self, exchange: ExchangeId, accrued: Nano, /) -> bool: ...

    def release(self, exchange: ExchangeId, /) -> None: ...

    async def charge(self, exchange: ExchangeId, amount: Nano, paper: Signed, /) -> Nano: ...


@dataclass(slots=True)
class Tab:
    """The money side of one exchange. Each method leaves the accounts as it found them if it raises."""

    deal: Deal
    client: Payer
    worker: PayingAccount | None = None
    "Known once the exchange is to be assigned."

    wanted: Nano = _NOTHING
    accrued: Nano = _NOTHING
    held: Nano = _NOTHING

    @property
    def exchange(self) -> ExchangeId:
        return self.deal.ask.exchange

    def cover(self) -> bool:
        """Set aside as much of the client's credit as there is, up to what is wanted.

        Returns:
            Whether more is set aside than before.
        """
        amount = min(self.wanted, Nano(self.accrued + max(self.client.credit, 0)))
        if amount <= self.accrued:
            return False
        try:
            is_covered = self.client.covered(self.exchange, amount)
        except Refused:
            # The channel began to close after the Ask: without credit the exchange ends by itself.
            return False
        if is_covered:
            self.accrued = amount
        return is_covered

    def hold(self, amount: Nano) -> None:
        """Keep the worker covered. Raises `Refused` if our channel cannot."""
        assert self.worker is not None
        self.worker.hold(self.exchange, amount)
        self.held = amount

    def renew_worker(self) -> None:
        """Show the worker anew what we vouchered: it waited in vain for what we had sent."""
        if self.worker is not None:
            self.worker.reopen()

    async def charge(self, reckoning: Reckoning, *, identity: Identity, network: NetworkId) -> Signed:
        """Charge both accounts and sign the Settlement that says so. On disk before this returns.

        Nothing more is set aside from here on: the credit that the charge gives back is for others.

        Not to be cancelled: half of it would be our loss.

        Raises:
            Unavailable: The ledger cannot be written.
        """
        self.wanted = self.accrued
        worker_charged = await self._charge_worker(reckoning)
        amount = reckoning.client_amount
        assert amount <= self.accrued, "the worker was allowed no more than was covered"
        settlement = Settlement(
            exchange=self.exchange,
            quote_hash=self.deal.quote_hash,
            outcome=reckoning.outcome,
            worker_amount=reckoning.worker_amount,
            commission=reckoning.client_amount - reckoning.worker_amount,
            # Nothing is awaited between here and the charge, so it holds.
            client_charged=self.client.charged() + amount,
            worker_charged=worker_charged,
            receipt=reckoning.receipt,
            meter=reckoning.meter,
        )
        signed = sign(identity, network, settlement)
        await self.client.charge(self.exchange, amount, signed)
        return signed

    async def _charge_worker(self, reckoning: Reckoning) -> Nano:
        assert self.worker is not None
        amount = reckoning.worker_amount
        total = Nano(self.worker.charged + amount)
        if reckoning.receipt is not None:
            await self.worker.charge(self.exchange, amount, reckoning.receipt)
        else:
            await self._charge_lost(amount, reckoning.meter)
        return total

    async def _charge_lost(self, amount: Nano, meter: Signed | None) -> None:
        """Hold what a lost worker's Meter comes to; it is charged once the worker agrees."""
        assert self.worker is not None
        await self.worker.break_off(self.exchange, amount, self.deal.quote, meter)

    def release(self) -> None:
        """Give everything back: nothing is owed, and the worker knows it."""
        self.wanted = _NOTHING
        self.client.release(self.exchange)
        if self.worker is not None and self.held:
            self.worker.release(self.exchange)

    async def release_lost(self) -> None:
        """Give the client everything back; what a lost worker may claim stays held until it is asked.

        Raises:
            Unavailable: The ledger cannot be written.
        """
        self.wanted = _NOTHING
        self.client.release(self.exchange)
        if self.worker is not None and self.held:
            await self._charge_lost(Nano(0), None)
