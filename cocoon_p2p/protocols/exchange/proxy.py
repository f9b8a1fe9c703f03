"""The proxy's side of an exchange, between a client and a worker, as a pure function.

    QUOTED ----Hello, Part--> COVERING --Covered--> OPENING --WorkerOpened--> UPLOADING
    UPLOADING --Part(final)-> METERING --PromptMetered--> ANSWERING --Receipted--> SETTLING
    UPLOADING, METERING, ANSWERING ----Cancel, deadline, no credit, client lost--> STOPPING
    STOPPING ---------------------------------------------Receipted--> SETTLING
    ANSWERING, STOPPING ------worker lost after a chunk, by its Meter--> SETTLING
    SETTLING --Charged--> ENDED
    any before SETTLING --Refused, nothing is owed--> ENDED

Rule 1: the client hears exactly one end, Refused or Settled, if it is still there.
Rule 2: no worker hears of an exchange before the client has covered the prompt's bound, and what
is held at the worker is never more than the client has covered, less the commission.
Rule 3: nothing is passed on or charged that the client has not covered, because the worker was
allowed no more: what it sends beyond that breaks the rules.
Rule 4: nothing here reads a clock, a stream or an account; the shell that calls `step` brings the
times in and carries the effects out, in order, each answer fed back as an event.

Spec: protocols/exchange.md.
"""

from typing import assert_never

from cocoon_p2p.errors import LocalProtocolError, RemoteProtocolError
from cocoon_p2p.frozen import replace
from cocoon_p2p.protocols.exchange.proxy_credit import (
    check_allowed,
    hold,
    is_covered,
    reach_first,
    reach_on,
)
from cocoon_p2p.protocols.exchange.proxy_ends import (
    accept_receipt,
    lose_client,
    lose_worker,
    pass_on_refusal,
    refuse,
    settle,
    stop,
)
from cocoon_p2p.protocols.exchange.proxy_events import (
    Charged,
    ClientLost,
    ClientSaid,
    Covered,
    Effects,
    Event,
    HoldRefused,
    LeaveClient,
    OpenWorker,
    ToClient,
    Woke,
    WorkerLost,
    WorkerOpened,
    WorkerSaid,
    WorkerUnavailable,
)
from cocoon_p2p.protocols.exchange.proxy_state import (
    ASSIGNED,
    UNASSIGNED,
    WITH_WORKER,
    Exchange,
    Phase,
    client_beat_at,
    client_lost_at,
    ends_at,
    listen,
    stalled_at,
    to_client,
    to_worker,
    worker_beat_at,
    worker_lost_at,
)
from cocoon_p2p.protocols.exchange.pulse import LOST_SECONDS, Pulse
from cocoon_p2p.protocols.exchange.relayed import Deal, is_next_token_held, meter_prompt, take_chunk
from cocoon_p2p.protocols.ids import COVER_SECONDS, DEADLINE_MAX_SECONDS, RESERVATION_SECONDS, Reason
from cocoon_p2p.protocols.messages import (
    Accept,
    Allow,
    Assign,
    Cancel,
    ChannelId,
    Chunk,
    Heartbeat,
    Hello,
    Part,
    PromptMetered,
    Quoted,
    Receipted,
    Refused,
)
from cocoon_p2p.units import Nano

OPEN_SECONDS = 10.0
"How long a worker may take to answer a first stream and a first channel."


def begin(deal: Deal, now: float, *, asked: float | None = None) -> tuple[Exchange, Effects]:
    """Answer an Ask for which a slot was found.

    Args:
        deal: What the quote inside says, signed already.
        now: When the slot was found.
        asked: When the Ask came, if it has waited: its deadline runs from there.
    """
    asked = now if asked is None else asked
    exchange = Exchange(
        deal=deal,
        phase=Phase.QUOTED,
        deadline=asked + min(deal.ask.deadline_ms / 1000, DEADLINE_MAX_SECONDS),
        patience=now + RESERVATION_SECONDS,
        client=Pulse(now, now),
        worker=Pulse(now, now),
    )
    return exchange, (ToClient(Quoted(deal.ask.exchange, deal.quote)),)


def step(exchange: Exchange, event: Event) -> tuple[Exchange, Effects]:
    """Apply one event.

    Args:
        exchange: The exchange as it stands. Once it has ended, nothing changes it.
        event: What happened. A peer's message is judged here, not trusted.

    Returns:
        The exchange after the event, and the effects to carry out, in order.

    Raises:
        RemoteProtocolError: The peer sent what is not allowed here. `exchange` still holds; reset
            that peer's stream and feed `ClientLost` or `WorkerLost`.
        LocalProtocolError: The event cannot occur in this phase: a fault of ours.
    """
    if exchange.phase is Phase.ENDED:
        return exchange, ()
    match event:
        case ClientSaid(message, now):
            _check_addressed(exchange, message)
            heard = replace(exchange, client=Pulse(now, exchange.client.spoke))
            return _client_said(heard, message, now)
        case ClientLost(now):
            return lose_client(exchange, now)
        case WorkerSaid(message, now):
            _check_addressed(exchange, message)
            heard = replace(exchange, worker=Pulse(now, exchange.worker.spoke))
            return _worker_said(heard, message, now)
        case WorkerLost(detail, now):
            return lose_worker(exchange, Reason.WORKER_LOST, detail, now)
        case Covered(amount, now):
            return _cover(exchange, amount, now)
        case WorkerOpened(channel, now):
            return _assign(exchange, channel, now)
        case WorkerUnavailable(detail, now):
            _expect(exchange, Phase.OPENING, "an unavailable worker")
            return refuse(exchange, Reason.WORKER_LOST, detail, now)
        case HoldRefused(now):
            return stop(exchange, Reason.PROXY_LOST, "the proxy's channel to the worker is used up", now)
        case Charged(settlement, now):
            _expect(exchange, Phase.SETTLING, "a settlement")
            return settle(exchange, settlement, now)
        case Woke(now, is_client_read, is_worker_read):
            exchange = listen(exchange, now, client=not is_client_read, worker=not is_worker_read)
            return _wake(exchange, now)
        case _:
            assert_never(event)


def _check_addressed(exchange: Exchange, message: object) -> None:
    if getattr(message, "exchange", None) != exchange.deal.ask.exchange:
        raise RemoteProtocolError(f"{type(message).__name__} of another exchange")


def _not_allowed(exchange: Exchange, message: object) -> RemoteProtocolError:
    phase = exchange.phase.name.lower()
    return RemoteProtocolError(f"{type(message).__name__} is not allowed here (phase={phase})")


def _expect(exchange: Exchange, phase: Phase, what: str) -> None:
    if exchange.phase is not phase:
        raise LocalProtocolError(f"{what} cannot occur here (phase={exchange.phase.name.lower()})")


# ---------------------------------------------------------------- the client


def _client_said(exchange: Exchange, message: object, now: float) -> tuple[Exchange, Effects]:
    match message:
        case Heartbeat():
            return exchange, ()
        case Cancel(reason=reason) if exchange.phase in (*UNASSIGNED, *ASSIGNED):
            # Any other reason would be a claim about who pays.
            known = Reason.DEADLINE if reason is Reason.DEADLINE else Reason.CANCELLED
            return stop(exchange, known, "by the client", now)
        case Cancel():
            return exchange, ()
        case Hello() if not exchange.is_greeted and not exchange.parts:
            return _upload(replace(exchange, is_greeted=True, is_greeting=True), message, now)
        case Part(part=number, final=final) if number == exchange.parts and not (
            exchange.is_greeting or exchange.is_uploaded
        ):
            return _upload(replace(exchange, parts=number + 1, is_uploaded=final), message, now)
        case _:
            raise _not_allowed(exchange, message)


def _upload(exchange: Exchange, message: Hello | Part, now: float) -> tuple[Exchange, Effects]:
    match exchange.phase:
        case Phase.QUOTED:
            waiting = replace(
                exchange, phase=Phase.COVERING, patience=now + COVER_SECONDS, to_upload=(message,)
            )
            return reach_first(waiting)
        case Phase.COVERING | Phase.OPENING:
            return replace(exchange, to_upload=(*exchange.to_upload, message)), ()
        case Phase.UPLOADING:
            phase = Phase.METERING if exchange.is_uploaded else Phase.UPLOADING
            return to_worker(replace(exchange, phase=phase), now, message)
        case _:
            # The exchange was stopped while this was on its way.
            return exchange, ()


# ---------------------------------------------------------------- our own side


def _cover(exchange: Exchange, amount: Nano, now: float) -> tuple[Exchange, Effects]:
    exchange = replace(exchange, covered=max(exchange.covered, amount))
    match exchange.phase:
        case Phase.COVERING if is_covered(exchange, exchange.deal.prompt_bound):
            return replace(exchange, phase=Phase.OPENING, patience=now + OPEN_SECONDS), (OpenWorker(),)
        case Phase.UPLOADING | Phase.METERING | Phase.ANSWERING:
            exchange, held = hold(exchange)
            if not held:
                return exchange, ()
            exchange, told = to_worker(exchange, now, Allow(exchange.deal.ask.exchange, exchange.held))
            return exchange, (*held, *told)
        case _:
            return exchange, ()


def _assign(exchange: Exchange, channel: ChannelId, now: float) -> tuple[Exchange, Effects]:
    _expect(exchange, Phase.OPENING, "an open worker")
    deal, ask = exchange.deal, exchange.deal.ask
    exchange, held = hold(exchange)
    assign = Assign(
        exchange=ask.exchange,
        quote=deal.quote,
        channel=channel,
        deadline_ms=max(0, int((exchange.deadline - now) * 1000)),
        amount_max=deal.amount_max,
        model=ask.model,
        kind=ask.kind,
        completion_tokens_max=ask.completion_tokens_max,
        max_cost=ask.max_cost,
        trust=ask.trust,
        continues=ask.continues,
        prompt_tokens_max=ask.prompt_tokens_max,
        allowed=exchange.held,
    )
    uploads = exchange.to_upload
    exchange = replace(
        listen(exchange, now, client=True),
        phase=Phase.METERING if exchange.is_uploaded else Phase.UPLOADING,
        patience=None,
        worker=Pulse(now, now),
        to_upload=(),
        stepped=now,
    )
    exchange, sent = to_worker(exchange, now, assign, *uploads)
    return exchange, (*held, *sent)


# ---------------------------------------------------------------- the worker


def _worker_said(exchange: Exchange, message: object, now: float) -> tuple[Exchange, Effects]:
    phase = exchange.phase
    if phase not in WITH_WORKER:
        raise _not_allowed(exchange, message)
    match message:
        case Heartbeat(steps=steps):
            return _beat(exchange, steps, now)
        case Chunk() if phase in (Phase.ANSWERING, Phase.STOPPING):
            return _chunk(exchange, message, now)
        case Accept() if exchange.is_greeting:
            return to_client(replace(exchange, is_greeting=False), now, message)
        case PromptMetered() if phase in (Phase.METERING, Phase.STOPPING) and exchange.is_uploaded:
            return _metered(exchange, message, now)
        case Refused() if not exchange.passed.chunks:
            return pass_on_refusal(exchange, message, now)
        case Receipted() if phase in (Phase.ANSWERING, Phase.STOPPING):
            return accept_receipt(exchange, message, now)
        case _:
            raise _not_allowed(exchange, message)


def _beat(exchange: Exchange, steps: int, now: float) -> tuple[Exchange, Effects]:
    if steps > exchange.steps:
        exchange = replace(exchange, steps=steps, stepped=now)
    if exchange.phase is not Phase.ANSWERING:
        return exchange, ()
    # It has sent nothing for a while; perhaps it needs more than half a window.
    return reach_on(exchange, fully=True)


def _metered(exchange: Exchange, message: PromptMetered, now: float) -> tuple[Exchange, Effects]:
    passed = meter_prompt(exchange.passed, message.usage, exchange.deal)
    exchange = replace(exchange, passed=passed, stepped=now)
    check_allowed(exchange)
    if exchange.phase is Phase.METERING:
        exchange = replace(exchange, phase=Phase.ANSWERING)
    return to_client(exchange, now, message)


def _chunk(exchange: Exchange, chunk: Chunk, now: float) -> tuple[Exchange, Effects]:
    passed = take_chunk(exchange.passed, chunk, exchange.deal)
    exchange = replace(exchange, passed=passed, stepped=now)
    check_allowed(exchange)
    exchange, sent = to_client(exchange, now, chunk)
    if exchange.phase is Phase.STOPPING:
        return exchange, sent
    exchange, cover = reach_on(exchange, fully=False)
    return exchange, (*sent, *cover)


# ---------------------------------------------------------------- time


def _wake(exchange: Exchange, now: float) -> tuple[Exchange, Effects]:
    """Do the first thing that is due; what else is due follows at the next wake, which is now."""
    if exchange.patience is not None and now >= exchange.patience:
        return _run_out(exchange, now)
    if now >= ends_at(exchange):
        return stop(exchange, Reason.DEADLINE, "the time that was given is over", now)
    if now >= client_lost_at(exchange):
        exchange, effects = lose_client(exchange, now)
        return exchange, (LeaveClient(), *effects)
    if now >= worker_lost_at(exchange):
        return lose_worker(exchange, Reason.WORKER_LOST, f"silent for {LOST_SECONDS:.0f} s", now)
    if now >= stalled_at(exchange):
        if is_next_token_held(exchange.passed, exchange.held, exchange.deal):
            return lose_worker(exchange, Reason.ENGINE_FAILED, "its engine makes no step", now)
        # An engine that is held back for credit makes no step, and has not failed.
        exchange = replace(exchange, stepped=now)
    return _beat_both(exchange, now)


def _run_out(exchange: Exchange, now: float) -> tuple[Exchange, Effects]:
    match exchange.phase:
        case Phase.QUOTED:
            text = f"nobody used the slot for {RESERVATION_SECONDS} s; ask again"
            return refuse(exchange, Reason.STALE, text, now)
        case Phase.COVERING:
            need = exchange.deal.for_client(exchange.deal.prompt_bound)
            text = f"the prompt's bound is not covered (need={need} got={exchange.covered} nanoTON)"
            return refuse(exchange, Reason.NO_CREDIT, text, now, need=need)
        case Phase.OPENING:
            return refuse(exchange, Reason.WORKER_LOST, "it does not answer", now)
        case Phase.STOPPING:
            return lose_worker(exchange, Reason.WORKER_LOST, "it does not answer a Cancel", now)
        case _:
            raise LocalProtocolError(f"nothing to run out of (phase={exchange.phase.name.lower()})")


def _beat_both(exchange: Exchange, now: float) -> tuple[Exchange, Effects]:
    beat = Heartbeat(exchange.deal.ask.exchange, exchange.steps)
    effects: Effects = ()
    if now >= client_beat_at(exchange):
        exchange, effects = to_client(exchange, now, beat)
    if now >= worker_beat_at(exchange):
        exchange, told = to_worker(exchange, now, replace(beat, steps=0))
        effects = (*effects, *told)
    return exchange, effects
