"""Wallets for tests: keys that need no words, on a chain that needs no socket."""

import pytest

from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain import AccountId as LocalAccountId
from cocoon_p2p.payments.devchain import DevChain
from cocoon_p2p.payments.wallet import Wallet, WalletKey
from cocoon_p2p.testing.chain import LocalChain
from cocoon_p2p.units import NANO_PER_TON

pytest.importorskip(
    "tonpy", reason="tonpy is missing: `make test` installs it from the lock where it has a wheel"
)

NOW = 1_800_000_000
KEY = WalletKey.from_seed(b"K" * 32)
STRANGER, OTHER = AccountId(b"\xcc" * 32), AccountId(b"\xdd" * 32)
WORDS = (
    "hospital stove relief fringe tongue always charge angry urge sentence again match "
    "nerve inquiry senior coconut label tumble carry category beauty bean road solution"
).split()
"TON's own test words: public, and worth nothing."


def begun(*, given: int = 10 * NANO_PER_TON, key: WalletKey = KEY) -> tuple[DevChain, LocalChain, Wallet]:
    """Begin a chain on which a wallet has money, and nothing is deployed yet."""
    devchain = DevChain(now=NOW)
    wallet = Wallet(key.public_key, devchain.global_id)
    if given:
        devchain.give(LocalAccountId(wallet.account), given)
    devchain.make_block()
    return devchain, LocalChain(devchain), wallet


def balance(devchain: DevChain, account: AccountId) -> int:
    return int(devchain.account(LocalAccountId(account)).balance)
