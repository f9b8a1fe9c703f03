"""Intel's lists, by kind of platform: in memory, on disk, and else from mirrors or peers.

Only lists under which a quote was verified are put on the shelf, and never an older one than
is there: neither a mirror nor a peer can roll them back or spoil them. A stranger's quote can
make us ask a mirror, so what a mirror said is remembered for a minute, and all asking together
has a bound.
"""

import logging
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import trio

from cocoon_p2p.attestation.collateral import Collateral, Platform, is_newer, read_collateral
from cocoon_p2p.attestation.files import replace_file
from cocoon_p2p.errors import MalformedMessage, Unavailable
from cocoon_p2p.protocols.ids import COLLATERAL_SIZE_MAX_BYTES

log = logging.getLogger(__name__)

FETCH_SECONDS = 10.0
"How long one source may take before the next is asked."

SHELF_MAX = 256
"Kinds of platform; Intel has made some dozens that have TDX."

ANSWERS_MAX = 64
ANSWER_SECONDS = 60.0
"How long what a source said, or that it had nothing, is believed to be all it has."

FETCHES_MAX = 8
FETCHES_SECONDS = 2.0
"So many at once, then one in so many seconds, whoever makes us ask."

_FMSPC = re.compile(r"[0-9a-f]{12}")


class CollateralSource(Protocol):
    """A mirror of Intel's lists, or a peer that has some. It is not trusted."""

    async def fetch(self, platform: Platform, quote: bytes) -> bytes:
        """Get the lists for a kind of platform, in dcap-qvl's JSON; `quote` is one that needs them.

        It must stop at COLLATERAL_SIZE_MAX_BYTES, and a cancel must leave nothing.

        Raises:
            Unavailable: There is none to be had here now.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Answer:
    at: float
    collateral: Collateral | None


class CollateralShelf:
    """Lists that are at hand. One object a folder; times are trio's own."""

    def __init__(self, folder: Path, sources: Sequence[CollateralSource]) -> None:
        self._folder = folder
        self._sources = tuple(sources)
        self._kept: OrderedDict[Platform, Collateral] = OrderedDict()
        self._answers: OrderedDict[tuple[int, Platform], _Answer] = OrderedDict()
        self._fetches = float(FETCHES_MAX)
        self._filled = float("-inf")

    @property
    def sources(self) -> tuple[CollateralSource, ...]:
        return self._sources

    async def get(self, platform: Platform) -> Collateral | None:
        """Give what is on the shelf for a platform, current or not. A cancel leaves nothing."""
        if platform not in self._kept:
            found = await trio.to_thread.run_sync(self._read, platform)
            if found is not None:
                self._remember(found)
        return self._kept.get(platform)

    async def fetch(self, source: CollateralSource, platform: Platform, quote: bytes) -> Collateral | None:
        """Ask a source, unless it was just asked.

        Returns:
            Its lists, not verified; None where it has none, is too slow, gives what are no lists for
            this platform or older ones than the shelf's, or where too much was asked for lately.
            A cancel leaves nothing.
        """
        key, now = (id(source), platform), trio.current_time()
        answer = self._answers.get(key)
        if answer is None or now >= answer.at + ANSWER_SECONDS:
            if not self._may_fetch(now):
                log.warning("too many fetches of collateral", extra={"fmspc": platform.fmspc})
                return None
            answer = _Answer(now, await self._ask(source, platform, quote))
            self._answers[key] = answer
            self._answers.move_to_end(key)
            if len(self._answers) > ANSWERS_MAX:
                self._answers.popitem(last=False)
        kept = self._kept.get(platform)
        if answer.collateral is None or (kept is not None and not is_newer(answer.collateral, kept)):
            return None
        return answer.collateral

    async def keep(self, collateral: Collateral) -> None:
        """Put lists on the shelf under which a quote was verified. A cancel leaves them there or not."""
        kept = self._kept.get(collateral.platform)
        if kept is not None and not is_newer(collateral, kept):
            return
        self._remember(collateral)
        try:
            await trio.to_thread.run_sync(
                replace_file, self._file(collateral.platform), collateral.text.encode()
            )
        except OSError as exc:
            log.warning("collateral cannot be kept", extra={"reason": str(exc)})

    async def _ask(self, source: CollateralSource, platform: Platform, quote: bytes) -> Collateral | None:
        try:
            with trio.fail_after(FETCH_SECONDS):
                found = read_collateral(await source.fetch(platform, quote))
            if found.platform != platform:
                raise MalformedMessage("collateral: of another kind of platform")
        except (Unavailable, MalformedMessage, trio.TooSlowError) as exc:
            facts = {"fmspc": platform.fmspc, "reason": str(exc)[:160] or "too slow"}
            log.warning("no collateral from a source", extra=facts)
            return None
        return found

    def _may_fetch(self, now: float) -> bool:
        self._fetches = min(FETCHES_MAX, self._fetches + (now - self._filled) / FETCHES_SECONDS)
        self._filled = now
        if self._fetches < 1:
            return False
        self._fetches -= 1
        return True

    def _remember(self, collateral: Collateral) -> None:
        self._kept[collateral.platform] = collateral
        if len(self._kept) > SHELF_MAX:
            self._kept.popitem(last=False)

    def _read(self, platform: Platform) -> Collateral | None:
        if not _FMSPC.fullmatch(platform.fmspc):
            return None
        try:
            with self._file(platform).open("rb") as file:
                found = read_collateral(file.read(COLLATERAL_SIZE_MAX_BYTES + 1))
        except (OSError, MalformedMessage):
            return None
        return found if found.platform == platform else None

    def _file(self, platform: Platform) -> Path:
        return self._folder / "collateral" / f"{platform.fmspc}-{platform.authority}.json"
