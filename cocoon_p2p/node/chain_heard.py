"""A node's chain, with a memory of when it answered last and what it said of the wallet.

Whoever shows the node reads that, and asks the chain nothing.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeVar

from cocoon_p2p.errors import RemoteProtocolError, Unavailable
from cocoon_p2p.payments.chain import AccountSeen, Chain, Transaction
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.units import Nano

T = TypeVar("T")

BEHIND_SECONDS = 60.0
"A public network makes a block every few seconds; a local one when there is something to put into it."


class ChainHeard:
    """A `Chain` that notes what another one answers.

    Attributes:
        answered_at: When it answered last, in seconds since the Unix epoch; None: never.
        ahead_seconds: How far the newest block that it told was ahead of this machine's clock then.
        is_away: Whether the last question had no answer.
    """

    def __init__(
        self, chain: Chain, *, makes_blocks: bool = True, clock: Callable[[], float] = time.time
    ) -> None:
        self._chain = chain
        self._makes_blocks = makes_blocks
        self._clock = clock
        self._balances: dict[AccountId, tuple[Nano, float]] = {}
        self.watched: frozenset[AccountId] = frozenset()
        "Accounts whose balances are remembered: our wallet."

        self.answered_at: float | None = None
        self.ahead_seconds = 0.0
        self.is_away = False

    @property
    def standing(self) -> Literal["unknown", "in step", "behind", "away"]:
        """How the chain stands, by its last answer."""
        if self.is_away:
            return "away"
        if self.answered_at is None:
            return "unknown"
        is_behind = self._makes_blocks and self.ahead_seconds < -BEHIND_SECONDS
        return "behind" if is_behind else "in step"

    def balance(self, account: AccountId) -> tuple[Nano, float] | None:
        """Give what a watched account held, and when that was, in seconds since the Unix epoch."""
        return self._balances.get(account)

    # ------------------------------------------------------------ the chain (`payments.chain.Chain`)

    @property
    def global_id(self) -> int:
        return self._chain.global_id

    async def time(self) -> int:
        at = await self._heard(self._chain.time())
        self._dated(at)
        return at

    async def account(self, account: AccountId) -> AccountSeen:
        seen = await self._heard(self._chain.account(account))
        self._dated(seen.at)
        if account in self.watched:
            self._balances[account] = seen.balance, self._clock()
        return seen

    async def transactions(self, account: AccountId, *, since_lt: int = 0) -> Sequence[Transaction]:
        return await self._heard(self._chain.transactions(account, since_lt=since_lt))

    async def send(self, message: bytes) -> None:
        await self._heard(self._chain.send(message))

    async def _heard(self, answer: Awaitable[T]) -> T:
        try:
            found = await answer
        except (Unavailable, RemoteProtocolError):
            self.is_away = True
            raise
        self.answered_at, self.is_away = self._clock(), False
        return found

    def _dated(self, at: float) -> None:
        self.ahead_seconds = at - self._clock()
