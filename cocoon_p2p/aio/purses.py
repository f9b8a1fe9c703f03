"""The purses of a client for asyncio programs: the same names and meanings as on trio."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from cocoon_p2p.client import Budget, Client, PurseView
from cocoon_p2p.units import Nano

Result = TypeVar("Result")


class Call(Protocol):
    """Has something done by the client on trio, and waits for it."""

    async def __call__(self, work: Callable[[Client], Awaitable[Result]], /) -> Result: ...


class Purses:
    """Whose budgets requests are paid from. Every method is as the trio client's."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def allow(self, name: str, budget: Budget | None) -> PurseView:
        """Give a purse a budget in place of the one that it has; None: what it spends is only counted."""
        return await self._call(lambda client: client.purses.allow(name, budget))

    async def top_up(self, name: str, amount: Nano, *, once: str | None = None) -> PurseView:
        """Add money that is spent once the budget is; with `once`, only the first time that it is told."""
        return await self._call(lambda client: client.purses.top_up(name, amount, once=once))

    async def look(self, name: str) -> PurseView:
        """Show one purse."""
        return await self._call(lambda client: client.purses.look(name))

    async def list(self, prefix: str = "") -> tuple[PurseView, ...]:
        """Show all purses whose names begin so, in the order of their names."""
        return await self._call(lambda client: client.purses.list(prefix))
