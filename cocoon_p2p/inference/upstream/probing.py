"""What a server can do, found out by having it done: what no probe proves is not promised.

Servers leave out what they do not know, without a word, and so does each by its own flags: a version
proves nothing. So each wish is granted once, in a way whose answer could not have come otherwise
(`proofs`). A probe is some dozen tokens, is bounded in time, and its failure means only that it proved
nothing.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import trio

from cocoon_p2p.inference.engine import ChatMessage, EngineError, Feature, GenerateRequest
from cocoon_p2p.inference.upstream.constraining import Constraining
from cocoon_p2p.inference.upstream.generating import Served
from cocoon_p2p.inference.upstream.pictures import png
from cocoon_p2p.inference.upstream.proofs import (
    CONSTRAINED,
    PROMPT,
    PROOFS,
    answer,
    heeds_constraint,
)
from cocoon_p2p.inference.upstream.wire import KeyRefused, ServerBusy
from cocoon_p2p.inference.wishes import Grammar

log = logging.getLogger(__name__)

PROBE_SECONDS: Final = 30.0
"For one probe; it may wait behind others' prompts."

PROBES_SECONDS: Final = 180.0
"For all of one model. What is not proven by then is not promised."

PICTURES: Final = ((1, 1), (64, 64), (640, 480), (300, 900))
"Width and height. Models that cut a picture into tiles make other numbers of them from these."

_FEATURES: Final = {
    Grammar.JSON_SCHEMA: Feature.JSON_SCHEMA,
    Grammar.REGEX: Feature.REGEX,
    Grammar.GBNF: Feature.GRAMMAR,
}


@dataclass(frozen=True, slots=True)
class Found:
    """What a model was seen to do."""

    features: frozenset[Feature]
    served: Served
    "With the ways of saying constraints that it heeds, and what a picture costs."


async def probe(served: Served) -> Found:
    """Find out what a model that answers can do. Bounded by `PROBES_SECONDS`."""
    features = {Feature.STOP} | ({Feature.CONTINUE} if served.dialect.takes_tokens else set[Feature]())
    with trio.move_on_after(PROBES_SECONDS):
        for grammar, feature in _FEATURES.items():
            way = await _constraining(served, grammar)
            if way is not None:
                served = replace(served, constrainings={**served.constrainings, grammar: way})
                features.add(feature)
        for feature, proves in PROOFS.items():
            if await is_proven(feature.value, partial(proves, served)):
                features.add(feature)
        tokens = await _image_tokens(served)
        if tokens is not None:
            served = replace(served, image_tokens=tokens)
            features.add(Feature.IMAGES)
    # Any object is a schema like others.
    if way := served.constrainings.get(Grammar.JSON_SCHEMA):
        served = replace(served, constrainings={**served.constrainings, Grammar.JSON_OBJECT: way})
    return Found(frozenset(features), served)


async def _constraining(served: Served, grammar: Grammar) -> Constraining | None:
    """The first way of saying a constraint that the server heeds."""
    for way in served.dialect.constrainings:
        if way(CONSTRAINED[grammar]) is None:
            continue
        trial = replace(served, constrainings={grammar: way})
        if await is_proven(grammar.value, partial(heeds_constraint, trial, grammar)):
            return way
    return None


async def _image_tokens(served: Served) -> int | None:
    """What any picture adds to a prompt; None if there are none, or if it depends on the picture: what
    cannot be counted before it is paid is not promised."""
    added = set[int]()

    async def proves(picture: bytes) -> bool:
        message = ChatMessage("user", PROMPT, images=(picture,))
        request = GenerateRequest(served.model, (message,), completion_tokens_max=1)
        prompt = await served.split(request)
        added.add((await answer(served, request)).prompt_tokens - prompt.tokens)
        return len(added) == 1

    for width, height in PICTURES:
        if not await is_proven(f"images {width}x{height}", partial(proves, png(width, height))):
            return None
    return added.pop()


async def is_proven(what: str, proves: Callable[[], Awaitable[bool]]) -> bool:
    """Try one proof, within `PROBE_SECONDS`; a server without room is asked again when it wants to be.

    Raises:
        KeyRefused: The server wants a key: nothing could be proven.
    """
    with trio.move_on_after(PROBE_SECONDS):
        while True:
            try:
                proven = await proves()
            except ServerBusy as exc:
                await trio.sleep(exc.retry_after or 1.0)
            except KeyRefused:
                raise
            except EngineError as exc:
                log.debug("upstream lacks", extra={"what": what, "reason": str(exc)})
                return False
            else:
                log.debug("upstream probed", extra={"what": what, "proven": proven})
                return proven
    return False
