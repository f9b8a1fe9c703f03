"""The client, as an application uses it.

    async with Client.open(transport, directory, accounts, identity, network) as client:
        async with client.chat("demo", [{"role": "user", "content": "Hello"}], max_cost=30_000) as answer:
            async for piece in answer:
                print(piece.text, end="")
        print(answer.cost, answer.trust)

Leaving the inner block early stops the worker within one decoding step, and the paying with it.
"""

import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Unpack

import trio

from cocoon_p2p.attestation.doorkeeper import Doorkeeper
from cocoon_p2p.client import presets
from cocoon_p2p.client.answer import Answer, Report
from cocoon_p2p.client.asked import Asked
from cocoon_p2p.client.choice import Offered, list_offers, rank
from cocoon_p2p.client.desk import Desk
from cocoon_p2p.client.embeddings import Embeddings, collect
from cocoon_p2p.client.inquiry import Inquiry
from cocoon_p2p.client.link import Link
from cocoon_p2p.client.messages import Message, read_messages
from cocoon_p2p.client.policy import Policy
from cocoon_p2p.client.proxies import ProxyView
from cocoon_p2p.client.purses import Purses
from cocoon_p2p.client.question import PriceQuote, ask_prices
from cocoon_p2p.client.reception import Reception
from cocoon_p2p.client.request import Request, build_request
from cocoon_p2p.client.wishes import Wishes
from cocoon_p2p.errors import AttestationFailed, ConfigurationError, Refused, Unavailable
from cocoon_p2p.identity import NetworkId, PeerId
from cocoon_p2p.journal import Journal
from cocoon_p2p.ledger import Store
from cocoon_p2p.network.directory import Directory
from cocoon_p2p.network.transport import Transport
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.payments.settlement import Accounts, PayingAccount
from cocoon_p2p.protocols.exchange.client import SETTLE_SECONDS
from cocoon_p2p.protocols.messages import Record
from cocoon_p2p.protocols.wishes import Audio
from cocoon_p2p.units import Nano

log = logging.getLogger(__name__)

LEAVE_SECONDS = 2 * SETTLE_SECONDS
"How long leaving an answer may take: the settlement is waited for, and a disk written."


class Client:
    """Buys inference. Made by `Client.open`; many requests may run in it at once."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        transport: Transport,
        directory: Directory,
        accounts: Accounts,
        network: NetworkId,
        *,
        policy: Policy | None = None,
        clock: Callable[[], float] = time.time,
        doorkeeper: Doorkeeper | None = None,
        journal: Journal | None = None,
        draw: Callable[[int], bytes] = os.urandom,
    ) -> "AsyncIterator[Client]":
        """Run a client while the block runs.

        Args:
            transport: Where it speaks; it only dials.
            directory: Where it finds proxies.
            accounts: What it pays through. They outlive the client.
            network: The network that all papers must be for.
            policy: Its own rules.
            clock: Seconds since the Unix epoch.
            doorkeeper: Finds out what machines prove; None: nothing is ever proven.
            journal: Where exchanges are noted once they have ended; None: nobody looks.
            draw: Draws random bytes.

        A cancel ends the block's body first; answers that are open in it are cancelled and
        settled, which takes at most `LEAVE_SECONDS`.
        """
        policy = policy or Policy()
        view = ProxyView(directory, network, clock, policy.refresh_seconds)
        async with open_service_nursery() as outer:
            inner: trio.Nursery = await outer.start(_keep_open)
            desk = Desk(
                transport,
                accounts,
                network,
                policy,
                view,
                inner,
                clock,
                draw,
                doorkeeper,
                Journal() if journal is None else journal,
            )
            try:
                await desk.standings.load()
                await desk.purses.load()
                inner.start_soon(view.keep_fresh)
                yield cls(desk)
            finally:
                desk.close()
                inner.cancel_scope.cancel()

    @property
    def purses(self) -> Purses:
        """Whose budgets requests are paid from."""
        return self._desk.purses

    @property
    def ledger(self) -> Store:
        """The ledger that its accounts are in, where a program can keep notes of its own."""
        return self._desk.accounts.store

    async def models(self) -> tuple[Offered, ...]:
        """List what can be bought, and through which proxies; waits only if nothing is offered yet."""
        desk = self._desk
        records = await desk.view.known(desk.policy.first_view_seconds)
        if records and not any(record.models for record in records):
            records = await desk.view.refreshed(desk.policy.first_view_seconds)
        return list_offers(records, desk.links)

    async def account(self, proxy: PeerId | None = None) -> PayingAccount:
        """Give the account that a proxy is paid through, once the proxy has accepted it.

        On a chain a new account has no deposit yet: `Treasury.fund` makes one.

        Args:
            proxy: Which one; None: the first that offers something.

        Raises:
            Refused: The directory does not know the proxy, or it does not want us.
            Unavailable: Nobody offers anything, or the proxy does not answer.
        """
        link = await self._reached(proxy)
        return await link.pay_through(Nano(0))

    async def connect(self, proxy: PeerId) -> None:
        """Connect to a proxy, to which nothing is said that it has to prove anything for.

        Raises:
            Refused: The directory does not know the proxy.
            Unavailable: The proxy does not answer.
        """
        with suppress(AttestationFailed):
            await self._reached(proxy)

    async def _reached(self, proxy: PeerId | None) -> Link:
        desk = self._desk
        records = await desk.view.known(desk.policy.first_view_seconds)
        wanted = _wanted(records, proxy)
        if not wanted:
            # A view that is young may lack a proxy, or what one sells.
            wanted = _wanted(await desk.view.refreshed(desk.policy.first_view_seconds), proxy)
        if not wanted and proxy is None:
            raise Unavailable("no proxy offers anything", hint="is the bootstrap address right, and up?")
        if not wanted:
            raise Refused("the directory does not know this proxy", code="proxy-unknown")
        link = desk.link(wanted[0])
        await link.connect()
        return link

    def chat(self, model: str, messages: Sequence[Message], **wishes: Unpack[Wishes]) -> Asked:
        """Ask for the next turn of a chat.

        Args:
            model: The model's name, as `models` lists it.
            messages: The chat so far; the last message is the one to be answered.
            wishes: How it is to be answered.

        Returns:
            A block that is entered once the first piece is there. Entering raises

            Refused: Nobody will do it so; `code`, `hint` and `candidates` say what would have to change.
            Unavailable: Nobody could be reached.
            AnswerBroken: The time was up, or the money.
            AttestationFailed: Less is proven about the workers than was asked for.

            Leaving it early, also by a cancel, stops the worker and waits for the settlement, at
            most `LEAVE_SECONDS`.

        Raises:
            ConfigurationError: A message or wish is out of range.
        """
        turns = read_messages(messages)
        return self._ask(build_request(model, wishes, self._desk.policy, messages=turns))

    def translate(
        self, model: str, text: str, *, to: str, source: str | None = None, **wishes: Unpack[Wishes]
    ) -> Asked:
        """Have a text translated, by a model that chats. As `chat` otherwise.

        The text is told as what is to be worked on, not heeded (`presets` says how far that goes).

        Args:
            model: The model's name.
            text: What is to be translated.
            to: The language, by its English name or its ISO 639-1 code.
            source: The one it is in; None: the model sees.
            wishes: How it is to be answered.
        """
        return self.chat(model, presets.translation(text, to=to, source=source), **wishes)

    def summarize(
        self,
        model: str,
        text: str,
        *,
        sentences: int | None = None,
        language: str | None = None,
        **wishes: Unpack[Wishes],
    ) -> Asked:
        """Have a text summed up, by a model that chats. As `chat` otherwise, and as `translate` of the text.

        Args:
            model: The model's name.
            text: What is to be summed up.
            sentences: How many it may have, 20 at most; None: as many as the model thinks right.
            language: Of the summary; None: the text's own.
            wishes: How it is to be answered.
        """
        return self.chat(model, presets.summary(text, sentences=sentences, language=language), **wishes)

    def complete(self, model: str, prompt: str, **wishes: Unpack[Wishes]) -> Asked:
        """Ask for the continuation of a bare prompt, without a chat template. As `chat` otherwise."""
        return self._ask(build_request(model, wishes, self._desk.policy, prompt=prompt))

    def transcribe(
        self, model: str, audio: bytes, *, language: str = "", prompt: str = "", **wishes: Unpack[Wishes]
    ) -> Asked:
        """Have speech written down. As `chat` otherwise.

        Args:
            model: One that is offered for transcription.
            audio: A whole file: WAV, Ogg Opus, MP3, MP4 or WebM, as far as the worker's engine knows them.
            language: ISO 639-1, such as `en`; empty: the model tells.
            prompt: Names and words that may occur in it.
            wishes: How it is to be answered. Left out, `completion_tokens_max` is as much as can be said
                in the time that the file's size allows.

        The prompt is counted in seconds: 50 tokens each. How long a file can be that is neither WAV nor
        Ogg Opus is reckoned at 6 kbit/s, so a `max_cost` close to what it will cost can be too low to begin.
        """
        sound = Audio(audio, language or None)
        return self._ask(build_request(model, wishes, self._desk.policy, audio=sound, prompt=prompt or None))

    async def embed(self, model: str, inputs: Sequence[str], **wishes: Unpack[Wishes]) -> Embeddings:
        """Turn texts into vectors.

        Args:
            model: One that is offered for embedding.
            inputs: The texts, one at least.
            wishes: As for `chat`, but only those that are not about tokens: `max_cost`, `trust`,
                `timeout_seconds`, `prefer`, `exclude`, `weights`.

        A cancel stops the worker, and waits for the settlement as `chat` does.

        Raises:
            ConfigurationError: A text or wish is out of range.
            CocoonError: As entering a `chat`, and reading its answer.
        """
        async with self.vectors(model, inputs, **wishes) as answer:
            return await collect(answer)

    def vectors(self, model: str, inputs: Sequence[str], **wishes: Unpack[Wishes]) -> Asked:
        """Ask for texts as vectors, piece by piece: `embed` reads them all. As `chat` otherwise."""
        if isinstance(inputs, str) or not inputs:
            raise ConfigurationError("texts to embed come in a list, one at least")
        return self._ask(build_request(model, wishes, self._desk.policy, inputs=tuple(inputs)))

    async def quote(
        self, model: str, messages: Sequence[Message], **wishes: Unpack[Wishes]
    ) -> tuple[PriceQuote, ...]:
        """Ask what a chat would cost, of several proxies, the cheapest first. Nothing is bought.

        Raises:
            CocoonError: Nobody would do it; see `chat`.
        """
        desk = self._desk
        request = build_request(model, wishes, desk.policy, messages=read_messages(messages))
        with desk.purses.reserved(request.purse, request.max_cost) as reservation:
            # A quote is not bought: nothing stays set aside for it.
            request = replace(request, max_cost=reservation.amount)
        records = await desk.view.known(desk.policy.first_view_seconds)
        ranked = rank(records, desk.links, request, desk.policy, now=trio.current_time())
        if not ranked:
            # A worker that has just come stands in no view yet.
            records = await desk.view.refreshed(desk.policy.first_view_seconds)
            ranked = rank(records, desk.links, request, desk.policy, now=trio.current_time())
        return await ask_prices(request, ranked[: desk.policy.attempts_max], desk)

    def _ask(self, request: Request) -> Asked:
        report = Report()
        return Asked(self._answered(request, report), report)

    @asynccontextmanager
    async def _answered(self, request: Request, report: Report) -> AsyncIterator[Answer]:
        reception = Reception()
        inquiry = Inquiry(request, self._desk, reception, report)
        self._desk.nursery.start_soon(inquiry.run)
        try:
            await reception.begun()
            yield Answer(reception, report)
        finally:
            reception.leave()
            with trio.move_on_after(LEAVE_SECONDS, shield=True) as scope:
                await reception.ended.wait()
            if scope.cancelled_caught:
                inquiry.runs_on()
                log.warning("left an answer before it was settled")


def _wanted(records: Sequence[Record], proxy: PeerId | None) -> list[Record]:
    return [one for one in records if (one.peer == proxy if proxy else one.models)]


async def _keep_open(task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """Hold a nursery that a cancel from outside does not reach: answers settle in it first."""
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            task_status.started(nursery)
            await trio.sleep_forever()
