"""The mends of py-libp2p 0.8.1 that have no public extension point.

One function a fault: its docstring says what upstream does, what that costs a node, and
what stands there instead. Each is bound by a test that shows the fault without it
(`tests/network/libp2p/test_patches.py`), and listed in `docs/decisions/0004-own-yamux.md`.

Rule 1: a mend of more than a few lines lives in its own room; here it is only put in place.
Rule 2: only `_replace` touches upstream, so that `uninstall` can give all of it back.
"""

# What has no public extension point is private: pinned, and listed in docs/decisions/0004-own-yamux.md.
# pyright: reportPrivateUsage=false

import logging
from collections.abc import Callable
from importlib.metadata import version

from cryptography import x509
from libp2p.abc import IMuxedConn, ISecureConn
from libp2p.crypto.keys import PublicKey
from libp2p.network.connection import swarm_connection
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.security.tls import certificate
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.network.libp2p import negotiation, net_stream

LIBP2P_VERSION = "0.8.1"
"The release whose private parts these mends know. Another one is a decision, not an upgrade."

# What stood upstream, in the order in which it was replaced.
_upstream: list[tuple[object, str, object]] = []


def install() -> None:
    """Put every mend in place, for the whole process; a second call changes nothing.

    Raises:
        ConfigurationError: The libp2p that is installed is not the one that was mended.
    """
    if _upstream:
        return
    if (found := version("libp2p")) != LIBP2P_VERSION:
        raise ConfigurationError(
            f"the installed libp2p was never mended (found={found} mended={LIBP2P_VERSION})",
            hint=f"install libp2p=={LIBP2P_VERSION}",
        )
    for mend in _MENDS:
        mend()


def uninstall() -> None:
    """Give upstream back what was replaced: for tests that show a fault."""
    while _upstream:
        owner, name, original = _upstream.pop()
        setattr(owner, name, original)


def _replace(owner: object, name: str, mended: object) -> None:
    # vars, not getattr: a name that moved to a base class must fail here and not go unmended.
    _upstream.append((owner, name, vars(owner)[name]))
    setattr(owner, name, mended)


def use_the_registered_muxer() -> None:
    """Let `muxer_opt` decide what speaks /yamux/1.0.0.

    Upstream negotiates a muxer among those registered, and then builds its own `Yamux` for
    that protocol id whatever class was registered, so no other yamux can be used.
    """

    async def new_conn(self: MuxerMultistream, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        protocol, muxer = await self._selector.select(conn, conn.is_initiator, self.negotiate_timeout)
        return self._annotate_connection(muxer(conn, peer_id), conn, protocol)

    _replace(MuxerMultistream, "new_conn", new_conn)


def put_the_libp2p_extension_first() -> None:
    """Write the libp2p extension as the first one of our TLS certificate.

    Upstream writes it third. js-libp2p (@libp2p/tls 3.1.10) reads only the first and so
    refuses every TLS connection with py-libp2p, in both directions. The order means nothing
    in X.509 and the libp2p specification leaves it open.
    """
    add_last = certificate.add_libp2p_extension

    def add_first(
        builder: x509.CertificateBuilder, peer_public_key: PublicKey, signature: bytes
    ) -> x509.CertificateBuilder:
        extended = add_last(builder, peer_public_key, signature)
        *others, libp2p = extended._extensions
        extended._extensions = [libp2p, *others]
        return extended

    _replace(certificate, "add_libp2p_extension", add_first)


def agree_in_one_round_trip() -> None:
    """Send the header of a negotiation and the first protocol together.

    Upstream waits for the peer's header before it says which protocol it wants: two round trips
    for each stream, each muxer and each secure channel, where the protocol asks for one.
    """
    _replace(MultiselectClient, "select_one_of", negotiation.select_one_of)


def bound_a_negotiation_message() -> None:
    """Judge a message of a negotiation before and after it is read.

    Upstream collects as many bytes as the message says it has (a hundred reads' worth), from
    anyone who connects. And it decodes them without judging them: a byte that is not UTF-8 raises
    an error that nothing above catches, so one stream of one peer ends the whole node.
    """
    _replace(MultiselectCommunicator, "read", negotiation.read_message)


def read_and_write_without_a_lock() -> None:
    """Let a stream's reads and writes look at its state without a lock.

    Upstream locks for each look, and so forces a task switch for each small write, which then
    becomes an encrypted record of its own (see `net_stream`).
    """
    _replace(NetStream, "read", net_stream.read)
    _replace(NetStream, "write", net_stream.write)


def leave_the_root_logger_alone() -> None:
    """Let upstream's connections log under their own name.

    Upstream calls `logging.debug` of the module itself there, which logs to the root logger and,
    while that has no handler, gives it one that prints to stderr: from the first connection on,
    the application's log is configured by a library.
    """
    _replace(swarm_connection, "logging", logging.getLogger(swarm_connection.__name__))


_MENDS: tuple[Callable[[], None], ...] = (
    use_the_registered_muxer,
    put_the_libp2p_extension_first,
    agree_in_one_round_trip,
    bound_a_negotiation_message,
    read_and_write_without_a_lock,
    leave_the_root_logger_alone,
)
