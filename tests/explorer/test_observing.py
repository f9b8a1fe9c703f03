"""Channels on a real local chain, seen by an explorer that looks at blocks and contracts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cocoon_p2p.explorer.channels import wallets
from cocoon_p2p.explorer.observing import ChainSeen, Observer
from cocoon_p2p.payments import contract
from cocoon_p2p.payments.boc import write_boc
from cocoon_p2p.payments.cells import Builder
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain import lite_answers, lite_queries
from cocoon_p2p.payments.devchain.listing import bag
from cocoon_p2p.payments.lite import BlockFollower
from cocoon_p2p.payments.lite.client import LiteChain
from cocoon_p2p.payments.lite.proofs import Unreadable
from cocoon_p2p.units import NANO_PER_TON as TON
from tests.payments.contract.scene import PAYEE, PAYER, STRANGER
from tests.payments.contract.scene import Scene as Channel
from tests.payments.lite.scene import Scene, honest, staged


@asynccontextmanager
async def watching(folder: Path, tamper=honest) -> AsyncIterator[tuple[Scene, Observer]]:
    async with staged(folder) as scene:
        await scene.server("one", tamper)
        async with scene.opened(operators_min=1) as chain:
            observer = Observer(chain, BlockFollower(chain))
            await observer.look()
            yield scene, observer


async def seen_after_block(scene: Scene, observer: Observer) -> ChainSeen:
    scene.chain.make_block()
    return await observer.look()


def told(seen: ChainSeen) -> list[int]:
    return [settlement.amount for settlement in seen.settlements]


async def test_a_channel_is_seen_from_its_opening_to_its_end(tmp_path: Path) -> None:
    async with watching(tmp_path) as (scene, observer):
        channel = Channel(chain=scene.chain)
        channel.deploy(5 * TON)
        opened = await seen_after_block(scene, observer)
        (followed,) = opened.followed

        channel.claim(TON)
        channel.claim(3 * TON // 2)
        claimed = await seen_after_block(scene, observer)
        channel.top_up(2 * TON)
        topped_up = await seen_after_block(scene, observer)
        balance = channel.balance()
        channel.close(2 * TON)
        closed = await seen_after_block(scene, observer)

    assert (opened.opened, told(opened)) == (1, [])
    assert (followed.account, followed.payer, followed.payee) == (channel.channel, PAYER, PAYEE)
    assert 4.9 * TON < followed.locked < 5 * TON
    assert told(claimed) == [TON, TON // 2]
    assert claimed.opened == 0
    assert told(topped_up) == []
    assert topped_up.followed[0].locked == balance
    assert told(closed) == [TON // 2]
    assert closed.gone == (channel.channel,)
    assert observer.followed == {}


async def test_an_explorer_that_came_late_finds_a_channel_by_its_next_claim(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        await scene.server("one")
        channel = Channel(chain=scene.chain)
        channel.deploy(5 * TON)
        channel.claim(TON)
        scene.chain.make_block()
        scene.chain.make_block()
        async with scene.opened(operators_min=1) as chain:
            observer = Observer(chain, BlockFollower(chain))
            before = await observer.look()
            channel.claim(2 * TON)
            after = await seen_after_block(scene, observer)

    assert (before.opened, told(before)) == (0, [])
    # What it had paid before stands in its history, with proof.
    assert (after.opened, told(after)) == (1, [TON, TON])


async def test_a_channel_that_is_gone_holds_nothing_though_a_wallet_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = LiteChain.transactions

    async def transactions(chain: LiteChain, account: AccountId, *, since_lt: int = 0) -> object:
        if account == PAYER:
            raise Unreadable("a transaction of a kind that is not read")
        return await whole(chain, account, since_lt=since_lt)

    monkeypatch.setattr(LiteChain, "transactions", transactions)
    async with watching(tmp_path) as (scene, observer):
        channel = Channel(chain=scene.chain)
        channel.deploy(5 * TON)
        await seen_after_block(scene, observer)
        channel.close(TON)
        closed = await seen_after_block(scene, observer)

    (left,) = observer.followed.values()
    assert (left.locked, bool(left.gone_at)) == (0, True)
    assert told(closed) == [TON]


async def test_a_close_that_pays_the_payee_nothing_ends_the_channel_and_settles_nothing(
    tmp_path: Path,
) -> None:
    async with watching(tmp_path) as (scene, observer):
        channel = Channel(chain=scene.chain)
        channel.deploy(5 * TON)
        await seen_after_block(scene, observer)
        channel.close(0)
        closed = await seen_after_block(scene, observer)

    assert (told(closed), closed.gone) == ([], (channel.channel,))


async def test_a_channel_that_was_never_seen_to_end_is_forgotten_after_a_while(tmp_path: Path) -> None:
    """A close at all there is sends the payer nothing, so nobody says that it was the last payment."""
    async with watching(tmp_path) as (scene, observer):
        channel = Channel(chain=scene.chain)
        channel.deploy(2 * TON)
        await seen_after_block(scene, observer)
        channel.close(3 * TON)
        closed = await seen_after_block(scene, observer)
        scene.chain.now += 3600
        later = await seen_after_block(scene, observer)

    assert closed.gone == ()
    assert sum(told(closed)) > 1.9 * TON
    assert closed.followed[0].locked == 0
    assert (told(later), later.gone) == ([], (channel.channel,))


async def test_whoever_only_speaks_like_a_channel_is_not_counted(tmp_path: Path) -> None:
    async with watching(tmp_path) as (scene, observer):
        other_code = write_boc(Builder().uint(0xFF00, 16).cell())
        Channel(chain=scene.chain, code=other_code).tell(
            3 * TON, contract.top_up(), deploy=True, bounce=False
        )
        scene.chain.give(STRANGER, 3 * TON, body=contract.top_up())
        seen = await seen_after_block(scene, observer)

    assert (seen.opened, seen.followed, told(seen)) == (0, (), [])


async def test_a_server_that_makes_blocks_up_has_nothing_counted(tmp_path: Path) -> None:
    """It lists another chain's channel, which was never opened on this one."""
    other = Channel()
    other.deploy(9 * TON)
    other.chain.make_block()

    def lie(query: object, answered: object) -> object:
        if isinstance(query, lite_queries.ListBlockTransactionsExt):
            assert isinstance(answered, lite_answers.BlockTransactionsExt)
            listed = bag(past.transaction for past in other.chain.history.all_transactions())
            return lite_answers.BlockTransactionsExt(answered.id, answered.req_count, False, listed, b"")
        return answered

    async with watching(tmp_path, lie) as (scene, observer):
        seen = await seen_after_block(scene, observer)

    assert seen.blocks == 1
    assert (seen.opened, seen.followed, told(seen)) == (0, (), [])


async def test_a_block_that_is_hidden_is_made_up_for_when_the_contract_is_looked_at_again(
    tmp_path: Path,
) -> None:
    hides = False

    def hide(query: object, answered: object) -> object:
        if hides and isinstance(query, lite_queries.ListBlockTransactionsExt):
            assert isinstance(answered, lite_answers.BlockTransactionsExt)
            return lite_answers.BlockTransactionsExt(answered.id, answered.req_count, False, b"", b"")
        return answered

    async with watching(tmp_path, hide) as (scene, observer):
        channel = Channel(chain=scene.chain)
        channel.deploy(5 * TON)
        await seen_after_block(scene, observer)
        hides = True
        channel.claim(TON)
        seen = await seen_after_block(scene, observer)

    assert told(seen) == [TON]


async def test_wallets_are_counted_by_what_they_do(tmp_path: Path) -> None:
    worker = AccountId(b"\xee" * 32)
    async with watching(tmp_path) as (scene, observer):
        for payer, payee, salt in (
            (STRANGER, PAYER, b"1"),
            (PAYEE, PAYER, b"2"),
            (PAYER, worker, b"3"),
        ):
            channel = Channel(chain=scene.chain, payer=payer, payee=payee, salt=salt * 16)
            channel.deploy(2 * TON)
        await seen_after_block(scene, observer)
        counted = wallets(observer.followed.values())

    assert (counted.paying, counted.both, counted.paid) == (2, 1, 1)


@pytest.mark.parametrize("blocks", [3, 80])
async def test_blocks_that_came_while_nobody_looked_are_read_or_counted_as_missed(
    tmp_path: Path, blocks: int
) -> None:
    async with watching(tmp_path) as (scene, observer):
        for _ in range(blocks):
            scene.chain.make_block()
        seen = await observer.look()

    assert seen.blocks + seen.missed == blocks
    assert seen.missed == max(0, blocks - 65)


async def test_a_server_that_fails_in_the_midst_of_a_round_has_it_looked_at_again(tmp_path: Path) -> None:
    fails = False

    def fail(query: object, answered: object) -> object:
        if fails and isinstance(query, lite_queries.GetAccountState | lite_queries.GetTransactions):
            return lite_answers.LiteError(651, "not now")
        return answered

    async with watching(tmp_path, fail) as (scene, observer):
        channel = Channel(chain=scene.chain)
        channel.deploy(5 * TON)
        channel.claim(TON)
        fails = True
        failed = await seen_after_block(scene, observer)
        fails = False
        later = await observer.look()

    assert (failed.opened, told(failed), failed.tops) == (0, [], None)
    assert (later.opened, told(later)) == (1, [TON])
    assert later.tops is not None
