"""Carries a lookup out: asks whom it chooses, side by side, and ends with it."""

import logging
from collections.abc import Awaitable, Callable, Sequence

import trio

from cocoon_p2p.errors import RemoteProtocolError, Unavailable
from cocoon_p2p.identity import PeerId
from cocoon_p2p.network.libp2p.disjoint import DisjointLookup

log = logging.getLogger(__name__)

LATE_SECONDS = 1.0
"After this long a lookup goes on without an answer. Some dead servers do not refuse, they are silent."


class Walk:
    """One lookup under way. Once it needs to wait for nobody it ends, and cancels what is asked yet.

    Args:
        lookup: Chooses.
        ask: Asks a server, and gives whom it named; raises `Unavailable` or `RemoteProtocolError`.
        note_late: Told who took long.
    """

    def __init__(
        self,
        lookup: DisjointLookup,
        ask: Callable[[PeerId], Awaitable[Sequence[PeerId]]],
        note_late: Callable[[PeerId], None],
    ) -> None:
        self._lookup = lookup
        self._ask = ask
        self._note_late = note_late
        # Who is asked and not late, in the order of asking.
        self._asked_at: dict[PeerId, float] = {}

    async def run(self) -> None:
        """Ask until the lookup is done. A cancel leaves nothing under way."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, nursery)
            self._advance(nursery)

    def _advance(self, nursery: trio.Nursery) -> None:
        for peer in self._lookup.take():
            self._asked_at[peer] = trio.current_time()
            nursery.start_soon(self._ask_one, nursery, peer)
        if not self._lookup.is_waiting:
            nursery.cancel_scope.cancel()

    async def _ask_one(self, nursery: trio.Nursery, peer: PeerId) -> None:
        try:
            named = await self._ask(peer)
        except (Unavailable, RemoteProtocolError) as exc:
            log.debug("kad question failed", extra={"reason": str(exc)})
            self._lookup.failed(peer)
        else:
            self._lookup.answered(peer, named)
        self._asked_at.pop(peer, None)
        self._advance(nursery)

    async def _watch(self, nursery: trio.Nursery) -> None:
        """Let the lookup go on without whoever takes long."""
        while True:
            oldest = min(self._asked_at.values(), default=trio.current_time())
            await trio.sleep_until(oldest + LATE_SECONDS)
            for peer, asked_at in tuple(self._asked_at.items()):
                if trio.current_time() - asked_at >= LATE_SECONDS:
                    del self._asked_at[peer]
                    self._lookup.late(peer)
                    self._note_late(peer)
            self._advance(nursery)
