"""Let a stream's reads and writes look at its state without a lock.

Upstream locks for each look, and so forces a task switch for each small write, which then becomes
an encrypted record of its own (see `net_stream`).
"""

from libp2p.network.stream.net_stream import NetStream

from cocoon_p2p.network.libp2p.net_stream import read, write

PATCHES = ((NetStream, "read", read), (NetStream, "write", write))
