"""What a masterchain block proves: its time, the basechain's blocks below it, and an account in one of them.

    block's name -> masterchain block -> its state -> the shard's block -> its state -> the account

Each arrow is a hash that the thing on its left contains. So whoever trusts a masterchain
block's name need not trust the server that shows the rest. That an account is *not* there is
proven too: by the path on which it would be, in the shard that would have it.

Spec: block.tlb, `Block`, `BlockInfo`, `ShardStateUnsplit`, `McStateExtra`, `ShardHashes`,
`ShardAccounts`; crypto/block/check-proof.cpp.
"""

from dataclasses import dataclass

from cocoon_p2p.errors import MalformedMessage, RemoteProtocolError
from cocoon_p2p.payments.cells import MERKLE_UPDATE, PRUNED_BRANCH, Cell, Slice
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.lite.accounts import NOTHING, Holding, read_account, read_money
from cocoon_p2p.payments.lite.dictionary import find
from cocoon_p2p.payments.lite.proof_bags import read_proofs, read_whole
from cocoon_p2p.payments.lite.queries import AccountAnswer, BlockId

BASECHAIN = 0

_BLOCK, _INFO, _STATE = 0x11EF55AA, 0x9BC7A987, 0x9023AFE2
_MASTER_EXTRA = 0xCC26
_UPDATE = 2
"The place of the state's update among a block's references."

_SHARD_DESCRIPTIONS = (0xA, 0xB)
_ACCOUNT_BITS, _WORKCHAIN_BITS = 256, 32
_PROOF_MAX_BYTES = 1 << 17
"A proof of mainnet's takes some ten thousand."

STATE_MAX_BYTES = 1 << 18
"The largest account that is read: a hundred times a wallet or a channel."


class Unreadable(RemoteProtocolError):
    """What is on chain is not to be read here: too large, or of a new kind. It is not the server's fault."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a block says of itself."""

    global_id: int
    utime: int
    "When it was made, in seconds since the Unix epoch."


@dataclass(frozen=True, slots=True)
class ProvenAccount:
    """An account as it was after a block."""

    header: Header
    "The masterchain block's."

    held: Holding
    last_lt: int
    last_hash: bytes
    "Of its last transaction; zeros if there is no account."


def prove_header(proof: bytes, block: BlockId) -> Header:
    """Read a block's header out of a proof.

    Raises:
        MalformedMessage: It proves another block, or nothing.
    """
    (root,) = _read(proof, 1)
    return _read_header(root, block)


def prove_account(answer: AccountAnswer, block: BlockId, account: AccountId) -> ProvenAccount:
    """Check all that a server shows of an account.

    Args:
        answer: What it shows.
        block: The masterchain block that is to prove it.
        account: Of the basechain.

    Raises:
        MalformedMessage: It does not follow from the block. The server made it up, or changed it.
        Unreadable: It is not to be read here. That it is too large is the server's word.
    """
    master, master_state = _read(answer.shard_proof, 2)
    header = _read_header(master, block)
    _check_state(master, master_state)
    shard_block = _shard_of(master_state, account)
    if shard_block != answer.shard_block:
        raise MalformedMessage("an account in a block of another shard, or of none")
    shard, shard_state = _read(answer.proof, 2)
    _read_header(shard, shard_block)
    _check_state(shard, shard_state)
    found = _account_in(shard_state, account)
    if found is None:
        if answer.state:
            raise MalformedMessage("a state of an account that is not there")
        return ProvenAccount(header, NOTHING, 0, bytes(32))
    root_hash, last_hash, last_lt = found
    size = len(answer.state)
    if size > STATE_MAX_BYTES:
        raise Unreadable(f"the account is too large to be read (bytes={size} limit={STATE_MAX_BYTES})")
    (state, *others) = read_whole(answer.state)
    if others or state.hash != root_hash:
        raise MalformedMessage("a state that the account does not have")
    try:
        return ProvenAccount(header, read_account(state, account), last_lt, last_hash)
    except MalformedMessage as exc:
        raise Unreadable(f"the account is of a kind that is not read: {exc}") from exc


def _read(bag: bytes, count: int) -> tuple[Cell, ...]:
    if len(bag) > _PROOF_MAX_BYTES:
        raise MalformedMessage(f"a proof is too large (bytes={len(bag)} limit={_PROOF_MAX_BYTES})")
    return read_proofs(bag, count)


def _opened(cell: Cell) -> Slice:
    if cell.kind == PRUNED_BRANCH:
        raise MalformedMessage("a proof leaves out what it should show")
    return Slice(cell)


def _expect(slice_: Slice, bits: int, *wanted: int) -> None:
    found = slice_.uint(bits)
    if found not in wanted:
        raise MalformedMessage(f"a proof of something else (found={found:#x})")


def _read_header(root: Cell, block: BlockId) -> Header:
    if root.hash != block.root_hash:
        raise MalformedMessage("a proof of another block")
    slice_ = _opened(root)
    _expect(slice_, 32, _BLOCK)
    global_id = slice_.sint(32)
    info = _opened(slice_.reference())
    _expect(info, 32, _INFO)
    # The version; ten flags and their room.
    info.uint(32 + 16)
    _expect(info, 32, block.seqno)
    info.uint(32)
    # `shard_ident$00`: the length of the prefix, the workchain, the prefix.
    info.uint(2 + 6)
    if info.sint(32) != block.workchain:
        raise MalformedMessage("a block of another workchain")
    info.uint(64)
    return Header(global_id, info.uint(32))


def _check_state(block: Cell, state: Cell) -> None:
    """Check that a block, whose header was read, leads to a state."""
    # Servers leave the update out where only the header is asked for.
    update = block.references[_UPDATE] if len(block.references) > _UPDATE else block
    if update.kind != MERKLE_UPDATE or update.references[1].hash != state.hash:
        raise MalformedMessage("a state that the block does not lead to")


def _state_parts(root: Cell) -> tuple[Cell, Cell | None]:
    """Give a state's accounts, and what only the masterchain's has."""
    slice_ = _opened(root)
    _expect(slice_, 32, _STATE)
    # From the network's id to the seqno that it refers to.
    slice_.uint(32 + 104 + 32 + 32 + 32 + 64 + 32)
    slice_.reference()
    slice_.uint(1)
    accounts = slice_.reference()
    slice_.reference()
    return accounts, slice_.maybe_reference()


def _shard_of(master_state: Cell, account: AccountId) -> BlockId:
    """Find the block of the shard that has an account."""
    _, extra = _state_parts(master_state)
    if extra is None:
        raise MalformedMessage("a masterchain's state without what makes it one")
    slice_ = _opened(extra)
    _expect(slice_, 16, _MASTER_EXTRA)
    shards = slice_.maybe_reference()
    found = None if shards is None else find(shards, BASECHAIN, _WORKCHAIN_BITS)
    if found is None:
        raise MalformedMessage("a masterchain without a basechain")
    leaf, shard = _leaf_for(found.reference(), int.from_bytes(account, "big"))
    _expect(leaf, 4, *_SHARD_DESCRIPTIONS)
    seqno = leaf.uint(32)
    leaf.uint(32 + 64 + 64)
    return BlockId(BASECHAIN, shard, seqno, leaf.octets(32), leaf.octets(32))


def _leaf_for(tree: Cell, key: int) -> tuple[Slice, int]:
    """Follow an account's bits down the tree of shards; give the leaf, and the shard as it is spelled."""
    prefix = 1
    left = _ACCOUNT_BITS
    slice_ = _opened(tree)
    while slice_.uint(1):
        left -= 1
        if left < _ACCOUNT_BITS - 60:
            raise MalformedMessage("a tree of shards that is too deep")
        bit = key >> left & 1
        prefix = prefix << 1 | bit
        zero, one = slice_.reference(), slice_.reference()
        slice_ = _opened(one if bit else zero)
    depth = _ACCOUNT_BITS - left
    # The prefix, then a 1, then zeros; as a signed number.
    spelled = (prefix - (1 << depth) << 1 | 1) << 63 - depth
    return slice_, spelled - (spelled >> 63 << 64)


def _account_in(shard_state: Cell, account: AccountId) -> tuple[bytes, bytes, int] | None:
    """Find an account: its state's hash, and its last transaction's hash and logical time."""
    accounts, _ = _state_parts(shard_state)
    root = _opened(accounts).maybe_reference()
    if root is None:
        return None
    found = find(root, int.from_bytes(account, "big"), _ACCOUNT_BITS, _skip_sum)
    if found is None:
        return None
    return found.reference().hash, found.octets(32), found.uint(64)


def _skip_sum(slice_: Slice) -> None:
    """`DepthBalanceInfo`."""
    slice_.uint(5)
    read_money(slice_)
