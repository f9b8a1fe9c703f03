"""What the tests ask an engine, and how they read what it says."""

from typing import TypedDict, Unpack

from cocoon_p2p.inference.engine import ChatMessage, Engine, GenerateRequest, Piece
from cocoon_p2p.inference.wishes import Constraint, Tool, ToolUse

BOUND_SECONDS = 120
NAME = "cocoon-demo"


class Options(TypedDict, total=False):
    answer_prefix: str
    completion_tokens_max: int
    temperature: float
    top_p: float
    seed: int
    stop: tuple[str, ...]
    ignore_eos: bool
    cache_scope: bytes
    constraint: Constraint
    banned: tuple[str, ...]
    logit_bias: tuple[tuple[int, float], ...]
    logprobs: int
    frequency_penalty: float
    presence_penalty: float
    tools: tuple[Tool, ...]
    tool_use: ToolUse


def chat(text: str, **options: Unpack[Options]) -> GenerateRequest:
    return GenerateRequest(NAME, (ChatMessage("user", text),), **options)


def endless(**options: Unpack[Options]) -> GenerateRequest:
    endless: Options = {"temperature": 1.0, "ignore_eos": True, "completion_tokens_max": 400}
    endless.update(options)
    return GenerateRequest(NAME, prompt="Hello", **endless)


async def pieces_of(engine: Engine, request: GenerateRequest) -> list[Piece]:
    async with engine.generate(request) as pieces:
        return [piece async for piece in pieces]


def text(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)
