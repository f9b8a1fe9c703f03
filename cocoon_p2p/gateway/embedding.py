"""`POST /v1/embeddings`: texts into vectors, as numbers or as the base64 that OpenAI's SDK asks for."""

import sys
from array import array
from base64 import b64encode
from typing import Annotated, Literal

import msgspec

from cocoon_p2p.client import Embeddings
from cocoon_p2p.gateway.fields import LEFT_OUT, Fields, refuse_given
from cocoon_p2p.gateway.refusals import unsupported
from cocoon_p2p.gateway.spelling import answer_facts
from cocoon_p2p.protocols.ids import INPUTS_MAX


class EmbeddingRequest(Fields, kw_only=True):
    """OpenAI's fields as of its Python SDK 3."""

    input: (
        Annotated[str, msgspec.Meta(min_length=1)]
        | Annotated[list[str | int | list[int]], msgspec.Meta(min_length=1, max_length=INPUTS_MAX)]
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: msgspec.Raw = LEFT_OUT


def embedding_inputs(body: EmbeddingRequest) -> list[str]:
    """Give the texts.

    Raises:
        RequestRefused: They are tokens, or vectors of another length are wanted.
    """
    refuse_given(body, {"dimensions": "a vector is as long as its model makes it"})
    if isinstance(body.input, str):
        return [body.input]
    texts = [text for text in body.input if isinstance(text, str)]
    if len(texts) < len(body.input):
        raise unsupported("input", "workers take text, not tokens")
    return texts


def spell_embeddings(made: Embeddings, body: EmbeddingRequest) -> bytes:
    """Spell vectors as they are wanted; numbers unless base64 is asked for."""
    spell = _base64 if body.encoding_format == "base64" else _numbers
    prompt = made.usage.prompt + made.usage.cached
    return msgspec.json.encode(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": spell(vector)}
                for index, vector in enumerate(made.vectors)
            ],
            "model": body.model,
            "usage": {"prompt_tokens": prompt, "total_tokens": prompt},
            "cocoon": answer_facts(made.answer),
        }
    )


def _numbers(vector: "array[float]") -> list[float]:
    return vector.tolist()


def _base64(vector: "array[float]") -> str:
    if sys.byteorder == "big":
        vector = vector[:]
        vector.byteswap()
    return b64encode(vector).decode()
