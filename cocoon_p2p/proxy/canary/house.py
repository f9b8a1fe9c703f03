"""The account that a proxy's own questions are paid from: its own pocket.

To the exchange it looks like a client's account with so much credit. What is paid to the worker goes
through the channel to it, by the same rules and papers as for any client; what is written down of it
stands there. Nothing is owed here.
"""

import trio

from cocoon_p2p.protocols.messages import ExchangeId, Signed
from cocoon_p2p.units import Nano

_NOTHING = Nano(0)


class House:
    """Credit for one exchange, up to a limit (`tab.Payer`)."""

    def __init__(self, limit: Nano) -> None:
        self._limit = limit
        self._accrued = _NOTHING
        self._charged = _NOTHING
        self.credit_changed = trio.Event()
        "Never set: there is all the credit from the beginning."

    @property
    def credit(self) -> Nano:
        return Nano(self._limit - self._accrued)

    def covered(self, _exchange: ExchangeId, accrued: Nano, /) -> bool:
        """Raise what has accrued to this total, within the limit."""
        if accrued > self._limit:
            return False
        self._accrued = max(self._accrued, accrued)
        return True

    def charged(self) -> Nano:
        """What was charged, commission included: that is the proxy's own, and comes back."""
        return self._charged

    async def charge(self, _exchange: ExchangeId, amount: Nano, _paper: Signed, /) -> Nano:
        """Take note of what it came to."""
        await trio.lowlevel.checkpoint()
        self._charged, self._accrued = amount, _NOTHING
        return self._charged

    def release(self, _exchange: ExchangeId, /) -> None:
        """Take back what had accrued."""
        self._accrued = _NOTHING
