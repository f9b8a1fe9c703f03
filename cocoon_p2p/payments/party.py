"""Who we are and what we act with: what every account of one node shares."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.identity import Identity, NetworkId, PeerId
from cocoon_p2p.ledger import Change, Store
from cocoon_p2p.network.transport import Transport
from cocoon_p2p.payments.bank import Bank
from cocoon_p2p.payments.channel import Channel
from cocoon_p2p.payments.close_terms import check_close_terms
from cocoon_p2p.protocols.messages import (
    CloseAgreed,
    CloseTerms,
    CloseWanted,
    ExchangeId,
    Paper,
    PaperWanted,
    Receipt,
    Settlement,
    Signed,
)
from cocoon_p2p.protocols.papers import check
from cocoon_p2p.units import Nano

if TYPE_CHECKING:
    from cocoon_p2p.payments.receiving import ReceivingAccount

SettleBroken = Callable[["ReceivingAccount", PaperWanted], Awaitable[bool]]
"""Brings an exchange that a payer asks about to its end, as far as our role can: charges what the
payer shows, or lowers a charge to it. The ledger answers afterwards. It returns whether the exchange
still runs, and raises `RemoteProtocolError` if what is shown does not hold."""


async def settle_nothing(_account: "ReceivingAccount", _wanted: PaperWanted) -> bool:
    """Leave everything as the ledger has it."""
    return False


class Beside(Protocol):
    """Keeps books of its own about what we pay for. They land with the accounts' changes, or not at all."""

    def beside(self, changes: Sequence[Change]) -> tuple[Change, ...]:
        """Say what is to be written together with these changes. It counts on their being handed over."""
        ...

    def limit(self, exchange: ExchangeId) -> Nano | None:
        """Say what an exchange that a crash of ours forgot can cost at most, if that is known."""
        ...


@dataclass(slots=True)
class Role:
    """What a node's role adds to how its accounts deal with exchanges that broke."""

    settle_broken: SettleBroken = settle_nothing
    forgotten_seconds: float = 0.0
    "How long to wait, before we ask how an exchange ended that a crash of ours forgot."

    beside: Beside | None = None


@dataclass(frozen=True, slots=True)
class Party:
    """One node, as its accounts see it."""

    transport: Transport
    identity: Identity
    network: NetworkId
    store: Store
    now: Callable[[], float]
    "Seconds since the Unix epoch."

    role: Role = field(default_factory=Role)
    bank: Bank | None = None
    "Our side of the chain; None: channels stand on what peers agree on."

    @property
    def at(self) -> int:
        """The time as the ledger keeps it."""
        return int(self.now())

    @property
    def close_now(self) -> float:
        """The time by which close terms expire: the chain's, where there is one."""
        return self.now() if self.bank is None else self.bank.now()


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


def read_close(
    message: CloseWanted | CloseAgreed, *, channel: Channel, signer: PeerId, party: Party
) -> CloseTerms:
    """Take close terms out of a message, once what the peer signed for us and for the contract was checked.

    Raises:
        RecordRejected: The peer did not sign them, or its channel key did not.
        MalformedMessage: The contract's signature is missing.
    """
    terms = check(CloseTerms, message.terms, signer=signer, network=party.network)
    deployment = channel.deployment
    if deployment is None:
        return terms
    if message.contract_signature is None:
        raise MalformedMessage("close terms without the signature that the contract takes")
    key = deployment.payer_key if signer == channel.payer else deployment.payee_key
    check_close_terms(key, terms, message.contract_signature)
    return terms
