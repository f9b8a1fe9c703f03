"""How much a payer puts into its channels, and when: pure policy over what stands.

A channel costs gas to open and locks money up, so it is not opened for whoever asks: a client opens
its own by hand, a proxy opens one to a worker once that has earned something on grant. What is open is
topped up before it runs dry, within bounds that its owner set.

Spec: payments/settlement.md (Funding).
"""

from dataclasses import dataclass

from cocoon_p2p.payments.channel import Backing
from cocoon_p2p.payments.contract import capacity as capacity_of
from cocoon_p2p.payments.contract import deposit_for
from cocoon_p2p.units import Nano

TOP_UP_PART = 4
"A channel with less room than this part of what is put in at a time is topped up."

DEPOSITS_MAX = Nano(100_000_000_000)

OPENING_COSTS = Nano(2_000_000)
"What is sent along beyond the deposit: an opening costs 0.0008 TON of it, a top-up half of that."


@dataclass(frozen=True, slots=True)
class FundingPolicy:
    """What a payer is ready to lock up."""

    capacity: Nano
    "How much a channel can pay when it is opened, and how much more after each top-up."

    open_after: Nano | None = None
    "A channel is opened by itself once this was charged on grant; None: only when its owner says so."

    deposits_max: Nano = DEPOSITS_MAX
    "All deposits together, of channels that are not settled."

    channels_max: int = 64
    "Channels that are open on the chain at once."


@dataclass(frozen=True, slots=True)
class Standing:
    """What a payer has locked up altogether."""

    deposits: Nano
    channels: int


def top_up_due(
    policy: FundingPolicy, standing: Standing, backing: Backing, *, charged: Nano, room: Nano
) -> Nano:
    """Say by how much a channel's capacity is to be raised now; 0 for not at all.

    Args:
        policy: The owner's.
        standing: All channels together.
        backing: What stands behind this one.
        charged: What was charged on it, all told.
        room: How much more can be held on it, the grant included.
    """
    if backing.is_settled or backing.close_at:
        return Nano(0)
    # Anybody can open a contract with a coin of his own: that does not make it one to be topped up.
    is_open = capacity_of(backing.deposit) > 0
    is_earned = policy.open_after is not None and charged >= policy.open_after
    if not is_open:
        is_wanted = is_earned and (backing.epoch != 0 or standing.channels < policy.channels_max)
    else:
        is_wanted = room < policy.capacity // TOP_UP_PART and (is_earned or policy.open_after is None)
    if not is_wanted or standing.deposits + to_put_in(policy.capacity, backing) > policy.deposits_max:
        return Nano(0)
    return policy.capacity


def to_put_in(capacity: Nano, backing: Backing) -> Nano:
    """Say what to put into a contract for its capacity to rise by so much; at first, the reserve as well."""
    return Nano(deposit_for(Nano(capacity_of(backing.deposit) + capacity)) - backing.deposit)
