"""Two libraries of other people's, with their checks on, against the local chain over a real socket."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Any, TypeVar

import pytest
import tonutils.clients.lite
import trio
from pytoniq import LiteClient, WalletV4R2, WalletV5R1
from pytoniq.liteclient import LiteServerError, RunGetMethodError
from pytoniq_core import Address
from pytoniq_core.crypto.keys import mnemonic_new
from pytoniq_core.proof.check_proof import ProofError
from ton_core import NetworkGlobalID
from tonutils.contracts.wallet import WalletV4R2 as TheirV4R2
from tonutils.contracts.wallet import WalletV5R1 as TheirV5R1

from cocoon_p2p.payments.devchain import AccountId, DevChain, serve_liteserver
from cocoon_p2p.payments.devchain import lite_answers as answers
from cocoon_p2p.payments.devchain import liteserver as server
from cocoon_p2p.payments.devchain.network_config import GlobalConfig, global_config
from cocoon_p2p.payments.devchain.proofs import account_proof
from cocoon_p2p.units import NANO_PER_TON
from tests.payments.devchain.bait import CODE, STRANGER, deployed
from tests.payments.devchain.lite_side import SERVER_KEY

T = TypeVar("T")

pytestmark = pytest.mark.slow

GIVEN = 100 * NANO_PER_TON

# Wallets stamp their messages with this machine's time and a minute; a chain that is ahead of it finds them
# expired. So this one is far behind.
NOW = 1_000_000_000
PLACE = Address((0, STRANGER))


@dataclass
class Scene:
    chain: DevChain
    config: GlobalConfig

    async def run(self, talk: Callable[..., Awaitable[T]], *arguments: object) -> T:
        """Run a client's talk in an asyncio loop in a thread of its own, while the server serves here."""
        return await trio.to_thread.run_sync(lambda: asyncio.run(_awaited(talk, self, *arguments)))

    def give(self, address: bytes, amount: int = GIVEN) -> None:
        """From a client's talk: give money, in a block of its own."""

        def give() -> None:
            self.chain.give(AccountId(address), amount)
            self.chain.make_block()

        trio.from_thread.run_sync(give)

    def settled(self) -> int:
        """From a client's talk: see to it that all that ran is in a block; the last one's number is given."""

        def settle() -> int:
            if self.chain.is_block_due:
                self.chain.make_block()
            return self.chain.last.master.id.seqno

        return trio.from_thread.run_sync(settle)


async def _awaited(talk: Callable[..., Awaitable[T]], *arguments: object) -> T:
    return await talk(*arguments)


@asynccontextmanager
async def serving() -> AsyncIterator[Scene]:
    chain = DevChain(now=NOW)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    config = global_config(IPv4Address("127.0.0.1"), port, SERVER_KEY.public_key, chain.history.first)
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            await serve_liteserver(chain, listener, SERVER_KEY, task_status=task_status)

        await nursery.start(serve)
        yield Scene(chain, config)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def pytoniq_client(config: GlobalConfig, trust_level: int) -> AsyncIterator[LiteClient]:
    client = LiteClient.from_config(config, ls_i=0, trust_level=trust_level)
    # By default it looks only every 20 ms whether an answer is there.
    client.delta = 0.001
    await client.connect()
    try:
        yield client
    finally:
        await client.close()


async def fresh(scene: Scene, client: LiteClient) -> None:
    """Have the client know the chain's last block."""
    scene.settled()
    await client.update_last_blocks()


async def spend_with_pytoniq(scene: Scene, trust_level: int, kind: Any, options: dict[str, int]) -> None:
    async with pytoniq_client(scene.config, trust_level) as client:
        wallet = await kind.from_mnemonic(client, mnemonic_new(24), **options)
        scene.give(wallet.address.hash_part)
        await fresh(scene, client)
        await wallet.update()
        assert wallet.balance == GIVEN

        await wallet.deploy_via_external()
        await fresh(scene, client)
        assert await client.run_get_method(wallet.address, "seqno", []) == [1]
        before = (await client.get_account_state(PLACE)).balance
        await wallet.transfer(destination=PLACE, amount=NANO_PER_TON, body="hello")
        await fresh(scene, client)

        assert (await client.get_account_state(PLACE)).balance > before + NANO_PER_TON * 99 // 100
        assert await client.run_get_method(wallet.address, "seqno", []) == [2]
        transactions = await client.get_transactions(wallet.address, 40)
        assert [one.lt for one in transactions] == sorted((one.lt for one in transactions), reverse=True)
        assert len(transactions) == 3
        assert transactions[0].out_msgs[0].info.dest == PLACE


@pytest.mark.parametrize("trust_level", [1, 2])
async def test_pytoniqs_wallets_deploy_and_pay_with_its_proof_checks_on(trust_level: int) -> None:
    logging.disable(logging.WARNING)
    try:
        async with serving() as scene:
            options = {"network_global_id": scene.chain.global_id}
            await scene.run(spend_with_pytoniq, trust_level, WalletV5R1, options)
            await scene.run(spend_with_pytoniq, trust_level, WalletV4R2, {})
    finally:
        logging.disable(logging.NOTSET)


async def scan_with_pytoniq(scene: Scene) -> None:
    """Use all that a block scanner or an explorer uses."""
    async with pytoniq_client(scene.config, 1) as client:
        trio.from_thread.run_sync(scene.chain.give, STRANGER, GIVEN)
        await client.wait_masterchain_seqno(1, 5_000, "getMasterchainInfo")
        await fresh(scene, client)
        found, (block, *_) = await client.raw_get_transactions(PLACE, 3)

        assert (await client.get_one_transaction(PLACE, found[0].lt, block)).lt == found[0].lt
        (listed,) = await client.raw_get_block_transactions(block)
        assert (listed["account"], listed["lt"]) == (PLACE, found[0].lt)
        (whole,) = await client.raw_get_block_transactions_ext(block)
        assert whole.lt == found[0].lt
        full = await client.raw_get_block(block)
        (account,) = full.extra.account_blocks[0].values()
        assert [one.lt for one in account.transactions[0].values()] == [found[0].lt]
        assert (await client.raw_get_block(client.last_mc_block)).info.seqno == client.last_mc_block.seqno
        assert (await client.raw_get_block_header(block)).info.seqno == block.seqno
        name, _ = await client.lookup_block(0, -(1 << 63), seqno=block.seqno)
        assert name == block
        assert [one.seqno for one in await client.get_all_shards_info()] == [client.last_mc_block.seqno]
        assert (await client.raw_get_shard_info()).seq_no == client.last_mc_block.seqno
        assert 21 in await client.get_config_all()
        assert (await client.get_config_params([18, 19]))[19] is not None
        code = trio.from_thread.run_sync(scene.chain.add_library, CODE)
        libraries = await client.get_libraries([code, bytes(32)])
        assert libraries[code.hex()].hash == code
        assert libraries[bytes(32).hex()] is None
        assert (await client.get_account_state(Address((0, b"\xee" * 32)))).balance == 0
        assert (await client.get_time())["now"] == NOW


async def test_pytoniq_scans_blocks_and_checks_what_it_is_told() -> None:
    async with serving() as scene:
        await scene.run(scan_with_pytoniq)


async def ask_what_is_not_there(scene: Scene, contract: bytes) -> None:
    async with pytoniq_client(scene.config, 1) as client:
        await fresh(scene, client)
        with pytest.raises(RunGetMethodError) as method:
            await client.run_get_method(Address((0, contract)), "boom", [])
        assert method.value.exit_code == 55
        with pytest.raises(LiteServerError, match="cannot apply external message"):
            await client.raw_send_message(b"noise")
        with pytest.raises(LiteServerError, match="unknown kind"):
            await client.get_state(-1, None, 0, bytes(32), bytes(32))
        assert (await client.get_version())["now"] == NOW


async def test_pytoniq_is_told_what_is_not_there_and_goes_on() -> None:
    logging.disable(logging.WARNING)
    try:
        async with serving() as scene:
            await scene.run(ask_what_is_not_there, deployed(scene.chain))
    finally:
        logging.disable(logging.NOTSET)


async def ask_a_liar(scene: Scene, trust_level: int) -> None:
    async with pytoniq_client(scene.config, trust_level) as client:
        await fresh(scene, client)
        await client.get_account_state(PLACE)


def lies(found: answers.AccountState, chain: DevChain, other: AccountId) -> dict[str, answers.AccountState]:
    """Three ways in which a server may say that an account has more than it has."""
    rich = chain.account(other).state
    before = chain.history.pair(chain.last.master.id.seqno - 1)
    assert before is not None
    return {
        "another's state": replace(found, state=rich),
        "another block's proof": replace(found, state=rich, proof=account_proof(before, other)),
        "another block": replace(found, shardblk=before.shard.id),
    }


@pytest.mark.parametrize("lie", ["another's state", "another block's proof", "another block"])
async def test_a_server_that_lies_about_an_account_is_caught(
    lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as scene:
        rich = deployed(scene.chain)
        scene.chain.give(STRANGER, 1)
        scene.chain.make_block()
        await scene.run(ask_a_liar, 1)
        honest = server.answer

        def lying(chain: DevChain, query: object) -> object:
            found = honest(chain, query)
            if isinstance(found, answers.AccountState):
                return lies(found, chain, rich)[lie]
            return found

        monkeypatch.setattr(server, "answer", lying)
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the library has no one error for it.
            await scene.run(ask_a_liar, 1)
        assert isinstance(
            caught.value, ProofError | AssertionError | ValueError | IndexError
        ) or "proof" in str(caught.value)


async def spend_with_tonutils(scene: Scene, kind: Any) -> None:
    client = tonutils.clients.lite.LiteClient.from_config(
        NetworkGlobalID.MAINNET, config=dict(scene.config), index=0
    )
    await client.connect()
    try:
        wallet = kind.create(client)[0]
        scene.give(bytes(wallet.address.hash_part))
        await wallet.refresh()
        assert wallet.balance == GIVEN

        for _ in range(2):
            await wallet.transfer(destination=f"0:{STRANGER.hex()}", amount=NANO_PER_TON, body="hello")
            scene.settled()
            # It learns of a new block when it has waited for one; this asks at once.
            await client.provider.updater.refresh()
            await wallet.refresh()

        assert wallet.state.name.lower() == "active"
        assert GIVEN - 2 * NANO_PER_TON - NANO_PER_TON // 20 < wallet.balance < GIVEN - 2 * NANO_PER_TON
        assert len(await client.get_transactions(wallet.address, 5)) == 3
        assert (await client.get_masterchain_info()).last.seqno == scene.chain.last.master.id.seqno
    finally:
        await client.close()


@pytest.mark.parametrize("kind", [TheirV5R1, TheirV4R2], ids=["V5R1", "V4R2"])
async def test_tonutils_wallets_deploy_and_pay(kind: Any) -> None:
    async with serving() as scene:
        await scene.run(spend_with_tonutils, kind)

        assert scene.chain.account(STRANGER).balance > 2 * NANO_PER_TON * 99 // 100
