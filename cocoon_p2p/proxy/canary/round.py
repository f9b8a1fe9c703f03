"""Asking the workers: who is due, what it may cost, and what follows.

    each second --> due? --> paid for? --> buy --> judge --> watch --> rest, or let back in

A few at a time. What clients do comes first: a worker without a free slot is not asked.
"""

import logging
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

import trio

from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.protocols.ids import Kind
from cocoon_p2p.protocols.messages import ModelOffer
from cocoon_p2p.proxy.agency import Agency
from cocoon_p2p.proxy.canary.budget import Budget
from cocoon_p2p.proxy.canary.findings import Answer, Answers, Finding, Topic
from cocoon_p2p.proxy.canary.purchase import Bought, buy, worst_case
from cocoon_p2p.proxy.canary.question import Question, make_question
from cocoon_p2p.proxy.canary.watch import OUT_MARGIN_SECONDS, Watch, after, due_at, pause
from cocoon_p2p.proxy.contain import contain
from cocoon_p2p.proxy.session import WorkerSession
from cocoon_p2p.scheduling import OURSELVES, STALE_SECONDS, Fault
from cocoon_p2p.units import Nano

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
AT_ONCE_MAX = 8
"Questions under way at once. One takes a few seconds."

WATCHED_MAX = 4_096
"Workers that are remembered, those that left included: coming back is no way back in."

WORDS_MAX = 120
"What came of a question, in words that may quote the worker."

KEPT_TO_VOUCH = 4.0
"Answers to clients, lately, that make a worker's word count where others are judged."


@dataclass(slots=True)
class _Eye:
    """One worker as it is watched."""

    watch: Watch = field(default_factory=Watch)
    jitter: float = 0.0
    is_asked: bool = False
    why: str = ""
    "What came of the last question, or why there was none; for people."


class Canaries:
    """The questions of one proxy.

    Args:
        agency: The proxy.
        per_hour: What may be spent on them, in nanoTON; nothing: no worker is asked.
    """

    def __init__(self, agency: Agency, per_hour: Nano) -> None:
        self._agency = agency
        self._budget = Budget(per_hour, trio.current_time())
        self._answers = Answers()
        self._eyes: OrderedDict[PeerId, _Eye] = OrderedDict()
        self._under_way = 0
        self.spent = Nano(0)
        "Since the proxy was started."

    @property
    def per_hour(self) -> Nano:
        """What may be spent."""
        return self._budget.per_hour

    def watch(self, peer: PeerId) -> tuple[Watch, str]:
        """Say what is known of a worker by asking it, and what came of it last in words."""
        eye = self._eyes.get(peer, _Eye())
        return eye.watch, eye.why

    async def run(self) -> None:
        """Ask for ever. A cancel leaves what is under way to be settled as its client's end."""
        while self._budget.per_hour > 0:
            await trio.sleep(LOOK_SECONDS)
            if self._agency.workers.is_draining:
                return
            for session, eye in self._due(trio.current_time()):
                if self._under_way >= AT_ONCE_MAX:
                    break
                self._begin(session, eye)

    def _due(self, now: float) -> Iterator[tuple[WorkerSession, _Eye]]:
        """Give the workers that are to be asked, those first that wait longest."""
        found: list[tuple[float, PeerId, WorkerSession, _Eye]] = []
        for session in self._agency.workers:
            if _offers(session):
                eye = self._eye(session)
                due = due_at(eye.watch, session.served_at, eye.jitter)
                if not eye.is_asked and due <= now and _can_be_asked(session, eye.watch, now):
                    found.append((due, session.peer, session, eye))
        for _, _, session, eye in sorted(found, key=lambda each: each[:2]):
            yield session, eye

    def _eye(self, session: WorkerSession) -> _Eye:
        eye = self._eyes.setdefault(session.peer, _Eye())
        self._eyes.move_to_end(session.peer)
        if len(self._eyes) > WATCHED_MAX:
            self._eyes.popitem(last=False)
        return eye

    def _begin(self, session: WorkerSession, eye: _Eye) -> None:
        now, agency = trio.current_time(), self._agency
        offers = _offers(session)
        dice = agency.draw(10)
        offer = offers[dice[0] % len(offers)]
        topic = Topic(offer.name, offer.weights_hash)
        question = self._answers.pick(
            topic, session.peer, make_question(int.from_bytes(dice[2:])), now
        ).question
        price = worst_case(offer, question)
        if price > self._budget.most:
            eye.why = (
                f"not asked: it may cost {price} nanoTON, and the budget allows {self._budget.most} at once"
            )
            return
        if (budget := self._budget.take(price, now)) is None:
            eye.why = "not asked yet: the budget of this hour is used up so far"
            return
        self._budget = budget
        eye.is_asked, eye.jitter = True, dice[1] / 255
        self._under_way += 1

        async def ask() -> None:
            try:
                await self._ask(session, eye, offer, question, price)
            except Exception:
                # A fault of ours. It is not asked again at once, and what it may have cost stays taken.
                eye.watch = after(eye.watch, Finding.UNTOLD, trio.current_time())
                raise
            finally:
                eye.is_asked = False
                self._under_way -= 1

        agency.nursery.start_soon(contain, "asking a worker", ask)

    async def _ask(
        self, session: WorkerSession, eye: _Eye, offer: ModelOffer, question: Question, price: Nano
    ) -> None:
        bought = await buy(self._agency, session, offer, question)
        now = trio.current_time()
        # What is not known yet may still cost all of it.
        paid = price if bought.paid is None else min(bought.paid, price)
        self.spent = Nano(self.spent + paid)
        self._budget = self._budget.give_back(Nano(price - paid), now)
        finding = bought.trouble or self._judge(session, offer, question, bought)
        was_out = eye.watch.out_until is not None
        eye.watch = after(eye.watch, finding, now)
        eye.why = f"{finding.words}{bought.why and f': {bought.why}'}"[:WORDS_MAX]
        self._follow(session, eye.watch, finding, was_out, now)
        log.log(
            logging.WARNING if finding.is_bad else logging.DEBUG,
            "worker asked",
            extra={"worker": peer_id_text(session.peer), "finding": finding.words, "nano": paid},
        )

    def _judge(
        self, session: WorkerSession, offer: ModelOffer, question: Question, bought: Bought
    ) -> Finding:
        now = trio.current_time()
        answer = Answer(
            session.peer,
            bought.text,
            bought.prompt_tokens,
            bought.completion_tokens,
            session.standing.odds.kept_for_others(now) >= KEPT_TO_VOUCH,
        )
        return self._answers.take(Topic(offer.name, offer.weights_hash), question, bought.engine, answer)

    def _follow(
        self, session: WorkerSession, watch: Watch, finding: Finding, was_out: bool, now: float
    ) -> None:
        """Take a worker out, or let it back in."""
        if finding is Finding.GOOD:
            if was_out:
                session.rested(now)
                log.info("worker let back in", extra={"worker": peer_id_text(session.peer)})
        elif finding.is_bad and watch.out_until is not None:
            is_count = finding in (Finding.MISCOUNTED, Finding.OVERCOUNTED)
            fault = Fault.MISCOUNTED if is_count else Fault.CANARY
            rest = pause(watch.outs) + OUT_MARGIN_SECONDS
            session.failed(fault, now, rest_seconds=rest, by=OURSELVES)
            log.warning("worker taken out", extra={"worker": peer_id_text(session.peer), "times": watch.outs})


def _offers(session: WorkerSession) -> list[ModelOffer]:
    """Give what a question can be put to: words, not speech or vectors."""
    return [offer for offer in session.standing.offers if offer.kind in (Kind.CHAT, Kind.COMPLETION)]


def _can_be_asked(session: WorkerSession, watch: Watch, now: float) -> bool:
    """Say whether there is room for a question, on a worker that does not rest for another cause."""
    standing = session.standing
    is_there = not (session.is_over or standing.is_draining) and now <= standing.heard + STALE_SECONDS
    is_awake = now >= standing.rests_until or watch.out_until is not None
    return is_there and is_awake and standing.slots_free > 0
