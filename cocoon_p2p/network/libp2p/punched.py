"""Connections through holes that both ends punched: that one stands proves no open port."""

from libp2p.network.connection.raw_connection import RawConnection


class PunchedConnection(RawConnection):
    """A socket that we knocked with, on which the peer is the side that dialled."""
