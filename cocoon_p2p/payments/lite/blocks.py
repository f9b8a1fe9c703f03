"""Which blocks to read, and which of their transactions look like a channel's: pure.

What a server lists is its word. It says where to look, with proof, and nothing is counted by it.

    the masterchain's newest block -> each shard's newest -> all since the last look -> transactions

A shard's blocks are looked up by number. Where shards split or merged meanwhile, the narrower of the two is
looked up: it lay in one block of each number, by whatever name.

Spec: block.tlb, `ShardHashes`, `BinTree`, `ShardDescr`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments import contract
from cocoon_p2p.payments.cells import Cell, Slice
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.lite import queries
from cocoon_p2p.payments.lite.dictionary import find
from cocoon_p2p.payments.lite.proof_bags import read_whole
from cocoon_p2p.payments.lite.proofs import BASECHAIN
from cocoon_p2p.payments.lite.queries import BlockId
from cocoon_p2p.payments.lite.transactions import read_transaction

SHARDS_MAX = 256
"The most that TON's basechain may be split into."

CATCH_UP_MAX = 64
"Blocks of one shard that are read at once. What is further back was missed, and is counted as such."

_DESCRIPTIONS = (0xA, 0xB)
_WORKCHAIN_BITS = 32
_ALL = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Place:
    """A block by its number, where its name is not known yet."""

    shard: int
    seqno: int


@dataclass(frozen=True, slots=True)
class Listing:
    """What a server said that a block did."""

    touched: frozenset[AccountId]
    "Accounts that were told what channels are told, or said what they say. Anybody can do both."

    last: tuple[AccountId, int] | None
    "The last transaction's account and time: where the next question goes on. None: no more follow."


def read_shards(answer: bytes) -> tuple[BlockId, ...]:
    """Read which blocks of the basechain are the shards' newest.

    Raises:
        ServerError: It is an error.
        MalformedMessage: They are not to be read, or too many.
    """
    roots = read_whole(queries.read_shards(answer))
    shards = Slice(roots[0]).maybe_reference() if len(roots) == 1 else None
    tree = None if shards is None else find(shards, BASECHAIN, _WORKCHAIN_BITS)
    if tree is None:
        raise MalformedMessage("a masterchain without a basechain")
    return tuple(_leaves(tree.reference()))


def _leaves(tree: Cell) -> Iterator[BlockId]:
    waiting = [(tree, 1, 0)]
    found = 0
    while waiting:
        cell, prefix, depth = waiting.pop()
        slice_ = Slice(cell)
        if slice_.uint(1):
            if depth == 60:
                raise MalformedMessage("a tree of shards that is too deep")
            zero, one = slice_.reference(), slice_.reference()
            waiting += ((one, prefix << 1 | 1, depth + 1), (zero, prefix << 1, depth + 1))
            continue
        found += 1
        if found > SHARDS_MAX or slice_.uint(4) not in _DESCRIPTIONS:
            raise MalformedMessage("not a shard's description, or too many of them")
        seqno = slice_.uint(32)
        slice_.uint(32 + 64 + 64)
        # The prefix, then a 1, then zeros; as a signed number.
        spelled = (prefix - (1 << depth) << 1 | 1) << 63 - depth
        shard = spelled - (spelled >> 63 << 64)
        yield BlockId(BASECHAIN, shard, seqno, slice_.octets(32), slice_.octets(32))


def due(before: Sequence[BlockId], after: Sequence[BlockId]) -> tuple[tuple[Place, ...], int]:
    """Say which blocks came between two looks.

    Args:
        before: The shards' newest blocks at the last look.
        after: And now; these are not among what is given.

    Returns:
        Those to be looked up, and how many more there were, about: too many to be read.
    """
    places: dict[Place, None] = {}
    missed = 0
    for new in after:
        for old in before:
            if not _overlap(old.shard, new.shard):
                continue
            first = max(old.seqno + 1, new.seqno - CATCH_UP_MAX)
            missed += first - old.seqno - 1
            narrower = min(old.shard, new.shard, key=lambda shard: _marker(shard))
            places |= {Place(narrower, seqno): None for seqno in range(first, new.seqno)}
    return tuple(places), missed


def _marker(shard: int) -> int:
    """Give the bit behind a shard's prefix: the lower, the narrower."""
    spelled = shard & _ALL
    return spelled & -spelled


def _overlap(one: int, other: int) -> bool:
    wide = max(_marker(one), _marker(other))
    return not ((one ^ other) & _ALL & ~((wide << 1) - 1))


def read_listing(answer: bytes) -> Listing:
    """Read some of a block's transactions. One of a kind that is not read here is passed over.

    Raises:
        ServerError: It is an error.
        MalformedMessage: It is no listing.
    """
    listed = queries.read_listing(answer)
    roots = read_whole(listed.transactions) if listed.transactions else ()
    if len(roots) > queries.LISTED_A_QUERY or (listed.is_cut_short and not roots):
        raise MalformedMessage(f"a listing that cannot be (transactions={len(roots)})")
    places = [_place(root) for root in roots]
    touched = frozenset(_touched(roots, places))
    return Listing(touched, places[-1] if listed.is_cut_short else None)


def _place(root: Cell) -> tuple[AccountId, int]:
    slice_ = Slice(root)
    slice_.uint(4)
    return AccountId(slice_.octets(32)), slice_.uint(64)


def _touched(roots: Iterable[Cell], places: Iterable[tuple[AccountId, int]]) -> Iterator[AccountId]:
    for root, (account, _) in zip(roots, places, strict=True):
        try:
            transaction = read_transaction(root, account).transaction
            told = transaction.received
            if (told is not None and contract.is_operation(told.body)) or any(
                contract.read_notice(sent.body) is not None for sent in transaction.sent
            ):
                yield account
        except MalformedMessage:
            continue
