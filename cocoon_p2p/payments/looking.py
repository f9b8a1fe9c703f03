"""Looks at a channel's contract that a peer's words call for: soon, but not as often as it likes.

Spec: payments/settlement.md (Backing).
"""

import trio

from cocoon_p2p.payments.bank import Bank
from cocoon_p2p.protocols.messages import ChannelId

LOOK_SECONDS = 5.0
"A block takes about as long: nothing new is to be seen before."


class Looking:
    """Hands one channel's wishes to be looked at on to the bank; those of one pause are one."""

    def __init__(self) -> None:
        self._wanted = trio.Event()

    def want(self) -> None:
        """Have the contract looked at, because the peer says or does what does not fit what we saw."""
        self._wanted.set()

    async def serve(self, bank: Bank | None, channel: ChannelId) -> None:
        """Pass wishes on, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            if bank is not None:
                bank.look_soon(channel)
            await trio.sleep(LOOK_SECONDS)
