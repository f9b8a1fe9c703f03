"""The date that a process sees is off by as many seconds as a file says now; its other clocks are right.

Python imports this by itself where this folder is in PYTHONPATH. libfaketime (0.9.10) would do it for any
program, but then Python's `time.sleep` fails where the monotonic clock is left alone (Invalid argument).
"""

import os
import time
from pathlib import Path

_right, _right_ns = time.time, time.time_ns


def set_wrong(file: Path) -> None:
    """Have the date of this process be off, from now on."""
    time.time = lambda: _right() + int(file.read_text())
    time.time_ns = lambda: _right_ns() + int(file.read_text()) * 10**9


if _file := os.environ.get("COCOON_TEST_CLOCK"):
    set_wrong(Path(_file))
