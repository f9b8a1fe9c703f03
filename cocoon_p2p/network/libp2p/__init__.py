"""The four verbs over real sockets: py-libp2p 0.8.1 with our own muxer, dialling and mends.

No other room imports libp2p.
"""

# All of it, and first: libp2p's modules import one another. Two threads that came into that circle by two
# doors, as two clients of one program would, found it half made or waited for each other.
import libp2p as libp2p
