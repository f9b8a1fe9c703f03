"""A proxy on the memory network, and clients and workers beside it that a test moves by hand."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

import trio
import trio.testing

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import Identity, PeerId, network_id, peer_id_text
from cocoon_p2p.journal import Journal
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.network.transport import Stream
from cocoon_p2p.payments.pricing import client_amount, worker_amount
from cocoon_p2p.payments.settlement import Accounts, PayingAccount, ReceivingAccount, open_accounts
from cocoon_p2p.protocols.exchange.broken import read_shown, receipt_by_meter
from cocoon_p2p.protocols.ids import EXCHANGE, HEARTBEAT_SECONDS, SESSION, Kind, Outcome, Role, Trust
from cocoon_p2p.protocols.messages import (
    Ask,
    Assign,
    Chunk,
    ExchangeId,
    Heartbeat,
    Load,
    Meter,
    ModelOffer,
    PaperWanted,
    Part,
    Price,
    PromptMetered,
    Quote,
    Quoted,
    Receipt,
    Receipted,
    Register,
    Registered,
    Settled,
    Settlement,
    Usage,
)
from cocoon_p2p.protocols.papers import check, paper_hash, sign
from cocoon_p2p.proxy import Proxy, ProxyPolicy, serve_proxy
from cocoon_p2p.records import make_record, make_statement
from cocoon_p2p.testing.memory import MemoryDirectory, MemoryNetwork, MemoryTransport
from cocoon_p2p.testing.store import MemoryStore
from cocoon_p2p.units import Nano

T = TypeVar("T")

NETWORK = network_id("test")
PROXY, CLIENT, WORKER, OTHER = (Identity.from_seed(bytes([number]) * 32) for number in (1, 2, 3, 4))
PRICE = Price(prompt=1_000, cached=100, completion=10_000, reasoning=10_000)
OFFER = ModelOffer("m", b"w" * 32, b"t" * 32, Kind.CHAT, 4096, ("seed",), PRICE, demo=True)
COMMISSION = 500
POLICY = ProxyPolicy(commission_basis_points=COMMISSION, window_tokens=64)
EPOCH = 1_700_000_000
# Ten prompt tokens cost 10, a token of the answer 10; the client pays a twentieth on top.


def now() -> float:
    return EPOCH + trio.current_time()


class Dice:
    """Draws bytes that never repeat, the same in every run."""

    def __init__(self) -> None:
        self._drawn = 0

    def __call__(self, size: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_128(self._drawn.to_bytes(8, "big")).digest(size)


def usage(completion: int, prompt: int = 10) -> Usage:
    return Usage(prompt=prompt, cached=0, completion=completion, reasoning=0)


class End:
    """One end of an exchange stream: says and hears messages."""

    def __init__(self, stream: MessageStream) -> None:
        self.stream = stream
        self.heard: list[Any] = []

    async def say(self, *messages: object) -> None:
        await self.stream.send(*messages)

    async def hear(self, kind: type[T]) -> T:
        """Wait for the next message that is no Heartbeat; it must be of this kind."""
        while True:
            message = await self.stream.receive()
            if isinstance(message, Heartbeat):
                continue
            self.heard.append(message)
            assert isinstance(message, kind), message
            return message

    async def beat(self, exchange: ExchangeId, steps: int = 0) -> None:
        """Stay alive while the stream lasts; the engine makes a step a second if `steps` is set."""
        with suppress(Unavailable):
            while True:
                await trio.sleep(HEARTBEAT_SECONDS)
                steps += bool(steps)
                await self.stream.send(Heartbeat(exchange, steps))


async def settle_by_meter(account: ReceivingAccount, wanted: PaperWanted) -> bool:
    """Settle as a worker does whose proxy lost it (`payments.party.SettleBroken`)."""
    if wanted.quote is None:
        return False
    shown = read_shown(wanted, proxy=account.payer, network=NETWORK)
    receipt = sign(WORKER, NETWORK, receipt_by_meter(shown, shown.amount, engine="hand", now_ms=0))
    row = account.ended(wanted.exchange)
    if row is None and shown.meter is not None:
        await account.charge(wanted.exchange, shown.amount, receipt)
    elif row is not None and row.amount > shown.amount:
        await account.lower(wanted.exchange, shown.amount, receipt)
    return False


class Job(End):
    """The worker's end of one exchange."""

    def __init__(self, worker: "HandWorker", stream: MessageStream, assign: Assign) -> None:
        super().__init__(stream)
        self.worker = worker
        self.assign = assign
        self.quote = check(Quote, assign.quote, signer=PROXY.peer_id, network=NETWORK)
        self.account: ReceivingAccount = worker.accounts.receiving(assign.channel, PROXY.peer_id)
        self.sealed: list[bytes] = []
        self.usage = usage(0)

    @property
    def exchange(self) -> ExchangeId:
        return self.assign.exchange

    def metered(self) -> PromptMetered:
        return PromptMetered(self.exchange, self.usage)

    def chunk(self, completion: int, *, final: bool = False, signed: bool = False, size: int = 8) -> Chunk:
        """Make the next chunk, up to so many tokens in all."""
        number, self.usage = len(self.sealed), usage(completion)
        self.sealed.append((b"sealed %d" % number).ljust(size, b"."))
        signature = None
        if signed:
            meter = Meter(self.exchange, paper_hash(self.assign.quote), self.usage)
            signature = sign(WORKER, NETWORK, meter).signature
        return Chunk(self.exchange, number, final, self.usage, self.sealed[-1], signature)

    def receipt(
        self, outcome: Outcome = Outcome.COMPLETED, *, by: Identity = WORKER, **changes: Any
    ) -> Receipted:
        counted = self.usage if outcome is not Outcome.FAILED else replace(self.usage, prompt=0)
        receipt = Receipt(
            exchange=self.exchange,
            quote_hash=paper_hash(self.assign.quote),
            model=OFFER.name,
            weights_hash=OFFER.weights_hash,
            engine="by hand",
            usage=counted,
            amount=worker_amount(counted, PRICE),
            answer_hash=hashlib.sha256(b"".join(self.sealed)).digest(),
            started_ms=0,
            ended_ms=0,
            outcome=outcome,
        )
        return Receipted(self.exchange, sign(by, NETWORK, replace(receipt, **changes)))

    async def charge(self, receipted: Receipted) -> None:
        """Charge what a receipt says, and send it."""
        receipt = check(Receipt, receipted.receipt, signer=WORKER.peer_id, network=NETWORK)
        await self.account.charge(self.exchange, Nano(receipt.amount), receipted.receipt)
        await self.say(receipted)


class HandWorker:
    """A worker whose engine is the test."""

    def __init__(self, transport: MemoryTransport, accounts: Accounts, identity: Identity) -> None:
        accounts.settle_broken_by(settle_by_meter)
        self.transport = transport
        self.accounts = accounts
        self.identity = identity
        self.session: MessageStream
        self.slots = (2, 2)
        "Free, and in all."
        self._send_jobs, self._jobs = trio.open_memory_channel[MessageStream](16)
        transport.accept_streams(EXCHANGE, self._accept)

    async def _accept(self, stream: Stream) -> None:
        self._send_jobs.send_nowait(MessageStream(stream))
        await trio.sleep_forever()

    def papers(self, *offers: ModelOffer, sequence: int = 1, **changes: Any) -> Register:
        statement = make_statement(
            self.identity, NETWORK, role=Role.WORKER, sealing_key=bytes(32), now=now(), nonce=bytes(16)
        )
        arguments: dict[str, Any] = {
            "role": Role.WORKER,
            "statement": statement,
            "addresses": (),
            "models": offers or (OFFER,),
            "now": now(),
            "sequence": sequence,
        }
        return Register(make_record(self.identity, NETWORK, **(arguments | changes)), statement)

    async def open_session(self) -> MessageStream:
        return MessageStream(await self.transport.open_stream(PROXY.peer_id, SESSION))

    async def register(self, *offers: ModelOffer, sequence: int = 1) -> Registered:
        self.session = await self.open_session()
        await self.session.send(self.papers(*offers, sequence=sequence), Load(*self.slots, 0))
        registered = await self.session.receive()
        assert isinstance(registered, Registered)
        await trio.testing.wait_all_tasks_blocked()
        return registered

    async def tell_load(self, free: int, total: int) -> None:
        """Tell another load, from now on."""
        self.slots = (free, total)
        await self.session.send(Load(free, total, 0))
        await trio.testing.wait_all_tasks_blocked()

    async def keep_session(self) -> None:
        """Tell the load each second while the session lasts."""
        with suppress(Unavailable):
            while True:
                await self.session.send(Load(*self.slots, 0))
                await trio.sleep(HEARTBEAT_SECONDS)

    async def next_stream(self) -> MessageStream:
        """Wait until the proxy opens an exchange stream."""
        return await self._jobs.receive()

    async def take(self, stream: MessageStream | None = None) -> Job:
        """Take the next exchange, on a new stream or on one that stands."""
        stream = stream or await self.next_stream()
        assign = await stream.receive()
        assert isinstance(assign, Assign), assign
        return Job(self, stream, assign)


class HandClient:
    """A client whose application is the test."""

    def __init__(self, transport: MemoryTransport, accounts: Accounts, dice: Dice) -> None:
        self.transport = transport
        self.accounts = accounts
        self._account: PayingAccount | None = None
        self._dice = dice

    @property
    def account(self) -> PayingAccount:
        assert self._account is not None
        return self._account

    async def open_channel(self, capacity: int = 10**9) -> PayingAccount:
        self._account = await self.accounts.paying(PROXY.peer_id, capacity=Nano(capacity))
        return self._account

    async def open(self) -> End:
        return End(MessageStream(await self.transport.open_stream(PROXY.peer_id, EXCHANGE)))

    def ask(self, **changes: Any) -> Ask:
        ask = Ask(
            exchange=ExchangeId(self._dice(16)),
            model="m",
            kind=Kind.CHAT,
            prompt_tokens_max=20,
            completion_tokens_max=100,
            max_cost=2_000,
            deadline_ms=60_000,
            trust=Trust.OPEN,
            prefer=(),
            exclude=(),
            features=(),
            channel=None if self._account is None else self._account.channel,
        )
        return replace(ask, **changes)

    def hold(self, ask: Ask, amount: int) -> None:
        """Cover an exchange up to this much."""
        self.account.hold(ask.exchange, Nano(amount))

    async def pay(self, settled: Settled) -> Settlement:
        """Check a Settlement and book it."""
        settlement = check(Settlement, settled.settlement, signer=PROXY.peer_id, network=NETWORK)
        amount = Nano(settlement.worker_amount + settlement.commission)
        await self.account.charge(settled.exchange, amount, settled.settlement)
        return settlement


class Scene:
    """The network, the proxy, one client and one worker."""

    def __init__(self, network: MemoryNetwork, directory: MemoryDirectory, dice: Dice) -> None:
        self.network = network
        self.directory = directory
        self.dice = dice
        self.proxy_store = MemoryStore()
        self.journal = Journal()
        "The proxy's."

        self.remembers = False
        "Whether the proxy writes down what it knows of workers."

        self.nursery: trio.Nursery
        self.serving: trio.CancelScope
        self.proxy: Proxy
        self.proxy_accounts: Accounts
        self.client: HandClient
        self.worker: HandWorker

    async def dial(self, *transports: MemoryTransport) -> None:
        """Connect these to the proxy; client and worker if none is named."""
        for transport in transports or (self.client.transport, self.worker.transport):
            await transport.dial([f"/memory/1/p2p/{peer_id_text(PROXY.peer_id)}"])

    async def add_worker(self, identity: Identity) -> HandWorker:
        """Put another worker beside the first; it earns nothing in a test."""
        transport = self.network.transport(identity, listen=False)
        await self.dial(transport)
        return HandWorker(transport, self.worker.accounts, identity)

    async def settled(self) -> None:
        """Let everything that is under way come to rest, without time going by."""
        await trio.testing.wait_all_tasks_blocked()

    async def ask(self, ask: Ask | None = None, *, hold: int = 1_000) -> tuple[Ask, End]:
        """Ask as the client, be quoted, and cover the exchange."""
        ask = ask or self.client.ask()
        end = await self.client.open()
        await end.say(ask)
        await end.hear(Quoted)
        if hold:
            self.client.hold(ask, hold)
        return ask, end

    async def begin(self, ask: Ask | None = None, *, hold: int = 1_000) -> tuple[End, Job]:
        """Come as far as the worker's first token."""
        asked, end = await self.ask(ask, hold=hold)
        await end.say(Part(asked.exchange, bytes(16), 0, 0, True, b"sealed"))
        job = await self.worker.take()
        await job.hear(Part)
        await job.say(job.metered())
        await end.hear(PromptMetered)
        await job.say(job.chunk(1, signed=True))
        await end.hear(Chunk)
        return end, job

    def owed(self, worker: int) -> tuple[int, int]:
        """Say what worker and client should have been charged for what the worker earned."""
        return worker, client_amount(Nano(worker), COMMISSION)

    def charged(self) -> tuple[int, int]:
        """Say what the proxy was charged by the worker, and the client by the proxy.

        What the proxy settled at with a worker that it lost counts, as the worker will come to agree.
        """
        accounts = self.proxy_accounts.payees()
        settled = [left.amount or 0 for account in accounts for left in account.leftovers.values()]
        paid = sum(account.charged for account in accounts) + sum(settled)
        return paid, sum(account.charged() for account in self.proxy_accounts.payers())


@asynccontextmanager
async def scene(
    policy: ProxyPolicy | None = None,
    *,
    client_grant: int = 0,
    worker_grant: int = 0,
    capacity: int = 10**9,
    is_registered: bool = True,
    remembers: bool = False,
    directory: MemoryDirectory | None = None,
    **timing: Any,
) -> AsyncIterator[Scene]:
    """Run a proxy, with one worker that stands with it and one client that has a channel to it."""
    dice, directory = Dice(), directory or MemoryDirectory()
    async with MemoryNetwork(**timing) as network, trio.open_nursery() as nursery:
        stage = Scene(network, directory, dice)
        stage.remembers = remembers
        stage.nursery = nursery
        transports = {
            one.peer_id: network.transport(one, listen=one is PROXY) for one in (PROXY, CLIENT, WORKER)
        }
        grants = {PROXY: client_grant, CLIENT: 0, WORKER: worker_grant}
        stores = {PROXY: stage.proxy_store, CLIENT: MemoryStore(), WORKER: MemoryStore()}

        def accounts_of(identity: Identity) -> Any:
            def grant(_peer: PeerId) -> Nano:
                return Nano(grants[identity])

            transport = transports[identity.peer_id]
            return open_accounts(
                transport, identity, NETWORK, stores[identity], grant_policy=grant, draw=dice, clock=now
            )

        async with (
            accounts_of(PROXY) as stage.proxy_accounts,
            accounts_of(CLIENT) as client,
            accounts_of(WORKER) as worker,
        ):
            stage.client = HandClient(transports[CLIENT.peer_id], client, dice)
            stage.worker = HandWorker(transports[WORKER.peer_id], worker, WORKER)
            stage.serving = await nursery.start(_serve, stage, transports[PROXY.peer_id], policy)
            await stage.dial()
            await stage.client.open_channel(capacity)
            if is_registered:
                await stage.worker.register()
                nursery.start_soon(stage.worker.keep_session)
            yield stage
            nursery.cancel_scope.cancel()


async def _serve(
    stage: Scene,
    transport: MemoryTransport,
    policy: ProxyPolicy | None,
    task_status: trio.TaskStatus[trio.CancelScope],
) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            stage.proxy = await nursery.start(
                _serve_proxy,
                stage,
                transport,
                policy or ProxyPolicy(commission_basis_points=COMMISSION, window_tokens=64),
            )
            task_status.started(scope)


async def _serve_proxy(
    stage: Scene, transport: MemoryTransport, policy: ProxyPolicy, task_status: trio.TaskStatus[Proxy]
) -> None:
    await serve_proxy(
        transport=transport,
        directory=stage.directory.of(transport),
        identity=PROXY,
        network=NETWORK,
        accounts=stage.proxy_accounts,
        policy=policy,
        store=stage.proxy_store if stage.remembers else None,
        journal=stage.journal,
        now=now,
        draw=stage.dice,
        task_status=task_status,
    )
