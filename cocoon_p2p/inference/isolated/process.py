"""The process of an engine: started so that it cannot outlive its node, ended without asking.

It is a fresh interpreter, not a fork: threads and locks of ours are nothing to it. It leads a process
group of its own, so that Ctrl-C reaches the node only, which lets answers finish; and what the engine
itself started ends with it.
"""

import os
import signal
import socket
import subprocess
import sys
from typing import Final

import trio

from cocoon_p2p.errors import ConfigurationError

REAP_SECONDS: Final = 10.0
"A killed process is gone at once, but for one that waits in the kernel for a disk or a card."

_SECRET: Final = ("PASSWORD", "PASSPHRASE", "SECRET", "TOKEN", "_KEY")
"Variables whose names end so, and our own (COCOON_...), are not the engine's business."


class EngineProcess:
    """A child process, and our end of the line to it.

    Start it on trio's thread: Linux ends the child with the very thread that started it.

    Args:
        module: What it runs, as `python -m` does, with the line's descriptor and our process id.

    Raises:
        ConfigurationError: No process could be started.
    """

    def __init__(self, module: str) -> None:
        try:
            ours, theirs = socket.socketpair()
        except OSError as exc:
            raise _no_process(exc) from exc
        command = [sys.executable, "-P", "-m", module, str(theirs.fileno()), str(os.getpid())]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=2,  # What a library prints is no answer of ours.
                env=environment(),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except OSError as exc:
            ours.close()
            raise _no_process(exc) from exc
        finally:
            theirs.close()
        self.line = ours
        "Who takes it closes it."

    async def end(self) -> str:
        """Kill it, and all that it has started, and wait until the system has taken it back.

        A cancel does not cut it short; it waits for `REAP_SECONDS` at most.

        Returns:
            How it ended, in words: `signal=SIGSEGV`, `exit=1`.
        """
        if self._process.returncode is None:
            self._kill()
            with trio.move_on_after(REAP_SECONDS, shield=True):
                await trio.to_thread.run_sync(self._process.wait, abandon_on_cancel=True)
        return describe_end(self._process.returncode)

    def _kill(self) -> None:
        # Before it is waited for: until then its number is no other's, not even when it is dead.
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self._process.kill()


def _no_process(exc: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"no process for the engine: {exc.strerror}",
        hint="see the limits on memory, files and processes of this user or container",
    )


def environment() -> dict[str, str]:
    """Give what a child is told of our environment."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("COCOON_") and not name.upper().endswith(_SECRET)
    }


def describe_end(code: int | None) -> str:
    """Say how a process ended."""
    if code is None:
        return "still ending"
    if code >= 0:
        return f"exit={code}"
    try:
        return f"signal={signal.Signals(-code).name}"
    except ValueError:
        return f"signal={-code}"
