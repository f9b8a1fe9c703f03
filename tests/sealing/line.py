"""A client and a worker with fixed keys, for the sealing tests."""

from dataclasses import dataclass
from hashlib import sha256

from nacl import bindings

from cocoon_p2p.identity import Identity, NetworkId, network_id
from cocoon_p2p.protocols.ids import Role, Trust
from cocoon_p2p.protocols.messages import ExchangeId, KeyStatement, Usage
from cocoon_p2p.protocols.papers import paper_hash
from cocoon_p2p.records import check_statement, make_statement
from cocoon_p2p.sealing import Accepted, Handshake, RequestBinding, Session, accept, start

MAIN, DEMO = network_id("mainnet"), network_id("demo")
NOW = 1_700_000_000.0
BINDING = RequestBinding(ExchangeId(b"exchange" * 2), b"quote hash" + bytes(22), 1_000_000, Trust.TDX)
USAGE = Usage(prompt=12, cached=0, completion=3, reasoning=0)


def secret(word: str) -> bytes:
    return sha256(word.encode()).digest()


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker's keys and statement."""

    identity: Identity
    sealing_secret: bytes
    statement: KeyStatement
    statement_hash: bytes

    def accept(
        self,
        hello: bytes,
        *,
        network: NetworkId = MAIN,
        now: float = NOW,
        draw: str = "",
        statement_hash: bytes = b"",
    ) -> Accepted:
        return accept(
            hello,
            identity=self.identity,
            network=network,
            sealing_secret=self.sealing_secret,
            statement_hash=statement_hash or self.statement_hash,
            ephemeral_secret=secret("worker ephemeral" + draw),
            session_id=secret("session" + draw)[:16],
            now=now,
        )


def make_worker(name: str = "worker", network: NetworkId = MAIN) -> Worker:
    identity, sealing_secret = Identity.from_seed(secret(name)), secret(name + " sealing")
    signed = make_statement(
        identity,
        network,
        role=Role.WORKER,
        sealing_key=bindings.crypto_scalarmult_base(sealing_secret),
        now=NOW,
        nonce=bytes(16),
    )
    statement = check_statement(signed, network=network, now=NOW, role=Role.WORKER)
    return Worker(identity, sealing_secret, statement, paper_hash(signed))


WORKER = make_worker()


def hello_to(worker: Worker, *, network: NetworkId = MAIN, draw: str = "") -> Handshake:
    return start(
        worker.statement,
        network=network,
        ephemeral_secret=secret("client ephemeral" + draw),
        nonce=secret("nonce" + draw),
        statement_hash=worker.statement_hash,
    )


def sessions(draw: str = "") -> tuple[Session, Session]:
    """Make a session: the client's half and the worker's."""
    handshake = hello_to(WORKER, draw=draw)
    accepted = WORKER.accept(handshake.hello, draw=draw)
    return handshake.finish(accepted.accept, accepted.signature, now=NOW), accepted.session
