"""What every answer says of itself beside its words: in OpenAI's fields, in a `cocoon` object, in headers."""

from functools import lru_cache
from typing import Any

from cocoon_p2p import identity
from cocoon_p2p.client import Answer
from cocoon_p2p.gateway.refusals import JSON, Headers
from cocoon_p2p.protocols.messages import Usage
from cocoon_p2p.protocols.wishes import Likelihood

STREAM: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    # nginx would hold a stream back until a buffer is full.
    (b"x-accel-buffering", b"no"),
]
DONE = b"data: [DONE]\n\n"
peer_id_text = lru_cache(1024)(identity.peer_id_text)
"Spelling one takes 80 us, each answer names two, and they are always the same few."

COMMENT = b": still here\n\n"
"For whoever closes connections that are silent. Clients skip it."


def answer_facts(answer: Answer) -> dict[str, Any]:
    """Say who answered, what was proven of them, and what it has cost in nanoTON."""
    facts = {
        "cost": int(answer.cost),
        "trust": answer.trust and str(answer.trust),
        "worker": answer.worker and peer_id_text(answer.worker),
        "proxy": answer.proxy and peer_id_text(answer.proxy),
        "exchange": answer.exchange and answer.exchange.hex(),
        "is_demo_model": answer.model is not None and answer.model.demo,
    }
    if answer.report.pending:
        # The proxy is silent about it so far: this much may still be charged.
        facts["pending"] = answer.report.pending
    return facts


def answer_headers(answer: Answer, *, is_over: bool) -> Headers:
    """Say the same in headers, as far as it is known: the cost when the answer is over."""
    headers: Headers = []
    if answer.exchange is not None:
        exchange = answer.exchange.hex().encode()
        headers += [(b"x-request-id", exchange), (b"x-cocoon-exchange", exchange)]
    if answer.trust is not None:
        headers.append((b"x-cocoon-trust", str(answer.trust).encode()))
    for name, peer in ((b"x-cocoon-worker", answer.worker), (b"x-cocoon-proxy", answer.proxy)):
        if peer is not None:
            headers.append((name, peer_id_text(peer).encode()))
    if is_over:
        headers.append((b"x-cocoon-cost", b"%d" % answer.cost))
    return headers


def whole_headers(answer: Answer) -> Headers:
    """Give the headers of an answer that is told in one piece."""
    return [JSON, *answer_headers(answer, is_over=True)]


def stream_headers(answer: Answer) -> Headers:
    """Give the headers of one that is told as it comes."""
    return [*STREAM, *answer_headers(answer, is_over=False)]


def usage_facts(usage: Usage) -> dict[str, Any]:
    """Spell what was counted as OpenAI does: there, cached tokens are prompt tokens too."""
    prompt, completion = usage.prompt + usage.cached, usage.completion + usage.reasoning
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning, "audio_tokens": 0},
    }


def fingerprint(answer: Answer) -> str | None:
    """Say which weights answered: OpenAI's `system_fingerprint` is for telling such changes."""
    return None if answer.model is None else f"fp_{answer.model.weights_hash.hex()[:16]}"


def token_text(likely: Likelihood) -> str:
    """Give a token's text. One that is a part of a character is shown by a mark; its bytes are exact."""
    return likely.token.decode(errors="replace")
