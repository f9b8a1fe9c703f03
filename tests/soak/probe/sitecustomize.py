"""Let any Python program say what it holds: on a signal, into a file named by its process id.

SIGUSR1 asks for what costs nothing. SIGUSR2 also has the objects counted, after whatever only
waits to be collected is gone: that changes the program a little, so it is for rare looks.

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


def tell(number: int, _frame: object) -> None:
    # A program that is still importing has nothing to say yet.
    if (trio := sys.modules.get("trio.lowlevel")) is None:
        return
    try:
        tasks = trio.current_statistics().tasks_living
    except (AttributeError, RuntimeError):
        return
    kinds = Counter[str]()
    if number == signal.SIGUSR2:
        gc.collect()
        kinds.update(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())
    file = Path(FOLDER, str(os.getpid()))
    file.with_suffix(".part").write_text(json.dumps({"tasks": tasks, "kinds": kinds}))
    file.with_suffix(".part").rename(file)


if FOLDER:
    signal.signal(signal.SIGUSR1, tell)
    signal.signal(signal.SIGUSR2, tell)
