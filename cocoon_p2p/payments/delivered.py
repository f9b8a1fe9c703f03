"""What was delivered for a charge: read out of the paper that the charge stands on.

A worker is charged for by its Receipt, or where it vanished by its last Meter; a client by a Settlement,
which holds one of the two. The papers are dropped after some weeks; what is read here is kept with the
books, so that a statement can still say for which model money came in.

Spec: payments/settlement.md (The ledger).
"""

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.ledger import ChannelName, Delivery
from cocoon_p2p.protocols.cbor import decode
from cocoon_p2p.protocols.messages import ExchangeId, Meter, Receipt, Settlement, Signed
from cocoon_p2p.protocols.schema import read_shape
from cocoon_p2p.units import Nano

_KIND_KEY = 3
"Under this key a Receipt has a name, a Settlement an outcome and a Meter a usage."

TOKENS_MAX, COMMISSION_MAX = 1 << 32, 10**15
"No exchange comes near either. A stranger's paper must not make a database's sums overflow."


def delivered(name: ChannelName, exchange: ExchangeId, paper: Signed, at: int) -> tuple[Delivery, ...]:
    """Say what was delivered for a charge: one row, or none where the paper tells nothing of it.

    Whoever charges has judged the paper. What cannot be read here costs a line in a statement, no money.

    Args:
        name: Which end of which channel it was charged on.
        exchange: Which one.
        paper: What it was charged by.
        at: When, in seconds since the Unix epoch.
    """
    try:
        read = _read(paper)
        commission = read.commission if isinstance(read, Settlement) else 0
        while isinstance(read, Settlement):
            inner = read.receipt or read.meter
            if inner is None:
                return ()
            read = _read(inner)
    except MalformedMessage:
        return ()
    usage, model = read.usage, read.model if isinstance(read, Receipt) else ""
    # PostgreSQL keeps no NUL in a text.
    named = model.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return (
        Delivery(
            name,
            exchange,
            named,
            prompt=min(usage.prompt, TOKENS_MAX),
            cached=min(usage.cached, TOKENS_MAX),
            completion=min(usage.completion, TOKENS_MAX),
            reasoning=min(usage.reasoning, TOKENS_MAX),
            commission=Nano(min(commission, COMMISSION_MAX)),
            at=at,
        ),
    )


def _read(paper: Signed) -> Receipt | Meter | Settlement:
    fields = decode(paper.body)
    kind = fields.get(_KIND_KEY) if isinstance(fields, dict) else None
    if isinstance(kind, str):
        return read_shape(Receipt, fields)
    if isinstance(kind, dict):
        return read_shape(Meter, fields)
    return read_shape(Settlement, fields)
