"""The real scheduler, on a roster of its own for each proxy.

Nothing of it is modelled: `choose` looks at the workers that stand with this proxy, a sixteenth of
all in the markets that are studied, which is also why thousands of requests a second can be run.
What a proxy does around it is done here in the same way: free slots are reckoned from the worker's
word and our own jobs, what answers took goes into `Pace`, and who finds no slot waits in `FairQueue`.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace

from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.ids import Kind, Preference, Trust
from cocoon_p2p.protocols.messages import Ask, ExchangeId, ModelOffer, Rates
from cocoon_p2p.scheduling import FairQueue, Pace, Roster, WorkerStanding, choose, prospect, slowing
from cocoon_p2p.scheduling.witness import Witness
from cocoon_p2p.testing.market.demand import TOKENS_MAX
from cocoon_p2p.testing.market.desk import Job
from cocoon_p2p.testing.market.mix import Market, Seller
from cocoon_p2p.testing.market.rules import Rule

MODEL = "m"
BYTES_PER_TOKEN = 4
"A client knows its prompt's bytes, not its tokens."

COMMISSION_BASIS_POINTS = 500

_FOREVER = 2**40
_ASK = Ask(
    exchange=ExchangeId(bytes(16)),
    model=MODEL,
    kind=Kind.CHAT,
    prompt_tokens_max=1,
    completion_tokens_max=TOKENS_MAX,
    max_cost=2**50,
    deadline_ms=60_000,
    trust=Trust.OPEN,
    prefer=(),
    exclude=(),
    features=(),
)


class Scheduled(Rule):
    """`cocoon_p2p.scheduling.choose`, for clients that say nothing of price or pace."""

    queues = False
    listens = True
    preference: Preference | None = None

    def __init__(self, market: Market, known: Sequence[int], dice: random.Random) -> None:
        super().__init__(market, known, dice)
        self.roster = Roster()
        self._standings = {worker: _standing(worker, market.sellers[worker]) for worker in known}
        self._queue = FairQueue[Job]()
        self._numbers = {standing.peer: worker for worker, standing in self._standings.items()}
        for worker in known:
            self._stand(worker, 0.0)

    def choose(self, job: Job, now: float) -> int | None:
        """Choose as a proxy does."""
        choice = choose(
            self._ask(job),
            self.roster,
            commission_basis_points=COMMISSION_BASIS_POINTS,
            now=now,
            date=0.0,
            luck=self.dice.getrandbits(64),
        )
        return None if choice.worker is None else self._numbers[choice.worker.peer]

    def sent(self, job: Job, now: float) -> None:
        """Take a slot."""
        super().sent(job, now)
        self._stand(job.worker, now)

    def ended(self, job: Job, now: float) -> None:
        """Measure, and free the slot."""
        standing = self._standings[job.worker]
        self._standings[job.worker] = replace(standing, paces={MODEL: _measured(standing, job)})
        super().ended(job, now)
        self._stand(job.worker, now)
        if job.forecast is not None:
            self._queue.charge(_client(job), now - job.sent - job.forecast)

    def told(self, worker: int, elsewhere: int, now: float) -> None:
        """Reckon with what others have taken."""
        if self.elsewhere[worker] != elsewhere:
            super().told(worker, elsewhere, now)
            self._stand(worker, now)

    def refused(self, worker: int, now: float) -> None:
        """Take it to be full until it says otherwise."""
        super().refused(worker, now)
        self._stand(worker, now)

    # ------------------------------------------------------------ the proxy's line

    @property
    def waiting(self) -> int:
        """How many wait in this proxy's line."""
        return len(self._queue)

    def has_room(self) -> bool:
        """Say whether a slot is free."""
        return any(shelf.open for shelf in self.roster.shelves(MODEL))

    def join(self, job: Job, now: float) -> None:
        """Wait: clients share the slots, however many of their requests wait."""
        hope = prospect(
            self._ask(job),
            self.roster,
            commission_basis_points=COMMISSION_BASIS_POINTS,
            now=now,
            date=0.0,
        )
        job.forecast = 0.0 if hope is None else hope.seconds
        self._queue.join(_client(job), job.forecast, job)

    def take(self) -> Job:
        """Take out whose turn it is."""
        place = self._queue.take(lambda _: True)
        assert place is not None, "nobody waits"
        return place.item

    def _ask(self, job: Job) -> Ask:
        return replace(
            _ASK, prompt_tokens_max=BYTES_PER_TOKEN * job.wanted.prompt, preference=self.preference
        )

    def _stand(self, worker: int, now: float) -> None:
        free = self.slots(worker) - self.running(worker)
        standing = self._standings[worker] = replace(self._standings[worker], slots_free=free)
        self.roster.put(standing, now)


class ScheduledCheap(Scheduled):
    """The same for clients that prefer it cheap."""

    preference = Preference.CHEAP


class ScheduledFast(Scheduled):
    """The same for clients that prefer it fast."""

    preference = Preference.FAST


def _measured(standing: WorkerStanding, job: Job) -> Pace:
    """Add what an exchange took, as `WorkerSession.measured` does."""
    pace = standing.paces.get(MODEL, Pace())
    if job.began is None or job.first is None or job.ended is None:
        return pace
    by = Witness(_client(job))
    pace = pace.prefilled(job.wanted.prompt, job.first - job.began, job.ended, by)
    if job.wanted.answer == 1:
        return pace
    alone = (job.ended - job.first) / slowing(standing, standing.offers[0])
    return pace.decoded(job.wanted.answer - 1, alone, job.ended, by)


def _client(job: Job) -> PeerId:
    return PeerId(b"client %d" % job.wanted.client)


def _standing(worker: int, seller: Seller) -> WorkerStanding:
    machine = seller.machine
    rates = Rates(int(machine.prefill * 1000), int(machine.decode * 1000), int(machine.decode_full * 1000))
    offer = ModelOffer(MODEL, bytes(32), bytes(32), Kind.CHAT, 32_768, (), seller.price, False, rates)
    return WorkerStanding(
        peer=PeerId(b"\x00$\x08\x01\x12 " + hashlib.sha256(worker.to_bytes(4)).digest()),
        offers=(offer,),
        trust=Trust.OPEN,
        slots_free=machine.slots,
        is_draining=False,
        heard=float(_FOREVER),
        expires=_FOREVER,
        slots_total=machine.slots,
    )
