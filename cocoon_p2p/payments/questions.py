"""What a payer asks a payee: how exchanges ended whose end only the payee knows.

Spec: protocols/channel.md (Papers).
"""

from dataclasses import dataclass

import trio

from cocoon_p2p.ledger import ExchangeRow, Status
from cocoon_p2p.protocols.messages import ChannelRefused, Paper, PaperWanted
from cocoon_p2p.protocols.schema import decode_message
from cocoon_p2p.units import Nano


class Question:
    """A paper that was asked for."""

    def __init__(self, wanted: PaperWanted) -> None:
        self.wanted = wanted
        self.answered = trio.Event()
        self.paper: Paper | None = None
        self.refusal: ChannelRefused | None = None


@dataclass(frozen=True, slots=True)
class Leftover:
    """An exchange whose end only the payee knows."""

    question: PaperWanted
    amount: Nano | None
    "What it was settled at; None if a crash of ours forgot what we saw."

    since: int
    "When it broke, or when we came back from the crash, in seconds since the Unix epoch."

    held: Nano | None = None
    "What was held for it when it broke: the payee had no more credit for it. None after a restart."


def leftover_of(row: ExchangeRow, at: int) -> Leftover:
    """Read an exchange that was not settled before a restart out of its row."""
    if row.status is not Status.BROKEN or row.paper is None:
        return Leftover(PaperWanted(row.exchange), None, at)
    question = decode_message(row.paper)
    assert isinstance(question, PaperWanted)
    return Leftover(question, row.amount, row.at)
