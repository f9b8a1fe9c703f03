"""A worker's prices in dollars: by a real HTTP server's word, bounded and judged."""

import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from decimal import Decimal

import pytest
import trio

from cocoon_p2p.errors import ConfigurationError, MalformedMessage, Unavailable
from cocoon_p2p.node import pegged_prices, rate_source
from cocoon_p2p.node.pegged_prices import PeggedPrices, Source
from cocoon_p2p.node.rate_source import SIZE_MAX_BYTES, fetch_rate
from cocoon_p2p.payments.asking_price import Bounds, Plan
from cocoon_p2p.protocols.messages import Price
from cocoon_p2p.testing.store import MemoryDisk, MemoryStore
from cocoon_p2p.units import NANO_MAX

POINTER = "/rates/TON/prices/USD"
PLAN = Plan(15, None, 60, 60, Bounds(4_000, NANO_MAX), 20_000)
Answering = Callable[[trio.SocketStream], Awaitable[None]]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_source, "SECONDS_MAX", 120.0)


class Exchange:
    """A price source on a real socket.

    Attributes:
        answer: What it does with who asks.
        asked: How often it was.
    """

    def __init__(self) -> None:
        self.answer: Answering = plain(page("3"))
        self.asked = 0
        self.address = ""

    async def serve(self, stream: trio.SocketStream) -> None:
        self.asked += 1
        heard, more = b"", b"."
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            # Who gives up before it has asked sends nothing, for ever.
            while more and b"\r\n\r\n" not in heard:
                more = await stream.receive_some(4096)
                heard += more
            await self.answer(stream)
        await stream.aclose()


def page(rate: object) -> bytes:
    return json.dumps({"rates": {"TON": {"prices": {"USD": rate, "EUR": 1}}}}).encode()


def plain(body: bytes, head: str = "200 OK", *more: str) -> Answering:
    lines = (f"HTTP/1.1 {head}", f"content-length: {len(body)}", "connection: close", *more, "", "")

    async def answer(stream: trio.SocketStream) -> None:
        await stream.send_all("\r\n".join(lines).encode() + body)

    return answer


@pytest.fixture
async def exchange(nursery: trio.Nursery) -> Exchange:
    source = Exchange()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    source.address = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v2/rates"

    async def serve(stream: trio.SocketStream) -> None:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(stream.aclose)
            await source.serve(stream)

    nursery.start_soon(trio.serve_listeners, serve, [listener])
    return source


class Seller:
    """A worker that is told prices."""

    def __init__(self) -> None:
        self.told: list[dict[str, Price]] = []
        self.was_told = trio.Event()

    def set_prices(self, prices: dict[str, Price]) -> None:
        self.was_told.set()
        self.told.append(dict(prices))


def pegged(
    exchange: Exchange, disk: MemoryDisk | None = None, now: list[float] | None = None
) -> PeggedPrices:
    source, clock = Source("usd", exchange.address, POINTER, 6 * 3600.0), now or [1_000.0]
    return PeggedPrices({"m": PLAN}, source, MemoryStore(disk), clock=lambda: clock[0])


# ---------------------------------------------------------------- the source


async def test_a_rate_is_read_exactly_as_the_source_spells_it(exchange: Exchange) -> None:
    exchange.answer = plain(b'{"rates":{"TON":{"prices":{"USD":3.0100000000000000000001}}}}')

    assert await fetch_rate(exchange.address, POINTER) == Decimal("3.0100000000000000000001")


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (plain(b"no", "503 Service Unavailable"), Unavailable, "status=503"),
        (plain(page("3"), "302 Found", "location: http://127.0.0.1:1/"), Unavailable, "status=302"),
        (plain(b"<html>"), MalformedMessage, "no JSON"),
        (plain(b"[" * 100_000), MalformedMessage, "no JSON"),
        (plain(b'{"rates": 1e5, "a": NaN}'), MalformedMessage, "no JSON"),
        (plain(b"9" * 10_000), MalformedMessage, "no JSON"),
        (plain(b'{"rates": 1e99999999999999999999}'), MalformedMessage, "no JSON"),
        (plain(b'{"rates": {}}'), MalformedMessage, "nothing at"),
        (plain(page([3])), MalformedMessage, "no rate"),
        (plain(page("3"), "200 OK", "content-encoding: gzip"), MalformedMessage, "packed"),
        (plain(b" " * (SIZE_MAX_BYTES + 1)), MalformedMessage, "too long"),
        (plain(page("3"), "200 OK", "content-length: 9999"), Unavailable, "does not answer"),
        (plain(b"", "what"), Unavailable, "does not answer"),
    ],
)
async def test_what_is_no_rate_is_an_error(
    exchange: Exchange, answer: Answering, error: type[Exception], words: str
) -> None:
    exchange.answer = answer

    with pytest.raises(error, match=words):
        await fetch_rate(exchange.address, POINTER)


@pytest.mark.parametrize(
    "address",
    [
        *("http://127.0.0.1:1/", "https://[::1", "https://xn--/", "https:///"),
        f"https://{'a' * 70}.example/",
    ],
)
async def test_a_source_that_is_not_there_is_unavailable(address: str) -> None:
    with pytest.raises(Unavailable):
        await fetch_rate(address, POINTER)


async def test_an_answer_that_trickles_in_is_none(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_source, "SECONDS_MAX", 0.2)

    async def trickle(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
        while True:
            await stream.send_all(b" ")
            await trio.sleep(0.02)

    exchange.answer = trickle

    with pytest.raises(Unavailable, match="TooSlowError"):
        await fetch_rate(exchange.address, POINTER)


# ---------------------------------------------------------------- the prices


async def test_prices_follow_the_rate_and_a_jump_waits(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pegged_prices, "RATE_SECONDS", 0.0)
    prices, seller = pegged(exchange), Seller()
    await prices.remember()
    assert prices.prices == {"m": Price(5_000, 1_000, 20_000, 20_000)}

    exchange.answer = plain(page("2.5"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(prices.keep, seller)
        with trio.fail_after(60):
            await seller.was_told.wait()
        nursery.cancel_scope.cancel()
    exchange.answer = plain(page("250"))
    await prices._look()

    assert seller.told == [{"m": Price(6_000, 1_200, 24_000, 24_000)}]
    (view,) = prices.views()
    assert (view.rate, view.follows, view.is_stale) == ("2.5", "usd", False)
    assert "the source says 250, which is not believed yet" in view.why


async def test_a_worker_that_starts_while_its_source_is_silent_goes_on_at_the_last_rate(
    exchange: Exchange,
) -> None:
    disk, now = MemoryDisk(), [1_000.0]
    await pegged(exchange, disk, now).remember()
    await trio.testing.wait_all_tasks_blocked()
    exchange.answer = plain(b"", "500 Oops")
    now[0] += 5 * 24 * 3600.0

    later = pegged(exchange, disk, now)
    await later.remember()

    assert later.prices == {"m": Price(5_000, 1_000, 20_000, 20_000)}
    (view,) = later.views()
    assert view.is_stale
    assert view.why == "kept: no rate that counts for 120 hours (the price source refuses (status=500))"


async def test_a_clock_that_was_set_back_forgets_no_rate(exchange: Exchange) -> None:
    disk = MemoryDisk()
    await pegged(exchange, disk, [1_000.0]).remember()
    await trio.testing.wait_all_tasks_blocked()
    exchange.answer = plain(b"", "500 Oops")

    later = pegged(exchange, disk, [940.0])
    await later.remember()

    assert later.views()[0].rate == "3"


async def test_a_rate_in_another_unit_is_not_gone_by(exchange: Exchange) -> None:
    exchange.answer = plain(b'{"rates":{"TON":{"prices":{"USD":3,"JPY":450}}}}')
    disk = MemoryDisk()
    await pegged(exchange, disk).remember()
    await trio.testing.wait_all_tasks_blocked()
    source = Source("jpy", exchange.address, "/rates/TON/prices/JPY", 6 * 3600.0)

    later = PeggedPrices({"m": PLAN}, source, MemoryStore(disk), clock=lambda: 1_000.0)
    await later.remember()

    assert later.views()[0].rate == "450"


async def test_without_any_rate_nothing_is_sold(exchange: Exchange) -> None:
    exchange.answer = plain(b"", "500 Oops")

    with pytest.raises(Unavailable, match="no price to sell at"):
        await pegged(exchange).remember()


async def test_a_rate_that_makes_the_price_too_low_leaves_it_at_the_floor(exchange: Exchange) -> None:
    exchange.answer = plain(page(600))
    prices = pegged(exchange)

    await prices.remember()

    assert prices.prices == {"m": Price(1_000, 200, 4_000, 4_000)}
    assert prices.views()[0].why == "at your floor"


async def test_a_price_that_follows_a_rate_is_said_in_the_file_alone(exchange: Exchange) -> None:
    prices = pegged(exchange)
    await prices.remember()

    with pytest.raises(ConfigurationError, match="rate of usd"):
        prices.ask(Seller(), "m", 30_000)
