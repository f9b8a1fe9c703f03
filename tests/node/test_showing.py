"""What a node shows of itself is what stands, and looking costs nothing that others would notice."""

import tempfile
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import Identity
from cocoon_p2p.journal import Entry, Journal
from cocoon_p2p.ledger import Account, ChannelName, Line, Side
from cocoon_p2p.node import money_shown
from cocoon_p2p.node.chain_heard import ChainHeard
from cocoon_p2p.node.flow import SPAN_SECONDS, Flow
from cocoon_p2p.node.last_shown import kept_shown
from cocoon_p2p.node.money_shown import AGAIN_SECONDS, MoneyShown
from cocoon_p2p.node.self_checks import FIRST_SECONDS, PAUSE_SECONDS, SETTLE_SECONDS, Insides, SelfChecks
from cocoon_p2p.node.showing import RECENT_SHOWN, Showing
from cocoon_p2p.overview.findings import LIMIT_SECONDS, CheckUp
from cocoon_p2p.overview.last_shown import read_last
from cocoon_p2p.overview.peers import Role
from cocoon_p2p.overview.snapshot import FindingView
from cocoon_p2p.overview.today import DAY_SECONDS, midnight, tally_in, tally_of
from cocoon_p2p.payments.chain import AccountSeen, Chain
from cocoon_p2p.payments.channel import Backing, Phase
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.protocols.messages import ChannelId
from cocoon_p2p.proxy import Proxy
from cocoon_p2p.store import open_store
from cocoon_p2p.units import Nano
from cocoon_p2p.worker import Worker
from cocoon_p2p.worker.slots import Slots
from tests.cli.snapshots import HEALTH, REACH

NOW = 1_800_000_000.0
PEER = Identity.from_seed(b"\x31" * 32).peer_id
HERS = AccountId(b"\x01" * 32)


def entry(outcome: str = "finished", **facts: Any) -> Entry:
    given: dict[str, Any] = {
        "exchange": bytes(16), "role": "worker", "model": "m", "outcome": outcome, "began_at": NOW,
        "seconds": 1.0, "first_token_seconds": 0.5, "prompt_tokens": 10, "completion_tokens": 5, "peer": PEER,
    }  # fmt: skip
    return Entry(**(given | facts))


def showing(role: Role = "worker", *, journal: Journal | None = None) -> Showing:
    made = Showing(role, "mine", journal=journal, clock=lambda: NOW)
    made.stands_on(lambda: HEALTH, lambda: REACH, None)
    return made


def worker(*, is_registered: bool = True, slots: Slots | None = None) -> Worker:
    shop = SimpleNamespace(slots=slots or Slots(4), papers=SimpleNamespace(offers=()))
    made = Worker(cast(Any, shop), lambda _standing: None)
    made.join(PEER, ["/ip4/127.0.0.1/tcp/1"])
    made.standings[0].is_registered = is_registered
    return made


def proxy(*, record: object = None, is_draining: bool = False) -> Proxy:
    class Workers:
        def __init__(self) -> None:
            self.is_draining = is_draining

        def __iter__(self) -> Any:
            return iter(())

    clients, storefront = SimpleNamespace(running=3, waiting=2), SimpleNamespace(record=record)
    return Proxy(*cast(Any, (Workers(), clients, storefront, SimpleNamespace(per_hour=0, spent=0))))


# ---------------------------------------------------------------- ready


async def test_a_worker_is_ready_once_some_proxy_offers_it_and_until_it_drains() -> None:
    seen, slots = showing(), Slots(4)

    assert not seen.snapshot().is_ready
    seen.seller = worker(is_registered=False)
    assert not seen.snapshot().is_ready
    seen.seller = worker(slots=slots)
    assert seen.snapshot().is_ready
    slots.is_draining = True
    assert not seen.snapshot().is_ready


async def test_a_proxy_is_ready_once_it_is_announced_and_until_it_drains() -> None:
    seen = showing("proxy")

    for made, is_ready in (
        (proxy(), False),
        (proxy(record=1), True),
        (proxy(record=1, is_draining=True), False),
    ):
        seen.seller = made
        assert seen.snapshot().is_ready is is_ready
    load = seen.snapshot().load
    assert load is not None
    assert (load.running, load.waiting, load.is_draining) == (3, 2, True)


async def test_a_client_is_ready_once_it_knows_a_server_and_a_bootstrap_once_it_listens() -> None:
    assert showing("client").snapshot().is_ready
    assert showing("bootstrap").snapshot().is_ready


async def test_before_it_stands_on_anything_it_says_that_it_starts() -> None:
    with pytest.raises(Unavailable, match="still starting"):
        Showing("worker", "mine").snapshot()


async def test_what_has_ended_is_shown_newest_first_and_not_without_end() -> None:
    seen = showing()
    for number in range(RECENT_SHOWN + 5):
        seen.journal.note(entry(completion_tokens=number))

    recent = seen.snapshot().recent

    assert [each.completion_tokens for each in recent[:2]] == [RECENT_SHOWN + 4, RECENT_SHOWN + 3]
    assert len(recent) == RECENT_SHOWN


# ---------------------------------------------------------------- the last minute


def test_the_last_minute_is_counted_and_what_is_older_is_not() -> None:
    now = [100.0]
    flow = Flow(lambda: now[0])
    flow.note(entry())
    now[0] += SPAN_SECONDS
    flow.note(entry("engine-failed", first_token_seconds=None))
    flow.note(entry("cancelled"))

    lately = flow.view()

    assert (lately.exchanges, lately.failed, lately.completion_tokens) == (2, 1, 10)
    assert lately.first_token_seconds == 0.5


# ---------------------------------------------------------------- money


LINES = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from(Side), st.sampled_from([Account.INCOME, Account.EXPENSE]),
        st.booleans(), st.integers(0, 10**12), st.integers(0, 3 * DAY_SECONDS),
    )
)  # fmt: skip


def lines_of(given: list[Any]) -> list[Line]:
    lines: list[Line] = []
    for number, (channel, side, account, is_back, amount, at) in enumerate(given):
        name = ChannelName(side, ChannelId(bytes([channel]) * 32))
        source, target = (Account.OWED, account) if is_back else (account, Account.OWED)
        lines.append(Line(name, number, source, target, Nano(amount), None, at))
    return lines


@pytest.mark.long
@given(LINES, st.integers(0, 3 * DAY_SECONDS))
def test_the_database_adds_books_up_as_we_do(given: list[Any], since: int) -> None:
    lines = lines_of(given)
    expected = tally_of(lines, since)

    async def written(place: Path) -> None:
        async with open_store(place) as store:
            await store.submit(*lines).wait()

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "ledger.db"
        trio.run(written, place)
        assert tally_in(place, since) == expected


class Books:
    """Accounts of one payer and one payee, as far as money is shown of them."""

    def __init__(self) -> None:
        self.income, self.expense = 0, 0
        self.backing = Backing(epoch=1, deposit=Nano(1_000), claimed=Nano(100), close_at=0)

    def payees(self) -> tuple[Any, ...]:
        return (
            SimpleNamespace(
                channel=ChannelId(b"\x01" * 32), charged=self.expense, phase=Phase.OPEN, capacity=1_000,
                held=50, backing=self.backing,
            ),
        )  # fmt: skip

    def payers(self) -> tuple[Any, ...]:
        return (
            SimpleNamespace(
                channel=ChannelId(b"\x02" * 32), charged=lambda: self.income, phase=Phase.OPEN,
                vouchered=lambda: 700, backing=self.backing,
            ),
        )  # fmt: skip


async def test_money_goes_on_from_the_books_by_what_accounts_charge_and_begins_anew_at_midnight() -> None:
    books, now = Books(), [float(midnight(NOW) + DAY_SECONDS - 100)]
    name = ChannelName(Side.PAYEE, ChannelId(b"\x02" * 32))
    lines = [
        Line(name, 0, Account.INCOME, Account.OWED, Nano(10), None, int(NOW) - 2 * DAY_SECONDS),
        Line(name, 1, Account.INCOME, Account.OWED, Nano(5), None, int(now[0])),
    ]

    class Server:
        async def lines(self) -> list[Line]:
            await trio.lowlevel.checkpoint()
            return lines

    money = MoneyShown(
        cast(Any, books), "postgresql://x", cast(Any, Server()), None, None, clock=lambda: now[0]
    )
    books.income = 15
    assert money.view().income_today == 0

    await money.add_up()
    assert money.view().income_today == 5
    books.income, books.expense = 18, 7
    seen = money.view()
    assert (seen.income_today, seen.expense_today) == (8, 7)
    assert (seen.in_channels, seen.uncollected, seen.channels_open) == (1_000 - 7 - 50, 600, 2)
    assert seen.channels_closing == 0
    # One of its payers, and itself: that one is nobody's danger.
    books.backing = replace(books.backing, close_at=int(now[0]) + 60)
    assert money.view().channels_closing == 1

    lines.append(Line(name, 2, Account.INCOME, Account.OWED, Nano(3), None, int(now[0]) + 50))
    now[0] += 200
    await money.add_up()
    books.income += 1
    assert money.view().income_today == 1


async def test_after_a_night_that_the_machine_slept_through_the_books_are_the_new_days(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall, added_up = [float(midnight(NOW) + DAY_SECONDS - 7_200)], list[float]()
    money = MoneyShown(
        cast(Any, Books()), "postgresql://x", cast(Any, None), None, None, clock=lambda: wall[0]
    )

    async def add_up() -> None:
        await trio.lowlevel.checkpoint()
        added_up.append(wall[0])

    monkeypatch.setattr(money, "add_up", add_up)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(money.keep_books)
        await trio.sleep(10.0)
        # Its own clock went on meanwhile, and trio's did not.
        wall[0] += 8 * 3600
        await trio.sleep(2 * AGAIN_SECONDS)
        nursery.cancel_scope.cancel()

    assert added_up == [midnight(NOW) + DAY_SECONDS - 7_200, wall[0]]


@pytest.mark.parametrize(
    ("phase", "vouchered", "close_at", "shown"),
    [
        (Phase.OPEN, 899, 0, []),
        (Phase.OPEN, 901, 0, [1]),
        (Phase.CLOSED, 901, 0, []),
        (Phase.STOPPED, 0, 0, [1, 2]),
        (Phase.OPEN, 0, 5, [1, 2]),
    ],
)
async def test_only_channels_that_may_need_their_owner_are_at_risk(
    phase: Phase, vouchered: int, close_at: int, shown: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    backing = Backing(epoch=1, deposit=Nano(1_000), claimed=Nano(0), close_at=close_at)
    paying = SimpleNamespace(channel=1, phase=phase, vouchered=vouchered, capacity=1_000, backing=backing)
    paid = SimpleNamespace(channel=2, phase=phase, backing=backing)
    accounts = SimpleNamespace(payees=lambda: (paying,), payers=lambda: (paid,))
    monkeypatch.setattr(money_shown, "view_of", attrgetter("channel"))
    monkeypatch.setattr(money_shown, "in_order", sorted)

    money = MoneyShown(cast(Any, accounts), "postgresql://x", cast(Any, None), None, None)

    assert cast(Any, money.at_risk()) == shown


@pytest.mark.parametrize(
    ("receiving", "paying", "shown"),
    [(9, 9, (2, 2)), (9, 1, (3, 1)), (1, 9, (1, 3)), (0, 9, (0, 4)), (1, 1, (1, 1))],
)
async def test_channels_of_one_side_however_many_do_not_hide_those_of_the_other(
    receiving: int, paying: int, shown: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def accounts(side: str, count: int) -> list[Any]:
        settled = SimpleNamespace(backing=Backing(is_settled=True))
        return [settled, *(SimpleNamespace(side=side, backing=Backing()) for _ in range(count))]

    owner = SimpleNamespace(
        payers=lambda: accounts("payee", receiving), payees=lambda: accounts("payer", paying)
    )
    monkeypatch.setattr(money_shown, "view_of", attrgetter("side"))
    monkeypatch.setattr(money_shown, "in_order", list)
    money = MoneyShown(cast(Any, owner), "postgresql://x", cast(Any, None), None, None)

    sides = cast(Any, money.channels(4))

    assert (sides.count("payee"), sides.count("payer")) == shown


# ---------------------------------------------------------------- the chain


class FakeChain:
    def __init__(self) -> None:
        self.is_away = False
        self.at = int(NOW)

    async def account(self, account: AccountId) -> AccountSeen:
        await trio.lowlevel.checkpoint()
        if self.is_away:
            raise Unavailable("away")
        return AccountSeen(account, Nano(7), None, None, 1, self.at)


async def test_what_was_heard_of_the_chain_is_kept_while_it_is_away() -> None:
    chain, now = FakeChain(), [NOW]
    heard = ChainHeard(cast(Chain, chain), clock=lambda: now[0])
    heard.watched = frozenset([HERS])

    standings: list[str] = [heard.standing]
    await heard.account(HERS)
    standings.append(heard.standing)
    chain.is_away = True
    now[0] += 60
    with pytest.raises(Unavailable):
        await heard.account(HERS)
    standings.append(heard.standing)

    assert standings == ["unknown", "in step", "away"]
    assert heard.balance(HERS) == (7, NOW)
    assert heard.answered_at == NOW


async def test_an_old_block_is_behind_but_on_a_chain_that_makes_them_when_needed() -> None:
    chain = FakeChain()
    chain.at -= 600
    public, local = (
        ChainHeard(cast(Chain, chain), makes_blocks=makes, clock=lambda: NOW) for makes in (True, False)
    )

    await public.account(HERS)
    await local.account(HERS)

    assert (public.standing, local.standing) == ("behind", "in step")
    assert public.balance(HERS) is None


# ---------------------------------------------------------------- kept, checked


async def test_what_was_shown_last_is_there_after_the_end(tmp_path: Path) -> None:
    seen = showing()

    async with kept_shown(seen, tmp_path):
        seen.journal.note(entry())
    last = read_last(tmp_path)

    assert last is not None
    assert len(last.recent) == 1


async def test_a_folder_that_cannot_be_written_ends_no_node(tmp_path: Path) -> None:
    async with kept_shown(showing(), tmp_path / "missing"):
        pass


async def test_a_node_is_looked_over_once_it_is_ready_and_then_every_ten_minutes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    seen, looked = showing("client"), list[float]()

    async def check(_insides: Insides) -> list[FindingView]:
        await trio.lowlevel.checkpoint()
        looked.append(trio.current_time())
        return [FindingView("disk", "fine", "much")]

    began = trio.current_time()
    with trio.move_on_after(SETTLE_SECONDS + 2 * PAUSE_SECONDS + 1):
        await SelfChecks(check, Insides(seen)).run()

    assert [at - began for at in looked] == [SETTLE_SECONDS + number * PAUSE_SECONDS for number in range(3)]
    assert [each.text for each in seen.snapshot().findings] == ["much"]
    assert seen.snapshot().checked_at == NOW


async def test_one_that_never_is_ready_is_looked_over_too_and_a_check_that_fails_ends_nothing(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    looked = list[float]()

    async def check(_insides: Insides) -> list[FindingView]:
        await trio.lowlevel.checkpoint()
        looked.append(trio.current_time())
        raise ValueError("a fault of ours")

    with trio.move_on_after(FIRST_SECONDS + SETTLE_SECONDS + PAUSE_SECONDS + 5):
        await SelfChecks(check, Insides(showing())).run()

    assert len(looked) == 2
    assert "could not be looked over" in caplog.text


async def test_checks_that_hang_are_a_finding(autojump_clock: trio.testing.MockClock) -> None:
    async def check(_insides: Insides) -> list[FindingView]:
        await trio.sleep_forever()
        raise AssertionError

    began = trio.current_time()
    findings = await SelfChecks(check, Insides(showing())).afresh()

    assert [each.severity for each in findings] == ["failure"]
    assert trio.current_time() - began == pytest.approx(LIMIT_SECONDS)


async def test_who_asks_while_a_node_looks_itself_over_has_an_answer_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def check(_insides: Insides) -> list[FindingView]:
        await trio.sleep(LIMIT_SECONDS - 1)
        return [FindingView("disk", "fine", "50 GB are free")]

    checks, told = SelfChecks(check, Insides(showing())), list[object]()

    async def say(found: object) -> None:
        await trio.lowlevel.checkpoint()
        told.append(found)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(checks.afresh)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(checks.answer.limit_seconds):
            await checks.answer.carry_out(CheckUp(), say)

    assert len(told) == 1
