"""A child's log, written by its node: the phrase and the facts, never what a library would add.

What this package logs has no content (docs/architecture.md); of an exception only its class is told, as
its text may quote. Other libraries' logs stay where they are.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

import trio

from cocoon_p2p.inference.isolated.frames import LineBroken, Logged, ToChild
from cocoon_p2p.inference.isolated.line import Line

PACKAGE: Final = "cocoon_p2p"

TEXT_SIZE_MAX_CHARACTERS: Final = 512
FACTS_MAX: Final = 16

LINES_MAX: Final = 1000
LINES_PER_SECOND: Final = 1.0
"A child says so many at once, and so many on and on: one that is broken is not to fill the disk."

HEARD_MAX: Final = 2 * LINES_MAX
"What a node hears at once, whose clock is another."

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"What a record has by itself; the rest are facts."


def forward_logs(line: Line[ToChild], level: int) -> None:
    """Send what this process's engine logs to its node, and nowhere else."""
    log = logging.getLogger(PACKAGE)
    log.setLevel(level)
    log.propagate = False
    log.handlers[:] = [_Forwarding(line)]
    # Without any handler, Python would print others' warnings.
    logging.getLogger().addHandler(logging.NullHandler())


class Allowance:
    """Tells whether one more line is within bounds."""

    def __init__(self, lines_max: int = LINES_MAX, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._max = lines_max
        self._clock = clock
        self._left = float(lines_max)
        self._at = clock()

    def take(self) -> bool:
        now = self._clock()
        self._left = min(self._max, self._left + (now - self._at) * LINES_PER_SECOND)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class _Forwarding(logging.Handler):
    """Runs in whatever thread logs."""

    def __init__(self, line: Line[ToChild]) -> None:
        super().__init__()
        self._line = line
        self._trio = trio.lowlevel.current_trio_token()
        self._allowance = Allowance()

    def emit(self, record: logging.LogRecord) -> None:
        if self._allowance.take():
            self._trio.run_sync_soon(self._line.send, logged(record))


def logged(record: logging.LogRecord) -> Logged:
    """Say what may be said of a record."""
    facts = {name: _fact(value) for name, value in vars(record).items() if name not in _OWN}
    if record.exc_info and record.exc_info[0] is not None:
        facts["error"] = record.exc_info[0].__name__
    return Logged(record.levelno, record.name, _short(str(record.msg)), dict(list(facts.items())[:FACTS_MAX]))


def write_log(said: Logged, allowance: Allowance) -> None:
    """Write what a child logged into our own log.

    Args:
        said: What it says that it logged.
        allowance: This child's, of `HEARD_MAX` lines.

    Raises:
        LineBroken: It is not as a child of ours says it.
    """
    is_ours = said.logger == PACKAGE or said.logger.startswith(f"{PACKAGE}.")
    texts = (
        said.event,
        said.logger,
        *said.facts,
        *(text for text in said.facts.values() if isinstance(text, str)),
    )
    if (
        not allowance.take()
        or not is_ours
        or len(said.facts) > FACTS_MAX
        or not _OWN.isdisjoint(said.facts)
        or any(len(text) > TEXT_SIZE_MAX_CHARACTERS for text in texts)
    ):
        raise LineBroken("a line of log that is none")
    logger = logging.getLogger(said.logger)
    if logger.isEnabledFor(said.level):
        logger.log(said.level, "%s", said.event, extra=said.facts)


def _fact(value: object) -> str | int | float | bool | None:
    # By its very type: the line takes no subclass of a number, such as numpy's, and none beyond 64 bits.
    if type(value) is int:
        return value if abs(value) < 2**63 else _short(str(value))
    if value is None or type(value) is bool or type(value) is float:
        return value
    return _short(str(value))


def _short(text: str) -> str:
    return text[:TEXT_SIZE_MAX_CHARACTERS].encode("utf-8", "replace").decode()
