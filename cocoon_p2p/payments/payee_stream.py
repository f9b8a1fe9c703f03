"""The payee's end of `/cocoon/channel/1`: take a payer's stream, listen, answer.

One task writes states and papers, each once it is on disk; one reads. The next voucher is read
when the last one is on disk: a payer cannot make us write faster than we can.

Spec: protocols/channel.md.
"""

import logging

import trio

from cocoon_p2p.errors import MalformedMessage, RemoteProtocolError
from cocoon_p2p.failpoint import Failpoint, reached
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.payments.events import CloseRequested, GrantChanged, OwnStateReturned, TermsReceived
from cocoon_p2p.payments.outbox import Outbox
from cocoon_p2p.payments.party import Party
from cocoon_p2p.payments.receiving import ReceivingAccount
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.protocols.messages import (
    ChannelAccepted,
    ChannelRefused,
    ChannelState,
    CloseAgreed,
    CloseWanted,
    Funded,
    OpenChannel,
    Paper,
    PaperWanted,
    Settlement,
    Voucher,
)
from cocoon_p2p.protocols.papers import check, decode_signed
from cocoon_p2p.protocols.schema import decode_paper
from cocoon_p2p.units import Nano

log = logging.getLogger(__name__)


async def serve(
    account: ReceivingAccount, party: Party, stream: MessageStream, opening: OpenChannel, grant: Nano
) -> None:
    """Speak with a payer on a stream whose first message was `opening`, until it ends.

    An older stream of the same channel is ended: its payer has left it.

    Raises:
        RemoteProtocolError: The payer broke the protocol; it was told so where that was possible.
        Unavailable: The stream broke.
    """
    if account.stream_scope is not None:
        account.stream_scope.cancel()
    with trio.CancelScope() as scope:
        account.stream_scope = scope
        # Its own box: the writer of an older stream may still hold on to the last one.
        account.outbox = Outbox()
        try:
            await introduce(account, party, stream, opening, grant)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_write, account.outbox, stream)
                nursery.start_soon(account.looking.serve, party.bank, account.channel)
                await _read(account, party, stream)
                nursery.cancel_scope.cancel()
            await stream.close()
        finally:
            if account.stream_scope is scope:
                account.stream_scope = None
                account.is_connected = False


async def introduce(
    account: ReceivingAccount, party: Party, stream: MessageStream, opening: OpenChannel, grant: Nano
) -> None:
    """Take in what the payer holds, and show what we hold.

    Raises:
        RemoteProtocolError: The payer shows a state that we did not sign.
    """
    agreement = account.agreement()
    if agreement is not None:
        # The payer comes back: the terms may have lapsed, or have been handed in.
        account.looking.want()
        await party.store.submit().wait()
        await stream.send(agreement)
        return
    account.apply(GrantChanged(grant))
    if opening.state is not None:
        state = check(ChannelState, opening.state, signer=party.identity.peer_id, network=party.network)
        account.apply(OwnStateReturned(state))
    account.is_connected = True
    voucher = account.voucher()
    accepted = ChannelAccepted(account.channel, grant, account.state(), account.deposit)
    account.outbox.put(*(() if voucher is None else (voucher,)), accepted, after=party.store.submit())
    if account.phase is Phase.CLOSING:
        account.apply(CloseRequested(party.close_now))


async def _write(outbox: Outbox, stream: MessageStream) -> None:
    while True:
        messages = await outbox.take()
        if messages:
            await stream.send(*messages)
            reached(Failpoint.CHARGE_SENT)
        else:
            await outbox.woken()


async def _read(account: ReceivingAccount, party: Party, stream: MessageStream) -> None:
    while (message := await stream.receive()) is not None:
        await account.outbox.room()
        await hear(account, party, message)


async def hear(account: ReceivingAccount, party: Party, message: object) -> None:
    """Take in one message of the payer's; a voucher is on disk before this returns.

    Raises:
        RemoteProtocolError: It is none that a payer sends, or what it says does not hold.
    """
    match message:
        case Voucher():
            await account.take_voucher(message)
        case PaperWanted():
            answer = await _answer(account, party, message)
            # The charge that the paper tells of may still be on its way to disk.
            account.outbox.put(answer, after=party.store.submit())
        case CloseWanted() | CloseAgreed():
            terms = account.read_close(message)
            account.apply(TermsReceived(terms, message, party.close_now))
            if account.phase is not Phase.CLOSED:
                account.looking.want()
        case Funded() if message.channel == account.channel:
            account.looking.want()
        case ChannelRefused():
            log.warning("the payer refused", extra={"reason": message.reason.code, "detail": message.detail})
        case _:
            raise RemoteProtocolError(f"not for a payee: {type(message).__name__}")


async def _answer(account: ReceivingAccount, party: Party, wanted: PaperWanted) -> Paper | ChannelRefused:
    exchange = wanted.exchange
    if await party.role.settle_broken(account, wanted) or account.is_running(exchange):
        return ChannelRefused(Reason.ALREADY_RUNNING, "the exchange has not ended", exchange)
    row = account.ended(exchange)
    if row is None or row.paper is None:
        return ChannelRefused(Reason.UNKNOWN_EXCHANGE, "no such exchange on this channel", exchange)
    paper = decode_signed(row.paper)
    try:
        decode_paper(Settlement, paper.body)
    except MalformedMessage:
        return Paper(exchange, receipt=paper)
    return Paper(exchange, settlement=paper)
