"""The client's side of an exchange, as a pure function.

    ASKED ------Quoted---------> SEALING --RequestSealed--> SENT
    SEALING ----HelloMade------> GREETED --Accept---------> SEALING
    SENT -------PromptMetered--> METERED --ChunkOpened----> ANSWERING
    ANSWERING --ChunkOpened----> ANSWERING, or with the final chunk ANSWERED
    SENT, METERED, ANSWERING ----CancelWanted, HoldRefused, the deadline--> CANCELLING
    GREETED, SENT, METERED, ANSWERING, ANSWERED, CANCELLING --Settled--> ENDED
    any -----Refused, PeerLost, silence-----> ENDED

Rule 1: `Finish` is the last effect of an exchange and its only one; ENDED does nothing more.
Rule 2: before the first sealed part is sent nothing can be owed; afterwards at most what was
held, and never more than the Ask's max cost.
Rule 3: nothing here reads a clock, draws, seals or touches money; the shell that calls `step`
opens seals, brings times in and carries effects out in order, each result fed back at once.

Two clocks come in: `now`, in seconds from anywhere but steady, for waits; `date`, in seconds
since the Unix epoch, for papers.

Spec: protocols/exchange.md. What goes in and out: `client_events`. What is accepted, and when
it is paid for: `terms`, `delivery`, `bill`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import assert_never

from cocoon_p2p.errors import (
    AttestationFailed,
    CocoonError,
    LocalProtocolError,
    Refused,
    RemoteProtocolError,
    Unavailable,
)
from cocoon_p2p.frozen import replace
from cocoon_p2p.identity import NetworkId, PeerId
from cocoon_p2p.payments.pricing import ahead
from cocoon_p2p.protocols import messages
from cocoon_p2p.protocols.contents import AnswerContent
from cocoon_p2p.protocols.exchange.bill import judge_settlement
from cocoon_p2p.protocols.exchange.carried import NOTHING_BEYOND, Wanted
from cocoon_p2p.protocols.exchange.client_events import (
    CancelWanted,
    Charge,
    ChunkOpened,
    Declined,
    Deliver,
    Disputed,
    Dropped,
    Effects,
    Event,
    Finish,
    HelloMade,
    Hold,
    HoldRefused,
    Lost,
    OpenSession,
    Paid,
    PeerLost,
    Priced,
    Received,
    Release,
    RequestSealed,
    Reset,
    SealRequest,
    Send,
    Woke,
)
from cocoon_p2p.protocols.exchange.delivery import Delivery, PromptTokens, meter_prompt, take_chunk
from cocoon_p2p.protocols.exchange.pulse import LOST_SECONDS, Pulse
from cocoon_p2p.protocols.exchange.terms import Rules, Terms, judge_quote
from cocoon_p2p.protocols.ids import HEARTBEAT_SECONDS, Reason
from cocoon_p2p.protocols.messages import Ask, Chunk, Signed, Usage
from cocoon_p2p.units import Nano

SETTLE_SECONDS = 5.0
"How long a client waits for its Settlement after the last chunk or a Cancel. It can ask for it later."


class Phase(Enum):
    """How far an exchange has come."""

    ASKED = auto()
    SEALING = auto()
    "The shell is at work; nothing is awaited from the proxy."

    GREETED = auto()
    SENT = auto()
    METERED = auto()
    ANSWERING = auto()
    ANSWERED = auto()
    CANCELLING = auto()
    ENDED = auto()


_NOTHING_SENT = (Phase.ASKED, Phase.SEALING, Phase.GREETED)
_UNDER_WAY = (Phase.SENT, Phase.METERED, Phase.ANSWERING)


def know_no_tokenizer(_tokenizer_hash: bytes) -> None:
    """Count by no tokenizer: a prompt's bytes must do."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the client wants, from whom, by when, on what conditions."""

    ask: Ask
    "Without a channel it is a price question, which ends with its Quoted."

    proxy: PeerId
    network: NetworkId
    rules: Rules
    deadline: float
    "On the steady clock."

    prompt_tokens_max: int | None = None
    "A closer bound than the Ask tells, which must not say how long the prompt is."

    wanted: Wanted = NOTHING_BEYOND
    "What the answer carries beyond text."

    count_prompt: Callable[[bytes], int | None] = know_no_tokenizer
    "Counts the prompt by the tokenizer with this hash, where the client has it. Pure."


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange as the client sees it."""

    order: Order
    phase: Phase
    pulse: Pulse
    terms: Terms | None = None
    "Set from SEALING on."

    held: int = 0
    "nanoTON that the payer's account was last told to keep covered for this exchange."

    delivery: Delivery = field(default_factory=Delivery)
    cancelled: Reason | None = None
    "Why we cancelled, if we did."

    settle_by: float | None = None
    quote_by: float = float("inf")
    "When whoever waits in line has waited as long as it said that it would, and what the answer takes."


def begin(order: Order, now: float) -> tuple[Exchange, Effects]:
    """Ask."""
    exchange, wait_ms = Exchange(order, Phase.ASKED, Pulse(heard=now, spoke=now)), order.ask.wait_ms
    if wait_ms is not None:
        exchange = replace(exchange, quote_by=now + wait_ms / 1000 + LOST_SECONDS)
    return exchange, (Send((order.ask,)),)


def step(exchange: Exchange, event: Event) -> tuple[Exchange, Effects]:
    """Apply one event.

    Args:
        exchange: The exchange as it stands.
        event: What happened. A message is judged here, not trusted.

    Returns:
        The exchange after the event, and the effects to carry out, in order.

    Raises:
        RemoteProtocolError: The peer sent what is not allowed here. `exchange` still holds; feed
            the error back as `PeerLost`.
        LocalProtocolError: The event cannot occur in this phase: a fault of ours.
    """
    if exchange.phase is Phase.ENDED and not isinstance(event, Received | ChunkOpened):
        return exchange, ()
    match event:
        case Received(message, now):
            _check_addressed(exchange, message)
            return _received(_heard(exchange, now), message, event)
        case ChunkOpened(chunk, content, now):
            _check_addressed(exchange, chunk)
            return _opened(_heard(exchange, now), chunk, content, now)
        case HelloMade(hello, now):
            _expect(exchange, Phase.SEALING, "a Hello")
            return _send(exchange, Phase.GREETED, now, messages.Hello(exchange.order.ask.exchange, hello))
        case RequestSealed(parts, now):
            _expect(exchange, Phase.SEALING, "a sealed request")
            return _send(exchange, Phase.SENT, now, *parts)
        case HoldRefused(error, now):
            return _cancel(exchange, Reason.NO_CREDIT, error, now)
        case CancelWanted(now):
            return _cancel(exchange, Reason.CANCELLED, None, now)
        case PeerLost(error):
            return _lose(exchange, error)
        case Woke(now, is_listening):
            return _wake(exchange if is_listening else _heard(exchange, now), now)
        case _:
            assert_never(event)


def next_wake(exchange: Exchange) -> float | None:
    """Say when `Woke` is due if nothing happens before; None once the exchange has ended."""
    if exchange.phase is Phase.ENDED:
        return None
    patience = exchange.order.deadline if exchange.settle_by is None else exchange.settle_by
    if exchange.phase is Phase.ASKED:
        patience = min(patience, exchange.quote_by)
    return min(exchange.pulse.heartbeat_due, exchange.pulse.lost_at, patience)


def _received(exchange: Exchange, message: object, event: Received) -> tuple[Exchange, Effects]:
    phase = exchange.phase
    match message:
        case messages.Heartbeat():
            return exchange, ()
        case messages.Quoted(quote=quote) if phase is Phase.ASKED:
            return _quoted(exchange, quote, event.date)
        case messages.Refused() if exchange.delivery.chunks == 0:
            return replace(exchange, phase=Phase.ENDED), (*_release(exchange), Finish(Declined(message)))
        case messages.Accept(accept=accept, signature=signature) if phase is Phase.GREETED:
            open_session = OpenSession(_terms(exchange), accept, signature)
            return replace(exchange, phase=Phase.SEALING), (open_session,)
        case messages.PromptMetered(usage=usage) if (
            phase in (Phase.SENT, Phase.CANCELLING) and exchange.delivery.metered is None
        ):
            return _metered(exchange, usage)
        case messages.Settled() if phase not in (Phase.ASKED, Phase.SEALING):
            return _settled(exchange, message, event)
        case _:
            raise _unexpected(exchange, message)


def _check_addressed(exchange: Exchange, message: object) -> None:
    if exchange.phase is Phase.ENDED:
        raise _unexpected(exchange, message)
    if getattr(message, "exchange", None) != exchange.order.ask.exchange:
        raise RemoteProtocolError(f"{type(message).__name__} of another exchange")


def _unexpected(exchange: Exchange, message: object) -> RemoteProtocolError:
    name, phase = type(message).__name__, exchange.phase.name.lower()
    return RemoteProtocolError(f"{name} is not allowed here (phase={phase})")


def _expect(exchange: Exchange, phase: Phase, what: str) -> None:
    if exchange.phase is not phase:
        raise LocalProtocolError(f"{what} is not wanted here (phase={exchange.phase.name.lower()})")


# ---------------------------------------------------------------- terms and money


def _quoted(exchange: Exchange, quote: Signed, date: float) -> tuple[Exchange, Effects]:
    order = exchange.order
    try:
        terms = judge_quote(
            quote, ask=order.ask, proxy=order.proxy, network=order.network, rules=order.rules, now=date
        )
    except (Refused, AttestationFailed) as error:
        # The slot that the quote holds is freed by the reset.
        return replace(exchange, phase=Phase.ENDED), (Reset(), Finish(Dropped(error)))
    if order.ask.channel is None:
        return replace(exchange, phase=Phase.ENDED, terms=terms), (Finish(Priced(terms)),)
    bound = Usage(prompt=order.ask.prompt_tokens_max, cached=0, completion=0, reasoning=0)
    exchange, hold = _hold(replace(exchange, phase=Phase.SEALING, terms=terms), bound)
    return exchange, (*hold, SealRequest(terms))


def _metered(exchange: Exchange, usage: Usage) -> tuple[Exchange, Effects]:
    delivery = meter_prompt(exchange.delivery, usage, prompt_tokens(exchange.order, _terms(exchange)))
    exchange = replace(exchange, delivery=delivery)
    if exchange.phase is Phase.CANCELLING:
        return exchange, ()
    return _hold(replace(exchange, phase=Phase.METERED), usage)


def prompt_tokens(order: Order, terms: Terms) -> PromptTokens:
    """Say how many tokens the prompt has, as far as the client knows by itself."""
    exact = order.count_prompt(terms.offer.tokenizer_hash)
    if exact is not None:
        return PromptTokens(exact, exact)
    told = order.ask.prompt_tokens_max
    return PromptTokens(0, told if order.prompt_tokens_max is None else min(told, order.prompt_tokens_max))


def _hold(exchange: Exchange, usage: Usage) -> tuple[Exchange, Effects]:
    """Cover this usage and a window ahead; again only when half of the window is used up.

    So few vouchers do, each of which costs two disks a write. A hold never shrinks: what the payee
    has set aside for the exchange does not either, and what we took from it for another exchange
    would be missing there.
    """
    order, terms = exchange.order, _terms(exchange)
    window_tokens = min(terms.quote.window_tokens, order.rules.window_tokens_max)
    needed = min(terms.amount(ahead(usage, window_tokens // 2)), order.ask.max_cost)
    if needed <= exchange.held:
        return exchange, ()
    amount = min(terms.amount(ahead(usage, window_tokens)), Nano(order.ask.max_cost))
    return replace(exchange, held=amount), (Hold(amount),)


def _release(exchange: Exchange) -> Effects:
    return (Release(),) if exchange.held else ()


def _settled(exchange: Exchange, message: messages.Settled, event: Received) -> tuple[Exchange, Effects]:
    order, terms = exchange.order, _terms(exchange)
    ended = replace(exchange, phase=Phase.ENDED)
    most = order.ask.max_cost
    if exchange.cancelled is not None and event.credit is not None:
        # We cover no more from the Cancel on: what comes beyond that was never allowed to its worker.
        most = min(most, max(exchange.held, event.credit))
    try:
        bill = judge_settlement(
            message.settlement,
            terms=terms,
            delivery=exchange.delivery,
            # The proxy was told in whole milliseconds, rounded down, and no two clocks go alike.
            was_cancelled=exchange.cancelled is not None or event.now >= order.deadline - HEARTBEAT_SECONDS,
            amount_max=Nano(most),
            proxy=order.proxy,
            network=order.network,
            prompt_tokens_max=prompt_tokens(order, terms).most,
        )
    except RemoteProtocolError as error:
        disputed = Disputed(error, terms, message.settlement, exchange.delivery.meter)
        return ended, (*_release(exchange), Reset(), Finish(disputed))
    booked: Effects = (Charge(bill),) if bill.amount else _release(exchange)
    return ended, (*booked, Finish(Paid(bill, exchange.cancelled, message.reason, message.detail)))


# ---------------------------------------------------------------- the answer


def _opened(exchange: Exchange, chunk: Chunk, content: AnswerContent, now: float) -> tuple[Exchange, Effects]:
    order, phase, delivery = exchange.order, exchange.phase, exchange.delivery
    is_metered = delivery.metered is not None and not delivery.is_complete
    if phase not in (Phase.METERED, Phase.ANSWERING, Phase.CANCELLING) or not is_metered:
        raise _unexpected(exchange, chunk)
    delivery = take_chunk(
        delivery,
        chunk,
        content,
        terms=_terms(exchange),
        completion_tokens_max=order.ask.completion_tokens_max,
        wanted=order.wanted,
        network=order.network,
    )
    exchange = replace(exchange, delivery=delivery)
    deliver = Deliver(content, chunk.usage)
    if phase is Phase.CANCELLING:
        return exchange, (deliver,)
    if chunk.final:
        return replace(exchange, phase=Phase.ANSWERED, settle_by=now + SETTLE_SECONDS), (deliver,)
    exchange, hold = _hold(replace(exchange, phase=Phase.ANSWERING), chunk.usage)
    return exchange, (deliver, *hold)


# ---------------------------------------------------------------- time and loss


def _wake(exchange: Exchange, now: float) -> tuple[Exchange, Effects]:
    pulse = exchange.pulse
    if exchange.settle_by is not None and now >= exchange.settle_by:
        return _lose(exchange, Unavailable("no settlement came in time"))
    if now >= pulse.lost_at:
        return _lose(exchange, Unavailable(f"the proxy fell silent (for={now - pulse.heard:.1f} seconds)"))
    if exchange.phase is Phase.ASKED and now >= exchange.quote_by:
        return _lose(exchange, Unavailable("the proxy let us wait longer than we said that we would"))
    if exchange.settle_by is None and now >= exchange.order.deadline:
        return _cancel(exchange, Reason.DEADLINE, Unavailable("the deadline has passed"), now)
    if now >= pulse.heartbeat_due:
        heartbeat = messages.Heartbeat(exchange.order.ask.exchange, 0)
        return _send(exchange, exchange.phase, now, heartbeat)
    return exchange, ()


def _cancel(
    exchange: Exchange, reason: Reason, error: CocoonError | None, now: float
) -> tuple[Exchange, Effects]:
    if exchange.phase in _NOTHING_SENT:
        # The reset frees whatever waits for us; nothing was sealed, so nothing is owed.
        ended = replace(exchange, phase=Phase.ENDED)
        return ended, (*_release(exchange), Reset(), Finish(Dropped(error)))
    if exchange.phase not in _UNDER_WAY:
        return exchange, ()
    exchange = replace(exchange, cancelled=reason, settle_by=now + SETTLE_SECONDS)
    return _send(exchange, Phase.CANCELLING, now, messages.Cancel(exchange.order.ask.exchange, reason))


def _lose(exchange: Exchange, error: CocoonError) -> tuple[Exchange, Effects]:
    """End without a settlement."""
    ended = replace(exchange, phase=Phase.ENDED)
    if exchange.phase in _NOTHING_SENT:
        lost = Lost(error, exchange.terms, Nano(0), None)
        return ended, (*_release(exchange), Reset(), Finish(lost))
    # What may still be owed stays held until the settlement is had. Who broke the rules, the worker
    # or the proxy, is not known: by breaking them a proxy gains no more than by vanishing.
    lost = Lost(error, exchange.terms, Nano(exchange.held), exchange.delivery.meter)
    return ended, (Reset(), Finish(lost))


def _send(exchange: Exchange, phase: Phase, now: float, *to_send: object) -> tuple[Exchange, Effects]:
    pulse = replace(exchange.pulse, spoke=now)
    return replace(exchange, phase=phase, pulse=pulse), (Send(to_send),)


def _heard(exchange: Exchange, now: float) -> Exchange:
    return replace(exchange, pulse=replace(exchange.pulse, heard=now))


def _terms(exchange: Exchange) -> Terms:
    assert exchange.terms is not None, "there are terms from SEALING on"
    return exchange.terms
