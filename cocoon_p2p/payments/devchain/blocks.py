"""Blocks and states as validators would write them, for one shard and the masterchain above it.

Each step makes two blocks: the shard's, with the transactions, and the masterchain's, which
names the shard's. Both carry the hash of the state that they lead to, so that a client which
trusts a masterchain block can check all else by Merkle proofs.

Left out, and empty where a validator would write it: descriptors of messages, validators and
their signatures, the queue between shards, statistics of block makers. A block's file hash is
that of its bytes with the accounts' part pruned: to write out every transaction for it would
cost more than to run them.

Spec: block.tlb, `Block`, `BlockInfo`, `ValueFlow`, `BlockExtra`, `ShardStateUnsplit`,
`McStateExtra`, `ShardDescr`.
"""

from dataclasses import dataclass, field
from hashlib import sha256

from cocoon_p2p.payments.boc import write_boc
from cocoon_p2p.payments.cells import Builder, Cell, stub
from cocoon_p2p.payments.devchain.account import Account
from cocoon_p2p.payments.devchain.augmap import Tree, pruned_or_none, total_weight, write_label
from cocoon_p2p.payments.devchain.layouts import ACCOUNTS, CHANGES, AccountChange
from cocoon_p2p.payments.devchain.merkle import merkle_update
from cocoon_p2p.payments.devchain.tl import tl

MASTERCHAIN, WORKCHAIN = -1, 0

SHARD_ALL = 1 << 63
"The shard that is the whole workchain."

_CONFIG_ADDRESS = b"\x55" * 32


@tl(
    "tonNode.blockIdExt workchain:int shard:long seqno:int root_hash:int256 file_hash:int256"
    " = tonNode.BlockIdExt"
)
@dataclass(frozen=True, slots=True)
class BlockId:
    """What names a block."""

    workchain: int
    shard: int
    "As lite servers spell it: signed."

    seqno: int
    root_hash: bytes
    "Of its root cell."

    file_hash: bytes
    "Of its bag of cells; see above for what is pruned in it."


@dataclass(frozen=True, slots=True)
class ValueFlow:
    """Where a block's money came from and went, in nanoTON. What came in is what is there and what went out:

    before + imported + minted = after + exported + fees
    """

    before: int = 0
    "What all accounts held."

    after: int = 0

    imported: int = 0
    "In messages that an earlier block had left waiting."

    exported: int = 0
    "In messages left waiting, or for another workchain."

    fees: int = 0
    minted: int = 0
    "Given out of nothing by the faucet."


@dataclass(frozen=True, slots=True)
class Block:
    """A block and the state that it leads to."""

    id: BlockId
    utime: int
    start_lt: int
    end_lt: int
    root: Cell = field(repr=False)
    state: Cell = field(repr=False)


@dataclass(frozen=True, slots=True)
class BlockPair:
    """The blocks of one step, with the dictionaries that their cells were made from."""

    shard: Block
    master: Block
    accounts: Tree[Account] | None = field(repr=False)
    "All accounts after the block."

    changes: Tree[AccountChange] | None = field(repr=False)
    "The block's transactions, by account."

    flow: ValueFlow


@dataclass(frozen=True, slots=True)
class Step:
    """What the next two blocks are made from."""

    now: int
    start_lt: int
    end_lt: int
    seed: bytes
    accounts: Tree[Account] | None
    changes: Tree[AccountChange] | None
    flow: ValueFlow


class BlockMaker:
    """Makes blocks for one network."""

    def __init__(self, global_id: int, config: Cell) -> None:
        self._global_id = global_id
        # Only its hash is needed, except when a client asks for the configuration itself.
        self._config = stub(config.hash, config.depth)

    def make(self, last: BlockPair | None, step: Step) -> BlockPair:
        """Make the pair that follows `last`; the first pair follows None."""
        last_shard, last_master = (None, None) if last is None else (last.shard, last.master)
        seqno = 0 if last_master is None else last_master.id.seqno + 1
        shard_state = self.shard_state(seqno, step.now, step.end_lt, step.accounts, last_master)
        shard = self._block(WORKCHAIN, seqno, step, shard_state, last_shard, last_master)
        master_state = self.master_state(shard)
        master = self._block(MASTERCHAIN, seqno, step, master_state, last_master, None)
        return BlockPair(shard, master, step.accounts, step.changes, step.flow)

    def shard_state(
        self, seqno: int, utime: int, lt: int, accounts: Tree[Account] | None, master: Block | None
    ) -> Cell:
        """Write the shard's state. `master` is the masterchain block that the shard's block refers to."""
        tree = Builder().maybe_reference(pruned_or_none(ACCOUNTS, accounts))
        ACCOUNTS.write_weight(tree, total_weight(accounts))
        return self._state(WORKCHAIN, seqno, utime, lt, tree.cell(), master, None)

    def master_state(self, shard: Block) -> Cell:
        """Write the masterchain's state above a shard's block. The masterchain has no accounts here."""
        empty = Builder().maybe_reference(None)
        ACCOUNTS.write_weight(empty, 0)
        return self._state(
            MASTERCHAIN,
            shard.id.seqno,
            shard.utime,
            shard.end_lt,
            empty.cell(),
            None,
            self._master_extra(shard),
        )

    def _state(
        self,
        workchain: int,
        seqno: int,
        utime: int,
        lt: int,
        accounts: Cell,
        master: Block | None,
        extra: Cell | None,
    ) -> Cell:
        """`shard_state#9023afe2`."""
        queue = Builder().uint(0, 1).uint(0, 64).uint(0, 2).cell()
        rest = Builder().uint(0, 128).money(0).money(0).uint(0, 1).uint(master is not None, 1)
        if master is not None:
            _write_reference(rest, master)
        builder = Builder().uint(0x9023AFE2, 32).sint(self._global_id, 32)
        _write_shard(builder, workchain).uint(seqno, 32).uint(0, 32)
        builder.uint(utime, 32).uint(lt, 64).uint(0, 32).reference(queue).uint(0, 1).reference(accounts)
        return builder.reference(rest.cell()).maybe_reference(extra).cell()

    def _master_extra(self, shard: Block) -> Cell:
        """`masterchain_state_extra#cc26`: the shard's last block, and the configuration."""
        shards = write_label(Builder(), 0, 32, 32).reference(_shard_description(shard)).cell()
        # Flags, validators, earlier blocks, the last key block: none.
        rest = Builder().uint(0, 16 + 65 + 2 + 64 + 2).cell()
        return (
            Builder()
            .uint(0xCC26, 16)
            .maybe_reference(shards)
            .octets(_CONFIG_ADDRESS)
            .reference(self._config)
            .reference(rest)
            .money(0)
            .cell()
        )

    def _block(
        self, workchain: int, seqno: int, step: Step, state: Cell, last: Block | None, master: Block | None
    ) -> Block:
        is_shard = workchain != MASTERCHAIN
        changes = step.changes if is_shard else None
        update = merkle_update(Builder().cell() if last is None else last.state, state)
        root = (
            Builder()
            .uint(0x11EF55AA, 32)
            .sint(self._global_id, 32)
            .reference(_info(workchain, seqno, step, last, master))
            .reference(_value_flow(step.flow if is_shard else ValueFlow()))
            .reference(update)
            .reference(_extra(step.seed, changes))
            .cell()
        )
        file_hash = sha256(write_boc(root)).digest()
        name = BlockId(workchain, -SHARD_ALL, seqno, root.hash, file_hash)
        return Block(name, step.now, step.start_lt, step.end_lt, root, state)


def _info(workchain: int, seqno: int, step: Step, last: Block | None, master: Block | None) -> Cell:
    """`block_info#9bc7a987`."""
    is_shard = workchain != MASTERCHAIN
    # Version; not_master; no split, merge or key block; flags.
    builder = Builder().uint(0x9BC7A987, 32).uint(0, 32).uint(is_shard, 1).uint(0, 15)
    _write_shard(builder.uint(seqno, 32).uint(0, 32), workchain)
    builder.uint(step.now, 32).uint(step.start_lt, 64).uint(step.end_lt, 64).uint(0, 4 * 32)
    if is_shard:
        builder.reference(_write_reference(Builder(), master).cell())
    return builder.reference(_write_reference(Builder(), last).cell()).cell()


def _value_flow(flow: ValueFlow) -> Cell:
    """`value_flow#b8e48dfb`."""
    moved = Builder().money(flow.before).money(flow.after).money(flow.imported).money(flow.exported).cell()
    # Fees imported, recovered, created, minted.
    made = Builder().money(0).money(0).money(0).money(flow.minted).cell()
    return Builder().uint(0xB8E48DFB, 32).reference(moved).money(flow.fees).reference(made).cell()


def _extra(seed: bytes, changes: Tree[AccountChange] | None) -> Cell:
    """`block_extra#4a33f6fd`."""
    in_messages = Builder().uint(0, 1).coins(0).money(0).cell()
    out_messages = Builder().uint(0, 1).money(0).cell()
    done = Builder().maybe_reference(pruned_or_none(CHANGES, changes)).money(total_weight(changes)).cell()
    builder = Builder().uint(0x4A33F6FD, 32).reference(in_messages).reference(out_messages).reference(done)
    # Made by nobody.
    return builder.octets(seed).octets(bytes(32)).uint(0, 1).cell()


def _shard_description(shard: Block) -> Cell:
    """`bt_leaf$0` of a `shard_descr#b`."""
    seqno = shard.id.seqno
    builder = Builder().uint(0, 1).uint(0xB, 4).uint(seqno, 32).uint(seqno, 32)
    builder.uint(shard.start_lt, 64).uint(shard.end_lt, 64)
    builder.octets(shard.id.root_hash).octets(shard.id.file_hash).uint(0, 8).uint(0, 32)
    builder.uint(SHARD_ALL, 64).uint(0, 32).uint(shard.utime, 32)
    return builder.uint(0, 1).money(0).money(0).cell()


def _write_shard(builder: Builder, workchain: int) -> Builder:
    """`shard_ident$00` of a whole workchain."""
    return builder.uint(0, 8).sint(workchain, 32).uint(0, 64)


def _write_reference(builder: Builder, block: Block | None) -> Builder:
    """`ExtBlkRef`; zeros where there is no earlier block."""
    if block is None:
        return builder.uint(0, 64 + 32 + 512)
    builder.uint(block.end_lt, 64).uint(block.id.seqno, 32)
    return builder.octets(block.id.root_hash).octets(block.id.file_hash)
