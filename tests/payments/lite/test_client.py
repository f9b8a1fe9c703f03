"""A chain as the port tells it, over real sockets, when all servers are honest."""

from pathlib import Path

import pytest
import trio

from cocoon_p2p.payments.boc import read_one
from cocoon_p2p.payments.chain import Chain, MessageRefused
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain import external_message
from cocoon_p2p.testing.chain import LocalChain
from cocoon_p2p.units import NANO_PER_TON
from tests.payments.devchain.bait import ACCEPTED, CODE, STRANGER, THROW, deployed, say, say_send
from tests.payments.lite.scene import NOW, staged

pytestmark = pytest.mark.slow

PLACE = AccountId(STRANGER)


async def test_accounts_times_and_transactions_are_what_the_chain_itself_tells(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        account = AccountId(deployed(scene.chain))
        for number in range(20):
            scene.chain.now += 60
            scene.chain.give(STRANGER, number)
            scene.chain.give(
                deployed(scene.chain, 0, 0), NANO_PER_TON, body=say_send(STRANGER, NANO_PER_TON // 9)
            )
            scene.chain.make_block()
        await scene.server("a")
        await scene.server("b")
        direct = LocalChain(scene.chain)

        async with scene.opened() as opened:
            port: Chain = opened

            assert port.global_id == scene.chain.global_id
            assert await port.time() == NOW + 20 * 60
            for place in (account, PLACE, AccountId(bytes(32))):
                assert await port.account(place) == await direct.account(place)
                told = await port.transactions(place)
                assert told == await direct.transactions(place)
                if told:
                    since = told[len(told) // 2].lt
                    assert await port.transactions(place, since_lt=since) == told[len(told) // 2 + 1 :]


async def test_what_is_sent_is_on_chain_and_known_again(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        bait = deployed(scene.chain)
        await scene.server("a")
        await scene.server("b")
        scene.chain.make_block()
        message = external_message(bait, say(ACCEPTED))

        async with scene.opened() as port:
            await port.send(message)
            scene.chain.make_block()

            last = (await port.transactions(AccountId(bait)))[-1]
            assert last.message_hash == read_one(message).hash


async def test_what_the_contract_rejects_is_refused_with_its_exit_code(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        message = external_message(deployed(scene.chain), say(THROW))
        await scene.server("a")
        await scene.server("b")
        with pytest.raises(MessageRefused) as direct:
            await LocalChain(scene.chain).send(message)

        async with scene.opened() as port:
            with pytest.raises(MessageRefused) as caught:
                await port.send(message)

        assert caught.value.exit_code == direct.value.exit_code
        assert caught.value.exit_code is not None


async def test_what_is_no_external_message_is_never_handed_in(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        server = await scene.server("a")
        async with scene.opened(operators_min=1) as port:
            for message in (b"", b"noise", CODE, bytes(1 << 17)):
                with pytest.raises(MessageRefused):
                    await port.send(message)

        assert server.asked == []


async def test_looking_up_takes_two_questions_to_one_server_and_one_to_the_other(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        servers = [await scene.server("a"), await scene.server("b")]
        async with scene.opened() as port:
            await port.account(PLACE)

        assert sorted(len(server.asked) for server in servers) == [1, 2]
        assert [server.connections for server in servers] == [1, 1]
        await trio.sleep(0.05)
        assert [server.open for server in servers] == [0, 0]
