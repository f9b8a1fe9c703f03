"""Sealing: what client and worker say to each other past the proxy, and nobody else reads.

One round trip makes a session (`handshake`), a session seals and opens the parts of requests
and the chunks of answers (`session`), a worker keeps its sessions in a table (`table`). Only
X25519, Ed25519, BLAKE2b and XChaCha20-Poly1305; everything here is deterministic, secrets
and nonces are arguments.

Spec: protocols/sealing.md. Vectors: protocols/vectors/sealing.json.
"""

from cocoon_p2p.sealing.handshake import Accepted as Accepted
from cocoon_p2p.sealing.handshake import Handshake as Handshake
from cocoon_p2p.sealing.handshake import accept as accept
from cocoon_p2p.sealing.handshake import start as start
from cocoon_p2p.sealing.replay import ReplayWindow as ReplayWindow
from cocoon_p2p.sealing.session import RequestBinding as RequestBinding
from cocoon_p2p.sealing.session import Session as Session
from cocoon_p2p.sealing.session import open_answer_chunk as open_answer_chunk
from cocoon_p2p.sealing.table import SessionTable as SessionTable
