"""A worker's prices that follow the market: looks, records and what is remembered."""

from collections.abc import Mapping, Sequence

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from cocoon_p2p.errors import ConfigurationError, LocalProtocolError, Unavailable
from cocoon_p2p.frozen import replace
from cocoon_p2p.identity import Identity, network_id
from cocoon_p2p.node.market_prices import LOOK_SECONDS, MarketPrices
from cocoon_p2p.payments.asking_price import Bounds, Plan
from cocoon_p2p.protocols.ids import Why
from cocoon_p2p.protocols.messages import Chances, ChannelId, ExchangeId, NotChosen, Price
from cocoon_p2p.testing.overlay import PRICE, date, open_overlay
from cocoon_p2p.testing.store import MemoryDisk, MemoryStore
from cocoon_p2p.worker.registration import ProxyStanding
from cocoon_p2p.worker.slots import Slots
from tests.payments.parties import NETWORK

PLAN = Plan(None, None, None, None, Bounds(5_000, 200_000), 20_000)
PROXIES = [Identity.from_seed(bytes([number]) * 32).peer_id for number in range(1, 4)]
NOW = 1_800_000_000.0
PAUSE = 0.01


class NoDirectory:
    """A directory in which nobody is found, or that is silent."""

    def __init__(self) -> None:
        self.is_silent = False
        self.found: list[bytes] = []

    async def find_proxies(self) -> Sequence[bytes]:
        if self.is_silent:
            raise Unavailable("no server of the directory answers")
        return [b"no record", *self.found, b"\xff" * 40]


class Seller:
    """A worker with some slots, that is told prices."""

    def __init__(self, slots: int = 2) -> None:
        self.slots = Slots(slots)
        self.standings: tuple[ProxyStanding, ...] = ()
        self.told: list[Mapping[str, Price]] = []

    def set_prices(self, prices: Mapping[str, Price]) -> None:
        self.told.append(dict(prices))

    def take(self, number: int) -> None:
        self.slots.take((ChannelId(bytes(32)), ExchangeId(bytes([number]) * 16)))

    def hear(self, *told: tuple[int, Why, int]) -> None:
        """Let each proxy tell its sums: Asks, and one reason with its count."""
        self.standings = tuple(
            ProxyStanding(
                proxy, [], is_registered=True,
                chances=Chances(60, asked, 0, (NotChosen(int(why), times), NotChosen(99, asked))),
            )
            for proxy, (asked, why, times) in zip(PROXIES, told, strict=False)
        )  # fmt: skip


def market(disk: MemoryDisk | None = None, directory: NoDirectory | None = None) -> MarketPrices:
    found = directory or NoDirectory()
    return MarketPrices(
        {"m": PLAN},
        MemoryStore(disk),
        NETWORK,
        found,
        clock=lambda: NOW + trio.current_time(),  # type: ignore[arg-type]
    )


async def live(prices: MarketPrices, seller: Seller, looks: int, nursery: trio.Nursery) -> None:
    nursery.start_soon(prices.keep, seller)
    await trio.sleep(looks * LOOK_SECONDS + PAUSE)


async def test_a_worker_whose_slots_are_taken_asks_more_a_step_a_look(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    prices, seller = market(), Seller()
    seller.take(1)
    seller.take(2)

    await live(prices, seller, 2, nursery)

    assert [told["m"].completion for told in seller.told] == [21_000, 22_050]
    assert prices.views()[0].why == "raised: your slots were taken nearly all the time"


async def test_slots_that_are_taken_half_of_the_time_raise_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    prices, seller = market(), Seller()
    seller.take(1)
    seller.take(2)
    nursery.start_soon(prices.keep, seller)
    await trio.sleep(0.6 * LOOK_SECONDS)
    for number in (1, 2):
        seller.slots.end((ChannelId(bytes(32)), ExchangeId(bytes([number]) * 16)))
        seller.slots.give_back()
    await trio.sleep(0.4 * LOOK_SECONDS + PAUSE)

    assert seller.told == []
    assert prices.views()[0].why == "kept: your slots are neither nearly full nor mostly empty"


async def test_what_proxies_have_told_before_is_not_counted_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    prices, seller = market(), Seller()
    seller.hear((100, Why.DEARER_THAN_ASKED, 100))

    await live(prices, seller, 3, nursery)

    assert [told["m"].completion for told in seller.told] == [19_000]
    assert prices.views()[0].why.startswith("kept: slots are empty, but nobody asked")


async def test_a_proxy_that_counts_anew_is_heard(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    prices, seller = market(), Seller()
    seller.hear((100, Why.DEARER_THAN_ASKED, 100))
    await live(prices, seller, 1, nursery)

    seller.hear((10, Why.DEARER_THAN_ASKED, 10))
    await trio.sleep(LOOK_SECONDS)

    assert [told["m"].completion for told in seller.told] == [19_000, 18_050]


async def test_a_silent_directory_and_records_that_are_none_stop_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    directory = NoDirectory()
    prices, seller = market(directory=directory), Seller()
    seller.hear((10, Why.OTHERS_CHEAPER, 10))
    await live(prices, seller, 1, nursery)
    directory.is_silent = True
    seller.take(1)
    seller.take(2)
    await trio.sleep(LOOK_SECONDS)
    await trio.sleep(LOOK_SECONDS)

    assert [told["m"].completion for told in seller.told] == [21_000, 22_050]


async def test_a_worker_that_starts_again_goes_on_from_its_price_and_after_a_week_anew(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    disk, seller = MemoryDisk(), Seller()
    seller.take(1)
    seller.take(2)
    await live(market(disk), seller, 1, nursery)
    await wait_all_tasks_blocked()
    nursery.cancel_scope.cancel()

    with trio.CancelScope(shield=True):
        soon, late = market(disk), market(disk)
        await soon.remember()
        await trio.sleep(8 * 24 * 3600)
        await late.remember()

    assert soon.prices["m"].completion == 21_000
    assert late.prices["m"].completion == 20_000


async def test_fixed_prices_are_left_alone(autojump_clock: MockClock) -> None:
    fixed = Plan(4, None, 20, 20, Bounds(5_000, 200_000), 20_000)
    prices, seller = MarketPrices({"m": fixed}, MemoryStore(), NETWORK, NoDirectory()), Seller()  # type: ignore[arg-type]

    with trio.fail_after(LOOK_SECONDS):
        await prices.keep(seller)

    assert prices.prices == {"m": Price(4, 1, 20, 20)}
    assert (prices.views()[0].follows, prices.views()[0].why) == ("nothing", "as your file says")


@pytest.mark.slow
async def test_what_others_ask_is_read_from_the_records_that_proxies_publish(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async with open_overlay() as overlay:
        directory = NoDirectory()
        directory.found = list(overlay._parts.directory.records.values())
        near = Plan(None, None, None, None, Bounds(5_000, 10**9), 2_060_000)
        prices = MarketPrices(
            {"scripted": near}, MemoryStore(), network_id("memory"), directory, clock=date  # type: ignore[arg-type]
        )  # fmt: skip
        seller = Seller()
        seller.hear((10, Why.OTHERS_CHEAPER, 10))
        nursery.start_soon(prices.keep, seller)
        # Before the record runs out, which was published when the overlay was opened.
        await trio.sleep(LOOK_SECONDS + PAUSE)

        assert [told["scripted"].completion for told in seller.told] == [PRICE.completion]
        assert "what others ask" in prices.views()[0].why


async def test_a_price_that_the_record_has_no_room_for_is_not_asked(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    disk = MemoryDisk()
    prices, seller = market(disk), Full()
    seller.take(1)
    seller.take(2)

    await live(prices, seller, 2, nursery)

    assert prices.prices["m"].completion == 20_000
    assert disk.notes == {}


class Full(Seller):
    """A worker whose record can be no longer."""

    def set_prices(self, prices: Mapping[str, Price]) -> None:
        raise LocalProtocolError("record: too long")


FIXED = Plan(4_000, None, 20_000, 30_000, Bounds(0, 10**9), 20_000)


async def test_its_owner_may_say_where_a_price_goes_on_from(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    disk, seller = MemoryDisk(), Seller()
    prices = market(disk)
    prices.ask(seller, "m", 100_000)

    assert seller.told[-1]["m"].completion == prices.views()[0].completion == 100_000
    assert "as you said" in prices.views()[0].why
    seller.take(1)
    seller.take(2)
    await live(prices, seller, 1, nursery)
    assert prices.prices["m"].completion == 105_000
    again = market(disk)
    await again.remember()
    assert again.prices["m"].completion == 105_000


async def test_a_price_that_was_said_is_not_held_against_what_was_seen_of_the_one_before(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    prices, seller = market(), Seller()
    prices.ask(seller, "m", 200_000)
    nursery.start_soon(prices.keep, seller)
    await trio.sleep(LOOK_SECONDS - PAUSE)
    seller.hear((100, Why.DEARER_THAN_ASKED, 100))

    prices.ask(seller, "m", 50_000)
    await trio.sleep(2 * PAUSE)

    assert prices.prices["m"].completion == 50_000
    seller.hear((110, Why.DEARER_THAN_ASKED, 110))
    await trio.sleep(LOOK_SECONDS)
    assert prices.prices["m"].completion == 47_500


async def test_a_price_that_stays_for_longer_than_a_week_is_remembered(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    disk, seller = MemoryDisk(), Seller()
    prices = market(disk)
    prices.ask(seller, "m", 100_000)
    await live(prices, seller, 8 * 24 * 12, nursery)
    await wait_all_tasks_blocked()

    again = market(disk)
    await again.remember()

    assert again.prices["m"].completion == 100_000


async def test_a_fixed_price_is_another_until_the_next_start(autojump_clock: MockClock) -> None:
    disk, seller = MemoryDisk(), Seller()
    prices = MarketPrices({"m": FIXED}, MemoryStore(disk), NETWORK, NoDirectory())  # type: ignore[arg-type]

    assert "next start" in prices.ask(seller, "m", 10_000)

    assert seller.told == [{"m": Price(2_000, 500, 10_000, 15_000)}]
    assert "until the next start" in prices.views()[0].why
    again = MarketPrices({"m": FIXED}, MemoryStore(disk), NETWORK, NoDirectory())  # type: ignore[arg-type]
    await again.remember()
    assert again.prices["m"].completion == 20_000


async def test_prompts_are_not_given_away_after_a_price_that_was_a_slip(autojump_clock: MockClock) -> None:
    seller = Seller()
    prices = MarketPrices({"m": FIXED}, MemoryStore(), NETWORK, NoDirectory())  # type: ignore[arg-type]

    prices.ask(seller, "m", 1)
    prices.ask(seller, "m", 20_000)

    assert seller.told[-1] == {"m": FIXED.at(20_000)}


@pytest.mark.parametrize(
    ("plan", "model", "completion", "said"),
    [
        (PLAN, "other", 20_000, "no model"),
        (PLAN, "m", 4_999, "between 5000 and 200000"),
        (PLAN, "m", 200_001, "between 5000 and 200000"),
        (replace(PLAN, completion=20_000), "m", 30_000, "fixed price"),
        (replace(FIXED, completion=0), "m", 30_000, "cost nothing"),
        (replace(FIXED, prompt=10**12), "m", 2**62, "more than can be asked"),
    ],
)
async def test_a_price_that_the_file_does_not_allow_is_refused(
    plan: Plan, model: str, completion: int, said: str, autojump_clock: MockClock
) -> None:
    seller = Seller()
    prices = MarketPrices({"m": plan}, MemoryStore(), NETWORK, NoDirectory())  # type: ignore[arg-type]
    before = prices.prices

    with pytest.raises(ConfigurationError, match=said):
        prices.ask(seller, model, completion)

    assert (prices.prices, seller.told) == (before, [])
