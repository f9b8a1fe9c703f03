"""How `cocoon channels watch` tells what happens: JSON lines for programs, what is new for people."""

import json
import sys
from typing import TextIO

from cocoon_p2p.cli.channel_tables import SHOWN_DIGITS
from cocoon_p2p.cli.spell import harmless
from cocoon_p2p.errors import CocoonError
from cocoon_p2p.payments.channel import Backing
from cocoon_p2p.payments.treasury.sight import Gone
from cocoon_p2p.payments.treasury.watched import Watched
from cocoon_p2p.payments.treasury.watchtower import Claimed, Event, Failed, Looked
from cocoon_p2p.protocols.messages import ChannelId
from cocoon_p2p.units import format_ton


class WatchPrinter:
    """Prints events: as JSON all of them, on stdout; for people those that say something new, on stderr."""

    def __init__(self, *, as_json: bool, out: TextIO | None = None) -> None:
        self._as_json = as_json
        self._out = out or (sys.stdout if as_json else sys.stderr)
        self._last: dict[ChannelId | None, str] = {}

    def tell(self, event: Event) -> None:
        """Print an event."""
        if self._as_json:
            self._print(json.dumps(facts_of(event)))
            return
        about = None if not isinstance(event, Looked | Claimed | Failed) else event.watched.channel
        text = spell(event)
        if self._last.get(about) != text:
            self._last[about] = text
            self._print(harmless(text if about is None else f"{about.hex()[:SHOWN_DIGITS]}  {text}"))

    def away(self, error: CocoonError) -> None:
        """Say that the chain cannot be reached at all."""
        self._print(json.dumps({"event": "no-chain", "error": str(error)}) if self._as_json else f"{error}")

    def _print(self, line: str) -> None:
        print(line, file=self._out, flush=True)


def facts_of(event: Event) -> dict[str, object]:
    """Give an event in JSON's types; money in nanoTON."""
    match event:
        case Looked():
            return {"event": "looked", **_named(event.watched), "due_nano": event.due, **_standing(event)}
        case Claimed():
            return {"event": "claimed", **_named(event.watched), "amount_nano": event.amount}
        case Failed():
            return {"event": "failed", **_named(event.watched), **_error(event.error)}
        case _:
            return {"event": "not-read", **_error(event.error)}


def _named(watched: Watched) -> dict[str, object]:
    return {"channel": watched.channel.hex(), "vouchered_nano": watched.voucher.total}


def _error(error: CocoonError) -> dict[str, object]:
    return {"error": str(error), "code": error.code}


def _standing(event: Looked) -> dict[str, object]:
    if isinstance(event.sight, Backing):
        sight = event.sight
        claimed, deposit = sight.claimed, sight.deposit
        return {
            "state": "closing" if sight.close_at else "open",
            "claimed_nano": claimed,
            "deposit_nano": deposit,
            "close_at": sight.close_at,
        }
    return {"state": "gone" if isinstance(event.sight, Gone) else "not-opened"}


def spell(event: Event) -> str:
    """Say an event to a person."""
    match event:
        case Looked():
            facts = _standing(event)
            return f"{facts['state']}, {format_ton(event.due)} due"
        case Claimed():
            return f"claimed {format_ton(event.amount)}"
        case Failed():
            return f"could not be looked after: {event.error}"
        case _:
            return f"the vouchers could not be read: {event.error}"
