"""One exchange's work: what the machine orders, carried out with seals, engine and account.

Everything here is about one exchange that was admitted, and knows nothing of streams or of
the order of things. What goes wrong comes back as a report for the machine, never as an error.
"""

import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import trio

from cocoon_p2p.errors import MalformedMessage, Refused, SealBroken
from cocoon_p2p.identity import Identity, NetworkId, PeerId
from cocoon_p2p.inference.engine import (
    Engine,
    FeatureMissing,
    GenerateRequest,
    PromptTooLong,
    RequestMalformed,
)
from cocoon_p2p.journal import Entry, Journal
from cocoon_p2p.observability import short
from cocoon_p2p.payments.settlement import Accounts, ReceivingAccount
from cocoon_p2p.protocols.contents import decode_request, encode_answer
from cocoon_p2p.protocols.exchange.answer import Draft
from cocoon_p2p.protocols.exchange.assignment import Job
from cocoon_p2p.protocols.exchange.carried import Carried, Wanted, carry, wanted_by
from cocoon_p2p.protocols.exchange.ending import ending
from cocoon_p2p.protocols.exchange.worker_events import (
    EngineFailed,
    Generated,
    PromptCounted,
    Report,
    RequestOpened,
    RequestRejected,
    SaveReceipt,
)
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.protocols.messages import Chunk, Meter, Part, Receipt, Signed, Usage
from cocoon_p2p.protocols.papers import sign
from cocoon_p2p.protocols.request_sense import check_request
from cocoon_p2p.sealing import RequestBinding, Session
from cocoon_p2p.units import NANO_MAX, Nano
from cocoon_p2p.worker.gauge import Gauge
from cocoon_p2p.worker.papers import Papers
from cocoon_p2p.worker.seals import Seals
from cocoon_p2p.worker.slots import RunningExchange, Slots
from cocoon_p2p.worker.spelling import answer_content, engine_request

log = logging.getLogger(__name__)

_NOTHING = Usage(prompt=0, cached=0, completion=0, reasoning=0)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all exchanges of one worker share."""

    identity: Identity
    network: NetworkId
    engine: Engine
    accounts: Accounts
    papers: Papers
    seals: Seals
    slots: Slots
    gauge: Gauge
    now: Callable[[], float]
    "Seconds since the Unix epoch, for the dates in receipts."

    journal: Journal = field(default_factory=Journal)


class Work:
    """One exchange's work.

    It takes a slot when it is made, and gives it back once it was dismissed and every task of
    it has left.
    """

    def __init__(self, shop: Workshop, proxy: PeerId, job: Job, account: ReceivingAccount) -> None:
        self.job = job
        self._shop = shop
        self._proxy = proxy
        self._account = account
        self._started_ms = _milliseconds(shop.now())
        self._began = trio.current_time()
        self._first_token_at: float | None = None
        self._charged: SaveReceipt | None = None
        self._binding = RequestBinding(job.exchange, job.quote_hash, job.assign.max_cost, job.assign.trust)
        self._plain: list[bytes] = []
        self._found: Session | None = None
        self._number = 0
        self._request: GenerateRequest
        self._wanted: Wanted
        self._answer_hash = hashlib.sha256()
        self._scopes: set[trio.CancelScope] = set()
        allowed = job.assign.allowed
        self._allowed = NANO_MAX if allowed is None else allowed
        self._permitted = trio.Event()
        self._is_stopped = False
        self._is_dismissed = False
        self._has_left = False
        shop.slots.take(self._running)

    @property
    def _session(self) -> Session:
        assert self._found is not None, "the first part has opened"
        return self._found

    @property
    def _running(self) -> RunningExchange:
        return (self.job.assign.channel, self.job.exchange)

    # ------------------------------------------------------------ its tasks

    @contextmanager
    def task(self) -> Iterator[None]:
        """Hold the slot while a task of this work runs; `stop` cancels what is inside."""
        with trio.CancelScope() as scope:
            if self._is_stopped:
                # It was started, but told to stop before its first step.
                scope.cancel()
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.remove(scope)
                self._leave()

    def stop(self) -> None:
        """Leave the engine, and every wait. Nothing begins afterwards."""
        self._is_stopped = True
        for scope in self._scopes:
            scope.cancel()

    def dismiss(self, reason: Reason | None = None) -> None:
        """The exchange is over. What it accrued and did not charge is given back. Once only.

        Args:
            reason: Why, unless it was completed.
        """
        assert not self._is_dismissed
        self._is_dismissed = True
        self.stop()
        if self._found is not None:
            self._found.break_off(self._number)
        if self._charged is None:
            self._account.release(self.job.exchange)
        self._shop.slots.end(self._running)
        self._leave()
        self._shop.journal.note(self._entry(reason))

    def _entry(self, reason: Reason | None) -> Entry:
        seconds, first, charged = trio.current_time() - self._began, self._first_token_at, self._charged
        usage = _NOTHING if charged is None else charged.usage
        return Entry(
            exchange=self.job.exchange,
            role="worker",
            model=self.job.offer.name,
            outcome=ending(None if charged is None else charged.outcome, reason),
            began_at=self._shop.now() - seconds,
            seconds=seconds,
            first_token_seconds=None if first is None else first - self._began,
            prompt_tokens=usage.prompt + usage.cached,
            completion_tokens=usage.completion + usage.reasoning,
            income=0 if charged is None else charged.amount,
            peer=self._proxy,
            continues=self.job.assign.continues,
        )

    def _leave(self) -> None:
        if self._is_dismissed and not self._scopes and not self._has_left:
            self._has_left = True
            self._shop.slots.give_back()

    # ------------------------------------------------------------ the request

    def open_part(self, part: Part) -> Report | None:
        """Open one part; with the final one the whole request. Parts come in order."""
        now = trio.current_time()
        try:
            session = self._found or self._shop.seals.find(self._proxy, part.session)
            plain = session.open_part(part.request, part.part, part.final, self._binding, part.sealed)
            # Only now: a Part that does not open may name another exchange's request.
            self._found, self._number = session, part.request
            self._plain.append(plain)
            if not part.final:
                return None
            content = decode_request(b"".join(self._plain))
        except Refused as exc:
            return RequestRejected(Reason.SESSION_UNKNOWN, str(exc), now)
        except SealBroken as exc:
            return RequestRejected(Reason.SEAL_BROKEN, f"seal broken: {exc}", now)
        except MalformedMessage:
            # What is wrong with it is between the client and its own library.
            return RequestRejected(Reason.MALFORMED, "malformed: the sealed request cannot be read", now)
        self._plain.clear()
        try:
            check_request(content)
        except MalformedMessage as exc:
            # It names what is wrong, and quotes nothing.
            return RequestRejected(Reason.MALFORMED, f"malformed: {exc}", now)
        self._request = engine_request(content, cache_scope=self._session.id)
        self._wanted = wanted_by(content)
        return RequestOpened(content.kind, content.model, content.completion_tokens_max, now)

    async def count(self) -> Report:
        """Let the engine tokenise."""
        try:
            count = await self._shop.engine.count(self._request)
        except Exception as exc:  # noqa: BLE001  # whatever an engine raises, its worker lives on
            reason, detail = self._why_not(exc)
            return RequestRejected(reason, detail, trio.current_time())
        return PromptCounted(count.prompt_tokens, count.cached_tokens, trio.current_time())

    def _why_not(self, exc: Exception) -> tuple[Reason, str]:
        """Say why there is no count, in words of our own: the proxy reads them, and an engine's may quote."""
        offer = self.job.offer
        match exc:
            case PromptTooLong():
                context = f"context={offer.context_tokens} tokens"
                return Reason.TOO_LARGE, f"too large: the prompt does not fit the model ({context})"
            case FeatureMissing():
                missing = sorted(self._request.features - set(offer.features))
                lacks = (
                    f"has no {', '.join(missing)}" if missing else "takes no chat, or not all this at once"
                )
                return Reason.UNKNOWN_FEATURE, f"unknown feature: the model {lacks}"
            case RequestMalformed():
                # The client's fault, not the engine's.
                return Reason.MALFORMED, "malformed: the engine takes no such request"
            case _:
                self._log_engine_error(exc)
                return Reason.ENGINE_FAILED, "engine failed: it cannot count"

    # ------------------------------------------------------------ the answer

    async def generate(
        self,
        completion_tokens_max: int,
        report: Callable[[Report], None],
        room: Callable[[], Awaitable[None]],
    ) -> None:
        """Run the engine to its end.

        Args:
            completion_tokens_max: The most it may make.
            report: Takes each step.
            room: Returns once the next step is wanted.
        """
        request = replace(self._request, completion_tokens_max=completion_tokens_max)
        carried = Carried()
        try:
            with self._shop.gauge.watch(request.model) as watch:
                async with self._shop.engine.generate(request) as pieces:
                    async for piece in pieces:
                        self._shop.gauge.step(watch, piece)
                        content = answer_content(piece)
                        carried = carry(carried, content, self._wanted)
                        now = trio.current_time()
                        report(Generated(content, piece.completion_tokens, piece.prompt_tokens, now))
                        if piece.finish is not None:
                            return
                        asked_at = trio.current_time()
                        await room()
                        watch.waited(trio.current_time() - asked_at)
        except Exception as exc:  # noqa: BLE001  # as above
            self._log_engine_error(exc)
        report(EngineFailed(trio.current_time()))

    def seal(self, draft: Draft) -> Chunk:
        """Seal a chunk, and sign the Meter that goes with it."""
        content, is_final = encode_answer(draft.content), draft.content.finish is not None
        sealed = self._session.seal_chunk(self._number, draft.number, is_final, draft.usage, content)
        self._answer_hash.update(sealed)
        if self._first_token_at is None and draft.usage.completion + draft.usage.reasoning:
            self._first_token_at = trio.current_time()
        signature = None
        if draft.is_signed:
            meter = Meter(self.job.exchange, self.job.quote_hash, draft.usage)
            signature = sign(self._shop.identity, self._shop.network, meter).signature
        return Chunk(self.job.exchange, draft.number, is_final, draft.usage, sealed, signature)

    # ------------------------------------------------------------ the money

    def permit(self, amount: Nano) -> None:
        """Take note that the client has covered this much; never less than before."""
        self._allowed = max(self._allowed, amount)
        self._permitted.set()
        self._permitted = trio.Event()

    def is_covered(self, accrued: Nano) -> bool:
        """Raise what has accrued to this total, if the proxy allows it and credit covers it now."""
        try:
            return accrued <= self._allowed and self._account.covered(self.job.exchange, accrued)
        except Refused:
            return False

    async def cover(self, accrued: Nano) -> bool:
        """Wait until the proxy allows this total and credit covers it. A cancel leaves it uncovered.

        Returns:
            False if it never will: the channel closes.
        """
        while accrued > self._allowed:
            await self._permitted.wait()
        try:
            await self._account.cover(self.job.exchange, accrued)
        except Refused as exc:
            log.info("no credit", extra={"exchange": short(self.job.exchange), "why": str(exc)})
            return False
        return True

    async def charge(self, save: SaveReceipt) -> Signed:
        """Sign the receipt and charge it, durably. A cancel waits until that is done."""
        job = self.job
        receipt = Receipt(
            exchange=job.exchange,
            quote_hash=job.quote_hash,
            model=job.offer.name,
            weights_hash=job.offer.weights_hash,
            engine=self._shop.engine.capabilities.engine,
            usage=save.usage,
            amount=save.amount,
            answer_hash=self._answer_hash.digest(),
            started_ms=self._started_ms,
            ended_ms=max(self._started_ms, _milliseconds(self._shop.now())),
            outcome=save.outcome,
            continues=job.assign.continues,
        )
        signed = sign(self._shop.identity, self._shop.network, receipt)
        with trio.CancelScope(shield=True):
            await self._account.charge(job.exchange, save.amount, signed)
        self._charged = save
        log.info(
            "exchange ended",
            extra={
                "exchange": short(job.exchange),
                "outcome": save.outcome.name.lower(),
                "nano": save.amount,
            },
        )
        return signed

    def _log_engine_error(self, exc: Exception) -> None:
        # An engine's own words may quote the prompt.
        log.error("engine failed", extra={"exchange": short(self.job.exchange), "error": type(exc).__name__})


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
