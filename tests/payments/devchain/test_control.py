"""The owner's socket of a chain: what it does."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from cocoon_p2p import control
from cocoon_p2p.control import serve_control
from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.payments.address import GLOBAL_IDS, spell_address
from cocoon_p2p.payments.devchain import DevChain
from cocoon_p2p.payments.devchain.clock import TIME_MAX
from cocoon_p2p.payments.devchain.control import (
    RECALL,
    Advance,
    Give,
    Look,
    Recall,
    Recalled,
    Reply,
    Wish,
    ask,
    carry_out,
    control_answers,
    control_path,
)
from cocoon_p2p.units import NANO_MAX, NANO_PER_TON
from tests.payments.devchain.bait import NOW, STRANGER, deployed, say_destroy

ADDRESS = spell_address(STRANGER, global_id=GLOBAL_IDS["local"])


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[DevChain, Path]]:
    chain, path = DevChain(now=NOW), control_path(folder / "chain")
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
            await serve_control(path, control_answers(chain), task_status=task_status)

        await nursery.start(serve)
        yield chain, path
        nursery.cancel_scope.cancel()


async def test_money_is_given_and_is_in_a_block_when_the_reply_comes(tmp_path: Path) -> None:
    async with serving(tmp_path) as (chain, path):
        reply = await trio.to_thread.run_sync(ask, path, Give(ADDRESS, 5 * NANO_PER_TON))

        assert reply == Reply(now=NOW, seqno=1, balance=5 * NANO_PER_TON)
        assert chain.last.accounts is not None
        assert chain.last.accounts.weight == 5 * NANO_PER_TON


async def test_time_is_moved_and_the_block_says_so_when_the_reply_comes(tmp_path: Path) -> None:
    async with serving(tmp_path) as (chain, path):
        reply = await trio.to_thread.run_sync(ask, path, Advance(3600))

        assert reply == Reply(now=NOW + 3600, seqno=1)
        assert chain.last.shard.utime == NOW + 3600


async def test_an_account_is_looked_at_without_a_block(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, path):
        assert await trio.to_thread.run_sync(ask, path, Look(ADDRESS)) == Reply(now=NOW, seqno=0, balance=0)


async def test_what_happened_to_an_account_is_told_also_when_it_is_gone(tmp_path: Path) -> None:
    async with serving(tmp_path) as (chain, path):
        account = deployed(chain, amount=10 * NANO_PER_TON)
        last, *_ = chain.give(account, NANO_PER_TON, body=say_destroy(STRANGER))
        chain.make_block()
        recall = Recall(spell_address(account, global_id=GLOBAL_IDS["local"]))

        told = await trio.to_thread.run_sync(control.ask, path, RECALL, recall)

    assert chain.account(account).balance == 0
    bags = [base64.b64decode(bag) for bag in told.transactions]
    assert bags[-1] == last.boc
    assert len(bags) == 2


async def test_nothing_is_told_of_an_account_that_nothing_happened_to(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, path):
        assert await trio.to_thread.run_sync(control.ask, path, RECALL, Recall(ADDRESS)) == Recalled([])
        with pytest.raises(ConfigurationError, match="not a TON address"):
            await trio.to_thread.run_sync(control.ask, path, RECALL, Recall("nobody"))


@pytest.mark.parametrize(
    "wish",
    [
        Give("nobody", 5),
        Give(ADDRESS, 0),
        Give(ADDRESS, -5),
        Give(ADDRESS, NANO_MAX + 1),
        Advance(-1),
        Advance(TIME_MAX - NOW + 1),
        Look(""),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(wish: Wish) -> None:
    chain = DevChain(now=NOW)

    with pytest.raises(ConfigurationError):
        carry_out(chain, wish, chain.make_block)

    assert (chain.now, chain.last.shard.id.seqno, chain.is_block_due) == (NOW, 0, False)


async def test_an_error_reaches_the_one_who_asked(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, path):
        with pytest.raises(ConfigurationError, match="not a TON address"):
            await trio.to_thread.run_sync(ask, path, Look("nobody"))


def test_where_no_chain_runs_the_caller_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no local chain answers") as caught:
        ask(tmp_path / "chain.sock", Look(ADDRESS))

    assert caught.value.hint == "start it: cocoon devchain --state FILE"
