"""The seals of one request: the session with its worker, its parts, the chunks of its answer."""

from collections.abc import Callable

from cocoon_p2p.client.link import Link
from cocoon_p2p.protocols.contents import (
    AnswerContent,
    RequestContent,
    cut_parts,
    decode_answer,
    encode_request,
)
from cocoon_p2p.protocols.exchange.client import Order
from cocoon_p2p.protocols.exchange.terms import Terms
from cocoon_p2p.protocols.messages import Chunk, Part
from cocoon_p2p.sealing import Handshake, RequestBinding, Session, start


class Seals:
    """Seals one request and opens its answer.

    Args:
        order: What is asked of whom: what the seals are bound to.
        content: The request in words.
        link: Keeps the sessions with the workers behind one proxy.
        clock: Seconds since the Unix epoch.
        draw: Draws random bytes, for a handshake.
    """

    def __init__(
        self,
        order: Order,
        content: RequestContent,
        *,
        link: Link,
        clock: Callable[[], float],
        draw: Callable[[int], bytes],
    ) -> None:
        self._order = order
        self._content = content
        self._link = link
        self._clock = clock
        self._draw = draw
        self._handshake: Handshake | None = None
        self._session: Session | None = None
        self._request = 0

    @property
    def is_sealed(self) -> bool:
        """Whether the request has been sealed, so that an answer may come."""
        return self._session is not None

    @property
    def answer_key(self) -> bytes | None:
        """The key of this one answer, once the request has been sealed (`Session.answer_key`)."""
        return None if self._session is None else self._session.answer_key(self._request)

    def seal(self, terms: Terms) -> tuple[Part, ...] | None:
        """Seal the request in a session that stands; None if there is none: then greet."""
        session = self._link.session(terms)
        return None if session is None else self._seal(terms, session)

    def greet(self, terms: Terms) -> bytes:
        """Begin a session with the worker; gives its Hello."""
        self._handshake = start(
            terms.statement,
            network=self._order.network,
            ephemeral_secret=self._draw(32),
            nonce=self._draw(32),
            statement_hash=terms.statement_hash,
        )
        return self._handshake.hello

    def finish(self, terms: Terms, accept: bytes, signature: bytes) -> tuple[Part, ...]:
        """Finish the handshake and seal the request in the new session.

        Raises:
            SealBroken: The worker of these terms did not sign this answer to our Hello.
        """
        assert self._handshake is not None, "there is no answer without a greeting"
        session = self._handshake.finish(accept, signature, now=self._clock())
        self._handshake = None
        self._link.keep_session(terms, session)
        return self._seal(terms, session)

    def open(self, chunk: Chunk) -> AnswerContent:
        """Open a piece of the answer.

        Raises:
            SealBroken: It was altered, repeated or left out of order on its way.
            MalformedMessage: The worker sealed what is no piece of an answer.
        """
        assert self._session is not None, "there is no answer to what was not asked"
        plain = self._session.open_chunk(self._request, chunk.number, chunk.final, chunk.usage, chunk.sealed)
        return decode_answer(plain)

    def close(self) -> None:
        """Forget the request: its exchange is over, however it ended."""
        if self._session is not None:
            self._session.break_off(self._request)

    def _seal(self, terms: Terms, session: Session) -> tuple[Part, ...]:
        ask = self._order.ask
        binding = RequestBinding(ask.exchange, terms.quote_hash, ask.max_cost, ask.trust)
        self._session, self._request = session, session.next_request()
        plains = cut_parts(encode_request(self._content))
        last = len(plains) - 1
        return tuple(
            Part(
                exchange=ask.exchange,
                session=session.id,
                request=self._request,
                part=number,
                final=number == last,
                sealed=session.seal_part(self._request, number, number == last, binding, plain),
            )
            for number, plain in enumerate(plains)
        )
