"""How a node takes part in attestation: what it shows of itself, and whom it lets in. Given to its role."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from cocoon_p2p.attestation.doorkeeper import Doorkeeper
from cocoon_p2p.attestation.showing import Showcase, Shown
from cocoon_p2p.errors import Unavailable
from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.protocols.messages import Signed
from cocoon_p2p.records import NOTHING_MEASURED

Attest = Callable[[Signed], Awaitable[bytes]]
"""Makes evidence for a key statement of ours. Raises `Unavailable` if the machine does not answer."""

ATTEST_SECONDS = 60.0
"How long the machine may take; the keys before stand meanwhile."


@dataclass(frozen=True, slots=True)
class Proving:
    """What a role needs to prove itself and to have others prove themselves."""

    showcase: Showcase
    doorkeeper: Doorkeeper
    attest: Attest | None = None
    "None: nothing proves this machine."

    configuration_hash: bytes = NOTHING_MEASURED
    "Of what the machine has measured of its configuration; it stands in every statement."

    asked_of_proxies: Trust = Trust.OPEN
    "What a proxy must prove before anything is said to it."

    asked_of_workers: Trust = Trust.OPEN
    "What a worker must prove before a proxy offers it."

    async def show(self, statement: Signed) -> bytes | None:
        """Make evidence for a new statement, and show both; give the evidence.

        Raises:
            Unavailable: The machine does not answer; what was shown before still is.
        """
        evidence: bytes | None = None
        if self.attest is not None:
            with trio.move_on_after(ATTEST_SECONDS):
                evidence = await self.attest(statement)
            if evidence is None:
                raise Unavailable(f"the machine gave no evidence within {ATTEST_SECONDS:.0f} seconds")
        self.showcase.show(Shown(statement, evidence))
        return evidence
