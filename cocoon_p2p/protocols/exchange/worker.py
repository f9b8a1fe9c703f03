"""The worker's side of a stream of exchanges, as a pure function.

    IDLE ------Assign---------> OPENING     or it is refused, or answered with the receipt of old
    OPENING ---Hello, Part----> OPENING     seals are opened
    OPENING ---RequestOpened--> COUNTING    the engine tokenises
    COUNTING --PromptCounted--> COVERING    PromptMetered goes out; credit is waited for
    COVERING --Covered--------> ANSWERING   the engine starts
    ANSWERING -Generated------> ANSWERING   chunks go out, each once it is covered
    ANSWERING -last chunk-----> ENDING      completed
    ANSWERING -Cancel, deadline, no credit, engine failed--> ENDING
    ENDING ----ReceiptSaved---> IDLE        Receipted goes out
    OPENING, COUNTING, COVERING --Cancel, deadline, rejected, no credit--> IDLE: Refused goes out
    any -------PeerLost-------> GONE        by way of ENDING where something may be owed

Rule 1: an exchange that was admitted is dismissed exactly once, and charged at most once,
before that. Rule 2: what is charged was covered before. Rule 3: a receipt is saved before it
is sent. Rule 4: nothing here reads a clock or draws a number; seals, signatures and the
engine are the shell's, and it reports what they said.

Spec: protocols/exchange.md.
"""

from typing import assert_never

from cocoon_p2p.errors import LocalProtocolError, RemoteProtocolError
from cocoon_p2p.frozen import replace
from cocoon_p2p.payments.pricing import completion_affordable, worker_amount
from cocoon_p2p.protocols.exchange.answer import Answer, amount, bids, counted, grow, take
from cocoon_p2p.protocols.exchange.assignment import Job, Standing, judge, refusal
from cocoon_p2p.protocols.exchange.pulse import Pulse
from cocoon_p2p.protocols.exchange.worker_events import (
    Admit,
    AssignReceived,
    ChunkTaken,
    CountPrompt,
    Cover,
    Covered,
    Dismiss,
    Effect,
    EngineFailed,
    Event,
    Generated,
    Greet,
    MessageReceived,
    OpenPart,
    PeerLost,
    Permit,
    PromptCounted,
    ReceiptSaved,
    Report,
    RequestOpened,
    RequestRejected,
    Reset,
    SaveReceipt,
    Send,
    SendChunk,
    SessionAccepted,
    StartEngine,
    StopWork,
    TimePassed,
)
from cocoon_p2p.protocols.exchange.worker_phases import (
    Answering,
    Counting,
    Covering,
    Ending,
    Gone,
    Idle,
    Opening,
    Running,
    State,
    Unpaid,
)
from cocoon_p2p.protocols.ids import (
    COVER_SECONDS,
    ENGINE_STALL_SECONDS,
    PART_SECONDS,
    PARTS_MAX,
    Kind,
    Outcome,
    Reason,
)
from cocoon_p2p.protocols.messages import (
    Allow,
    Assign,
    Cancel,
    Heartbeat,
    Hello,
    Part,
    PromptMetered,
    Receipted,
    Usage,
)
from cocoon_p2p.units import Nano

LATE_MAX = PARTS_MAX + 8
"Messages that may have crossed the end of their exchange: all its parts, and a few more."

Step = tuple[State, tuple[Effect, ...]]


def step(state: State, event: Event) -> Step:
    """Apply one event.

    Args:
        state: The stream as it stands; `Idle()` to begin with.
        event: What happened. A proxy's message is judged here, not trusted.

    Returns:
        The state after the event, and the effects to carry out, in order. What comes too late
        from our own side (a count after the Cancel) changes nothing.

    Raises:
        RemoteProtocolError: The proxy sent what it must not here. `state` still holds; the
            shell answers with `PeerLost`.
        LocalProtocolError: Our own side reports what cannot have happened: a fault of ours.
    """
    match event:
        case AssignReceived(assign, standing, now):
            after = _assign(state, assign, standing, now)
        case MessageReceived(message, now):
            after = _hear(state, message, now)
        case PeerLost():
            after = _lose(state)
        case ReceiptSaved():
            after = _hand_over(state, event)
        case TimePassed(now):
            after = _pass_time(state, now)
        case (
            SessionAccepted()
            | RequestOpened()
            | RequestRejected()
            | PromptCounted()
            | Covered()
            | Generated()
            | EngineFailed()
            | ChunkTaken()
        ):
            after = (state, ()) if isinstance(state, Idle | Ending | Gone) else _report(state, event)
        case _:
            assert_never(event)
    return _note_speech(*after, event.now)


# ---------------------------------------------------------------- the proxy speaks


def _assign(state: State, assign: Assign, standing: Standing, now: float) -> Step:
    match state:
        case Idle():
            verdict = judge(assign, standing, now)
            if isinstance(verdict, Job):
                return Opening(verdict, Pulse(now, now), due=now + PART_SECONDS), (Admit(verdict),)
            return Idle(assign.exchange), (Send(verdict),)
        case Gone():
            return state, ()
        case _:
            raise RemoteProtocolError("Assign: the exchange before it has not ended")


def _hear(state: State, message: object, now: float) -> Step:
    if isinstance(state, Gone):
        return state, ()
    name = type(message).__name__
    if not isinstance(message, Hello | Part | Heartbeat | Cancel | Allow):
        raise RemoteProtocolError(f"{name}: nothing that a proxy sends to a worker here")
    if isinstance(state, Idle):
        if message.exchange != state.last or state.late >= LATE_MAX:
            raise RemoteProtocolError(f"{name}: no exchange runs")
        return replace(state, late=state.late + 1), ()
    if message.exchange != state.job.exchange:
        raise RemoteProtocolError(f"{name}: of another exchange")
    heard = replace(state, pulse=replace(state.pulse, heard=now))
    match message:
        case Heartbeat():
            return heard, ()
        case Allow(amount=allowed):
            return heard, () if isinstance(state, Ending) else (Permit(Nano(allowed)),)
        case Cancel(reason=reason):
            outcome = Outcome.FAILED if reason is Reason.PROXY_LOST else Outcome.CANCELLED
            return _break_off(heard, outcome, reason, "cancelled before anything was computed")
        case Hello():
            return _hear_hello(heard, message, now)
        case Part():
            return _hear_part(heard, message, now)
    assert_never(message)


def _hear_hello(state: State, hello: Hello, now: float) -> Step:
    if not isinstance(state, Opening) or state.is_greeted or state.parts:
        raise RemoteProtocolError("Hello: at most one, before the first Part")
    return replace(state, is_greeted=True, due=now + PART_SECONDS), (Greet(hello),)


def _hear_part(state: State, part: Part, now: float) -> Step:
    if not isinstance(state, Opening) or state.is_complete:
        raise RemoteProtocolError("Part: the request is complete")
    if part.part != state.parts:
        raise RemoteProtocolError(f"Part: out of order (got={part.part} expected={state.parts})")
    request = (part.session, part.request)
    if state.request not in (None, request):
        raise RemoteProtocolError("Part: of another request")
    opening = replace(
        state, due=now + PART_SECONDS, parts=state.parts + 1, request=request, is_complete=part.final
    )
    return opening, (OpenPart(part),)


def _lose(state: State) -> Step:
    match state:
        case Idle() | Gone():
            return Gone(), (Reset(),)
        case Opening() | Counting() | Covering():
            return Gone(), (StopWork(), Dismiss(Reason.PROXY_LOST), Reset())
        case Answering():
            ending, effects = _end(state, Outcome.FAILED, Reason.PROXY_LOST)
            return replace(ending, is_gone=True), (*effects, Reset())
        case Ending():
            return replace(state, is_gone=True), (Reset(),)
    assert_never(state)


# ---------------------------------------------------------------- our own side reports


def _report(state: Unpaid | Answering, report: Report) -> Step:
    match state, report:
        case Opening(is_greeted=True), SessionAccepted(accept=accept):
            return state, (Send(accept),)
        case Opening(is_complete=True) as opening, RequestOpened() as opened:
            return _count(opening, opened)
        case (Opening() | Counting()) as unpaid, RequestRejected(reason=reason, detail=detail):
            return _refuse(unpaid, reason, detail)
        case Counting() as counting, PromptCounted() as count:
            return _meter(counting, count)
        case Covering() as covering, Covered(now=now):
            answer = Answer(covering.metered, covering.job.offer.price, covering.job.amount_max)
            start = StartEngine(covering.completion_tokens_max)
            return Answering(covering.job, covering.pulse, answer, engine_since=now), (start,)
        case Answering() as answering, Generated() as generated:
            return _grow(answering, generated)
        case Answering() as answering, Covered() as covered if answering.cover_due is not None:
            return _send(answering, covered)
        case Answering(is_writing=True) as answering, ChunkTaken(now=now):
            return _advance(replace(answering, is_writing=False), now)
        case Answering() as answering, EngineFailed():
            # An engine that has said its last word may stumble afterwards.
            if answering.answer.finish is not None:
                return answering, ()
            return _end(answering, Outcome.FAILED, Reason.ENGINE_FAILED)
        case _:
            raise LocalProtocolError(
                f"{type(report).__name__} cannot happen here (state={type(state).__name__})"
            )


def _count(opening: Opening, opened: RequestOpened) -> Step:
    assign = opening.job.assign
    if (opened.kind, opened.model) != (assign.kind, assign.model):
        return _refuse(opening, Reason.MALFORMED, "malformed: what is sealed is for another model or kind")
    limit = min(opened.completion_tokens_max, assign.completion_tokens_max)
    if (limit == 0) is not (assign.kind is Kind.EMBEDDING):
        detail = "malformed: an embedding asks for no completion tokens, and all else for one at least"
        return _refuse(opening, Reason.MALFORMED, detail)
    due = opened.now + ENGINE_STALL_SECONDS
    return Counting(opening.job, opening.pulse, due, limit), (CountPrompt(),)


def _meter(counting: Counting, count: PromptCounted) -> Step:
    job, limit = counting.job, counting.completion_tokens_max
    bound = job.assign.prompt_tokens_max
    if bound is not None and count.prompt_tokens > bound:
        detail = f"too large: the prompt has {count.prompt_tokens} tokens, the Ask allows {bound}"
        return _refuse(counting, Reason.TOO_LARGE, detail)
    cached = min(count.cached_tokens, count.prompt_tokens)
    metered = Usage(prompt=count.prompt_tokens - cached, cached=cached, completion=0, reasoning=0)
    need = worker_amount(replace(metered, completion=min(1, limit)), job.offer.price)
    affordable = completion_affordable(metered, job.offer.price, job.amount_max)
    if need > job.amount_max or affordable == 0 < limit:
        detail = f"price above limit: prompt and first token cost {need}, at most {job.amount_max} nanoTON"
        return _refuse(counting, Reason.PRICE_ABOVE_LIMIT, detail, need=need)
    limit = limit if affordable is None else min(limit, affordable)
    covering = Covering(job, counting.pulse, count.now + COVER_SECONDS, limit, metered)
    accrued = worker_amount(metered, job.offer.price)
    return covering, (Send(PromptMetered(job.exchange, metered)), Cover((accrued,)))


def _grow(state: Answering, generated: Generated) -> Step:
    answer = grow(
        state.answer,
        generated.content,
        made=generated.completion_tokens,
        prefilled=generated.prompt_tokens,
    )
    return _advance(replace(state, answer=answer, engine_since=generated.now), generated.now)


def _send(state: Answering, covered: Covered) -> Step:
    answer, draft = take(state.answer, covered.amount, covered.now)
    # An engine that was held back has its full time again.
    sent = replace(state, answer=answer, cover_due=None, is_writing=True, engine_since=covered.now)
    if draft.content.finish is None:
        return sent, (SendChunk(draft),)
    ending, effects = _end(sent, Outcome.COMPLETED, None)
    return ending, (SendChunk(draft), *effects)


def _advance(state: Answering, now: float) -> Step:
    """Ask for credit for the next chunk, if that is due and the one before it is out of the way."""
    due = state.answer.due
    if state.cover_due is not None or state.is_writing or due is None or now < due:
        return state, ()
    return replace(state, cover_due=now + COVER_SECONDS), (Cover(bids(state.answer)),)


# ---------------------------------------------------------------- time


def _pass_time(state: State, now: float) -> Step:
    if isinstance(state, Idle | Gone) or (isinstance(state, Ending) and state.is_gone):
        return state, ()
    if now >= state.pulse.lost_at:
        return _lose(state)
    if not isinstance(state, Ending):
        if now >= state.job.deadline:
            detail = "deadline: it passed before anything was computed"
            return _break_off(state, Outcome.CANCELLED, Reason.DEADLINE, detail)
        if now >= state.due:
            return _answer_overdue(state, now) if isinstance(state, Answering) else _overdue(state)
    return state, _beat(state, now)


def _overdue(state: Unpaid) -> Step:
    match state:
        case Opening():
            return _refuse(state, Reason.DEADLINE, "deadline: the next part of the request did not come")
        case Counting():
            return _refuse(state, Reason.ENGINE_FAILED, "engine failed: it does not count the prompt")
        case Covering():
            need = worker_amount(state.metered, state.job.offer.price)
            return _refuse(state, Reason.NO_CREDIT, f"no credit: the prompt costs {need} nanoTON", need=need)
    assert_never(state)


def _answer_overdue(state: Answering, now: float) -> Step:
    if state.cover_due is not None and now >= state.cover_due:
        return _end(state, Outcome.CANCELLED, Reason.NO_CREDIT)
    if now >= state.stalled_at:
        return _end(state, Outcome.FAILED, Reason.ENGINE_FAILED)
    return _advance(state, now)


def _beat(state: Running, now: float) -> tuple[Effect, ...]:
    is_writing = isinstance(state, Answering) and state.is_writing
    if is_writing or now < state.pulse.heartbeat_due:
        return ()
    steps = state.answer.steps if isinstance(state, Answering) else 0
    return (Send(Heartbeat(state.job.exchange, steps)),)


def _note_speech(state: State, effects: tuple[Effect, ...], now: float) -> Step:
    # Most steps are of the engine, and have no effect.
    if not effects or isinstance(state, Idle | Gone):
        return state, effects
    if not any(isinstance(effect, Send | SendChunk) for effect in effects):
        return state, effects
    return replace(state, pulse=replace(state.pulse, spoke=now)), effects


# ---------------------------------------------------------------- ends


def _break_off(state: Running, outcome: Outcome, reason: Reason, detail: str) -> Step:
    match state:
        case Opening() | Counting() | Covering():
            return _refuse(state, reason, detail)
        case Answering():
            return _end(state, outcome, reason)
        case Ending():
            return state, ()
    assert_never(state)


def _refuse(state: Unpaid, reason: Reason, detail: str, *, need: Nano | None = None) -> Step:
    """End what nothing is owed for."""
    refused = refusal(state.job.exchange, reason, detail, need=need)
    return Idle(state.job.exchange), (StopWork(), Send(refused), Dismiss(reason))


def _end(state: Answering, outcome: Outcome, reason: Reason | None) -> tuple[Ending, tuple[Effect, ...]]:
    """End what may have earned something: the receipt comes first."""
    usage = counted(state.answer, outcome)
    save = SaveReceipt(usage, amount(usage, state.answer), outcome)
    return Ending(state.job, state.pulse, reason), (StopWork(), save)


def _hand_over(state: State, saved: ReceiptSaved) -> Step:
    match state:
        case Ending(is_gone=True, reason=reason):
            return Gone(), (Dismiss(reason),)
        case Ending(job=job, reason=reason):
            return Idle(job.exchange), (Send(Receipted(job.exchange, saved.receipt, reason)), Dismiss(reason))
        case _:
            raise LocalProtocolError(f"a receipt that nobody asked for (state={type(state).__name__})")
