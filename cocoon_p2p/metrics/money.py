"""A node's channels, its wallet, and the chain behind them."""

from collections.abc import Callable, Iterator

from cocoon_p2p.metrics.definition import WITH_EXCHANGES, Definition, Sample, Sight, known, one_of
from cocoon_p2p.overview.channels import ChannelView
from cocoon_p2p.overview.snapshot import MoneyView

CHAIN_STATES = {"in step": "in_step", "behind": "behind", "away": "away", "unknown": "unknown"}


def _money(read: Callable[[MoneyView], float | None]) -> Callable[[Sight], list[Sample]]:
    """Read a part of the money, where there is any."""

    def money(sight: Sight) -> list[Sample]:
        view = sight.snapshot.money
        return known(None if view is None else read(view))

    return money


def _chain(sight: Sight) -> list[Sample]:
    money = sight.snapshot.money
    return one_of(money.chain, CHAIN_STATES) if money is not None and money.chain else []


def _channels(read: Callable[[ChannelView], float]) -> Callable[[Sight], Iterator[Sample]]:
    """Add up channels, by their sides."""

    def channels(sight: Sight) -> Iterator[Sample]:
        for channel in sight.snapshot.channels:
            yield Sample(read(channel), (channel.side,))

    return channels


MONEY = (
    Definition(
        name="cocoon_channels_open",
        kind="gauge",
        meaning="Channels that are open",
        roles=WITH_EXCHANGES,
        read=_money(lambda money: money.channels_open),
    ),
    Definition(
        name="cocoon_channels_closing",
        kind="gauge",
        meaning="Channels that pay this node and that their payers have begun to close alone: claim in time",
        roles=WITH_EXCHANGES,
        read=_money(lambda money: money.channels_closing),
    ),
    Definition(
        name="cocoon_channel_capacity_nanoton",
        kind="gauge",
        meaning="What all channels that are not settled (100 at most) can carry, by this node's side",
        labels=("side",),
        roles=WITH_EXCHANGES,
        read=_channels(lambda channel: channel.capacity_nano),
    ),
    Definition(
        name="cocoon_channel_charged_nanoton",
        kind="gauge",
        meaning="What they have carried",
        labels=("side",),
        roles=WITH_EXCHANGES,
        read=_channels(lambda channel: channel.charged_nano),
    ),
    Definition(
        name="cocoon_channel_claimed_nanoton",
        kind="gauge",
        meaning="Of that, what was collected from their contracts",
        labels=("side",),
        roles=WITH_EXCHANGES,
        read=_channels(lambda channel: channel.claimed_nano),
    ),
    Definition(
        name="cocoon_payable_nanoton",
        kind="gauge",
        meaning="What this node can still pay from its channels",
        roles=WITH_EXCHANGES,
        read=_money(lambda money: money.in_channels),
    ),
    Definition(
        name="cocoon_uncollected_nanoton",
        kind="gauge",
        meaning="What it was paid by voucher and has not collected",
        roles=WITH_EXCHANGES,
        read=_money(lambda money: money.uncollected),
    ),
    Definition(
        name="cocoon_wallet_nanoton",
        kind="gauge",
        meaning="The wallet's balance, as the chain said last; no series while it is not known",
        roles=WITH_EXCHANGES,
        read=_money(lambda money: money.wallet),
    ),
    Definition(
        name="cocoon_wallet_age_seconds",
        kind="gauge",
        meaning="Since the chain said so",
        roles=WITH_EXCHANGES,
        read=_money(lambda money: money.wallet_seconds_ago),
    ),
    Definition(
        name="cocoon_chain_state",
        kind="gauge",
        meaning="1 for the state that the chain is in as seen from here; no series without a chain",
        labels=("state",),
        roles=WITH_EXCHANGES,
        read=_chain,
    ),
    Definition(
        name="cocoon_chain_age_seconds",
        kind="gauge",
        meaning="Since the chain answered last",
        roles=WITH_EXCHANGES,
        read=_money(lambda money: money.chain_seconds_ago),
    ),
)
