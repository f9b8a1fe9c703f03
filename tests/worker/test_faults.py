"""Whatever a proxy says, and wherever the connection breaks: no slot and no coin is lost."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.protocols.ids import EXCHANGE, Outcome, Reason
from cocoon_p2p.protocols.messages import Cancel, Heartbeat, Hello, Receipted, Refused
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.testing.memory import Fate, Write
from tests.worker.scene import PROXY, Ask, Scene, scene

ANSWER = ("Hello", ", ", "world", "!")


async def serves_on(here: Scene) -> None:
    """See that nothing is left of what was before, and that the worker still serves."""
    assert here.worker.slots.running == 0
    assert here.worker.slots.free == here.worker.slots.total
    assert here.account.accrued == 0
    ask = await here.run(here.ask())
    assert ask.receipt.outcome is Outcome.COMPLETED


async def writes_of_an_exchange() -> int:
    """Count the writes on the exchange's stream when nothing goes wrong."""
    count = 0

    def look(write: Write) -> tuple[Fate, float]:
        nonlocal count
        count += write.protocol == EXCHANGE
        return Fate.DELIVER, 0.0

    async with scene(ScriptedEngine(ANSWER)) as here:
        here.network.fault = look
        await here.run(here.ask())
    return count


@pytest.mark.slow
async def test_wherever_the_connection_breaks_the_worker_serves_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    total = await writes_of_an_exchange()
    assert total > 8
    for broken in range(total):
        for fate in (Fate.RESET, Fate.LOSE):
            await _break_at(broken, fate)


async def _break_at(broken: int, fate: Fate) -> None:
    seen = 0

    def strike(write: Write) -> tuple[Fate, float]:
        nonlocal seen
        if write.protocol != EXCHANGE:
            return Fate.DELIVER, 0.0
        seen += 1
        return (fate, 0.0) if seen == broken + 1 else (Fate.DELIVER, 0.0)

    async with scene(ScriptedEngine(ANSWER)) as here:
        here.network.fault = strike
        ask = here.ask()
        with trio.move_on_after(60):
            try:
                await here.run(ask)
            except* (Unavailable, AssertionError):
                pass
        here.network.fault = None
        await trio.sleep(60)
        await here.worker.wait_registered(PROXY.peer_id)
        await serves_on(here)


Say = Callable[["Chatter"], Awaitable[None]]


class Chatter:
    """A proxy that says things in any order."""

    def __init__(self, here: Scene) -> None:
        self.here = here
        self.ask: Ask = here.ask()
        self.stream: MessageStream | None = None

    async def say(self, *messages: object) -> None:
        if self.stream is None:
            self.stream = await self.here.open()
        try:
            await self.stream.send(*messages)
        except Unavailable:
            self.stream = None


async def _assign(chatter: Chatter) -> None:
    await chatter.say(chatter.ask.assign)


async def _next(chatter: Chatter) -> None:
    session = chatter.ask.session
    chatter.ask = chatter.here.ask()
    chatter.ask.session = session


async def _handshake(chatter: Chatter) -> None:
    """Do what is expected, so that what follows comes later in an exchange."""
    await _next(chatter)
    chatter.here.hold(chatter.ask)
    stream = await chatter.here.open()
    if chatter.stream is not None:
        chatter.stream.reset()
    chatter.stream = stream
    await chatter.here.greet(chatter.ask, stream)


async def _request(chatter: Chatter) -> None:
    if chatter.ask.session is not None:
        await chatter.say(*chatter.ask.seal())


async def _request_again(chatter: Chatter) -> None:
    if chatter.ask.session is not None:
        (part,) = chatter.ask.seal()
        await chatter.say(part, part, replace(part, part=5))


async def _broken_request(chatter: Chatter) -> None:
    if chatter.ask.session is not None:
        (part,) = chatter.ask.seal()
        await chatter.say(replace(part, sealed=bytes(len(part.sealed))))


async def _hello(chatter: Chatter) -> None:
    await chatter.say(Hello(chatter.ask.exchange, b"?"))


async def _heartbeat(chatter: Chatter) -> None:
    await chatter.say(Heartbeat(chatter.ask.exchange, 7))


async def _cancel(chatter: Chatter) -> None:
    await chatter.say(Cancel(chatter.ask.exchange, Reason.CANCELLED))


async def _lost(chatter: Chatter) -> None:
    await chatter.say(Cancel(chatter.ask.exchange, Reason.PROXY_LOST))


async def _what_a_worker_says(chatter: Chatter) -> None:
    await chatter.say(Receipted(chatter.ask.exchange, chatter.ask.assign.quote))


async def _refuse(chatter: Chatter) -> None:
    await chatter.say(Refused(chatter.ask.exchange, Reason.STALE, "", (), 0))


async def _hang_up(chatter: Chatter) -> None:
    if chatter.stream is not None:
        await chatter.stream.close()
        chatter.stream = None


async def _reset(chatter: Chatter) -> None:
    if chatter.stream is not None:
        chatter.stream.reset()
        chatter.stream = None


async def _wait(chatter: Chatter) -> None:
    await trio.sleep(0.03)


async def _wait_long(chatter: Chatter) -> None:
    await trio.sleep(2.5)


SAYINGS: tuple[Say, ...] = (
    _assign,
    _next,
    _handshake,
    _request,
    _request_again,
    _broken_request,
    _hello,
    _heartbeat,
    _cancel,
    _lost,
    _what_a_worker_says,
    _refuse,
    _hang_up,
    _reset,
    _wait,
    _wait_long,
)


@pytest.mark.slow
@given(st.lists(st.sampled_from(SAYINGS), max_size=10))
@settings(max_examples=80, deadline=None)
def test_whatever_a_proxy_says_the_worker_serves_on(sayings: list[Say]) -> None:
    async def run() -> None:
        async with scene(ScriptedEngine(ANSWER, delay_seconds=0.05)) as here:
            chatter = Chatter(here)
            for say in sayings:
                await say(chatter)
            await trio.sleep(30)
            await serves_on(here)

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
