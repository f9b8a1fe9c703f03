"""The four verbs over real sockets: py-libp2p 0.8.1 with our own muxer, dialling and mends.

No other room imports libp2p.
"""
