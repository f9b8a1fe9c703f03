"""Let `muxer_opt` decide what speaks /yamux/1.0.0.

Upstream negotiates a muxer among those registered, and then builds its own `Yamux` for that
protocol id whatever class was registered, so no other yamux can be used.
"""

# There is no public way: see the package's docstring.
# pyright: reportPrivateUsage=false

from libp2p.abc import IMuxedConn, ISecureConn
from libp2p.peer.id import ID
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream


async def _new_conn(self: MuxerMultistream, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
    protocol, muxer = await self._selector.select(conn, conn.is_initiator, self.negotiate_timeout)
    return self._annotate_connection(muxer(conn, peer_id), conn, protocol)


PATCHES = ((MuxerMultistream, "new_conn", _new_conn),)
