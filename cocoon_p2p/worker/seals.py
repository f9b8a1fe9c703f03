"""Sealing sessions of one worker: made by handshake, found by id, kept apart by proxy."""

from collections.abc import Callable

from cocoon_p2p.errors import SealBroken
from cocoon_p2p.identity import Identity, NetworkId, PeerId
from cocoon_p2p.protocols.ids import SESSION_ID_SIZE_BYTES
from cocoon_p2p.protocols.messages import Accept, Hello
from cocoon_p2p.sealing import Accepted, Session, SessionTable, accept
from cocoon_p2p.worker.papers import Papers


class Seals:
    """The session table with the worker's keys and randomness beside it."""

    def __init__(
        self,
        identity: Identity,
        network: NetworkId,
        papers: Papers,
        *,
        now: Callable[[], float],
        draw: Callable[[int], bytes],
    ) -> None:
        self._identity = identity
        self._network = network
        self._papers = papers
        self._now = now
        self._draw = draw
        self._table = SessionTable()

    def greet(self, proxy: PeerId, hello: Hello) -> Accept:
        """Answer a client's handshake, and keep the session.

        Raises:
            Refused: This proxy asks for too many (`rate-limited`).
            SealBroken: It is no Hello, or not to a statement of ours that holds.
        """
        now = self._now()
        self._table.admit_hello(proxy, now=now)
        accepted = self._accept(hello.hello, now)
        self._table.keep(proxy, accepted.session, now=now)
        return Accept(hello.exchange, accepted.accept, accepted.signature)

    def find(self, proxy: PeerId, session: bytes) -> Session:
        """Give the session that a Part names. Raises `Refused` (`session-unknown`)."""
        return self._table.find(proxy, session, now=self._now())

    def _accept(self, hello: bytes, now: float) -> Accepted:
        broken = SealBroken("hello: for another key statement")
        for key in self._papers.sealing_keys():
            try:
                return accept(
                    hello,
                    identity=self._identity,
                    network=self._network,
                    sealing_secret=key.secret,
                    statement_hash=key.statement_hash,
                    ephemeral_secret=self._draw(32),
                    session_id=self._draw(SESSION_ID_SIZE_BYTES),
                    now=now,
                )
            except SealBroken as exc:
                broken = exc
        raise broken
