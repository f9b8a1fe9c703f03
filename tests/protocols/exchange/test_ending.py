"""The one word for how an exchange ended."""

import pytest

from cocoon_p2p.protocols.exchange.ending import ending
from cocoon_p2p.protocols.ids import Outcome, Reason


@pytest.mark.parametrize(
    ("outcome", "reason", "word"),
    [
        (Outcome.COMPLETED, None, "finished"),
        (Outcome.COMPLETED, Reason.PROXY_LOST, "finished"),
        (Outcome.CANCELLED, None, "cancelled"),
        (Outcome.CANCELLED, Reason.CANCELLED, "cancelled"),
        (Outcome.CANCELLED, Reason.CLIENT_LOST, "lost"),
        (Outcome.CANCELLED, Reason.NO_CREDIT, "no-credit"),
        (Outcome.FAILED, None, "engine-failed"),
        (Outcome.FAILED, Reason.WORKER_LOST, "lost"),
        (None, Reason.CANCELLED, "cancelled"),
        (None, Reason.TOO_LARGE, "too-large"),
        (None, None, "lost"),
    ],
)
def test_an_exchange_is_called_by_how_it_ended(
    outcome: Outcome | None, reason: Reason | None, word: str
) -> None:
    assert ending(outcome, reason) == word
