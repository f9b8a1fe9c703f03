"""Servers that a node keeps over a restart, so that it needs no bootstrap to come back.

    {"version": 1, "network": "mainnet", "peers": [
        {"peer": "12D3KooW...", "addresses": ["/ip4/203.0.113.7/tcp/4001"],
         "since": 1763600000, "heard": 1763690000}]}

It is private: it says whom this node talks to. It is a convenience: what cannot be read costs a
warning, and the bootstraps are asked.

Rule 1: only servers that answered us, at addresses that we dialled, are kept. Those that have been
        there longest are the likeliest to be there tomorrow.
Rule 2: an empty table never takes the place of a good file: that is the moment it is there for.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from cocoon_p2p import private_files
from cocoon_p2p.errors import ConfigurationError, RecordRejected
from cocoon_p2p.identity import PeerId, parse_peer_id, peer_id_text
from cocoon_p2p.network.libp2p.addresses import Address, address_range, parse_address
from cocoon_p2p.network.libp2p.announced import is_public
from cocoon_p2p.network.libp2p.routing_table import DIALLED_MAX, Entry

log = logging.getLogger(__name__)

KEPT_MAX = 64
"Servers in a file: three buckets full."

PER_RANGE_MAX = 4
"Of them in one public address range, so that no rented range is all that we remember."

KEPT_SECONDS = 30 * 24 * 3600
"Who was not heard for a month is not worth a dial."

_VERSION = 1


_Date = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]


class _Server(msgspec.Struct, frozen=True):
    peer: str
    addresses: list[str]
    since: _Date
    heard: _Date


class _File(msgspec.Struct, frozen=True):
    version: int
    network: str
    peers: list[_Server]


def worth_keeping(servers: Iterable[Entry]) -> list[Entry]:
    """Choose whom to keep, whoever has been there longest first."""
    by_range, kept = Counter[str](), list[Entry]()
    for entry in sorted(servers, key=lambda entry: (entry.since, entry.peer)):
        numbers = [address for address in entry.addresses if not address.is_name]
        ranges = {address_range(address.host) for address in numbers if is_public(address)}
        if all(by_range[each] < PER_RANGE_MAX for each in ranges):
            by_range.update(ranges)
            kept.append(entry)
    return kept[:KEPT_MAX]


def encode(network: str, servers: Iterable[Entry]) -> bytes:
    """Spell the file."""
    kept = [
        _Server(peer_id_text(entry.peer), list(map(str, entry.addresses)), int(entry.since), int(entry.heard))
        for entry in servers
    ]
    return msgspec.json.format(msgspec.json.encode(_File(_VERSION, network, kept)), indent=1)


def decode(data: bytes, *, network: str, now: float) -> list[Entry]:
    """Read the file.

    Args:
        data: Its bytes.
        network: Our network; a file of another is not ours.
        now: Seconds since the Unix epoch; who was heard too long ago is left out.

    Raises:
        ConfigurationError: It is no such file.
    """
    try:
        file = msgspec.json.decode(data, type=_File)
        if (file.version, file.network) != (_VERSION, network):
            raise ConfigurationError(f"of another network or version ({file.network[:64]} {file.version})")
        return list(_judged(file.peers[:KEPT_MAX], now))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, RecordRejected) as exc:
        raise ConfigurationError(f"not a list of servers: {exc}") from exc


def _judged(servers: Iterable[_Server], now: float) -> Iterator[Entry]:
    for server in servers:
        places = [parse_address(text) for text in server.addresses[:DIALLED_MAX]]
        usable = tuple(address for address, _ in places if address.port and not address.is_wildcard)
        # A date from the future is a clock that was set back, at a start perhaps: nobody's fault.
        if usable and now - server.heard < KEPT_SECONDS:
            peer = parse_peer_id(server.peer)
            yield Entry(peer, usable, since=server.since, heard=server.heard)


class KeptPeers:
    """The file, and what it said when the node began or was written since.

    Args:
        path: Where; None keeps them in memory only.
        network: The network's name.
    """

    def __init__(self, path: Path | None, network: str) -> None:
        self._path = path
        self._network = network
        self._addresses: dict[PeerId, tuple[Address, ...]] = {}

    @property
    def peers(self) -> tuple[PeerId, ...]:
        """Who is kept."""
        return tuple(self._addresses)

    def addresses_of(self, peer: PeerId) -> tuple[Address, ...]:
        """Where a kept server was; nowhere if it is not kept."""
        return self._addresses.get(peer, ())

    def read(self, now: float) -> None:
        """Read the file, if there is one. Blocks for one small file; what is wrong with it is logged."""
        if self._path is None:
            return
        try:
            servers = decode(private_files.read(self._path), network=self._network, now=now)
        except FileNotFoundError:
            return
        except ConfigurationError as exc:
            log.warning(
                "kept peers cannot be used, going on without",
                extra={"file": str(self._path), "reason": str(exc)},
            )
            return
        self._addresses = {entry.peer: entry.addresses for entry in servers}

    def keep(self, servers: Iterable[Entry]) -> None:
        """Replace what is kept, unless nobody is left. Blocks for one small file and its flush to disk."""
        kept = worth_keeping(servers)
        if not kept:
            return
        self._addresses = {entry.peer: entry.addresses for entry in kept}
        if self._path is None:
            return
        try:
            private_files.replace(self._path, encode(self._network, kept))
        except ConfigurationError as exc:
            log.warning("peers not kept", extra={"file": str(self._path), "reason": str(exc)})
