"""Between the wire and the engine: a request in the engine's terms, a piece of an answer in the wire's.

The protocol has integers where engines compute with floats, and bounds where engines have none:
what an engine says beyond them is the engine's failure, never sent.
"""

import math

from cocoon_p2p.errors import LocalProtocolError
from cocoon_p2p.inference import wishes as engine_wishes
from cocoon_p2p.inference.engine import Audio, ChatMessage, EngineError, Finish, GenerateRequest, Piece
from cocoon_p2p.protocols.contents import AnswerContent, ChatTurn, FinishReason, RequestContent
from cocoon_p2p.protocols.ids import (
    LOGIT_BIAS_NONE_MILLI,
    LOGPROB_MICRO_MAX,
    LOGPROB_TOKEN_MAX_BYTES,
    PENALTY_NONE_MILLI,
    VECTOR_MAX_BYTES,
)
from cocoon_p2p.protocols.schema import encode_paper
from cocoon_p2p.protocols.wishes import Grammar, Likelihood, TokenLogprob, ToolCall, ToolUse

_FINISHES = {
    Finish.STOP: FinishReason.STOP,
    Finish.LENGTH: FinishReason.LENGTH,
    Finish.TOOL_CALLS: FinishReason.TOOL_CALLS,
}
_GRAMMARS = {
    Grammar.JSON_OBJECT: engine_wishes.Grammar.JSON_OBJECT,
    Grammar.JSON_SCHEMA: engine_wishes.Grammar.JSON_SCHEMA,
    Grammar.REGEX: engine_wishes.Grammar.REGEX,
    Grammar.GBNF: engine_wishes.Grammar.GBNF,
}
_TOOL_USES = {
    None: engine_wishes.ToolUse.AUTO,
    ToolUse.AUTO: engine_wishes.ToolUse.AUTO,
    ToolUse.NONE: engine_wishes.ToolUse.NONE,
    ToolUse.REQUIRED: engine_wishes.ToolUse.REQUIRED,
}


def engine_request(content: RequestContent, *, cache_scope: bytes) -> GenerateRequest:
    """Say what a client asks in the engine's terms."""
    constraint, audio = content.constraint, content.audio
    return GenerateRequest(
        model=content.model,
        messages=tuple(map(_message, content.messages)),
        prompt=content.prompt,
        answer_prefix=content.answer_prefix,
        completion_tokens_max=content.completion_tokens_max,
        temperature=content.temperature_milli / 1000,
        top_p=content.top_p_milli / 1000,
        seed=content.seed,
        stop=content.stop,
        ignore_eos=content.ignore_eos,
        cache_scope=cache_scope,
        constraint=None
        if constraint is None
        else engine_wishes.Constraint(_GRAMMARS[constraint.grammar], constraint.text),
        tools=tuple(
            engine_wishes.Tool(tool.name, tool.description, tool.parameters) for tool in content.tools
        ),
        tool_use=_TOOL_USES[content.tool_use],
        logit_bias=tuple(
            (one.token, (one.bias_milli - LOGIT_BIAS_NONE_MILLI) / 1000) for one in content.logit_bias
        ),
        banned=content.banned,
        logprobs=content.logprobs,
        frequency_penalty=_penalty(content.frequency_penalty_milli),
        presence_penalty=_penalty(content.presence_penalty_milli),
        inputs=content.inputs,
        audio=None if audio is None else Audio(audio.data, audio.language or ""),
    )


def answer_content(piece: Piece) -> AnswerContent:
    """Spell what an engine says.

    Raises:
        EngineError: It says what cannot be spelled: half of a character, a tool call or a vector too long
            for a chunk, a likelihood that is no number.
    """
    return AnswerContent(
        _text(piece.text),
        None if piece.finish is None else _FINISHES[piece.finish],
        tuple(map(_call, piece.calls)),
        tuple(map(_logprob, piece.logprobs)),
        tuple(map(_vector, piece.vectors)),
    )


def _message(turn: ChatTurn) -> ChatMessage:
    calls = tuple(engine_wishes.ToolCall(call.id, call.name, call.arguments) for call in turn.calls)
    return ChatMessage(turn.role, turn.content, calls, turn.call_id or "", turn.images)


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise EngineError("the engine says half of a character (a lone surrogate)") from None
    return text


def _penalty(milli: int | None) -> float:
    return 0.0 if milli is None else (milli - PENALTY_NONE_MILLI) / 1000


def _call(call: engine_wishes.ToolCall) -> ToolCall:
    spelled = ToolCall(call.id, call.name, call.arguments)
    try:
        encode_paper(spelled)
    except LocalProtocolError as exc:
        raise EngineError(f"the engine makes a tool call that cannot be sent: {exc}") from None
    return spelled


def _logprob(one: engine_wishes.TokenLogprob) -> TokenLogprob:
    return TokenLogprob(_likelihood(one.chosen), tuple(map(_likelihood, one.top)))


def _likelihood(one: engine_wishes.Likelihood) -> Likelihood:
    if math.isnan(one.logprob):
        raise EngineError("the engine says that a likelihood is no number")
    # Rounding can lift certainty above 0. What cannot be at all is minus infinity.
    nats = min(max(-one.logprob, 0.0), LOGPROB_MICRO_MAX / 1_000_000)
    return Likelihood(one.token[:LOGPROB_TOKEN_MAX_BYTES], round(nats * 1_000_000))


def _vector(vector: bytes) -> bytes:
    if len(vector) > VECTOR_MAX_BYTES:
        raise EngineError(
            f"the engine makes a vector too long to be sent (size={len(vector)} max={VECTOR_MAX_BYTES} bytes)"
        )
    return vector
