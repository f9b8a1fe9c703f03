"""All that the kit says itself. Make a subclass to say it in another way, or another language."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cocoon_p2p.client.answer import AnswerFacts
from cocoon_p2p.errors import AnswerBroken, CocoonError
from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.telegram.styled import Style, Styled, join, sendable, styled
from cocoon_p2p.units import Nano, format_ton

_LATER = "Try again in a while."

REFUSALS: Final[Mapping[str, str]] = {
    "unknown-model": "Nobody offers this model now. Choose another one with /model.",
    "no-capacity": "Everybody who could answer is busy.",
    "price-above-limit": "Everybody who could answer asks for more than this bot pays for one answer.",
    "trust-below-request": "Nobody who could answer proves as much about their machine as this bot asks for.",
    "attestation-failed": "Nobody who could answer proves as much about their machine as this bot asks for.",
    "policy-rejected": "This bot's rules about whom to trust do not hold any more: its owner has to act.",
    "no-credit": "This bot's deposit is used up. Its owner has to fill it.",
    "balance-too-low": "This bot's wallet is empty. Its owner has to fill it.",
    "too-many-purses": "This bot serves too many chats already.",
    "over-budget": "What this chat may spend is spent. /balance says more.",
    "channel-unknown": f"The payment could not be agreed on. {_LATER}",
    "stale": f"Prices have just changed. {_LATER}",
    "too-large": "This is more than the model can read at once. /new begins a new chat.",
    "deadline": "The time for this answer was up.",
    "draining": f"The node that was to answer is being shut down. {_LATER}",
    "malformed": "The node that was to answer did not understand the question.",
    "rate-limited": "Too many questions in a short time.",
    "engine-failed": "The model broke down over this.",
    "session-unknown": f"The encrypted session was lost. {_LATER}",
    "chain-unreachable": f"The payment network cannot be reached. {_LATER}",
    "already-running": "This very question is being answered already.",
    "unknown-feature": "No model that is offered can do this.",
    "wrong-network": "This bot and the node that it asked belong to different networks.",
    "excluded": "Everybody who could answer has failed here lately.",
    "unknown-exchange": f"The node that was to answer has forgotten the question. {_LATER}",
    "worker-lost": "The connection to the machine that answered was lost.",
    "proxy-lost": "The connection to the network was lost.",
    "client-lost": "The connection to the network was lost.",
    "cancelled": "It was stopped.",
    "seal-broken": "What came could not be decrypted, and was not taken.",
    "unsupported-kind": "No model that is offered can do this.",
    "other-weights": "Nobody offers this model with the weights that this bot insists on.",
    "wrong-amount": "The node asked for the wrong amount, and was not paid it.",
    "unavailable": f"The network cannot be reached now. {_LATER}",
    "answer-broken": "The connection to the network was lost.",
    "configuration": "This cannot be asked like that.",
    "no-speech-model": "Nobody offers a model now that writes down speech.",
    "no-model": f"Nobody offers a model now. {_LATER}",
    "sound-too-large": "This recording is too large.",
    "store-failed": "This bot cannot read what it remembers. Its owner can see why in its log.",
    "download-failed": "Telegram did not hand the recording over. Send it again.",
}
"What each code of an error means to a person who only wanted an answer."

_UNKNOWN = "This could not be answered."

NAME_MAX_CHARACTERS = 48


@dataclass(frozen=True, slots=True)
class Bill:
    """What the footer tells."""

    cost: Nano
    "In nanoTON."

    is_settled: bool = True
    "Whether that is what was charged, and not only what is owed so far."

    model: str = ""
    trust: Trust | None = None
    is_demo: bool = False


def bill_of(answer: AnswerFacts) -> Bill:
    """Read from an answer what the footer tells."""
    offer = answer.model
    return Bill(
        cost=answer.cost,
        # A proxy may be silent about a part that broke off, or about a worker that was the slower one.
        is_settled=(answer.settlement is not None or answer.cost == 0) and not answer.report.pending,
        model="" if offer is None else offer.name,
        trust=answer.trust,
        is_demo=offer is not None and offer.demo,
    )


class Wording:
    """What is said, in plain English."""

    stop_button = "\u23f9 Stop"
    stopped = "Stopped."
    shut_down = "Ask again in a moment: the bot is being restarted."
    cut = "This is long enough: the rest was not bought."
    broken_off = "It broke off here."
    nothing_said = "The model said nothing."
    nothing_to_stop = "There is nothing to stop."
    not_yours = "Only who asked, or an administrator, can stop this."
    inline_title = "Ask"
    busy = "One thing after the other, please: a few of your questions are still waiting."

    def refusal(self, error: CocoonError) -> str:
        """Say why there is no answer, or no more of one, and when there may be."""
        told = REFUSALS.get(error.code, _UNKNOWN)
        if error.retry_after is None or error.retry_after <= 0:
            return told
        return f"{told} That may change in {self.span(error.retry_after)}."

    def span(self, seconds: float) -> str:
        """Say how long something takes."""
        for length, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
            if seconds >= 2 * length:
                return f"{round(seconds / length)} {name}s"
        return f"{max(1, round(seconds))} s"

    def footer(self, bill: Bill) -> Styled:
        """Say what an answer cost, whose it is, and what is not to be expected of it."""
        about = "" if bill.is_settled else "about "
        name = " ".join(sendable(bill.model).split())[:NAME_MAX_CHARACTERS]
        facts = [f"{about}{format_ton(bill.cost)}", *([name] if name else ())]
        if bill.trust is not None:
            facts.append(f"trust {bill.trust}")
        lines = [" \u00b7 ".join(facts), *self.warnings(bill)]
        return styled("\n".join(lines), Style.ITALIC)

    def warnings(self, bill: Bill) -> tuple[str, ...]:
        """Say what is not to be expected, a line each."""
        found: list[str] = []
        if bill.is_demo:
            found.append("\u26a0\ufe0f A demo model: it knows little and makes up the rest.")
        if bill.trust in (Trust.OPEN, Trust.SIM):
            found.append("\u26a0\ufe0f Whoever runs the machine that answered can read this chat.")
        return tuple(found)

    def ending(self, text: Styled, note: str, bill: Bill | None) -> Styled:
        """Put together what stands in the end: the answer, what happened to it, what it cost."""
        parts = [text, Styled(note), Styled("") if bill is None else self.footer(bill)]
        shown: list[Styled] = []
        for part in parts:
            if part.text.strip():
                shown += [Styled("\n\n"), part] if shown else [part]
        return join(shown)

    def note(self, error: CocoonError | None, *, has_text: bool) -> str:
        """Say how an answer failed; empty where it did not."""
        if error is None:
            return "" if has_text else self.nothing_said
        broken = f"{self.broken_off} " if has_text or isinstance(error, AnswerBroken) else ""
        return f"{broken}{self.refusal(error)}"
