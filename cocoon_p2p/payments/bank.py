"""What a node's accounts need of its side of the chain: where it pays from and is paid, and a watchful eye.

A port. `treasury` is what stands behind it; accounts without one stand on what peers agree on.

Spec: payments/settlement.md (Backing).
"""

from typing import Protocol

from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.protocols.messages import ChannelId
from cocoon_p2p.units import Nano


class Bank(Protocol):
    """Our side of the chain."""

    @property
    def global_id(self) -> int:
        """The TON network's number."""
        ...

    @property
    def wallet(self) -> AccountId | None:
        """Where we pay from, and where the rest of our deposits goes; None: we pay nobody."""
        ...

    @property
    def payout(self) -> AccountId | None:
        """Where we are paid; None: nobody can pay us through a contract."""
        ...

    @property
    def close_delay_seconds(self) -> int:
        """The close delay of channels that we open, and the shortest one that we take."""
        ...

    def now(self) -> float:
        """Tell the chain's time, in seconds since the Unix epoch, as well as it is known without asking."""
        ...

    def look_soon(self, channel: ChannelId) -> None:
        """Have a channel's contract looked at, and done for it what is due. Cheap; returns at once."""
        ...

    def moved(self, channel: ChannelId, *, room: Nano) -> None:
        """Learn that something was charged on a channel, or held. Cheap enough for every chunk.

        Args:
            channel: The channel.
            room: How much more can be held on it (a payer's), or could be collected (a payee's).
        """
        ...
