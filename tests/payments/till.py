"""Two nodes with scripted banks, and the real contract between them, which the tests look at themselves."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from trio.testing import wait_all_tasks_blocked

from cocoon_p2p.payments.channel import Backing
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain import LOCAL_GLOBAL_ID
from cocoon_p2p.payments.events import BackingSeen, ChannelSettled
from cocoon_p2p.payments.settlement import PayingAccount, ReceivingAccount
from cocoon_p2p.protocols.messages import ChannelId, Funded
from cocoon_p2p.units import NANO_PER_TON, Nano
from tests.payments.contract.scene import DELAY
from tests.payments.contract.scene import Scene as Contract
from tests.payments.parties import DEPLOYMENT, PAYEE, PAYER, WALLETS
from tests.payments.scene import Node, Pair, Scene, connect, scene

DEPOSIT = NANO_PER_TON


@dataclass
class Till:
    """A bank that does nothing but remember what it was asked."""

    stage: Scene
    wallet: AccountId | None = None
    payout: AccountId | None = None
    global_id: int = LOCAL_GLOBAL_ID
    close_delay_seconds: int = DELAY
    looks: list[ChannelId] = field(default_factory=list[ChannelId])
    rooms: list[Nano] = field(default_factory=list[Nano])

    def now(self) -> float:
        return self.stage.now

    def look_soon(self, channel: ChannelId) -> None:
        self.looks.append(channel)

    def moved(self, channel: ChannelId, *, room: Nano) -> None:
        self.rooms.append(room)


class Stand(Pair):
    """Both ends of a channel with a contract."""

    contract: Contract

    def look(self, *accounts: PayingAccount | ReceivingAccount) -> None:
        """Let both ends, or those named, see the contract as it is."""
        for account in accounts or (self.paying, self.receiving):
            account.apply(BackingSeen(self.seen()))

    def seen(self) -> Backing:
        state = self.contract.state
        deposit = Nano(self.contract.balance() + state.claimed)
        return Backing(state.epoch, deposit, state.claimed, state.close_at)

    async def fund(self) -> None:
        """Put money in, and let both ends see it."""
        if self.contract.is_active:
            assert self.contract.top_up(DEPOSIT).done
        else:
            assert self.contract.deploy(DEPOSIT).done
        self.look()
        self.paying.send(Funded(self.paying.channel))
        await wait_all_tasks_blocked()

    def settle(self, total: int) -> None:
        """Let both see that the contract is gone."""
        assert not self.contract.is_active
        for account in (self.paying, self.receiving):
            account.apply(ChannelSettled(Nano(total)))


def tills(stage: Scene) -> tuple[Till, Till]:
    """Give a payer's and a payee's bank."""
    return Till(stage, wallet=WALLETS[0]), Till(stage, payout=WALLETS[1])


def stand_on(pair: Pair) -> Stand:
    """Put the real contract behind a channel; its clock is the nodes'."""
    deployment = pair.paying.deployment
    assert deployment is not None
    stand = Stand(pair.scene, pair.payer, pair.payee, pair.paying, pair.receiving)
    stand.contract = Contract(**{name: getattr(deployment, name) for name in DEPLOYMENT.__slots__})
    stand.contract.chain.now = int(pair.scene.now)
    assert stand.contract.channel == pair.paying.channel
    return stand


@asynccontextmanager
async def stand(*, grant: Nano = Nano(0), is_funded: bool = True) -> AsyncIterator[Stand]:
    """Stand up two nodes with a funded channel between them."""
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(scene())
        stage.now = 1_800_000_000.0
        for_payer, for_payee = tills(stage)
        payer: Node = await stack.enter_async_context(stage.node(PAYER, bank=for_payer))
        payee: Node = await stack.enter_async_context(stage.node(PAYEE, grant=grant, bank=for_payee))
        both = stand_on(await connect(stage, payer, payee))
        if is_funded:
            await both.fund()
        yield both
