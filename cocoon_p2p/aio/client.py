"""The client for asyncio programs: the same names and meanings as the client on trio.

    async with aio.open_client("client.toml") as client:
        async with client.chat("demo", [{"role": "user", "content": "Hello"}], max_cost=30_000) as answer:
            async for piece in answer:
                print(piece.text, end="")
        print(answer.cost, answer.trust)

The network runs in a thread of its own; the host's loop only takes what comes out of it. One
client serves any number of loops and tasks, of this process only.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import TypeVar, Unpack

from cocoon_p2p import client as on_trio
from cocoon_p2p.aio.calling import Bell, Pending, bell
from cocoon_p2p.aio.flow import Flow
from cocoon_p2p.aio.holding import Asking, Held, Noted
from cocoon_p2p.aio.opening import open_portal
from cocoon_p2p.aio.portal import Portal
from cocoon_p2p.aio.purses import Purses
from cocoon_p2p.client import Embeddings, Offered, Piece, PriceQuote
from cocoon_p2p.client.messages import Message
from cocoon_p2p.client.wishes import Wishes
from cocoon_p2p.config import ClientFile, Loaded, load
from cocoon_p2p.node import open_client as open_client_on_trio
from cocoon_p2p.private_files import replace
from cocoon_p2p.units import Nano

Result = TypeVar("Result")

BURST_PIECES = 32
"Pieces that are taken in a row before the loop's other tasks have their turn."


class Answer(on_trio.Answer):
    """One answer, as on trio; read and awaited in asyncio."""

    async def save_bundle(self, path: Path) -> None:
        """As on trio. A cancel leaves the old file, the new one, or both under two names."""
        await asyncio.to_thread(replace, path, self.encode_bundle())


class Asked(AbstractAsyncContextManager[Answer]):
    """What `Client.chat` and its like give: enter it for the answer.

    Args:
        asking: Makes the request on trio.
        block: Gives the block that is entered.
    """

    def __init__(
        self, asking: Asking, block: Callable[[Asking], AbstractAsyncContextManager[Answer]]
    ) -> None:
        self._noted = Noted(asking)
        self._block = block(self._noted)

    @property
    def charged_max(self) -> Nano:
        """As on trio: what it may have cost at most, also where entering it was cancelled, or failed."""
        return self._noted.charged_max

    async def __aenter__(self) -> Answer:
        return await self._block.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._block.__aexit__(kind, error, trace)


class _Source:
    """Where an `Answer` takes its pieces from, in one loop."""

    def __init__(self, post: Callable[[Callable[[], None]], None], rings: Bell) -> None:
        self._woken = asyncio.Event()
        self.flow = Flow(rings.ring, post, self._woken.set)
        self._burst = 0

    async def take(self) -> Piece | None:
        self._burst += 1
        if self._burst >= BURST_PIECES:
            self._burst = 0
            await asyncio.sleep(0)
        while (piece := self.flow.pop()) is None:
            if self.flow.is_over:
                return None
            self._burst = 0
            self._woken.clear()
            if not self.flow.has_news:
                await self._woken.wait()
        return piece


class Client:
    """Buys inference for asyncio programs. Made by `open_client`; every method is as the trio client's.

    What a call raises is what the trio client raised, of the same class. Where the client was closed
    meanwhile, or its thread broke down, that is `Unavailable`.
    """

    def __init__(self, portal: Portal[on_trio.Client]) -> None:
        self._portal = portal
        self._purses = Purses(self._call)

    @property
    def purses(self) -> Purses:
        """Whose budgets requests are paid from."""
        return self._purses

    async def models(self) -> tuple[Offered, ...]:
        """List what can be bought, and through which proxies."""
        return await self._call(lambda client: client.models())

    async def quote(
        self, model: str, messages: Sequence[Message], **wishes: Unpack[Wishes]
    ) -> tuple[PriceQuote, ...]:
        """Ask what a chat would cost, of several proxies, the cheapest first. Nothing is bought."""
        return await self._call(lambda client: client.quote(model, messages, **wishes))

    async def embed(self, model: str, inputs: Sequence[str], **wishes: Unpack[Wishes]) -> Embeddings:
        """Turn texts into vectors."""
        return await self._call(lambda client: client.embed(model, inputs, **wishes))

    def chat(self, model: str, messages: Sequence[Message], **wishes: Unpack[Wishes]) -> Asked:
        """Ask for the next turn of a chat. The block is entered once the first piece is there."""
        return self._ask(lambda client: client.chat(model, messages, **wishes))

    def translate(
        self, model: str, text: str, *, to: str, source: str | None = None, **wishes: Unpack[Wishes]
    ) -> Asked:
        """Have a text translated, by a model that chats."""
        return self._ask(lambda client: client.translate(model, text, to=to, source=source, **wishes))

    def summarize(
        self,
        model: str,
        text: str,
        *,
        sentences: int | None = None,
        language: str | None = None,
        **wishes: Unpack[Wishes],
    ) -> Asked:
        """Have a text summed up, by a model that chats."""
        return self._ask(
            lambda client: client.summarize(model, text, sentences=sentences, language=language, **wishes)
        )

    def complete(self, model: str, prompt: str, **wishes: Unpack[Wishes]) -> Asked:
        """Ask for the continuation of a bare prompt, without a chat template."""
        return self._ask(lambda client: client.complete(model, prompt, **wishes))

    def transcribe(
        self, model: str, audio: bytes, *, language: str = "", prompt: str = "", **wishes: Unpack[Wishes]
    ) -> Asked:
        """Have speech written down."""
        return self._ask(
            lambda client: client.transcribe(model, audio, language=language, prompt=prompt, **wishes)
        )

    async def _call(self, work: Callable[[on_trio.Client], Awaitable[Result]]) -> Result:
        return await Pending(self._portal, work).wait()

    def _ask(self, asking: Asking) -> Asked:
        return Asked(asking, self._answered)

    @asynccontextmanager
    async def _answered(self, asking: Asking) -> AsyncIterator[Answer]:
        begun, rings = asyncio.Event(), bell()
        source = _Source(self._portal.post_if_open, rings)
        held = Held(asking, source.flow, lambda: rings.ring(begun.set))
        pending = Pending(self._portal, held.run, ended=begun)
        try:
            await begun.wait()
            if held.report is None:
                raise pending.error
            yield Answer(source, held.report)
        finally:
            await pending.cancel()


@asynccontextmanager
async def open_client(file: Path | str | Loaded[ClientFile]) -> AsyncIterator[Client]:
    """Open a client for as long as the block lasts.

    Args:
        file: The client's TOML file, or what was loaded from it.

    A cancel while it opens ends what was opened so far. Leaving waits until answers are settled and the
    ledger is closed, for `calling.GRACE_SECONDS` at most; a second cancel does not wait for that.

    Raises:
        ConfigurationError: Something in the file or its folder cannot be used, or another process
            owns the ledger.
    """
    loaded = file if isinstance(file, Loaded) else load(ClientFile, Path(file), os.environ)
    async with open_portal(lambda: open_client_on_trio(loaded)) as portal:
        yield Client(portal)
