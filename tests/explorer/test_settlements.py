"""However a channel is used and looked at, what it settled counts once, and never before it was paid."""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.explorer.observing import Observer
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.lite import BlocksRead
from cocoon_p2p.testing.chain import LocalChain
from cocoon_p2p.units import NANO_PER_TON as TON
from tests.payments.contract.scene import DELAY
from tests.payments.contract.scene import Scene as Channel

pytestmark = pytest.mark.long

LIVES = 2

Life = tuple[list[tuple[str, int]], tuple[str, int]]
"What is done while a channel is open, and how it ends."


class Blocks:
    """Says of every channel of a test that it may have been touched."""

    def __init__(self, *accounts: AccountId) -> None:
        self._accounts = frozenset(accounts)

    async def read_on(self) -> BlocksRead:
        await trio.lowlevel.checkpoint()
        return BlocksRead(self._accounts, 1, 0, ())


class Witness:
    """Looks at one channel, and adds up."""

    def __init__(self, channel: Channel) -> None:
        self.chain = LocalChain(channel.chain)
        self.blocks = Blocks(AccountId(channel.channel))
        self.observer = Observer(self.chain, self.blocks)
        self.settled = 0

    async def look(self) -> None:
        seen = await self.observer.look()
        assert all(one.amount > 0 for one in seen.settlements)
        self.settled += sum(one.amount for one in seen.settlements)

    def restart(self) -> None:
        """Go on from what a store would have."""
        self.observer = Observer(self.chain, self.blocks, tuple(self.observer.followed.values()))


DEEDS = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.integers(TON // 10, TON)),
        st.tuples(st.just("top up"), st.integers(TON // 10, TON)),
        st.tuples(st.just("look"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=8,
)
ENDS = st.tuples(st.sampled_from(["close", "alone"]), st.integers(0, TON))


@settings(max_examples=40)
@given(st.lists(st.tuples(DEEDS, ENDS), min_size=1, max_size=LIVES), st.booleans())
def test_all_that_was_paid_counts_once(lives: list[Life], looks_last: bool) -> None:
    trio.run(live, lives, looks_last)


async def live(lives: list[Life], looks_last: bool) -> None:
    channel = Channel()
    witness = Witness(channel)
    paid = 0
    for deeds, (end, more) in lives:
        channel.deploy(20 * TON)
        await witness.look()
        total = 0
        for deed, amount in deeds:
            if deed == "claim":
                total += amount
                assert channel.claim(total).done
            elif deed == "top up":
                channel.top_up(amount)
            elif deed == "look":
                await witness.look()
            else:
                witness.restart()
            assert witness.settled <= paid + total
        if end == "close":
            total += more
            assert channel.close(total).done
        else:
            channel.start_close()
            if looks_last:
                await witness.look()
            channel.chain.now += DELAY + 1
            assert channel.finish_close().done
        paid += total
        await witness.look()
        assert witness.settled == paid
        assert not witness.observer.followed
