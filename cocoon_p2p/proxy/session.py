"""One worker as its proxy knows it, while its session lasts: what it offers, and which slots are free.

Free slots are reckoned, not believed. The worker's last Load says how many are taken by other
proxies' exchanges; our own we know ourselves, those included that it has not heard of yet. Nor
are its rates: what exchanges took is measured (`stopwatch`).

Spec: protocols/session.md.
"""

from collections.abc import Callable
from dataclasses import replace

import trio

from cocoon_p2p.errors import RemoteProtocolError
from cocoon_p2p.identity import PeerId
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.protocols.ids import MODELS_MAX
from cocoon_p2p.protocols.messages import ExchangeId, Load, ModelOffer, Record, Register
from cocoon_p2p.proxy.link import Link
from cocoon_p2p.proxy.stopwatch import Lap
from cocoon_p2p.scheduling import Fault, Pace, Witness, WorkerStanding, slowing

SLOTS_MAX = 4_096
"More than any one machine computes at once."

SMOOTHING = 0.2
"How much the newest answer counts in how soon it answers lately."


class WorkerSession:
    """One worker while its session lasts.

    Args:
        messages: The session's stream.
        register: What it registered with.
        standing: What follows from that.
        record: The record in it.
        on_change: Called after each change of `standing`.
    """

    def __init__(
        self,
        messages: MessageStream,
        register: Register,
        standing: WorkerStanding,
        record: Record,
        on_change: "Callable[[WorkerSession], None]",
    ) -> None:
        self.record = register.record
        self.statement = register.statement
        self.sequence = record.sequence
        self.is_over = False
        self.served_at: float | None = None
        "When it last brought an answer to its end, on trio's clock."

        self.chances_at = trio.current_time()
        "When it was last told what became of its chances, on trio's clock."

        self.spare = SpareLinks()
        self._messages = messages
        self._speaking = trio.Lock()
        self._standing = standing
        self._on_change = on_change
        self._slots_total = 0
        self._slots_elsewhere = 0
        self._claims: dict[ExchangeId, bool] = {}
        "Our exchanges that have a slot here, and whether the worker knows of it."

        self.scope = trio.CancelScope()
        "Cancelled to end the session from our side."

    @property
    def peer(self) -> PeerId:
        return self._standing.peer

    @property
    def standing(self) -> WorkerStanding:
        """The worker as the scheduler sees it."""
        return self._standing

    def _stand(self, standing: WorkerStanding) -> None:
        free = self._slots_total - self._slots_elsewhere - len(self._claims)
        self._standing = replace(standing, slots_free=free, slots_total=self._slots_total)
        self._on_change(self)

    async def tell(self, message: object) -> None:
        """Send a message on the session's stream. Raises `Unavailable` if that is lost."""
        async with self._speaking:
            await self._messages.send(message)

    # ------------------------------------------------------------ what it says

    def renew(self, register: Register, standing: WorkerStanding, record: Record) -> None:
        """Take a newer record. What was quoted from the old one stands."""
        self.record, self.statement, self.sequence = register.record, register.statement, record.sequence
        self._stand(
            replace(
                self._standing,
                offers=standing.offers,
                trust=standing.trust,
                trust_until=standing.trust_until,
                platform=standing.platform,
                expires=standing.expires,
            )
        )

    def take_load(self, load: Load, now: float) -> bool:
        """Take what the worker says of its slots, and say whether it has another number of them.

        Raises:
            RemoteProtocolError: It makes no sense.
        """
        if not load.slots_free <= load.slots_total <= SLOTS_MAX:
            raise RemoteProtocolError(
                f"Load: slots out of range (free={load.slots_free} total={load.slots_total})"
            )
        taken = load.slots_total - load.slots_free
        is_change = load.slots_total != self._slots_total
        self._slots_total = load.slots_total
        self._slots_elsewhere = max(0, taken - sum(self._claims.values()))
        self._stand(replace(self._standing, heard=now))
        return is_change

    def drain(self) -> None:
        """Offer it no more."""
        self._stand(replace(self._standing, is_draining=True))

    # ------------------------------------------------------------ what we do with it

    def reserve(self, exchange: ExchangeId) -> None:
        """Keep a slot for an exchange."""
        self._claims[exchange] = False
        self._stand(self._standing)

    def assign(self, exchange: ExchangeId) -> None:
        """Note that the worker knows of it from now on."""
        self._claims[exchange] = True

    def leave(self, exchange: ExchangeId) -> None:
        """Free the slot; nothing happens if it is free."""
        if self._claims.pop(exchange, None) is not None:
            self._stand(self._standing)

    def rest(self, until: float, *, because: Fault | None = None) -> None:
        """Choose it no more until then."""
        standing = self._standing
        if until > standing.rests_until:
            self._stand(replace(standing, rests_until=until, rests_for=because))

    def rested(self, now: float) -> None:
        """Let it be chosen again at once, if it was left alone for what a question of ours showed."""
        if self._standing.rests_for not in (Fault.CANARY, Fault.MISCOUNTED):
            return
        self._stand(replace(self._standing, rests_until=min(now, self._standing.rests_until)))

    def failed(self, fault: Fault, now: float, *, rest_seconds: float, by: Witness) -> None:
        """Hold a broken exchange against it, and leave it alone for a while.

        Args:
            fault: What it did.
            now: On trio's clock.
            rest_seconds: How long it is left alone, unless it fails with this client alone.
            by: Whose exchange it was.
        """
        odds = self._standing.odds
        is_blameless = odds.is_blameless(now, by)
        self._standing = replace(self._standing, odds=odds.after_fault(fault, now, by))
        if is_blameless:
            self._stand(self._standing)
        else:
            self.rest(now + rest_seconds, because=fault)

    def kept_its_word(self, now: float, by: Witness) -> None:
        """Count an exchange that it brought to its end."""
        self.served_at = now
        self._stand(replace(self._standing, odds=self._standing.odds.after_kept(now, by)))

    def measured(self, lap: Lap, offer: ModelOffer, now: float, by: Witness) -> None:
        """Reckon with what an exchange took, once its slot is free again."""
        standing = self._standing
        pace = standing.paces.get(offer.name, Pace())
        if lap.prefill_tokens:
            pace = pace.prefilled(lap.prefill_tokens, lap.prefill_seconds, now, by)
        if lap.decode_tokens:
            # How much it slows down is its word: believed as far as what we know to run there can explain.
            slower = min(slowing(standing, offer), 1.0 + len(self._claims))
            pace = pace.decoded(lap.decode_tokens, lap.decode_seconds / slower, now, by)
        answer = standing.answer_seconds
        if lap.answer_seconds is not None:
            answer = (
                lap.answer_seconds if answer is None else answer + SMOOTHING * (lap.answer_seconds - answer)
            )
        # A worker may offer another model each minute; the ones that were measured last are remembered.
        others = [each for each in standing.paces.items() if each[0] != offer.name][1 - MODELS_MAX :]
        self._stand(replace(standing, paces={**dict(others), offer.name: pace}, answer_seconds=answer))

    def end(self) -> None:
        """The session is over: give up the streams that nobody uses. Exchanges that run go on."""
        self.is_over = True
        self.spare.close()


class SpareLinks:
    """Streams to one worker that an exchange has left clean: the next one saves a round trip."""

    def __init__(self) -> None:
        self._links: list[Link] = []
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._links)

    def keep(self, link: Link) -> None:
        """Take a stream back. There are never more than there were exchanges at once."""
        link.listener = self
        if self._is_closed:
            link.end("the session is over")
        else:
            self._links.append(link)

    def take(self) -> Link | None:
        """Give the stream that was used last, if there is one."""
        while self._links:
            link = self._links.pop()
            if not link.is_superseded:
                return link
            link.end("a better connection stands")
        return None

    def close(self) -> None:
        """Give all of them up, and keep no other."""
        self._is_closed = True
        for link in tuple(self._links):
            link.end("the session is over")

    # ------------------------------------------------------------ as their listener

    def wants(self, _link: Link, /) -> bool:
        """Read on, to learn when a stream breaks."""
        return True

    def hear(self, _link: Link, message: object, /) -> None:
        """Take nothing: no exchange runs on the stream."""
        raise RemoteProtocolError(f"{type(message).__name__} with no exchange on the stream")

    def lose(self, link: Link, _why: str, /) -> None:
        """Forget a stream that broke."""
        if link in self._links:
            self._links.remove(link)

    def resume(self, _link: Link, /) -> None:
        """Nothing waits to be sent."""
