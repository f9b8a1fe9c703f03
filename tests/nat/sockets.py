"""Bare sockets at places of a lab: what a lab promises is seen by them."""

import socket
from contextlib import closing

from tests.nat.lab import Place

PATIENCE_SECONDS = 30.0

SO_RCVBUFFORCE = 33
"asm-generic/socket.h"


def listening(place: Place, port: int) -> socket.socket:
    """Listen at a place, on all of its addresses."""
    with place.entered():
        listener = socket.create_server(("0.0.0.0", port))
    listener.settimeout(PATIENCE_SECONDS)
    return listener


def connected(
    place: Place, host: str, port: int, *, from_port: int = 0, seconds: float = PATIENCE_SECONDS
) -> socket.socket:
    """Connect from a place."""
    with place.entered():
        return socket.create_connection((host, port), seconds, ("0.0.0.0", from_port))


def datagrams(place: Place, port: int = 0) -> socket.socket:
    """Open a UDP socket at a place that holds a thousand datagrams until they are read."""
    with place.entered():
        endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # More than a host usually grants: nobody reads before all is sent.
    endpoint.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 23)
    endpoint.bind(("0.0.0.0", port))
    endpoint.settimeout(PATIENCE_SECONDS)
    return endpoint


def seen_as(caller: Place, listener: socket.socket, host: str, *, from_port: int = 0) -> tuple[str, int]:
    """Connect to a listener and say which address and port it sees."""
    port = listener.getsockname()[1]
    with closing(connected(caller, host, port, from_port=from_port)):
        accepted, seen = listener.accept()
        accepted.close()
    return seen[0], seen[1]
