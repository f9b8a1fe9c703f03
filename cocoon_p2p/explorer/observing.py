"""Looks at a chain for channels: which open, what lies in them, what they pay.

Blocks say where to look, and are not believed; each contract is then looked at by itself, with proof. So
what is told here is never more than there is. It may be less: of channels that opened before this began,
those that have paid nothing since; and what came while blocks were missed.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import trio

from cocoon_p2p.errors import RemoteProtocolError, Unavailable
from cocoon_p2p.explorer.channels import Followed, Looked, Settlement, look, look_gone, state_of
from cocoon_p2p.payments.chain import Chain, Transaction
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.lite import BlocksRead
from cocoon_p2p.payments.lite.queries import BlockId

log = logging.getLogger(__name__)

FOLLOWED_MAX = 8192
"Channels that are followed at once."

LOOKS_MAX = 128
"Contracts that one round looks at. Those that are followed come first."

WAITING_MAX = 4096
"Accounts that wait to be looked at. Anybody can make one look like a channel, for the price of a message."

SWEPT = 16
"Channels a round that no block told of, those first that were looked at longest ago: a block may be hidden."

AT_ONCE_MAX = 4


class Blocks(Protocol):
    """Who says where to look (`payments.lite.BlockFollower`)."""

    async def read_on(self) -> BlocksRead: ...


@dataclass(frozen=True, slots=True)
class ChainSeen:
    """What one round came to."""

    at: int
    "The chain's time when the round began, in seconds since the Unix epoch."

    followed: tuple[Followed, ...]
    "Channels that changed, or were looked at again."

    gone: tuple[AccountId, ...]
    "That are followed no more."

    opened: int
    "Of `followed`, those that were not known before."

    settlements: tuple[Settlement, ...]
    blocks: int
    missed: int
    tops: tuple[BlockId, ...] | None
    "Where the next process goes on; None: where the last one said, since some looks failed."

    left_out: int
    "Channels for which there was no room."


@dataclass(slots=True)
class _Round:
    followed: list[Followed] = field(default_factory=list[Followed])
    gone: list[AccountId] = field(default_factory=list[AccountId])
    settlements: list[Settlement] = field(default_factory=list[Settlement])
    failed: list[AccountId] = field(default_factory=list[AccountId])
    opened: int = 0
    left_out: int = 0


class Observer:
    """Looks at one chain.

    Args:
        chain: Proves what is in contracts.
        blocks: Says which to look at.
        followed: The channels that were followed when this ran last.
    """

    def __init__(self, chain: Chain, blocks: Blocks, followed: Iterable[Followed] = ()) -> None:
        self._chain = chain
        self._blocks = blocks
        self._followed = {channel.account: channel for channel in followed}
        self._waiting: dict[AccountId, None] = {}

    @property
    def followed(self) -> Mapping[AccountId, Followed]:
        """The channels that are followed now."""
        return self._followed

    async def look(self) -> ChainSeen:
        """Look once. Whoever cancels it, or does not keep what it gives, must begin anew from what was kept.

        Raises:
            Unavailable: The chain does not answer.
        """
        # First, because nothing may fail once something was counted.
        at = await self._chain.time()
        read = await self._blocks.read_on()
        room = max(0, WAITING_MAX - len(self._waiting))
        self._waiting |= dict.fromkeys(sorted(read.touched)[:room])
        lost = max(0, len(read.touched) - room)
        done = _Round()
        places = trio.CapacityLimiter(AT_ONCE_MAX)
        async with trio.open_nursery() as nursery:
            for account in self._due():
                self._waiting.pop(account, None)
                nursery.start_soon(self._look_at, account, done, places)
        self._waiting |= dict.fromkeys(done.failed)
        return ChainSeen(
            at=at,
            followed=tuple(done.followed),
            gone=tuple(done.gone),
            opened=done.opened,
            settlements=tuple(done.settlements),
            blocks=read.blocks,
            missed=read.missed,
            tops=None if self._waiting else read.tops,
            left_out=done.left_out + lost,
        )

    def _due(self) -> list[AccountId]:
        known = [account for account in self._waiting if account in self._followed]
        others = [account for account in self._waiting if account not in self._followed]
        leaving = [channel.account for channel in self._followed.values() if channel.gone_at]
        swept = sorted(self._followed.values(), key=lambda channel: channel.looked_at)[:SWEPT]
        wanted = (*known, *leaving, *(channel.account for channel in swept), *others)
        return list(dict.fromkeys(wanted))[:LOOKS_MAX]

    async def _look_at(self, account: AccountId, done: _Round, places: trio.CapacityLimiter) -> None:
        known = self._followed.get(account)
        async with places:
            try:
                looked = await self._looked(account, known)
            except Unavailable as error:
                log.info("a contract was not seen", extra={"error": str(error)})
                done.failed.append(account)
                return
            except RemoteProtocolError as error:
                # Whatever it is, it is no channel.
                log.info("an account cannot be read", extra={"error": str(error)})
                return
        if known is None and looked.channel is not None:
            if len(self._followed) >= FOLLOWED_MAX:
                done.left_out += 1
                return
            done.opened += 1
        done.settlements += looked.settlements
        if looked.channel is not None:
            self._followed[account] = looked.channel
            done.followed.append(looked.channel)
        elif known is not None:
            del self._followed[account]
            done.gone.append(account)

    async def _looked(self, account: AccountId, known: Followed | None) -> Looked:
        seen = await self._chain.account(account)
        state = state_of(seen)
        if state is not None:
            is_new = known is None or known.epoch != state.epoch
            since = state.epoch - 1 if known is None or is_new else known.lt
            return look(known, seen, state, await self._past(account, since))
        if known is None:
            return Looked(None)
        past = [*await self._past(known.payer, known.lt), *await self._past(known.payee, known.lt)]
        return look_gone(known, seen.at, past)

    async def _past(self, account: AccountId, since_lt: int) -> Sequence[Transaction]:
        try:
            return await self._chain.transactions(account, since_lt=since_lt)
        except RemoteProtocolError as error:
            # Whose history cannot be read must not have what is gone pass for locked.
            log.info("a history cannot be read", extra={"error": str(error)})
            return ()
