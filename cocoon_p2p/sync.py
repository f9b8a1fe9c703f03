"""The client for scripts and notebooks: the same names, and every call waits.

    with sync.open_client("client.toml") as client:
        with client.chat("demo", [{"role": "user", "content": "Hello"}], max_cost=30_000) as answer:
            for piece in answer:
                print(piece.text, end="")
        print(answer.cost, answer.trust)

The network runs in a thread of its own, so it goes on between two cells of a notebook. Any thread of
the process may use a client. Ctrl-C while something waits cancels it, and waits for its end as leaving
an answer does; a second Ctrl-C does not.
"""

import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar, Unpack

import outcome

from cocoon_p2p import client as on_trio
from cocoon_p2p.aio.calling import GRACE_SECONDS
from cocoon_p2p.aio.flow import Flow
from cocoon_p2p.aio.holding import Asking, Held, Noted
from cocoon_p2p.aio.portal import Outcome, Portal
from cocoon_p2p.client import Budget, Embeddings, Offered, Piece, PriceQuote, PurseView
from cocoon_p2p.client.answer import AnswerFacts, Report
from cocoon_p2p.client.messages import Message
from cocoon_p2p.client.wishes import Wishes
from cocoon_p2p.config import ClientFile, Loaded, load
from cocoon_p2p.errors import AnswerBroken
from cocoon_p2p.node import open_client as open_client_on_trio
from cocoon_p2p.private_files import replace
from cocoon_p2p.units import Nano

Subject = TypeVar("Subject")
Result = TypeVar("Result")


class Answer(AnswerFacts):
    """One answer. Iterate over it for its pieces; leave its block to stop it, and to stop paying."""

    def __init__(self, source: "_Source", report: Report) -> None:
        super().__init__(report)
        self._source = source

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Piece:
        """Wait for the next piece. Raises as on trio."""
        try:
            piece = self._source.take()
        except AnswerBroken as error:
            error.text = self.text
            raise
        if piece is None:
            raise StopIteration
        return self._keep(piece)

    def read(self) -> str:
        """Read the rest and give the whole text. Raises as iteration does."""
        for _ in self:
            pass
        return self.text

    def save_bundle(self, path: Path) -> None:
        """Write the bundle to a file of mode 0600. Raises as on trio."""
        replace(path, self.encode_bundle())


class Asked(AbstractContextManager[Answer]):
    """What `Client.chat` and its like give: enter it for the answer.

    Args:
        asking: Makes the request on trio.
        block: Gives the block that is entered.
    """

    def __init__(self, asking: Asking, block: Callable[[Asking], AbstractContextManager[Answer]]) -> None:
        self._noted = Noted(asking)
        self._block = block(self._noted)

    @property
    def charged_max(self) -> Nano:
        """As on trio: what it may have cost at most, also where entering it was interrupted, or failed."""
        return self._noted.charged_max

    def __enter__(self) -> Answer:
        return self._block.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._block.__exit__(kind, error, trace)


class Purses:
    """Whose budgets requests are paid from. Every method is as the trio client's."""

    def __init__(self, call: "_Call") -> None:
        self._call = call

    def allow(self, name: str, budget: Budget | None) -> PurseView:
        """Give a purse a budget in place of the one that it has; None: what it spends is only counted."""
        return self._call(lambda client: client.purses.allow(name, budget))

    def top_up(self, name: str, amount: Nano, *, once: str | None = None) -> PurseView:
        """Add money that is spent once the budget is; with `once`, only the first time that it is told."""
        return self._call(lambda client: client.purses.top_up(name, amount, once=once))

    def look(self, name: str) -> PurseView:
        """Show one purse."""
        return self._call(lambda client: client.purses.look(name))

    def list(self, prefix: str = "") -> tuple[PurseView, ...]:
        """Show all purses whose names begin so, in the order of their names."""
        return self._call(lambda client: client.purses.list(prefix))


class _Call(Protocol):
    """Has something done by the client on trio, and waits for it."""

    def __call__(self, work: Callable[[on_trio.Client], Awaitable[Result]], /) -> Result: ...


class Client:
    """Buys inference, waiting. Made by `open_client`; every method is as the trio client's."""

    def __init__(self, portal: Portal[on_trio.Client]) -> None:
        self._portal = portal
        self._purses = Purses(self._call)

    @property
    def purses(self) -> Purses:
        """Whose budgets requests are paid from."""
        return self._purses

    def models(self) -> tuple[Offered, ...]:
        """List what can be bought, and through which proxies."""
        return self._call(lambda client: client.models())

    def quote(
        self, model: str, messages: Sequence[Message], **wishes: Unpack[Wishes]
    ) -> tuple[PriceQuote, ...]:
        """Ask what a chat would cost, of several proxies, the cheapest first. Nothing is bought."""
        return self._call(lambda client: client.quote(model, messages, **wishes))

    def embed(self, model: str, inputs: Sequence[str], **wishes: Unpack[Wishes]) -> Embeddings:
        """Turn texts into vectors."""
        return self._call(lambda client: client.embed(model, inputs, **wishes))

    def chat(self, model: str, messages: Sequence[Message], **wishes: Unpack[Wishes]) -> "Asked":
        """Ask for the next turn of a chat. The block is entered once the first piece is there."""
        return self._ask(lambda client: client.chat(model, messages, **wishes))

    def translate(
        self, model: str, text: str, *, to: str, source: str | None = None, **wishes: Unpack[Wishes]
    ) -> "Asked":
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
    ) -> "Asked":
        """Have a text summed up, by a model that chats."""
        return self._ask(
            lambda client: client.summarize(model, text, sentences=sentences, language=language, **wishes)
        )

    def complete(self, model: str, prompt: str, **wishes: Unpack[Wishes]) -> "Asked":
        """Ask for the continuation of a bare prompt, without a chat template."""
        return self._ask(lambda client: client.complete(model, prompt, **wishes))

    def transcribe(
        self, model: str, audio: bytes, *, language: str = "", prompt: str = "", **wishes: Unpack[Wishes]
    ) -> "Asked":
        """Have speech written down."""
        return self._ask(
            lambda client: client.transcribe(model, audio, language=language, prompt=prompt, **wishes)
        )

    def _call(self, work: Callable[[on_trio.Client], Awaitable[Result]]) -> Result:
        return _Pending[on_trio.Client, Result](self._portal).run(work)

    def _ask(self, asking: Asking) -> "Asked":
        return Asked(asking, self._answered)

    @contextmanager
    def _answered(self, asking: Asking) -> Iterator[Answer]:
        begun, source = Event(), _Source(self._portal.post_if_open)
        held = Held(asking, source.flow, begun.set)
        pending = _Pending[on_trio.Client, None](self._portal, ended=begun)
        try:
            pending.begin(held.run)
            begun.wait()
            if held.report is None:
                raise pending.error
            yield Answer(source, held.report)
        finally:
            pending.cancel()


@contextmanager
def open_client(file: Path | str | Loaded[ClientFile]) -> Iterator[Client]:
    """Open a client for as long as the block lasts.

    Args:
        file: The client's TOML file, or what was loaded from it.

    Leaving waits until answers are settled and the ledger is closed, for `GRACE_SECONDS` at most.

    Raises:
        ConfigurationError: Something in the file or its folder cannot be used, or another process
            owns the ledger.
    """
    loaded = file if isinstance(file, Loaded) else load(ClientFile, Path(file), os.environ)
    with open_portal(lambda: open_client_on_trio(loaded)) as portal:
        yield Client(portal)


@contextmanager
def open_portal(opens: Callable[[], AbstractAsyncContextManager[Subject]]) -> Iterator[Portal[Subject]]:
    """Run a trio thread while the block runs. Raises whatever opening raised, or ended the thread."""
    portal, ready, closed = Portal(opens), _Told[None](), _Told[None]()
    try:
        portal.start(ready.tell, closed.tell)
        ready.wait()
        yield portal
    finally:
        portal.close()
        portal.join(GRACE_SECONDS)
        if closed.event.is_set():
            closed.wait()


class _Told(Generic[Result]):
    """What the trio thread tells once."""

    def __init__(self, also: Event | None = None) -> None:
        self.event = Event()
        self.outcome: Outcome[Result] | None = None
        self._also = also

    def tell(self, result: Outcome[Result]) -> None:
        self.outcome = result
        self.event.set()
        if self._also is not None:
            self._also.set()

    def wait(self) -> Result:
        self.event.wait()
        assert self.outcome is not None, "it was told"
        return self.outcome.unwrap()


class _Pending(Generic[Subject, Result]):
    """A call to the trio thread. An interrupt may come at any step, so it can be cancelled before it is
    begun, and is cancelled when nobody has it any more."""

    def __init__(self, portal: Portal[Subject], ended: Event | None = None) -> None:
        # The trio thread has these two, and not the call itself.
        self._told = _Told[Result](also=ended)
        self._call = portal.prepare()
        self._portal = portal
        self._is_begun = False

    def __del__(self) -> None:
        if self._told.outcome is None:
            self._call.cancel()

    def begin(self, work: Callable[[Subject], Awaitable[Result]]) -> None:
        self._portal.submit(work, self._told.tell, call=self._call)
        self._is_begun = True

    def run(self, work: Callable[[Subject], Awaitable[Result]]) -> Result:
        """Begin it, and wait for its result."""
        try:
            self.begin(work)
            return self._told.wait()
        finally:
            if self._told.outcome is None:
                self.cancel()

    @property
    def error(self) -> BaseException:
        assert isinstance(self._told.outcome, outcome.Error)
        return self._told.outcome.error

    def cancel(self) -> None:
        """Cancel the work, and wait for its end, for `GRACE_SECONDS` at most."""
        self._call.cancel()
        if self._is_begun and self._portal.may_be_waited_for:
            self._told.event.wait(GRACE_SECONDS)


class _Source:
    """Where an `Answer` takes its pieces from, in any thread."""

    def __init__(self, post: Callable[[Callable[[], None]], None]) -> None:
        self._woken = Event()
        self.flow = Flow(lambda wake: wake(), post, self._woken.set)

    def take(self) -> Piece | None:
        while (piece := self.flow.pop()) is None:
            if self.flow.is_over:
                return None
            self._woken.clear()
            if not self.flow.has_news:
                self._woken.wait()
        return piece
