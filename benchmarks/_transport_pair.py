"""Two processes of one kind, one that dials and one that listens, as `transport.py` drives them."""

import json
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from _measure import resident_bytes, working_seconds

HERE = Path(__file__).parent
ANSWER_SECONDS = 180.0
JS_PEER = HERE.parent / "tests" / "interop" / "peer"


class Pair:
    """A dialler and a listener, both up, not connected yet."""

    def __init__(self, kind: str, security: str, stack: ExitStack) -> None:
        script = (
            ["node", str(JS_PEER / "bench.mjs")] if kind == "js" else [sys.executable, _script("peer"), kind]
        )
        self._dialler = stack.enter_context(_process([*script, security]))
        self._listener = stack.enter_context(_process([*script, security]))
        _answer(self._dialler)
        self.address: str = _answer(self._listener)["address"]

    def tell(self, do: str, **command: object) -> dict[str, Any]:
        """Have the dialler do something, and give what it answers."""
        assert self._dialler.stdin is not None
        self._dialler.stdin.write(json.dumps({"do": do, **command}) + "\n")
        self._dialler.stdin.flush()
        return _answer(self._dialler)

    def working_seconds(self) -> float:
        """Say how much processor time both have had."""
        return working_seconds(self._dialler.pid) + working_seconds(self._listener.pid)

    def resident_bytes(self) -> tuple[int, int]:
        """Say how much memory each has in use: dialler, listener."""
        return resident_bytes(self._dialler.pid), resident_bytes(self._listener.pid)


@contextmanager
def far_away(address: str, one_way_seconds: float) -> Iterator[str]:
    """Give an address at which the node at `address` is that much farther away."""
    port = address if address.isdigit() else re.findall(r"/tcp/(\d+)", address)[0]
    command = [sys.executable, str(HERE / "_delaying_forwarder.py"), port, str(one_way_seconds)]
    with _process(command) as forwarder:
        assert forwarder.stdout is not None
        here = forwarder.stdout.readline().strip()
        yield here if address.isdigit() else address.replace(f"/tcp/{port}", f"/tcp/{here}")


def _script(name: str) -> str:
    return str(HERE / f"_transport_{name}.py")


@contextmanager
def _process(command: list[str]) -> Iterator["subprocess.Popen[str]"]:
    # py-libp2p as it ships says a lot there; it is of interest only if a peer fails.
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True
        )
        try:
            yield process
        except SystemExit:
            complaints.seek(0)
            print(complaints.read()[-2000:], file=sys.stderr)
            raise
        finally:
            process.kill()
            process.wait()


def _answer(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    patience = threading.Timer(ANSWER_SECONDS, process.kill)
    patience.start()
    line = process.stdout.readline()
    patience.cancel()
    if not line:
        raise SystemExit(f"a peer did not answer: {process.args!r}")
    answer: dict[str, Any] = json.loads(line)
    return answer
