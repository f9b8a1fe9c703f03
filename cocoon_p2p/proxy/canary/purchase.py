"""One short answer, bought of a worker as a client of this proxy would buy it.

The other end of the proxy's own relay: the same quote, the same seals, the same channel, the same
receipt. What the worker sees is an exchange like any other; what it costs is settled like any other,
also where this is cancelled in the middle.

    Quoted --Hello--> Accept --Part--> PromptMetered --> Chunk ... Chunk(final) --> Settled
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

import trio

from cocoon_p2p.errors import MalformedMessage, SealBroken, Unavailable
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.payments.pricing import TOKENS_PER_PRICE, client_amount
from cocoon_p2p.protocols.contents import cut_parts, decode_answer, encode_request
from cocoon_p2p.protocols.exchange.relayed import Deal
from cocoon_p2p.protocols.ids import HEARTBEAT_SECONDS, Kind, Outcome, Reason
from cocoon_p2p.protocols.messages import (
    Accept,
    Ask,
    Cancel,
    ChannelId,
    Chunk,
    ExchangeId,
    Heartbeat,
    Hello,
    KeyStatement,
    ModelOffer,
    Part,
    PromptMetered,
    Quoted,
    Receipt,
    Refused,
    Settled,
    Settlement,
)
from cocoon_p2p.protocols.papers import paper_hash
from cocoon_p2p.protocols.schema import decode_paper
from cocoon_p2p.proxy.agency import Agency
from cocoon_p2p.proxy.canary.findings import Finding
from cocoon_p2p.proxy.canary.house import House
from cocoon_p2p.proxy.canary.inside import open_inside
from cocoon_p2p.proxy.canary.question import PROMPT_TOKENS_MAX, Question
from cocoon_p2p.proxy.canary.watch import PATIENCE_SECONDS
from cocoon_p2p.proxy.contain import contain
from cocoon_p2p.proxy.link import Link
from cocoon_p2p.proxy.quotes import make_deal
from cocoon_p2p.proxy.relay import Relay
from cocoon_p2p.proxy.session import WorkerSession
from cocoon_p2p.proxy.tab import Tab
from cocoon_p2p.scheduling.standing import proven
from cocoon_p2p.sealing import RequestBinding, Session, start
from cocoon_p2p.units import Nano

T = TypeVar("T")

ANSWER_SECONDS = 15.0
"From the first token to the bill: some thirty tokens."

TEXT_KEPT = 4_096
"Signs of an answer that are looked at: more than its tokens can hold. What a worker sends beyond is dropped."

SETTLE_SECONDS = 5.0
"How long we look for the bill of what we gave up. It is settled in any case."

DEADLINE_SECONDS = 120.0
"What is told: as long as clients allow."

_NO_FAULT = frozenset(
    {
        Reason.NO_CAPACITY,
        Reason.DRAINING,
        Reason.STALE,
        Reason.NO_CREDIT,
        Reason.CHANNEL_UNKNOWN,
        Reason.RATE_LIMITED,
        Reason.TOO_LARGE,
        Reason.PRICE_ABOVE_LIMIT,
        Reason.PROXY_LOST,
        Reason.ALREADY_RUNNING,
        Reason.CANCELLED,
    }
)
"Why an exchange may come to nothing with a worker whose generator is well."


@dataclass(frozen=True, slots=True)
class Bought:
    """What came of it."""

    trouble: Finding | None
    "None: a whole answer came, to be judged."

    text: str = ""
    engine: str = ""
    "By the receipt."

    prompt_tokens: int = 0
    completion_tokens: int = 0
    paid: Nano | None = None
    "What the worker earned; None if it is not known yet."

    why: str = ""
    "For people; it may quote the worker."


class _Over(Exception):
    """The exchange came to an end that is no answer."""

    def __init__(self, bought: Bought) -> None:
        super().__init__(bought.why)
        self.bought = bought


def worst_case(offer: ModelOffer, question: Question) -> Nano:
    """Say what a question can cost at most, whatever the worker counts."""
    price = offer.price
    prompt = PROMPT_TOKENS_MAX * max(price.prompt, price.cached)
    answer = question.completion_tokens_max * max(price.completion, price.reasoning)
    return Nano(-(-(prompt + answer) // TOKENS_PER_PRICE))


async def buy(agency: Agency, session: WorkerSession, offer: ModelOffer, question: Question) -> Bought:
    """Ask a worker something, and pay for the answer.

    A cancel ends the exchange as if its client had vanished: what the worker did is settled.

    Raises:
        Unavailable: The proxy's own ledger fails.
    """
    kind = Kind.CHAT if offer.kind is Kind.CHAT else Kind.COMPLETION
    deal = _deal(agency, session, offer, question, kind)
    here, there = open_inside(agency.identity.peer_id)
    link = Link(MessageStream(there), session.spare)
    house = House(Nano(deal.ask.max_cost))
    siblings: list[Relay] = []
    relay = Relay(
        agency,
        link,
        session,
        Tab(deal, house),
        siblings,
        asked=trio.current_time(),
        on_claim=_nothing,
        on_end=_forget,
    )
    link.listener = relay
    agency.nursery.start_soon(contain, "canary's stream", link.run)
    agency.nursery.start_soon(contain, "canary", relay.run)
    shopper = _Shopper(agency, MessageStream(here), deal, question, kind)
    try:
        return await shopper.run(session)
    finally:
        here.reset()


def _deal(agency: Agency, session: WorkerSession, offer: ModelOffer, question: Question, kind: Kind) -> Deal:
    """Ask and quote ourselves."""
    policy = agency.policy
    dice = agency.draw(16 + 32 + 4)
    # A limit that fits exactly, or so many times, would be a sign of ours. Tokens are what bounds the cost.
    least = 1 + client_amount(worst_case(offer, question), policy.commission_basis_points)
    generous = 2 * least + 8 * least * int.from_bytes(dice[-4:-1]) // 2**24
    ask = Ask(
        exchange=ExchangeId(dice[:16]),
        model=offer.name,
        kind=kind,
        prompt_tokens_max=PROMPT_TOKENS_MAX,
        completion_tokens_max=question.completion_tokens_max,
        max_cost=generous,
        deadline_ms=int(DEADLINE_SECONDS * 1000) - dice[-1],
        trust=proven(session.standing, agency.now()),
        prefer=(),
        exclude=(),
        features=(),
        channel=ChannelId(dice[16:48]),
    )
    return make_deal(
        ask,
        session,
        offer,
        identity=agency.identity,
        network=agency.network,
        policy=policy,
        grant=policy.grant(agency.identity.peer_id),
        date=agency.now(),
    )


def _nothing() -> None:
    """Nobody waits for our question to begin."""


def _forget(_relay: Relay) -> None:
    """Nobody waits for its end but us."""


class _Shopper:
    """The client's side of one exchange, as far as the proxy must play it."""

    def __init__(
        self, agency: Agency, stream: MessageStream, deal: Deal, question: Question, kind: Kind
    ) -> None:
        self._agency = agency
        self._stream = stream
        self._deal = deal
        self._content = question.content(deal.ask.model, kind)
        self._prompt_tokens = 0
        self._number = 0
        "Of our request in its sealing session."

    @property
    def _exchange(self) -> ExchangeId:
        return self._deal.ask.exchange

    async def run(self, session: WorkerSession) -> Bought:
        """Buy, and say what came of it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._beat)
            try:
                bought = await self._buy(session)
            except _Over as over:
                bought = over.bought
            except (SealBroken, MalformedMessage) as exc:
                bought = Bought(Finding.BROKEN, why=str(exc))
            except Unavailable as exc:
                bought = Bought(Finding.UNTOLD, why=str(exc))
            nursery.cancel_scope.cancel()
        return bought

    async def _buy(self, session: WorkerSession) -> Bought:
        text: list[str] = []
        with trio.move_on_after(PATIENCE_SECONDS) as patience:
            chunk, sealing = await self._first_chunk(session)
            patience.deadline = trio.current_time() + ANSWER_SECONDS
            while True:
                plain = sealing.open_chunk(self._number, chunk.number, chunk.final, chunk.usage, chunk.sealed)
                if sum(map(len, text)) < TEXT_KEPT:
                    text.append(decode_answer(plain).text[:TEXT_KEPT])
                if chunk.final:
                    break
                chunk = await self._hear(Chunk)
            settled = await self._hear(Settled)
            return replace(self._read(settled, "".join(text)), completion_tokens=chunk.usage.completion)
        return await self._give_up("after the first" if text else f"none in {PATIENCE_SECONDS:.0f} s")

    async def _first_chunk(self, session: WorkerSession) -> tuple[Chunk, Session]:
        await self._hear(Quoted)
        handshake = start(
            decode_paper(KeyStatement, session.statement.body),
            network=self._agency.network,
            ephemeral_secret=self._agency.draw(32),
            nonce=self._agency.draw(32),
            statement_hash=paper_hash(session.statement),
        )
        await self._stream.send(Hello(self._exchange, handshake.hello))
        accept = await self._hear(Accept)
        sealing = handshake.finish(accept.accept, accept.signature, now=self._agency.now())
        await self._stream.send(*self._parts(sealing))
        self._prompt_tokens = (await self._hear(PromptMetered)).usage.prompt
        return await self._hear(Chunk), sealing

    def _parts(self, sealing: Session) -> list[Part]:
        ask = self._deal.ask
        binding = RequestBinding(ask.exchange, self._deal.quote_hash, ask.max_cost, ask.trust)
        self._number = sealing.next_request()
        plains = cut_parts(encode_request(self._content))
        last = len(plains) - 1
        return [
            Part(
                exchange=ask.exchange,
                session=sealing.id,
                request=self._number,
                part=number,
                final=number == last,
                sealed=sealing.seal_part(self._number, number, number == last, binding, plain),
            )
            for number, plain in enumerate(plains)
        ]

    async def _give_up(self, why: str) -> Bought:
        """Cancel, as clients do who wait in vain, and look for what it came to."""
        paid: Nano | None = None
        with trio.move_on_after(SETTLE_SECONDS):
            await self._stream.send(Cancel(self._exchange, Reason.CANCELLED))
            try:
                while True:
                    await self._hear(object)
            except _Over as over:
                paid = over.bought.paid
        return Bought(Finding.SILENT, paid=paid, why=why)

    async def _hear(self, kind: type[T]) -> T:
        """Wait for the next message; if it is an end, and none was waited for, that raises `_Over`."""
        while True:
            message = await self._stream.receive()
            match message:
                case Heartbeat():
                    continue
                case None:
                    raise Unavailable("the exchange was given up")
                case Settled() if kind is not Settled:
                    raise _Over(self._read(message, ""))
                case Refused(reason=reason, detail=detail):
                    finding = Finding.UNTOLD if reason in _NO_FAULT else Finding.BROKEN
                    raise _Over(Bought(finding, paid=Nano(0), why=detail))
                case _ if isinstance(message, kind):
                    return message
                case _:
                    raise MalformedMessage(f"{type(message).__name__} out of turn")

    def _read(self, settled: Settled, text: str) -> Bought:
        """Read what the exchange came to. It is our own paper, so it holds."""
        settlement = decode_paper(Settlement, settled.settlement.body)
        paid, why = Nano(settlement.worker_amount), settled.detail or ""
        if settlement.outcome is not Outcome.COMPLETED or settlement.receipt is None:
            is_ours = settled.reason in _NO_FAULT
            return Bought(Finding.UNTOLD if is_ours else Finding.BROKEN, paid=paid, why=why)
        engine = decode_paper(Receipt, settlement.receipt.body).engine
        return Bought(None, text, engine, self._prompt_tokens, paid=paid)

    async def _beat(self) -> None:
        """Show that we are there, as clients do."""
        with suppress(Unavailable):
            while True:
                await trio.sleep(HEARTBEAT_SECONDS)
                await self._stream.send(Heartbeat(self._exchange, 0))
