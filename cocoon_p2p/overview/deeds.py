"""What a node's owner does to its channels: puts money in, and closes them.

Both are feeds: a reply whenever a channel has come further, the last one what stands afterwards. Whoever
hangs up leaves things to be gone on with: a payment is made once or not at all, a close that has begun is
brought to its end by the treasury, and asking again goes on.

Spec: payments/settlement.md (Funding, Closing).
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Literal

import trio

from cocoon_p2p.control import Feed, Request
from cocoon_p2p.control.verbs import Say
from cocoon_p2p.errors import CocoonError, ConfigurationError, Refused, Unavailable
from cocoon_p2p.identity import PeerId
from cocoon_p2p.ledger import ChannelRow, Store
from cocoon_p2p.overview.channels import ChannelView, view_of, view_of_row
from cocoon_p2p.overview.naming import is_peer, named, read_peer
from cocoon_p2p.payments import contract
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.payments.settlement import Accounts, PayingAccount, ReceivingAccount
from cocoon_p2p.payments.treasury.funding import OPENING_COSTS
from cocoon_p2p.payments.treasury.rounds import Treasury
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.protocols.messages import ChannelId
from cocoon_p2p.units import NANO_MAX, Nano

ALL = "all"
"Named instead of a channel: every one that is not settled."

ANY = "any"
"Named instead of a payee: whoever sells something."

AGREE_SECONDS = 60.0
"How long the other end is given to agree to a close, unless whoever asks waits for all of it."

CAPACITY_MAX = Nano(NANO_MAX - contract.deposit_for(Nano(0)) - OPENING_COSTS)
"A deposit's storage and costs come on top of it."

TAKEN_SECONDS = 30.0
"How long a payee is given to see a deposit. It may be away: then it takes it when it is back."

LOOK_SECONDS = 0.1
"How often an account is asked whether it has come further. It costs nothing, and there is no event for it."

CHAIN_LOOK_FIRST_SECONDS, CHAIN_LOOK_LAST_SECONDS = 1.0, 60.0
"How often the chain is asked whether everybody was paid: with doubling pauses, but at the end of a delay."

_ALONE_HINT = (
    "try again later; or close alone: after the close delay a payer gets back what was not collected"
)

Account = PayingAccount | ReceivingAccount

Reach = Callable[[PeerId | None], Awaitable[PayingAccount]]
"Gives the account that a payee (None: whoever sells something) is paid through, opened if need be."

Connect = Callable[[PeerId], Awaitable[None]]
"Connects to a payee."


class Fund(Request, tag="fund", frozen=True):
    """Ask for so much more capacity, as a channel's first deposit or as a top-up."""

    to: str
    "A channel (the first digits of its id, its address), or the peer id of whom to pay, or `ANY`."

    capacity: int
    "In nanoTON."

    is_first: bool = False
    "Whether it is meant as a channel's first deposit: refused where there is one already."


class Close(Request, tag="close", frozen=True):
    """Ask for a channel's end, at what was charged on it."""

    channel: str
    "As in `Fund`; or `ALL`."

    alone: bool = False
    "Whether to begin without the payee: after the close delay, what it did not collect comes back."

    wait: Literal["agreed", "settled"] = "agreed"
    "Until both have signed (alone: until the delay has begun), or until everybody was paid."


FUND = Feed(Fund, ChannelView)
CLOSE = Feed(Close, ChannelView)


class Deeds:
    """Carries both out. A node has one, and its role says how payees are reached.

    Attributes:
        reach: How a payee is reached that is named by its peer id.
        connect: How one is connected to, for a close; None: it is for the other end to dial.
    """

    def __init__(self, store: Store, accounts: Accounts, treasury: Treasury | None) -> None:
        self._store = store
        self._accounts = accounts
        self._treasury = treasury
        self.reach: Reach = self._reach_connected
        self.connect: Connect | None = None

    # ------------------------------------------------------------ money in

    async def fund(self, request: Fund, say: Say[ChannelView]) -> None:
        """Put money into a channel's contract, and wait until the payee has seen it too.

        A cancel leaves the payment to be found by the treasury: it is not made twice.

        Raises:
            ConfigurationError: There is no such channel, or no chain, or the amount cannot be.
            Refused: The wallet has too little, the payee does not want the channel, or it closes.
            Unavailable: The payee or the chain cannot be reached.
        """
        if not 1 <= request.capacity <= CAPACITY_MAX:
            raise ConfigurationError(
                f"not an amount for a channel (capacity={request.capacity} min=1 max={CAPACITY_MAX} nanoTON)"
            )
        treasury = self._required_treasury()
        account = await self._payable(request.to)
        if request.is_first:
            # Finds a deposit that was under way when somebody was interrupted.
            await treasury.attend(account.channel)
            _require_unfunded(account)
        await say(view_of(account))
        await treasury.fund(account, Nano(request.capacity))
        await say(view_of(account))
        with trio.move_on_after(TAKEN_SECONDS):
            await _until(lambda: account.capacity >= contract.capacity(account.backing.deposit))
        await say(view_of(account))

    async def _payable(self, to: str) -> PayingAccount:
        if to == ANY or is_peer(to):
            account: Account | None = await self.reach(None if to == ANY else read_peer(to))
        else:
            channel = named(to, await self._channels())
            account = self._accounts.account(channel)
        if not isinstance(account, PayingAccount):
            raise ConfigurationError(f"we do not pay through this channel, or no longer (channel={to})")
        if account.phase is not Phase.OPEN or account.backing.close_at:
            raise Refused(
                f"the channel closes, or is closed: no more goes in (channel={account.channel.hex()[:16]})",
                code=Reason.DRAINING.code,
                hint="open another one",
            )
        return account

    async def _reach_connected(self, payee: PeerId | None) -> PayingAccount:
        if payee is None:
            raise ConfigurationError("this node does not choose whom to pay", hint="name a peer id")
        return await self._accounts.paying(payee, capacity=Nano(0))

    # ------------------------------------------------------------ closing

    async def close(self, request: Close, say: Say[ChannelView]) -> None:
        """Close channels, and tell of each when it has come further, and at the end.

        A channel that is settled is told of as it is. With several, one that fails keeps none of the others.

        Raises:
            ConfigurationError: There is no such channel, or it cannot be closed alone.
            Refused: Payments on it were stopped, or there is no wallet for what has to be done.
            Unavailable: The chain cannot be reached.
        """
        if request.channel != ALL:
            channel = named(request.channel, await self._channels())
            account = self._accounts.account(channel)
            if account is None:
                await say(await self._kept(channel))
            else:
                await self._close(account, request, say)
            return
        failures: list[CocoonError] = []
        say = _one_by_one(say)
        async with trio.open_nursery() as nursery:
            for account in self._closeable(alone=request.alone):
                nursery.start_soon(self._close_one_of_many, account, request, say, failures)
        if failures:
            raise failures[0]

    def _closeable(self, *, alone: bool) -> Sequence[Account]:
        paying = self._accounts.payees()
        if alone:
            return [one for one in paying if one.backing.epoch and not one.backing.is_settled]
        every: tuple[Account, ...] = (*paying, *self._accounts.payers())
        return [one for one in every if not one.backing.is_settled]

    async def _close_one_of_many(
        self, account: Account, request: Close, say: Say[ChannelView], failures: list[CocoonError]
    ) -> None:
        try:
            await self._close(account, request, say)
        except CocoonError as exc:
            failures.append(exc)

    async def _close(self, account: Account, request: Close, say: Say[ChannelView]) -> None:
        if not account.backing.is_settled:
            if request.alone:
                await self._leave(account)
            else:
                await self._agree(account, AGREE_SECONDS if request.wait == "agreed" else float("inf"))
        if request.wait == "settled" and not account.backing.is_settled:
            await say(view_of(account))
            await self._settled(account)
        await say(view_of(account))

    async def _agree(self, account: Account, seconds: float) -> None:
        """Close by both ends' word.

        Raises:
            Unavailable: The other end is not to be reached; what was begun is gone on with when it is back.
        """
        if isinstance(account, PayingAccount) and account.phase is not Phase.CLOSED:
            await self._meet(account)
        with trio.move_on_after(seconds):
            await account.close()
            return
        raise Unavailable(
            f"the other end has not agreed to the close (channel={account.channel.hex()[:16]}"
            f" waited={seconds:g} seconds)",
            hint=_ALONE_HINT,
        )

    async def _meet(self, account: PayingAccount) -> None:
        """See to it that there is a connection to the payee: before anything is signed."""
        if account.is_connected or account.phase is Phase.STOPPED:
            return
        if self.connect is not None:
            try:
                await self.connect(account.payee)
            except (Refused, Unavailable) as exc:
                raise Unavailable(f"the payee cannot be reached: {exc}", hint=_ALONE_HINT) from exc
        account.wanted.set()

    async def _leave(self, account: Account) -> None:
        """Begin to close without the payee; once the delay is over, finish."""
        if not isinstance(account, PayingAccount):
            raise ConfigurationError("only who pays through a channel can close it alone")
        treasury = self._required_treasury()
        await treasury.start_close(account)
        if not account.backing.epoch:
            raise Refused(
                "nothing was put into this channel: there is nothing to take back",
                code=Reason.NO_CREDIT.code,
            )
        if 0 < account.backing.close_at <= treasury.now():
            await treasury.attend(account.channel)

    async def _settled(self, account: Account) -> None:
        """Wait until everybody was paid, however long that takes.

        Raises:
            Refused: What is due cannot be done.
            Unavailable: The chain could not be reached at first. Later on it may be away for a while.
        """
        if self._treasury is None:
            return
        treasury, pause = self._treasury, CHAIN_LOOK_FIRST_SECONDS
        await treasury.attend(account.channel)
        while not account.backing.is_settled:
            left = account.backing.close_at - treasury.now() if account.backing.close_at else pause
            await trio.sleep(min(pause, max(left, CHAIN_LOOK_FIRST_SECONDS)))
            pause = min(2 * pause, CHAIN_LOOK_LAST_SECONDS)
            with suppress(Unavailable):
                await treasury.attend(account.channel)

    # ------------------------------------------------------------ what there is

    async def _channels(self) -> list[ChannelId]:
        accounts: tuple[Account, ...] = (*self._accounts.payees(), *self._accounts.payers())
        kept = [row.name.channel for row in await self._store.channels()]
        return [*kept, *(account.channel for account in accounts)]

    async def _kept(self, channel: ChannelId) -> ChannelView:
        rows: list[ChannelRow] = [row for row in await self._store.channels() if row.name.channel == channel]
        return view_of_row(rows[0], held=0)

    def _required_treasury(self) -> Treasury:
        if self._treasury is None:
            raise ConfigurationError(
                "this node uses no chain", hint="name one in [chain], and a wallet in [wallet], of its config"
            )
        return self._treasury


def _require_unfunded(account: PayingAccount) -> None:
    if account.backing.epoch:
        raise ConfigurationError(
            f"there is a channel to this payee already (channel={account.channel.hex()[:16]})",
            hint="put more into it with `cocoon channels top-up`",
        )


def _one_by_one(say: Say[ChannelView]) -> Say[ChannelView]:
    """Let several tasks speak on one line."""
    lock = trio.Lock()

    async def say_alone(view: ChannelView) -> None:
        async with lock:
            await say(view)

    return say_alone


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 (see LOOK_SECONDS)
        await trio.sleep(LOOK_SECONDS)
