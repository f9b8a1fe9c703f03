"""libp2p is imported whole, whichever of our modules comes first, and in whichever thread."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

AT_ONCE = """
import importlib, sys, threading

sys.setswitchinterval(1e-5)
begin, faults = threading.Barrier(3), []

def enter(door):
    begin.wait()
    try:
        importlib.import_module(f"cocoon_p2p.network.libp2p.{door}")
    except Exception as exc:
        faults.append(repr(exc))

threads = [threading.Thread(target=enter, args=(door,)) for door in ("host", "kad", "relay_client")]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit("\\n".join(faults) or 0)
"""


def test_threads_that_import_it_by_different_doors_at_once_do_not_find_it_half_made() -> None:
    done = subprocess.run([sys.executable, "-c", AT_ONCE], capture_output=True, text=True, timeout=280)

    assert done.returncode == 0, done.stderr
