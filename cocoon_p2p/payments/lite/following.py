"""Reads every block of the basechain as it comes, for accounts that behave like channels.

Servers are believed in nothing here: what they list says where to look. A server that hides a block, or makes
one up, hides a channel from who looks here only, or has an account looked at for nothing.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from cocoon_p2p.errors import MalformedMessage, Unavailable
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.lite import queries
from cocoon_p2p.payments.lite.blocks import Listing, Place, due, read_listing, read_shards
from cocoon_p2p.payments.lite.client import LiteChain
from cocoon_p2p.payments.lite.proofs import BASECHAIN
from cocoon_p2p.payments.lite.queries import BlockId

log = logging.getLogger(__name__)

PAGES_MAX = 64
"Questions about one block: 16,384 transactions, more than a block of TON's has room for."


@dataclass(frozen=True, slots=True)
class BlocksRead:
    """What came of one look."""

    touched: frozenset[AccountId]
    "Accounts to be looked at."

    blocks: int
    "That were read."

    missed: int
    "That came too fast to be read, or that no server has any more."

    tops: tuple[BlockId, ...]
    "The shards' newest blocks, at which the next look begins."


class BlockFollower:
    """Reads on from where it was.

    Args:
        chain: The network.
        since: `BlocksRead.tops` of an earlier look, perhaps of another process; none: it begins now.
    """

    def __init__(self, chain: LiteChain, since: Sequence[BlockId] = ()) -> None:
        self._chain = chain
        self._tops = tuple(since)

    async def read_on(self) -> BlocksRead:
        """Read all blocks since the last look. A cancel or an error leaves them for the next one.

        Raises:
            Unavailable: No server answers.
        """
        tops = await self._chain.hint(queries.get_shards(await self._chain.newest()), read_shards)
        if tops is None:
            raise Unavailable("no lite server names the shards' newest blocks")
        places, missed = due(self._tops, tops)
        blocks = dict.fromkeys(top for top in tops if top not in self._tops)
        for place in places:
            found = await self._chain.hint(_question(place), partial(_read_block, place))
            if found is None:
                missed += 1
            else:
                blocks[found] = None
        touched: set[AccountId] = set()
        read = 0
        for block in blocks:
            found_in = await self._touched_in(block)
            missed += found_in is None
            read += found_in is not None
            touched |= found_in or frozenset()
        if missed:
            log.warning("blocks missed", extra={"missed": missed, "read": read})
        self._tops = tops
        return BlocksRead(frozenset(touched), read, missed, tops)

    async def _touched_in(self, block: BlockId) -> frozenset[AccountId] | None:
        """Give the accounts that a block touched; None: no server has it (any more), or it never ends."""
        touched: frozenset[AccountId] = frozenset()
        after: tuple[AccountId, int] | None = None
        for _ in range(PAGES_MAX):
            listing: Listing | None = await self._chain.hint(queries.list_block(block, after), read_listing)
            if listing is None:
                return None
            touched |= listing.touched
            after = listing.last
            if after is None:
                return touched
        return None


def _question(place: Place) -> bytes:
    return queries.look_up(place.seqno, workchain=BASECHAIN, shard=place.shard)


def _read_block(place: Place, answer: bytes) -> BlockId:
    block = queries.read_header(answer).block
    if (block.workchain, block.seqno) != (BASECHAIN, place.seqno):
        raise MalformedMessage("a block of another number than was asked for")
    return block
