"""How a channel begins: where a payee wants to be paid, what a payer offers, and what a payee takes.

With a bank a contract stands behind each channel, and whoever has none cannot have one with us:
either both go by the same chain, or both by none.

Spec: payments/settlement.md (Opening), protocols/channel.md (Opening).
"""

from collections.abc import Callable

from cocoon_p2p.errors import RecordRejected, Refused
from cocoon_p2p.identity import PeerId
from cocoon_p2p.payments import payer_stream
from cocoon_p2p.payments.bank import Bank
from cocoon_p2p.payments.channel import contract_salt, from_wire, make_backed_offer, make_offer
from cocoon_p2p.payments.close_terms import payee_key
from cocoon_p2p.payments.contract import AccountId, Deployment
from cocoon_p2p.payments.party import Party
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.protocols.messages import ChannelOffer, Payout, PayoutWanted
from cocoon_p2p.units import Nano

CLOSE_DELAY_SECONDS_ACCEPTED = 7 * 24 * 3600
"A payee that then is gone holds a payer's deposit for so long; a contract would let it ask for half a year."


async def offer_to(
    payee: PeerId, party: Party, *, channel_key: bytes, capacity: Nano, draw: Callable[[int], bytes]
) -> ChannelOffer:
    """Make the offer of a new channel to a connected payee.

    Args:
        payee: Who is to be paid.
        party: We.
        channel_key: The new channel's key.
        capacity: What it can pay, where no chain stands behind it.
        draw: Draws random bytes.

    Raises:
        Refused: We have no wallet, or the payee is not paid on our chain.
        Unavailable: There is no connection to the payee, or it does not answer.
        RemoteProtocolError: It answers something else than where it is paid.
    """
    payer, bank = party.identity.peer_id, party.bank
    if bank is None:
        return make_offer(party.network, payer, payee, channel_key, capacity=capacity, salt=draw(16))
    if bank.wallet is None:
        raise Refused(
            "there is no wallet to pay from",
            code=Reason.NO_CREDIT.code,
            hint="make one with `cocoon wallet new` and name its file in [wallet] of the config",
        )
    payout = await payer_stream.ask_payout(payee, bank.global_id, party)
    close_delay_seconds = max(bank.close_delay_seconds, payout.close_delay_seconds)
    if close_delay_seconds > max(bank.close_delay_seconds, CLOSE_DELAY_SECONDS_ACCEPTED):
        raise Refused(
            f"the payee wants a longer close delay than we accept (got={close_delay_seconds}"
            f" max={CLOSE_DELAY_SECONDS_ACCEPTED} seconds)",
            code=Reason.DEADLINE.code,
        )
    deployment = Deployment(
        global_id=bank.global_id,
        payer=bank.wallet,
        payee=AccountId(payout.wallet),
        payer_key=channel_key,
        payee_key=payout.key,
        close_delay_seconds=close_delay_seconds,
        salt=contract_salt(party.network, payer, payee, channel_key),
    )
    return make_backed_offer(party.network, payer, payee, deployment)


def payout_for(wanted: PayoutWanted, party: Party) -> Payout:
    """Say where we are paid, on the network that was asked for.

    Raises:
        Refused: We are not paid there.
    """
    bank = party.bank
    if bank is None or bank.payout is None or bank.global_id != from_wire(wanted.global_id):
        raise Refused("we are not paid on that chain", code=Reason.WRONG_NETWORK.code)
    return Payout(bank.payout, payee_key(party.identity.seed)[0], bank.close_delay_seconds)


def judge_deployment(deployment: Deployment | None, party: Party) -> None:
    """Check that a contract is one that pays us, so that all that is left to see is the money in it.

    Raises:
        Refused: It is on another chain than ours, or there is none and we go by one.
        RecordRejected: It does not pay as we asked for.
    """
    bank = party.bank
    if (bank is None) != (deployment is None):
        theirs, ours = ("a", "no") if bank is None else ("no", "a")
        raise Refused(
            f"{theirs} contract stands behind the channel, and we go by {ours} chain",
            code=Reason.WRONG_NETWORK.code,
        )
    if bank is not None and deployment is not None:
        _judge(deployment, bank, payee_key(party.identity.seed)[0])


def _judge(deployment: Deployment, bank: Bank, key: bytes) -> None:
    if deployment.global_id != bank.global_id:
        raise Refused("the channel is on another chain", code=Reason.WRONG_NETWORK.code)
    if (deployment.payee, deployment.payee_key) != (bank.payout, key):
        raise RecordRejected("channel-offer: it does not pay where we asked to be paid")
    if deployment.close_delay_seconds < bank.close_delay_seconds:
        raise RecordRejected(
            f"channel-offer: the close delay is too short (got={deployment.close_delay_seconds}"
            f" min={bank.close_delay_seconds} seconds)"
        )
