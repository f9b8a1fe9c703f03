"""The payer's end of `/cocoon/channel/1`: keep a stream to the payee, speak, listen.

    payer                               payee
      | OpenChannel{offer, state?} ------>|   first on every stream
      |<---------------------- (Voucher) -|   our newest, as the payee has it
      |<-- ChannelAccepted{grant, state} -|
      | Voucher, PaperWanted ... -------->|
      |<----- StateSigned, Paper ... -----|

One task writes, so vouchers ascend; one reads. A stream that breaks is opened again while the
account lives, and everything that matters is said again on it.

Spec: protocols/channel.md.
"""

import logging

import trio

from cocoon_p2p.errors import CocoonError, Refused, RemoteProtocolError, Unavailable
from cocoon_p2p.failpoint import Failpoint, reached
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.payments.channel import Phase, to_wire
from cocoon_p2p.payments.events import (
    Accepted,
    CloseRequested,
    DepositTaken,
    ExchangeRecovered,
    ExchangeReleased,
    StateReceived,
    TermsReceived,
    VoucherDue,
)
from cocoon_p2p.payments.outbox import Outbox
from cocoon_p2p.payments.party import Party, read_bill
from cocoon_p2p.payments.paying import Attempt, Leftover, PayingAccount
from cocoon_p2p.protocols.ids import CHANNEL, EXCHANGE_KEPT_SECONDS
from cocoon_p2p.protocols.messages import (
    ChannelAccepted,
    ChannelRefused,
    ChannelState,
    CloseAgreed,
    CloseWanted,
    DepositSeen,
    ExchangeId,
    Funded,
    OpenChannel,
    Paper,
    Payout,
    PayoutWanted,
    StateSigned,
    Voucher,
)
from cocoon_p2p.protocols.papers import check, decode_signed
from cocoon_p2p.units import Nano

log = logging.getLogger(__name__)

ACCEPT_SECONDS = 10.0
"How long a payee may take to accept a channel: it writes to disk first."

REDIAL_FIRST_SECONDS = 0.1
REDIAL_LAST_SECONDS = 10.0
"A lost stream is opened again at once, then with doubling pauses; a payee that is away costs little."

ASK_AGAIN_SECONDS = 1.0
"How often a payee is asked for the paper of an exchange that it has not ended yet."

METER_HELD_SECONDS = EXCHANGE_KEPT_SECONDS / 2
"""After this time without an answer we no longer hold the payee to our Meter: it takes one for twice as
long, and must not be blamed if that is over, by its clock, when we are back."""


async def ask_payout(payee: PeerId, global_id: int, party: Party) -> Payout:
    """Ask a payee where it wants to be paid, on a stream of its own.

    Raises:
        Unavailable: There is no connection to the payee, or it does not answer.
        Refused: It is not paid on that TON network.
        RemoteProtocolError: It answers something else.
    """
    stream = MessageStream(await party.transport.open_stream(payee, CHANNEL))
    answer: object = None
    try:
        with trio.move_on_after(ACCEPT_SECONDS):
            await stream.send(PayoutWanted(to_wire(global_id)))
            answer = await stream.receive()
    finally:
        stream.reset()
    match answer:
        case Payout():
            return answer
        case ChannelRefused():
            raise Refused(f"the payee takes no channel: {answer.detail}", code=answer.reason.code)
        case None:
            raise Unavailable(f"the payee did not answer within {ACCEPT_SECONDS} seconds, or hung up")
        case _:
            raise RemoteProtocolError(f"not an answer to PayoutWanted: {type(answer).__name__}")


async def keep(account: PayingAccount, party: Party) -> None:
    """Keep the account's stream alive until the channel is closed for good and the payee knows it."""
    pause = REDIAL_FIRST_SECONDS
    while True:
        error: CocoonError | None = None
        try:
            await _meet(account, party)
        except* (Unavailable, Refused, RemoteProtocolError) as group:
            error = _first(group)
            _note(account, error)
        was_reached = account.attempt.done.is_set()
        account.attempt.finish(error or Unavailable("the payee closed the channel's stream"))
        account.attempt = Attempt()
        if account.phase is Phase.CLOSED and (error is None or account.is_over):
            await account.reopened()
            if account.phase is Phase.CLOSED:
                return
        pause = REDIAL_FIRST_SECONDS if was_reached else min(pause * 2, REDIAL_LAST_SECONDS)
        with trio.move_on_after(pause):
            await account.wanted.wait()
        account.wanted = trio.Event()


def _first(group: "BaseExceptionGroup[CocoonError]") -> CocoonError:
    """Pick one of the errors that ended the stream: the writer's and the reader's go together."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _note(account: PayingAccount, error: CocoonError) -> None:
    facts = {"payee": peer_id_text(account.payee), "error": str(error)}
    if isinstance(error, Unavailable):
        log.debug("channel stream lost", extra=facts)
    else:
        log.warning("channel stream ended", extra=facts)


async def _meet(account: PayingAccount, party: Party) -> None:
    """Open one stream and speak on it until it ends."""
    await party.store.submit().wait()
    stream = MessageStream(await party.transport.open_stream(account.payee, CHANNEL))
    try:
        await introduce(account, party, stream)
        async with trio.open_nursery() as nursery:
            account.stream_scope = nursery.cancel_scope
            nursery.start_soon(_write, account, stream)
            nursery.start_soon(_ask_for_leftovers, account, party)
            nursery.start_soon(account.looking.serve, party.bank, account.channel)
            await _read(account, party, stream)
            nursery.cancel_scope.cancel()
    finally:
        account.is_connected, account.stream_scope = False, None
        stream.reset()


async def introduce(account: PayingAccount, party: Party, stream: MessageStream) -> None:
    """Offer the channel and take in what the payee holds."""
    returned: Voucher | None = None
    answer: object = None
    with trio.move_on_after(ACCEPT_SECONDS):
        await stream.send(OpenChannel(decode_signed(account.offer), account.state))
        answer = await stream.receive()
        if isinstance(answer, Voucher):
            returned, answer = answer, await stream.receive()
    match answer:
        case ChannelAccepted():
            state = check(ChannelState, answer.state, signer=account.payee, network=party.network)
            account.outbox, account.is_connected = Outbox(), True
            account.meet(Accepted(Nano(answer.grant), state, answer.state, returned, answer.deposit))
            account.send(*(question.wanted for question in account.questions.values()))
            if account.lacks_sight(answer.deposit):
                account.send(Funded(account.channel))
            if account.deployment is not None and account.phase is Phase.DRAINING:
                # We went away in the middle of a close, or its terms lapsed: nobody else may ask again.
                account.apply(CloseRequested(party.close_now))
            account.attempt.finish()
        case ChannelRefused():
            raise Refused(f"the payee refused the channel: {answer.detail}", code=answer.reason.code)
        case CloseAgreed():
            _take_terms(account, party, answer)
            if account.phase is not Phase.CLOSED:
                raise Unavailable("the payee holds the channel closed, at terms that we do not agree to")
        case None:
            raise Unavailable(f"the payee did not answer within {ACCEPT_SECONDS} seconds, or hung up")
        case _:
            raise RemoteProtocolError(f"not an answer to OpenChannel: {type(answer).__name__}")


async def _write(account: PayingAccount, stream: MessageStream) -> None:
    """Send what is due, newest voucher last; end the stream once the channel is closed."""
    while True:
        account.apply(VoucherDue())
        messages = await account.outbox.take()
        if messages:
            reached(Failpoint.VOUCHER_SAVED)
            await stream.send(*messages)
            reached(Failpoint.VOUCHER_SENT)
        elif account.phase is Phase.CLOSED:
            await stream.close()
            return
        else:
            await account.outbox.woken()


async def _read(account: PayingAccount, party: Party, stream: MessageStream) -> None:
    while (message := await stream.receive()) is not None:
        hear(account, party, message)


def hear(account: PayingAccount, party: Party, message: object) -> None:
    """Take in one message of the payee's.

    Raises:
        RemoteProtocolError: It is none that a payee sends, or its paper does not hold.
    """
    match message:
        case StateSigned():
            state = check(ChannelState, message.state, signer=account.payee, network=party.network)
            account.apply(StateReceived(state, message.state))
        case Paper():
            _answer(account, party, message)
        case ChannelRefused(exchange=exchange) if exchange is not None:
            _refuse(account, exchange, message)
        case ChannelRefused():
            log.warning("the payee refused", extra={"reason": message.reason.code, "detail": message.detail})
            # It may have collected more than we have seen: terms for less it cannot agree to.
            account.looking.want()
        case CloseWanted() | CloseAgreed():
            _take_terms(account, party, message)
        case DepositSeen() if message.channel == account.channel:
            account.apply(DepositTaken(message.deposit))
            # What had no room may be due now.
            account.outbox.wake()
        case _:
            raise RemoteProtocolError(f"not for a payer: {type(message).__name__}")


def _take_terms(account: PayingAccount, party: Party, message: CloseWanted | CloseAgreed) -> None:
    terms = account.read_close(message)
    account.apply(TermsReceived(terms, message, party.close_now))
    if account.phase is not Phase.CLOSED:
        account.looking.want()
    # The writer ends the stream of a closed channel.
    account.outbox.wake()


def _answer(account: PayingAccount, party: Party, paper: Paper) -> None:
    question = account.questions.get(paper.exchange)
    if question is None:
        return
    read_bill(paper, payee=account.payee, party=party)
    del account.questions[paper.exchange]
    question.paper = paper
    question.answered.set()


def _refuse(account: PayingAccount, exchange: ExchangeId, refusal: ChannelRefused) -> None:
    question = account.questions.pop(exchange, None)
    if question is not None:
        question.refusal = refusal
        question.answered.set()


async def _ask_for_leftovers(account: PayingAccount, party: Party) -> None:
    """Settle the exchanges whose end only the payee knows."""
    while True:
        if not account.leftovers:
            await account.left_over.wait()
        account.left_over = trio.Event()
        for leftover in tuple(account.leftovers.values()):
            if leftover.amount is None and party.now() < leftover.since + party.role.forgotten_seconds:
                continue
            question = leftover.question
            try:
                paper = await account.paper(question.exchange, quote=question.quote, meter=question.meter)
            except Refused:
                # Still winding up there: ask again in the next round.
                continue
            settle(account, party, leftover, paper)
        await trio.sleep(ASK_AGAIN_SECONDS)


def settle(account: PayingAccount, party: Party, leftover: Leftover, paper: Paper | None) -> None:
    """Book how an exchange ended, by the payee's paper; None if the payee does not know it.

    Nothing happens if a role has booked it meanwhile, or has something else to ask.
    """
    exchange = leftover.question.exchange
    if account.leftovers.get(exchange) is not leftover:
        return
    del account.leftovers[exchange]
    if paper is None:
        account.apply(ExchangeReleased(exchange))
        return
    amount, signed = read_bill(paper, payee=account.payee, party=party)
    is_held = party.now() < leftover.since + METER_HELD_SECONDS
    # Who only kept us waiting cannot bill what was never held for it, however much it grants.
    limit = leftover.amount if is_held else leftover.held
    if limit is None and party.role.beside is not None:
        most = party.role.beside.limit(exchange)
        limit = None if most is None else min(most, account.credit)
    account.apply(ExchangeRecovered(exchange, amount, limit, signed))
