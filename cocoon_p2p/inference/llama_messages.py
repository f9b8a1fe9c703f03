"""What goes to llama.cpp's server and what comes back, as far as we use it.

The names are those of the server's HTTP interface; what it says besides is passed over.
"""

from collections.abc import Sequence

import msgspec


class Alternative(msgspec.Struct):
    """A token, and how likely it was before anything was done to the probabilities."""

    logprob: float
    bytes: list[int] = []
    "Its text; of a token that ends a character, the text of all its tokens."


class SampledToken(Alternative):
    top_logprobs: list[Alternative] = []


class Logprobs(msgspec.Struct):
    content: list[SampledToken] = []
    "One: of the tokens that an event stands for, the last."


class Choice(msgspec.Struct):
    text: str = ""
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class Progress(msgspec.Struct):
    processed: int
    "Prompt tokens computed or taken from the cache so far."

    cache: int


class Timings(msgspec.Struct):
    predicted_n: int = 0
    "Tokens sampled so far, the one that ends an answer too."


class PromptDetails(msgspec.Struct, frozen=True):
    cached_tokens: int = 0


class Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: PromptDetails = PromptDetails()


class Failure(msgspec.Struct):
    message: str = "no reason given"
    "May quote the answer: never for a log."

    type: str = "unknown"


class ServerEvent(msgspec.Struct):
    """What the server says at each step of one request, as far as we read it."""

    choices: list[Choice] = []
    timings: Timings | None = None
    prompt_progress: Progress | None = None
    usage: Usage | None = None
    "On the last event only."

    error: Failure | None = None


class Completion(msgspec.Struct):
    """One request to the server, in the words of its HTTP interface."""

    prompt: Sequence[int]
    max_tokens: int
    temperature: float
    top_p: float
    id_slot: int
    cache_prompt: bool
    seed: int | None = None
    ignore_eos: bool = False
    samplers: tuple[str, ...] = ("penalties", "temperature", "top_p")
    "What OpenAI's interface names, and nothing else: llama.cpp has top-k 40 and min-p 0.05 by default."

    frequency_penalty: float = 0
    presence_penalty: float = 0
    repeat_last_n: int = 0
    "How far back the penalties count: prompt tokens are among them. 0: there are none."

    logit_bias: Sequence[tuple[int, float]] = ()
    grammar: str = ""
    "Must be one that llama.cpp can read: it prints what it cannot."

    n_probs: int = 0
    "How many likeliest tokens are told. Of the one that was sampled nothing is told without them."

    preserved_tokens: Sequence[str] = ()
    "Control tokens whose text belongs to the answer: llama.cpp leaves out all others."

    stream: bool = True
    timings_per_token: bool = True
    "Each event then says how many tokens were sampled; an event may stand for several."

    return_progress: bool = True
