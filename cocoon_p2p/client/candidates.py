"""Whom one request asks next, and whom it does not ask any more."""

from collections.abc import Iterable

import trio

from cocoon_p2p.client.choice import rank
from cocoon_p2p.client.desk import Desk
from cocoon_p2p.client.ends import not_offered
from cocoon_p2p.client.link import Link
from cocoon_p2p.client.reception import Reception
from cocoon_p2p.client.request import Request
from cocoon_p2p.client.standing import SHUNNED_FROM
from cocoon_p2p.errors import CocoonError, RemoteProtocolError, Unavailable
from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.exchange.terms import Terms
from cocoon_p2p.protocols.ids import PEERS_MAX
from cocoon_p2p.protocols.messages import Record


class Candidates:
    """The proxies that may serve a request, less those that were tried; and the workers that it leaves out.

    Args:
        request: What is asked for.
        desk: What all requests share.
        reception: Says whether the application still waits.
        deadline: On trio's clock.
    """

    def __init__(self, request: Request, desk: Desk, reception: Reception, deadline: float) -> None:
        self.prefer = request.prefer
        "Workers that come first."

        self._desk = desk
        self._reception = reception
        self._deadline = deadline
        self._excluded = set(request.exclude)
        self._barred = set(request.exclude)
        "Those of them that are not asked after a wait either: they failed in the midst, or broke the rules."

        self._avoided: set[PeerId] = set()
        self._lost: set[PeerId] = set()
        "Proxies that were lost in the midst of the answer: asked once more, after all others."

        self._unruly: set[PeerId] = set()
        "Proxies that were lost again, or by which somebody broke the rules: not asked any more."

        self._looked_again = False
        self._lines: dict[PeerId, float] = {}
        "Proxies without a free slot that let us wait for one, and how long they expect that to take."

        self._line: PeerId | None = None
        self.patience: float | None = None
        "How long the next try waits in line, in seconds; None: not at all."

    # ------------------------------------------------------------ who is next

    async def next(self, asked: Request) -> Link | None:
        """Choose the proxy for the next try; None if all were tried.

        Raises:
            Unavailable: No proxy is known.
            Refused: None that is known offers the model.
        """
        desk = self._desk
        with self._reception.until(self._deadline):
            await desk.view.known(desk.policy.first_view_seconds)
        records = desk.view.records
        if not records:
            raise Unavailable(
                "no proxy was found on the network",
                hint="check the network's name and the bootstrap addresses, then `cocoon doctor`",
            )
        ranked = self._rank(asked, records)
        if not ranked and not self._looked_again:
            # A worker that has just come stands in no view yet.
            self._looked_again = True
            with self._reception.until(self._deadline):
                records = await desk.view.refreshed(desk.policy.first_view_seconds)
            ranked = self._rank(asked, records)
        if not ranked:
            raise not_offered(asked.content, records)
        line, self._line = self._line, None
        if line is None:
            self.patience = None
            left = [record for record in ranked if record.peer not in self._avoided]
        else:
            left = [record for record in ranked if record.peer == line]
        return desk.link(left[0]) if left else None

    def beside(self, asked: Request, first: Link) -> Link:
        """Choose the proxy for a second try beside one that runs: another in good standing, or the same."""
        desk, now = self._desk, trio.current_time()
        tried = {first.peer, *self._avoided}
        for record in self._rank(asked, desk.view.records):
            link, faults = desk.link(record), desk.standings.faults(PeerId(record.peer))
            if record.peer not in tried and not link.is_avoided(now) and faults < SHUNNED_FROM:
                return link
        return first

    def _rank(self, asked: Request, records: Iterable[Record]) -> tuple[Record, ...]:
        desk, now = self._desk, trio.current_time()
        return rank(records, desk.links, asked, desk.policy, now=now, faults=desk.standings.faults)

    def left_out(self) -> frozenset[PeerId]:
        """Name the workers that are not to be given the work, as many as there is room to name."""
        shunned = self._desk.standings.shunned(but=self.prefer)
        return frozenset(self._excluded.union(shunned[: max(0, PEERS_MAX - len(self._excluded))]))

    def invited(self, proxy: PeerId, wait_seconds: float) -> None:
        """Note that a proxy without a free slot would let us wait for one, about so long.

        Not after we did: who sends us out of its line only to ask us in again could do so without end.
        """
        if self.patience is None:
            self._lines[proxy] = wait_seconds

    def line_up(self, wait_seconds: float) -> bool:
        """Wait in the shortest line at the next try, if it is expected to take no longer than this."""
        line = min(self._lines, key=self._lines.__getitem__, default=None)
        if line is None or self._lines[line] > wait_seconds:
            return False
        self._lines.clear()
        self._line, self.patience = line, wait_seconds
        return True

    # ------------------------------------------------------------ who is not

    def avoid(self, link: Link, *, is_its_fault: bool = True) -> None:
        """Ask this proxy no more, until there is a wait or a break."""
        self._avoided.add(link.peer)
        if is_its_fault:
            link.failed(trio.current_time())
            self._desk.view.refresh_soon()

    def exclude(self, worker: PeerId, *, for_good: bool = False) -> None:
        """Leave a worker out; `for_good`: after a wait too."""
        self._excluded.add(worker)
        if for_good:
            self._barred.add(worker)

    def greet_again(self, terms: Terms) -> None:
        """Ask for this worker before all others: it was started anew."""
        self.prefer = (terms.worker, *self.prefer)

    def set_aside(self, proxy: PeerId, terms: Terms | None, error: CocoonError) -> None:
        """Note whom not to ask for the rest. A proxy that was only lost is asked once more, after all."""
        if isinstance(error, RemoteProtocolError):
            # Which of the two it was is not known.
            if terms is not None:
                self.exclude(terms.worker, for_good=True)
            self._unruly.add(proxy)
        elif proxy in self._avoided:
            (self._unruly if proxy in self._lost else self._lost).add(proxy)

    def after_wait(self) -> None:
        """Begin anew: whoever had no room may have some."""
        self._avoided = set(self._unruly)
        self._excluded = set(self._barred)
        self._lines.clear()

    def after_break(self) -> None:
        """Begin anew with the rest of an answer: whoever was lost is ranked last, and may be back."""
        self._avoided = set(self._unruly)
