"""A running node looks itself over now and then, so that whoever asks what is the matter hears it at once.

What is looked at is decided above (`diagnosis`): a node is handed its checks, and lets them look inside.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from cocoon_p2p.control import Answer
from cocoon_p2p.inference.engine import Engine
from cocoon_p2p.node.showing import Showing
from cocoon_p2p.overview.findings import CHECK_UP, LIMIT_SECONDS, CheckedUp, CheckUp
from cocoon_p2p.overview.snapshot import FindingView
from cocoon_p2p.payments.chain import Chain

log = logging.getLogger(__name__)

PAUSE_SECONDS = 600.0

FIRST_SECONDS = 60.0
"After so long it looks itself over, though it is not ready: then most of all."

LOOK_SECONDS = 1.0

SETTLE_SECONDS = 20.0
"Between ready and the first look: a worker measures its models then, and wants its engine for itself."


@dataclass(slots=True)
class Insides:
    """What a running node lets its checks look at."""

    showing: Showing
    chain: Chain | None = None
    engine: Engine | None = None
    "A worker's."


Check = Callable[[Insides], Awaitable[Sequence[FindingView]]]
"Looks a node over, within `overview.findings.LIMIT_SECONDS`."


class SelfChecks:
    """Has a node looked over, by one at a time."""

    def __init__(self, check: Check, insides: Insides, *, clock: Callable[[], float] = time.time) -> None:
        self._check = check
        self._insides = insides
        self._clock = clock
        self._alone = trio.Lock()

    @property
    def answer(self) -> Answer:
        """What answers `CHECK_UP` on the node's control socket."""
        return CHECK_UP.by(self._answer)

    async def _answer(self, _request: CheckUp) -> CheckedUp:
        return CheckedUp(await self.afresh(), self._clock())

    async def run(self) -> None:
        """Look the node over once it is ready, and then every ten minutes, until cancelled."""
        with trio.move_on_after(FIRST_SECONDS):
            while not self._insides.showing.snapshot().is_ready:  # noqa: ASYNC110 (it has no one event)
                await trio.sleep(LOOK_SECONDS)
        await trio.sleep(SETTLE_SECONDS)
        while True:
            try:
                await self.afresh()
            except Exception:  # (no check may end the node)
                log.exception("the node could not be looked over")
            await trio.sleep(PAUSE_SECONDS)

    async def afresh(self) -> Sequence[FindingView]:
        """Look the node over now; who comes while it is, waits and has it looked over again.

        A cancel leaves what was found before.
        """
        async with self._alone:
            findings: Sequence[FindingView] = ()
            with trio.move_on_after(LIMIT_SECONDS) as limit:
                findings = await self._check(self._insides)
            if limit.cancelled_caught:
                # Its checks have limits of their own, so this is a fault of theirs.
                text = f"the checks did not end in {LIMIT_SECONDS:.0f} s"
                findings = [FindingView("checks", "failure", text, "look at the node's log, and report it")]
            self._insides.showing.checked(findings)
            return findings


def start_checks(check: Check | None, insides: Insides, nursery: trio.Nursery) -> tuple[Answer, ...]:
    """Have a node looked over for as long as the nursery lasts; give what can be asked of that."""
    if check is None:
        return ()
    checks = SelfChecks(check, insides)
    nursery.start_soon(checks.run)
    return (checks.answer,)
