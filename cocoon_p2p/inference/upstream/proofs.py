"""How each feature of a server is proven: by an answer that could not have come without it.

json-schema    an object with a key and a value that no model would write
regex, grammar a word that none would
logit-bias     one token, again and again
penalties      the same prompt, greedily: another answer than it has otherwise, always
seed           alike for one seed, not for all
temperature    not the answer that it has without, always
ignore-eos     an answer that ended goes on to its limit
logprobs       as many, and as likely, as can be
tools          a call of the tool that was offered, its arguments as its schema wants them; and the
               prompt as long as it was counted
banned-strings an answer without what it held before
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from cocoon_p2p.inference.engine import ChatMessage, Feature, Finish, GenerateRequest, Piece
from cocoon_p2p.inference.upstream.bodies import Prompt
from cocoon_p2p.inference.upstream.generating import Served
from cocoon_p2p.inference.upstream.generation import Terms, UpstreamGeneration
from cocoon_p2p.inference.upstream.wire import stream_steps
from cocoon_p2p.inference.wishes import Constraint, Grammar, TokenLogprob, Tool, ToolCall, ToolUse

TOKENS: Final = 16
"Of a probe's answer, where its length is not what is probed."

OBJECT_TOKENS: Final = 96
"Of one that is an object: some servers allow any white space in it."

CALL_TOKENS: Final = 512
"Of one that must call a tool: some models think before they do."

ENDING_TOKENS: Final = 48
"Of one that is expected to end by itself."

TEMPERATURE: Final = 1.5
SEEDS: Final = (11, 11, 12, 13, 14)
PROMPT: Final = "The quick brown fox"
SCHEMA: Final = (
    '{"type": "object", "properties": {"zq": {"type": "integer", "enum": [7]}}, "required": ["zq"], '
    '"additionalProperties": false}'
)
OBJECT: Final = '{"zq":7}'
WORD: Final = "zq7!"
TOOL: Final = Tool("zq_look", "Look something up.", SCHEMA)

CONSTRAINED: Final = {
    Grammar.JSON_SCHEMA: Constraint(Grammar.JSON_SCHEMA, SCHEMA),
    Grammar.REGEX: Constraint(Grammar.REGEX, "zq7[!]"),
    Grammar.GBNF: Constraint(Grammar.GBNF, f'root ::= "{WORD}"'),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a probe brought."""

    text: str
    tokens: int
    prompt_tokens: int
    "As the server counted it when it computed it; 0 if it did not say."

    finish: Finish | None
    calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()


async def answer(served: Served, request: GenerateRequest, prompt: Prompt | None = None) -> Answer:
    """Have an answer computed, whole.

    Raises:
        EngineError: It is refused, fails, or has no end.
    """
    prompt = prompt or await served.split(request)
    path, body = served.write(request, prompt, request.completion_tokens_max)
    terms = Terms(
        prompt.tokens,
        request.completion_tokens_max,
        tools=frozenset(tool.name for tool in request.tools),
        logprobs=request.logprobs,
    )
    generation, pieces, prompt_tokens = UpstreamGeneration(terms), list[Piece](), 0
    async with stream_steps(served.http, path, body) as steps:
        async for step in steps:
            prompt_tokens = step.usage.prompt_tokens if step.usage is not None else prompt_tokens
            piece = generation.take(step)
            pieces += [piece] if piece is not None else []
    pieces.append(generation.end())
    return Answer(
        text="".join(piece.text for piece in pieces),
        tokens=pieces[-1].completion_tokens,
        prompt_tokens=prompt_tokens,
        finish=pieces[-1].finish,
        calls=tuple(call for piece in pieces for call in piece.calls),
        logprobs=tuple(likely for piece in pieces for likely in piece.logprobs),
    )


async def heeds_constraint(served: Served, grammar: Grammar) -> bool:
    """Whether an answer has the form that it was told to have."""
    request = replace(_plain(served, OBJECT_TOKENS), constraint=CONSTRAINED[grammar])
    said = (await answer(served, request)).text
    return _is_object(said) if grammar is Grammar.JSON_SCHEMA else said == WORD


async def _seed(served: Served) -> bool:
    plain = replace(_plain(served), temperature=TEMPERATURE)
    first, again, *others = [(await answer(served, replace(plain, seed=seed))).text for seed in SEEDS]
    return first == again and any(other != first for other in others)


async def _greedy(served: Served, plain: GenerateRequest) -> str | None:
    """What the server answers without a temperature, always. None if it rolls dice all the same: from such
    a server no other answer proves anything. One that differs in a last digit once is forgiven."""
    first, again = [(await answer(served, plain)).text for _ in range(2)]
    if first == again or (await answer(served, plain)).text in (first, again):
        return first
    return None


async def _temperature(served: Served) -> bool:
    plain = _plain(served)
    greedy = await _greedy(served, plain)
    if greedy is None:
        return False
    for _ in range(3):
        if (await answer(served, replace(plain, temperature=TEMPERATURE))).text != greedy:
            return True
    return False


async def _ignore_eos(served: Served) -> bool:
    chat = (ChatMessage("user", "Hello"),)
    request = GenerateRequest(served.model, chat, completion_tokens_max=ENDING_TOKENS)
    if (await answer(served, request)).finish is not Finish.STOP:
        return False
    return (await answer(served, replace(request, ignore_eos=True))).finish is Finish.LENGTH


async def _logprobs(served: Served) -> bool:
    said = await answer(served, replace(_plain(served), logprobs=2))
    return 0 < len(said.logprobs) <= said.tokens and all(len(token.top) == 2 for token in said.logprobs)


async def _logit_bias(served: Served) -> bool:
    tokens = await served.dialect.split_text("7", is_prompt=False)
    if not tokens:
        return False
    said = await answer(served, replace(_plain(served), logit_bias=((tokens[-1], 100.0),)))
    return said.text.replace(" ", "") == "7" * TOKENS


async def _penalties(served: Served) -> bool:
    # Whoever must go on for long repeats himself.
    plain = replace(_plain(served, ENDING_TOKENS), ignore_eos=True)
    often = replace(plain, frequency_penalty=2.0)
    once = replace(plain, presence_penalty=2.0)
    said = await _greedy(served, plain)
    if said is None:
        return False
    return said != (await answer(served, often)).text and said != (await answer(served, once)).text


async def _banned(served: Served) -> bool:
    plain = _plain(served)
    words = (await _greedy(served, plain) or "").split()
    if not words:
        return False
    return words[0] not in (await answer(served, replace(plain, banned=(words[0],)))).text


async def _tools(served: Served) -> bool:
    must = GenerateRequest(
        served.model,
        (ChatMessage("user", "Look up 7."),),
        completion_tokens_max=CALL_TOKENS,
        tools=(TOOL,),
        tool_use=ToolUse.REQUIRED,
    )
    prompt = await served.split(must)
    said = await answer(served, must, prompt)
    if said.prompt_tokens != prompt.tokens or said.finish is not Finish.TOOL_CALLS:
        return False
    # vLLM takes `auto` only if it was told at its start how the model writes calls.
    may = replace(must, tool_use=ToolUse.AUTO, completion_tokens_max=1)
    prompt = await served.split(may)
    if (await answer(served, may, prompt)).prompt_tokens != prompt.tokens:
        return False
    return all(_is_object(call.arguments) for call in said.calls)


PROOFS: Final[Mapping[Feature, Callable[[Served], Awaitable[bool]]]] = {
    Feature.SEED: _seed,
    Feature.TEMPERATURE: _temperature,
    Feature.IGNORE_EOS: _ignore_eos,
    Feature.LOGPROBS: _logprobs,
    Feature.LOGIT_BIAS: _logit_bias,
    Feature.PENALTIES: _penalties,
    Feature.BANNED_STRINGS: _banned,
    Feature.TOOLS: _tools,
}


def _plain(served: Served, tokens: int = TOKENS) -> GenerateRequest:
    return GenerateRequest(served.model, prompt=PROMPT, completion_tokens_max=tokens)


def _is_object(text: str) -> bool:
    """Whether it is the object of `SCHEMA`. Small models fill it with white space, which grammars allow."""
    return "".join(text.split()) in (OBJECT, OBJECT.removesuffix("}"))
