"""A user's own channel: the user's wallet pays in, a client of ours spends it on that user's requests alone.

    user's wallet --deposit--> channel's contract --vouchers' worth--> proxy
          ^                         |
          '---------- the rest -----'

The contract is made out to the user's wallet: only it can begin to close alone, and only it gets the rest.
We hold the channel's key, so we decide which vouchers the proxy gets, and can take nothing for ourselves.
Every payment here is a request that the page hands to the wallet, for its owner to look at and agree to.

Spec: docs/decisions/0017-mini-app-payments.md, payments/settlement.md (Funding, Closing).
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Unpack

import trio

from cocoon_p2p.client import Answer, Client, Wishes
from cocoon_p2p.client.messages import Message
from cocoon_p2p.errors import CocoonError, Refused, Unavailable
from cocoon_p2p.identity import PeerId
from cocoon_p2p.payments import contract
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.settlement import Accounts, PayingAccount
from cocoon_p2p.payments.treasury.funding import OPENING_COSTS, to_put_in
from cocoon_p2p.payments.treasury.rounds import Treasury
from cocoon_p2p.payments.wallet import Transfer
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.protocols.messages import ChannelId
from cocoon_p2p.units import Nano

LOOK_SECONDS = 1.0
"How often the chain is asked on behalf of one user, however often the page asks."

AGREE_SECONDS = 30.0
"How long the proxy is given to agree to a close."

ANSWERS_MAX = 4
"Answers that run at once for one user."


@dataclass(frozen=True, slots=True)
class UserSide:
    """What one user's requests run on: parts of this user's own."""

    client: Client
    accounts: Accounts
    treasury: Treasury
    "With the user's wallet as its `funder`, and no purse."


@dataclass(frozen=True, slots=True)
class Standing:
    """How a user's channel stands. All of it is the user's own money but `spent`."""

    channel: ChannelId | None
    "None: nothing was paid in yet."

    deposit: Nano
    "What was paid in, less what storing the contract has cost."

    spent: Nano
    "What ended answers have cost."

    held: Nano
    "What is kept for answers that run, or whose end is not known yet."

    left: Nano
    "What can still be spent, by what we have seen of the deposit."

    is_taken: bool
    "Whether the proxy has seen as much: until then it takes less."

    is_closing: bool
    close_at: int
    "When closing alone can be finished, in seconds since the Unix epoch; 0: it has not begun."


_NOTHING = Nano(0)
NOTHING_PAID_IN = Standing(
    None, _NOTHING, _NOTHING, _NOTHING, _NOTHING, is_taken=False, is_closing=False, close_at=0
)


class OwnChannel:
    """One user's channel, while it is open here."""

    def __init__(self, side: UserSide) -> None:
        self._side = side
        self._turn = trio.Lock()
        self._looked_at = -LOOK_SECONDS
        self._answers = 0

    # ------------------------------------------------------------ what stands

    async def look(self) -> Standing:
        """Look at the user's contracts, unless that was a moment ago, and say how the channel stands.

        The proxy is told of what it has not seen; it may take a moment to look itself.

        Raises:
            Unavailable: The chain cannot be reached.
        """
        async with self._turn:
            if trio.current_time() >= self._looked_at + LOOK_SECONDS:
                self._looked_at = trio.current_time()
                for account in self._unsettled():
                    # What lies in a contract is to be seen without the proxy, too.
                    with suppress(Unavailable, Refused):
                        await self._side.client.connect(account.payee)
                    await self._side.treasury.attend(account.channel)
        return self.standing()

    def standing(self) -> Standing:
        """Say how the channel stands, as last seen."""
        account = self._funded()
        if account is None:
            return NOTHING_PAID_IN
        capacity = contract.capacity(account.backing.deposit)
        return Standing(
            channel=account.channel,
            deposit=account.backing.deposit,
            spent=account.charged,
            held=account.held,
            left=Nano(max(capacity - account.charged - account.held, 0)),
            is_taken=account.is_connected and account.capacity >= capacity,
            is_closing=account.phase is not Phase.OPEN or account.backing.close_at != 0,
            close_at=account.backing.close_at,
        )

    def _unsettled(self) -> list[PayingAccount]:
        accounts = self._side.accounts.payees()
        return [one for one in accounts if one.deployment is not None and not one.backing.is_settled]

    def _funded(self) -> PayingAccount | None:
        """Find the channel with money in it; of several, one that can be spent."""
        funded = [one for one in self._unsettled() if one.backing.epoch]
        return max(funded, key=lambda one: (one.phase is Phase.OPEN, one.room), default=None)

    # ------------------------------------------------------------ what the wallet is asked to pay

    async def deposit(self, capacity: Nano, model: str, **wishes: Unpack[Wishes]) -> Transfer:
        """Say what the user's wallet must send for so much more to be spent.

        Nothing is noted: whether it is sent is the user's to decide, and the next looks' to see. Sent twice,
        it is there twice.

        Args:
            capacity: How much more, in nanoTON.
            model: What is to be bought. A first payment goes to a proxy that quotes for it just now.
            wishes: How, as for `chat`.

        Raises:
            Refused: The channel closes, nobody wants one, or nobody sells the model so.
            Unavailable: Nobody sells anything, or the proxy or the chain does not answer.
            AttestationFailed: Those who sell it prove too little.
        """
        async with self._turn:
            funded = self._funded()
            if funded is not None and (funded.phase is not Phase.OPEN or funded.backing.close_at):
                raise Refused("the channel closes: nothing more goes in", code=Reason.DRAINING.code)
            # Nobody is asked to pay into a channel whose proxy is not there.
            payee = await self._seller(model, wishes) if funded is None else funded.payee
            account = await self._side.client.account(payee)
            deployment = account.deployment
            if deployment is None:
                raise Refused("no chain stands behind the channels here", code=Reason.WRONG_NETWORK.code)
            return Transfer(
                AccountId(account.channel),
                Nano(to_put_in(capacity, account.backing) + OPENING_COSTS),
                contract.top_up(),
                state_init=None if account.backing.epoch else contract.state_init(deployment),
                is_bounceable=True,
            )

    async def _seller(self, model: str, wishes: Wishes) -> PeerId:
        """Choose whom to pay: the cheapest, but one that was chosen before: its payment may be under way."""
        quotes = await self._side.client.quote(model, [_QUESTION], **wishes)
        known = {one.payee for one in self._unsettled()}
        return min(quotes, key=lambda quote: quote.proxy not in known).proxy

    async def close(self) -> Transfer:
        """Agree with the proxy on the channel's end, and say what any wallet may send to bring it about.

        What was not spent comes back to the user's wallet, with what is left of the fees sent along.
        A proxy that has a wallet brings it about in the end, even if nobody sends this.

        A cancel leaves the channel draining or closed; asking again goes on.

        Raises:
            Refused: There is nothing to close.
            Unavailable: The proxy does not agree in time. Closing alone needs nobody.
        """
        async with self._turn:
            account = self._required()
            with trio.move_on_after(AGREE_SECONDS):
                await self._side.client.connect(account.payee)
                await account.close()
            body = account.close_body()
            if body is None:
                raise Unavailable(
                    "the proxy does not agree to a close in time",
                    hint="try again; or close alone, which needs nobody but takes the close delay",
                )
            return _told(account, body)

    async def close_alone(self) -> Transfer:
        """Say what the user's wallet must send to close without the proxy: first to begin, then to finish.

        Neither needs us: the same two bodies, sent to the contract by the user's wallet, do it.

        Raises:
            Refused: There is nothing to close, or the delay is not over (`retry_after`).
        """
        account = self._required()
        close_at = account.backing.close_at
        if not close_at:
            return _told(account, contract.start_close())
        left = close_at - self._side.treasury.now()
        if left > 0:
            raise Refused(
                f"the close delay is not over (left={left:.0f} seconds)", code=_EARLY, retry_after=left
            )
        return _told(account, contract.finish_close())

    def _required(self) -> PayingAccount:
        account = self._funded()
        if account is None:
            raise Refused("nothing was paid in", code=Reason.NO_CREDIT.code)
        return account

    # ------------------------------------------------------------ what it is for

    @asynccontextmanager
    async def chat(
        self, model: str, messages: Sequence[Message], **wishes: Unpack[Wishes]
    ) -> AsyncIterator[Answer]:
        """Ask for the next turn of a chat, paid on this channel. As `Client.chat`.

        Raises:
            Refused: As many answers run already as one user may have.
        """
        if self._answers >= ANSWERS_MAX:
            raise Refused(
                f"too many answers at once (max={ANSWERS_MAX})",
                code=Reason.RATE_LIMITED.code,
                retry_after=5.0,
            )
        self._answers += 1
        try:
            if (funded := self._funded()) is not None:
                # A proxy with a channel is asked before cheaper ones, where nothing was paid in.
                with suppress(CocoonError):
                    await self._side.client.account(funded.payee)
            async with self._side.client.chat(model, messages, **wishes) as answer:
                yield answer
        finally:
            self._answers -= 1


_EARLY = "early"

_QUESTION: Message = {"role": "user", "content": "?"}
"What prices are asked for: nobody's words."


def _told(account: PayingAccount, body: bytes) -> Transfer:
    return Transfer(AccountId(account.channel), contract.ATTACHED_MIN, body, is_bounceable=True)
