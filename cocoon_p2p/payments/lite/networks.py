"""Which networks there are, and the lite servers that a user's configuration names.

A configuration is what TON's networks publish as `global.config.json`. To an entry of
`liteservers` a user may add `"operator": "name"`: who runs it. Entries without one count as
one operator for each /16 of addresses, because one data centre often has one owner.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from nacl import bindings
from nacl.exceptions import RuntimeError as KeyRefused

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.payments.lite.queries import HASH_BYTES, ZeroState

SERVERS_MAX = 64
_CONFIG_MAX_BYTES = 1 << 20
_OPERATOR_MAX = 64
_PORT_MAX = (1 << 16) - 1


@dataclass(frozen=True, slots=True)
class Network:
    """A TON network."""

    name: str

    global_id: int | None
    "What its blocks and wallets are marked with; None: whatever its blocks say, but not a public network's."

    zero_state: ZeroState | None
    "What it began with; None: whatever the configuration says, but not a public network's."

    operators_min: int
    "How many operators must tell the same before it counts."

    is_of_now: bool
    "Whether its blocks are as old as they say. A local chain's time can be moved."


def _zero_state(root_hash: str, file_hash: str) -> ZeroState:
    return ZeroState(base64.b64decode(root_hash), base64.b64decode(file_hash))


# Their zero states are in every copy of https://ton.org/global.config.json and testnet-global.config.json.
MAINNET = Network(
    "mainnet",
    -239,
    _zero_state(
        "F6OpKZKqvqeFp6CQmFomXNMfMj2EnaUSOXN+Mh+wVWk=", "XplPz01CXAps5qeSWUtxcyBfdAo5zVb1N979KLSKD24="
    ),
    operators_min=2,
    is_of_now=True,
)
TESTNET = Network(
    "testnet",
    -3,
    _zero_state(
        "gj+B8wb/AmlPk1z1AhVI484rhrUpgSr2oSFIh56VoSg=", "Z+IKwYS54DmmJmesw/nAD5DzWadnOCMzee+kdgSYDOg="
    ),
    operators_min=2,
    is_of_now=True,
)
LOCAL = Network("local", None, None, operators_min=1, is_of_now=False)
NETWORKS = {network.name: network for network in (MAINNET, TESTNET, LOCAL)}
PUBLIC = (MAINNET, TESTNET)


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A lite server, as a configuration names it."""

    host: str
    port: int
    key: bytes
    "Its Ed25519 key, 32 bytes."

    operator: str
    "Who runs it, as far as the configuration says."

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Directory:
    """What a configuration says."""

    zero_state: ZeroState
    servers: tuple[ServerAddress, ...]


def read_directory(path: Path, network: Network) -> Directory:
    """Read a network's configuration from a file.

    Raises:
        ConfigurationError: It cannot be read, is another network's, or names too few operators.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_CONFIG_MAX_BYTES + 1)
    except OSError as exc:
        raise ConfigurationError(
            f"cannot read the network's configuration (file={path}): {exc.strerror or exc}",
            hint="save the network's global.config.json there",
        ) from exc
    try:
        if len(text) > _CONFIG_MAX_BYTES:
            raise ValueError(f"too large (limit={_CONFIG_MAX_BYTES} bytes)")
        directory = _read(json.loads(text))
    except (ValueError, LookupError, TypeError, RecursionError) as exc:
        raise ConfigurationError(
            f"not a network's configuration (file={path}): {exc}",
            hint="take the network's global.config.json as it is published",
        ) from exc
    _judge(directory, network, path)
    return directory


def _read(config: Any) -> Directory:
    """Raises ValueError, LookupError or TypeError if it is not what it should be."""
    zero = config["validator"]["zero_state"]
    entries: list[Any] = list(config["liteservers"])
    if not 1 <= len(entries) <= SERVERS_MAX:
        raise ValueError(f"`liteservers` must have 1 to {SERVERS_MAX} entries")
    servers = tuple(_read_server(entry) for entry in entries)
    if len({server.key for server in servers}) != len(servers):
        raise ValueError("two of `liteservers` have the same key")
    return Directory(ZeroState(_hash(zero["root_hash"]), _hash(zero["file_hash"])), servers)


def _read_server(entry: Any) -> ServerAddress:
    # The format has addresses as signed numbers.
    address = IPv4Address(entry["ip"] & 0xFFFFFFFF)
    port, key = entry["port"], _hash(entry["id"]["key"])
    if not isinstance(port, int) or not 1 <= port <= _PORT_MAX:
        raise ValueError(f"not a port: {port!r}")
    try:
        bindings.crypto_sign_ed25519_pk_to_curve25519(key)
    except KeyRefused as exc:
        raise ValueError(f"not an Ed25519 key (server={address}:{port})") from exc
    operator = entry.get("operator", f"{IPv4Address(int(address) & 0xFFFF0000)}/16")
    if not isinstance(operator, str) or not 1 <= len(operator) <= _OPERATOR_MAX:
        raise ValueError(f"`operator` must be a name of 1 to {_OPERATOR_MAX} characters")
    return ServerAddress(str(address), port, key, operator)


def _hash(text: object) -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"not a hash or key: {text!r}")
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        raise ValueError(f"not base64: {text!r}") from exc
    if len(data) != HASH_BYTES:
        raise ValueError(f"not a hash or key of {HASH_BYTES} bytes: {text!r}")
    return data


def _judge(directory: Directory, network: Network, path: Path) -> None:
    zero_state = directory.zero_state
    actual = next((public.name for public in PUBLIC if public.zero_state == zero_state), "another network")
    is_public = actual != "another network"
    if zero_state != network.zero_state and (network.zero_state is not None or is_public):
        raise ConfigurationError(
            f"the configuration is not that of {network.name} but of {actual} (file={path})",
            hint=f"give {network.name}'s own global.config.json",
        )
    operators = {server.operator for server in directory.servers}
    if len(operators) < network.operators_min:
        raise ConfigurationError(
            f"the configuration names too few operators (file={path} operators={len(operators)}"
            f" needed={network.operators_min})",
            hint='add servers of other operators, and tell them apart by `"operator": "name"`',
        )
