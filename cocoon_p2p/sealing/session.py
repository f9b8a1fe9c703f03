"""One sealing session: the streams of sealed parts and chunks, each used once and in order.

    request n, client -> worker:  part 0, part 1, ... final part
    answer n,  worker -> client:  chunk 0, chunk 1, ... final chunk

Every such stream has a key of its own, derived from the session's root, and the position in
the stream is the nonce, so nothing is ever sealed twice under one key and nonce. What the
proxy must see but not alter (final flag, price limits, token counts) is associated data, in
a fixed width. A piece that is altered, repeated, left out, or of another stream does not open.

Spec: protocols/sealing.md (Streams). Vectors: protocols/vectors/sealing.json.
"""

import hashlib
import struct
from dataclasses import dataclass

from nacl import bindings
from nacl.exceptions import CryptoError

from cocoon_p2p.errors import LocalProtocolError, SealBroken
from cocoon_p2p.identity import NetworkId
from cocoon_p2p.protocols.ids import (
    EXCHANGE_ID_SIZE_BYTES,
    PARTS_MAX,
    REPLAY_WINDOW,
    SEAL_SIZE_BYTES,
    SESSION_ID_SIZE_BYTES,
    Trust,
)
from cocoon_p2p.protocols.messages import ExchangeId, Usage
from cocoon_p2p.protocols.schema import UINT_MAX
from cocoon_p2p.sealing.replay import ReplayWindow

_PERSON = b"cocoon-sealing-1"
_NONCE_SIZE_BYTES = 24

_BINDING = struct.Struct(">?16s32sQB")
_USAGE = struct.Struct(">?QQQQ")


@dataclass(frozen=True, slots=True)
class RequestBinding:
    """What a sealed request holds for. A proxy that alters any of it makes the seal break."""

    exchange: ExchangeId
    quote_hash: bytes
    "`papers.paper_hash` of the signed Quote that the client accepted."

    max_cost: int
    trust: Trust


def derive(root: bytes, purpose: str, network: NetworkId, context: bytes) -> bytes:
    """Derive 32 bytes from `root`: BLAKE2b with key, personalised, over a label and a context.

    The label holds the network id, like every signature's.
    """
    label = b"cocoon/sealing/1/" + purpose.encode() + b"\0" + network
    return hashlib.blake2b(label + context, digest_size=32, key=root, person=_PERSON).digest()


class Session:
    """A client's or a worker's half of a session. Not shared between processes, never stored.

    The client calls `next_request`, `seal_part` and `open_chunk`, the worker `open_part` and
    `seal_chunk`, both `break_off`. A session may be dropped at any time: what runs in it cannot be
    finished then.

    Attributes:
        id: 16 bytes that the worker drew: what a Part names.
        expires: When no new request may begin, in seconds since the Unix epoch.
    """

    __slots__ = ("_answers", "_next_request", "_requests", "expires", "id")

    def __init__(self, session_id: bytes, *, expires: float, root: bytes, network: NetworkId) -> None:
        assert len(session_id) == SESSION_ID_SIZE_BYTES
        self.id = session_id
        self.expires = expires
        self._next_request = 0
        self._requests = _Direction(root, "request", network, session_id)
        self._answers = _Direction(root, "answer", network, session_id)

    def next_request(self) -> int:
        """Give the number of the client's next request. A number is given once."""
        number = self._next_request
        self._next_request += 1
        return number

    def seal_part(self, request: int, part: int, final: bool, binding: RequestBinding, plain: bytes) -> bytes:
        """Seal the next part of a request.

        Raises:
            LocalProtocolError: It is not the next part of a request that may still be sealed, or
                the binding is outside its bounds.
        """
        sealed = self._requests.seal(request, part, final, _binding_data(final, binding), plain)
        if part == 0:
            self._answers.expect(request)
        return sealed

    def open_part(
        self, request: int, part: int, final: bool, binding: RequestBinding, sealed: bytes
    ) -> bytes:
        """Open the next part of a request.

        Args:
            request: The request's number, from the Part.
            part: The part's position, from the Part.
            final: Whether it is the last, from the Part.
            binding: As the worker understands the exchange.
            sealed: The sealed bytes, from the Part.

        Raises:
            SealBroken: It was altered, repeated, left out of order, sealed for another exchange,
                quote, limit, trust level or session, or its request was seen before. The session
                stands, and so does whatever of the request was opened.
        """
        if not 0 <= part < PARTS_MAX:
            raise SealBroken(f"request: part out of range (part={part} max={PARTS_MAX - 1})")
        plain = self._requests.open(request, part, final, _binding_data(final, binding), sealed)
        if part == 0:
            # The client chooses the numbers: one far above must not make this one unanswerable.
            self._answers.expect(request)
        return plain

    def break_off(self, request: int) -> None:
        """Forget a request that will not be finished, and its answer; one that is finished stays so.

        Without it streams that were broken off would in time crowd out some that run.
        """
        self._requests.forget(request)
        self._answers.forget(request)

    def seal_chunk(self, request: int, number: int, final: bool, usage: Usage, plain: bytes) -> bytes:
        """Seal the next chunk of an answer. Raises `LocalProtocolError` as `seal_part` does."""
        return self._answers.seal(request, number, final, _usage_data(final, usage), plain)

    def open_chunk(self, request: int, number: int, final: bool, usage: Usage, sealed: bytes) -> bytes:
        """Open the next chunk of the answer to `request`, a number of ours.

        Raises:
            SealBroken: It, its final flag or its usage was altered, or it is not the next chunk of
                an answer that has not ended. The session stands.
        """
        return self._answers.open(request, number, final, _usage_data(final, usage), sealed)

    def answer_key(self, request: int) -> bytes:
        """Give the key of the answer to `request`: it opens that answer, and nothing else.

        It is derived one way, so neither the session nor the request can be found by it. Keep it to
        yourself while the answer runs: who has it can also seal in its place.
        """
        return self._answers.derive(request)


def open_answer_chunk(key: bytes, number: int, final: bool, usage: Usage, sealed: bytes) -> bytes:
    """Open one chunk of a finished answer by the answer's own key (`Session.answer_key`).

    Raises:
        SealBroken: The chunk is not this one of this answer, with this flag and usage.
    """
    plain = _open(key, number, _usage_data(final, usage), sealed)
    if plain is None:
        raise SealBroken(f"answer: altered, or sealed under another key (number={number})")
    return plain


class _Direction:
    """The streams of one direction: each request's begins once, goes on in order, ends once.

    On one side of a session a direction is only sealed, on the other only opened.
    """

    __slots__ = ("_begun", "_network", "_purpose", "_root", "_running", "_session_id")

    def __init__(self, root: bytes, purpose: str, network: NetworkId, session_id: bytes) -> None:
        self._root = root
        self._purpose = purpose
        self._network = network
        self._session_id = session_id
        self._begun = ReplayWindow()
        # For each request under way its key and the position that comes next.
        self._running: dict[int, tuple[bytes, int]] = {}

    def seal(self, request: int, position: int, final: bool, data: bytes, plain: bytes) -> bytes:
        key = self._key(request, position)
        if key is None:
            raise LocalProtocolError(
                f"{self._purpose}: not the next to seal (request={request} position={position})"
            )
        sealed = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, data, _nonce(position), key)
        self._advance(request, position, final, key)
        return sealed

    def open(self, request: int, position: int, final: bool, data: bytes, sealed: bytes) -> bytes:
        key = self._key(request, position)
        if key is None:
            raise SealBroken(
                f"{self._purpose}: seen before or out of order (request={request} position={position})"
            )
        plain = _open(key, position, data, sealed)
        if plain is None:
            raise SealBroken(
                f"{self._purpose}: altered, or sealed for another (request={request} position={position})"
            )
        self._advance(request, position, final, key)
        return plain

    def expect(self, request: int) -> None:
        """Let a stream begin some time, whichever others begin before it. Once for each request."""
        key = self._key(request, 0)
        if key is not None:
            self._begun.mark(request)
        else:
            key = self.derive(request)
        self._keep(request, key, 0)

    def forget(self, request: int) -> None:
        """Drop a stream that was not ended; nothing more is sealed or opened in it."""
        self._running.pop(request, None)

    def _key(self, request: int, position: int) -> bytes | None:
        """Give the stream's key, or None if `position` is not what comes next in it."""
        running = self._running.get(request)
        if running is not None:
            key, expected = running
            return key if position == expected else None
        if position != 0 or not 0 <= request <= UINT_MAX or not self._begun.is_fresh(request):
            return None
        return self.derive(request)

    def derive(self, request: int) -> bytes:
        return derive(self._root, self._purpose, self._network, self._session_id + request.to_bytes(8, "big"))

    def _advance(self, request: int, position: int, final: bool, key: bytes) -> None:
        if position == 0 and request not in self._running:
            self._begun.mark(request)
        if final:
            self._running.pop(request, None)
            return
        self._keep(request, key, position + 1)

    def _keep(self, request: int, key: bytes, position: int) -> None:
        self._running[request] = (key, position)
        if len(self._running) > REPLAY_WINDOW:
            # Streams that nobody ends must not pile up: the one begun longest ago gives way.
            del self._running[next(iter(self._running))]


def _open(key: bytes, position: int, data: bytes, sealed: bytes) -> bytes | None:
    """Open a piece, or give None if it does not."""
    if len(sealed) < SEAL_SIZE_BYTES:
        return None
    try:
        return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, data, _nonce(position), key)
    except CryptoError:
        return None


def _nonce(position: int) -> bytes:
    return position.to_bytes(_NONCE_SIZE_BYTES, "big")


def _binding_data(final: bool, binding: RequestBinding) -> bytes:
    # `struct` would cut or fill silently.
    assert len(binding.exchange) == EXCHANGE_ID_SIZE_BYTES
    assert len(binding.quote_hash) == 32
    return _BINDING.pack(final, binding.exchange, binding.quote_hash, binding.max_cost, binding.trust)


def _usage_data(final: bool, usage: Usage) -> bytes:
    return _USAGE.pack(final, usage.prompt, usage.cached, usage.completion, usage.reasoning)
