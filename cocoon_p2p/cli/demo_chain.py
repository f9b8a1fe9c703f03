"""What the demo does on its local chain: opens the client's channel, sees the proxy's, closes them all."""

import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, TypeVar

import trio

from cocoon_p2p.cli.chain_books import ChainBooks, Contract, look, reckon
from cocoon_p2p.control import Feed, Request, follow
from cocoon_p2p.errors import Unavailable
from cocoon_p2p.node import CONTROL_SOCKET, OpenedClient
from cocoon_p2p.overview import CHANNELS, CLOSE, ChannelView, Close, ListChannels, view_of
from cocoon_p2p.payments.chain import AccountSeen
from cocoon_p2p.payments.settlement import PayingAccount
from cocoon_p2p.payments.treasury.rounds import Treasury
from cocoon_p2p.testing.fortune import Fortune
from cocoon_p2p.testing.processes import LocalNetwork
from cocoon_p2p.units import Nano, format_ton

Q = TypeVar("Q", bound=Request)

PROXY_KEYS = {"open_after": 0}
"The demo's proxy opens a channel to a worker at once, and not when it has earned some."

PATIENCE_SECONDS = 30.0
"How long a step on the chain may take. A local chain's blocks come at once."

LOOK_SECONDS = 0.05

HINT = "run it again with --serve, and read the logs in that folder"

NO_TONPY = (
    "No local chain: tonpy, TON's virtual machine, is not installed here\n"
    "(pip install 'cocoon-p2p[devchain]'; it has no wheel for Linux on arm64).\n"
    "So deposits are agreed between the parties, and no chain stands behind them.\n"
)


def is_chain_here() -> bool:
    """Whether a local chain can be run."""
    return find_spec("tonpy") is not None


class DemoChain:
    """The client's and the proxy's channels, as contracts. `begin` comes first, `end` last."""

    def __init__(
        self, network: LocalNetwork, opened: OpenedClient, step: Callable[[str, dict[str, Any]], None]
    ) -> None:
        assert opened.parts.treasury is not None
        assert network.fortune is not None
        self._network = network
        self._opened = opened
        self._step = step
        self._treasury: Treasury = opened.parts.treasury
        self._fortune: Fortune = network.fortune
        self.before: Mapping[str, AccountSeen] = {}
        "What everybody held when it began. Whoever ends what another client began says it here."

    async def begin(self, capacity: int) -> None:
        """Open the client's channel to the proxy, and wait until the proxy has seen it.

        Raises:
            Unavailable: The proxy or the chain does not answer in time.
        """
        self.before = await look(self._treasury.chain, self._fortune)
        began = time.perf_counter()
        account = await self._opened.client.account()
        await self._treasury.fund(account, Nano(capacity))
        await _until(lambda: account.capacity > 0, "the proxy does not see the client's deposit")
        self._tell("opened", view_of(account), began)

    async def see_proxy_open(self) -> None:
        """Wait until the proxy has opened a channel to every worker that it owes.

        Raises:
            Unavailable: It did not in time.
        """
        began = time.perf_counter()
        views = await self._proxys()
        with trio.move_on_after(PATIENCE_SECONDS):
            while any(not view.capacity_nano for view in views):
                await trio.sleep(LOOK_SECONDS)
                views = await self._proxys()
            for view in views:
                self._tell("opened", view, began)
            return
        raise Unavailable("the proxy's channel to the worker is not opened", hint=HINT)

    async def end(self) -> ChainBooks:
        """Close all channels at what was charged, and add up what everybody has.

        Raises:
            Unavailable: A channel could not be closed in time.
            Refused: Payments on one were stopped.
        """
        ours = [account for account in self._opened.parts.accounts.payees() if account.backing.epoch]
        theirs = await self._proxys()
        contracts = [self._contract(view) for view in (*map(view_of, ours), *theirs)]
        async with trio.open_nursery() as nursery:
            for account in ours:
                nursery.start_soon(self._close_ours, account)
            for view in theirs:
                nursery.start_soon(self._have_closed, view)
        return await reckon(self._treasury.chain, self._fortune, self.before, contracts)

    async def _close_ours(self, account: PayingAccount) -> None:
        began = time.perf_counter()
        with trio.move_on_after(PATIENCE_SECONDS):
            await account.close()
        await _until(lambda: account.backing.is_settled, "the client's channel does not close")
        self._tell("closed", view_of(account), began)

    async def _have_closed(self, view: ChannelView) -> None:
        began = time.perf_counter()
        with trio.move_on_after(PATIENCE_SECONDS):
            views = await ask_proxy(self._network, CLOSE, Close(view.channel, wait="settled"))
            # The last of them shows how it ended.
            self._tell("closed", views[-1], began)
            return
        raise Unavailable("the proxy's channel does not close", hint=HINT)

    async def _proxys(self) -> list[ChannelView]:
        """List the channels through which the proxy pays somebody who was at work for it."""
        asked = await ask_proxy(self._network, CHANNELS, ListChannels())
        return [view for view in asked if view.side == "payer" and (view.charged_nano or view.capacity_nano)]

    def _contract(self, view: ChannelView) -> Contract:
        payee = self._network.name_of(view.peer)
        assert view.address is not None
        return Contract("client" if payee == "proxy" else "proxy", payee, view.address)

    def _tell(self, what: str, view: ChannelView, began: float) -> None:
        contract = self._contract(view)
        amount = view.claimed_nano if what == "closed" else view.capacity_nano
        self._step(
            contract.payer,
            {
                "step": what,
                "address": contract.address,
                "payee": f"to {contract.payee}",
                "amount": format_ton(amount),
                "took": f"in {time.perf_counter() - began:.2f} s",
            },
        )


async def ask_proxy(network: LocalNetwork, feed: Feed[Q, ChannelView], request: Q) -> list[ChannelView]:
    """Have the running proxy show its channels, after what was asked of it."""
    socket = network.data_directory("proxy") / CONTROL_SOCKET
    # The proxy may hang, and then whoever waits for it must still be able to leave.
    return await trio.to_thread.run_sync(lambda: list(follow(socket, feed, request)), abandon_on_cancel=True)


async def _until(holds: Callable[[], bool], otherwise: str) -> None:
    """Wait until something holds.

    Raises:
        Unavailable: It did not in time.
    """
    with trio.move_on_after(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110  (an account has no event for it; looking costs nothing)
            await trio.sleep(LOOK_SECONDS)
        return
    raise Unavailable(otherwise, hint=HINT)
