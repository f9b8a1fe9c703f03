"""What the payer of a channel knows of it: the state of its machine, `payer`.

Spec: payments/settlement.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cocoon_p2p.payments.channel import (
    NOTHING_SEEN,
    Backing,
    Channel,
    Phase,
    capacity,
)
from cocoon_p2p.payments.contract import STORAGE_MARGIN
from cocoon_p2p.payments.events import (
    PayerEffect,
)
from cocoon_p2p.protocols.messages import (
    CloseTerms,
    Deposit,
    ExchangeId,
    Signed,
)
from cocoon_p2p.units import Nano

_NOTHING = Nano(0)


@dataclass(frozen=True, slots=True)
class Payer:
    """What the payer knows of one channel."""

    channel: Channel
    phase: Phase = Phase.OPEN
    backing: Backing = NOTHING_SEEN
    "What we have seen behind the channel."

    taken: Deposit | None = None
    "What the payee says it has seen there: it takes no vouchers above that."

    grant: Nano = _NOTHING
    "How much the payee lets us owe; it says so whenever it accepts the channel's stream."

    vouchered: Nano = _NOTHING
    "The highest total that we signed."

    charged: Nano = _NOTHING
    "What all ended exchanges have cost, by papers that we checked."

    running: Mapping[ExchangeId, Nano] = field(default_factory=dict[ExchangeId, Nano])
    """What is held for each exchange that may still cost something. It outlives a crash: what a
    payee did for us meanwhile is owed."""

    held: Nano = _NOTHING
    "Their sum."

    newest: Signed | None = None
    "The payee's newest signed state."

    sequence: int = -1
    "That state's sequence."

    stated: Nano = _NOTHING
    "What that state says we were charged."

    terms: CloseTerms | None = None
    "Close terms that we signed."

    @property
    def capacity(self) -> Nano:
        """How high vouchers may go: as far as both have seen that money stands behind them."""
        seen = capacity(self.channel, self.backing)
        return seen if self.channel.deployment is None else min(seen, self._taken)

    @property
    def takes_max(self) -> Nano:
        """How high the payee takes a voucher that we signed when more stood behind it.

        Storage eats a deposit, and the payee takes vouchers as far as the contract would pay them.
        """
        if self.channel.deployment is None:
            return self.channel.agreed
        return Nano(self._taken + STORAGE_MARGIN) if self._taken else _NOTHING

    @property
    def _taken(self) -> Nano:
        """What the payee has seen, once we have seen the same life of the contract."""
        is_same = self.taken is not None and self.taken.epoch == self.backing.epoch
        return Nano(self.taken.capacity) if self.taken is not None and is_same else _NOTHING

    @property
    def due(self) -> Nano:
        """The total that should be vouchered now."""
        return Nano(min(max(self.charged + self.held - self.grant, 0), self.capacity))

    @property
    def close_total(self) -> Nano:
        """What we owe at most when the channel closes: no more than stands behind it.

        What the payee has collected is spent, even where it is more than was charged.
        """
        return max(min(self.charged, capacity(self.channel, self.backing)), self.backing.claimed)

    @property
    def is_gone(self) -> bool:
        """Whether there is no contract any more: what is charged now is a debt that nothing backs."""
        return self.backing.is_settled and self.channel.deployment is not None

    @property
    def is_contract_open(self) -> bool:
        """Whether there is a contract that has to pay before anything is settled."""
        return self.channel.deployment is not None and self.backing.epoch != 0


Step = tuple[Payer, tuple[PayerEffect, ...]]
