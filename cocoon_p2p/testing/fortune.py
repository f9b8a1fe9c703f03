"""A local TON chain for a network of processes, and everybody's wallets on it.

Who pays has a wallet with play money in it. A worker has an address to be paid at, and nothing else:
it claims by external messages, so it needs no money to earn some.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cocoon_p2p.payments.address import GLOBAL_IDS, parse_address
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.wallet import wallet_file
from cocoon_p2p.payments.wallet.mnemonic import new_words
from cocoon_p2p.units import NANO_PER_TON, Nano, format_ton

PLAY_MONEY = Nano(20 * NANO_PER_TON)
"What everybody who pays begins with."

CONFIG = "chain.json"


@dataclass(frozen=True, slots=True)
class Fortune:
    """The chain's place, and an address for each name: `client`, `proxy`, `worker-1` ..."""

    place: Path
    addresses: Mapping[str, str]

    @classmethod
    def made(cls, place: Path, names: Iterable[str]) -> "Fortune":
        """Make a wallet file for each name, in `place`; one that is there from before is taken."""
        return cls(place, {name: _wallet(place / f"{name}.wallet").address for name in names})

    def account(self, name: str) -> AccountId:
        return parse_address(self.addresses[name], global_id=GLOBAL_IDS["local"]).account

    @property
    def config(self) -> Path:
        """TON's global configuration, as `cocoon devchain` printed it: what wallets and nodes take."""
        return self.place / CONFIG

    @property
    def state(self) -> Path:
        """Where the chain is kept; its control socket is beside it."""
        return self.place / "chain.state"

    @property
    def chain_arguments(self) -> tuple[str, ...]:
        """How `cocoon` is told to run the chain."""
        return "devchain", f"--state={self.state}"

    @property
    def funding(self) -> tuple[str, ...]:
        """What it is told besides when it begins; a chain that goes on would make up for what was spent."""
        return tuple(
            f"--fund={address}={format_ton(PLAY_MONEY).split()[0]}"
            for name, address in self.addresses.items()
            if not _is_paid_only(name)
        )

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Keep what the chain said of itself, for wallets and nodes."""
        self.config.write_text(json.dumps(config))

    def tables(self, name: str) -> Mapping[str, Mapping[str, object]]:
        """Give what a node's config says of chain and wallet."""
        wallet = {"payout": self.addresses[name]} if _is_paid_only(name) else {"file": f"{name}.wallet"}
        return {"chain": {"network": "local", "servers": CONFIG}, "wallet": wallet}


def _is_paid_only(name: str) -> bool:
    return name.startswith("worker")


def _wallet(path: Path) -> wallet_file.WalletFile:
    return wallet_file.read(path) if path.exists() else wallet_file.create(path, new_words(), "local")
