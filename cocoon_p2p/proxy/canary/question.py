"""What a proxy asks its workers: something short that somebody might ask, hardly ever the same twice.

A worker that knew which requests are the proxy's could serve only those. So they differ in words,
in length and in limits, and come sealed over the same way as everybody's.
"""

from dataclasses import dataclass

from cocoon_p2p.protocols.contents import ChatTurn, RequestContent
from cocoon_p2p.protocols.ids import Kind

PROMPT_TOKENS_MAX = 256
"Told as the prompt's bound. The longest question below has under 200 bytes, its template some tokens."

COMPLETION_TOKENS = (12, 32)
"At least and at most. A client that streams hardly asks for less."

_FRAMES = (
    "Write one sentence about {a} and {b}.",
    "How would you explain {a} to a child?",
    "Name three things that {a} and {b} have in common.",
    "What should I know about {a} before I buy {b}?",
    "Give me a short title for a story about {a}.",
    "Translate into French: I saw {a} near {b} yesterday.",
    "Which is heavier, {a} or {b}, and why?",
    "Continue this text: Every morning the old man thought of {a} and",
    "Tell me a fact about {a} that few people know.",
    "I am writing a letter about {b}. How do I begin it?",
    "List the steps to draw {a}, as briefly as you can.",
    "Is it true that {a} can be found in most countries? Answer in a few words.",
)
_THINGS = (
    "a bicycle", "the moon", "a violin", "black tea", "a lighthouse", "sourdough bread", "a compass",
    "the river Nile", "a wooden chair", "winter rain", "an old map", "a beehive", "chess", "a sailing boat",
    "the violet", "a stone bridge", "cinnamon", "a radio", "the North Star", "a glass of milk", "a tortoise",
    "copper wire", "a paper lantern", "the tango", "an apple tree", "a railway station", "salt", "a candle",
    "the Alps", "a fountain pen", "a snowflake", "the desert", "a pair of shoes", "wool", "a clock tower",
    "the harbour", "a parrot", "rice", "a library", "an umbrella",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask. The same words can be put to several workers, to compare what they say."""

    text: str
    completion_tokens_max: int

    def content(self, model: str, kind: Kind) -> RequestContent:
        """Spell it as a client's request: greedy, so that the same weights say the same, mostly."""
        is_chat = kind is Kind.CHAT
        return RequestContent(
            kind=kind,
            model=model,
            messages=(ChatTurn("user", self.text),) if is_chat else (),
            completion_tokens_max=self.completion_tokens_max,
            temperature_milli=0,
            top_p_milli=1000,
            stop=(),
            ignore_eos=False,
            answer_prefix="",
            prompt=None if is_chat else self.text,
        )


def make_question(luck: int) -> Question:
    """Make a question of 64 random bits."""
    luck, frame = divmod(luck, len(_FRAMES))
    luck, first = divmod(luck, len(_THINGS))
    luck, second = divmod(luck, len(_THINGS))
    least, most = COMPLETION_TOKENS
    text = _FRAMES[frame].format(a=_THINGS[first], b=_THINGS[second])
    return Question(text, least + luck % (most - least + 1))
