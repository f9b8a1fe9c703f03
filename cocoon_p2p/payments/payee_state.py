"""What the payee of a channel knows of it: the state of its machine, `payee`.

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
from cocoon_p2p.payments.events import (
    PayeeEffect,
)
from cocoon_p2p.protocols.messages import (
    ChannelState,
    CloseTerms,
    Deposit,
    ExchangeId,
)
from cocoon_p2p.units import Nano

_NOTHING = Nano(0)


@dataclass(frozen=True, slots=True)
class Payee:
    """What the payee knows of one channel."""

    channel: Channel
    grant: Nano
    "How much we let this payer owe."

    state: ChannelState
    "The newest that we signed: its sequence, and what we have charged."

    phase: Phase = Phase.OPEN
    backing: Backing = NOTHING_SEEN
    "What we have seen behind the channel."

    best: Nano = _NOTHING
    "The highest valid voucher, on disk or on its way there."

    vouchered: Nano = _NOTHING
    "The highest voucher on disk."

    running: Mapping[ExchangeId, Nano] = field(default_factory=dict[ExchangeId, Nano])
    "What each running exchange has accrued. A crash forgets it: what was not charged is not paid."

    accrued: Nano = _NOTHING
    "Their sum."

    terms: CloseTerms | None = None
    "Close terms that we signed."

    @property
    def charged(self) -> Nano:
        return Nano(self.state.charged)

    @property
    def credit(self) -> Nano:
        """What the payer may still have done; below zero after a grant was cut."""
        return Nano(self.vouchered + self.grant - self.state.charged - self.accrued)

    @property
    def close_total(self) -> Nano:
        """What a close must pay us: no more than stands behind the channel, no less than we collected."""
        return max(min(self.charged, capacity(self.channel, self.backing)), self.backing.claimed)

    @property
    def deposit(self) -> Deposit | None:
        """What we have seen behind the channel, as the payer is told; None if nothing yet."""
        if self.channel.deployment is not None and not self.backing.epoch:
            return None
        return Deposit(self.backing.epoch, capacity(self.channel, self.backing))

    @property
    def is_gone(self) -> bool:
        """Whether there is no contract any more: what is charged now is a debt that nothing backs."""
        return self.backing.is_settled and self.channel.deployment is not None

    @property
    def is_contract_open(self) -> bool:
        """Whether there is a contract that has to pay before anything is settled."""
        return self.channel.deployment is not None and self.backing.epoch != 0


Step = tuple[Payee, tuple[PayeeEffect, ...]]
