"""Let any Python program say what it holds: on SIGUSR1, into a file named by its process id.

Python imports this by itself where the folder is on PYTHONPATH, so that a node needs no code
for it. A signal's handler runs in the main thread between two steps of the program, which is
where trio can be asked.
"""

import gc
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

FOLDER = os.environ.get("COCOON_SOAK_GAUGES", "")


def tell(_signal: int, _frame: object) -> None:
    # A program that is still importing has nothing to say yet.
    if (trio := sys.modules.get("trio.lowlevel")) is None:
        return
    try:
        tasks = trio.current_statistics().tasks_living
    except (AttributeError, RuntimeError):
        return
    kinds = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())
    file = Path(FOLDER, str(os.getpid()))
    file.with_suffix(".part").write_text(json.dumps({"tasks": tasks, "kinds": kinds}))
    file.with_suffix(".part").rename(file)


if FOLDER:
    signal.signal(signal.SIGUSR1, tell)
