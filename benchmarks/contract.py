"""How long a channel's steps on the local chain take, beside a bare transfer on it.

    python benchmarks/contract.py [--quick]

`cocoon devchain` is a process of its own; this process has a wallet there and speaks to it through lite
client and proofs, as a node does. Each round makes a bare transfer, opens a channel, claims from it by an
external message, and closes it with both signatures; every step is timed from the first question until its
effect was seen. Most of that is the pause before the second look (0.25 s): on TON, blocks take seconds. So
a round also times what is asked and answered without a pause: one look at an account.
"""

import os
import tempfile
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path

import trio
from _measure import milliseconds, print_machine, read_arguments, spread
from nacl import bindings

from cocoon_p2p.payments import contract
from cocoon_p2p.payments.chain import Chain
from cocoon_p2p.payments.channel import NOTHING_SEEN, Backing
from cocoon_p2p.payments.close_terms import sign_close_terms
from cocoon_p2p.payments.contract import AccountId, Deployment
from cocoon_p2p.payments.lite import LOCAL, open_chain
from cocoon_p2p.payments.treasury.claiming import changed, claim, new_number
from cocoon_p2p.payments.treasury.sight import read_sight
from cocoon_p2p.payments.voucher import sign_voucher
from cocoon_p2p.payments.wallet import Transfer, wallet_file
from cocoon_p2p.payments.wallet.spending import Purse
from cocoon_p2p.payments.wallet.spending_file import FileJournal
from cocoon_p2p.protocols.messages import CloseTerms, Voucher
from cocoon_p2p.testing.fortune import Fortune
from cocoon_p2p.testing.processes import NodeProcess
from cocoon_p2p.units import Nano

CAPACITY, TOTAL = Nano(500_000_000), Nano(100_000_000)
STEPS = ("look", "transfer", "open", "claim", "close")
PAYER_KEY, PAYER_SECRET = bindings.crypto_sign_seed_keypair(bytes([1]) * 32)
PAYEE_KEY, PAYEE_SECRET = bindings.crypto_sign_seed_keypair(bytes([2]) * 32)


@dataclass(frozen=True, slots=True)
class Till:
    """A wallet, and the chain that it is on."""

    chain: Chain
    purse: Purse

    async def pay(
        self, to: AccountId, amount: int, body: bytes | None = None, init: bytes | None = None
    ) -> None:
        await self.purse.spend(new_number(), [Transfer(to, Nano(amount), body, state_init=init)])


def main() -> None:
    arguments = read_arguments(__doc__)
    print_machine()
    with tempfile.TemporaryDirectory() as folder:
        trio.run(measure, Path(folder), 3 if arguments.quick else 40)


async def measure(place: Path, count: int) -> None:
    fortune = Fortune.made(place, ["client"])
    process = NodeProcess("chain", fortune.chain_arguments, place / "chain.toml", lambda *_: None)
    async with trio.open_nursery() as nursery:
        await process.start(nursery, *fortune.funding)
        fortune.write_config((await process.wait_for("config"))["config"])
        async with open_chain(fortune.config, LOCAL) as chain:
            wallet = place / "client.wallet"
            key = wallet_file.read(wallet).open(None)
            till = Till(chain, Purse(chain, key, FileJournal.beside(wallet)))
            # The first payment deploys the wallet.
            await till.pay(AccountId(os.urandom(32)), 1)
            rounds = [await _round(till) for _ in range(count)]
        await process.stop()
    print(f"{count} rounds on a local chain; median (least to most):")
    for step in STEPS:
        print(f"  {step:<9} {milliseconds([each[step] for each in rounds])}")
    for step in STEPS[2:]:
        print(f"  {step:<9} {spread([each[step] / each['transfer'] for each in rounds], 'transfers')}")


async def _round(till: Till) -> dict[str, float]:
    chain, payee = till.chain, AccountId(os.urandom(32))
    deployment = Deployment(
        global_id=chain.global_id,
        payer=till.purse.wallet.account,
        payee=payee,
        payer_key=PAYER_KEY,
        payee_key=PAYEE_KEY,
        close_delay_seconds=86_400,
        salt=os.urandom(16),
    )
    channel = contract.channel_id(deployment)
    took = {"look": await _timed(chain.account(payee)), "transfer": await _timed(till.pay(payee, 1))}
    took["open"] = await _timed(_open(till, deployment))
    backing = read_sight(deployment, NOTHING_SEEN, await chain.account(AccountId(channel)))
    assert isinstance(backing, Backing)
    voucher = Voucher(
        channel, backing.epoch, TOTAL, sign_voucher(PAYER_SECRET, channel, backing.epoch, TOTAL)
    )
    took["claim"] = await _timed(_claim(till, voucher))
    terms = CloseTerms(channel, backing.epoch, TOTAL, await chain.time() + 600)
    took["close"] = await _timed(_close(till, terms))
    assert (await chain.account(payee)).balance > TOTAL * 9 // 10
    return took


async def _open(till: Till, deployment: Deployment) -> None:
    account = AccountId(contract.channel_id(deployment))
    before = await till.chain.account(account)
    deposit = contract.deposit_for(CAPACITY)
    await till.pay(account, deposit, contract.top_up(), contract.state_init(deployment))
    await changed(till.chain, account, before)


async def _claim(till: Till, voucher: Voucher) -> None:
    account = AccountId(voucher.channel)
    before = await till.chain.account(account)
    await claim(till.chain, voucher, None)
    await changed(till.chain, account, before)


async def _close(till: Till, terms: CloseTerms) -> None:
    account = AccountId(terms.channel)
    before = await till.chain.account(account)
    signatures = (sign_close_terms(secret, terms) for secret in (PAYER_SECRET, PAYEE_SECRET))
    payers, payees = signatures
    body = contract.close(
        Nano(terms.total), terms.valid_until, payer_signature=payers, payee_signature=payees
    )
    await till.pay(account, contract.ATTACHED_MIN, body)
    assert (await changed(till.chain, account, before)).code is None


async def _timed(step: Awaitable[object]) -> float:
    started = time.perf_counter()
    await step
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
