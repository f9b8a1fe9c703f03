"""Vectors as the application gets them: all of them, or an error."""

import sys
from array import array
from dataclasses import dataclass

from cocoon_p2p.client.answer import Answer
from cocoon_p2p.protocols.messages import ModelOffer, Receipt, Usage
from cocoon_p2p.units import Nano


@dataclass(frozen=True, slots=True)
class Embeddings:
    """What texts came to, and what that cost."""

    vectors: "tuple[array[float], ...]"
    "One for each input, in their order; each holds 32-bit floats, all of them finite."

    answer: Answer
    "Who made them, and its papers: what holds of an answer of words holds of this one."

    @property
    def model(self) -> ModelOffer | None:
        return self.answer.model

    @property
    def usage(self) -> Usage:
        """What was counted: prompt tokens only."""
        return self.answer.usage

    @property
    def cost(self) -> Nano:
        """What they have cost, in nanoTON, commission included."""
        return self.answer.cost

    @property
    def receipt(self) -> Receipt | None:
        """The worker's signed receipt; None if the proxy is silent about it so far."""
        return self.answer.receipt


async def collect(answer: Answer) -> Embeddings:
    """Read an answer's vectors to the end. Raises as reading it does."""
    vectors = [_numbers(vector) async for piece in answer for vector in piece.vectors]
    return Embeddings(tuple(vectors), answer)


def _numbers(vector: bytes) -> "array[float]":
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
