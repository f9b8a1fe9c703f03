"""The lite server as a service: blocks, connections, and strangers that break every rule."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from cocoon_p2p.payments.devchain import DevChain, external_message, serve_liteserver
from cocoon_p2p.payments.devchain import lite_answers as answers
from cocoon_p2p.payments.devchain import lite_queries as queries
from cocoon_p2p.payments.devchain import liteserver as server
from cocoon_p2p.payments.devchain.blocks import SHARD_ALL, BlockId
from cocoon_p2p.payments.devchain.packets import LiteQuery, Ping, Pong, Query
from cocoon_p2p.payments.devchain.tl import decode, encode
from tests.payments.devchain.bait import ACCEPTED, LOOP, NOW, STRANGER, deployed, say
from tests.payments.devchain.lite_side import SERVER_KEY, Ciphers, LiteSide


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """A place to connect to, without a socket."""

    def __init__(self) -> None:
        self._dial, self._accept = trio.open_memory_channel[trio.abc.Stream](1000)

    async def connect(self, pair: tuple[trio.abc.Stream, trio.abc.Stream] | None = None) -> trio.abc.Stream:
        ours, theirs = pair or trio.testing.memory_stream_pair()
        await self._dial.send(theirs)
        return ours

    async def accept(self) -> trio.abc.Stream:
        try:
            return await self._accept.receive()
        except trio.EndOfChannel as exc:
            raise trio.ClosedResourceError from exc

    async def aclose(self) -> None:
        self._accept.close()
        await trio.lowlevel.checkpoint()


@dataclass
class Scene:
    chain: DevChain
    listener: MemoryListener

    async def client(self) -> LiteSide:
        side = LiteSide(await self.listener.connect())
        await side.shake_hands()
        return side


@asynccontextmanager
async def serving(idle_seconds: float = 5.0, spacing_seconds: float = 0.01) -> AsyncIterator[Scene]:
    chain, listener = DevChain(now=NOW), MemoryListener()
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            await serve_liteserver(
                chain,
                listener,
                SERVER_KEY,
                idle_seconds=idle_seconds,
                spacing_seconds=spacing_seconds,
                task_status=task_status,
            )

        await nursery.start(serve)
        yield Scene(chain, listener)
        nursery.cancel_scope.cancel()


async def hung_up(side: LiteSide) -> bool:
    try:
        while True:
            await side.receive()
    except (trio.EndOfChannel, trio.BrokenResourceError):
        return True


async def test_a_query_is_answered_and_a_ping_too(autojump_clock: MockClock) -> None:
    async with serving() as scene:
        client = await scene.client()

        answer = await client.ask(queries.GetTime())
        await client.send(encode(Ping(-7)))

        assert answer == answers.CurrentTime(NOW)
        assert decode(await client.receive()) == Pong(-7)


async def test_a_message_is_in_a_block_as_soon_as_it_was_sent(autojump_clock: MockClock) -> None:
    async with serving() as scene:
        address = deployed(scene.chain)
        client = await scene.client()
        began = trio.current_time()
        await client.ask(queries.GetMasterchainInfo(), queries.WaitMasterchainSeqno(1, 10_000))

        sent = await client.ask(queries.SendMessage(external_message(address, say(ACCEPTED))))
        info = await client.ask(queries.GetMasterchainInfo(), queries.WaitMasterchainSeqno(2, 10_000))

        assert sent == answers.SendStatus(1)
        assert isinstance(info, answers.MasterchainInfo)
        assert info.last.seqno == 2
        assert trio.current_time() - began < 0.1


async def test_what_others_do_to_the_chain_is_in_a_block_too(autojump_clock: MockClock) -> None:
    async with serving() as scene:
        client = await scene.client()

        scene.chain.give(STRANGER, 5)
        info = await client.ask(queries.GetMasterchainInfo(), queries.WaitMasterchainSeqno(1, 10_000))

        assert isinstance(info, answers.MasterchainInfo)
        state = await client.ask(queries.GetAccountState(info.last, queries.AccountName(0, STRANGER)))
        assert isinstance(state, answers.AccountState)
        assert state.state


async def test_moving_the_time_makes_a_block(autojump_clock: MockClock) -> None:
    async with serving() as scene:
        scene.chain.now += 3600

        await trio.testing.wait_all_tasks_blocked()

        assert scene.chain.last.shard.utime == NOW + 3600


async def test_messages_that_come_together_share_a_block(autojump_clock: MockClock) -> None:
    async with serving() as scene:
        for _ in range(20):
            scene.chain.give(STRANGER, 5)
        await trio.sleep(1)

        assert scene.chain.last.master.id.seqno == 1


async def test_blocks_keep_their_distance(autojump_clock: MockClock) -> None:
    async with serving(spacing_seconds=0.5) as scene:
        for _ in range(40):
            scene.chain.give(STRANGER, 5)
            await trio.sleep(0.1)

        assert scene.chain.last.master.id.seqno <= 1 + 40 * 0.1 / 0.5


async def test_an_idle_chain_makes_an_empty_block_now_and_then(autojump_clock: MockClock) -> None:
    # A client that waits ten seconds in vain may never ask again.
    async with serving(idle_seconds=5) as scene:
        client = await scene.client()
        for seqno in (1, 2, 3):
            began = trio.current_time()

            info = await client.ask(queries.GetMasterchainInfo(), queries.WaitMasterchainSeqno(seqno, 10_000))

            assert isinstance(info, answers.MasterchainInfo)
            assert trio.current_time() - began < 6


async def test_waiting_for_a_block_that_does_not_come_is_answered_in_time(autojump_clock: MockClock) -> None:
    async with serving() as scene:
        client = await scene.client()
        began = trio.current_time()

        error = await client.ask(queries.GetTime(), queries.WaitMasterchainSeqno(1000, 2_000))

        assert isinstance(error, answers.LiteError)
        assert error.code == 652
        assert trio.current_time() - began == pytest.approx(2)


async def test_nobody_waits_for_longer_than_a_minute_or_for_less_than_no_time(
    autojump_clock: MockClock,
) -> None:
    async with serving() as scene:
        client = await scene.client()
        for timeout_ms, limit in ((2**31 - 1, server.WAIT_MAX_SECONDS), (-5, 0)):
            began = trio.current_time()

            await client.ask(queries.GetTime(), queries.WaitMasterchainSeqno(1000, timeout_ms))

            assert trio.current_time() - began == pytest.approx(limit)


async def test_a_block_that_is_there_is_not_waited_for(autojump_clock: MockClock) -> None:
    async with serving() as scene:
        client = await scene.client()
        began = trio.current_time()

        assert await client.ask(queries.GetTime(), queries.WaitMasterchainSeqno(0, 0)) == answers.CurrentTime(
            NOW
        )
        assert trio.current_time() == began


async def test_those_who_wait_do_not_hold_up_the_others(autojump_clock: MockClock) -> None:
    async with serving() as scene:
        client = await scene.client()
        waiting = [
            await client.send_query(
                encode(queries.WaitMasterchainSeqno(1000, 9_000)) + encode(queries.GetTime())
            )
            for _ in range(server.WAITING_MAX + 1)
        ]

        refused, busy = await client.answer()
        answer = await client.ask(queries.GetTime())

        assert refused == waiting[-1]
        assert isinstance(busy, answers.LiteError)
        assert answer == answers.CurrentTime(NOW)
        late = [await client.answer() for _ in waiting[:-1]]
        assert {asked for asked, _ in late} == set(waiting[:-1])
        again = await client.ask(queries.GetTime(), queries.WaitMasterchainSeqno(1000, 10))
        assert isinstance(again, answers.LiteError)
        assert again.code == 652


NO_BLOCK = BlockId(-1, -SHARD_ALL, 0, bytes(32), bytes(32))
UNSERVED = [
    b"",
    b"\x01\x02\x03",
    bytes.fromhex("efbeadde"),
    encode(queries.GetTime()) + b"\x00",
    encode(queries.WaitMasterchainSeqno(0, 0)),
    encode(answers.CurrentTime(5)),
    encode(queries.GetLibraries(()))[:4] + b"\xff\xff\xff\xff",
    encode(queries.SendMessage(b"noise")),
    encode(queries.GetBlock(NO_BLOCK)),
]


@pytest.mark.parametrize("query", UNSERVED)
async def test_what_cannot_be_served_is_answered_with_an_error(
    autojump_clock: MockClock, query: bytes
) -> None:
    async with serving() as scene:
        client = await scene.client()

        await client.send_query(query)
        _, error = await client.answer()

        assert isinstance(error, answers.LiteError)
        assert await client.ask(queries.GetTime()) == answers.CurrentTime(NOW)


async def test_a_query_that_is_no_lite_servers_is_answered_with_an_error(autojump_clock: MockClock) -> None:
    async with serving() as scene:
        client = await scene.client()

        await client.send(encode(Query(bytes(32), encode(queries.GetTime()))))
        _, error = await client.answer()

        assert isinstance(error, answers.LiteError)


def noise(ciphers: Ciphers) -> dict[str, bytes]:
    """What strangers send that breaks ADNL's rules."""
    wrong = bytearray(ciphers.handshake)
    wrong[0] ^= 1
    return {
        "no handshake": bytes(256),
        "another server": bytes(wrong),
        "random": bytes(range(256)) * 300,
        "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 20,
    }


@pytest.mark.parametrize("kind", list(noise(Ciphers())))
async def test_who_does_not_shake_hands_is_hung_up_on(autojump_clock: MockClock, kind: str) -> None:
    async with serving() as scene:
        other = await scene.client()
        stranger = LiteSide(await scene.listener.connect())

        await stranger.stream.send_all(noise(stranger.ciphers)[kind])

        assert await hung_up(stranger)
        assert await other.ask(queries.GetTime()) == answers.CurrentTime(NOW)


@pytest.mark.parametrize(
    "make",
    [
        lambda ciphers: ciphers.raw(bytes(4)),
        lambda ciphers: ciphers.raw(b"\xff" * 4),
        lambda ciphers: ciphers.packet(b"payload")[:-1] + b"\x00",
        lambda ciphers: ciphers.packet(b""),
        lambda ciphers: ciphers.packet(b"noise, and no message of TL"),
        lambda ciphers: ciphers.packet(encode(Pong(5))),
        lambda ciphers: ciphers.packet(encode(LiteQuery(encode(queries.GetTime())))),
    ],
    ids=["short", "long", "checksum", "empty", "noise", "pong", "bare"],
)
async def test_who_breaks_the_rules_later_is_hung_up_on_and_nobody_else(
    autojump_clock: MockClock, make: Callable[[Ciphers], bytes]
) -> None:
    async with serving() as scene:
        other, stranger = await scene.client(), await scene.client()

        await stranger.stream.send_all(make(stranger.ciphers))

        assert await hung_up(stranger)
        assert await other.ask(queries.GetTime()) == answers.CurrentTime(NOW)


async def test_who_is_slow_to_shake_hands_is_hung_up_on(autojump_clock: MockClock) -> None:
    async with serving() as scene:
        stranger = LiteSide(await scene.listener.connect())
        began = trio.current_time()

        async def drip() -> None:
            for byte in stranger.ciphers.handshake:
                await stranger.stream.send_all(bytes((byte,)))
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(swallow_broken, drip)
            assert await hung_up(stranger)
            assert trio.current_time() - began == pytest.approx(server.HANDSHAKE_SECONDS)
            nursery.cancel_scope.cancel()


async def swallow_broken(run: Callable[[], Awaitable[None]]) -> None:
    with suppress(trio.BrokenResourceError):
        await run()


async def test_who_says_nothing_for_minutes_is_hung_up_on_and_who_pings_is_not(
    autojump_clock: MockClock,
) -> None:
    async with serving(idle_seconds=100) as scene:
        silent, alive = await scene.client(), await scene.client()
        began = trio.current_time()

        async def ping() -> None:
            while True:
                await trio.sleep(100)
                await alive.send(encode(Ping(1)))
                await alive.receive()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ping)
            assert await hung_up(silent)
            assert trio.current_time() - began == pytest.approx(server.SILENT_SECONDS)
            # Not at the instant of a ping: a packet that is cancelled half-way leaves the ciphers apart.
            await trio.sleep(server.SILENT_SECONDS + 50)
            nursery.cancel_scope.cancel()
        assert await alive.ask(queries.GetTime()) == answers.CurrentTime(NOW)


async def test_who_does_not_take_the_answers_is_hung_up_on(autojump_clock: MockClock) -> None:
    async with serving() as scene:
        # What is sent here waits until it is taken.
        side = LiteSide(await scene.listener.connect(trio.testing.lockstep_stream_pair()))
        await side.shake_hands()
        other = await scene.client()
        await side.send_query(encode(queries.GetTime()))

        await trio.sleep(server.WRITE_SECONDS + 1)

        assert await hung_up(side)
        assert await other.ask(queries.GetTime()) == answers.CurrentTime(NOW)


async def test_a_place_that_is_free_again_is_given_to_the_next(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 2)
    async with serving() as scene:
        first, _ = await scene.client(), await scene.client()
        assert await hung_up(LiteSide(await scene.listener.connect()))

        await first.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()

        third = await scene.client()
        assert await third.ask(queries.GetTime()) == answers.CurrentTime(NOW)


async def test_an_answer_that_is_too_large_for_tl_is_an_error(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "ANSWER_MAX_BYTES", 500)
    async with serving() as scene:
        client = await scene.client()

        error = await client.ask(queries.GetBlock(scene.chain.last.master.id))

        assert isinstance(error, answers.LiteError)
        assert "too large" in error.message


async def test_a_fault_of_our_own_costs_a_connection_and_not_the_server(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as scene:
        other, unlucky = await scene.client(), await scene.client()
        with monkeypatch.context() as patch:
            patch.setattr(scene.chain, "send", lambda _: 1 / 0)
            await unlucky.send_query(encode(queries.SendMessage(b"")))
            assert await hung_up(unlucky)

        assert await other.ask(queries.GetTime()) == answers.CurrentTime(NOW)
        assert [record.message for record in caplog.records] == ["a lite client's connection failed"]


async def test_a_contract_that_burns_all_its_gas_holds_up_nobody_for_long(autojump_clock: MockClock) -> None:
    async with serving() as scene:
        address = deployed(scene.chain)
        client = await scene.client()

        scene.chain.give(address, 10**9, body=say(LOOP))

        assert await client.ask(queries.GetTime()) == answers.CurrentTime(NOW)


async def test_after_a_cancel_the_chain_is_free_for_another_server(autojump_clock: MockClock) -> None:
    async with serving() as scene:
        chain = scene.chain
        chain.give(STRANGER, 5)
        await trio.sleep(1)
        seqno = chain.last.master.id.seqno
        (watcher,) = chain.watchers

    chain.give(STRANGER, 5)
    await trio.sleep(60)

    assert chain.last.master.id.seqno == seqno
    assert chain.is_block_due
    assert watcher not in chain.watchers


@pytest.mark.slow
@given(chunks=st.lists(st.binary(max_size=300), max_size=8), shakes_hands=st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_bytes_whatever_end_the_server(chunks: list[bytes], shakes_hands: bool) -> None:
    async def attempt() -> None:
        async with serving() as scene:
            other = await scene.client()
            stranger = LiteSide(await scene.listener.connect())
            if shakes_hands:
                await stranger.shake_hands()
            for chunk in chunks:
                try:
                    await stranger.stream.send_all(
                        stranger.ciphers.packet(chunk) if shakes_hands and len(chunk) % 2 else chunk
                    )
                except trio.BrokenResourceError:
                    break
            await stranger.stream.aclose()
            await trio.testing.wait_all_tasks_blocked()
            assert await other.ask(queries.GetTime()) == answers.CurrentTime(NOW)

    trio.run(attempt, clock=MockClock(autojump_threshold=0))
