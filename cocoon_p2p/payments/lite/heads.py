"""Which block counts: the newest that servers of enough operators name alike.

A server's proofs lead up to a masterchain block, and no further: that the block is the
network's own only its validators' signatures would prove. So its name is asked of servers of
different operators. Their newest blocks differ by a few, so the question is for one number:

    newest: a 105, b 103, c 9,000,000
    9,000,000  named by c alone
    105        c names another one than a: no two agree
    103        a and b name the same: it counts, and c, who names another, has lied

Whoever names another block of a number that counts has lied. What counts once is a floor: no
older block counts afterwards.
"""

import logging
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import trio

from cocoon_p2p.errors import MalformedMessage, Unavailable
from cocoon_p2p.payments.lite import queries
from cocoon_p2p.payments.lite.proofs import prove_header
from cocoon_p2p.payments.lite.queries import BlockId, HeaderAnswer, ServerError, ZeroState
from cocoon_p2p.payments.lite.server import LiteServer

log = logging.getLogger(__name__)

BEHIND_MAX = 32
"How many blocks a server may be behind before it rests: a minute or two of a public network's."

HURRY_SECONDS = 0.3
"How long the others are waited for once enough have answered."

OF_NO_USE = (Unavailable, MalformedMessage, ServerError)
"What a server's failure, lie or refusal comes as. Another may do better."


@dataclass(frozen=True, slots=True)
class Agreed:
    """A masterchain block that counts."""

    block: BlockId
    servers: tuple[LiteServer, ...]
    "Those who named it."


@dataclass(frozen=True, slots=True)
class Vote:
    """A server's word for a block of a number."""

    server: LiteServer
    block: BlockId


def counting(votes: Iterable[Vote], operators_min: int) -> tuple[BlockId | None, tuple[LiteServer, ...]]:
    """Count who names which block, all of one number.

    Returns:
        The block that counts, and the servers that named it. None if no block counts, or two do: then
        nobody is believed.
    """
    by_block: dict[BlockId, list[LiteServer]] = {}
    for vote in votes:
        by_block.setdefault(vote.block, []).append(vote.server)
    won = [
        (block, tuple(servers))
        for block, servers in by_block.items()
        if len({server.operator for server in servers}) >= operators_min
    ]
    return won[0] if len(won) == 1 else (None, ())


class Heads:
    """Asks servers for the block that counts."""

    def __init__(self, servers: Sequence[LiteServer], zero_state: ZeroState, operators_min: int) -> None:
        self._servers = servers
        self._zero_state = zero_state
        self._operators_min = operators_min
        self._floor = 0

    def askable(self) -> list[LiteServer]:
        """Give the servers that do not rest: one of each operator, then each one's second, and so on."""
        before: Counter[str] = Counter()
        ranked: list[tuple[int, LiteServer]] = []
        for server in self._servers:
            if not server.rest_seconds:
                ranked.append((before[server.operator], server))
                before[server.operator] += 1
        return [server for _, server in sorted(ranked, key=lambda one: one[0])]

    async def agreed(self) -> Agreed:
        """Find the newest block that counts. Its number is never below an earlier one's.

        One try: first with as few servers as can agree and a spare, then with all.

        Raises:
            Unavailable: Too few servers answer, or they disagree.
        """
        askable = self.askable()
        wanted = self._operators_min + (self._operators_min > 1)
        few = askable[:wanted]
        for some in (few, askable) if len(few) < len(askable) else (askable,):
            told = await self._heads([server for server in some if not server.rest_seconds])
            agreed = await self._common(told)
            if agreed is not None:
                self._floor = max(self._floor, agreed.block.seqno)
                return agreed
        raise Unavailable(
            f"too few lite servers agree on the chain's newest block (needed={self._operators_min} operators,"
            f" resting={len(self._servers) - len(self.askable())} of {len(self._servers)} servers)",
            hint="wait, or name more servers in the network's configuration",
            retry_after=self._rest_seconds(),
        )

    def _rest_seconds(self) -> float:
        """Say after how long servers of enough operators may be asked."""
        rests: dict[str, float] = {}
        for server in self._servers:
            rests[server.operator] = min(server.rest_seconds, rests.get(server.operator, math.inf))
        return sorted(rests.values())[self._operators_min - 1]

    async def _heads(self, servers: Sequence[LiteServer]) -> list[Vote]:
        """Ask for the newest blocks. Who is much slower than enough others has failed."""
        told: list[Vote] = []
        waiting = list(servers)

        async def ask(server: LiteServer) -> None:
            vote = await self._head(server)
            waiting.remove(server)
            if vote is not None:
                told.append(vote)
            if len({vote.server.operator for vote in told}) >= self._operators_min:
                hurry = trio.current_time() + HURRY_SECONDS
                nursery.cancel_scope.deadline = min(nursery.cancel_scope.deadline, hurry)

        async with trio.open_nursery() as nursery:
            for server in servers:
                nursery.start_soon(ask, server)
        for server in waiting:
            await server.failed("it is slow to answer")
        return told

    async def _head(self, server: LiteServer) -> Vote | None:
        """Ask a server for its newest block. None: it is of no use now."""
        try:
            info = await server.ask(queries.get_info(), queries.read_info)
        except ServerError as exc:
            await server.failed(str(exc))
            return None
        except (Unavailable, MalformedMessage):
            return None
        if info.zero_state != self._zero_state:
            await server.set_aside("it serves another network")
            return None
        if info.last.seqno < self._floor - BEHIND_MAX:
            await server.failed(f"it went back in time (seqno={info.last.seqno} known={self._floor})")
            return None
        return Vote(server, info.last)

    async def _common(self, told: Sequence[Vote]) -> Agreed | None:
        """Find the highest number of which enough name the same block."""
        floor = self._floor
        for seqno in sorted({vote.block.seqno for vote in told}, reverse=True):
            if seqno < floor:
                break
            able = [vote for vote in told if vote.block.seqno >= seqno]
            if len({vote.server.operator for vote in able}) < self._operators_min:
                continue
            votes = await self._votes(seqno, able)
            block, servers = counting(votes, self._operators_min)
            if block is not None:
                for vote in votes:
                    if vote.block != block:
                        await vote.server.set_aside(f"it names a block of its own (seqno={seqno})")
                return Agreed(block, servers)
            if len({vote.block for vote in votes}) > 1:
                log.error(
                    "lite servers disagree",
                    extra={"seqno": seqno, "servers": [str(vote.server.address) for vote in votes]},
                )
        return None

    async def _votes(self, seqno: int, told: Sequence[Vote]) -> list[Vote]:
        votes = [vote for vote in told if vote.block.seqno == seqno]

        async def ask(server: LiteServer) -> None:
            try:
                votes.append(Vote(server, await named(server, seqno)))
            except OF_NO_USE:
                return

        async with trio.open_nursery() as nursery:
            for vote in told:
                if vote.block.seqno > seqno:
                    nursery.start_soon(ask, vote.server)
        return votes


async def named(server: LiteServer, seqno: int) -> BlockId:
    """Ask a server which block of the masterchain has a number. Raises as `LiteServer.ask`."""

    def read(answer: bytes) -> HeaderAnswer:
        found = queries.read_header(answer)
        prove_header(found.proof, found.block)
        if found.block.seqno != seqno or found.block.workchain != queries.MASTERCHAIN:
            raise MalformedMessage("a block of another number than was asked for")
        return found

    return (await server.ask(queries.look_up(seqno), read)).block
