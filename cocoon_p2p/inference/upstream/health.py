"""Whether a server is well: by what it computes, not by what it says of itself.

    well --a generation fails--> ill --one token comes--> well
    well --nothing for a minute, or a request refused--> asked for one token

Who is ill takes no work: a client that is refused before it has paid asks elsewhere at once.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from cocoon_p2p.inference.engine import EngineError
from cocoon_p2p.inference.upstream.wire import ServerBusy

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 60.0
"A server that has computed nothing for this long is asked for one token."

RETRY_SECONDS: Final = 5.0
"The same of a server that is ill."


class Health:
    """What is known of one server.

    Args:
        compute: Has one token computed; raises EngineError where that fails.
    """

    def __init__(self, compute: Callable[[], Awaitable[None]]) -> None:
        self._compute = compute
        self._changed = trio.Event()
        self._well_at = trio.current_time()
        self._is_suspect = False
        self.is_well = True

    def require(self) -> None:
        """Raise EngineError while the server is ill."""
        if not self.is_well:
            raise EngineError("the server that runs the model is down", retry_after=RETRY_SECONDS)

    def succeeded(self) -> None:
        """A step came."""
        self._well_at = trio.current_time()
        self._is_suspect = False
        if not self.is_well:
            self.is_well = True
            log.info("upstream is well again")

    def failed(self, error: EngineError) -> None:
        """A generation failed: nothing is promised until one token has come."""
        if self.is_well:
            self.is_well = False
            kind = type(error).__name__
            log.warning("upstream fails", extra={"error": kind, "retry_seconds": RETRY_SECONDS})
        self._changed.set()

    def suspect(self) -> None:
        """Something was not as it should be, perhaps by one request's own fault: the server is asked soon."""
        self._is_suspect = True
        self._changed.set()

    async def watch(self) -> None:
        """Look after the server until cancelled."""
        while True:
            await self._until_due()
            try:
                await self._compute()
            except ServerBusy as exc:
                # Others keep it busy: that is not ill, nor does it show that it is well again.
                await trio.sleep(max(exc.retry_after or 0.0, RETRY_SECONDS))
            except EngineError as exc:
                self.failed(exc)
                log.debug("upstream computes nothing", extra={"reason": str(exc)})
                await trio.sleep(RETRY_SECONDS)
            else:
                self.succeeded()

    async def _until_due(self) -> None:
        """Wait until nothing was computed for a while, or something failed."""
        while (
            self.is_well
            and not self._is_suspect
            and (rest := self._well_at + LOOK_SECONDS - trio.current_time()) > 0
        ):
            self._changed = trio.Event()
            with trio.move_on_after(rest):
                await self._changed.wait()
