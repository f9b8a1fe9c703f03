"""A proxy's exchange driven by hand, and how to bring it into each phase."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from cocoon_p2p.identity import Identity, network_id
from cocoon_p2p.payments.pricing import worker_amount
from cocoon_p2p.protocols.exchange.proxy import begin, step
from cocoon_p2p.protocols.exchange.proxy_events import (
    Charged,
    ClientSaid,
    Cover,
    Covered,
    Effect,
    Event,
    ToClient,
    ToWorker,
    Woke,
    WorkerOpened,
    WorkerSaid,
)
from cocoon_p2p.protocols.exchange.proxy_state import next_wake
from cocoon_p2p.protocols.exchange.relayed import Deal
from cocoon_p2p.protocols.ids import Kind, Outcome, Reason, Role, Trust
from cocoon_p2p.protocols.messages import (
    Accept,
    Ask,
    Cancel,
    ChannelId,
    Chunk,
    ExchangeId,
    Hello,
    Meter,
    ModelOffer,
    Part,
    Price,
    PromptMetered,
    Quote,
    Receipt,
    Receipted,
    Refused,
    Signed,
    Usage,
)
from cocoon_p2p.protocols.papers import message_hash, paper_hash, sign
from cocoon_p2p.records import make_record, make_statement
from cocoon_p2p.units import Nano

T = TypeVar("T")

NETWORK = network_id("test")
PROXY, WORKER = (Identity.from_seed(bytes([number]) * 32) for number in (1, 2))
EXCHANGE, OTHER = ExchangeId(b"e" * 16), ExchangeId(b"o" * 16)
CLIENT_CHANNEL = ChannelId(b"c" * 32)
WORKER_CHANNEL = ChannelId(b"w" * 32)
PRICE = Price(prompt=1_000, cached=100, completion=10_000, reasoning=10_000)
OFFER = ModelOffer("m", b"w" * 32, b"t" * 32, Kind.CHAT, 4096, (), PRICE, demo=True)
STATEMENT = make_statement(WORKER, NETWORK, role=Role.WORKER, sealing_key=bytes(32), now=0, nonce=bytes(16))
RECORD = make_record(
    WORKER, NETWORK, role=Role.WORKER, statement=STATEMENT, addresses=(), models=(OFFER,), now=0, sequence=1
)
SETTLEMENT = Signed(b"a settlement", bytes(64))
ASK = Ask(
    exchange=EXCHANGE,
    model="m",
    kind=Kind.CHAT,
    prompt_tokens_max=20,
    completion_tokens_max=100,
    max_cost=1_000,
    deadline_ms=60_000,
    trust=Trust.OPEN,
    prefer=(),
    exclude=(),
    features=(),
    channel=CLIENT_CHANNEL,
)


def deal_of(ask: Ask = ASK, *, offer: ModelOffer = OFFER, commission: int = 500, window: int = 8) -> Deal:
    quote = Quote(
        exchange=ask.exchange,
        ask_hash=message_hash(ask),
        worker_record=RECORD,
        worker_statement=STATEMENT,
        price=offer.price,
        commission_basis_points=commission,
        expires=30,
        grant=0,
        window_tokens=window,
        reserved=True,
    )
    signed = sign(PROXY, NETWORK, quote)
    return Deal(ask, NETWORK, WORKER.peer_id, offer, signed, paper_hash(signed), commission, window)


def usage(completion: int, prompt: int = 10, reasoning: int = 0) -> Usage:
    return Usage(prompt=prompt, cached=0, completion=completion, reasoning=reasoning)


HELLO = Hello(EXCHANGE, b"hello")
ACCEPT = Accept(EXCHANGE, b"accept", bytes(64))
METERED = PromptMetered(EXCHANGE, usage(0))
CANCEL = Cancel(EXCHANGE, Reason.CANCELLED)
REFUSED = Refused(EXCHANGE, Reason.SEAL_BROKEN, "seal broken", (), 0)


def part(number: int, *, final: bool = False) -> Part:
    return Part(EXCHANGE, bytes(16), 0, number, final, b"sealed")


def chunk(number: int, completion: int, *, final: bool = False, meter: bytes | None = None) -> Chunk:
    return Chunk(EXCHANGE, number, final, usage(completion), b"sealed %d" % number, meter)


class Line:
    """One exchange, its clock, and everything that it has ordered."""

    def __init__(self, deal: Deal | None = None) -> None:
        self.deal = deal or deal_of()
        self.now = 100.0
        self.exchange, self.effects = begin(self.deal, self.now)
        self.ordered: list[Effect] = list(self.effects)

    @property
    def phase(self) -> str:
        return self.exchange.phase.name

    def feed(self, event: Event) -> tuple[Effect, ...]:
        self.exchange, self.effects = step(self.exchange, event)
        self.ordered += self.effects
        return self.effects

    def client(self, message: object) -> tuple[Effect, ...]:
        return self.feed(ClientSaid(message, self.now))

    def worker(self, message: object) -> tuple[Effect, ...]:
        return self.feed(WorkerSaid(message, self.now))

    def cover(self, amount: int | None = None) -> tuple[Effect, ...]:
        """Cover this much; by default all that was asked for."""
        asked = self.last(Cover)
        return self.feed(Covered(Nano(asked.amount if amount is None else amount), self.now))

    def open(self) -> tuple[Effect, ...]:
        return self.feed(WorkerOpened(WORKER_CHANNEL, self.now))

    def charge(self) -> tuple[Effect, ...]:
        return self.feed(Charged(SETTLEMENT, self.now))

    def wake(self) -> tuple[Effect, ...]:
        """Let time pass until something is due."""
        self.now = max(self.now, next_wake(self.exchange))
        return self.feed(Woke(self.now))

    def pass_time(self, seconds: float, *, is_working: bool = False) -> tuple[Effect, ...]:
        """Let time pass while both peers only send heartbeats; `is_working` if the engine makes steps."""
        end, ordered = self.now + seconds, len(self.ordered)
        while next_wake(self.exchange) <= end:
            self.wake()
            pulse = replace(self.exchange.client, heard=self.now)
            self.exchange = replace(
                self.exchange,
                client=pulse,
                worker=replace(self.exchange.worker, heard=self.now),
                stepped=self.now if is_working else self.exchange.stepped,
            )
        self.now = end
        return tuple(self.ordered[ordered:])

    def last(self, kind: type[T]) -> T:
        return next(effect for effect in reversed(self.ordered) if isinstance(effect, kind))

    def all(self, kind: type[T]) -> list[T]:
        return [effect for effect in self.ordered if isinstance(effect, kind)]

    @property
    def to_client(self) -> list[Any]:
        return [effect.message for effect in self.all(ToClient)]

    @property
    def to_worker(self) -> list[Any]:
        return [effect.message for effect in self.all(ToWorker)]

    def meter(self, completion: int, *, by: Identity = WORKER, prompt: int = 10) -> bytes:
        return self.meter_of(usage(completion, prompt), by=by)

    def meter_of(self, counted: Usage, *, by: Identity = WORKER) -> bytes:
        return sign(by, NETWORK, Meter(EXCHANGE, self.deal.quote_hash, counted)).signature

    def receipt(
        self, outcome: Outcome = Outcome.COMPLETED, *, by: Identity = WORKER, **changes: Any
    ) -> Receipted:
        """A receipt that holds, for what has passed, but for `changes`."""
        passed = self.exchange.passed
        counted = passed.usage if outcome is not Outcome.FAILED else replace(passed.usage, prompt=0, cached=0)
        receipt = Receipt(
            exchange=EXCHANGE,
            quote_hash=self.deal.quote_hash,
            model=self.deal.offer.name,
            weights_hash=self.deal.offer.weights_hash,
            engine="scripted",
            usage=counted,
            amount=worker_amount(changes.get("usage", counted), self.deal.offer.price),
            answer_hash=passed.answer.digest(),
            started_ms=0,
            ended_ms=0,
            outcome=outcome,
        )
        return Receipted(EXCHANGE, sign(by, NETWORK, replace(receipt, **changes)))


def sha256(*sealed: bytes) -> bytes:
    return hashlib.sha256(b"".join(sealed)).digest()


def _answer(line: Line) -> None:
    line.worker(METERED)
    line.worker(chunk(0, 2, meter=line.meter(2)))


_STEPS: tuple[tuple[str, Callable[[Line], object]], ...] = (
    ("QUOTED", lambda _line: None),
    ("COVERING", lambda line: line.client(HELLO)),
    ("OPENING", lambda line: line.cover()),
    ("GREETING", lambda line: line.open()),
    ("UPLOADING", lambda line: line.worker(ACCEPT)),
    ("METERING", lambda line: line.client(part(0, final=True))),
    ("ANSWERING", _answer),
    ("STOPPING", lambda line: line.client(CANCEL)),
    ("SETTLING", lambda line: line.worker(line.receipt(Outcome.CANCELLED))),
    ("ENDED", lambda line: line.charge()),
)
PHASES = tuple(name for name, _ in _STEPS)


def line_in(phase: str, deal: Deal | None = None) -> Line:
    """Begin an exchange and bring it into a phase."""
    line = Line(deal)
    bring_to(phase, line)
    assert line.phase == phase or (phase, line.phase) == ("GREETING", "UPLOADING")
    return line


def bring_to(phase: str, line: Line) -> None:
    """Go on into a phase. GREETING is UPLOADING before the Accept; ANSWERING has one chunk."""
    for name, bring in _STEPS:
        bring(line)
        if name == phase:
            return
