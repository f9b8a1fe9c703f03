"""A network's own file: what whoever starts one publishes, so that nobody need copy it key by key.

    [network]
    name = "my-network"
    bootstrap = ["/dns4/boot.example.org/tcp/4001/p2p/12D3..."]

    [chain]                       # left out: no money moves in this network
    network = "testnet"
    servers = "testnet.json"      # beside this file

A node's file names it as `bootstrap` in `[network]`. It is read at each start, and is somebody else's
word: it is bounded, names no key but these, and no file but those that lie with it.

Decided in docs/decisions/0021-three-keys.md.
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

import msgspec

from cocoon_p2p.config.judging import section_mistakes
from cocoon_p2p.config.sections import ChainName, NetworkName, Section
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.strict_toml import (
    ConfigurationMistakes,
    Mistake,
    Where,
    cut,
    locate,
    read_toml,
    without_secrets,
)

SIZE_MAX_BYTES = 64 * 1024
"Some hundred addresses come to a quarter of it."

ADDRESSES_MAX = 64
"Bootstraps of one network: a node asks three of them at a time."

_ADDRESS_LETTERS_MAX = 320
_ADDRESS_SHOWN_MAX = 120
_ADDRESS = re.compile(
    r"/(ip4|ip6|dns|dns4|dns6)/[0-9A-Za-z._:%-]{1,253}/tcp/[0-9]{1,5}/p2p/[1-9A-HJ-NP-Za-km-z]{1,64}"
)


class NamedNetwork(Section, frozen=True, kw_only=True):
    """A network's name and its first addresses."""

    name: NetworkName
    bootstrap: Annotated[
        list[Annotated[str, msgspec.Meta(max_length=_ADDRESS_LETTERS_MAX)]],
        msgspec.Meta(min_length=1, max_length=ADDRESSES_MAX),
    ]


class NamedChain(Section, frozen=True, kw_only=True):
    """The chain that stands behind a network's channels."""

    network: ChainName
    servers: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class NetworkFile(msgspec.Struct, frozen=True, kw_only=True):
    network: NamedNetwork
    chain: NamedChain | None = None


@dataclass(frozen=True, slots=True)
class NamedBy:
    """A network as its file has it.

    Attributes:
        path: The file.
        source: Its text.
        facts: What it says.
    """

    path: Path
    source: str
    facts: NetworkFile

    @property
    def servers(self) -> str:
        """Where the configuration of the chain's servers lies; empty if there is no chain."""
        return (
            "" if self.facts.chain is None else str((self.path.parent / self.facts.chain.servers).resolve())
        )

    def origin(self, where: Where) -> str:
        """Say where in the file a key stands: `network.toml:3`."""
        return f"{self.path.name}:{locate(self.source, where)[0]}"


def read_network_file(path: Path) -> NamedBy:
    """Read and check a network's file.

    Raises:
        ConfigurationError: It cannot be read, or is too large.
        ConfigurationMistakes: It is not TOML, or not such a file.
    """
    source, tables = read_toml(path, what="a network's file", size_max_bytes=SIZE_MAX_BYTES)
    found = section_mistakes(NetworkFile, tables)
    if not found:
        facts = msgspec.convert(tables, NetworkFile)
        found = _address_mistakes(facts) + _servers_mistakes(path, facts)
        if not found:
            return NamedBy(path.resolve(), source, facts)
    raise ConfigurationMistakes(
        path, source, [Mistake(*locate(source, where), text) for where, text in found]
    )


def address_fault(address: str) -> str:
    """Say what is wrong with a bootstrap's address as it is written; empty if nothing is."""
    if _ADDRESS.fullmatch(address):
        return ""
    shown = cut(without_secrets(address), _ADDRESS_SHOWN_MAX)
    return f"{shown!r} is no node's address: write /dns4/HOST/tcp/PORT/p2p/PEER"


def _address_mistakes(facts: NetworkFile) -> list[tuple[Where, str]]:
    faults = filter(None, map(address_fault, facts.network.bootstrap))
    return [(("network", "bootstrap"), f"`bootstrap`: {fault}") for fault in faults]


def _servers_mistakes(path: Path, facts: NetworkFile) -> list[tuple[Where, str]]:
    """Refuse a path that leads away from the network's file: its author has no business elsewhere here."""
    if facts.chain is None:
        return []
    named, folder = PurePosixPath(facts.chain.servers), path.resolve().parent
    try:
        is_beside = not named.is_absolute() and (folder / named).resolve().is_relative_to(folder)
    except (OSError, ValueError, RuntimeError):
        is_beside = False
    return [] if is_beside else [(("chain", "servers"), "`servers`: name a file that lies beside this one")]


def is_network_file(path: Path) -> bool:
    """Whether a file is a network's own, and not a node's."""
    try:
        read_network_file(path)
    except ConfigurationError:
        return False
    return True
