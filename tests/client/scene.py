"""A client on the memory network, and proxies (with the workers behind them) that a test plays by hand.

A *script* plays one exchange: it gets the `Talk` that an Ask opened and says what it likes. The
talk knows how an honest proxy and worker would say it; every step takes changes, so a lie is the
honest step with one thing wrong.
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import trio
import trio.testing

from cocoon_p2p.client import Client, Policy
from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import Identity, PeerId, network_id
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.network.transport import Stream
from cocoon_p2p.payments.pricing import client_amount, owed_usage, worker_amount
from cocoon_p2p.payments.settlement import Accounts, PayingAccount, ReceivingAccount, open_accounts
from cocoon_p2p.protocols import messages
from cocoon_p2p.protocols.contents import (
    AnswerContent,
    FinishReason,
    RequestContent,
    decode_request,
    encode_answer,
)
from cocoon_p2p.protocols.ids import EXCHANGE, Outcome, Reason, Role, Trust
from cocoon_p2p.protocols.messages import Ask, Chunk, Record, Signed, Usage
from cocoon_p2p.protocols.papers import encode_signed, paper_hash
from cocoon_p2p.protocols.schema import decode_paper
from cocoon_p2p.records import make_record, make_statement
from cocoon_p2p.sealing import RequestBinding, Session, accept
from cocoon_p2p.testing.memory import MemoryDirectory, MemoryNetwork, MemoryTransport
from cocoon_p2p.testing.papers import PaperDeal, PaperWorker, make_deal, paper_identity, paper_worker
from cocoon_p2p.testing.store import MemoryStore
from cocoon_p2p.units import Nano

NETWORK = network_id("test")
EPOCH = 1_800_000_000.0
CLIENT = paper_identity(1)
QUESTION = ({"role": "user", "content": "What is it?"},)
PROMPT = Usage(prompt=10, cached=0, completion=0, reasoning=0)
POLICY = Policy(
    trust=Trust.OPEN, max_cost=Nano(50_000), channel_capacity=Nano(10_000_000), timeout_seconds=30
)


def now() -> float:
    """Tell the date: trio's own clock, as seconds since the Unix epoch."""
    return EPOCH + trio.current_time()


class Dice:
    """Random bytes, the same in every run."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._drawn = 0

    def __call__(self, size: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_128(f"{self._seed} {self._drawn}".encode()).digest(size)


@dataclass
class Talk:
    """One exchange as the proxy and its worker see it."""

    proxy: "PlayedProxy"
    stream: MessageStream
    ask: Ask
    worker: PaperWorker
    is_silent: bool = False
    "Send no heartbeats."

    usage: Usage = PROMPT
    heard: list[object] = field(default_factory=list)
    "What the client said after its Ask, heartbeats left out."

    chunks: list[Chunk] = field(default_factory=list)
    request: RequestContent | None = None
    deal: PaperDeal = field(init=False)
    session: Session = field(init=False)
    number: int = 0

    @property
    def account(self) -> ReceivingAccount:
        assert self.ask.channel is not None
        return self.proxy.accounts.receiving(self.ask.channel, self.stream.peer)

    async def say(self, *said: object) -> None:
        await self.stream.send(*said)

    async def hear(self) -> object:
        """Give the client's next message, heartbeats left out."""
        while True:
            message = await self.stream.receive()
            if message is None:
                raise Unavailable("the client closed the stream")
            if not isinstance(message, messages.Heartbeat):
                self.heard.append(message)
                return message

    # ------------------------------------------------------------ honest steps

    async def quote(self, **changes: Any) -> None:
        self.deal = make_deal(
            self.ask,
            **{
                "worker": self.worker,
                "proxy": self.proxy.identity,
                "network": NETWORK,
                "now": now(),
                "commission_basis_points": self.proxy.commission_basis_points,
                **changes,
            },
        )
        await self.say(messages.Quoted(self.ask.exchange, self.deal.quote))

    async def open(self) -> RequestContent:
        """Take the Hello, if there is one, and the request; open its seal."""
        message = await self.hear()
        if isinstance(message, messages.Hello):
            await self.greet(message)
            message = await self.hear()
        plain = b""
        while True:
            assert isinstance(message, messages.Part), message
            self.session = self.proxy.sessions[message.session]
            self.number = message.request
            binding = RequestBinding(
                self.ask.exchange, paper_hash(self.deal.quote), self.ask.max_cost, self.ask.trust
            )
            plain += self.session.open_part(
                message.request, message.part, message.final, binding, message.sealed
            )
            if message.final:
                self.request = decode_request(plain)
                return self.request
            message = await self.hear()

    async def greet(self, hello: messages.Hello, **changes: Any) -> None:
        """Answer a Hello as the worker. `changes` replaces arguments of `sealing.accept`."""
        worker, draw = self.worker, self.proxy.draw
        arguments: dict[str, Any] = {
            "identity": worker.identity,
            "network": NETWORK,
            "sealing_secret": worker.sealing_secret,
            "statement_hash": paper_hash(worker.statement),
            "ephemeral_secret": draw(32),
            "session_id": draw(16),
            "now": now(),
            **changes,
        }
        accepted = accept(hello.hello, **arguments)
        self.proxy.sessions[accepted.session.id] = accepted.session
        await self.say(messages.Accept(self.ask.exchange, accepted.accept, accepted.signature))

    async def meter(self, usage: Usage = PROMPT) -> None:
        self.usage = usage
        await self.say(messages.PromptMetered(self.ask.exchange, usage))
        await self.cover()

    async def cover(self) -> None:
        """Wait until the client has covered what was used."""
        price = self.worker.offer.price
        amount = client_amount(worker_amount(self.usage, price), self.deal.commission_basis_points)
        with trio.fail_after(20):
            await self.account.cover(self.ask.exchange, amount)

    def make_chunk(
        self,
        text: str,
        tokens: int = 1,
        *,
        final: bool = False,
        sign: bool = True,
        carries: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> Chunk:
        """Seal the next chunk, with what it carries beyond text. `changes` replaces fields after that."""
        self.usage = replace(self.usage, completion=self.usage.completion + tokens)
        number = len(self.chunks)
        content = AnswerContent(text, FinishReason.STOP if final else None, **(carries or {}))
        sealed = self.session.seal_chunk(self.number, number, final, self.usage, encode_answer(content))
        chunk = Chunk(self.ask.exchange, number, final, self.usage, sealed)
        if sign:
            chunk = replace(chunk, meter_signature=self.deal.meter(self.usage).signature)
        self.chunks.append(chunk)
        return replace(chunk, **changes)

    async def chunk(self, text: str, tokens: int = 1, **options: Any) -> None:
        chunk = self.make_chunk(text, tokens, **options)
        await self.cover()
        await self.say(chunk)

    @property
    def answer_hash(self) -> bytes:
        return hashlib.sha256(b"".join(chunk.sealed for chunk in self.chunks)).digest()

    def settlement(self, outcome: Outcome = Outcome.COMPLETED, **changes: Any) -> Signed:
        return self.deal.settle(
            self.usage, **{"answer_hash": self.answer_hash, "outcome": outcome, **changes}
        )

    async def charge(self, settlement: Signed, outcome: Outcome = Outcome.COMPLETED) -> None:
        """Book at the proxy what the rules say, whatever the settlement says."""
        due = worker_amount(owed_usage(self.usage, outcome), self.worker.offer.price)
        amount = client_amount(due, self.deal.commission_basis_points)
        await self.account.charge(self.ask.exchange, amount, settlement)

    async def settle(
        self, outcome: Outcome = Outcome.COMPLETED, reason: Reason | None = None, **changes: Any
    ) -> None:
        settlement = self.settlement(outcome, **changes)
        await self.charge(settlement, outcome)
        await self.say(messages.Settled(self.ask.exchange, settlement, reason))

    async def refuse(self, reason: Reason, detail: str = "", **changes: Any) -> None:
        refusal = messages.Refused(self.ask.exchange, reason, detail, (), 0)
        await self.say(replace(refusal, **changes))

    async def begin(self, **changes: Any) -> RequestContent:
        """Be honest up to where prefill would start."""
        await self.quote(**changes)
        request = await self.open()
        await self.meter()
        return request


Script = Callable[[Talk], Awaitable[None]]


async def honest(talk: Talk) -> None:
    """Answer in three pieces."""
    if talk.ask.channel is None:
        await talk.quote()
        return
    await talk.begin()
    await talk.chunk("It ", 1)
    await talk.chunk("is ", 1)
    await talk.chunk("this.", 2, final=True)
    await talk.settle()


@dataclass
class PlayedProxy:
    """A proxy that plays by a script, and the worker behind it."""

    identity: Identity
    worker: PaperWorker
    script: Script
    accounts: Accounts
    network: MemoryNetwork
    transport: MemoryTransport
    draw: Dice
    commission_basis_points: int = 500
    sessions: dict[bytes, Session] = field(default_factory=dict)
    talks: list[Talk] = field(default_factory=list)
    streams: int = 0

    @property
    def peer(self) -> PeerId:
        return self.identity.peer_id

    async def accept(self, stream: Stream) -> None:
        self.streams += 1
        spoken = MessageStream(stream)
        try:
            while (message := await spoken.receive()) is not None:
                if isinstance(message, Ask):
                    await self._play(spoken, message)
        except Unavailable:
            return

    async def _play(self, stream: MessageStream, ask: Ask) -> None:
        talk = Talk(self, stream, ask, self.worker)
        self.talks.append(talk)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._beat, talk)
                await self.script(talk)
                nursery.cancel_scope.cancel()
        except* Unavailable:
            stream.reset()

    async def _beat(self, talk: Talk) -> None:
        while True:
            await trio.sleep(1)
            if not talk.is_silent:
                await talk.say(messages.Heartbeat(talk.ask.exchange, 0))

    def record(self, **changes: Any) -> Signed:
        statement = make_statement(
            self.identity, NETWORK, role=Role.PROXY, sealing_key=bytes(32), now=now(), nonce=bytes(16)
        )
        arguments: dict[str, Any] = {
            "role": Role.PROXY,
            "statement": statement,
            "addresses": self.transport.addresses,
            "models": (self.worker.offer,),
            "now": now(),
            "sequence": 1,
            "commission_basis_points": self.commission_basis_points,
            **changes,
        }
        return make_record(self.identity, NETWORK, **arguments)

    def account(self) -> ReceivingAccount:
        """Give the one account that is paid into here."""
        (account,) = self.accounts.payers()
        return account


@dataclass
class Scene:
    """Everything on the stage."""

    network: MemoryNetwork
    directory: MemoryDirectory
    client: Client
    proxies: tuple[PlayedProxy, ...]
    accounts: Accounts
    transport: MemoryTransport
    store: MemoryStore

    @property
    def proxy(self) -> PlayedProxy:
        return self.proxies[0]

    def paying(self, proxy: PlayedProxy | None = None) -> PayingAccount:
        """Give the client's account to a proxy (the first)."""
        payee = (proxy or self.proxy).peer
        return next(account for account in self.accounts.payees() if account.payee == payee)

    def publish(self, proxy: PlayedProxy, **changes: Any) -> Record:
        record = proxy.record(**changes)
        self.directory.records[proxy.peer] = encode_signed(record)
        return decode_paper(Record, record.body)

    async def agreed(self) -> None:
        """Assert, once all messages have arrived, that both sides hold the same to be owed."""
        await trio.testing.wait_all_tasks_blocked()
        ours, theirs = self.paying(), self.proxy.account()
        assert ours.charged == theirs.charged()
        assert ours.held == 0
        assert theirs.accrued == 0


@asynccontextmanager
async def scene(
    *scripts: Script,
    policy: Policy = POLICY,
    publish: bool = True,
    commissions: tuple[int, ...] = (),
    **offer: Any,
) -> AsyncIterator[Scene]:
    """Set the stage: a client, and one proxy a script. `offer` changes the workers' `ModelOffer`."""
    async with AsyncExitStack() as stack:
        network = await stack.enter_async_context(MemoryNetwork())
        directory = MemoryDirectory()
        proxies: list[PlayedProxy] = []
        for number, script in enumerate(scripts):
            identity = paper_identity(100 + number)
            transport = network.transport(identity)
            draw = Dice(f"proxy {number}")
            accounts = await stack.enter_async_context(
                open_accounts(
                    transport,
                    identity,
                    NETWORK,
                    MemoryStore(),
                    grant_policy=lambda payer: Nano(0),
                    draw=draw,
                    clock=now,
                )
            )
            worker = paper_worker(NETWORK, now=now(), number=number, **offer)
            proxy = PlayedProxy(identity, worker, script, accounts, network, transport, draw)
            if commissions:
                proxy.commission_basis_points = commissions[number]
            transport.accept_streams(EXCHANGE, proxy.accept)
            if publish:
                directory.records[proxy.peer] = encode_signed(proxy.record())
            proxies.append(proxy)
        transport, store, draw = network.transport(CLIENT, listen=False), MemoryStore(), Dice("client")
        accounts = await stack.enter_async_context(
            open_accounts(
                transport, CLIENT, NETWORK, store, grant_policy=lambda payer: Nano(0), draw=draw, clock=now
            )
        )
        client = await stack.enter_async_context(
            Client.open(
                transport, directory.of(transport), accounts, NETWORK, policy=policy, clock=now, draw=draw
            )
        )
        yield Scene(network, directory, client, tuple(proxies), accounts, transport, store)
