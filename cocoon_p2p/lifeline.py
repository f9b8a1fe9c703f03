"""A node that another program has started ends with it, however that ends.

Whoever starts one keeps the other end of its standard input open. If that program is killed the
system closes it, and nothing is left behind that nobody knows of.
"""

import os
import signal
import threading

VARIABLE = "COCOON_LIFELINE"
"Set to `stdin`: end once standard input does."


def hold() -> None:
    """Watch the lifeline, if there is one: its end is a SIGTERM, with all the care that a node takes then."""
    if os.environ.get(VARIABLE) == "stdin":
        threading.Thread(target=_watch, name="lifeline", daemon=True).start()


def _watch() -> None:
    # Not through sys.stdin: its lock, held by this thread, would abort an interpreter that ends by itself.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
