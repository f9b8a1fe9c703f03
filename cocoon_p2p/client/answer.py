"""An answer as the application holds it: pieces as they come, and what is known about them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

import trio

from cocoon_p2p.attestation.verdict import Verdict
from cocoon_p2p.client.reception import Piece
from cocoon_p2p.errors import AnswerBroken, CocoonError, Unavailable
from cocoon_p2p.identity import PeerId
from cocoon_p2p.private_files import replace
from cocoon_p2p.protocols.contents import FinishReason
from cocoon_p2p.protocols.exchange.bill import Bill
from cocoon_p2p.protocols.exchange.bundle import Bundle, encode_bundle
from cocoon_p2p.protocols.exchange.delivery import NOTHING
from cocoon_p2p.protocols.exchange.terms import Terms
from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.protocols.messages import ExchangeId, ModelOffer, Receipt, Settlement, Usage
from cocoon_p2p.protocols.wishes import ToolCall
from cocoon_p2p.units import Nano


@dataclass(slots=True)
class AnswerPart:
    """One exchange that an answer came by: mostly the only one. What broke off went on by the next.

    Written by its `Inquiry`.
    """

    proxy: PeerId
    terms: Terms
    usage: Usage = NOTHING
    "What this exchange delivered, as its worker counts: what came by earlier ones is in its prompt."

    bill: Bill | None = None
    "Once it is settled."

    bundle: Bundle | None = None
    "What proves the bill to others (protocols/bundle.md)."

    is_open: bool = True
    "Whether something may still be charged for it."

    has_lost: bool = False
    "It was one of two that were asked, and the slower one: nothing of the answer is its."

    @property
    def exchange(self) -> ExchangeId:
        """The id under which both sides keep its papers."""
        return self.terms.quote.exchange

    @property
    def continues(self) -> ExchangeId | None:
        """The exchange that broke off, and that it goes on with."""
        return self.terms.continues

    @property
    def worker(self) -> PeerId:
        return self.terms.worker

    @property
    def cost(self) -> Nano:
        """What it has cost, in nanoTON; before it is settled, what is owed for what was delivered."""
        if self.bill is not None:
            return self.bill.amount
        return self.terms.amount(self.usage) if self.is_open else Nano(0)


@dataclass(slots=True)
class Report:
    """What is known about an answer so far. Written by its `Inquiry`, read by its `Answer`."""

    proxy: PeerId | None = None
    proxy_verdict: Verdict | None = None
    parts: list[AnswerPart] = field(default_factory=list[AnswerPart])
    "In the order in which they came; also those that brought nothing and may cost something."

    usage: Usage = NOTHING
    finish: FinishReason | None = None
    dispute: CocoonError | None = None
    charged: int = 0
    "nanoTON booked for this request, failed attempts included."

    pending: int = 0
    "nanoTON that may still be booked: settlements that are not had yet."

    disputed: int = 0
    "nanoTON that were covered for bills that were not accepted: whoever signed those may still take it."

    attempts: int = 0
    first_token_seconds: float | None = None

    @property
    def newest(self) -> AnswerPart | None:
        """The newest part that the answer is, or was to be, of."""
        return next((part for part in reversed(self.parts) if not part.has_lost), None)

    @property
    def terms(self) -> Terms | None:
        """Of the newest part."""
        return None if (part := self.newest) is None else part.terms

    @property
    def bill(self) -> Bill | None:
        """Of the newest part."""
        return None if (part := self.newest) is None else part.bill

    @property
    def bundle(self) -> Bundle | None:
        """Of the newest part."""
        return None if (part := self.newest) is None else part.bundle

    def part(self, proxy: PeerId, terms: Terms) -> AnswerPart:
        """Give the part that came, or may be charged, on these terms; a new one the first time."""
        for part in self.parts:
            if part.exchange == terms.quote.exchange:
                return part
        self.parts.append(part := AnswerPart(proxy, terms))
        return part


class Source(Protocol):
    """Where an answer's pieces come from."""

    async def take(self) -> Piece | None:
        """Wait for the next piece; None at the end of a complete answer. Raises as iteration does."""
        ...


class AnswerFacts:
    """What is known about one answer, as far as it was read."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._texts: list[str] = []
        self._calls: list[ToolCall] = []

    @property
    def report(self) -> Report:
        """What is known so far, for another view of the same answer."""
        return self._report

    def _keep(self, piece: Piece) -> Piece:
        self._texts.append(piece.text)
        self._calls += piece.calls
        return piece

    # ------------------------------------------------------------ what was said

    @property
    def text(self) -> str:
        """What was read so far."""
        return "".join(self._texts)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """What the model wants called, as far as it was read; also of an answer that broke off afterwards."""
        return tuple(self._calls)

    @property
    def finish(self) -> str | None:
        """Why the model ended: `stop`, `length` or `tool_calls`; None before that."""
        return None if self._report.finish is None else self._report.finish.name.lower()

    @property
    def usage(self) -> Usage:
        """Tokens that were counted so far, cumulative, as of one answer.

        An answer that went on elsewhere has the prompt that it would have had otherwise; what was delivered
        of it and read again as a prompt is in `parts`, and in `cost`.
        """
        return self._report.usage

    @property
    def parts(self) -> tuple[AnswerPart, ...]:
        """The exchanges that it came by, in order, and those that lost (`AnswerPart.has_lost`).

        `worker`, `receipt` and the like are the last one's that did not lose.
        """
        return tuple(self._report.parts)

    @property
    def continued_from(self) -> tuple[AnswerPart, ...]:
        """Those of them that broke off and were gone on with, in order."""
        gone_on_with = {part.continues for part in self.parts}
        return tuple(part for part in self.parts if part.exchange in gone_on_with)

    @property
    def first_token_seconds(self) -> float | None:
        """How long the first piece took, from when the request was made."""
        return self._report.first_token_seconds

    # ------------------------------------------------------------ by whom

    @property
    def model(self) -> ModelOffer | None:
        """The model as the worker's signed record describes it: weights, context, price, demo or not."""
        return None if self._report.terms is None else self._report.terms.offer

    @property
    def worker(self) -> PeerId | None:
        return None if self._report.terms is None else self._report.terms.worker

    @property
    def proxy(self) -> PeerId | None:
        return self._report.proxy

    @property
    def trust(self) -> Trust | None:
        """What was proven about the worker's machine, by this client's own appraisal."""
        return None if self._report.terms is None else self._report.terms.trust

    @property
    def verdict(self) -> Verdict | None:
        """The appraisal behind `trust`, claim by claim; None where nobody has looked."""
        return None if self._report.terms is None else self._report.terms.verdict

    @property
    def proxy_verdict(self) -> Verdict | None:
        """The same of the proxy, which sees sizes and money, never words; None: it was not asked."""
        return self._report.proxy_verdict

    @property
    def exchange(self) -> ExchangeId | None:
        """The id under which both sides keep their papers."""
        return None if self._report.terms is None else self._report.terms.quote.exchange

    @property
    def attempts(self) -> int:
        """How many workers and proxies were tried."""
        return self._report.attempts

    # ------------------------------------------------------------ for how much

    @property
    def cost(self) -> Nano:
        """What the request has cost, in nanoTON, commission included.

        Before it is settled: what is owed for the tokens delivered so far.
        """
        report = self._report
        return Nano(report.charged + sum(part.cost for part in report.parts if part.bill is None))

    @property
    def settlement(self) -> Settlement | None:
        """The proxy's signed account of it, once it was had and accepted."""
        return None if self._report.bill is None else self._report.bill.settlement

    @property
    def receipt(self) -> Receipt | None:
        """The worker's signed receipt inside the settlement."""
        return None if self._report.bill is None else self._report.bill.receipt

    @property
    def bundle(self) -> Bundle | None:
        """What proves the bill to others: all papers, the sealed answer and its key (protocols/bundle.md).

        It opens this answer and nothing else. None before the exchange is settled, and where the bill
        was disputed.
        """
        return self._report.bundle

    def encode_bundle(self) -> bytes:
        """Spell the bundle as `save_bundle` keeps it.

        Raises:
            Unavailable: The exchange is not settled yet, or was disputed.
        """
        if self.bundle is None:
            raise Unavailable(
                "there is no settlement to keep",
                hint="the proxy has not sent one that holds; it is asked again while the client runs",
            )
        return encode_bundle(self.bundle)

    @property
    def dispute(self) -> CocoonError | None:
        """Why the charge was not accepted, if it was not: nothing was paid, both papers are kept."""
        return self._report.dispute


class Answer(AnswerFacts):
    """One answer. Iterate over it for its pieces; leave its block to stop it, and to stop paying.

    Once the iteration has ended the answer is settled (or, if the proxy is silent about it, the
    settlement is fetched in the background).
    """

    def __init__(self, source: Source, report: Report) -> None:
        super().__init__(report)
        self._source = source

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        """Wait for the next piece.

        Raises:
            AnswerBroken: The rest will not come. It carries the text that was delivered, and what
                the request has cost.
            CocoonError: There is no answer at all.
        """
        try:
            piece = await self._source.take()
        except AnswerBroken as error:
            error.text = self.text
            raise
        if piece is None:
            raise StopAsyncIteration
        return self._keep(piece)

    async def read(self) -> str:
        """Read the rest and give the whole text. Raises as iteration does."""
        async for _ in self:
            pass
        return self.text

    async def save_bundle(self, path: Path) -> None:
        """Write the bundle to a file of mode 0600, in the place of one that may be there.

        A cancel leaves the old file, the new one, or both under two names.

        Raises:
            Unavailable: The exchange is not settled yet, or was disputed.
            ConfigurationError: The file cannot be written.
        """
        await trio.to_thread.run_sync(replace, path, self.encode_bundle())
