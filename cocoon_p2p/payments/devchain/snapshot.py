"""A chain as data: all that it takes to go on from its last block."""

from dataclasses import dataclass, field

from cocoon_p2p.payments.cells import stub
from cocoon_p2p.payments.devchain.blocks import Block, BlockId, BlockPair, ValueFlow
from cocoon_p2p.payments.devchain.history import PastTransaction
from cocoon_p2p.payments.devchain.messages import AccountId


@dataclass(frozen=True, slots=True)
class BlockOutline:
    """What the next block needs of the one before it."""

    id: BlockId
    utime: int
    start_lt: int
    end_lt: int
    state_hash: bytes
    state_depth: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A chain between two blocks, the last of them empty."""

    now: int
    seed: bytes = field(repr=False)
    config: bytes = field(repr=False)
    libraries: tuple[bytes, ...] = field(repr=False)
    accounts: tuple[tuple[AccountId, bytes], ...] = field(repr=False)
    "Each address with its `ShardAccount` as a bag of cells."

    waiting: tuple[bytes, ...] = field(repr=False)
    "Messages that did not run yet, in order, as bags of cells."

    transactions: tuple[PastTransaction, ...] = field(repr=False)
    "What is remembered, oldest first."

    first: BlockId
    "The very first masterchain block."

    before_last: tuple[BlockOutline, BlockOutline]
    "The shard's block and the masterchain's, before the last."

    last: tuple[BlockOutline, BlockOutline]


def outline(block: Block) -> BlockOutline:
    return BlockOutline(
        block.id, block.utime, block.start_lt, block.end_lt, block.state.hash, block.state.depth
    )


def from_outlines(shard: BlockOutline, master: BlockOutline) -> BlockPair:
    """Give a pair that a next one can be made after, and nothing else: its cells are stubs."""
    return BlockPair(_block(shard), _block(master), None, None, ValueFlow())


def _block(known: BlockOutline) -> Block:
    state = stub(known.state_hash, known.state_depth)
    return Block(known.id, known.utime, known.start_lt, known.end_lt, stub(known.id.root_hash, 0), state)
