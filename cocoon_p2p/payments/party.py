"""Who we are and what we act with: what every account of one node shares."""

from collections.abc import Callable
from dataclasses import dataclass

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.identity import Identity, NetworkId, PeerId
from cocoon_p2p.ledger import Store
from cocoon_p2p.network.transport import Transport
from cocoon_p2p.protocols.messages import Paper, Receipt, Settlement, Signed
from cocoon_p2p.protocols.papers import check
from cocoon_p2p.units import Nano


@dataclass(frozen=True, slots=True)
class Party:
    """One node, as its accounts see it."""

    transport: Transport
    identity: Identity
    network: NetworkId
    store: Store
    now: Callable[[], float]
    "Seconds since the Unix epoch."

    @property
    def at(self) -> int:
        """The time as the ledger keeps it."""
        return int(self.now())


def read_bill(paper: Paper, *, payee: PeerId, party: Party) -> tuple[Nano, Signed]:
    """Take the amount out of a payee's receipt or settlement, and the signed paper it stands in.

    Raises:
        RecordRejected: The payee did not sign it.
        MalformedMessage: There is none, or it is about another exchange.
    """
    if paper.receipt is not None:
        receipt = check(Receipt, paper.receipt, signer=payee, network=party.network)
        exchange, amount, signed = receipt.exchange, receipt.amount, paper.receipt
    elif paper.settlement is not None:
        settlement = check(Settlement, paper.settlement, signer=payee, network=party.network)
        amount = settlement.worker_amount + settlement.commission
        exchange, signed = settlement.exchange, paper.settlement
    else:
        raise MalformedMessage("a paper without a receipt or a settlement")
    if exchange != paper.exchange:
        raise MalformedMessage("a paper about another exchange")
    return Nano(amount), signed
