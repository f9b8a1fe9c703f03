"""Lite servers on real sockets, in front of local chains, that misbehave on demand."""

import base64
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

import trio

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.identity import Identity
from cocoon_p2p.payments.devchain import DevChain
from cocoon_p2p.payments.devchain.adnl import AdnlConnection
from cocoon_p2p.payments.devchain.answering import answer
from cocoon_p2p.payments.devchain.lite_answers import LiteError
from cocoon_p2p.payments.devchain.lookup import QueryRefused
from cocoon_p2p.payments.devchain.network_config import global_config
from cocoon_p2p.payments.devchain.packets import Answer, LiteQuery, Ping, Pong, Query
from cocoon_p2p.payments.devchain.tl import decode, encode
from cocoon_p2p.payments.lite import Limits, LiteChain, Network, ZeroState, open_chain

NOW = 1_800_000_000
LOCALHOST = IPv4Address("127.0.0.1")
PATIENT = Limits(answer_seconds=20, call_seconds=60, pauses_seconds=(0.05, 0.1))
HASTY = Limits(answer_seconds=0.3, call_seconds=4.0, pauses_seconds=(0.05, 0.1))
"For servers that hang. A busy machine may find honest ones slow, too: they must get a second try."

Tamper = Callable[[object, object], object]
"From a query and its honest answer, what is sent instead: an answer, its bytes, or one of the following."

HANG, CLOSE, CUT, ENDLESS = object(), object(), object(), object()
"Say nothing; close; close in the middle of the answer; begin an answer of four gigabytes."


def honest(_: object, answered: object) -> object:
    return answered


@dataclass
class Server:
    """A lite server that answers out of a chain, as its `tamper` has it."""

    chain: DevChain
    operator: str
    tamper: Tamper = honest
    key: Identity = field(default_factory=lambda: Identity.from_seed(os.urandom(32)))
    port: int = 0
    asked: list[object] = field(default_factory=list[object])
    connections: int = 0
    open: int = 0
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    async def listen(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop`; the port stays the same when it is called again."""
        listeners = await trio.open_tcp_listeners(self.port, host=str(LOCALHOST))
        self.port = listeners[0].socket.getsockname()[1]
        with trio.CancelScope() as self.scope:
            await trio.serve_listeners(self._serve, listeners, task_status=task_status)

    def stop(self) -> None:
        self.scope.cancel()

    async def _serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        self.open += 1
        try:
            async with stream:
                await self._talk(stream)
        except (MalformedMessage, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.open -= 1

    async def _talk(self, stream: trio.abc.Stream) -> None:
        adnl = AdnlConnection(self.key)
        greeted = False
        while data := await stream.receive_some(1 << 16):
            payloads = adnl.receive(bytes(data))
            if adnl.is_open and not greeted:
                greeted = True
                await stream.send_all(adnl.send(b"", bytes(32)))
            for payload in payloads:
                message = decode(payload)
                if isinstance(message, Ping):
                    await stream.send_all(adnl.send(encode(Pong(message.random_id)), bytes(32)))
                    continue
                assert isinstance(message, Query)
                said = self._said(message.query)
                if said is HANG:
                    continue
                if said is CLOSE:
                    return
                if said is ENDLESS:
                    assert adnl._outgoing is not None
                    await stream.send_all(adnl._outgoing.update(b"\xff" * 4 + bytes(1 << 16)))
                    continue
                body = bytes(999) if said is CUT else said if isinstance(said, bytes) else encode(said)
                packet = adnl.send(encode(Answer(message.query_id, body)), bytes(32))
                if said is CUT:
                    await stream.send_all(packet[:500])
                    return
                await stream.send_all(packet)

    def _said(self, data: bytes) -> object:
        outer = decode(data)
        assert isinstance(outer, LiteQuery)
        query = decode(outer.data)
        self.asked.append(query)
        try:
            answered = answer(self.chain, query)
        except QueryRefused as refused:
            answered = refused.answer
        except MalformedMessage as exc:
            answered = LiteError(-400, str(exc))
        return self.tamper(query, answered)


@dataclass
class Scene:
    """Servers, and the configuration that names them."""

    nursery: trio.Nursery
    folder: Path
    chain: DevChain
    servers: list[Server] = field(default_factory=list[Server])

    async def server(self, operator: str, tamper: Tamper = honest, chain: DevChain | None = None) -> Server:
        server = Server(chain or self.chain, operator, tamper)
        await self.nursery.start(server.listen)
        self.servers.append(server)
        return server

    @property
    def config(self) -> Path:
        """Write the configuration that names all servers so far."""
        written = dict(global_config(LOCALHOST, 1, bytes(32), self.chain.history.first))
        written["liteservers"] = [
            {
                "ip": int(LOCALHOST),
                "port": server.port,
                "id": {"@type": "pub.ed25519", "key": base64.b64encode(server.key.public_key).decode()},
                "operator": server.operator,
            }
            for server in self.servers
        ]
        path = self.folder / "global.config.json"
        path.write_text(json.dumps(written))
        return path

    def network(self, *, operators_min: int = 2, is_of_now: bool = False) -> Network:
        """Describe the chain as if it were a public network."""
        first = self.chain.history.first
        zero = ZeroState(first.root_hash, first.file_hash)
        return Network("test", self.chain.global_id, zero, operators_min, is_of_now)

    @asynccontextmanager
    async def opened(self, *, operators_min: int = 2, limits: Limits = PATIENT) -> AsyncIterator[LiteChain]:
        async with open_chain(self.config, self.network(operators_min=operators_min), limits=limits) as chain:
            yield chain


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Scene]:
    """Set a scene, without servers yet. They are stopped in the end."""
    async with trio.open_nursery() as nursery:
        yield Scene(nursery, folder, DevChain(now=NOW))
        nursery.cancel_scope.cancel()


def forked(chain: DevChain) -> DevChain:
    """Begin a chain of one's own, with the same first block."""
    fork = DevChain(now=NOW)
    assert fork.history.first == chain.history.first
    return fork
