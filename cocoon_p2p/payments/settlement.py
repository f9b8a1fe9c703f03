"""A node's accounts: every channel it pays through and every channel it is paid through.

    async with open_store(path) as store, \
            open_accounts(transport, identity, network, store, grant_policy=policy) as accounts:
        account = await accounts.paying(payee, capacity=capacity)

One process owns one ledger; the accounts are what it knows. Each channel is a pure machine
(`payer`, `payee`) with a row in the ledger; this is the shell that stands them up again after a
restart, opens new ones, and takes in the streams of payers.

Spec: payments/settlement.md, protocols/channel.md.
"""

import logging
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import trio
from nacl import bindings

from cocoon_p2p.errors import RecordRejected, Refused, RemoteProtocolError, Unavailable
from cocoon_p2p.identity import Identity, NetworkId, PeerId, peer_id_text
from cocoon_p2p.ledger import (
    ChannelForgotten,
    ChannelName,
    ChannelRow,
    EndedForgotten,
    ExchangeRow,
    Side,
    Store,
)
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.network.transport import Stream, Transport
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.payments import payee_stream, payer_stream
from cocoon_p2p.payments.bank import Bank
from cocoon_p2p.payments.books import (
    Page,
    backing_of,
    channel_of_row,
    name_of,
    restore_payee,
    restore_payer,
)
from cocoon_p2p.payments.channel import Phase, channel_of
from cocoon_p2p.payments.events import GrantChanged
from cocoon_p2p.payments.opening import judge_deployment, offer_to, payout_for
from cocoon_p2p.payments.party import Beside, Party, SettleBroken
from cocoon_p2p.payments.payee import opened
from cocoon_p2p.payments.payer import Payer
from cocoon_p2p.payments.paying import PayingAccount as PayingAccount
from cocoon_p2p.payments.receiving import ReceivingAccount as ReceivingAccount
from cocoon_p2p.payments.restored import read_marks
from cocoon_p2p.protocols.ids import (
    CHANNEL,
    FRAME_SIZE_MAX_BYTES,
    FRAME_SIZE_MAX_NEWCOMER_BYTES,
    Reason,
)
from cocoon_p2p.protocols.messages import (
    ChannelId,
    ChannelOffer,
    ChannelRefused,
    ExchangeId,
    OpenChannel,
    PayoutWanted,
    Signed,
    shorten,
)
from cocoon_p2p.protocols.papers import check, decode_signed, encode_signed, sign
from cocoon_p2p.units import Nano

log = logging.getLogger(__name__)

GrantPolicy = Callable[[PeerId], Nano]
"How much a payer may owe us; asked whenever it opens its channel's stream."

CHANNELS_PER_PAYER_MAX = 8
"Open channels of one payer: one is in use, another drains, and a restored ledger may bring a third."

NEWCOMERS_MAX = 1000
"Payers that are remembered, for an hour at most, though they are gone and nothing was written of them."

OPENING_SECONDS = 10.0
"How long a payer's stream may stay without its first message."

PAPERS_KEPT_SECONDS = 30 * 24 * 3600
"How long the paper of an exchange can be asked for, and its id cannot be charged again."

FORGET_SECONDS = 3600.0
"How often older ones are dropped."


class Accounts:
    """Every channel of one node. Made by `open_accounts`."""

    def __init__(
        self, party: Party, nursery: trio.Nursery, grant_policy: GrantPolicy, draw: Callable[[int], bytes]
    ) -> None:
        self._party = party
        self._nursery = nursery
        self._grant_policy = grant_policy
        self._draw = draw
        self._paying: dict[PeerId, PayingAccount] = {}
        self._opening: defaultdict[PeerId, trio.Lock] = defaultdict(trio.Lock)
        self._payees: list[PayingAccount] = []
        self._receiving: dict[ChannelId, ReceivingAccount] = {}

    @property
    def store(self) -> Store:
        """The ledger that all of them are in."""
        return self._party.store

    @property
    def beside(self) -> Beside | None:
        """Who keeps books of its own beside them; None: nobody. Set once, before anything is paid for."""
        return self._party.role.beside

    @beside.setter
    def beside(self, beside: Beside) -> None:
        self._party.role.beside = beside

    # ------------------------------------------------------------ as payer

    async def paying(self, payee: PeerId, *, capacity: Nano) -> PayingAccount:
        """Find the channel to a connected payee, or open one, and wait until the payee accepts it.

        Args:
            payee: Who is to be paid.
            capacity: Of a new channel, where no chain stands behind it; one that stands is taken as it
                is while it has room. On a chain the treasury decides what is put in, and when: until
                then the payee's grant is all that the account can owe.

        A cancel leaves a new channel in the ledger, to be found by the next call.

        Raises:
            Unavailable: There is no connection to the payee, or it does not answer.
            Refused: The payee does not want the channel, or payments to it were stopped.
        """
        account = self._standing(payee)
        if account is None:
            async with self._opening[payee]:
                # Whoever waited here finds what the one before it opened.
                account = self._standing(payee) or await self._open(payee, capacity)
        await account.ready()
        return account

    def _standing(self, payee: PeerId) -> PayingAccount | None:
        """Find an open channel to a payee; one that is used up is closed in its own time."""
        account = self._paying.get(payee)
        if account is not None and account.phase is Phase.STOPPED:
            raise Refused(
                f"payments are stopped: this payee's papers do not fit ours (peer={peer_id_text(payee)})",
                code=Reason.WRONG_AMOUNT.code,
                hint="look at the evidence in the ledger; pay another peer meanwhile",
            )
        if account is None or account.phase is not Phase.OPEN:
            return None
        if account.is_spent:
            self._nursery.start_soon(_close, account)
            return None
        return account

    async def _open(self, payee: PeerId, capacity: Nano) -> PayingAccount:
        party = self._party
        seed = self._draw(32)
        key = bindings.crypto_sign_seed_keypair(seed)[0]
        offer = await offer_to(payee, party, channel_key=key, capacity=capacity, draw=self._draw)
        channel = channel_of(offer)
        row = ChannelRow(
            name=name_of(channel, Side.PAYER),
            peer=payee,
            offer=encode_signed(sign(party.identity, party.network, offer)),
            seed=seed,
            phase=Phase.OPEN,
            deposit=channel.agreed,
        )
        page = Page(row, channel)
        party.store.submit(*page.open(party.at))
        log.info("channel offered", extra={"payee": peer_id_text(payee), "channel": channel.id.hex()[:16]})
        account = self.add_paying(PayingAccount(party, Payer(channel, backing=backing_of(row)), page, ()))
        if party.bank is not None:
            # Its owner may want a deposit in it from the beginning.
            party.bank.look_soon(account.channel)
        return account

    def add_paying(self, account: PayingAccount) -> PayingAccount:
        """Take charge of a payer's account: from now on its stream is kept alive."""
        known = self._paying.get(account.payee)
        if known is None or _rank(account) > _rank(known):
            self._paying[account.payee] = account
        self._payees.append(account)
        self._nursery.start_soon(payer_stream.keep, account, self._party)
        return account

    def payees(self) -> tuple[PayingAccount, ...]:
        """Give every account that we pay through, those that drain or close included."""
        return tuple(self._payees)

    def account(self, channel: ChannelId) -> PayingAccount | ReceivingAccount | None:
        """Find an account by its channel, whichever side we are on."""
        paying = (account for account in self._payees if account.channel == channel)
        return next(paying, None) or self._receiving.get(channel)

    # ------------------------------------------------------------ as payee

    def receiving(self, channel: ChannelId, payer: PeerId) -> ReceivingAccount:
        """Find the account that a payer pays us through.

        Raises:
            Refused: This payer has not opened such a channel (`channel-unknown`), or it closes
                (`draining`).
        """
        account = self._receiving.get(channel)
        if account is None or account.payer != payer:
            raise Refused(f"channel unknown (channel={channel.hex()[:16]})", code=Reason.CHANNEL_UNKNOWN.code)
        if account.phase is not Phase.OPEN:
            raise Refused("the channel is closing: nothing new begins", code=Reason.DRAINING.code)
        return account

    def add_receiving(self, account: ReceivingAccount) -> ReceivingAccount:
        """Take charge of a payee's account."""
        self._receiving[account.channel] = account
        return account

    def payers(self) -> tuple[ReceivingAccount, ...]:
        """Give every account that we are paid through."""
        return tuple(self._receiving.values())

    def settle_broken_by(self, settle: SettleBroken, *, forgotten_seconds: float = 0.0) -> None:
        """Let a role say how exchanges are settled whose hop was lost (once, before they are asked about).

        Args:
            settle: Settles what a payer asks about.
            forgotten_seconds: How long to wait after a restart before payees are asked about exchanges
                that ran: somebody else may know more of them, and come back as well.
        """
        self._party.role.settle_broken = settle
        self._party.role.forgotten_seconds = forgotten_seconds

    def ended(self, exchange: ExchangeId) -> Signed | None:
        """Give the receipt or settlement of an exchange that we were paid for, if it has ended."""
        row = self._party.store.ended(exchange)
        return None if row is None or row.paper is None else decode_signed(row.paper)

    async def accept(self, stream: Stream) -> None:
        """Take in a payer's stream (the transport's acceptor for `/cocoon/channel/1`)."""
        is_known = any(account.payer == stream.peer and account.is_kept for account in self.payers())
        # A state names every running exchange: a payer with many of them needs room to return it.
        limit = FRAME_SIZE_MAX_BYTES if is_known else FRAME_SIZE_MAX_NEWCOMER_BYTES
        messages = MessageStream(stream, frame_size_max_bytes=limit)
        opening: object = None
        with trio.move_on_after(OPENING_SECONDS):
            opening = await messages.receive()
        try:
            if isinstance(opening, PayoutWanted):
                await _tell(messages, payout_for(opening, self._party))
            elif isinstance(opening, OpenChannel):
                await self._serve(self._admit(stream.peer, opening), messages, opening)
            else:
                messages.reset()
        except (Refused, RemoteProtocolError) as exc:
            await _refuse(messages, _reason(exc), str(exc))

    def _admit(self, payer: PeerId, opening: OpenChannel) -> ReceivingAccount:
        """Find or begin the account that an offer is about."""
        party = self._party
        offer = check(ChannelOffer, opening.offer, signer=payer, network=party.network)
        if offer.payer != payer or offer.payee != party.identity.peer_id:
            raise RecordRejected("channel-offer: it is between others")
        channel = channel_of(offer)
        known = self._receiving.get(channel.id)
        if known is not None:
            return known
        judge_deployment(channel.deployment, party)
        standing = [account for account in self._receiving.values() if account.payer == payer]
        if sum(account.phase is not Phase.CLOSED for account in standing) >= CHANNELS_PER_PAYER_MAX:
            raise Refused(
                f"too many open channels (most={CHANNELS_PER_PAYER_MAX})", code=Reason.RATE_LIMITED.code
            )
        row = ChannelRow(
            name=name_of(channel, Side.PAYEE),
            peer=payer,
            offer=encode_signed(opening.offer),
            seed=None,
            phase=Phase.OPEN,
        )
        return self.add_receiving(ReceivingAccount(party, opened(channel, Nano(0)), Page(row, channel)))

    async def _serve(self, account: ReceivingAccount, messages: MessageStream, opening: OpenChannel) -> None:
        try:
            grant = self._grant(account)
            await payee_stream.serve(account, self._party, messages, opening, grant)
        except* Unavailable:
            log.debug("channel stream lost", extra={"payer": peer_id_text(account.payer)})
        except* RemoteProtocolError as group:
            error = str(group.exceptions[0])
            log.warning("channel stream ended", extra={"payer": peer_id_text(account.payer), "error": error})
            await _refuse(messages, Reason.MALFORMED, error)
        finally:
            self._forget_uncharged(account, is_old=False)

    def _grant(self, account: ReceivingAccount) -> Nano:
        """Say what a payer may owe on one channel: what it owes on others is a part of what it may owe us."""
        others = (
            one for one in self._receiving.values() if one.payer == account.payer and one is not account
        )
        return Nano(max(self._grant_policy(account.payer) - sum(other.owed for other in others), 0))

    def renew_grants(self) -> None:
        """Grant every payer what it may owe now: an exchange may come before its channel's stream does."""
        for account in self.payers():
            account.apply(GrantChanged(self._grant(account)))

    def _forget_uncharged(self, account: ReceivingAccount, *, is_old: bool) -> None:
        """Forget a payer that is gone and was never charged, also in the ledger.

        Keys are free, so strangers could fill both otherwise. Nothing is lost: a payer that comes
        back offers the channel and its newest voucher again.
        """
        if (
            account.stream_scope is not None
            or account.accrued
            or account.charged()
            or account.backing.claimed
            or account.is_bound
        ):
            return
        newcomers = sum(not other.is_kept for other in self._receiving.values())
        # A role may still wait on the account of a stream that has just been lost, and will be back.
        is_wanted = account.phase is not Phase.CLOSED and (account.is_kept or newcomers <= NEWCOMERS_MAX)
        if is_wanted and not is_old:
            return
        if self._receiving.pop(account.channel, None) and account.is_kept:
            self._party.store.submit(ChannelForgotten(ChannelName(Side.PAYEE, account.channel)))

    async def forget_old(self) -> None:
        """Drop what nobody will ask for any more, now and then."""
        while True:
            self._payees = [account for account in self._payees if not account.is_over]
            for account in self.payers():
                self._forget_uncharged(account, is_old=True)
            self._party.store.submit(EndedForgotten(self._party.at - PAPERS_KEPT_SECONDS))
            await trio.sleep(FORGET_SECONDS)


def _rank(account: PayingAccount) -> tuple[int, int]:
    """Order the channels to one payee: one that was stopped counts before all, then open ones, by room."""
    return (2 if account.phase is Phase.STOPPED else account.phase is Phase.OPEN), account.room


async def _close(account: PayingAccount) -> None:
    """Close a spent channel, in its own time; one whose payments were stopped stays as it is."""
    with suppress(Refused):
        await account.close()


async def _refuse(messages: MessageStream, reason: Reason, detail: str) -> None:
    """Tell a payer why its stream ends, if it still listens."""
    await _tell(messages, ChannelRefused(reason, shorten(detail)))


async def _tell(messages: MessageStream, last: object) -> None:
    """Send a last message, if the payer still listens."""
    with trio.move_on_after(OPENING_SECONDS), suppress(Unavailable):
        await messages.send(last)
        await messages.close()


def _reason(exc: Refused | RemoteProtocolError) -> Reason:
    """Give the reason that the wire has for a refusal of ours."""
    if isinstance(exc, RemoteProtocolError):
        return Reason.MALFORMED
    return next((reason for reason in Reason if reason.code == exc.code), Reason.RATE_LIMITED)


@asynccontextmanager
async def open_accounts(
    transport: Transport,
    identity: Identity,
    network: NetworkId,
    store: Store,
    *,
    grant_policy: GrantPolicy,
    bank: Bank | None = None,
    beside: Callable[[Store], Awaitable[Beside]] | None = None,
    draw: Callable[[int], bytes] = os.urandom,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Accounts]:
    """Stand up every account that the ledger knows, and serve payers' streams while the block runs.

    Args:
        transport: Where the node speaks; takes `/cocoon/channel/1` for us.
        identity: Who we are: signs offers, states and close terms.
        network: The network that all papers are for.
        store: Our ledger.
        grant_policy: How much a payer may owe us.
        bank: Our side of the chain; without one, channels stand on what peers agree on.
        beside: Reads the books of who keeps some of its own beside the accounts, before any peer is heard:
            what they say an exchange can cost holds from the first bill on.
        draw: Draws random bytes, for channel keys and salts.
        clock: Seconds since the Unix epoch.
    """
    party = Party(transport, identity, network, store, clock, bank=bank)
    if beside is not None:
        party.role.beside = await beside(store)
    rows, unsettled = await store.channels(), await store.unsettled()
    restored = await read_marks(store)
    async with open_service_nursery() as nursery:
        accounts = Accounts(party, nursery, grant_policy, draw)
        for row in rows:
            _stand_up(accounts, party, row, unsettled)
        for account in accounts.payees():
            account.is_restored = account.channel in restored
        accounts.renew_grants()
        transport.accept_streams(CHANNEL, accounts.accept)
        nursery.start_soon(accounts.forget_old)
        yield accounts


def _stand_up(
    accounts: Accounts,
    party: Party,
    row: ChannelRow,
    unsettled: Sequence[ExchangeRow],
) -> None:
    page = Page(row, channel_of_row(row))
    if row.name.side is Side.PAYER:
        account = PayingAccount(party, restore_payer(row, unsettled), page, unsettled)
        if not account.is_over:
            accounts.add_paying(account)
    else:
        accounts.add_receiving(ReceivingAccount(party, restore_payee(row, Nano(0)), page))
