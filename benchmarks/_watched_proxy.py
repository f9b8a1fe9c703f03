"""A proxy whose journal can be switched off while it runs: the same process with and without it.

    python benchmarks/_watched_proxy.py python -m cocoon_p2p.cli proxy FILE --json

SIGUSR1 switches the journal off, SIGUSR2 on again. It begins switched on.
"""

import signal
import sys

from cocoon_p2p.cli import main
from cocoon_p2p.journal import Entry, Journal

_note = Journal.note


def _forget(_journal: Journal, _entry: Entry) -> None:
    """Note nothing."""


def _switch(number: int, _frame: object) -> None:
    Journal.note = _forget if number == signal.SIGUSR1 else _note  # type: ignore[method-assign]


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _switch)
    signal.signal(signal.SIGUSR2, _switch)
    # The command that would have run: `python -m cocoon_p2p.cli ...`.
    sys.argv = ["cocoon", *sys.argv[sys.argv.index("cocoon_p2p.cli") + 1 :]]
    main()
