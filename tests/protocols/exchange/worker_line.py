"""A worker's stream of exchanges driven by hand, and how to bring it into each phase."""

from dataclasses import replace

from cocoon_p2p.identity import Identity, network_id
from cocoon_p2p.protocols.contents import AnswerContent, FinishReason
from cocoon_p2p.protocols.exchange.assignment import Standing
from cocoon_p2p.protocols.exchange.worker import step
from cocoon_p2p.protocols.exchange.worker_events import (
    AssignReceived,
    Covered,
    Effect,
    Event,
    Generated,
    MessageReceived,
    PeerLost,
    PromptCounted,
    ReceiptSaved,
    RequestOpened,
    SaveReceipt,
    Send,
)
from cocoon_p2p.protocols.exchange.worker_phases import (
    Idle,
    State,
)
from cocoon_p2p.protocols.ids import (
    Kind,
    Reason,
    Role,
    Trust,
)
from cocoon_p2p.protocols.messages import (
    Assign,
    Cancel,
    ChannelId,
    ExchangeId,
    ModelOffer,
    Part,
    Price,
    Quote,
    Signed,
    Usage,
)
from cocoon_p2p.protocols.papers import sign
from cocoon_p2p.records import make_record, make_statement
from cocoon_p2p.units import Nano

NETWORK = network_id("test")
WORKER, PROXY = (Identity.from_seed(bytes([number]) * 32) for number in (1, 2))
PRICE = Price(prompt=1_000, cached=100, completion=10_000, reasoning=10_000)
CHANNEL = ChannelId(bytes(32))
EXCHANGE, OTHER = ExchangeId(b"e" * 16), ExchangeId(b"o" * 16)
PAPER = Signed(b"a receipt", bytes(64))
STATEMENT = make_statement(WORKER, NETWORK, role=Role.WORKER, sealing_key=bytes(32), now=0, nonce=bytes(16))


def offer(**changes: object) -> ModelOffer:
    model = ModelOffer("m", b"w" * 32, b"t" * 32, Kind.CHAT, 4096, (), PRICE, demo=True)
    return replace(model, **changes)  # type: ignore[arg-type]


def record_of(*models: ModelOffer, sequence: int = 1) -> Signed:
    return make_record(
        WORKER,
        NETWORK,
        role=Role.WORKER,
        statement=STATEMENT,
        addresses=(),
        models=models,
        now=0,
        sequence=sequence,
    )


RECORD = record_of(
    offer(), offer(name="bare", kind=Kind.COMPLETION), offer(name="embed", kind=Kind.EMBEDDING)
)
NEWER = record_of(offer(price=Price(1, 1, 1, 1)), sequence=2)
UNSIGNED_QUOTE = Quote(
    EXCHANGE,
    bytes(32),
    RECORD,
    STATEMENT,
    PRICE,
    commission_basis_points=0,
    expires=30,
    grant=0,
    window_tokens=64,
    reserved=True,
)
QUOTE = sign(PROXY, NETWORK, UNSIGNED_QUOTE)
ASSIGN = Assign(
    EXCHANGE,
    QUOTE,
    CHANNEL,
    deadline_ms=60_000,
    amount_max=1_000_000,
    model="m",
    kind=Kind.CHAT,
    completion_tokens_max=100,
    max_cost=1_000_000,
    trust=Trust.OPEN,
)
STANDING = Standing(
    NETWORK,
    PROXY.peer_id,
    (RECORD,),
    slots_free=1,
    is_draining=False,
    is_channel_known=True,
    is_running=False,
    receipt=None,
)
RICH = Nano(10**9)
"Covers whatever was asked for."

METERED = Usage(prompt=8, cached=2, completion=0, reasoning=0)


def quoted(exchange: ExchangeId = EXCHANGE, **changes: object) -> Assign:
    """Assign under a quote that differs from the usual one."""
    quote = replace(UNSIGNED_QUOTE, exchange=exchange, **changes)  # type: ignore[arg-type]
    return replace(ASSIGN, exchange=exchange, quote=sign(PROXY, NETWORK, quote))


def part(number: int = 0, *, final: bool = True, exchange: ExchangeId = EXCHANGE, request: int = 0) -> Part:
    return Part(exchange, bytes(16), request, number, final, b"sealed")


def piece(made: int, text: str = "x", *, now: float = 0, finish: FinishReason | None = None) -> Generated:
    return Generated(AnswerContent(text, finish), made, 10, now)


def said(effects: list[Effect]) -> list[object]:
    """Take out what is sent."""
    return [effect.message for effect in effects if isinstance(effect, Send)]


def saves(effects: list[Effect]) -> list[SaveReceipt]:
    return [effect for effect in effects if isinstance(effect, SaveReceipt)]


class Line:
    """A stream that is driven by hand: keeps the state and the effects of the last call."""

    def __init__(self, state: State | None = None) -> None:
        self.state: State = Idle() if state is None else state
        self.effects: list[Effect] = []
        self.all: list[Effect] = []

    def feed(self, *events: Event) -> list[Effect]:
        self.effects = []
        for event in events:
            self.state, effects = step(self.state, event)
            self.effects += effects
        self.all += self.effects
        return self.effects

    def hear(self, *messages: object, now: float = 0) -> list[Effect]:
        return self.feed(*(MessageReceived(message, now) for message in messages))


def opening(**changes: object) -> Line:
    line = Line()
    line.feed(AssignReceived(replace(ASSIGN, **changes), STANDING, 0))  # type: ignore[arg-type]
    return line


def complete(**changes: object) -> Line:
    line = opening(**changes)
    line.hear(part())
    return line


def counting(limit: int = 100, **changes: object) -> Line:
    line = complete(**changes)
    line.feed(RequestOpened(Kind.CHAT, "m", limit, 0))
    return line


def covering(**changes: object) -> Line:
    line = counting(**changes)
    line.feed(PromptCounted(10, 2, 0))
    return line


def answering(**changes: object) -> Line:
    line = covering(**changes)
    line.feed(Covered(RICH, 0))
    return line


def waiting() -> Line:
    line = answering()
    line.feed(piece(1))
    return line


def writing() -> Line:
    line = waiting()
    line.feed(Covered(RICH, 0))
    return line


def ending() -> Line:
    line = writing()
    line.hear(Cancel(EXCHANGE, Reason.CANCELLED))
    return line


def parting() -> Line:
    line = writing()
    line.feed(PeerLost(0))
    return line


def idle() -> Line:
    line = ending()
    line.feed(ReceiptSaved(PAPER, 0))
    return line
