"""A worker on the memory network, and a proxy and a client beside it that a test moves by hand."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import trio
import trio.testing

from cocoon_p2p.identity import Identity, network_id
from cocoon_p2p.inference.engine import Engine
from cocoon_p2p.inference.measuring.levels import Speeds
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.network.transport import Stream
from cocoon_p2p.payments.paying import PayingAccount
from cocoon_p2p.payments.settlement import Accounts, ReceivingAccount, open_accounts
from cocoon_p2p.protocols.contents import (
    AnswerContent,
    ChatTurn,
    RequestContent,
    cut_parts,
    decode_answer,
    encode_request,
)
from cocoon_p2p.protocols.ids import EXCHANGE, HEARTBEAT_SECONDS, SESSION, Kind, Role, Trust
from cocoon_p2p.protocols.messages import (
    Accept,
    Assign,
    Cancel,
    Chunk,
    ExchangeId,
    Heartbeat,
    Hello,
    Part,
    Price,
    PromptMetered,
    Quote,
    Receipt,
    Receipted,
    Refused,
    Register,
    Registered,
    Signed,
)
from cocoon_p2p.protocols.papers import check, paper_hash, sign
from cocoon_p2p.records import check_pair, check_record
from cocoon_p2p.sealing import RequestBinding, Session, start
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.testing.memory import MemoryNetwork, MemoryTransport
from cocoon_p2p.testing.store import MemoryStore
from cocoon_p2p.units import Nano
from cocoon_p2p.worker import Worker, serve_worker

NETWORK = network_id("test")
WORKER, PROXY, STRANGER = (Identity.from_seed(bytes([number]) * 32) for number in (1, 2, 3))
PRICE = Price(prompt=1_000, cached=100, completion=10_000, reasoning=10_000)
COMMISSION = 500
MAX_COST = 1_000_000
EPOCH = 1_700_000_000
QUESTION = "one two three"
CONTENT = RequestContent(
    kind=Kind.CHAT,
    model="scripted",
    messages=(ChatTurn("user", QUESTION),),
    completion_tokens_max=100,
    temperature_milli=0,
    top_p_milli=1000,
    stop=(),
    ignore_eos=False,
    answer_prefix="",
)


def now() -> float:
    return EPOCH + trio.current_time()


class Dice:
    """Draws bytes that never repeat, the same in every run."""

    def __init__(self) -> None:
        self._drawn = 0

    def __call__(self, size: int) -> bytes:
        self._drawn += 1
        return self._drawn.to_bytes(8, "big").rjust(size, b"\1")[-size:]


@dataclass
class Told:
    """What the worker has told a proxy on its session streams."""

    messages: list[object] = field(default_factory=list)
    streams: list[MessageStream] = field(default_factory=list)

    def newest(self) -> Register:
        return [message for message in self.messages if isinstance(message, Register)][-1]


@dataclass
class Ask:
    """One exchange as client and proxy see it: what was asked, and all that came back."""

    exchange: ExchangeId
    assign: Assign
    binding: RequestBinding
    session: Session | None = None
    request: int = 0
    heard: list[object] = field(default_factory=list)
    contents: list[AnswerContent] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(content.text for content in self.contents)

    @property
    def chunks(self) -> list[Chunk]:
        return [message for message in self.heard if isinstance(message, Chunk)]

    @property
    def metered(self) -> PromptMetered:
        (metered,) = [message for message in self.heard if isinstance(message, PromptMetered)]
        return metered

    @property
    def refused(self) -> Refused:
        message = self.heard[-1]
        assert isinstance(message, Refused)
        return message

    @property
    def receipted(self) -> Receipted:
        message = self.heard[-1]
        assert isinstance(message, Receipted)
        return message

    @property
    def receipt(self) -> Receipt:
        """The receipt, its signature checked."""
        return check(Receipt, self.receipted.receipt, signer=WORKER.peer_id, network=NETWORK)

    def seal(self, content: RequestContent = CONTENT, *, binding: RequestBinding | None = None) -> list[Part]:
        """Seal a request as the client does."""
        assert self.session is not None
        self.request = self.session.next_request()
        plain = cut_parts(encode_request(content))
        return [
            Part(
                self.exchange,
                self.session.id,
                self.request,
                number,
                number == len(plain) - 1,
                self.session.seal_part(
                    self.request, number, number == len(plain) - 1, binding or self.binding, piece
                ),
            )
            for number, piece in enumerate(plain)
        ]

    def hear(self, message: object) -> None:
        self.heard.append(message)
        if isinstance(message, Chunk):
            assert self.session is not None
            plain = self.session.open_chunk(
                self.request, message.number, message.final, message.usage, message.sealed
            )
            self.contents.append(decode_answer(plain))


class Scene:
    """The proxy's and the client's hands."""

    price = PRICE

    def __init__(
        self,
        network: MemoryNetwork,
        proxy: MemoryTransport,
        told: Told,
        worker: Worker,
        accounts: Accounts,
        paying: PayingAccount,
        store: MemoryStore,
        dice: Dice,
        nursery: trio.Nursery,
        serving: trio.CancelScope,
    ) -> None:
        self.network = network
        self.proxy = proxy
        self.told = told
        self.worker = worker
        self.accounts = accounts
        self.paying = paying
        self.store = store
        self.nursery = nursery
        self._dice = dice
        self._serving = serving

    @property
    def account(self) -> ReceivingAccount:
        """Where the worker is paid by the proxy."""
        return self.accounts.receiving(self.paying.channel, PROXY.peer_id)

    async def stop(self) -> None:
        """Cancel the worker, and wait until it is gone."""
        self._serving.cancel()
        while self.worker.slots.running:
            await self.worker.slots.changed.wait()

    async def open(self) -> MessageStream:
        """Open an exchange stream as the proxy."""
        return MessageStream(await self.proxy.open_stream(WORKER.peer_id, EXCHANGE))

    def ask(
        self, *, record: Signed | None = None, exchange: ExchangeId | None = None, **changes: object
    ) -> Ask:
        """Make up a client's question, and the proxy's assignment of it."""
        exchange = exchange or ExchangeId(self._dice(16))
        registered = self.told.newest()
        record = record or registered.record
        price = check_record(record, network=NETWORK, now=now(), role=Role.WORKER).models[0].price
        quote = Quote(
            exchange, bytes(32), record, registered.statement, price, COMMISSION, int(now()) + 30, 0, 16, True
        )
        signed = sign(PROXY, NETWORK, quote)
        assign = Assign(
            exchange,
            signed,
            self.paying.channel,
            deadline_ms=120_000,
            amount_max=MAX_COST,
            model="scripted",
            kind=Kind.CHAT,
            completion_tokens_max=100,
            max_cost=MAX_COST,
            trust=Trust.OPEN,
        )
        assign = replace(assign, **changes)  # type: ignore[arg-type]
        return Ask(exchange, assign, RequestBinding(exchange, paper_hash(signed), MAX_COST, Trust.OPEN))

    async def greet(self, ask: Ask, stream: MessageStream) -> None:
        """Make a sealing session, the assignment before it."""
        registered = self.told.newest()
        record = check_record(registered.record, network=NETWORK, now=now(), role=Role.WORKER)
        statement = check_pair(record, registered.statement, network=NETWORK, now=now(), role=Role.WORKER)
        handshake = start(
            statement,
            network=NETWORK,
            ephemeral_secret=self._dice(32),
            nonce=self._dice(32),
            statement_hash=paper_hash(registered.statement),
        )
        await stream.send(ask.assign, Hello(ask.exchange, handshake.hello))
        accept = await stream.receive()
        assert isinstance(accept, Accept), accept
        ask.session = handshake.finish(accept.accept, accept.signature, now=now())

    def hold(self, ask: Ask, amount: int = 10_000) -> None:
        """Cover the exchange with vouchers."""
        self.paying.hold(ask.exchange, Nano(amount))

    async def listen(self, ask: Ask, stream: MessageStream, *, until: type[object] | None = None) -> None:
        """Hear what comes until the exchange ends (or until a message of a kind), heartbeats going out."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beat, stream, ask.exchange)
            while True:
                message = await stream.receive()
                assert message is not None, "the worker closed the stream"
                ask.hear(message)
                if isinstance(message, until or (Refused, Receipted)):
                    nursery.cancel_scope.cancel()
                    return

    async def run(
        self, ask: Ask, stream: MessageStream | None = None, *, content: RequestContent = CONTENT
    ) -> Ask:
        """Do one exchange from end to end."""
        stream = stream or await self.open()
        self.hold(ask)
        if ask.session is None:
            await self.greet(ask, stream)
            await stream.send(*ask.seal(content))
        else:
            await stream.send(ask.assign, *ask.seal(content))
        await self.listen(ask, stream)
        return ask

    async def begin(
        self, *, until: type[object] = Chunk, hold: int = 10_000, **changes: object
    ) -> tuple[Ask, MessageStream]:
        """Begin an exchange and come as far as a message of this kind."""
        ask, stream = self.ask(**changes), await self.open()  # type: ignore[arg-type]
        self.hold(ask, hold)
        await self.greet(ask, stream)
        await stream.send(*ask.seal())
        await self.listen(ask, stream, until=until)
        return ask, stream

    async def cancel(self, ask: Ask, stream: MessageStream, cancel: Cancel) -> None:
        await stream.send(cancel)
        await self.listen(ask, stream)

    async def settled(self) -> None:
        """Let everything that is under way come to rest, without time going by."""
        await trio.testing.wait_all_tasks_blocked()


async def beat(stream: MessageStream, exchange: ExchangeId) -> None:
    while True:
        await trio.sleep(HEARTBEAT_SECONDS)
        await stream.send(Heartbeat(exchange, 0))


@asynccontextmanager
async def scene(
    engine: Engine | None = None,
    *,
    prices: Mapping[str, Price] | None = None,
    grant: int = 0,
    capacity: int = 10**9,
    store: MemoryStore | None = None,
    speeds: Mapping[str, Speeds] | None = None,
) -> AsyncIterator[Scene]:
    """Run a worker that has registered with the proxy, and open the proxy's channel to it."""
    told, dice, store = Told(), Dice(), store or MemoryStore()

    async def take_session(stream: Stream) -> None:
        messages = MessageStream(stream)
        told.streams.append(messages)
        while (message := await messages.receive()) is not None:
            told.messages.append(message)
            if isinstance(message, Register):
                record = check_record(message.record, network=NETWORK, now=now(), role=Role.WORKER)
                await messages.send(Registered(record.sequence))

    async with MemoryNetwork() as network, trio.open_nursery() as nursery:
        near, proxy = network.transport(WORKER, listen=False), network.transport(PROXY)
        proxy.accept_streams(SESSION, take_session)
        async with (
            open_accounts(
                near, WORKER, NETWORK, store, grant_policy=lambda _: Nano(grant), draw=dice, clock=now
            ) as earning,
            open_accounts(
                proxy, PROXY, NETWORK, MemoryStore(), grant_policy=lambda _: Nano(0), draw=dice, clock=now
            ) as spending,
        ):
            serve = partial(
                serve_worker,
                transport=near,
                identity=WORKER,
                network=NETWORK,
                engine=engine or ScriptedEngine(),
                accounts=earning,
                proxies=[proxy.addresses],
                prices=prices or {"scripted": PRICE},
                speeds=speeds,
                now=now,
                draw=dice,
            )
            serving = trio.CancelScope()

            async def run(*, task_status: trio.TaskStatus[Worker]) -> None:
                with serving:
                    await serve(task_status=task_status)

            worker: Worker = await nursery.start(run)
            await worker.wait_registered(PROXY.peer_id)
            paying = await spending.paying(WORKER.peer_id, capacity=Nano(capacity))
            yield Scene(network, proxy, told, worker, earning, paying, store, dice, nursery, serving)
            nursery.cancel_scope.cancel()
