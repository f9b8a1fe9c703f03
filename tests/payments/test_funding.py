"""How much is put into channels: by the owner's policy, and by what stands."""

from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.payments.channel import NOTHING_SEEN, Backing
from cocoon_p2p.payments.contract import capacity, deposit_for
from cocoon_p2p.payments.treasury.funding import FundingPolicy, Standing, to_put_in, top_up_due
from cocoon_p2p.units import NANO_PER_TON, Nano

CAPACITY = Nano(NANO_PER_TON)
OPEN = Backing(epoch=7, deposit=deposit_for(CAPACITY))
PROXY = FundingPolicy(CAPACITY, open_after=Nano(500))
CLIENT = FundingPolicy(CAPACITY)
NOTHING = Standing(Nano(0), 0)


def due(
    policy: FundingPolicy,
    backing: Backing,
    *,
    charged: int = 500,
    room: int = 0,
    standing: Standing = NOTHING,
) -> Nano:
    return top_up_due(policy, standing, backing, charged=Nano(charged), room=Nano(room))


def test_a_channel_is_opened_once_enough_was_earned_and_not_before() -> None:
    assert due(PROXY, NOTHING_SEEN, charged=499) == 0
    assert due(PROXY, NOTHING_SEEN, charged=500) == CAPACITY


def test_who_opens_by_hand_opens_nothing_by_itself_but_tops_up() -> None:
    assert due(CLIENT, NOTHING_SEEN) == 0
    assert due(CLIENT, OPEN, charged=0) == CAPACITY


def test_a_channel_is_topped_up_below_a_quarter_of_what_is_put_in() -> None:
    assert due(PROXY, OPEN, room=CAPACITY // 4) == 0
    assert due(PROXY, OPEN, room=CAPACITY // 4 - 1) == CAPACITY


def test_a_contract_that_a_stranger_opened_with_a_coin_is_not_topped_up_before_it_earned_that() -> None:
    coin = Backing(epoch=7, deposit=Nano(1_000_000))

    assert due(CLIENT, coin) == 0
    assert due(PROXY, coin, charged=499) == 0
    assert due(PROXY, Backing(epoch=7, deposit=Nano(60_000_000)), charged=499) == 0
    assert due(PROXY, coin, charged=500) == CAPACITY


def test_a_channel_that_closes_or_is_settled_gets_nothing() -> None:
    assert due(PROXY, Backing(epoch=7, deposit=OPEN.deposit, close_at=9)) == 0
    assert due(PROXY, Backing(epoch=7, deposit=OPEN.deposit, is_settled=True)) == 0


def test_all_deposits_and_channels_together_stay_within_the_owners_limits() -> None:
    policy = FundingPolicy(CAPACITY, Nano(0), deposits_max=deposit_for(CAPACITY), channels_max=2)

    assert due(policy, NOTHING_SEEN) == CAPACITY
    assert due(policy, NOTHING_SEEN, standing=Standing(Nano(1), 1)) == 0
    assert due(policy, NOTHING_SEEN, standing=Standing(Nano(0), 2)) == 0
    assert due(policy, OPEN, standing=Standing(Nano(0), 2)) == CAPACITY


@given(wanted=st.integers(1, 10**18), deposit=st.integers(0, 10**18))
def test_a_deposit_raises_the_capacity_by_what_was_wanted(wanted: int, deposit: int) -> None:
    backing = Backing(epoch=7, deposit=Nano(deposit))

    after = deposit + to_put_in(Nano(wanted), backing)

    assert capacity(Nano(after)) == capacity(Nano(deposit)) + wanted
