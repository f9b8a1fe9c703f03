"""Where nobody has a free slot, a client waits in the shortest line, as long as it has patience."""

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.client.inquiry import PAUSE_MIN_SECONDS
from cocoon_p2p.errors import CocoonError, Refused
from cocoon_p2p.protocols.exchange.pulse import LOST_SECONDS
from cocoon_p2p.protocols.ids import UNCLAIMED_RESERVATIONS_MAX, Reason
from tests.client.scene import POLICY, QUESTION, Script, Talk, honest, scene


def full(wait_seconds: float, *, has_room_after: float | None = None) -> Script:
    """A proxy with a line that is expected to take so long, and a slot after so long."""

    async def script(talk: Talk) -> None:
        if talk.ask.wait_ms is None:
            waits = int(wait_seconds * 1000)
            return await talk.refuse(Reason.NO_CAPACITY, retry_after_ms=waits, wait_ms=waits)
        if has_room_after is None:
            await trio.sleep(talk.ask.wait_ms / 1000)
            return await talk.refuse(Reason.NO_CAPACITY, retry_after_ms=int(wait_seconds * 1000))
        await trio.sleep(has_room_after)
        return await honest(talk)

    return script


async def test_a_proxy_with_room_comes_before_every_line(autojump_clock: MockClock) -> None:
    async with scene(full(0.1, has_room_after=0.1), honest, commissions=(100, 500)) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            assert await answer.read() == "It is this."

        assert [len(proxy.talks) for proxy in stage.proxies] == [1, 1]
        assert stage.proxies[0].talks[0].ask.wait_ms is None


async def test_of_several_lines_the_shortest_is_waited_in(autojump_clock: MockClock) -> None:
    lines = full(3, has_room_after=0), full(2, has_room_after=4), full(5, has_room_after=0)
    async with scene(*lines) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            assert await answer.read() == "It is this."

        assert [len(proxy.talks) for proxy in stage.proxies] == [1, 2, 1]
        wait_ms = stage.proxies[1].talks[1].ask.wait_ms
        assert wait_ms is not None
        assert 4_000 < wait_ms <= POLICY.wait_seconds * 1000


async def test_a_line_that_takes_longer_than_the_client_would_wait_is_not_joined(
    autojump_clock: MockClock,
) -> None:
    async with scene(full(POLICY.wait_seconds + 1, has_room_after=0)) as stage:
        with pytest.raises(Refused) as raised:
            async with stage.client.chat("scripted", QUESTION):
                pytest.fail("there can be no answer")

        assert raised.value.retry_after == POLICY.wait_seconds + 1
        assert [talk.ask.wait_ms for talk in stage.proxy.talks] == [None]


async def test_who_waited_in_vain_as_long_as_it_would_waits_no_longer(autojump_clock: MockClock) -> None:
    async with scene(full(1)) as stage:
        with pytest.raises(Refused) as raised:
            async with stage.client.chat("scripted", QUESTION):
                pytest.fail("there can be no answer")

        assert raised.value.code == Reason.NO_CAPACITY.code
        assert len(stage.proxy.talks) == 2
        assert stage.paying().held == 0


async def test_a_proxy_that_asks_in_again_whom_it_sends_out_is_not_asked_without_end(
    autojump_clock: MockClock,
) -> None:
    async def script(talk: Talk) -> None:
        # The clock stands still meanwhile: nothing but the client itself ends this.
        if len(stage.proxy.talks) == 1_000:
            return await honest(talk)
        return await talk.refuse(Reason.NO_CAPACITY, retry_after_ms=1, wait_ms=1)

    async with scene(script) as stage:
        with pytest.raises(Refused) as raised:
            async with stage.client.chat("scripted", QUESTION) as answer:
                await answer.read()

        assert raised.value.code == Reason.NO_CAPACITY.code
        assert len(stage.proxy.talks) <= 2 * (POLICY.wait_seconds / PAUSE_MIN_SECONDS + 1)


async def test_a_proxy_that_never_lets_go_of_who_waits_is_left(autojump_clock: MockClock) -> None:
    async def script(talk: Talk) -> None:
        if talk.ask.wait_ms is None:
            return await talk.refuse(Reason.NO_CAPACITY, retry_after_ms=1_000, wait_ms=1_000)
        return await trio.sleep_forever()

    async with scene(script, script) as stage:
        with pytest.raises(CocoonError):
            async with stage.client.chat("scripted", QUESTION):
                pytest.fail("there can be no answer")

        # Once in line is all the time that there is for it; the Heartbeats go on.
        assert trio.current_time() <= POLICY.wait_seconds + LOST_SECONDS + 1
        assert [stage.paying(proxy).held for proxy in stage.proxies] == [0, 0]


async def test_a_request_that_waits_keeps_no_other_from_asking(autojump_clock: MockClock) -> None:
    waiting = trio.Event()
    in_line = 0

    async def script(talk: Talk) -> None:
        nonlocal in_line
        if waiting.is_set():
            return await honest(talk)
        if talk.ask.wait_ms is None:
            return await talk.refuse(Reason.NO_CAPACITY, retry_after_ms=1_000, wait_ms=1_000)
        in_line += 1
        if in_line > UNCLAIMED_RESERVATIONS_MAX:
            waiting.set()
        await waiting.wait()
        return await honest(talk)

    async with scene(script) as stage:

        async def ask() -> None:
            async with stage.client.chat("scripted", QUESTION) as answer:
                await answer.read()

        async with trio.open_nursery() as nursery:
            for _ in range(UNCLAIMED_RESERVATIONS_MAX + 1):
                nursery.start_soon(ask)


async def test_a_reader_who_leaves_leaves_the_line(autojump_clock: MockClock) -> None:
    async with scene(full(1)) as stage:
        with trio.move_on_after(3):
            async with stage.client.chat("scripted", QUESTION) as answer:
                await answer.read()

        assert len(stage.proxy.talks) == 2
        assert stage.paying().held == 0
