"""The signed quote that answers an Ask, and the deal that it makes.

Spec: protocols/exchange.md (Quoted).
"""

from cocoon_p2p.identity import Identity, NetworkId
from cocoon_p2p.protocols.exchange.relayed import Deal
from cocoon_p2p.protocols.ids import QUOTE_LIFETIME_SECONDS
from cocoon_p2p.protocols.messages import Ask, ModelOffer, Quote
from cocoon_p2p.protocols.papers import message_hash, paper_hash, sign
from cocoon_p2p.proxy.policy import ProxyPolicy
from cocoon_p2p.proxy.session import WorkerSession
from cocoon_p2p.units import Nano


def make_deal(
    ask: Ask,
    session: WorkerSession,
    offer: ModelOffer,
    *,
    identity: Identity,
    network: NetworkId,
    policy: ProxyPolicy,
    grant: Nano,
    date: float,
) -> Deal:
    """Quote a worker's price for an Ask, and sign it.

    Args:
        ask: The question.
        session: The worker that was chosen.
        offer: Its offer of the model.
        identity: Ours: signs.
        network: The network that the quote is for.
        policy: Ours: commission and window.
        grant: How much this client may owe.
        date: Seconds since the Unix epoch.
    """
    quote = Quote(
        exchange=ask.exchange,
        ask_hash=message_hash(ask),
        worker_record=session.record,
        worker_statement=session.statement,
        price=offer.price,
        commission_basis_points=policy.commission_basis_points,
        expires=int(date) + QUOTE_LIFETIME_SECONDS,
        grant=grant,
        window_tokens=policy.window_tokens,
        reserved=ask.channel is not None,
    )
    signed = sign(identity, network, quote)
    return Deal(
        ask=ask,
        network=network,
        worker=session.peer,
        offer=offer,
        quote=signed,
        quote_hash=paper_hash(signed),
        commission_basis_points=policy.commission_basis_points,
        window_tokens=policy.window_tokens,
    )
