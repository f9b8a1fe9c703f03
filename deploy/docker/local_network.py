"""Writes the files of a small network in containers: `python local_network.py FOLDER`, before it starts.

Every node has a folder of its own below FOLDER, with its key and `node.toml`; the chain's wallets and play
money are there too. What is there already stays, so a network that was stopped goes on.

Only for trying things: wallets without a passphrase, evidence that is simulated and says so.
"""

import json
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cocoon_p2p.identity import peer_id_text
from cocoon_p2p.keyfile import load_or_create
from cocoon_p2p.payments.wallet import wallet_file
from cocoon_p2p.payments.wallet.mnemonic import new_words

WORKERS = ("worker-1", "worker-2")
PLAY_MONEY_TON = 20
CHAIN = "chain"
ADDRESSES = {"bootstrap": "/dns4/bootstrap/tcp/4001", "proxy": "/dns4/proxy/tcp/4002"}
"Each service's name is its host's."

Tables = dict[str, dict[str, Any]]


def main(folder: Path, addresses: Mapping[str, str] = ADDRESSES) -> None:
    """Write all files that are not there yet.

    Args:
        folder: Shared by all nodes.
        addresses: Where the nodes that listen are reached.
    """
    if (folder / "client" / "node.toml").exists():
        return
    (folder / CHAIN).mkdir(parents=True, exist_ok=True)
    name = f"compose-{secrets.token_hex(8)}"
    peer = load_or_create(folder / "bootstrap" / "data" / "identity.key").peer_id
    first = f"{addresses['bootstrap']}/p2p/{peer_id_text(peer)}"
    money = {each: wallet(folder / each / "node.wallet") for each in ("client", "proxy", *WORKERS)}
    chain: Tables = {"chain": {"network": "local", "servers": f"../{CHAIN}/chain.json"}}
    tables: dict[str, Tables] = {
        "bootstrap": listens(addresses["bootstrap"], name),
        "proxy": {
            "proxy": {"open_after": 0, "canary_budget": 0},
            **listens(addresses["proxy"], name, first),
            **chain,
            "wallet": {"file": "node.wallet"},
            "trust": {"demo": True},
            "attestation": {"evidence": "sim"},
        },
        "client": {
            "client": {"trust": "sim"},
            "network": {"name": name, "bootstrap": [first]},
            **chain,
            "wallet": {"file": "node.wallet"},
            "trust": {"demo": True},
        },
    }
    for each in WORKERS:
        tables[each] = {
            "worker": {"model": "demo", "measure_seconds": 0},
            "network": {"name": name, "bootstrap": [first]},
            **chain,
            "wallet": {"payout": money[each]},
            "trust": {"demo": True},
            "attestation": {"evidence": "sim"},
        }
    for each, sections in tables.items():
        write(folder / each / "node.toml", {**sections, "data": {"directory": "data"}})
    paid = (f"--fund={money[each]}={PLAY_MONEY_TON}" for each in ("client", "proxy"))
    (folder / CHAIN / "arguments").write_text("\n".join(paid) + "\n")


def listens(address: str, network: str, *bootstrap: str) -> Tables:
    """Say where a node is reached: by all addresses of its host, told by the host's name."""
    port = address.rpartition("/")[2]
    told = {"listen": [f"/ip4/0.0.0.0/tcp/{port}"], "announce": [address]}
    return {"network": {"name": network, "bootstrap": list(bootstrap), **told}}


def wallet(path: Path) -> str:
    """Make a wallet, if there is none; give its address."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = wallet_file.read(path) if path.exists() else wallet_file.create(path, new_words(), "local")
    return made.address


def write(path: Path, tables: Tables) -> None:
    """Write a node's file. JSON's spelling of strings, numbers, booleans and lists is TOML's too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    for section, keys in tables.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items()), ""]
    path.write_text("\n".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
