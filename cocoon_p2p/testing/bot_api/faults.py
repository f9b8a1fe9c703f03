"""What goes wrong on the way, as a test orders it.

The dearest of them is `drop_after`: the call took effect, and the bot never hears of it. `sendMessage` has
nothing by which the server could know a second try for the same message: who tries again has said it twice.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum


class ConnectionLost(Exception):
    """The connection of a call shall break off, without an answer."""


class FaultKind(Enum):
    """How a call goes wrong."""

    DROP_BEFORE = "the connection is lost before the call takes effect"
    DROP_AFTER = "the connection is lost after the call took effect"
    ERROR = "an error of the server's, before the call takes effect"
    ERROR_AFTER = "an error of the server's, after the call took effect"
    FLOOD = "429, whatever was sent so far"
    HOLD = "the call waits until it is released, and then takes effect"


@dataclass(slots=True, eq=False)
class Fault:
    """One order. It is taken by the first call that it fits, and then used up."""

    kind: FaultKind
    method: str = ""
    "Which method; empty fits all but getUpdates, which only an order by its name meets."

    chat_id: int | None = None
    status: int = 500
    retry_after: int = 1
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    "Set once a call has met it."

    released: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    "Set once the call that was held goes on, or was given up."

    def release(self) -> None:
        """Let the call that is held go on."""
        self.released.set()

    def fits(self, method: str, chat_id: int | None) -> bool:
        """Tell whether it is meant for this call."""
        named = self.method.lower() == method.lower() if self.method else method.lower() != "getupdates"
        return named and self.chat_id in (None, chat_id)


Policy = Callable[[str, int | None], Fault | None]
"What goes wrong with a call of this method to this chat, if anything."


class Faults:
    """The orders of a test, in order."""

    def __init__(self) -> None:
        self._orders: list[Fault] = []
        self.policy: Policy | None = None
        "Asked for calls that no order fits: for faults by chance, from a seeded source."

    @property
    def left(self) -> tuple[Fault, ...]:
        """What no call has met yet."""
        return tuple(self._orders)

    def drop_before(self, method: str = "", *, chat_id: int | None = None) -> Fault:
        """Lose the connection before the next call of the method takes effect."""
        return self._order(Fault(FaultKind.DROP_BEFORE, method, chat_id))

    def drop_after(self, method: str = "", *, chat_id: int | None = None) -> Fault:
        """Lose the connection after it took effect."""
        return self._order(Fault(FaultKind.DROP_AFTER, method, chat_id))

    def error(
        self, method: str = "", *, status: int = 500, chat_id: int | None = None, after: bool = False
    ) -> Fault:
        """Answer with an error: 500 is the server's own; another comes from before it, as a page of HTML."""
        kind = FaultKind.ERROR_AFTER if after else FaultKind.ERROR
        return self._order(Fault(kind, method, chat_id, status=status))

    def flood(self, method: str = "", *, retry_after: int = 1, chat_id: int | None = None) -> Fault:
        """Answer 429, as the server does at times whatever was sent."""
        return self._order(Fault(FaultKind.FLOOD, method, chat_id, retry_after=retry_after))

    def hold(self, method: str = "", *, chat_id: int | None = None) -> Fault:
        """Keep the call until `release()`; `await fault.reached.wait()` says that it came."""
        return self._order(Fault(FaultKind.HOLD, method, chat_id))

    def take(self, method: str, chat_id: int | None) -> Fault | None:
        """Give the order that fits this call, if any, and strike it out."""
        for fault in self._orders:
            if fault.fits(method, chat_id):
                self._orders.remove(fault)
                fault.reached.set()
                return fault
        return self.policy(method, chat_id) if self.policy is not None else None

    def _order(self, fault: Fault) -> Fault:
        self._orders.append(fault)
        return fault
