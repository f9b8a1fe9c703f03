"""What a proxy knows of workers that are not here, or that it met before it was started again.

In the ledger it is one note a worker, written now and then: a crash forgets the last half minute.
Whose exchanges showed what is not written down; after a restart it is one voice, nobody's. A worker
that comes under another name from a machine that is known by its proof is no newcomer.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Annotated

import trio

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.identity import PeerId
from cocoon_p2p.ledger import Note, Store
from cocoon_p2p.protocols.ids import MODELS_MAX
from cocoon_p2p.protocols.messages import AName, APeer
from cocoon_p2p.protocols.schema import Key, Max, Size, decode_paper, encode_paper
from cocoon_p2p.scheduling import Fault, Odds, Pace, WorkerStanding
from cocoon_p2p.scheduling.pace import DECODE_VOICE_TOKENS, PREFILL_VOICE_TOKENS, Voices

REMEMBERED_MAX = 4_096
"Workers that have left: coming back is no new beginning. Some KiB each; who left longest ago gives way."

FORGOTTEN_SECONDS = 24 * 3600.0
"After a day a fault counts no more than a doubt: it is not worth a line in the ledger."

KEEP_SECONDS = 30.0
"How often the ledger is told."

_PREFIX = "reputation/"
_FAULTS = (Fault.LOST, Fault.FAILED, Fault.RULES_BROKEN, Fault.MISCOUNTED, Fault.CANARY)
"Their places are what the ledger keeps."

_Amount = Annotated[int, Max(10**12)]
"In thousandths."


@dataclass(frozen=True, slots=True)
class _KeptPace:
    model: Annotated[AName, Key(1)]
    prefill_tokens: Annotated[_Amount, Key(2)]
    prefill_seconds: Annotated[_Amount, Key(3)]
    decode_tokens: Annotated[_Amount, Key(4)]
    decode_seconds: Annotated[_Amount, Key(5)]


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a note holds of one worker."""

    peer: Annotated[APeer, Key(1)]
    at: Annotated[int, Key(2)]
    "When that was so, in seconds since the Unix epoch."

    kept: Annotated[_Amount, Key(3)]
    broken: Annotated[_Amount, Key(4)]
    faults: Annotated[tuple[_Amount, ...], Key(5), Max(len(_FAULTS))]
    paces: Annotated[tuple[_KeptPace, ...], Key(6), Max(MODELS_MAX)] = ()
    platform: Annotated[bytes | None, Key(7), Size(32)] = None
    "SHA-256 of the machine's id, where it is proven."


@dataclass(frozen=True, slots=True)
class _Known:
    """What is remembered of one worker. Its times are trio's."""

    platform: bytes
    odds: Odds
    paces: dict[str, Pace]
    answer_seconds: float | None
    at: float
    rests_until: float = 0.0
    rests_for: Fault | None = None


class Remembering:
    """Everything that is known of workers that are not here.

    Args:
        store: The ledger; None: nothing outlives the process.
        clock: Seconds since the Unix epoch.
    """

    def __init__(self, store: Store | None, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._known: OrderedDict[PeerId, _Known] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def recall(self, standing: WorkerStanding, here: Iterable[WorkerStanding]) -> WorkerStanding:
        """Give a worker that comes what is known of it, or of its machine.

        Args:
            standing: The worker, as a newcomer.
            here: Those that stand with us: one of them may run on the same machine.
        """
        known = self._known.pop(standing.peer, None)
        if known is None and standing.platform:
            platform = _hash(standing.platform)
            alike = [each for each in self._known.values() if each.platform == platform]
            alike += [_known(each) for each in here if each.platform == standing.platform]
            now = trio.current_time()
            known = max(alike, key=lambda each: each.odds.tries(now), default=None)
        if known is None:
            return standing
        return replace(
            standing,
            odds=known.odds,
            paces=known.paces,
            answer_seconds=known.answer_seconds,
            rests_until=known.rests_until,
            rests_for=known.rests_for,
        )

    def remember(self, standing: WorkerStanding) -> None:
        """Keep what is known of a worker that leaves. Who never served must not drive out who did."""
        if standing.odds == Odds() and not standing.paces:
            return
        self._known[standing.peer] = _known(standing)
        self._known.move_to_end(standing.peer)
        self._write([(standing.peer, _known(standing))])
        if len(self._known) > REMEMBERED_MAX:
            forgotten, _ = self._known.popitem(last=False)
            self._submit(Note(_name(forgotten), None))

    async def keep(self, here: Callable[[], Iterable[WorkerStanding]]) -> None:
        """Tell the ledger every now and then. A cancel tells it once more."""
        try:
            while True:
                await trio.sleep(KEEP_SECONDS)
                self._forget()
                self.write(here())
        finally:
            self.write(here())

    def write(self, standings: Iterable[WorkerStanding]) -> None:
        """Hand over what is known of those that stand with us; it is on disk soon."""
        self._write((each.peer, _known(each)) for each in standings)

    # ------------------------------------------------------------ the ledger

    async def load(self) -> None:
        """Read what the ledger has kept; what cannot be read, or is too old, is dropped."""
        if self._store is None:
            return
        date, now = self._clock(), trio.current_time()
        for name, value in (await self._store.notes(_PREFIX)).items():
            try:
                kept = decode_paper(_Kept, value)
            except MalformedMessage:
                self._submit(Note(name, None))
                continue
            age = max(0.0, date - kept.at)
            if age > FORGOTTEN_SECONDS or len(self._known) >= REMEMBERED_MAX:
                self._submit(Note(name, None))
            else:
                self._known.setdefault(PeerId(kept.peer), _read(kept, now - age))

    def _forget(self) -> None:
        oldest = trio.current_time() - FORGOTTEN_SECONDS
        for peer in [peer for peer, known in self._known.items() if known.at < oldest]:
            del self._known[peer]
            self._submit(Note(_name(peer), None))

    def _write(self, known: Iterable[tuple[PeerId, _Known]]) -> None:
        date, now = self._clock(), trio.current_time()
        notes = [_note(peer, each, now, date) for peer, each in known if each.odds.at or each.paces]
        if notes:
            self._submit(*notes)

    def _submit(self, *notes: Note) -> None:
        if self._store is not None:
            self._store.submit(*notes)


def _known(standing: WorkerStanding) -> _Known:
    platform = _hash(standing.platform) if standing.platform else b""
    known = _Known(
        platform, standing.odds, dict(standing.paces), standing.answer_seconds, trio.current_time()
    )
    if standing.rests_for in (None, Fault.LOST):
        # It rested because it was away. It is back.
        return known
    return replace(known, rests_until=standing.rests_until, rests_for=standing.rests_for)


def _hash(platform: bytes) -> bytes:
    return hashlib.sha256(platform).digest()


def _name(peer: PeerId) -> str:
    return f"{_PREFIX}{peer.hex()}"


def _note(peer: PeerId, known: _Known, now: float, date: float) -> Note:
    odds = known.odds.faded(now)
    counts = dict(odds.faults)
    kept = _Kept(
        peer,
        max(0, int(date)),
        _milli(odds.kept),
        _milli(odds.broken),
        tuple(_milli(counts.get(fault, 0.0)) for fault in _FAULTS),
        tuple(
            _KeptPace(
                model,
                *_one_voice(pace.prefill, PREFILL_VOICE_TOKENS, now),
                *_one_voice(pace.decode, DECODE_VOICE_TOKENS, now),
            )
            for model, pace in list(known.paces.items())[-MODELS_MAX:]
        ),
        known.platform or None,
    )
    return Note(_name(peer), encode_paper(kept))


def _one_voice(voices: Voices, tokens_most: float, now: float) -> tuple[int, int]:
    """Spell what all together say, as one of them would."""
    tokens = min(tokens_most, sum(tally.weight(now) for _, tally in voices.told))
    return _milli(tokens), _milli(tokens * voices.seconds_per_token(0.0, 0.0, now))


def _milli(amount: float) -> int:
    return min(round(max(0.0, amount) * 1000), 10**12)


def _read(kept: _Kept, at: float) -> _Known:
    paces: dict[str, Pace] = {}
    for each in kept.paces:
        pace = Pace()
        if each.prefill_tokens:
            pace = pace.prefilled(each.prefill_tokens / 1000, each.prefill_seconds / 1000, at)
        if each.decode_tokens:
            pace = pace.decoded(each.decode_tokens / 1000, each.decode_seconds / 1000, at)
        paces[each.model] = pace
    faults = tuple((fault, count / 1000) for fault, count in zip(_FAULTS, kept.faults, strict=False) if count)
    odds = Odds(kept.kept / 1000, kept.broken / 1000, at, faults=faults)
    return _Known(kept.platform or b"", odds, paces, None, at)
