"""One busy connection among others: turns, waits for who opens streams too quickly, and an end to churn."""

from contextlib import suppress

import pytest
import trio
import trio.testing
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable
from trio.testing import MockClock

from cocoon_p2p.network.libp2p.muxer import CHURN
from cocoon_p2p.network.libp2p.rates import Bucket, Rate
from cocoon_p2p.network.libp2p.yamux_frames import (
    DATA,
    GOAWAY,
    PING,
    PROTOCOL_ERROR,
    RST,
    SYN,
    WINDOW_UPDATE,
    encode,
)
from cocoon_p2p.network.libp2p.yamux_stream import Limits
from tests.network.libp2p.test_muxer import one_end


def opening(number: int) -> bytes:
    return encode(DATA, SYN, 2 * number + 1, 1) + b"!"


def reset(number: int) -> bytes:
    return encode(WINDOW_UPDATE, RST, 2 * number + 1, 0)


async def test_others_have_a_turn_before_all_that_one_connection_sent_is_taken_in(
    autojump_clock: MockClock,
) -> None:
    async with one_end(Limits(turn_frames=10)) as (connection, peer), trio.open_nursery() as nursery:
        credits = list[int]()

        async def look_on() -> None:
            while len(connection.session.streams) < 2:
                stream = connection.session.streams.get(1)
                credits.append(stream.send_window_bytes if stream else 0)
                await trio.lowlevel.checkpoint()

        nursery.start_soon(look_on)
        await peer.send_all(opening(0) + encode(WINDOW_UPDATE, 0, 1, 1) * 98 + opening(1))

    # Who of two that wait goes first is chance.
    assert len(set(credits)) >= 5


async def test_a_peer_that_opens_streams_too_quickly_is_read_from_as_quickly_as_it_may(
    autojump_clock: MockClock,
) -> None:
    async with one_end(Limits(turn_streams=1)) as (connection, peer):
        bucket = Bucket(Rate(per_second=2, burst=4))

        async def bear(opened: int) -> None:
            await trio.sleep(bucket.use(opened, trio.current_time()))

        connection.bear = bear
        await peer.send_all(b"".join(map(opening, range(10))))
        begun = trio.current_time()

        arrived = list[float]()
        for _ in range(10):
            await connection.accept_stream()
            arrived.append(trio.current_time() - begun)

    # What waits is what comes after the one that was too early.
    assert [round(seconds, 3) for seconds in arrived] == [0, 0, 0, 0, 0, 0.5, 1, 1.5, 2, 2.5]


async def test_who_waits_is_not_taken_for_dead(autojump_clock: MockClock) -> None:
    async with one_end(Limits(turn_streams=1)) as (connection, peer):
        connection.bear = lambda opened: trio.sleep(25 * opened)
        await peer.send_all(opening(0) + opening(1) + encode(PING, SYN, 0, 7))

        await connection.accept_stream()
        await connection.accept_stream()
        await trio.sleep(25)

        assert not connection.is_closed


async def test_a_stream_that_is_reset_before_anybody_took_it_is_given_to_nobody(
    autojump_clock: MockClock,
) -> None:
    async with one_end() as (connection, peer):
        await peer.send_all(opening(0))
        await trio.testing.wait_all_tasks_blocked()
        await peer.send_all(reset(0) + opening(1))
        await trio.testing.wait_all_tasks_blocked()

        stream = await connection.accept_stream()

        assert stream.stream_id == 3


async def test_what_a_peer_resets_has_to_be_borne_one_by_one_like_what_it_opens(
    autojump_clock: MockClock,
) -> None:
    async with one_end() as (connection, peer):
        borne = list[int]()

        async def bear(opened: int) -> None:
            borne.append(opened)
            await trio.lowlevel.checkpoint()

        connection.bear = bear
        await peer.send_all(b"".join(map(opening, range(3))))
        await trio.testing.wait_all_tasks_blocked()
        await peer.send_all(b"".join(map(reset, range(3))))
        await peer.send_all(b"".join(opening(number) + reset(number) for number in range(3, 6)))
        await trio.testing.wait_all_tasks_blocked()

        assert borne == [1, 1, 1, 0, 0, 0]


@pytest.mark.slow
async def test_a_peer_that_resets_what_it_opens_without_end_is_told_to_go_away(
    autojump_clock: MockClock,
) -> None:
    heard = bytearray()
    async with one_end() as (connection, peer), trio.open_nursery() as nursery:

        async def churn() -> None:
            with suppress(trio.BrokenResourceError):
                for number in range(2 * int(CHURN.burst)):
                    await peer.send_all(opening(number) + reset(number))

        async def hear() -> None:
            async for piece in peer:
                heard.extend(piece)

        nursery.start_soon(churn)
        nursery.start_soon(hear)
        with pytest.raises(MuxedConnUnavailable):
            while True:
                await connection.accept_stream()

    assert CHURN.burst < connection.session.churned < 1.1 * CHURN.burst
    assert bytes(heard).endswith(encode(GOAWAY, 0, 0, PROTOCOL_ERROR))


@pytest.mark.slow
async def test_a_peer_that_resets_its_streams_no_faster_than_is_allowed_may_do_so_for_ever(
    autojump_clock: MockClock,
) -> None:
    async with one_end() as (connection, peer):
        for number in range(2 * int(CHURN.burst)):
            await peer.send_all(opening(number) + reset(number))
            await trio.sleep(1 / CHURN.per_second)

        assert not connection.is_closed
        assert connection.session.churned == 2 * int(CHURN.burst)
