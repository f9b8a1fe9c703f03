"""When a first token is late, how often a client may buy one answer twice, and what both can cost. Pure.

    expected = 2 x round trip + prompt x prefill, by the worker's own word
    late     = expected x what first tokens took of what was expected, but for the slowest in twenty

A second worker for each answer would double the load of a network that is slow because it is loaded. So
a client buys one answer in ten twice at most, and only the slowest are worth it: "The Tail at Scale"
(Dean and Barroso, 2013) has the numbers.

Spec: protocols/exchange.md (A second worker), payments/settlement.md (Who pays what, when).
"""

from dataclasses import dataclass, replace

from cocoon_p2p.client.policy import Policy
from cocoon_p2p.client.request import Request
from cocoon_p2p.protocols.exchange.terms import Terms
from cocoon_p2p.protocols.ids import Kind, Preference
from cocoon_p2p.protocols.messages import Ask, ModelOffer
from cocoon_p2p.scheduling.expected import BYTES_PER_TOKEN, promised
from cocoon_p2p.units import Nano

FLOOR_SECONDS = 0.5
"No first token is late before: a quicker one is not worth a prompt to most, and links hiccup that long."

SEEN_MAX = 100
"First tokens that are remembered: some minutes of a client that asks much."

SEEN_MIN = 20
"With fewer, what was seen says nothing of the slowest."

STRETCH_UNSEEN = 3.0
"What a first token may take of what was expected before enough were seen."

TIMELY_PERCENT = 95

HEDGE_THOUSANDTHS = 1_000
SAVED_THOUSANDTHS_MAX = 5_000
"A client that was not late for long may hedge this often in a row: five requests."


def may_hedge(request: Request, policy: Policy) -> bool:
    """Say whether an answer may be bought twice where its first token is late."""
    is_fast = request.preference is Preference.FAST and policy.hedges_per_thousand > 0
    return is_fast and request.content.kind in (Kind.CHAT, Kind.COMPLETION)


@dataclass(frozen=True, slots=True)
class FirstTokens:
    """How long first tokens took, as multiples of what was expected: the newest `SEEN_MAX`."""

    stretches: tuple[float, ...] = ()

    def after(self, expected_seconds: float, seconds: float) -> "FirstTokens":
        """Note one that took so long; also one that was not waited for any longer."""
        stretches = (*self.stretches, seconds / expected_seconds)
        return FirstTokens(stretches[-SEEN_MAX:])

    def late_after(self, expected_seconds: float) -> float:
        """Say from when on one is late, in seconds."""
        stretch = STRETCH_UNSEEN
        if len(self.stretches) >= SEEN_MIN:
            stretch = sorted(self.stretches)[(len(self.stretches) - 1) * TIMELY_PERCENT // 100]
        return max(FLOOR_SECONDS, expected_seconds * stretch)


def expected_seconds(offer: ModelOffer, prompt_bytes: int, latency_seconds: float) -> float:
    """Say when the first token of a worker that has no other work is due, after it was asked.

    Args:
        offer: The worker's own, with its rates.
        prompt_bytes: What bounds the prompt's tokens.
        latency_seconds: From an Ask to its Quoted there.
    """
    prefill, _ = promised(offer)
    return 2 * latency_seconds + prefill * max(1, prompt_bytes // BYTES_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Allowance:
    """How often hedging is allowed still. It grows with each request, so it is a share of them."""

    thousandths: int = HEDGE_THOUSANDTHS
    "At first one: also who asks only once may have waited long enough."

    def asked(self, share: int) -> "Allowance":
        """Note one more request that may be hedged; `share` in thousandths."""
        return replace(self, thousandths=min(self.thousandths + share, SAVED_THOUSANDTHS_MAX))

    def hedged(self) -> "Allowance | None":
        """Take one; None: there is none."""
        if self.thousandths < HEDGE_THOUSANDTHS:
            return None
        return replace(self, thousandths=self.thousandths - HEDGE_THOUSANDTHS)


def cost_bound(ask: Ask, terms: Terms, window_tokens_max: int) -> Nano:
    """Say what an exchange can cost at most, on these terms: less than its max cost mostly.

    No count above what the Ask allows is accepted, and no bill above what was covered.
    """
    window = min(terms.quote.window_tokens, window_tokens_max)
    most = terms.amount_max(ask.prompt_tokens_max, ask.completion_tokens_max + window)
    return Nano(min(ask.max_cost, most))


def loser_cost_bound(terms: Terms, prompt_tokens_max: int) -> Nano:
    """Say what a worker is owed at most that lost: its prompt, and what it had sent before it heard of it.

    It sends no more than a window before we have covered more, and for one that lost we do not. Only credit
    that other exchanges left can take it further.
    """
    return terms.amount_max(prompt_tokens_max, terms.quote.window_tokens)
