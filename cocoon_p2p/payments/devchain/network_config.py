"""What a wallet must know to use a chain: where its lite server is, and the server's key."""

import base64
from ipaddress import IPv4Address
from typing import TypedDict

from cocoon_p2p.payments.devchain.blocks import BlockId


class LiteServerEntry(TypedDict):
    ip: int
    port: int
    id: dict[str, str]


GlobalConfig = TypedDict(
    "GlobalConfig",
    {"@type": str, "liteservers": list[LiteServerEntry], "validator": dict[str, object]},
)


def global_config(host: IPv4Address, port: int, public_key: bytes, first: BlockId) -> GlobalConfig:
    """Write a network's `global.config.json` as TON's own networks publish it, with one lite server.

    Args:
        host: Where the server is; for "everywhere" (0.0.0.0) this machine is written.
        port: TCP.
        public_key: The server's Ed25519 key, 32 bytes.
        first: The very first masterchain block.
    """
    reachable = IPv4Address("127.0.0.1") if host.is_unspecified else host
    block: dict[str, object] = {
        "workchain": first.workchain,
        "shard": first.shard,
        "seqno": first.seqno,
        "root_hash": _base64(first.root_hash),
        "file_hash": _base64(first.file_hash),
    }
    return {
        "@type": "config.global",
        "liteservers": [
            {
                # Signed, as the format has it.
                "ip": int.from_bytes(reachable.packed, "big", signed=True),
                "port": port,
                "id": {"@type": "pub.ed25519", "key": _base64(public_key)},
            }
        ],
        "validator": {
            "@type": "validator.config.global",
            "zero_state": block,
            "init_block": block,
            "hardforks": [],
        },
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
