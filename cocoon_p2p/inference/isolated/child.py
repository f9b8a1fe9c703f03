"""The process of an engine: `python -m cocoon_p2p.inference.isolated.child DESCRIPTOR PARENT`.

It opens the engine that its first message names, and serves it until the node hangs up. It lives no
longer than its node: on Linux the kernel ends it with its parent, elsewhere it ends when the line does.
The node alone decides when it ends: a service manager's SIGTERM means the node, which lets answers finish.
"""

import ctypes
import faulthandler
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Final, NoReturn, cast

import trio

from cocoon_p2p.inference.engine import Engine
from cocoon_p2p.inference.hash_memory import HashMemory
from cocoon_p2p.inference.isolated.faults import fault_of
from cocoon_p2p.inference.isolated.forwarding import forward_logs
from cocoon_p2p.inference.isolated.frames import (
    TO_CHILD,
    LineBroken,
    Open,
    Opened,
    OpenFailed,
    Progress,
    ToChild,
)
from cocoon_p2p.inference.isolated.line import Line
from cocoon_p2p.inference.isolated.serving import serve
from cocoon_p2p.inference.manifest import Progress as TellProgress
from cocoon_p2p.inference.openings import decode_opening

PR_SET_PDEATHSIG: Final = 1

FLUSH_SECONDS: Final = 5.0
"How long the reason why nothing opened may take to be sent."

OpenEngine = Callable[[bytes, HashMemory | None, TellProgress], AbstractAsyncContextManager[Engine]]
"Opens what the first message's `opening` says (MessagePack)."


def run(open_engine: OpenEngine) -> NoReturn:
    """Be an engine's process, from the command line's arguments."""
    descriptor, parent = map(int, sys.argv[1:3])
    _end_with(parent)
    # Else what a library starts would hold the line open, and our death would pass for silence.
    os.set_inheritable(descriptor, False)
    # A core dump holds prompts. One byte, not none: only so are programs spared that dumps are piped into.
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0) if hard == 0 else (1, 1))
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    faulthandler.enable()
    # Where memory runs out, the system takes the engine and not the node. Not every system lets us.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
    try:
        trio.run(_run, socket.socket(fileno=descriptor), open_engine)
    except BaseException as exc:  # noqa: BLE001  # the top of this process
        exc = _innermost(exc)
        # Where it was, and not what it said: that may quote a prompt.
        sys.stderr.write("".join(traceback.format_tb(exc.__traceback__)) + f"{type(exc).__name__}\n")
        # Not by a signal, which would pass for too little memory. The node ends what was started here.
        os._exit(1)
    _end()


def _innermost(exc: BaseException) -> BaseException:
    while isinstance(exc, BaseExceptionGroup):
        exc = cast("BaseExceptionGroup[BaseException]", exc).exceptions[0]
    return exc


async def _run(end: socket.socket, open_engine: OpenEngine) -> None:
    line: Line[ToChild] = Line(end, TO_CHILD)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.write)
        match await line.receive():
            case [(Open() as first, _)]:
                pass
            case []:
                _end()
            case _:
                raise LineBroken("what opens a line comes first and alone")
        forward_logs(line, first.log_level)
        memory = None if first.hash_memory is None else HashMemory(Path(first.hash_memory))

        def tell(done_bytes: int, total_bytes: int) -> None:
            line.send(Progress(done_bytes, total_bytes))

        await _open(line, open_engine(bytes(first.opening), memory, tell))


async def _open(line: Line[ToChild], opening: AbstractAsyncContextManager[Engine]) -> None:
    try:
        engine = await opening.__aenter__()
    except Exception as exc:  # noqa: BLE001  # whatever it is, the node is told
        line.send(OpenFailed(fault_of(exc)))
        # The node hangs up when it has read that.
        with trio.move_on_after(FLUSH_SECONDS):
            await line.receive()
        _end()
    line.send(Opened(engine.capabilities))
    await serve(line, engine)
    # The engine is not closed: an end without ado frees all that it has, and cannot hang.
    _end()


def _end() -> NoReturn:
    """End at once, with all that was started here."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _end_with(parent: int) -> None:
    """Have the kernel end this process with its parent: one that computes or loads hears no line close."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        _end()


def open_by_settings(
    opening: bytes, memory: HashMemory | None, progress: TellProgress
) -> AbstractAsyncContextManager[Engine]:
    """Open an engine of this package."""
    return decode_opening(opening).open(memory, progress)


if __name__ == "__main__":
    run(open_by_settings)
