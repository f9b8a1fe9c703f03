"""Dials who asks for it, and says whether that worked: AutoNAT v2, the server's side.

What it may not become is somebody else's tool:

Rule 1: it dials an IP address and a port, once, with the asker's key expected there. Nothing but that
        key makes a difference to the answer, and a failure takes the same time whatever its cause, so
        whether a port is open, closed or filtered cannot be seen.
Rule 2: a public address that is not where the asker comes from costs the asker more bytes than the
        dial costs us and whoever is there.
Rule 3: a private address is dialled only if it is where the asker comes from: our own network, and
        this very machine, are none of a stranger's business. Names are not looked up, since they may
        lead anywhere, and ports of mail and the like are left alone.
Rule 4: so many in all, so many of an asker, of its address range, and to one address range.
Rule 5: one dial of an asker at a time, from a socket and a key of its own: the asker must not take it
        for a connection that it has, nor its router for an answer.

Spec: libp2p specs/autonat/autonat-v2.md.
"""

import ipaddress
import logging
import math
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio
from libp2p.custom_types import TProtocol

from cocoon_p2p.errors import MalformedMessage, RemoteProtocolError, Unavailable
from cocoon_p2p.identity import Identity, PeerId, peer_id_text
from cocoon_p2p.network.libp2p.address_bytes import decode_address
from cocoon_p2p.network.libp2p.addresses import Address, address_range
from cocoon_p2p.network.libp2p.announced import is_public_host
from cocoon_p2p.network.libp2p.autonat_wire import (
    DIAL_BACK,
    DIAL_REQUEST,
    MESSAGE_MAX_BYTES,
    Data,
    DataWanted,
    DialRequest,
    DialResponse,
    DialStatus,
    ResponseStatus,
    encode,
    encode_dial_back,
    receive,
)
from cocoon_p2p.network.libp2p.delimited import read_delimited
from cocoon_p2p.network.libp2p.host import Libp2pTransport, open_transport
from cocoon_p2p.network.libp2p.limits import Limits
from cocoon_p2p.network.libp2p.places import Places
from cocoon_p2p.network.libp2p.rates import Rate, Shares
from cocoon_p2p.network.libp2p.stream import Libp2pStream
from cocoon_p2p.network.transport import Stream

log = logging.getLogger(__name__)

DATA_SIZES_BYTES = (30_000, 100_000)
'What a dial elsewhere costs the asker: from here to there, by chance (specification, "Amplification").'

DIAL_SECONDS = 5.0
"How long a dial may take; one that fails is answered when they are over."

REQUEST_SECONDS = 30.0
"How long a request may take from its first byte: the data at 10 KB/s, and the dial twice over."

PORTS_LEFT_ALONE = frozenset({0, 19, 22, 25, 53, 110, 123, 143, 465, 587, 993, 995, 3389, 5900, 6667})
"Where a connection out of nowhere wakes an operator: remote shells, mail, names, chat."

ASKED_AT_ONCE_MAX = 32
DIALS_AT_ONCE_MAX = 4
"Requests that are read at once, one of each asker, and dials under way: one black hole holds nobody else up."

_MINUTE, _HOUR = 1 / 60, 1 / 3600
DIALS = Rate(per_second=1.0, burst=60)
DIALS_FOR_ASKER = Rate(per_second=20 * _HOUR, burst=16)
DIALS_FOR_RANGE = Rate(per_second=2 * _MINUTE, burst=48)
DIALS_TO_RANGE = Rate(per_second=2 * _MINUTE, burst=48)
"""In all, for one key, for and to one address range. An honest node has some four addresses, has each
tried twice when it starts and every quarter of an hour after that at one of its servers or another."""

_UNBOUNDED = Rate(math.inf, 1)

DialBack = Callable[[Address, PeerId, int], Awaitable[DialStatus]]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be dialled."""

    place: int
    "In the request, from 0."

    address: Address
    is_elsewhere: bool
    "Whether the asker comes from another address, and so has to pay with bytes."


def choose(
    request: DialRequest,
    asker: str,
    own: Iterable[Address] = (),
    can_reach: Callable[[str], bool] = lambda _: True,
) -> Chosen | None:
    """Choose the first address that we are willing to dial; None if it is none of them.

    Args:
        request: What was asked.
        asker: The IP address that the asker's connection comes from.
        own: Our addresses, which we dial for nobody else.
        can_reach: Says whether our machine could send anything to an IP address.
    """
    where = _plain(asker)
    refused = {_plain(address.host) for address in own if not address.is_name} - {where}
    for place, raw in enumerate(request.addresses):
        try:
            address = decode_address(raw)
        except MalformedMessage:
            continue
        if address.is_name or address.port in PORTS_LEFT_ALONE:
            continue
        host = _plain(address.host)
        is_elsewhere = host != where
        if is_elsewhere and (host in refused or not is_public_host(host)):
            continue
        if can_reach(host):
            return Chosen(place, address, is_elsewhere)
    return None


class AutonatServer:
    """Serves `/libp2p/autonat/2/dial-request` (see `open_autonat_server`).

    Args:
        transport: Ours.
        dial_back: Dials an address with the key of a peer expected there, and hands it the nonce.
    """

    def __init__(self, transport: Libp2pTransport, dial_back: DialBack | None = None) -> None:
        self._transport = transport
        self._dial_back = dial_back or dial_back_once
        self._places = Places(in_all_max=ASKED_AT_ONCE_MAX, per_peer_max=1, seconds=REQUEST_SECONDS)
        self._dials = trio.CapacityLimiter(DIALS_AT_ONCE_MAX)
        self._for_askers = Shares(DIALS, DIALS_FOR_ASKER)
        self._for_ranges = Shares(_UNBOUNDED, DIALS_FOR_RANGE)
        self._to_ranges = Shares(_UNBOUNDED, DIALS_TO_RANGE)

    async def accept(self, stream: Stream) -> None:
        """Answer one request. A cancel leaves nothing under way."""
        assert isinstance(stream, Libp2pStream), "our own transport's"
        with self._places.take(stream.peer):
            request = await receive(stream)
            if not isinstance(request, DialRequest):
                raise RemoteProtocolError(f"{type(request).__name__}: no request to dial")
            await stream.write(encode(await self._answer(request, stream)))
            await stream.close_write()

    async def _answer(self, request: DialRequest, stream: Libp2pStream) -> DialResponse:
        asker, host = stream.peer, stream.remote_host
        if not host:
            # It came over a relay: where it is, we do not know.
            return DialResponse(ResponseStatus.REFUSED)
        announced = self._transport.announced
        own = (*announced.listening, *announced.candidates)
        chosen = choose(request, host, own, has_route)
        if chosen is None:
            return DialResponse(ResponseStatus.REFUSED)
        if not self._take_turn(asker, host, chosen.address):
            return DialResponse(ResponseStatus.REJECTED)
        if chosen.is_elsewhere:
            await _collect(stream, chosen.place)
        status = await self._dial(chosen.address, asker, request.nonce)
        log.debug("dialled back", extra={"asker": peer_id_text(asker), "status": status.name})
        return DialResponse(ResponseStatus.OK, chosen.place, status)

    def _take_turn(self, asker: PeerId, host: str, target: Address) -> bool:
        now = trio.current_time()
        shares = (
            (self._for_askers, asker),
            (self._for_ranges, address_range(host)),
            (self._to_ranges, address_range(target.host)),
        )
        if any(share.seconds_early(who, now) for share, who in shares):
            return False
        for share, who in shares:
            share.use(who, 1, now)
        return True

    async def _dial(self, address: Address, asker: PeerId, nonce: int) -> DialStatus:
        async with self._dials:
            over = trio.current_time() + DIAL_SECONDS
            status = await self._dial_back(address, asker, nonce)
        if status is DialStatus.DIAL_ERROR:
            await trio.sleep_until(over)
        return status


async def _collect(stream: Stream, place: int) -> None:
    wanted = random.randint(*DATA_SIZES_BYTES)
    await stream.write(encode(DataWanted(place, wanted)))
    while wanted > 0:
        data = await receive(stream)
        if not isinstance(data, Data) or not data.size_bytes:
            raise RemoteProtocolError("not the bytes that a dial elsewhere costs")
        wanted -= data.size_bytes


async def dial_back_once(address: Address, peer: PeerId, nonce: int) -> DialStatus:
    """Dial an address from a node that exists for this alone, and hand the nonce over."""
    status = DialStatus.DIAL_ERROR
    throwaway = Identity.from_seed(os.urandom(32))
    limits = Limits(dial_seconds=DIAL_SECONDS, streams_per_peer_max=8)
    try:
        with trio.move_on_after(DIAL_SECONDS):
            async with open_transport(throwaway, limits=limits, punches_holes=False) as node:
                await node.dial([address.of(peer)])
                status = DialStatus.BACK_ERROR
                stream = await node.open_stream(peer, DIAL_BACK)
                await stream.write(encode_dial_back(nonce))
                # Whatever it answers: that it does is what we wait for before the connection closes.
                await read_delimited(stream, size_max_bytes=MESSAGE_MAX_BYTES)
                status = DialStatus.OK
    except (Unavailable, RemoteProtocolError) as exc:
        log.debug("dial back failed", extra={"address": str(address), "reason": str(exc)})
    return status


def has_route(host: str) -> bool:
    """Say whether this machine could send anything to an IP address at all; sends nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))
    except OSError:
        return False
    return True


@asynccontextmanager
async def open_autonat_server(transport: Libp2pTransport) -> AsyncIterator[AutonatServer]:
    """Dial back whoever asks, for as long as the block lasts."""
    server = AutonatServer(transport)
    transport.accept_streams(DIAL_REQUEST, server.accept)
    try:
        yield server
    finally:
        transport.host.remove_stream_handler(TProtocol(DIAL_REQUEST))


def _plain(host: str) -> str:
    """Spell an IP address in one way: a dual-stack listener sees IPv4 as ::ffff:a.b.c.d."""
    ip = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return str(ip)
