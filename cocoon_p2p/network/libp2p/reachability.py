"""What others found when they dialled us, weighed: who may be believed, and what to tell the operator. Pure.

Rule 1: one address range has one voice, however many keys it has. In private ranges, which are one
        site, each server has its own.
Rule 2: the majority counts. In a tie whoever reached us does: he brought proof, the other one only
        says so.
Rule 3: a voice that says that it did not reach us counts when it has said so twice in a row: a
        machine may be busy, and what we tell others must not flicker.
Rule 4: who dialled us may only prove that we are reached, as he has just done: anybody can dial us, with as
        many keys as he likes, and say that he cannot. Only those whom we chose to dial are heard on that.
Rule 5: what was said is forgotten after a while.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from cocoon_p2p.network.libp2p.addresses import Address
from cocoon_p2p.network.libp2p.announced import Announced, is_public

K = TypeVar("K")
V = TypeVar("V")

OPINION_SECONDS = 2 * 3600.0
"How long an opinion counts: some eight checks."

VOICES_MAX = 16
ADDRESSES_MAX = 32
"Opinions on one address, and addresses that there are opinions on; the oldest go first."

FAILURES_NEEDED = 2


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one voice found at one address."""

    was_reached: bool
    "What it stands by."

    failures: int
    "How often in a row it has not reached us by now."

    at: float

    may_accuse: bool = True
    "Whether it counts that it did not reach us."


class Opinions:
    """What all of them found. Holds no clock: `now` is any clock that never goes back."""

    def __init__(self) -> None:
        self._said: dict[Address, dict[str, Opinion]] = {}

    def note(
        self, address: Address, voice: str, was_reached: bool, now: float, *, may_accuse: bool = True
    ) -> None:
        """Note what a voice found: an address range, or whatever else stands for one operator."""
        voices = self._said.pop(address, {})
        before = voices.pop(voice, None)
        failures = 0 if was_reached else 1 + (0 if before is None else before.failures)
        # Before the second failure it stands by what it said, or has said nothing yet.
        stands_by = was_reached or (failures < FAILURES_NEEDED and before is not None and before.was_reached)
        voices[voice] = Opinion(stands_by, failures, now, may_accuse)
        self._said[address] = voices
        _forget_oldest(voices, VOICES_MAX)
        _forget_oldest(self._said, ADDRESSES_MAX)

    def forget(self, kept: Iterable[Address], now: float) -> None:
        """Forget what is too old, and what is said of any but these addresses."""
        kept = set(kept)
        self._said = {
            address: {voice: each for voice, each in voices.items() if now - each.at < OPINION_SECONDS}
            for address, voices in self._said.items()
            if address in kept
        }

    def has_doubts(self, since: float) -> bool:
        """Say whether somebody did not reach us since then for the first time: asking again decides it."""
        opinions = (each for voices in self._said.values() for each in voices.values())
        return any(0 < each.failures < FAILURES_NEEDED and each.at >= since for each in opinions)

    def verdicts(self) -> dict[Address, bool]:
        """Say of each address that somebody spoke about whether it is reached."""
        votes = {address: self.votes(address) for address in self._said}
        return {address: counts[True] >= counts[False] for address, counts in votes.items() if counts.total()}

    def votes(self, address: Address) -> Counter[bool]:
        """Count the voices that reached us there (True), and those that did not."""
        opinions = self._said.get(address, {}).values()
        return Counter(
            each.was_reached
            for each in opinions
            if each.was_reached or (each.may_accuse and each.failures >= FAILURES_NEEDED)
        )


def _forget_oldest(kept: dict[K, V], most: int) -> None:
    while len(kept) > most:
        del kept[next(iter(kept))]


def advice(announced: Announced) -> str:
    """Say what the operator can do so that others can dial this node; empty if there is nothing."""
    if announced.reachability != "private" or not (listening := announced.listening):
        return ""
    ports = ", ".join(sorted({str(address.port) for address in listening}))
    hosts = sorted({address.host for address in listening if not is_public(address)})
    if announced.offered("configured"):
        return f"others cannot dial what `announce` says: forward it to TCP port {ports} here, or correct it"
    to = f" to this machine ({', '.join(hosts)})" if hosts else ""
    what = f"forward TCP port {ports}{to} in the router, or let it through the firewall"
    relayed = announced.offered("relay")
    meanwhile = "meanwhile relays stand in" if relayed else "no relay stands in: until then nobody reaches it"
    return f"{what}; if it is forwarded already, say where in `announce` ({meanwhile})"
