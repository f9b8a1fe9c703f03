"""What strangers register and ask to bring a proxy down: it goes on, and so do all others."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.identity import Identity, PeerId
from cocoon_p2p.protocols.ids import EXCHANGE, Reason
from cocoon_p2p.protocols.messages import Hello, Part, Quoted, Refused
from cocoon_p2p.proxy.storefront import PAUSE_SECONDS
from cocoon_p2p.testing.memory import MemoryStream
from tests.proxy.scene import OFFER, OTHER, PRICE, PROXY, scene
from tests.proxy.test_storefront import published

LONG_FEATURES = tuple(f"{number:02}".ljust(32, "x") for number in range(32))


async def test_workers_that_offer_more_than_a_record_holds_do_not_end_the_proxy(
    autojump_clock: MockClock,
) -> None:
    async with scene() as stage:
        for number, identity in enumerate((OTHER, Identity.from_seed(b"5" * 32))):
            other = await stage.add_worker(identity)
            await other.register(
                *(
                    replace(OFFER, name=f"{number}-{index}".ljust(96, "!"), features=LONG_FEATURES)
                    for index in range(9)
                )
            )
        await trio.sleep(PAUSE_SECONDS + 0.1)

        assert OFFER in published(stage).models
        _, end = await stage.ask()
        assert isinstance(end.heard[0], Quoted)


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt_tokens_max": 2**63 - 1, "max_cost": 2**63 - 1},
        {"prompt_tokens_max": 2**63 - 1, "max_cost": 1},
        {"features": tuple(chr(0x1F600 + number) * 8 for number in range(32))},
        {"model": "\x00" * 96},
    ],
)
async def test_whatever_is_asked_is_answered(autojump_clock: MockClock, changes: dict[str, object]) -> None:
    dear = replace(OFFER, price=replace(PRICE, prompt=2**62))
    async with scene(is_registered=False) as stage:
        await stage.worker.register(dear)
        end = await stage.client.open()

        await end.say(stage.client.ask(channel=None, **changes))

        await end.hear(Refused)
        await end.say(stage.client.ask(channel=None, model="other"))
        await end.hear(Refused)


async def test_a_worker_that_takes_no_more_handshakes_still_serves_the_others(
    autojump_clock: MockClock,
) -> None:
    async with scene() as stage:
        asked, end = await stage.ask()
        await end.say(Part(asked.exchange, bytes(16), 0, 0, True, b"sealed"))
        job = await stage.worker.take()
        await job.say(Refused(job.exchange, Reason.RATE_LIMITED, "rate limited", (), 0))
        await end.hear(Refused)

        _, other = await stage.ask()

        assert isinstance(other.heard[0], Quoted)


@pytest.mark.parametrize("turns", [1, 2, 3])
async def test_a_client_that_leaves_as_the_workers_stream_opens_leaves_none_behind(
    autojump_clock: MockClock, turns: int
) -> None:
    async with scene() as stage:
        transport = stage.network.transports[PROXY.peer_id]
        streams: list[MemoryStream] = []
        opening, opened = trio.Event(), trio.Event()

        async def open_late(peer: PeerId, protocol: str) -> MemoryStream:
            stream = await type(transport).open_stream(transport, peer, protocol)
            if protocol == EXCHANGE:
                streams.append(stream)
                opening.set()
                try:
                    await opened.wait()
                except trio.Cancelled:
                    stream.reset()
                    raise
            return stream

        transport.open_stream = open_late  # type: ignore[method-assign]
        asked, end = await stage.ask()
        await end.say(Hello(asked.exchange, b"hello"))
        await opening.wait()

        end.stream.reset()
        # So many turns of the scheduler later: the proxy has just heard of it, or has acted on it.
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        opened.set()
        await stage.settled()

        asked, end = await stage.ask()
        await end.say(Part(asked.exchange, bytes(16), 0, 0, True, b"sealed"))
        await stage.settled()
        assert sum(not stream.outgoing.broken for stream in streams) == 1
