"""The owner's socket: what it does, and for whom."""

import json
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.payments.devchain import DevChain
from cocoon_p2p.payments.devchain.addresses import spell_address
from cocoon_p2p.payments.devchain.clock import TIME_MAX
from cocoon_p2p.payments.devchain.control import (
    CONNECTIONS_MAX,
    LINE_MAX_BYTES,
    SILENT_SECONDS,
    Advance,
    Give,
    Look,
    Reply,
    ask,
    control_path,
    reply_to,
    serve_control,
)
from cocoon_p2p.units import NANO_MAX, NANO_PER_TON
from tests.payments.devchain.bait import NOW, STRANGER

ADDRESS = spell_address(STRANGER)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[DevChain, Path]]:
    chain, path = DevChain(now=NOW), control_path(folder / "chain")
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[object]) -> None:
            await serve_control(chain, path, task_status=task_status)

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


async def test_only_the_owner_can_open_the_socket_and_it_is_gone_in_the_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, path):
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    assert os.listdir(tmp_path) == []  # noqa: PTH208 - pathlib's is taken for blocking here.


async def test_a_socket_that_a_crash_left_behind_is_replaced(tmp_path: Path) -> None:
    control_path(tmp_path / "chain").touch()

    async with serving(tmp_path) as (_, path):
        assert (await trio.to_thread.run_sync(ask, path, Look(ADDRESS))).balance == 0


async def test_many_requests_may_follow_one_another_on_one_connection(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, path):
        stream = await trio.open_unix_socket(path)
        lines = b'{"do":"advance","seconds":1}\n' * 3

        await stream.send_all(lines[:20])
        await stream.send_all(lines[20:])
        replies = b""
        while replies.count(b"\n") < 3:
            replies += await stream.receive_some()

        assert [json.loads(line)["now"] for line in replies.splitlines()] == [NOW + 1, NOW + 2, NOW + 3]
        await stream.aclose()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"noise",
        b"[]",
        b"{}",
        b'{"do":"steal"}',
        b'{"do":"give","address":"nobody","amount":5}',
        b'{"do":"give","address":"%s"}' % ADDRESS.encode(),
        b'{"do":"give","address":"%s","amount":0}' % ADDRESS.encode(),
        b'{"do":"give","address":"%s","amount":-5}' % ADDRESS.encode(),
        b'{"do":"give","address":"%s","amount":%d}' % (ADDRESS.encode(), NANO_MAX + 1),
        b'{"do":"give","address":"%s","amount":5,"more":1}' % ADDRESS.encode(),
        b'{"do":"give","address":"%s","amount":0.5}' % ADDRESS.encode(),
        b'{"do":"advance","seconds":-1}',
        b'{"do":"advance","seconds":%d}' % (TIME_MAX - NOW + 1),
        b'{"do":"look","address":""}',
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(line: bytes) -> None:
    chain = DevChain(now=NOW)

    reply = reply_to(chain, line)

    assert reply.error
    assert (chain.now, chain.last.shard.id.seqno, chain.is_block_due) == (NOW, 0, False)


async def test_an_error_reaches_the_one_who_asked(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, path):
        with pytest.raises(ConfigurationError, match="not a TON address"):
            await trio.to_thread.run_sync(ask, path, Look("nobody"))


async def test_a_line_without_an_end_is_hung_up_on(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, path):
        stream = await trio.open_unix_socket(path)

        await stream.send_all(bytes(LINE_MAX_BYTES + 1))

        assert await stream.receive_some() == b""
        await stream.aclose()


async def test_who_says_nothing_is_hung_up_on(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with serving(tmp_path) as (_, path):
        silent = [await trio.open_unix_socket(path) for _ in range(CONNECTIONS_MAX)]
        began = trio.current_time()

        for stream in silent:
            assert await stream.receive_some() == b""
            await stream.aclose()

        assert trio.current_time() - began == pytest.approx(SILENT_SECONDS)


def test_where_no_chain_runs_the_caller_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no local chain answers"):
        ask(tmp_path / "chain.sock", Look(ADDRESS))


async def test_a_path_too_long_for_a_socket_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no control socket"):
        await serve_control(DevChain(now=NOW), tmp_path / ("x" * 150))
