"""A lite server in front of a chain: what wallets connect to.

It makes a block whenever something ran, at once but not more often than `spacing_seconds`,
and an empty one when nothing did for `idle_seconds`: clients wait ten seconds for the next
block, and some give up for good if none comes.

Strangers' bytes never end it. A connection that breaks ADNL's rules is closed; a query that
cannot be served is answered with an error.
"""

import logging
import os
from collections.abc import Callable

import trio

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.identity import Identity
from cocoon_p2p.payments.devchain.adnl import AdnlConnection
from cocoon_p2p.payments.devchain.answering import answer
from cocoon_p2p.payments.devchain.chain import DevChain
from cocoon_p2p.payments.devchain.lite_answers import LiteError
from cocoon_p2p.payments.devchain.lite_queries import WaitMasterchainSeqno
from cocoon_p2p.payments.devchain.lookup import BAD_QUERY, QueryRefused
from cocoon_p2p.payments.devchain.packets import Answer, LiteQuery, Ping, Pong, Query
from cocoon_p2p.payments.devchain.tl import decode, decode_first, encode

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 256
WAITING_MAX = 16
"The most queries of one connection that wait for a block. All others are answered one after the other."

WAIT_MAX_SECONDS = 60.0
HANDSHAKE_SECONDS = 10.0

SILENT_SECONDS = 300.0
"How long a connection may say nothing. Clients ping every few seconds."

WRITE_SECONDS = 30.0
"How long a client may take to take an answer."

ANSWER_MAX_BYTES = (1 << 24) - (1 << 10)
"TL spells lengths in 24 bits, and an answer is packed into one more message."

_READ_BYTES = 1 << 16
_NONCE_BYTES = 32
_TIMED_OUT, _BUSY, _TOO_LARGE = 652, -429, -400

_CLIENTS_DOING = (
    MalformedMessage,
    trio.EndOfChannel,
    trio.TooSlowError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
)


async def serve_liteserver(
    chain: DevChain,
    listener: trio.abc.Listener[trio.abc.Stream],
    key: Identity,
    *,
    idle_seconds: float = 5.0,
    spacing_seconds: float = 0.01,
    make_block: Callable[[], object] | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve a chain to lite clients, and make its blocks, until cancelled.

    The chain may be used by others meanwhile, from tasks of the same trio run: what they do to
    it is in the next block too.

    Args:
        chain: The chain.
        listener: Where to listen; it is closed in the end.
        key: The server's own key, which clients must know.
        idle_seconds: After how long without a message an empty block is made.
        spacing_seconds: How long to wait after a block before the next.
        make_block: How a block is made; None: by the chain's own `make_block`, and kept nowhere.
        task_status: Started when connections are accepted.

    A cancel closes all connections. The chain stays as it is; what is in no block yet is in the next.
    """
    server = _LiteServer(chain, key)
    chain.watch(server.look)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                server.make_blocks, make_block or chain.make_block, idle_seconds, spacing_seconds
            )
            await nursery.start(trio.serve_listeners, server.serve, [listener])
            task_status.started()
    finally:
        chain.unwatch(server.look)


class _LiteServer:
    """What all connections share."""

    def __init__(self, chain: DevChain, key: Identity) -> None:
        self.chain = chain
        self.key = key
        self._connections = 0
        self._changed = trio.Event()
        self._seqno = chain.last.master.id.seqno
        self._new_block = trio.Event()

    def look(self) -> None:
        """Wake those who wait: called after every change of the chain."""
        self._changed.set()
        seqno = self.chain.last.master.id.seqno
        if seqno != self._seqno:
            self._seqno = seqno
            self._new_block.set()
            self._new_block = trio.Event()

    async def make_blocks(
        self, make_block: Callable[[], object], idle_seconds: float, spacing_seconds: float
    ) -> None:
        while True:
            with trio.move_on_after(idle_seconds):
                while not self.chain.is_block_due:
                    self._changed = trio.Event()
                    await self._changed.wait()
            make_block()
            await trio.sleep(spacing_seconds)

    async def block_after(self, seqno: int) -> None:
        """Wait until the chain has a block with this number."""
        while self.chain.last.master.id.seqno < seqno:
            await self._new_block.wait()

    def answer(self, query: object) -> object:
        """Answer a query that was read, with an error if need be."""
        try:
            return answer(self.chain, query)
        except QueryRefused as refused:
            return refused.answer
        except MalformedMessage as exc:
            return LiteError(BAD_QUERY, str(exc))

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection to its end, whatever it sends."""
        async with stream:
            if self._connections >= CONNECTIONS_MAX:
                log.warning("lite client refused", extra={"connections": self._connections})
                return
            self._connections += 1
            try:
                await _Connection(self, stream).run()
            except* _CLIENTS_DOING:
                log.debug("lite client dropped", exc_info=True)
            except* Exception:
                log.exception("a lite client's connection failed")
            finally:
                self._connections -= 1


class _Connection:
    """One client."""

    def __init__(self, server: _LiteServer, stream: trio.abc.Stream) -> None:
        self._server = server
        self._stream = stream
        self._adnl = AdnlConnection(server.key)
        self._sending = trio.Lock()
        self._waiting = 0

    async def run(self) -> None:
        """Shake hands, then answer until the client leaves.

        Raises:
            MalformedMessage: The client broke ADNL's rules.
            trio.EndOfChannel: It left.
            trio.TooSlowError: It said nothing for too long, or did not take what it asked for.
        """
        async with trio.open_nursery() as nursery:
            payloads: list[bytes] = []
            with trio.fail_after(HANDSHAKE_SECONDS):
                while not self._adnl.is_open:
                    payloads = self._adnl.receive(await self._read())
                await self._send(b"")
            while True:
                for payload in payloads:
                    await self._take(payload, nursery)
                payloads = self._adnl.receive(await self._read())

    async def _read(self) -> bytes:
        with trio.fail_after(SILENT_SECONDS):
            data = await self._stream.receive_some(_READ_BYTES)
        if not data:
            raise trio.EndOfChannel
        return bytes(data)

    async def _send(self, payload: bytes) -> None:
        # The cipher's state must advance in the order in which packets leave.
        async with self._sending:
            packet = self._adnl.send(payload, os.urandom(_NONCE_BYTES))
            with trio.fail_after(WRITE_SECONDS):
                await self._stream.send_all(packet)

    async def _take(self, payload: bytes, nursery: trio.Nursery) -> None:
        """Answer one packet, or have it answered when its block is there."""
        match decode(payload):
            case Ping(random_id):
                await self._send(encode(Pong(random_id)))
            case Query(query_id, data):
                await self._take_query(query_id, data, nursery)
            case _:
                raise MalformedMessage("neither a ping nor a query")

    async def _take_query(self, query_id: bytes, data: bytes, nursery: trio.Nursery) -> None:
        try:
            seqno, wait_seconds, query = _read_query(data)
        except MalformedMessage as exc:
            await self._answer(query_id, LiteError(BAD_QUERY, str(exc)))
            return
        if self._server.chain.last.master.id.seqno >= seqno:
            await self._answer(query_id, self._server.answer(query))
        elif self._waiting >= WAITING_MAX:
            await self._answer(query_id, LiteError(_BUSY, "too many queries wait for a block"))
        else:
            self._waiting += 1
            nursery.start_soon(self._answer_later, query_id, seqno, wait_seconds, query)

    async def _answer_later(self, query_id: bytes, seqno: int, wait_seconds: float, query: object) -> None:
        found: object = LiteError(_TIMED_OUT, "timeout")
        try:
            with trio.move_on_after(wait_seconds):
                await self._server.block_after(seqno)
                found = self._server.answer(query)
        finally:
            self._waiting -= 1
        await self._answer(query_id, found)

    async def _answer(self, query_id: bytes, found: object) -> None:
        answer = encode(found)
        if len(answer) > ANSWER_MAX_BYTES:
            answer = encode(LiteError(_TOO_LARGE, f"too large to answer (bytes={len(answer)})"))
        await self._send(encode(Answer(query_id, answer)))


def _read_query(data: bytes) -> tuple[int, float, object]:
    """Give the number of the block to wait for (0: none), how long in seconds, and what is asked then.

    Raises:
        MalformedMessage: It is no query of a lite server.
    """
    outer = decode(data)
    if not isinstance(outer, LiteQuery):
        raise MalformedMessage("not a lite server's query")
    query, rest = decode_first(outer.data)
    if isinstance(query, WaitMasterchainSeqno):
        seconds = min(max(query.timeout_ms, 0) / 1000, WAIT_MAX_SECONDS)
        return query.seqno, seconds, decode(rest)
    if rest:
        raise MalformedMessage("bytes are left after a query")
    return 0, 0.0, query
