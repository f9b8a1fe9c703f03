"""Every phase against every event, the forbidden ones too."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from cocoon_p2p.errors import CocoonError, LocalProtocolError, RemoteProtocolError
from cocoon_p2p.protocols.exchange.proxy_events import (
    Charged,
    ClientLost,
    Covered,
    HoldRefused,
    Woke,
    WorkerLost,
    WorkerOpened,
    WorkerUnavailable,
)
from cocoon_p2p.protocols.ids import Outcome
from cocoon_p2p.protocols.messages import Heartbeat, Load
from cocoon_p2p.units import Nano
from tests.protocols.exchange.proxy_line import (
    ACCEPT,
    CANCEL,
    EXCHANGE,
    HELLO,
    METERED,
    OTHER,
    PHASES,
    REFUSED,
    SETTLEMENT,
    WORKER_CHANNEL,
    Line,
    chunk,
    line_in,
    part,
)

EVENTS: dict[str, Callable[[Line], object]] = {
    "hello": lambda line: line.client(HELLO),
    "part": lambda line: line.client(part(line.exchange.parts)),
    "part gap": lambda line: line.client(part(line.exchange.parts + 1)),
    "last part": lambda line: line.client(part(line.exchange.parts, final=True)),
    "cancel": lambda line: line.client(CANCEL),
    "client beat": lambda line: line.client(Heartbeat(EXCHANGE, 0)),
    "client strange": lambda line: line.client(METERED),
    "client other id": lambda line: line.client(Heartbeat(OTHER, 0)),
    "client nonsense": lambda line: line.client(Load(1, 1, 0)),
    "client lost": lambda line: line.feed(ClientLost(line.now)),
    "accept": lambda line: line.worker(ACCEPT),
    "metered": lambda line: line.worker(METERED),
    "chunk": lambda line: line.worker(chunk(line.exchange.passed.chunks, 4)),
    "worker beat": lambda line: line.worker(Heartbeat(EXCHANGE, 1)),
    "worker refused": lambda line: line.worker(REFUSED),
    "receipt": lambda line: line.worker(line.receipt(Outcome.FAILED)),
    "cancelled": lambda line: line.worker(line.receipt(Outcome.CANCELLED)),
    "worker strange": lambda line: line.worker(HELLO),
    "worker other id": lambda line: line.worker(replace(METERED, exchange=OTHER)),
    "worker lost": lambda line: line.feed(WorkerLost("gone", line.now)),
    "covered": lambda line: line.feed(Covered(Nano(1_000), line.now)),
    "opened": lambda line: line.feed(WorkerOpened(WORKER_CHANNEL, line.now)),
    "unavailable": lambda line: line.feed(WorkerUnavailable("gone", line.now)),
    "hold refused": lambda line: line.feed(HoldRefused(line.now)),
    "charged": lambda line: line.feed(Charged(SETTLEMENT, line.now)),
    "woke early": lambda line: line.feed(Woke(line.now)),
}

# A phase's row: what it becomes by an event; `.` stays, `!` the peer's fault, `?` a fault of ours.
# GREETING is UPLOADING before the Accept; ANSWERING and later have one chunk with a Meter.
TABLE = """
                QUOTED    COVERING  OPENING   GREETING  UPLOADING METERING  ANSWERING STOPPING  SETTLING ENDED
hello           COVERING  !         !         !         !         !         !         !         !        .
part            COVERING  !         !         !         .         !         !         !         !        .
part gap        !         !         !         !         !         !         !         !         !        .
last part       COVERING  !         !         !         METERING  !         !         !         !        .
cancel          ENDED     ENDED     ENDED     STOPPING  STOPPING  STOPPING  STOPPING  .         .        .
client beat     .         .         .         .         .         .         .         .         .        .
client strange  !         !         !         !         !         !         !         !         !        .
client other id !         !         !         !         !         !         !         !         !        .
client nonsense !         !         !         !         !         !         !         !         !        .
client lost     ENDED     ENDED     ENDED     STOPPING  STOPPING  STOPPING  STOPPING  .         .        .
accept          !         !         !         .         !         !         !         !         !        .
metered         !         !         !         !         !         ANSWERING !         !         !        .
chunk           !         !         !         !         !         !         .         .         !        .
worker beat     !         !         !         .         .         .         .         .         !        .
worker refused  !         !         !         ENDED     ENDED     ENDED     !         !         !        .
receipt         !         !         !         !         !         !         SETTLING  SETTLING  !        .
cancelled       !         !         !         !         !         !         !         SETTLING  !        .
worker strange  !         !         !         !         !         !         !         !         !        .
worker other id !         !         !         !         !         !         !         !         !        .
worker lost     ?         ?         ?         ENDED     ENDED     ENDED     SETTLING  SETTLING  .        .
covered         .         OPENING   .         .         .         .         .         .         .        .
opened          ?         ?         GREETING  ?         ?         ?         ?         ?         ?        .
unavailable     ?         ?         ENDED     ?         ?         ?         ?         ?         ?        .
hold refused    ENDED     ENDED     ENDED     STOPPING  STOPPING  STOPPING  STOPPING  .         .        .
charged         ?         ?         ?         ?         ?         ?         ?         ?         ENDED    .
woke early      .         .         .         .         .         .         .         .         .        .
"""


def rows() -> dict[tuple[str, str], str]:
    head, *lines = TABLE.strip("\n").splitlines()
    assert tuple(head.split()) == PHASES
    cells = {line[:16].strip(): line[16:].split() for line in lines}
    assert cells.keys() == EVENTS.keys()
    return {
        (phase, event): cell for event, row in cells.items() for phase, cell in zip(PHASES, row, strict=True)
    }


@pytest.mark.parametrize(("phase", "event"), rows())
def test_each_event_does_in_each_phase_what_the_table_says(phase: str, event: str) -> None:
    line = line_in(phase)
    before, expected = line.exchange, rows()[phase, event]
    faults: dict[str, type[CocoonError]] = {"!": RemoteProtocolError, "?": LocalProtocolError}

    if expected in faults:
        with pytest.raises(faults[expected]):
            EVENTS[event](line)
        assert line.exchange is before
        return
    EVENTS[event](line)

    named = "UPLOADING" if expected == "GREETING" else expected
    assert line.phase == (before.phase.name if expected == "." else named)


@pytest.mark.parametrize("event", EVENTS)
def test_an_exchange_that_has_ended_is_changed_by_nothing(event: str) -> None:
    line = line_in("ENDED")
    before = line.exchange

    assert EVENTS[event](line) == ()

    assert line.exchange is before
