"""What a client keeps of an answer while it comes, so that its bill can be shown to others later.

Sealed chunks and a key: the words are in there once, and only for whoever has the key.
"""

import hashlib

from cocoon_p2p.client.seals import Seals
from cocoon_p2p.protocols.exchange.bill import Bill
from cocoon_p2p.protocols.exchange.bundle import FORMAT, Bundle, SealedChunk, joined
from cocoon_p2p.protocols.exchange.client import Order
from cocoon_p2p.protocols.exchange.terms import Terms
from cocoon_p2p.protocols.ids import BUNDLE_CHUNKS_MAX, BUNDLE_CHUNKS_SIZE_MAX_BYTES
from cocoon_p2p.protocols.messages import Chunk
from cocoon_p2p.protocols.schema import encode_message

TEXTLESS_CHUNKS_MAX = 64
"Chunks without a token or a vector of their own that an honest answer may have: cut pieces, the last one."


class Transcript:
    """The chunks of one answer, as long as they are few enough to be kept.

    Args:
        order: What was asked of whom.
        seals: What the answer is opened with.
    """

    def __init__(self, order: Order, seals: Seals) -> None:
        self._order = order
        self._seals = seals
        self._chunks: list[SealedChunk] = []
        # A worker can send chunks that count nothing without end: they take no memory that was not asked for.
        counted_max = order.ask.completion_tokens_max + order.wanted.vectors
        self._chunks_max = min(counted_max + TEXTLESS_CHUNKS_MAX, BUNDLE_CHUNKS_MAX)
        self._size_bytes = 0
        self._is_too_long = False

    def add(self, chunk: Chunk) -> None:
        """Keep a chunk that was accepted. Beyond the limit none is kept: a part would prove nothing."""
        self._size_bytes += len(chunk.sealed)
        self._is_too_long |= self._size_bytes > BUNDLE_CHUNKS_SIZE_MAX_BYTES
        self._is_too_long |= len(self._chunks) == self._chunks_max
        if self._is_too_long:
            self._chunks.clear()
            return
        self._chunks.append(SealedChunk(chunk.final, chunk.usage, chunk.sealed, chunk.meter_signature))

    def bundle(self, terms: Terms, bill: Bill, evidence: bytes | None) -> Bundle:
        """Put together what proves a bill. Only once it was settled: it holds the answer's key.

        Args:
            terms: What was agreed on.
            bill: What was accepted.
            evidence: What the worker's machine showed, where the client has it.
        """
        chunks = tuple(self._chunks)
        is_whole = bill.receipt is None or _hash(chunks) == bill.receipt.answer_hash
        return Bundle(
            format=FORMAT,
            network=self._order.network,
            proxy=self._order.proxy,
            quote=terms.signed,
            settlement=bill.signed,
            # Where the connection was lost, so may be chunks: then those that came prove nothing.
            chunks=chunks if is_whole else (),
            ask=encode_message(self._order.ask),
            answer_key=self._seals.answer_key,
            evidence=evidence,
        )


def _hash(chunks: tuple[SealedChunk, ...]) -> bytes:
    return hashlib.sha256(joined(chunks)).digest()
