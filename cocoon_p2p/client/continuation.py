"""How an answer that broke off goes on with another worker: what the reader has, what is asked for. Pure.

    exchange 1:  prompt                 -> piece piece piece (lost)
    exchange 2:  prompt + those pieces  ->                          piece piece (lost)
    exchange 3:  prompt + all of those  ->                                      piece piece end
    the reader:                            piece piece piece        piece piece piece piece end

Rule 1: the next exchange begins right behind the last piece that came: nothing is lost or repeated.
Rule 2: it is asked of the same weights and tokenizer, on a machine of which as much is proven.
Rule 3: what the reader asked for holds for the whole: tokens, stop strings, max cost, deadline.

Spec: protocols/exchange.md (Continuation), payments/settlement.md (Who pays what, when).
"""

from dataclasses import dataclass, field, replace

from cocoon_p2p.client.bounds import prompt_tokens_bound, told_bound
from cocoon_p2p.client.request import Request
from cocoon_p2p.client.seam import Seam, seam_after
from cocoon_p2p.errors import LocalProtocolError
from cocoon_p2p.protocols.contents import (
    AnswerContent,
    FinishReason,
    RequestContent,
    cut_parts,
    encode_request,
)
from cocoon_p2p.protocols.exchange.carried import wanted_by
from cocoon_p2p.protocols.exchange.delivery import NOTHING
from cocoon_p2p.protocols.exchange.terms import Terms
from cocoon_p2p.protocols.ids import Kind
from cocoon_p2p.protocols.messages import ExchangeId, Usage

CONTINUE = "continue"
"The feature of a worker that can go on from a given text."


def obstacle(content: RequestContent) -> str | None:
    """Say why an answer to this request must not be gone on with elsewhere; None if it may.

    What is named here some engine would go on with, and wrongly: the reader could not tell.
    """
    has_penalties = (content.frequency_penalty_milli, content.presence_penalty_milli) != (None, None)
    obstacles = (
        (content.kind not in (Kind.CHAT, Kind.COMPLETION), f"this is {content.kind.name.lower()}"),
        # A call that was delivered is in no text, and half of one looks like text.
        (wanted_by(content).may_call, "it may call tools"),
        # A grammar begins at its beginning: some servers would begin the form anew in its midst.
        (content.constraint is not None, "it has a form"),
        # They may come a piece after their text, and then they are lost with their worker.
        (content.logprobs is not None, "it tells logprobs"),
        # Some engines count only what they made themselves.
        (has_penalties, "it has penalties"),
        # One that begins before the seam and ends behind it would come through.
        (bool(content.banned), "it has banned strings"),
    )
    return next((why for is_met, why in obstacles if is_met), None)


@dataclass(slots=True)
class Progress:
    """What the reader of one answer has, whoever delivered it. Belongs to one `Inquiry`."""

    request: RequestContent
    usage: Usage = NOTHING
    """As of one answer: the prompt as it was counted first, without what was delivered of the answer; every
    completion token that came, once."""

    exchange: ExchangeId | None = None
    "By which the last piece came."

    origin: Terms | None = None
    "On which the first piece came: the next worker has these weights, and proves as much."

    breaks: int = 0
    "How often it broke off."

    is_stopped: bool = False
    "A stop string was completed at a seam: whatever still comes is not part of the answer."

    _texts: list[str] = field(default_factory=list[str])
    _before: Usage = NOTHING
    "What came by earlier exchanges."

    _seam: Seam = field(default_factory=Seam)

    @property
    def text(self) -> str:
        """All that the reader was given."""
        return "".join(self._texts)

    @property
    def tokens(self) -> int:
        """Completion tokens that were delivered, all told."""
        return self.usage.completion + self.usage.reasoning

    @property
    def tokens_left(self) -> int:
        """How many more the answer may have."""
        return self.request.completion_tokens_max - self.tokens

    def take(self, content: AnswerContent, usage: Usage, terms: Terms) -> AnswerContent:
        """Add a piece as a worker delivered it, and give what of it is for the reader.

        Args:
            content: What was under its seal.
            usage: Of its exchange, cumulative.
            terms: Of its exchange.
        """
        self.origin = self.origin or terms
        self.exchange = terms.quote.exchange
        before = self._before
        prompt = before if self.breaks else usage
        self.usage = Usage(
            prompt=prompt.prompt,
            cached=prompt.cached,
            completion=before.completion + usage.completion,
            reasoning=before.reasoning + usage.reasoning,
        )
        if self.is_stopped:
            return AnswerContent("")
        self._seam, text, is_stopped = self._seam.feed(content.text)
        if is_stopped:
            self.is_stopped = True
            return AnswerContent("", FinishReason.STOP)
        if content.finish is not None:
            text += self._open_seam()
        self._texts.append(text)
        return replace(content, text=text)

    def break_off(self) -> str:
        """Note that no more comes by this exchange. Gives what was held back, which the reader gets now."""
        held = self._open_seam()
        self._texts = [self.text + held]
        self._seam = seam_after(self._texts[0], self.request.stop)
        self._before = self.usage
        self.breaks += 1
        return held

    def _open_seam(self) -> str:
        held, self._seam = self._seam.held, Seam()
        return held


def resumed(request: Request, progress: Progress) -> Request | None:
    """Make of a request that broke off what is asked of the next worker; None if it has become too long.

    Its deadline and what may still be spent are its caller's to bring down.
    """
    origin, text = progress.origin, progress.text
    assert origin is not None, "what has no first piece did not break off"
    content = replace(request.content, answer_prefix=text, completion_tokens_max=progress.tokens_left)
    try:
        cut_parts(encode_request(content))
    except LocalProtocolError:
        return None
    bound = prompt_tokens_bound(content)
    return replace(
        request,
        content=content,
        prompt_tokens_bound=bound,
        prompt_tokens_max=told_bound(bound),
        features=tuple(sorted({*request.features, CONTINUE})) if text else request.features,
        trust=origin.trust,
        weights_hash=origin.offer.weights_hash,
    )
