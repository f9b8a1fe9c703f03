"""What would it cost? Price questions to several proxies at once; nothing is reserved or paid."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import trio

from cocoon_p2p.client.attempt import Attempt
from cocoon_p2p.client.choice import listed_cost
from cocoon_p2p.client.desk import Desk
from cocoon_p2p.client.ends import refusal_error
from cocoon_p2p.client.hedging import loser_cost_bound, may_hedge
from cocoon_p2p.client.link import Borrowed, Link
from cocoon_p2p.client.reception import Reception
from cocoon_p2p.client.request import Request, build_ask
from cocoon_p2p.errors import CocoonError, Refused, Unavailable
from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.exchange.client import Order
from cocoon_p2p.protocols.exchange.client_events import Declined, Disputed, Dropped, End, Lost, Paid, Priced
from cocoon_p2p.protocols.exchange.terms import Terms
from cocoon_p2p.protocols.ids import EXCHANGE_ID_SIZE_BYTES, Trust
from cocoon_p2p.protocols.messages import ExchangeId, ModelOffer, Record, Usage
from cocoon_p2p.units import Nano

QUESTION_SECONDS = 10.0
"How long one proxy may take to answer, connecting included."

_NOTHING = Nano(0)


@dataclass(frozen=True, slots=True)
class PriceQuote:
    """What one worker behind one proxy would do it for. Signed by both, and verified."""

    proxy: PeerId
    terms: Terms
    cost_max: Nano
    "If the prompt were as long as it can be, and the answer too."

    hedge_max: Nano = _NOTHING
    """What it would cost at most besides, where this worker is late with its first token and another one
    comes before it. 0 where that cannot be: not `fast`, or the max cost does not hold two answers."""

    @property
    def worker(self) -> PeerId:
        return self.terms.worker

    @property
    def model(self) -> ModelOffer:
        return self.terms.offer

    @property
    def trust(self) -> Trust:
        return self.terms.trust

    def cost(self, usage: Usage) -> Nano:
        """Say what this usage would cost, commission included."""
        return self.terms.amount(usage)


async def ask_prices(request: Request, records: Sequence[Record], desk: Desk) -> tuple[PriceQuote, ...]:
    """Ask these proxies, all at once, and give their quotes, the cheapest first.

    Raises:
        CocoonError: None of them gave a quote that holds; the error is the first one's.
    """
    quotes: list[PriceQuote] = []
    errors: dict[int, CocoonError] = {}

    async def ask(number: int, record: Record) -> None:
        try:
            with trio.fail_after(QUESTION_SECONDS):
                quotes.append(await _ask(request, record, desk))
        except trio.TooSlowError:
            errors[number] = Unavailable("the proxy did not quote in time")
        except CocoonError as error:
            errors[number] = error

    async with trio.open_nursery() as nursery:
        for number, record in enumerate(records):
            nursery.start_soon(ask, number, record)
    if not quotes:
        raise errors[min(errors)] if errors else Unavailable("no proxy offers the model")
    return tuple(sorted(quotes, key=lambda quote: (quote.cost_max, quote.proxy)))


async def _ask(request: Request, record: Record, desk: Desk) -> PriceQuote:
    link = desk.link(record)
    await link.connect(request.trust)
    borrowed = await link.borrow()
    is_clean = False
    try:
        attempt = _make(request, link, borrowed, desk)
        end = await attempt.run()
        is_clean = attempt.has_ended_cleanly
    finally:
        link.give_back(borrowed, is_clean=is_clean)
    terms = _terms(end)
    link.quoted(terms)
    bound = Usage(request.prompt_tokens_max, 0, request.content.completion_tokens_max, 0)
    cost_max = min(terms.amount(bound), request.max_cost)
    return PriceQuote(link.peer, terms, cost_max, _hedge_max(request, terms, desk))


def _hedge_max(request: Request, terms: Terms, desk: Desk) -> Nano:
    window = min(terms.quote.window_tokens, desk.policy.window_tokens_max)
    first = terms.amount_max(request.prompt_tokens_max, request.content.completion_tokens_max + window)
    # Whoever comes second may be cheaper.
    costs = [cost for one in desk.view.records if (cost := listed_cost(one, request)) is not None]
    if not may_hedge(request, desk.policy) or first + min(costs, default=first) > request.max_cost:
        return _NOTHING
    return loser_cost_bound(terms, request.prompt_tokens_max)


def _make(request: Request, link: Link, borrowed: Borrowed, desk: Desk) -> Attempt:
    ask = build_ask(
        request,
        exchange=ExchangeId(desk.draw(EXCHANGE_ID_SIZE_BYTES)),
        max_cost=request.max_cost,
        seconds_left=request.timeout_seconds,
        channel=None,
        prefer=request.prefer,
        exclude=request.exclude,
    )
    deadline = trio.current_time() + QUESTION_SECONDS
    return Attempt(
        Order(ask, link.peer, desk.network, desk.rules(link.record), deadline),
        stream=borrowed.stream,
        reception=Reception(),
        deliver=lambda attempt, content, usage: None,
        clock=desk.clock,
        learn=partial(desk.learn, via=link.peer, asked=request.trust),
    )


def _terms(end: End) -> Terms:
    match end:
        case Priced(terms):
            return terms
        case Declined(refusal):
            raise refusal_error(refusal)
        case Dropped(error) | Lost(error) | Disputed(error):
            raise error or Refused("the question was dropped", code="cancelled")
        case Paid():
            raise Unavailable("a price question was answered with a bill")
